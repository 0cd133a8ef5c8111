//! Where the greatest and the least elements are.

use std::cmp::Ordering;

use crate::error::Result;
use crate::onnx::fold::array::{Array, Elements};
use crate::onnx::fold::{Evaluation, Rule};
use crate::onnx::resolved::axis_of;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "ArgMax" | "ArgMin" => extreme_index,
        "TopK" => top_k,
        _ => return None,
    })
}

type Made = Result<Option<Vec<Array>>>;

/// An axis seen as `[outer, size, inner]`.
struct Lines {
    outer: usize,
    size: usize,
    inner: usize,
}

impl Lines {
    fn along(shape: &[usize], axis: usize) -> Lines {
        Lines {
            outer: shape[..axis].iter().product(),
            size: shape.get(axis).copied().unwrap_or(1),
            inner: shape.get(axis + 1..).unwrap_or_default().iter().product(),
        }
    }

    /// Positions of the elements of every line.
    fn places(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        (0..self.outer * self.inner).map(|line| {
            let begin = line / self.inner * self.size * self.inner + line % self.inner;
            (0..self.size).map(|index| begin + index * self.inner).collect()
        })
    }
}

fn compare(array: &Array, a: usize, b: usize) -> Ordering {
    match &array.elements {
        Elements::Ints(ints) => ints[a].cmp(&ints[b]),
        Elements::Floats(floats) => floats[a].partial_cmp(&floats[b]).unwrap_or(Ordering::Equal),
    }
}

fn has_nan(array: &Array) -> bool {
    matches!(&array.elements, Elements::Floats(floats) if floats.iter().any(|value| value.is_nan()))
}

fn extreme_index(evaluation: &Evaluation<'_>) -> Made {
    let (input, node) = (evaluation.input(0)?, evaluation.node);
    if has_nan(input) {
        return Ok(None);
    }
    let axis = axis_of(node, node.int_or("axis", 0), input.shape.len().max(1))?;
    let last = node.int_or("select_last_index", 0) != 0;
    let wanted = if node.is("ArgMax") { Ordering::Greater } else { Ordering::Less };
    let index = |places: Vec<usize>| {
        let mut best = 0;
        for other in 1..places.len() {
            let order = compare(input, places[other], places[best]);
            if order == wanted || last && order == Ordering::Equal {
                best = other;
            }
        }
        best as i64
    };
    let made = Lines::along(&input.shape, axis).places().map(index).collect();
    Ok(Some(vec![Array::ints(evaluation.shape(), made)]))
}

/// Of equal elements the one with the lower index comes first.
fn top_k(evaluation: &Evaluation<'_>) -> Made {
    let (input, node) = (evaluation.input(0)?, evaluation.node);
    let sorted = node.int_or("sorted", 1) != 0;
    if has_nan(input) || !sorted || input.shape.is_empty() {
        return Ok(None);
    }
    let axis = axis_of(node, node.int_or("axis", -1), input.shape.len())?;
    let lines = Lines::along(&input.shape, axis);
    let largest = node.int_or("largest", 1) != 0;
    let count = evaluation.shape()[axis];
    let total = lines.outer * count * lines.inner;
    let (mut places, mut indices) = (vec![0; total], vec![0; total]);
    for (line, own) in lines.places().enumerate() {
        let mut order: Vec<usize> = (0..own.len()).collect();
        order.sort_by(|&a, &b| {
            let order = compare(input, own[a], own[b]);
            if largest { order.reverse() } else { order }
        });
        for (rank, &index) in order.iter().take(count).enumerate() {
            let at = (line / lines.inner * count + rank) * lines.inner + line % lines.inner;
            places[at] = own[index];
            indices[at] = index as i64;
        }
    }
    let shape = evaluation.shape();
    Ok(Some(vec![input.gather(shape, &places), Array::ints(shape, indices)]))
}
