//! Composite operators by simpler ones that have rules.
//!
//! Only nodes that a gradient flows through are taken apart: the rest of the graph keeps the operators that runtimes have
//! fast kernels for.
//!
//! # Adding one
//!
//! Write one function in the file of the operator's family and one line in that file's `rule`. It sees the node with its
//! inputs in the new graph ([`Composite`]) and gives the value of the first output, or `None` where the node, with these
//! attributes, has a rule as it is. Further outputs, where they are in use, are refused before it is called.

mod attention;
mod contraction;
mod normalisation;
mod pool;

#[cfg(test)]
pub(crate) mod tests;

use crate::autodiff::emit::Emit;
use crate::error::{Error, Result};
use crate::onnx::graph::{Graph, Node, ValueId, ValueMap};
use crate::onnx::proto::is_default_domain;

/// The value that stands for the first output; `None` where the node stays.
type Decomposition = fn(&mut Composite<'_>) -> Result<Option<ValueId>>;

/// Rewrites the nodes whose index `on_path` affirms and that have no rule of their own; all others stay. Values of the
/// result keep their names.
///
/// # Errors
/// `ModelUnsupported` for forms of composite operators that cannot be taken apart; whatever [`Graph::rebuild`] gives.
pub(crate) fn decompose(graph: &Graph, on_path: &dyn Fn(usize) -> bool) -> Result<(Graph, ValueMap)> {
    graph.rebuild(|rebuild, index, node| {
        let decomposition = if on_path(index) { rule(node) } else { None };
        let Some(decomposition) = decomposition else { return rebuild.keep(node) };
        let inputs = rebuild.inputs(node)?;
        let before = rebuild.new.len();
        let mut composite = Composite { graph: &mut rebuild.new, node: Node { inputs, ..node.clone() } };
        let Some(made) = decomposition(&mut composite)? else { return rebuild.keep(node) };
        if let Some(further) = (1..node.outputs.len()).find(|&output| node.outputs[output].is_some()) {
            return Err(node.unsupported(format!("no gradient flows where output {further} is in use")));
        }
        let old = node.output(0).ok_or_else(|| Error::internal("a node without outputs on the path"))?;
        if made.index() >= before {
            rebuild.new.rename(made, graph.name(old));
        }
        Ok(vec![Some(made)])
    })
}

fn rule(node: &Node) -> Option<Decomposition> {
    if !is_default_domain(&node.domain) {
        return None;
    }
    let op_type = node.op_type.as_str();
    attention::rule(op_type)
        .or_else(|| contraction::rule(op_type))
        .or_else(|| normalisation::rule(op_type))
        .or_else(|| pool::rule(op_type))
}

/// A node to be taken apart, and the graph that takes the parts.
#[derive(Debug)]
pub(crate) struct Composite<'a> {
    graph: &'a mut Graph,
    /// The node, its inputs in the new graph and its outputs in the old.
    node: Node,
}

impl Composite<'_> {
    /// Input `index`, which must be there.
    fn x(&self, index: usize) -> Result<ValueId> {
        self.node.needed(index)
    }

    /// Shape of a value.
    fn shape(&self, id: ValueId) -> Vec<usize> {
        self.graph.shape(id).to_vec()
    }

    /// An attribute that is an axis, counted from the end where negative, as an index.
    fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize> {
        crate::onnx::axis_of(&self.node, self.node.int_or(name, default), rank)
    }
}

impl Emit for Composite<'_> {
    fn graph(&mut self) -> &mut Graph {
        self.graph
    }
}
