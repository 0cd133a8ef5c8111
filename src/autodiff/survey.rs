//! Which nodes of a model gradients can flow through, found out before anything is built.

use std::cell::Cell;

use serde::Serialize;

use crate::autodiff::Kernels;
use crate::autodiff::backward::{Flow, check_complete, path_from};
use crate::autodiff::decompose::{Attempt, attempt};
use crate::autodiff::rules::{self, Vjp};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Graph, ValueId};

/// How a node stands to the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Support {
    /// `frozen`: no gradient flows through it.
    Frozen,
    /// `rule`: the gradient flows through it by its operator's rule.
    Rule,
    /// `decomposed`: it is taken apart into operators with rules.
    Decomposed,
    /// `unsupported`: a gradient would have to flow through it, and there is no way.
    Unsupported,
}

impl Support {
    /// The name in reports: `frozen`, `rule`, `decomposed`, `unsupported`.
    pub const fn name(self) -> &'static str {
        match self {
            Support::Frozen => "frozen",
            Support::Rule => "rule",
            Support::Decomposed => "decomposed",
            Support::Unsupported => "unsupported",
        }
    }
}

/// A node that a gradient would have to flow through and cannot.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// Index of the node.
    pub(crate) node: usize,
    /// From the nearest trained parameter to the node.
    pub(crate) path: String,
    /// Why, naming the node.
    pub(crate) reason: String,
}

/// All nodes of a graph as the backward pass sees them.
#[derive(Debug)]
pub(crate) struct Survey {
    /// One entry a node of the graph.
    pub(crate) support: Vec<Support>,
    /// What stands in the way, in the order of the nodes.
    pub(crate) refusals: Vec<Refusal>,
}

/// Looks at every node between `targets` and the outputs of the graph. A rule is not only looked up but tried, so that
/// forms which it refuses are found too; all of them, not the first alone.
///
/// # Errors
/// `Internal`, and `ModelInvalid` for nodes that contradict themselves.
pub(crate) fn survey(graph: &Graph, targets: &[ValueId], kernels: Kernels) -> Result<Survey> {
    let path = Flow::of(graph, graph.outputs(), targets).nodes;
    let on_path = |index: usize| path.binary_search(&index).is_ok();
    let Attempt { graph: mut lowered, map, origins, apart, refused } = attempt(graph, &on_path)?;
    let renewed = targets.iter().map(|&id| map.get(id).ok_or_else(|| Error::internal("a target is lost")));
    let renewed = renewed.collect::<Result<Vec<_>>>()?;
    let flow = Flow::of(&lowered, lowered.outputs(), &renewed);
    let mut reasons: Vec<Option<String>> = vec![None; graph.nodes().len()];
    for (index, error) in refused {
        reasons[index] = Some(error.message().to_owned());
    }
    for &index in flow.nodes.iter().rev() {
        let reason = &mut reasons[origins[index]];
        if reason.is_none() {
            *reason = refusal(&mut lowered, index, &flow, kernels)?;
        }
    }
    let mut support = vec![Support::Frozen; graph.nodes().len()];
    for &index in &path {
        support[index] = match (&reasons[index], apart.binary_search(&index)) {
            (Some(_), _) => Support::Unsupported,
            (None, Ok(_)) => Support::Decomposed,
            (None, Err(_)) => Support::Rule,
        };
    }
    let refusals = reasons.into_iter().enumerate().filter_map(|(node, reason)| {
        Some(Refusal { node, path: path_from(graph, node, targets), reason: reason? })
    });
    Ok(Survey { support, refusals: refusals.collect() })
}

/// Why no gradient can flow through a node; `None` where it can. What the rule emits stays behind in the graph.
fn refusal(graph: &mut Graph, index: usize, flow: &Flow, kernels: Kernels) -> Result<Option<String>> {
    let node = graph.nodes()[index].clone();
    let Some(rule) = rules::rule(&node.domain, &node.op_type) else {
        return Ok(Some(format!("{}: there is no gradient rule for {}", node.describe(), node.op_type)));
    };
    let marked = |marks: &[bool], id: ValueId| marks.get(id.index()).copied().unwrap_or(false);
    let mut grads = Vec::with_capacity(node.outputs.len());
    for id in &node.outputs {
        let reached = id.filter(|id| marked(&flow.reached, *id));
        grads.push(reached.map(|id| {
            let kind = graph.kind(id).clone();
            graph.add_input("seed", kind)
        }));
    }
    let wants = node
        .inputs
        .iter()
        .map(|id| id.is_some_and(|id| marked(&flow.depends, id) && graph.kind(id).element.is_float()));
    let wants = wants.collect();
    let mut vjp = Vjp { graph, node, index, grads, wants, read: Cell::new(0), kernels };
    match rule(&mut vjp).and_then(|made| check_complete(&vjp, &made)) {
        Err(error) if error.kind() == ErrorKind::ModelUnsupported => Ok(Some(error.message().to_owned())),
        other => other.map(|()| None),
    }
}
