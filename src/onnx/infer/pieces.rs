//! Tensors put together, taken apart, and extended.

use crate::error::Result;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, one};
use crate::onnx::resolved::{Pads, spans, split_sizes};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Concat" => concat,
        "Split" => split,
        "Slice" => slice,
        "Pad" => pad,
        "Tile" => tile,
        _ => return None,
    })
}

fn concat(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let first = call.kind(0)?;
    let axis = match call.node.int("axis") {
        Some(axis) => call.axis(axis, first.shape.len())?,
        None => return Err(call.node.invalid("axis is missing")),
    };
    let mut shape = first.shape.clone();
    for index in 1..call.node.inputs.len() {
        call.expect_like_first(index)?;
        let other = call.shape(index)?;
        let fits = other.len() == shape.len()
            && (0..shape.len()).all(|dim| dim == axis || other[dim] == first.shape[dim]);
        let sum = if fits { shape[axis].checked_add(other[axis]) } else { None };
        shape[axis] = sum.ok_or_else(|| {
            let message =
                format!("input {index}: {other:?} does not fit {:?} along axis {axis}", first.shape);
            call.node.invalid(message)
        })?;
    }
    one(first.element, shape)
}

fn split(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    let (axis, sizes) = split_sizes(call.graph, call.node, call.outputs)?;
    let part = |size: usize| {
        let mut part = kind.clone();
        part.shape[axis] = size;
        part
    };
    Ok(sizes.into_iter().map(part).collect())
}

fn slice(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let spans = spans(call.graph, call.node)?;
    one(call.element(0)?, spans.iter().map(|span| span.count).collect::<Vec<_>>())
}

fn pad(call: &Call<'_>) -> Result<Vec<ValueType>> {
    one(call.element(0)?, Pads::of(call.graph, call.node)?.output)
}

fn tile(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (kind, repeats) = (call.kind(0)?, call.sizes(1)?);
    if repeats.len() != kind.shape.len() {
        return Err(call.node.invalid(format!("repeats {repeats:?} of shape {:?}", kind.shape)));
    }
    let dims = kind.shape.iter().zip(repeats).map(|(&dim, repeat)| call.product(dim, repeat));
    one(kind.element, dims.collect::<Result<Vec<_>>>()?)
}
