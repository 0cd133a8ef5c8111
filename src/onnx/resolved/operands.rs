//! Inputs that operators treat like attributes, and sizes out of a file.

use crate::error::Result;
use crate::onnx::graph::{Constant, Graph, Node};

/// Integers that input `index` must be known to be; `None` where the input is left out.
///
/// # Errors
/// `ModelUnsupported` where they depend on data; `ModelInvalid` where they are no integers.
pub(crate) fn ints(graph: &Graph, node: &Node, index: usize) -> Result<Option<Vec<i64>>> {
    let Some(constant) = known(graph, node, index)? else { return Ok(None) };
    constant.to_ints().map(Some).ok_or_else(|| node.invalid(format!("input {index}: expected integers")))
}

/// Numbers that input `index` must be known to be; `None` where the input is left out.
///
/// # Errors
/// `ModelUnsupported` where they depend on data; `ModelInvalid` where they are no real numbers.
pub(crate) fn numbers(graph: &Graph, node: &Node, index: usize) -> Result<Option<Vec<f64>>> {
    let Some(constant) = known(graph, node, index)? else { return Ok(None) };
    constant.to_f64().map(Some).ok_or_else(|| node.invalid(format!("input {index}: expected numbers")))
}

fn known<'a>(graph: &'a Graph, node: &Node, index: usize) -> Result<Option<&'a Constant>> {
    let Some(id) = node.input(index) else { return Ok(None) };
    graph.known(id).map(Some).ok_or_else(|| {
        node.unsupported(format!("input {index} ({:?}) is not known in advance", graph.name(id)))
    })
}

/// A size out of a file.
///
/// # Errors
/// `ModelInvalid` where it is negative.
pub(crate) fn size(node: &Node, value: i64) -> Result<usize> {
    usize::try_from(value).map_err(|_| node.invalid(format!("a size of {value}")))
}

/// Number of elements of a shape.
///
/// # Errors
/// `ModelInvalid` where it does not fit.
pub(crate) fn count(node: &Node, shape: &[usize]) -> Result<usize> {
    let product = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    product.ok_or_else(|| node.invalid(format!("shape {shape:?} has too many elements")))
}
