//! Pools.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node};
use crate::onnx::resolved::{Windows, size};

/// A MaxPool, AveragePool or LpPool node: `X [N, C, D...]`, `Y [N, C, D'...]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pooling {
    /// N.
    pub(crate) batch: usize,
    /// C.
    pub(crate) channels: usize,
    /// The windows.
    pub(crate) windows: Windows,
    /// Of an AveragePool: whether padding counts as elements of the mean.
    pub(crate) count_include_pad: bool,
}

impl Pooling {
    /// Of a node with input X.
    ///
    /// # Errors
    /// `ModelInvalid` where shape and attributes contradict each other.
    pub(crate) fn of(graph: &Graph, node: &Node) -> Result<Pooling> {
        let x = graph.shape(node.needed(0)?);
        let kernel = node.ints("kernel_shape").unwrap_or_default();
        if x.len() < 3 || kernel.len() != x.len() - 2 {
            return Err(node.invalid(format!("kernel_shape {kernel:?} for input {x:?}")));
        }
        let kernel = kernel.iter().map(|&dim| size(node, dim)).collect::<Result<Vec<_>>>()?;
        Ok(Pooling {
            batch: x[0],
            channels: x[1],
            windows: Windows::sliding(node, &x[2..], &kernel)?,
            count_include_pad: node.int_or("count_include_pad", 0) != 0,
        })
    }

    #[cfg(test)]
    /// Of an AveragePool, for every window along an axis: what the sum is divided by. Along several axes the product of
    /// these. Padding counts only as far as it reaches, what ceil mode adds beyond it never does.
    pub(crate) fn divisors(&self, axis: usize) -> Vec<usize> {
        if self.count_include_pad { self.windows.inside_padded(axis) } else { self.windows.inside(axis) }
    }

    /// Shape of Y.
    pub(crate) fn output(&self) -> Vec<usize> {
        [&[self.batch, self.channels], &self.windows.outputs[..]].concat()
    }
}
