//! Types of the outputs of a node from those of its inputs.
//!
//! Operators are understood in their form of operator set 18 or later ([`super::graph::CANONICAL_OPSET`]); the import
//! brings older ones into it. Shapes are static: where a shape is an input (Reshape, Expand, Resize), that input has
//! to be known.
//!
//! An operator is one function of the family's file and one line of [`rule`].

mod elementwise;

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, Node, ValueId, ValueType};
use crate::onnx::proto::is_default_domain;

/// Types of all outputs that the node has; at least those that are asked for, where the operator has as many.
type Rule = fn(&Call<'_>) -> Result<Vec<ValueType>>;

/// Types of the outputs of `node`, which need not be in the graph yet; its inputs are. `outputs` is the number of
/// outputs that are asked for.
///
/// # Errors
/// `ModelInvalid` for what the operator does not allow; `ModelUnsupported` for an operator without a rule or a size
/// that depends on data.
pub(super) fn infer(graph: &Graph, node: &Node, outputs: usize) -> Result<Vec<ValueType>> {
    let domain = if is_default_domain(&node.domain) { "" } else { node.domain.as_str() };
    let Some(rule) = rule(domain, &node.op_type) else {
        return Err(node.unsupported("this operator is not known to the compiler"));
    };
    rule(&Call { graph, node, outputs })
}

/// Whether the types of an operator's outputs can be inferred.
pub(crate) fn knows(domain: &str, op_type: &str) -> bool {
    rule(if is_default_domain(domain) { "" } else { domain }, op_type).is_some()
}

fn rule(domain: &str, op_type: &str) -> Option<Rule> {
    if domain == "" { elementwise::rule(op_type) } else { None }
}

/// A node whose outputs are to be typed.
#[derive(Debug)]
pub(super) struct Call<'a> {
    graph: &'a Graph,
    /// The node.
    pub(super) node: &'a Node,
    /// How many outputs are asked for.
    pub(super) outputs: usize,
}

impl<'a> Call<'a> {
    /// Input `index`, which must be there.
    pub(super) fn input(&self, index: usize) -> Result<ValueId> {
        self.node.needed(index)
    }

    /// Type of input `index`, which must be there.
    pub(super) fn kind(&self, index: usize) -> Result<&'a ValueType> {
        Ok(self.graph.kind(self.input(index)?))
    }

    /// Shape of input `index`, which must be there.
    pub(super) fn shape(&self, index: usize) -> Result<&'a [usize]> {
        Ok(&self.kind(index)?.shape)
    }

    /// Shape of input `index`, which must have `rank` dimensions.
    pub(super) fn shape_of_rank(&self, index: usize, rank: usize) -> Result<&'a [usize]> {
        let shape = self.shape(index)?;
        if shape.len() != rank {
            let message = format!("input {index}: expected {rank} dimensions, got shape {shape:?}");
            return Err(self.node.invalid(message));
        }
        Ok(shape)
    }

    /// Element type of input `index`, which must be there.
    pub(super) fn element(&self, index: usize) -> Result<ElementType> {
        Ok(self.kind(index)?.element)
    }

    /// Elements of input `index` where it is there and known.
    pub(super) fn known(&self, index: usize) -> Option<&'a Constant> {
        self.node.input(index).and_then(|id| self.graph.known(id))
    }

    /// Integers that input `index` must be known to be; `None` where the input is left out.
    ///
    /// # Errors
    /// `ModelUnsupported` where they depend on data.
    pub(super) fn ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        let Some(id) = self.node.input(index) else { return Ok(None) };
        let constant = self.graph.known(id).ok_or_else(|| {
            self.node
                .unsupported(format!("input {index} ({:?}) is not known in advance", self.graph.name(id)))
        })?;
        let ints = constant.to_ints();
        ints.map(Some).ok_or_else(|| self.node.invalid(format!("input {index}: expected integers")))
    }

    /// Numbers that input `index` must be known to be; `None` where the input is left out.
    ///
    /// # Errors
    /// `ModelUnsupported` where they depend on data.
    pub(super) fn numbers(&self, index: usize) -> Result<Option<Vec<f64>>> {
        let Some(id) = self.node.input(index) else { return Ok(None) };
        let constant = self.graph.known(id).ok_or_else(|| {
            self.node
                .unsupported(format!("input {index} ({:?}) is not known in advance", self.graph.name(id)))
        })?;
        let numbers = constant.to_f64();
        numbers.map(Some).ok_or_else(|| self.node.invalid(format!("input {index}: expected numbers")))
    }

    /// An axis, counted from the end where negative, as an index.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        axis_of(self.node, axis, rank)
    }
}

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

/// Shape of the result of broadcasting, by the multidirectional rule of the specification.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim =
        |shape: &[usize], index: usize| (index + shape.len()).checked_sub(rank).map_or(1, |own| shape[own]);
    (0..rank)
        .map(|index| match (dim(a, index), dim(b, index)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}
