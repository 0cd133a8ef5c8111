//! Exact tiles against one run over the whole raster, filled up once to the stride.

use glebe::ErrorKind;
use glebe::geometry::{Padding, Size};
use glebe::model::Model;
use glebe::onnx::{Document, Limits, ReceptiveField};
use glebe::runtime::{OutputData, SessionOptions};
use glebe::segment::{Product, SegmentOptions, Segmenter};
use glebe::tiling::Blend;
use ndarray::{Array3, s};

use crate::fixtures::{floats, labels, model, noise_image};
use crate::reach_networks::{global, local};

/// `[2, H, W]` from 0 to 1, with borders added by the padding rule.
fn padded(image: &Array3<f32>, before: [usize; 2], size: [usize; 2], padding: Padding) -> Array3<f32> {
    let (channels, height, width) = image.dim();
    Array3::from_shape_fn((channels, size[0], size[1]), |(c, y, x)| {
        let row = padding.source(y as i64 - before[0] as i64, height);
        let column = padding.source(x as i64 - before[1] as i64, width);
        match (row, column, padding) {
            (Some(row), Some(column), _) => image[[c, row, column]],
            (_, _, Padding::Constant(value)) => value as f32,
            _ => panic!("{padding}"),
        }
    })
}

fn one_run(model: &Model, image: &Array3<f32>) -> Array3<f32> {
    let mut options = SessionOptions::default();
    options.threads = 1;
    let (channels, height, width) = image.dim();
    let input: Vec<f32> = image.iter().copied().collect();
    let take = |shape: &[usize], data: OutputData<'_>| {
        let OutputData::F32(values) = data else { panic!("floats") };
        Ok(Array3::from_shape_vec((shape[1], shape[2], shape[3]), values.to_vec()).unwrap())
    };
    let mut session = model.session(&options).unwrap();
    session.run(&input, [1, channels, height, width], model.contract().output(), take).unwrap()
}

fn field_of(bytes: &[u8]) -> ReceptiveField {
    let document = Document::from_bytes(bytes.to_vec(), &Limits::default()).unwrap();
    ReceptiveField::of(&document, None, 2).unwrap()
}

fn asked(tile: Option<usize>, batch: usize, threads: usize, product: Product) -> SegmentOptions {
    let mut options = SegmentOptions::default();
    options.blend = Blend::Exact;
    options.product = product;
    options.tile = tile.map(|side| Size::new(side, side));
    (options.batch, options.threads) = (Some(batch), threads);
    options
}

#[test]
fn tiled_maps_are_those_of_one_run() {
    let mut tilings = 0;
    for (name, bytes) in local() {
        let field = field_of(&bytes);
        let (rows, columns) = (field.rows.unwrap(), field.columns.unwrap());
        let model = model(bytes);
        for (height, width, padding) in [(150, 187, Padding::Reflect), (97, 301, Padding::Constant(0.5))] {
            let image = noise_image([2, height, width], 11, 1.0);
            // Once, on the right and below; networks that give less than they are given get their margins, too.
            let full = |extent: usize, own: &glebe::onnx::AxisField| {
                extent.next_multiple_of(own.stride) + 2 * own.offset
            };
            let size = [full(height, &rows), full(width, &columns)];
            let whole = one_run(&model, &padded(&image, [rows.offset, columns.offset], size, padding));
            let scaled = |extent: usize, own: &glebe::onnx::AxisField| {
                (extent * own.output_step).div_ceil(own.input_step)
            };
            let whole = whole.slice(s![.., ..scaled(height, &rows), ..scaled(width, &columns)]);
            let largest = whole.iter().fold(1f32, |most, value| most.max(value.abs()));
            let least = rows.stride
                + [rows.margin, columns.margin].iter().map(|own| own.0 + own.1).max().unwrap()
                    * rows.input_step.div_ceil(rows.output_step);
            for tile in [None, Some(least.max(48)), Some(64), Some(75), Some(130), Some(200)] {
                if tile.is_some_and(|tile| tile < least + rows.stride) {
                    continue;
                }
                for (batch, threads) in [(1, 1), (3, 2)] {
                    let mut options = asked(tile, batch, threads, Product::Logits);
                    options.padding = padding;
                    let mut segmenter = Segmenter::new(&model, options).unwrap();
                    let got = segmenter.array(image.view().into(), None).unwrap();
                    assert_eq!(got.report.blend, "exact");
                    let got_map = floats(&got.samples);
                    assert_eq!(got_map.dim(), whole.dim(), "{name}, {tile:?}");
                    for (got, expected) in got_map.iter().zip(&whole) {
                        // The 1e-4 is of logits about 1.
                        assert!(
                            (got - expected).abs() <= 1e-4 * largest,
                            "{name}, {width} x {height}, tile {tile:?}, batch {batch}: {got} instead of {expected}"
                        );
                    }
                    tilings += usize::from(got.report.tiles > 1);
                }
            }
        }
    }
    assert!(tilings > 300, "{tilings} jobs of several tiles");
}

#[test]
fn networks_that_look_at_the_whole_tile_are_refused_with_their_nodes() {
    let image: Array3<f32> = noise_image([2, 128, 128], 3, 1.0);
    for (name, bytes, nodes) in global() {
        let model = model(bytes);
        let options = asked(Some(64), 1, 1, Product::Logits);
        let error = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelUnsupported, "{name}: {error}");
        for node in nodes {
            assert!(error.one_line().contains(node), "{name}: {error}");
        }
    }
}

/// Exact, or Gaussian with the reason.
#[test]
fn auto_says_what_it_chose_and_why() {
    let image: Array3<f32> = noise_image([2, 160, 160], 5, 1.0);
    let chosen = |bytes: Vec<u8>, tile: usize| {
        let model = model(bytes);
        let mut options = asked(Some(tile), 1, 1, Product::Classes);
        options.blend = Blend::Auto;
        let report =
            Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap().report;
        (report.blend, report.blend_reason, report.recomputed)
    };
    let network = |wanted: &str| local().into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    let (blend, reason, recomputed) = chosen(network("plain"), 64);
    assert_eq!(blend, "exact");
    assert!(reason.contains("the network is local") && recomputed > 1.0, "{reason}");
    // A field of 4 pixels to each side, kept from tiles of 10 pixels: 25 for one.
    let (blend, reason, _) = chosen(network("u-net, transposed"), 10);
    assert_eq!(blend, "gaussian");
    assert!(reason.contains("more than 2"), "{reason}");
    let (_, bytes, _) = global().into_iter().find(|(name, ..)| *name == "squeeze and excitation").unwrap();
    let (blend, reason, _) = chosen(bytes, 64);
    assert_eq!(blend, "gaussian");
    assert!(reason.contains("GlobalAveragePool"), "{reason}");
}

#[test]
fn tiles_without_a_right_pixel_are_refused() {
    let (_, bytes) = local().into_iter().find(|(name, _)| *name == "plain").unwrap();
    let model = model(bytes);
    let image: Array3<f32> = noise_image([2, 128, 128], 3, 1.0);
    for (tile, fits) in [(4, false), (5, true)] {
        let mut segmenter = Segmenter::new(&model, asked(Some(tile), 1, 1, Product::Classes)).unwrap();
        match segmenter.array(image.view().into(), None) {
            Ok(_) => assert!(fits, "{tile}"),
            Err(error) => {
                assert!(!fits && error.one_line().contains("expected at least 5"), "{tile}: {error}");
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            }
        }
    }
    // A raster that one tile covers needs no margins.
    let small = image.slice(s![.., ..4, ..3]).to_owned();
    let mut segmenter = Segmenter::new(&model, asked(Some(4), 1, 1, Product::Classes)).unwrap();
    let got = segmenter.array(small.view().into(), None).unwrap();
    assert_eq!((got.report.tiles, labels(&got.samples).dim()), (1, (4, 3)));
}

/// A tile of the model's own size that is larger than the raster would show the network what the raster is padded with.
#[test]
fn fixed_tiles_larger_than_the_raster_are_not_exact() {
    let fixed = crate::fixtures::model(crate::reach_networks::of_size(64));
    let image = crate::fixtures::noise_image::<f32>([2, 100, 40], 1, 1.0);
    let mut options = glebe::segment::SegmentOptions::default();
    options.product = glebe::segment::Product::Logits;
    options.blend = glebe::tiling::Blend::Exact;
    let run = |options: &glebe::segment::SegmentOptions| {
        glebe::segment::Segmenter::new(&fixed, options.clone()).unwrap().array(image.view().into(), None)
    };
    let error = run(&options).unwrap_err();
    assert_eq!(error.kind(), glebe::ErrorKind::ModelUnsupported);
    assert!(error.message().contains("64 pixels wide, the raster is 40"), "{error}");
    options.blend = glebe::tiling::Blend::Auto;
    let done = run(&options).unwrap();
    assert!(done.report.blend == "gaussian" && done.report.blend_reason.contains("cannot be exact"));
}
