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
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Graph, Node, Rebuild, ValueId, ValueMap};
use crate::onnx::proto::is_default_domain;

/// The value that stands for the first output; `None` where the node stays.
type Decomposition = fn(&mut Composite<'_>) -> Result<Option<ValueId>>;

/// Rewrites the nodes whose index `on_path` affirms and that have no rule of their own; all others stay. Values of the
/// result keep their names.
///
/// # Errors
/// `ModelUnsupported` for forms of composite operators that cannot be taken apart; whatever [`Graph::rebuild`] gives.
pub(crate) fn decompose(graph: &Graph, on_path: &dyn Fn(usize) -> bool) -> Result<(Graph, ValueMap)> {
    let Attempt { graph, map, refused, .. } = attempt(graph, on_path)?;
    match refused.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok((graph, map)),
    }
}

/// What [`attempt`] makes.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The graph; nodes that could not be taken apart are in it as they were.
    pub(crate) graph: Graph,
    /// Which of its values stand for those of the old graph.
    pub(crate) map: ValueMap,
    /// For every node of the graph, the index of the old node that it comes from.
    pub(crate) origins: Vec<usize>,
    /// Old nodes that were taken apart.
    pub(crate) apart: Vec<usize>,
    /// Old nodes that could not be, with the reasons.
    pub(crate) refused: Vec<(usize, Error)>,
}

/// As [`decompose`], but goes on behind a node that cannot be taken apart.
///
/// # Errors
/// Whatever [`Graph::rebuild`] gives.
pub(crate) fn attempt(graph: &Graph, on_path: &dyn Fn(usize) -> bool) -> Result<Attempt> {
    let (mut origins, mut apart, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let (graph, map) = graph.rebuild(|rebuild, index, node| {
        let made = match if on_path(index) { take_apart(rebuild, graph, node) } else { Ok(None) } {
            Ok(Some(made)) => {
                apart.push(index);
                vec![Some(made)]
            }
            Ok(None) => rebuild.keep(node)?,
            Err(error) if error.kind() == ErrorKind::ModelUnsupported => {
                refused.push((index, error));
                rebuild.keep(node)?
            }
            Err(error) => return Err(error),
        };
        origins.resize(rebuild.new.nodes().len(), index);
        Ok(made)
    })?;
    Ok(Attempt { graph, map, origins, apart, refused })
}

/// The value that stands for the first output of a node of `old`; `None` where the node stays.
fn take_apart(rebuild: &mut Rebuild<'_>, old: &Graph, node: &Node) -> Result<Option<ValueId>> {
    let Some(decomposition) = rule(node) else { return Ok(None) };
    let inputs = rebuild.inputs(node)?;
    let before = rebuild.new.len();
    let mut composite = Composite { graph: &mut rebuild.new, node: Node { inputs, ..node.clone() } };
    let Some(made) = decomposition(&mut composite)? else { return Ok(None) };
    if let Some(further) = (1..node.outputs.len()).find(|&output| node.outputs[output].is_some()) {
        return Err(node.unsupported(format!("no gradient flows where output {further} is in use")));
    }
    let output = node.output(0).ok_or_else(|| Error::internal("a node without outputs on the path"))?;
    if made.index() >= before {
        rebuild.new.rename(made, old.name(output));
    }
    Ok(Some(made))
}

/// Whether a node is one that is taken apart into others.
pub(crate) fn is_composite(node: &Node) -> bool {
    rule(node).is_some()
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
