//! Elements chosen by indices.

use crate::error::Result;
use crate::onnx::fold::array::{Array, over, position, strides};
use crate::onnx::fold::{Evaluation, Rule};
use crate::onnx::graph::Node;
use crate::onnx::resolved::axis_of;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Gather" => gather,
        "GatherElements" => gather_elements,
        "GatherND" => gather_nd,
        "NonZero" => non_zero,
        "Compress" => compress,
        "OneHot" => one_hot,
        _ => return None,
    })
}

type Made = Result<Option<Vec<Array>>>;

/// An index, counted from the end where negative.
pub(super) fn index_below(node: &Node, index: i64, size: usize) -> Result<usize> {
    let at = if index < 0 { index.saturating_add(size as i64) } else { index };
    usize::try_from(at)
        .ok()
        .filter(|&at| at < size)
        .ok_or_else(|| node.invalid(format!("index {index} of {size} elements")))
}

fn gather(evaluation: &Evaluation<'_>) -> Made {
    let (data, indices) = (evaluation.input(0)?, evaluation.input(1)?);
    let Some(ints) = indices.as_ints() else { return Ok(None) };
    let axis = axis_of(evaluation.node, evaluation.node.int_or("axis", 0), data.shape.len())?;
    let size = data.shape[axis];
    let inside = ints.iter().map(|&index| index_below(evaluation.node, index, size));
    let inside = inside.collect::<Result<Vec<_>>>()?;
    let outer: usize = data.shape[..axis].iter().product();
    let inner: usize = data.shape[axis + 1..].iter().product();
    let mut places = Vec::with_capacity(outer * inside.len() * inner);
    for row in 0..outer {
        for &index in &inside {
            let begin = (row * size + index) * inner;
            places.extend(begin..begin + inner);
        }
    }
    Ok(Some(vec![data.gather(evaluation.shape(), &places)]))
}

fn gather_elements(evaluation: &Evaluation<'_>) -> Made {
    let (data, indices) = (evaluation.input(0)?, evaluation.input(1)?);
    let Some(ints) = indices.as_ints() else { return Ok(None) };
    let places = element_places(evaluation.node, &data.shape, &indices.shape, ints)?;
    Ok(Some(vec![data.gather(indices.shape.clone(), &places)]))
}

/// For every index, the position of the element of `data` that it names: its own place but for the axis.
pub(super) fn element_places(
    node: &Node,
    data: &[usize],
    shape: &[usize],
    indices: &[i64],
) -> Result<Vec<usize>> {
    let axis = axis_of(node, node.int_or("axis", 0), data.len())?;
    let steps = strides(data);
    let mut given = indices.iter();
    let places = over(shape, |at| {
        let index = index_below(node, given.next().copied().unwrap_or(0), data[axis])?;
        Ok(position(&steps, at) - at[axis] * steps[axis] + index * steps[axis])
    });
    places.into_iter().collect()
}

fn gather_nd(evaluation: &Evaluation<'_>) -> Made {
    let (data, indices) = (evaluation.input(0)?, evaluation.input(1)?);
    let Some(ints) = indices.as_ints() else { return Ok(None) };
    let batch = evaluation.node.int_or("batch_dims", 0) as usize;
    let begins = block_places(evaluation.node, &data.shape, &indices.shape, ints, batch)?;
    let depth = indices.shape.last().copied().unwrap_or(0);
    let block: usize = data.shape[batch + depth..].iter().product();
    let places: Vec<usize> = begins.iter().flat_map(|&begin| begin..begin + block).collect();
    Ok(Some(vec![data.gather(evaluation.shape(), &places)]))
}

/// For every tuple of indices (the last axis of `shape`), the position of the first element of the block that it
/// names, within its own batch.
pub(super) fn block_places(
    node: &Node,
    data: &[usize],
    shape: &[usize],
    indices: &[i64],
    batch: usize,
) -> Result<Vec<usize>> {
    let Some((&depth, outer)) = shape.split_last() else { return Ok(Vec::new()) };
    let steps = strides(data);
    let mut given = indices.iter();
    let places = over(outer, |at| {
        let mut place = position(&steps[..batch], &at[..batch]);
        for axis in batch..batch + depth {
            place += index_below(node, given.next().copied().unwrap_or(0), data[axis])? * steps[axis];
        }
        Ok(place)
    });
    places.into_iter().collect()
}

/// One row an axis, one column an element, in row-major order.
fn non_zero(evaluation: &Evaluation<'_>) -> Made {
    let input = evaluation.input(0)?;
    let mut elements = input.to_floats().into_iter();
    let found: Vec<Vec<usize>> =
        over(&input.shape, |at| elements.next().filter(|&element| element != 0.0).map(|_| at.to_vec()))
            .into_iter()
            .flatten()
            .collect();
    let rows = (0..input.shape.len()).flat_map(|axis| found.iter().map(move |at| at[axis] as i64));
    Ok(Some(vec![Array::ints(evaluation.shape(), rows.collect())]))
}

fn compress(evaluation: &Evaluation<'_>) -> Made {
    let (data, condition) = (evaluation.input(0)?, evaluation.input(1)?);
    let Some(condition) = condition.as_ints() else { return Ok(None) };
    let is_chosen = |index: usize| condition.get(index).is_some_and(|&chosen| chosen != 0);
    let (size, inner) = match evaluation.node.int("axis") {
        Some(axis) => {
            let axis = axis_of(evaluation.node, axis, data.shape.len())?;
            (data.shape[axis], data.shape[axis + 1..].iter().product())
        }
        None => (data.len(), 1),
    };
    let places: Vec<usize> = (0..data.len()).filter(|place| is_chosen(place / inner % size)).collect();
    Ok(Some(vec![data.gather(evaluation.shape(), &places)]))
}

/// Indices, depth and the two values; an index that is not below the depth gives no one.
fn one_hot(evaluation: &Evaluation<'_>) -> Made {
    let (indices, values) = (evaluation.input(0)?, evaluation.input(2)?);
    let shape = evaluation.shape();
    let axis = axis_of(evaluation.node, evaluation.node.int_or("axis", -1), shape.len())?;
    if values.len() != 2 {
        return Err(evaluation.node.invalid("expected two values"));
    }
    let depth = shape[axis] as i64;
    let indices: Vec<i64> = indices.to_floats().into_iter().map(|index| index as i64).collect();
    let inner: usize = shape[axis + 1..].iter().product();
    let places = over(shape, |at| {
        let outer = position(&strides(&shape[..axis]), &at[..axis]);
        let own = outer * inner + position(&strides(&shape[axis + 1..]), &at[axis + 1..]);
        let index = indices[own];
        usize::from((if index < 0 { index.saturating_add(depth) } else { index }) == at[axis] as i64)
    });
    Ok(Some(vec![values.gather(shape, &places)]))
}
