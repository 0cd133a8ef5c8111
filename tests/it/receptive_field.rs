//! Receptive fields out of the graph against what the runtime shows: one pixel of the input is changed, and the outputs
//! that change with it are looked for; a piece of a larger image is run, and the outputs that differ from the whole's.

use glebe::model::Model;
use glebe::onnx::{AxisField, Document, Limits, ReceptiveField};
use glebe::runtime::SessionOptions;
use ndarray::{Array3, s};

use crate::fixtures::model;
use crate::reach_networks::{global, local};

/// `[2, H, W]` with values above 0, other ones everywhere.
fn image(height: usize, width: usize) -> Array3<f32> {
    Array3::from_shape_fn((2, height, width), |(c, y, x)| {
        let mixed =
            (y as u32).wrapping_mul(0x9e37_79b9) ^ (x as u32).wrapping_mul(0x85eb_ca6b) ^ (c as u32 * 7919);
        0.1 + (mixed.wrapping_mul(0xc2b2_ae35) >> 16) as f32 / 65_536.0
    })
}

fn run(model: &Model, image: &Array3<f32>) -> Array3<f32> {
    let mut options = SessionOptions::default();
    options.threads = 1;
    let (channels, height, width) = image.dim();
    let mut session = model.session(&options).unwrap();
    let input: Vec<f32> = image.iter().copied().collect();
    let output = model.contract().output();
    let take = |shape: &[usize], data: glebe::runtime::OutputData<'_>| {
        let glebe::runtime::OutputData::F32(values) = data else { panic!("floats") };
        Ok(Array3::from_shape_vec((shape[1], shape[2], shape[3]), values.to_vec()).unwrap())
    };
    session.run(&input, [1, channels, height, width], output, take).unwrap()
}

/// The first and the last row (`axis` 1) or column (2) in which two maps differ.
fn extent(a: &Array3<f32>, b: &Array3<f32>, axis: usize) -> Option<(usize, usize)> {
    let differs = |at: &usize| {
        let axis = ndarray::Axis(axis);
        let pairs = a.index_axis(axis, *at);
        pairs.iter().zip(b.index_axis(axis, *at)).any(|(a, b)| (a - b).abs() > 1e-6 * a.abs().max(1e-3))
    };
    let size = a.shape()[axis];
    Some(((0..size).find(differs)?, (0..size).rev().find(differs)?))
}

fn field_of(bytes: &[u8]) -> ReceptiveField {
    let document = Document::from_bytes(bytes.to_vec(), &Limits::default()).unwrap();
    ReceptiveField::of(&document, None, 2).unwrap()
}

/// What the outputs before and behind a changed pixel show of the field: pixels before the output's own and behind it.
fn measured(model: &Model, field: &AxisField, axis: usize) -> (i64, i64) {
    let side = 96usize.next_multiple_of(field.stride);
    let sides = if axis == 1 { [side, field.stride.max(24)] } else { [field.stride.max(24), side] };
    let sides = sides.map(|own| own.next_multiple_of(field.stride));
    let plain = image(sides[0], sides[1]);
    let before = run(model, &plain);
    let (mut most_before, mut most_after) = (i64::MIN, i64::MIN);
    for at in side / 2..side / 2 + field.stride.max(2) {
        for across in 0..sides[2 - axis] {
            let mut changed = plain.clone();
            let (y, x) = if axis == 1 { (at, across) } else { (across, at) };
            changed.slice_mut(s![.., y, x]).fill(50.0);
            let Some((first, last)) = extent(&before, &run(model, &changed), axis) else { continue };
            // An output's own pixels: those that it lies over.
            let own = |output: usize| {
                (output * field.input_step) as f64 / field.output_step as f64 + field.offset as f64
            };
            let end = |output: usize| {
                let size = field.input_step as f64 / field.output_step as f64;
                (own(output) + size - 1.0).max(own(output))
            };
            most_before = most_before.max((own(last) - at as f64).ceil() as i64);
            most_after = most_after.max((at as f64 - end(first)).ceil() as i64);
        }
    }
    (most_before, most_after)
}

#[test]
fn fields_are_those_that_changed_pixels_show() {
    for (name, bytes) in local() {
        let field = field_of(&bytes);
        assert!(field.is_local(), "{name}: {:?}", field.whole);
        let model = model(bytes);
        for (axis, own) in [(1, field.rows.unwrap()), (2, field.columns.unwrap())] {
            let found = measured(&model, &own, axis);
            assert_eq!((own.before as i64, own.after as i64), found, "{name}, axis {axis}: {own:?}");
        }
    }
}

/// Pieces that begin at multiples of the stride differ from the whole in the margins, and nowhere else.
#[test]
fn margins_are_where_pieces_differ_from_the_whole() {
    for (name, bytes) in local() {
        let field = field_of(&bytes);
        let (rows, columns) = (field.rows.unwrap(), field.columns.unwrap());
        let model = model(bytes);
        let stride = rows.stride.max(columns.stride);
        let (whole, piece) = (240usize.next_multiple_of(stride), 120usize.next_multiple_of(stride));
        let origin = 48usize.next_multiple_of(stride);
        let image = image(whole, whole);
        let all = run(&model, &image);
        let part =
            run(&model, &image.slice(s![.., origin..origin + piece, origin..origin + piece]).to_owned());
        let (_, height, width) = part.dim();
        let at = |own: &AxisField| origin * own.output_step / own.input_step;
        let (y, x) = (at(&rows), at(&columns));
        let same = all.slice(s![.., y..y + height, x..x + width]).to_owned();
        // Along the middle of the other axis: corners belong to both margins.
        let middle = |map: &Array3<f32>, axis: usize| match axis {
            1 => map.slice(s![.., .., width / 3..2 * width / 3]).to_owned(),
            _ => map.slice(s![.., height / 3..2 * height / 3, ..]).to_owned(),
        };
        for (axis, own, size) in [(1, rows, height), (2, columns, width)] {
            let (one, two) = (middle(&same, axis), middle(&part, axis));
            let differs = |at: usize| {
                let axis = ndarray::Axis(axis);
                let pairs = one.index_axis(axis, at);
                pairs
                    .iter()
                    .zip(two.index_axis(axis, at))
                    .any(|(a, b)| (a - b).abs() > 1e-5 * a.abs().max(1e-3))
            };
            let left = (0..size / 2).rev().find(|at| differs(*at)).map_or(0, |at| at + 1);
            let right = (size / 2..size).find(|at| differs(*at)).map_or(0, |at| size - at);
            assert_eq!((left, right), own.margin, "{name}, axis {axis}: {own:?}");
        }
    }
}

/// A piece that begins beside the stride is another one: the stride is no larger than it must be.
#[test]
fn pieces_beside_the_stride_differ() {
    for (name, bytes) in local() {
        let field = field_of(&bytes);
        let own = field.rows.unwrap();
        if own.stride == 1 || own.output_step > 1 || name.contains("depth") {
            continue;
        }
        let model = model(bytes);
        let (whole, piece) = (240usize.next_multiple_of(own.stride), 120usize.next_multiple_of(own.stride));
        let image = image(whole, piece);
        let all = run(&model, &image);
        for divisor in (1..own.stride).filter(|step| own.stride.is_multiple_of(*step)) {
            let origin = 48usize.next_multiple_of(own.stride) + divisor;
            let part = run(&model, &image.slice(s![.., origin..origin + piece, ..]).to_owned());
            let height = part.dim().1;
            let inner = own.margin.0 + 1..height - own.margin.1 - 1;
            let from = origin * own.output_step / own.input_step;
            let same = all.slice(s![.., from + inner.start..from + inner.end, ..]);
            let part = part.slice(s![.., inner, ..]);
            let is_other = same.iter().zip(part).any(|(a, b)| (a - b).abs() > 1e-4 * a.abs());
            assert!(is_other, "{name}: a piece at {origin} with a stride of {}", own.stride);
        }
    }
}

#[test]
fn nodes_that_look_at_the_whole_tile_are_named() {
    for (name, bytes, expected) in global() {
        let field = field_of(&bytes);
        assert!(!field.is_local(), "{name}");
        let named: Vec<&str> = field.whole.iter().filter_map(|own| own.node.split(' ').next()).collect();
        assert_eq!(named, expected, "{name}: {:?}", field.whole);
    }
}
