//! Elements chosen by indices, and indices of elements.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, ValueType};
use crate::onnx::infer::{Call, Rule, one};
use crate::onnx::resolved;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Gather" => gather,
        "GatherElements" => gather_elements,
        "GatherND" => gather_nd,
        "ScatterElements" | "Scatter" => scatter_elements,
        "ScatterND" => scatter_nd,
        "TensorScatter" => tensor_scatter,
        "OneHot" => one_hot,
        "TopK" => top_k,
        "ArgMax" | "ArgMin" => extreme_index,
        "NonZero" => non_zero,
        "Compress" => compress,
        _ => return None,
    })
}

fn gather(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    let axis = call.axis_attribute(0, kind.shape.len())?;
    one(kind.element, [&kind.shape[..axis], call.shape(1)?, &kind.shape[axis + 1..]].concat())
}

fn gather_elements(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (kind, indices) = (call.kind(0)?, call.shape(1)?);
    elements_fit(call, &kind.shape, indices)?;
    one(kind.element, indices)
}

/// Indices have as many dimensions as the data, none but the axis larger.
fn elements_fit(call: &Call<'_>, data: &[usize], indices: &[usize]) -> Result<()> {
    let axis = call.axis_attribute(0, data.len())?;
    let fits =
        data.len() == indices.len() && (0..data.len()).all(|dim| dim == axis || indices[dim] <= data[dim]);
    if fits {
        return Ok(());
    }
    Err(call.node.invalid(format!("indices of shape {indices:?} for {data:?} along axis {axis}")))
}

fn gather_nd(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (kind, indices) = (call.kind(0)?, call.shape(1)?);
    let batch = resolved::size(call.node, call.node.int_or("batch_dims", 0))?;
    let misfit = || call.node.invalid(format!("indices of shape {indices:?} for {:?}", kind.shape));
    let (&depth, outer) = indices.split_last().ok_or_else(misfit)?;
    let end = batch.checked_add(depth).filter(|&end| end <= kind.shape.len()).ok_or_else(misfit)?;
    if batch > outer.len() || outer[..batch] != kind.shape[..batch] {
        return Err(misfit());
    }
    one(kind.element, [outer, &kind.shape[end..]].concat())
}

fn scatter_elements(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (kind, indices) = (call.kind(0)?, call.shape(1)?);
    elements_fit(call, &kind.shape, indices)?;
    call.expect(2, indices)?;
    call.expect_like_first(2)?;
    Ok(vec![kind.clone()])
}

fn scatter_nd(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (kind, indices) = (call.kind(0)?, call.shape(1)?);
    let split = indices.split_last().filter(|(depth, _)| **depth <= kind.shape.len());
    let Some((&depth, outer)) = split else {
        return Err(call.node.invalid(format!("indices of shape {indices:?} for {:?}", kind.shape)));
    };
    call.expect(2, &[outer, &kind.shape[depth..]].concat())?;
    call.expect_like_first(2)?;
    Ok(vec![kind.clone()])
}

/// A cache that is written to in place: like the cache.
fn tensor_scatter(call: &Call<'_>) -> Result<Vec<ValueType>> {
    Ok(vec![call.kind(0)?.clone()])
}

fn one_hot(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let indices = call.shape(0)?;
    call.input(1)?;
    let depth = match call.known(1).and_then(Constant::to_f64).as_deref() {
        Some(&[depth]) => resolved::size(call.node, depth as i64)?,
        _ => return Err(call.node.unsupported("the depth is not known in advance")),
    };
    let axis = call.axis_attribute(-1, indices.len() + 1)?;
    let mut shape = indices.to_vec();
    shape.insert(axis, depth);
    one(call.element(2)?, shape)
}

fn top_k(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    let axis = call.axis_attribute(-1, kind.shape.len())?;
    let &[count] = &call.sizes(1)?[..] else {
        return Err(call.node.invalid("input 1: expected one number"));
    };
    let mut shape = kind.shape.clone();
    if count > shape[axis] {
        return Err(call.node.invalid(format!("the first {count} of {}", shape[axis])));
    }
    shape[axis] = count;
    Ok(vec![ValueType::new(kind.element, shape.clone()), ValueType::new(ElementType::Int64, shape)])
}

fn extreme_index(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let mut shape = call.shape(0)?.to_vec();
    // A scalar counts as a vector of one element.
    let axis = call.axis_attribute(0, shape.len().max(1))?;
    if shape.get(axis) == Some(&0) {
        return Err(call.node.invalid(format!("the extreme of nothing: shape {shape:?}")));
    }
    if axis < shape.len() {
        if call.node.int_or("keepdims", 1) != 0 {
            shape[axis] = 1;
        } else {
            shape.remove(axis);
        }
    }
    one(ElementType::Int64, shape)
}

fn non_zero(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let id = call.input(0)?;
    // Not of a parameter: its elements change.
    let Some(elements) = call.graph.constant(id).and_then(|constant| constant.to_f64()) else {
        return Err(call.node.unsupported("the size of the result depends on data"));
    };
    let count = elements.iter().filter(|&&element| element != 0.0).count();
    one(ElementType::Int64, [call.shape(0)?.len(), count])
}

fn compress(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    let Some(condition) = call.graph.constant(call.input(1)?).and_then(|constant| constant.to_ints()) else {
        return Err(call.node.unsupported("the size of the result depends on data"));
    };
    let chosen = |size: usize| condition.iter().take(size).filter(|&&chosen| chosen != 0).count();
    if call.node.int("axis").is_none() {
        return one(kind.element, [chosen(call.count(&kind.shape)?)]);
    }
    let axis = call.axis_attribute(0, kind.shape.len())?;
    let mut shape = kind.shape.clone();
    shape[axis] = chosen(shape[axis]);
    one(kind.element, shape)
}
