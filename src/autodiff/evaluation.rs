//! From a model to the graph of an evaluation: logits and loss, with the weights of a training step as inputs.

use crate::autodiff::BatchNorm;
use crate::autodiff::StepOptions;
use crate::autodiff::compile::{add_inputs, lowered, names, prepare};
use crate::autodiff::loss::{self, Targets};
use crate::autodiff::parameter::Role;
use crate::error::{Error, Result};
use crate::onnx::Document;
use crate::onnx::graph::{Graph, ValueId};

/// A model as it is when it is used: BatchNormalization by running statistics, no gradients.
#[derive(Debug)]
pub(crate) struct Evaluation {
    /// The graph; its outputs are loss and logits.
    pub(crate) graph: Graph,
    /// The images `[N, C, H, W]`.
    pub(crate) inputs: Vec<ValueId>,
    /// Labels and mask.
    pub(crate) targets: Targets,
    /// The logits, `[N, K, H, W]`.
    pub(crate) logits: ValueId,
    /// Trained tensors and running statistics that a step with these options changes: names and inputs.
    pub(crate) weights: Vec<(String, ValueId)>,
}

/// Builds logits and loss; what a step with the same options changes are inputs. The auxiliary output takes no part.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn compile_evaluation(document: &Document, options: &StepOptions) -> Result<Evaluation> {
    let moves_statistics = options.batch_norm == BatchNorm::Train;
    let mut options = options.clone();
    if moves_statistics {
        options.batch_norm = BatchNorm::Frozen;
    }
    // There is no update here.
    options.optimizer.loss_scale = false;
    let prepared = prepare(document, &options)?;
    let mut changed = prepared.chosen.clone();
    if moves_statistics {
        changed.extend(
            (0..prepared.parameters.len())
                .filter(|&index| prepared.parameters[index].role == Role::Statistic),
        );
    }
    let (mut graph, parameters, _) = lowered(prepared.graph, prepared.parameters, &changed, &options)?;
    let logits =
        graph.outputs().first().copied().ok_or_else(|| Error::internal("a model without outputs"))?;
    let inputs = graph.inputs().to_vec();
    let mut weights = Vec::with_capacity(changed.len());
    for &index in &changed {
        graph.parameter_to_input(parameters[index].id)?;
        weights.push((parameters[index].name.clone(), parameters[index].id));
    }
    let (targets, _) = add_inputs(&mut graph, &options, logits)?;
    let emitted = loss::emit(&mut graph, &options.loss, logits, targets, options.kernels)?;
    let loss = graph.op("Identity", &[emitted.loss], &[])?;
    graph.rename(loss, names::LOSS);
    graph.set_outputs(vec![loss, logits]);
    // Weights of the auxiliary output alone.
    graph.drop_unused_inputs();
    weights.retain(|(_, id)| graph.inputs().contains(id));
    Ok(Evaluation { graph, inputs, targets, logits, weights })
}
