//! Splits.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node};
use crate::onnx::resolved::{axis_of, ints, size};

/// More parts than this no file has a use for; each is an output of the node.
const MOST_PARTS: usize = 1 << 16;

/// The axis of a Split and the sizes of its parts along it.
///
/// The sizes are the second input, or equal parts of which the last may be smaller: `num_outputs`, or `outputs` where
/// the node is of a set before 18 and says neither.
///
/// # Errors
/// `ModelInvalid` where the sizes do not add up; `ModelUnsupported` where they depend on data.
pub(crate) fn split_sizes(graph: &Graph, node: &Node, outputs: usize) -> Result<(usize, Vec<usize>)> {
    let shape = graph.shape(node.needed(0)?);
    let axis = axis_of(node, node.int_or("axis", 0), shape.len())?;
    let total = shape[axis];
    if let Some(sizes) = ints(graph, node, 1)? {
        let sizes = sizes.iter().map(|&part| size(node, part)).collect::<Result<Vec<_>>>()?;
        let sum = sizes.iter().try_fold(0usize, |sum, &part| sum.checked_add(part));
        if sum != Some(total) {
            return Err(node.invalid(format!("parts of {sizes:?} out of {total}")));
        }
        return Ok((axis, sizes));
    }
    let parts = match node.int("num_outputs") {
        Some(parts) => size(node, parts)?,
        None => outputs,
    };
    if parts == 0 || parts > MOST_PARTS {
        return Err(node.invalid(format!("{parts} parts out of {total}")));
    }
    let part = total.div_ceil(parts);
    let sizes: Vec<usize> = (0..parts).map(|index| total.saturating_sub(index * part).min(part)).collect();
    Ok((axis, sizes))
}
