//! The graphs of a step whose weights and state stay on a device.

use crate::autodiff::Optimizer;
use crate::autodiff::compile::Compiled;
use crate::autodiff::emit::Emit;
use crate::autodiff::optimizer::{Update, emit};
use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Graph, ValueId, ValueType};

/// Names of what an update reads and writes, the gradients apart.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    pub(super) lr: String,
    /// The number of the step, where the rule needs it.
    pub(super) step: Option<String>,
    /// What the gradients are divided by, where they are.
    pub(super) divisor: Option<String>,
    /// For every trained tensor the input and the output: of the weight, of the rule's tensors, of the average.
    pub(super) weights: Vec<Vec<(String, String)>>,
    /// Whether the norm of the gradients is an output.
    pub(super) norm: bool,
}

/// The graphs, whose sessions are made when they are needed.
#[derive(Debug)]
pub(super) struct DeviceGraphs {
    fused: Graph,
    gradient: Graph,
    apply: Graph,
    shapes: Vec<Vec<usize>>,
    pub(super) fused_ports: Ports,
    pub(super) apply_ports: Ports,
    /// Inputs of the weights and outputs of their gradients, of the graph of gradients.
    pub(super) gradients: Vec<(String, String)>,
    /// Inputs and outputs of the running statistics, of both graphs that have a forward part.
    pub(super) statistics: Vec<(String, String)>,
    pub(super) logits: String,
    pub(super) has_scale: bool,
}

impl DeviceGraphs {
    /// Name of the output with the norm of the gradients.
    pub(super) const NORM: &str = "glebe.norm";

    /// Name of the input with a gradient, of the graphs that add and apply.
    pub(super) fn gradient(index: usize) -> String {
        format!("gradient.{index}")
    }

    /// Name of the input with the sum of the earlier gradients.
    pub(super) fn sum(index: usize) -> String {
        format!("sum.{index}")
    }

    /// Name of the output with the sum of all.
    pub(super) fn next_sum(index: usize) -> String {
        format!("next.sum.{index}")
    }

    pub(super) fn new(compiled: &Compiled, optimizer: &Optimizer) -> Result<DeviceGraphs> {
        let named = |id: ValueId| compiled.graph.name(id).to_owned();
        let mut forward_outputs = vec![compiled.loss, compiled.logits];
        forward_outputs.extend(compiled.statistics.iter().map(|own| own.updated));

        let mut gradient = compiled.graph.clone();
        let mut outputs = forward_outputs.clone();
        let mut gradients = Vec::with_capacity(compiled.trained.len());
        for own in &compiled.trained {
            // Two parameters may share a gradient, and a value is an output once.
            let output = gradient.op("Identity", &[own.gradient], &[])?;
            gradient.rename(output, &format!("gradient.{}", own.parameter.name));
            gradients.push((named(own.input), gradient.name(output).to_owned()));
            outputs.push(output);
        }
        gradient.set_outputs(outputs);

        let mut fused = compiled.graph.clone();
        let parts: Vec<(ValueId, ValueId)> =
            compiled.trained.iter().map(|own| (own.input, own.gradient)).collect();
        let (fused_ports, updated) = update(&mut fused, compiled, optimizer, &parts, optimizer.loss_scale)?;
        fused.set_outputs([forward_outputs, updated].concat());

        let mut apply = Graph::new(compiled.graph.opset());
        let mut parts = Vec::with_capacity(compiled.trained.len());
        let mut shapes = Vec::with_capacity(compiled.trained.len());
        for (index, own) in compiled.trained.iter().enumerate() {
            let kind = ValueType::new(ElementType::Float32, own.parameter.shape.clone());
            let weight = apply.add_input(&format!("weight.{index}"), kind.clone());
            parts.push((weight, apply.add_input(&DeviceGraphs::gradient(index), kind)));
            shapes.push(own.parameter.shape.clone());
        }
        let (apply_ports, updated) = update(&mut apply, compiled, optimizer, &parts, true)?;
        apply.set_outputs(updated);

        Ok(DeviceGraphs {
            fused,
            gradient,
            apply,
            shapes,
            fused_ports,
            apply_ports,
            gradients,
            statistics: compiled
                .statistics
                .iter()
                .map(|own| (named(own.input), named(own.updated)))
                .collect(),
            logits: named(compiled.logits),
            has_scale: compiled.scale.is_some(),
        })
    }

    /// From a batch to loss and new weights.
    pub(super) fn fused(&self) -> Result<Vec<u8>> {
        self.fused.to_bytes("train")
    }

    /// From a batch to loss and gradients.
    pub(super) fn gradient_bytes(&self) -> Result<Vec<u8>> {
        self.gradient.to_bytes("gradients")
    }

    /// From gradients to new weights.
    pub(super) fn apply(&self) -> Result<Vec<u8>> {
        self.apply.to_bytes("update")
    }

    /// From gradients and their sum so far to their sum.
    pub(super) fn add(&self) -> Result<Vec<u8>> {
        let mut graph = Graph::new(self.apply.opset());
        let mut outputs = Vec::with_capacity(self.shapes.len());
        for (index, shape) in self.shapes.iter().enumerate() {
            let kind = ValueType::new(ElementType::Float32, shape.clone());
            let gradient = graph.add_input(&DeviceGraphs::gradient(index), kind.clone());
            let sum = graph.add_input(&DeviceGraphs::sum(index), kind);
            let next = graph.plus(sum, gradient)?;
            graph.rename(next, &DeviceGraphs::next_sum(index));
            outputs.push(next);
        }
        graph.set_outputs(outputs);
        graph.to_bytes("sum")
    }
}

/// Adds the update of weights by gradients, with inputs for the rule's tensors; gives the names and the outputs.
fn update(
    graph: &mut Graph,
    compiled: &Compiled,
    optimizer: &Optimizer,
    parts: &[(ValueId, ValueId)],
    divided: bool,
) -> Result<(Ports, Vec<ValueId>)> {
    let scalar = || ValueType::new(ElementType::Float32, []);
    let lr = graph.add_input("glebe.lr", scalar());
    let step = graph.add_input("glebe.step", scalar());
    let divisor = divided.then(|| graph.add_input("glebe.divisor", scalar()));
    let mut updates = Vec::with_capacity(parts.len());
    let mut inputs = Vec::with_capacity(parts.len());
    for (own, &(weight, gradient)) in compiled.trained.iter().zip(parts) {
        let mut given = |kind: &str| {
            let name = format!("{kind}.{}", own.parameter.name);
            let kind = ValueType::new(ElementType::Float32, own.parameter.shape.clone());
            graph.add_input(&name, kind)
        };
        let state: Vec<ValueId> = optimizer.state_names().iter().map(|kind| given(kind)).collect();
        let average = optimizer.ema_decay.map(|_| given("average"));
        inputs.push([&[weight], &state[..], average.as_slice()].concat());
        updates.push(Update { weight, gradient, state, average, rates: own.rates });
    }
    let (made, norm) = emit(graph, optimizer, &updates, lr, step, divisor)?;
    let mut outputs = Vec::new();
    let mut weights = Vec::with_capacity(made.len());
    for (updated, inputs) in made.into_iter().zip(inputs) {
        let after = [&[updated.weight], &updated.state[..], updated.average.as_slice()].concat();
        let mut names = Vec::with_capacity(after.len());
        for (before, after) in inputs.into_iter().zip(after) {
            let next = format!("next.{}", graph.name(before));
            let output = graph.op("Identity", &[after], &[])?;
            graph.rename(output, &next);
            names.push((graph.name(before).to_owned(), graph.name(output).to_owned()));
            outputs.push(output);
        }
        weights.push(names);
    }
    if let Some(norm) = norm {
        let norm = graph.op("Identity", &[norm], &[])?;
        graph.rename(norm, DeviceGraphs::NORM);
        outputs.push(norm);
    }
    // Plain SGD has no use for the number of the step.
    let used = graph.needed_for(&outputs);
    let is_used = |id: ValueId| used.iter().any(|&index| graph.nodes()[index].inputs.contains(&Some(id)));
    let (has_step, lr_name) = (is_used(step), graph.name(lr).to_owned());
    let step_name = graph.name(step).to_owned();
    if !has_step {
        graph.remove_input(step);
    }
    Ok((
        Ports {
            lr: lr_name,
            step: has_step.then_some(step_name),
            divisor: divisor.map(|id| graph.name(id).to_owned()),
            weights,
            norm: norm.is_some(),
        },
        outputs,
    ))
}
