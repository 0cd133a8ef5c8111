//! Axes of nodes.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node};
use crate::onnx::resolved::ints;

/// An axis, counted from the end where negative, as an index below `rank`.
///
/// # Errors
/// `ModelInvalid` where it lies outside.
pub(crate) fn axis_of(node: &Node, axis: i64, rank: usize) -> Result<usize> {
    let index = if axis < 0 { axis + rank as i64 } else { axis };
    if (0..rank as i64).contains(&index) {
        return Ok(index as usize);
    }
    Err(node.invalid(format!("axis {axis} of {rank} dimensions")))
}

/// The axes that a node of the `Reduce` family goes over, in ascending order; empty where it gives its input on.
///
/// Without axes these are all, unless `noop_with_empty_axes` is set.
///
/// # Errors
/// `ModelInvalid` for axes that the input does not have or that come twice; `ModelUnsupported` where they depend on
/// data.
pub(crate) fn reduced_axes(graph: &Graph, node: &Node) -> Result<Vec<usize>> {
    let rank = graph.shape(node.needed(0)?).len();
    by_input(node, "axes")?;
    let axes = ints(graph, node, 1)?.unwrap_or_default();
    if axes.is_empty() {
        let none = node.int_or("noop_with_empty_axes", 0) != 0;
        return Ok(if none { Vec::new() } else { (0..rank).collect() });
    }
    distinct_axes(node, &axes, rank)
}

/// That a node does not say in an attribute what operators of set 18 and later say in an input: there it would be
/// passed over in silence.
///
/// # Errors
/// `ModelInvalid` where it does.
pub(crate) fn by_input(node: &Node, name: &str) -> Result<()> {
    match node.attribute(name) {
        None => Ok(()),
        Some(_) => {
            Err(node.invalid(format!("{name} is an input of this operator since set 18, no attribute")))
        }
    }
}

/// Axes as indices below `rank`, in ascending order.
///
/// # Errors
/// `ModelInvalid` where one lies outside or comes twice.
pub(crate) fn distinct_axes(node: &Node, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut indices = axes.iter().map(|&axis| axis_of(node, axis, rank)).collect::<Result<Vec<_>>>()?;
    indices.sort_unstable();
    if indices.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(node.invalid(format!("axes {axes:?} of {rank} dimensions: one comes twice")));
    }
    Ok(indices)
}
