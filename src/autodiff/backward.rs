//! Reverse-mode differentiation of a graph.

use std::cell::Cell;

use crate::autodiff::emit::Emit;
use crate::autodiff::kernels::Kernels;
use crate::autodiff::rules::{self, Vjp};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Graph, Node, Origin, ValueId};

/// Emits the gradients of `targets` into the graph.
///
/// `seeds` are pairs of a value and the gradient of the loss with respect to it (for a loss itself, the constant 1).
/// The walk goes from the last node to the first and touches only nodes that lie between a target and a seed, so what
/// is upstream of the first trained parameter costs nothing. A target that the seeds do not depend on has no gradient
/// (`None`).
///
/// # Errors
/// `ModelUnsupported` for an operator without a rule on the way, naming node, operator and path.
pub(crate) fn gradients(
    graph: &mut Graph,
    seeds: &[(ValueId, ValueId)],
    targets: &[ValueId],
    kernels: Kernels,
) -> Result<Vec<Option<ValueId>>> {
    let depends = graph.depends_on(targets);
    let mut grads: Vec<Vec<ValueId>> = vec![Vec::new(); graph.len()];
    for &(value, gradient) in seeds {
        if depends[value.index()] {
            grads[value.index()].push(gradient);
        }
    }
    for index in (0..graph.nodes().len()).rev() {
        let node = &graph.nodes()[index];
        let on_path = |id: &ValueId| depends.get(id.index()).copied().unwrap_or(false);
        if !node.outputs.iter().flatten().any(|id| !grads[id.index()].is_empty()) {
            continue;
        }
        if rules::is_flat(&node.domain, &node.op_type) {
            // Jumps with its indices, but not with the two values that it chooses from.
            let values = node.input(2).filter(|id| node.is("OneHot") && on_path(id));
            if values.is_some_and(|id| graph.kind(id).element.is_float()) {
                return Err(
                    node.error(ErrorKind::ModelUnsupported, "there is no gradient rule for its values")
                );
            }
            continue;
        }
        let node = node.clone();
        let Some(rule) = rules::rule(&node.domain, &node.op_type) else {
            return Err(without_rule(graph, index, targets));
        };
        let wants: Vec<bool> = node
            .inputs
            .iter()
            .map(|id| id.as_ref().is_some_and(|id| on_path(id) && graph.kind(*id).element.is_float()))
            .collect();
        if !wants.contains(&true) {
            continue;
        }
        let mut upstream = Vec::with_capacity(node.outputs.len());
        for id in &node.outputs {
            upstream.push(match id {
                Some(id) => summed(graph, &std::mem::take(&mut grads[id.index()]))?,
                None => None,
            });
        }
        let mut vjp = Vjp {
            graph: &mut *graph,
            node: node.clone(),
            index,
            grads: upstream,
            wants: wants.clone(),
            read: Cell::new(0),
            kernels,
        };
        let made = rule(&mut vjp)?;
        check_complete(&vjp, &made)?;
        grads.resize(graph.len(), Vec::new());
        for ((input, gradient), wanted) in node.inputs.iter().zip(made).zip(wants) {
            let (Some(input), Some(gradient), true) = (input, gradient, wanted) else { continue };
            if graph.shape(*input) != graph.shape(gradient) {
                let message = format!(
                    "{}: gradient of shape {:?} for an input of shape {:?}",
                    node.describe(),
                    graph.shape(gradient),
                    graph.shape(*input)
                );
                return Err(Error::internal(message));
            }
            grads[input.index()].push(gradient);
        }
    }
    targets.iter().map(|id| summed(graph, &std::mem::take(&mut grads[id.index()]))).collect()
}

/// That a rule has passed over no gradient of an output and given one for every input that asks for it: a form of the
/// operator that it does not know must be refused, not trained wrongly.
pub(crate) fn check_complete(vjp: &Vjp<'_>, made: &[Option<ValueId>]) -> Result<()> {
    let unread = (0..vjp.grads.len().min(64))
        .find(|&output| vjp.grads[output].is_some() && vjp.read.get() >> output & 1 == 0);
    if let Some(output) = unread {
        let message = format!("a gradient through output {output} beside others has no rule");
        return Err(vjp.node.error(ErrorKind::ModelUnsupported, message));
    }
    let missing =
        (0..vjp.wants.len()).find(|&input| vjp.wants[input] && !matches!(made.get(input), Some(Some(_))));
    if let Some(input) = missing {
        let message =
            format!("there is no gradient rule for input {input}, which depends on a trained parameter");
        return Err(vjp.node.error(ErrorKind::ModelUnsupported, message));
    }
    Ok(())
}

/// The sum of the gradients that reach a value along different edges.
fn summed(graph: &mut Graph, parts: &[ValueId]) -> Result<Option<ValueId>> {
    let mut parts = parts.iter().copied();
    let Some(mut sum) = parts.next() else { return Ok(None) };
    for part in parts {
        sum = graph.plus(sum, part)?;
    }
    Ok(Some(sum))
}

/// Nodes between `targets` and `ends` that have neither a rule nor are flat: what stands in the way of training.
pub(crate) fn unsupported(graph: &Graph, ends: &[ValueId], targets: &[ValueId]) -> Vec<usize> {
    on_path(graph, ends, targets)
        .into_iter()
        .filter(|&index| {
            let node = &graph.nodes()[index];
            rules::rule(&node.domain, &node.op_type).is_none()
        })
        .collect()
}

/// Indices of the nodes that a gradient flows through on its way from `ends` to `targets`.
pub(crate) fn on_path(graph: &Graph, ends: &[ValueId], targets: &[ValueId]) -> Vec<usize> {
    Flow::of(graph, ends, targets).nodes
}

/// Where gradients flow on their way from the ends of a graph to the targets.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Indices of the nodes that they flow through, in order.
    pub(crate) nodes: Vec<usize>,
    /// For every value, whether it has a gradient.
    pub(crate) reached: Vec<bool>,
    /// For every value, whether it depends on a target.
    pub(crate) depends: Vec<bool>,
}

impl Flow {
    /// Follows the gradients from `ends` to `targets`.
    pub(crate) fn of(graph: &Graph, ends: &[ValueId], targets: &[ValueId]) -> Flow {
        let depends = graph.depends_on(targets);
        let mut reached = vec![false; graph.len()];
        for id in ends {
            reached[id.index()] = depends[id.index()];
        }
        let mut nodes = Vec::new();
        for (index, node) in graph.nodes().iter().enumerate().rev() {
            let flows = node.outputs.iter().flatten().any(|id| reached[id.index()])
                && !rules::is_flat(&node.domain, &node.op_type);
            if !flows {
                continue;
            }
            let mut any = false;
            for id in node.inputs.iter().flatten() {
                if depends[id.index()] && graph.kind(*id).element.is_float() {
                    reached[id.index()] = true;
                    any = true;
                }
            }
            if any {
                nodes.push(index);
            }
        }
        nodes.reverse();
        Flow { nodes, reached, depends }
    }
}

/// The refusal of an operator without a rule: which node, and between which parameter and the loss it lies.
pub(crate) fn without_rule(graph: &Graph, index: usize, targets: &[ValueId]) -> Error {
    let node = &graph.nodes()[index];
    let path = path_from(graph, index, targets);
    Error::new(
        ErrorKind::ModelUnsupported,
        format!(
            "{}: there is no gradient rule for {}, and a trained parameter lies behind it ({path}): \
             train parameters after it only, or freeze those before it",
            node.describe(),
            node.op_type
        ),
    )
}

/// `"w" -> Conv -> GridSample`: from the nearest trained parameter to the node.
pub(crate) fn path_from(graph: &Graph, index: usize, targets: &[ValueId]) -> String {
    let depends = graph.depends_on(targets);
    let mut steps = Vec::new();
    let mut at: &Node = &graph.nodes()[index];
    loop {
        steps.push(at.op_type.clone());
        let inputs: Vec<ValueId> =
            at.inputs.iter().flatten().copied().filter(|id| depends[id.index()]).collect();
        // A parameter that enters right here ends the path; else it is followed upstream.
        if let Some(target) = inputs.iter().find(|id| targets.contains(id)) {
            steps.push(format!("{:?}", crate::onnx::short(graph.name(*target))));
            break;
        }
        match inputs.first().map(|id| graph.value(*id).origin()) {
            Some(Origin::Node { node, .. }) => at = &graph.nodes()[*node],
            _ => break,
        }
    }
    steps.reverse();
    if steps.len() > 6 {
        let middle = steps.len() - 6;
        steps.splice(3..steps.len() - 3, [format!("{middle} more")]);
    }
    steps.join(" -> ")
}
