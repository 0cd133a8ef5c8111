//! Shapes, parts, padding.

use super::{Generator, cases, check_all};
use crate::autodiff::tests::array::Array;
use crate::autodiff::tests::case::Case;
use crate::autodiff::tests::choices::Choices;
use crate::error::Result;
use crate::onnx::proto::AttributeProto;

pub(super) const ALL: &[Generator] = &[
    cases("Reshape", reshape),
    cases("Flatten", |c| {
        let shape = c.some_shape(0, 4);
        let axis = c.int(-(shape.len() as i64), shape.len() as i64);
        simple(c, &shape, "Flatten", &[AttributeProto::int("axis", axis)])
    }),
    cases("Squeeze", squeeze),
    cases("Unsqueeze", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(0, 3);
        let rank = shape.len() + c.within(1, 2);
        let mut axes = c.axes(rank, rank);
        axes.truncate(rank - shape.len());
        let x = case.x(c.floats(&shape, -1.0, 1.0));
        let axes = case.ints(&axes);
        case.op("Unsqueeze", &[Some(x), Some(axes)], &[])
    }),
    cases("Transpose", |c| {
        let shape = c.some_shape(1, 5);
        let order = c.axes(shape.len(), shape.len());
        let order: Vec<i64> = order.iter().map(|axis| axis.rem_euclid(shape.len() as i64)).collect();
        let attributes = if c.below(4) == 3 { vec![] } else { vec![AttributeProto::ints("perm", &order)] };
        simple(c, &shape, "Transpose", &attributes)
    }),
    cases("Expand", |c| {
        let mut case = Case::new();
        let wanted = c.some_shape(0, 4);
        let own = c.narrower(&wanted);
        let x = case.x(c.floats(&own, -1.0, 1.0));
        // The wanted shape may itself be narrower than the input.
        let wanted: Vec<i64> =
            wanted.iter().map(|&dim| if c.below(6) == 5 { 1 } else { dim as i64 }).collect();
        let wanted = case.ints(&wanted);
        case.op("Expand", &[Some(x), Some(wanted)], &[])
    }),
    cases("Tile", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(1, 4);
        let repeats: Vec<i64> = shape.iter().map(|_| c.within(1, 3) as i64).collect();
        let x = case.x(c.floats(&shape, -1.0, 1.0));
        let repeats = case.ints(&repeats);
        case.op("Tile", &[Some(x), Some(repeats)], &[])
    }),
    cases("DepthToSpace", |c| {
        let block = c.within(1, 3);
        let shape = [c.within(1, 2), c.within(1, 2) * block * block, c.within(1, 2), c.within(1, 3)];
        let mode = c.one(&["DCR", "CRD"]);
        let attributes =
            [AttributeProto::int("blocksize", block as i64), AttributeProto::string("mode", mode)];
        simple(c, &shape, "DepthToSpace", &attributes)
    }),
    cases("SpaceToDepth", |c| {
        let block = c.within(1, 3);
        let shape = [c.within(1, 2), c.within(1, 2), c.within(1, 2) * block, c.within(1, 2) * block];
        simple(c, &shape, "SpaceToDepth", &[AttributeProto::int("blocksize", block as i64)])
    }),
    cases("Trilu", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(2, 4);
        let upper = AttributeProto::int("upper", c.below(2) as i64);
        let x = case.x(c.floats(&shape, -1.0, 1.0));
        let k = c.int(-4, 4);
        let k = if c.flip() { Some(case.constant(&Array::ints(&[], vec![k]))) } else { None };
        case.op("Trilu", &[Some(x), k], &[upper])
    }),
    cases("CumSum", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(1, 4);
        let axis = c.axis(shape.len());
        let attributes = [
            AttributeProto::int("exclusive", c.below(2) as i64),
            AttributeProto::int("reverse", c.below(2) as i64),
        ];
        let x = case.x(c.floats(&shape, -1.0, 1.0));
        let axis = case.constant(&Array::ints(&[], vec![axis]));
        case.op("CumSum", &[Some(x), Some(axis)], &attributes)
    }),
    cases("Concat", concat),
    cases("Split", split).times(2),
    cases("Slice", slice).times(3),
    cases("Pad", pad).times(4),
];

#[test]
fn layout_has_the_gradients_of_differences() {
    check_all(ALL);
}

fn simple(c: &mut Choices, shape: &[usize], op: &str, attributes: &[AttributeProto]) -> Result<Case> {
    let mut case = Case::new();
    let x = case.x(c.floats(shape, -1.0, 1.0));
    case.op(op, &[Some(x)], attributes)
}

fn reshape(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(0, 4);
    let x = case.x(c.floats(&shape, -1.0, 1.0));
    // Two axes merged, one left open, an axis kept by 0.
    let mut wanted: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
    if wanted.len() > 1 && c.flip() {
        let last = wanted.pop().unwrap_or(1);
        if let Some(dim) = wanted.last_mut() {
            *dim *= last;
        }
    }
    if !wanted.is_empty() && c.flip() {
        let open = c.below(wanted.len());
        wanted[open] = -1;
        if open > 0 && c.flip() {
            wanted[0] = 0;
        }
    }
    if c.below(3) == 2 {
        wanted.push(1);
    }
    let wanted = case.ints(&wanted);
    case.op("Reshape", &[Some(x), Some(wanted)], &[])
}

fn squeeze(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let mut shape = c.some_shape(1, 5);
    let rank = shape.len() as i64;
    let axes = c.axes(shape.len(), 1);
    for axis in &axes {
        shape[axis.rem_euclid(rank) as usize] = 1;
    }
    let x = case.x(c.floats(&shape, -1.0, 1.0));
    let axes = if c.below(4) == 3 { None } else { Some(case.ints(&axes)) };
    case.op("Squeeze", &[Some(x), axes], &[])
}

fn concat(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(1, 4);
    let axis = c.axis(shape.len());
    let at = axis.rem_euclid(shape.len() as i64) as usize;
    let mut parts = Vec::new();
    for _ in 0..c.within(1, 4) {
        let mut own = shape.clone();
        own[at] = c.within(1, 3);
        let values = c.floats(&own, -1.0, 1.0);
        parts.push(Some(if c.below(5) == 4 { case.constant(&values) } else { case.x(values) }));
    }
    if c.below(4) == 3 {
        parts.push(parts[0]);
    }
    case.op("Concat", &parts, &[AttributeProto::int("axis", axis)])
}

/// Sizes as an input, or a number of parts of which the last may be smaller; some parts are not used.
fn split(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let mut shape = c.some_shape(1, 4);
    let axis = c.axis(shape.len());
    let at = axis.rem_euclid(shape.len() as i64) as usize;
    let parts = c.within(1, 4);
    let mut attributes = vec![AttributeProto::int("axis", axis)];
    let sizes: Vec<i64> = (0..parts).map(|_| c.within(1, 3) as i64).collect();
    let uneven = c.flip();
    shape[at] = match uneven {
        true => sizes.iter().sum::<i64>() as usize,
        false => {
            attributes.push(AttributeProto::int("num_outputs", parts as i64));
            // The last part is not empty.
            let each = c.within(1, 3);
            each * parts - c.below(each)
        }
    };
    let x = case.x(c.floats(&shape, -1.0, 1.0));
    let sizes = if uneven { Some(case.ints(&sizes)) } else { None };
    let made = case.add("Split", &[Some(x), sizes], &attributes, parts)?;
    let used: Vec<_> = made.iter().copied().filter(|_| c.below(4) != 3).collect();
    case.ends = if used.is_empty() { made } else { used };
    Ok(case)
}

fn slice(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let rank = c.within(1, 4);
    let shape = c.shape(rank, if rank > 2 { 4 } else { 9 });
    let axes = c.axes(shape.len(), 1);
    let (mut starts, mut ends, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for axis in &axes {
        let size = shape[axis.rem_euclid(shape.len() as i64) as usize] as i64;
        let step = c.one(&[1, 1, -1, 2, 3, -2, -3]);
        // At least one element; bounds from the front, from the back, and far outside.
        let first = c.below(size as usize) as i64;
        let count = 1 + c.below(size as usize) as i64;
        let after = first + count * step;
        let end = match step > 0 {
            true if after >= size => c.one(&[after, i64::MAX, size]),
            true => after - if c.flip() { size } else { 0 },
            false if after < 0 => c.one(&[i64::MIN, -size - 1, -size - 5]),
            false => after - if c.flip() { size } else { 0 },
        };
        starts.push(first - if c.flip() { size } else { 0 });
        ends.push(end);
        steps.push(step);
    }
    let x = case.x(c.floats(&shape, -1.0, 1.0));
    let bounds = [case.ints(&starts), case.ints(&ends), case.ints(&axes), case.ints(&steps)];
    case.op("Slice", &[Some(x), Some(bounds[0]), Some(bounds[1]), Some(bounds[2]), Some(bounds[3])], &[])
}

fn pad(c: &mut Choices) -> Result<Case> {
    // "wrap" is of set 19.
    let mut case = Case::of_opset(19);
    let mode = c.one(&["constant", "reflect", "edge", "wrap"]);
    let rank = c.within(1, 4);
    let shape = c.shape(rank, if rank > 2 { 4 } else { 7 });
    let axes = c.axes(rank, 1);
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for axis in &axes {
        let size = shape[axis.rem_euclid(rank as i64) as usize] as i64;
        let mut pair = [0, 0];
        for amount in &mut pair {
            *amount = c.int(-1, 3);
        }
        // Something is left, and a mirror image is not longer than what it mirrors.
        let left = size + pair[0].min(0) + pair[1].min(0);
        if left < 1 {
            pair = [0, 0];
        }
        let left = size + pair[0].min(0) + pair[1].min(0);
        let most = match mode {
            "reflect" => left - 1,
            "wrap" => left,
            _ => 3,
        };
        begins.push(pair[0].min(most));
        ends.push(pair[1].min(most));
    }
    let x = case.x(c.floats(&shape, -1.0, 1.0));
    let all_axes = c.flip();
    let (mut pads, mut inputs) = ([begins.clone(), ends.clone()].concat(), vec![Some(x)]);
    if all_axes {
        pads = vec![0; 2 * rank];
        for (index, axis) in axes.iter().enumerate() {
            let axis = axis.rem_euclid(rank as i64) as usize;
            pads[axis] = begins[index];
            pads[axis + rank] = ends[index];
        }
    }
    inputs.push(Some(case.ints(&pads)));
    let value = Array::floats(&[], vec![0.5]);
    inputs.push(if mode == "constant" && c.flip() { Some(case.constant(&value)) } else { None });
    inputs.push(if all_axes { None } else { Some(case.ints(&axes)) });
    case.op("Pad", &inputs, &[AttributeProto::string("mode", mode)])
}
