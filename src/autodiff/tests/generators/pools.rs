//! Pools and Resize.

use super::products::{Sliding, signed};
use super::{Generator, cases, check_all};
use crate::autodiff::tests::array::Array;
use crate::autodiff::tests::case::Case;
use crate::autodiff::tests::choices::Choices;
use crate::error::Result;
use crate::onnx::proto::AttributeProto;

pub(super) const ALL: &[Generator] = &[
    cases("MaxPool", |c| pool(c, "MaxPool")).times(3),
    cases("AveragePool", |c| pool(c, "AveragePool")).times(3),
    cases("GlobalAveragePool", |c| global(c, "GlobalAveragePool")),
    cases("GlobalMaxPool", |c| global(c, "GlobalMaxPool")),
    cases("Resize", resize).times(8),
];

#[test]
fn pools_have_the_gradients_of_differences() {
    check_all(ALL);
}

/// Elements are distinct, so that no maximum changes.
fn pool(c: &mut Choices, op: &str) -> Result<Case> {
    // AveragePool has dilations from set 19 on.
    let mut case = Case::of_opset(19);
    let mut sliding = Sliding::new(c, true);
    let shape = [&[c.within(1, 2), c.within(1, 2)], &sliding.size[..]].concat();
    sliding.attributes.push(AttributeProto::int("ceil_mode", c.below(2) as i64));
    if op == "AveragePool" {
        sliding.attributes.push(AttributeProto::int("count_include_pad", c.below(2) as i64));
    }
    let x = case.x(c.distinct(&shape));
    case.op(op, &[Some(x)], &sliding.attributes)
}

fn global(c: &mut Choices, op: &str) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(3, 5);
    let x = case.x(c.distinct(&shape));
    case.op(op, &[Some(x)], &[])
}

fn resize(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let mode = c.one(&["nearest", "linear", "cubic"]);
    let coordinates = c.one(&[
        "half_pixel",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "half_pixel_symmetric",
        "tf_crop_and_resize",
    ]);
    let antialias = mode != "nearest" && c.below(3) == 2;
    // A region of interest is refused for the nearest mode.
    let coordinates = if coordinates == "tf_crop_and_resize" && (mode == "nearest" || antialias) {
        "half_pixel"
    } else {
        coordinates
    };
    let rank = c.one(&[4, 4, 3, 5, 2]);
    let lead = rank.min(if rank == 2 { 0 } else { 2 });
    let mut shape = c.shape(rank, 2);
    for dim in &mut shape[lead..] {
        *dim = c.within(1, if rank == 5 { 3 } else { 6 });
    }
    let mut attributes = vec![
        AttributeProto::string("mode", mode),
        AttributeProto::string("coordinate_transformation_mode", coordinates),
    ];
    match mode {
        "nearest" => {
            let nearest = c.one(&["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]);
            attributes.push(AttributeProto::string("nearest_mode", nearest));
        }
        "cubic" => attributes.push(AttributeProto::float("cubic_coeff_a", c.one(&[-0.75, -0.5]))),
        _ => {}
    }
    if mode == "cubic" || antialias {
        attributes.push(AttributeProto::int("exclude_outside", c.below(2) as i64));
    }
    if antialias {
        attributes.push(AttributeProto::int("antialias", 1));
    }
    let values = c.floats(&shape, -2.0, 2.0);
    let x = case.x(values);
    // All axes, or the attribute `axes`.
    let chosen: Vec<usize> = if c.below(3) == 2 { (lead..rank).collect() } else { (0..rank).collect() };
    if chosen.len() < rank {
        attributes.push(AttributeProto::ints("axes", &signed(&chosen)));
    }
    let roi = match coordinates {
        "tf_crop_and_resize" => {
            let whole = [vec![0.0; chosen.len()], vec![1.0; chosen.len()]].concat();
            Some(case.constant(&Array::floats(&[whole.len()], whole)))
        }
        _ => None,
    };
    if c.flip() {
        // Halves and doubles, whole factors, and scales that do not fit the size.
        let scales = chosen.iter().map(|&axis| {
            let scale = if axis < lead { 1.0 } else { c.one(&[2.0, 0.5, 1.0, 3.0, 1.6, 0.7]) };
            if shape[axis] as f64 * scale < 1.0 { 1.0 } else { scale }
        });
        let scales = scales.collect();
        let scales = case.constant(&Array::floats(&[chosen.len()], scales));
        return case.op("Resize", &[Some(x), roi, Some(scales)], &attributes);
    }
    let sizes: Vec<i64> = chosen
        .iter()
        .map(|&axis| match axis < lead {
            true => shape[axis] as i64,
            false => match c.below(3) {
                0 => 2 * shape[axis] as i64,
                _ => c.within(1, 9) as i64,
            },
        })
        .collect();
    if chosen.len() < rank && c.below(3) == 2 {
        let policy = c.one(&["not_larger", "not_smaller"]);
        attributes.push(AttributeProto::string("keep_aspect_ratio_policy", policy));
        // A map of which nothing remains is no case.
        let ratio = |axis: usize, size: i64| size as f64 / shape[axis] as f64;
        let least = chosen.iter().zip(&sizes).map(|(&axis, &size)| ratio(axis, size)).fold(9.0, f64::min);
        if chosen.iter().any(|&axis| shape[axis] as f64 * least < 0.75) {
            attributes.pop();
        }
    }
    let sizes = case.ints(&sizes);
    case.op("Resize", &[Some(x), roi, None, Some(sizes)], &attributes)
}
