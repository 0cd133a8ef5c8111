//! Padding by Pad nodes.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node};
use crate::onnx::resolved::{axis_of, ints};

/// Elements that a Pad adds along every axis of its input; negative where it cuts off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pads {
    /// Before the first element.
    pub(crate) begin: Vec<i64>,
    /// Behind the last element.
    pub(crate) end: Vec<i64>,
    /// Sizes of the output.
    pub(crate) output: Vec<usize>,
}

impl Pads {
    /// Of a node with inputs data, pads, value and perhaps axes.
    ///
    /// # Errors
    /// `ModelInvalid` for pads that do not fit the axes or cut off more than there is; `ModelUnsupported` where they
    /// depend on data.
    pub(crate) fn of(graph: &Graph, node: &Node) -> Result<Pads> {
        let shape = graph.shape(node.needed(0)?);
        let rank = shape.len();
        let pads = ints(graph, node, 1)?.ok_or_else(|| node.invalid("input 1 is missing"))?;
        let axes = match ints(graph, node, 3)? {
            Some(axes) => axes.iter().map(|&axis| axis_of(node, axis, rank)).collect::<Result<Vec<_>>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(node.invalid(format!("{} pads for {} axes", pads.len(), axes.len())));
        }
        let (mut begin, mut end) = (vec![0; rank], vec![0; rank]);
        for (index, &axis) in axes.iter().enumerate() {
            begin[axis] = pads[index];
            end[axis] = pads[axes.len() + index];
        }
        let output = (0..rank).map(|axis| {
            let size = i128::from(shape[axis] as u64) + i128::from(begin[axis]) + i128::from(end[axis]);
            usize::try_from(size).map_err(|_| node.invalid(format!("axis {axis} gets a size of {size}")))
        });
        let output = output.collect::<Result<_>>()?;
        Ok(Pads { begin, end, output })
    }
}
