//! From a model to the graph of a training step.

use crate::autodiff::adapter::{Adapter, adapt, with_plain_layers};
use crate::autodiff::backward::{gradients, on_path, unsupported, without_rule};
use crate::autodiff::batch_norm::{Running, with_batch_statistics};
use crate::autodiff::decompose::decompose;
use crate::autodiff::emit::Emit;
use crate::autodiff::frozen_norm::drawn_into_convolutions;
use crate::autodiff::loss::{self, Targets};
use crate::autodiff::optimizer::{Rates, rates};
use crate::autodiff::parameter::{Parameter, Role, parameters};
use crate::autodiff::pointwise::before_enlargements;
use crate::autodiff::selection::Choice;
use crate::autodiff::{BatchNorm, StepOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Constant, Graph, ValueId, ValueMap, ValueType};
use crate::onnx::{Document, ElementType, Facts, InputShapes, short, specialise};

/// Names of the step's own inputs and outputs; values of the model that are called so are renamed.
pub(crate) mod names {
    /// Classes `[N, H, W]` `int64`, or numbers `[N, C, H, W]` `float32`.
    pub(crate) const LABELS: &str = "glebe.labels";
    /// `[N, H, W]` `float32`.
    pub(crate) const MASK: &str = "glebe.mask";
    /// The loss, a scalar.
    pub(crate) const LOSS: &str = "glebe.loss";
    /// What the loss's gradient is multiplied with, a scalar.
    pub(crate) const SCALE: &str = "glebe.scale";
}

/// A trained tensor in a compiled step.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    /// What it is.
    pub(crate) parameter: Parameter,
    /// The input that its elements come in by.
    pub(crate) input: ValueId,
    /// Its elements in the file.
    pub(crate) initial: Constant,
    /// Its gradient.
    pub(crate) gradient: ValueId,
    /// Its rates.
    pub(crate) rates: Rates,
}

/// A running statistic that the step updates.
#[derive(Debug, Clone)]
pub(crate) struct Statistic {
    /// Name of the initializer.
    pub(crate) name: String,
    /// The input that its elements come in by.
    pub(crate) input: ValueId,
    /// Its elements in the file.
    pub(crate) initial: Constant,
    /// Its new elements.
    pub(crate) updated: ValueId,
}

/// The graph of loss and gradients, without the update.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    /// The graph; its outputs are not chosen yet.
    pub(crate) graph: Graph,
    /// What is given for a batch, in order: the images `[N, C, H, W]`, or the features that the frozen part made of them.
    pub(crate) inputs: Vec<ValueId>,
    /// Labels and mask.
    pub(crate) targets: Targets,
    /// What the logits' gradient is multiplied with, where the optimizer has a loss scale.
    pub(crate) scale: Option<ValueId>,
    /// The logits, `[N, K, H, W]`.
    pub(crate) logits: ValueId,
    /// The loss, a scalar.
    pub(crate) loss: ValueId,
    /// What is trained.
    pub(crate) trained: Vec<Trained>,
    /// Running statistics that are updated.
    pub(crate) statistics: Vec<Statistic>,
    /// All floating point tensors of the model.
    pub(crate) parameters: Vec<Parameter>,
    /// Adapters beside weights of the file, which an export merges.
    pub(crate) adapters: Vec<Adapter>,
    /// Number of nodes of the forward part; those behind it are loss and gradients.
    pub(crate) forward: usize,
}

/// A model with static shapes, its activation cut off, and the tensors that are to be trained.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The graph; its outputs are the logits, and behind them the auxiliary ones if any.
    pub(crate) graph: Graph,
    /// All floating point tensors.
    pub(crate) parameters: Vec<Parameter>,
    /// Those that are trained, as indices into `parameters`.
    pub(crate) chosen: Vec<usize>,
    /// Adapters beside weights of the file; their factors are among the trained.
    pub(crate) adapters: Vec<Adapter>,
}

/// Brings the model into the shapes of the step and finds what is trained.
///
/// # Errors
/// As [`specialise`] and [`Selection`](crate::autodiff::Selection).
pub(crate) fn prepare(document: &Document, options: &StepOptions) -> Result<Prepared> {
    options.loss.check()?;
    options.optimizer.check()?;
    if options.batch == 0 || options.size.contains(&0) {
        return Err(Error::invalid(format!(
            "expected a batch of 1 or more and sizes above 0, got {} of {:?}",
            options.batch, options.size
        )));
    }
    let facts = Facts::of(document);
    let outputs = chosen_outputs(&facts, options)?;
    let shapes = input_shapes(&facts, options)?;
    let graph = specialise(document, &shapes, Some(&outputs))?;
    let mut graph = if options.params.lora().is_some() { with_plain_layers(&graph)? } else { graph };
    if !options.loss.is_regression() {
        let logits = graph.outputs().iter().map(|&id| before_activation(&graph, id)).collect();
        graph.set_outputs(logits);
    }
    let mut parameters = parameters(&graph);
    let ends = graph.outputs().to_vec();
    let file: Vec<&str> = document.graph().initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let Choice { trained: mut ids, adapted } = options.params.choose(&graph, &parameters, &ends, &file)?;
    if options.batch_norm == BatchNorm::Affine {
        let of_batch_norm = |own: &&Parameter| {
            matches!(own.role, Role::NormScale | Role::NormBias)
                && own.node.is_some_and(|node| graph.nodes()[node].is("BatchNormalization"))
        };
        ids.extend(parameters.iter().filter(of_batch_norm).map(|own| own.id));
    }
    let mut chosen: Vec<usize> =
        (0..parameters.len()).filter(|&index| ids.contains(&parameters[index].id)).collect();
    let mut adapters = Vec::new();
    if let Some(lora) = options.params.lora() {
        let weights: Vec<&Parameter> = parameters.iter().filter(|own| adapted.contains(&own.id)).collect();
        let made = adapt(&graph, &weights, lora, options.seed)?;
        renew(&mut parameters, &made.map)?;
        chosen.extend(parameters.len()..parameters.len() + made.factors.len());
        parameters.extend(made.factors);
        (graph, adapters) = (made.graph, made.adapters);
    }
    Ok(Prepared { graph, parameters, chosen, adapters })
}

/// The model as the file has it, in the shapes of the step, and all its floating point tensors: also those of outputs that
/// the step does not take, where these can be had.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn whole(document: &Document, options: &StepOptions) -> Result<(Graph, Vec<Parameter>)> {
    let facts = Facts::of(document);
    let shapes = input_shapes(&facts, options)?;
    let graph = match specialise(document, &shapes, None) {
        Ok(graph) => graph,
        Err(_) => specialise(document, &shapes, Some(&chosen_outputs(&facts, options)?))?,
    };
    let parameters = parameters(&graph);
    Ok((graph, parameters))
}

/// Builds loss and gradients.
///
/// # Errors
/// As [`prepare`]; `ModelUnsupported` naming the first operator without a rule between a trained tensor and the loss.
pub(crate) fn compile(document: &Document, options: &StepOptions) -> Result<Compiled> {
    compile_prepared(prepare(document, options)?, options)
}

/// Builds loss and gradients of a part of a model.
///
/// # Errors
/// As [`compile`].
pub(crate) fn compile_prepared(prepared: Prepared, options: &StepOptions) -> Result<Compiled> {
    let Prepared { graph, parameters: own_parameters, chosen, adapters } = prepared;
    let (mut graph, parameters, running) = lowered(graph, own_parameters, &chosen, options)?;
    let ends: Vec<ValueId> = graph.outputs()[..1 + usize::from(options.auxiliary.is_some())].to_vec();
    let inputs = graph.inputs().to_vec();
    let targets: Vec<ValueId> = chosen.iter().map(|&index| parameters[index].id).collect();
    if let Some(&node) = unsupported(&graph, &ends, &targets).first() {
        return Err(without_rule(&graph, node, &targets));
    }
    let forward = graph.nodes().len();
    let mut initial = Vec::with_capacity(targets.len());
    for &id in &targets {
        initial.push(graph.parameter_to_input(id)?);
    }
    let mut statistics = Vec::with_capacity(running.len());
    for Running { before, after } in running {
        let name = graph.name(before).to_owned();
        let initial = graph.parameter_to_input(before)?;
        statistics.push(Statistic { name, input: before, initial, updated: after });
    }
    let (labels, scale) = add_inputs(&mut graph, options, ends[0])?;
    let mut total = None;
    let mut seeds = Vec::new();
    for (index, &logits) in ends.iter().enumerate() {
        let weight = if index == 0 { 1.0 } else { f64::from(options.loss.auxiliary_weight) };
        let emitted = loss::emit(&mut graph, &options.loss, logits, labels, options.kernels)?;
        let own = graph.scaled(emitted.loss, weight)?;
        total = Some(match total {
            None => own,
            Some(sum) => graph.plus(sum, own)?,
        });
        let mut seed = graph.scaled(emitted.gradient, weight)?;
        if let Some(scale) = scale {
            seed = graph.times(seed, scale)?;
        }
        seeds.push((logits, seed));
    }
    let loss = total.ok_or_else(|| Error::internal("a model without outputs"))?;
    let made = gradients(&mut graph, &seeds, &targets, options.kernels)?;
    let own: Vec<Parameter> = chosen.iter().map(|&index| parameters[index].clone()).collect();
    let rates = rates(&options.optimizer, &own)?;
    let mut trained = Vec::with_capacity(own.len());
    for (((parameter, initial), gradient), rates) in own.into_iter().zip(initial).zip(made).zip(rates) {
        let input = parameter.id;
        let gradient = match gradient {
            Some(gradient) => gradient,
            None => graph.zeros(&parameter.shape, input)?,
        };
        trained.push(Trained { parameter, input, initial, gradient, rates });
    }
    // An output has a name of its own: the loss may be a value that something else is called by.
    let loss = graph.op("Identity", &[loss], &[])?;
    graph.rename(loss, names::LOSS);
    Ok(Compiled {
        graph,
        inputs,
        targets: labels,
        scale,
        logits: ends[0],
        loss,
        trained,
        statistics,
        parameters,
        adapters,
        forward,
    })
}

/// Gives parameters the identities that they have in another graph.
fn renew(parameters: &mut [Parameter], map: &ValueMap) -> Result<()> {
    for own in parameters {
        own.id = map.get(own.id).ok_or_else(|| Error::internal(format!("{:?} is lost", own.name)))?;
    }
    Ok(())
}

/// Takes apart what has no rule of its own between trained tensors and outputs, puts batch statistics in the place of
/// running ones where that is asked for or else draws normalisations into convolutions, and lets these mix channels before
/// an enlargement. Values get other identities: gives the parameters with their new ones.
pub(crate) fn lowered(
    graph: Graph,
    mut parameters: Vec<Parameter>,
    chosen: &[usize],
    options: &StepOptions,
) -> Result<(Graph, Vec<Parameter>, Vec<Running>)> {
    let targets: Vec<ValueId> = chosen.iter().map(|&index| parameters[index].id).collect();
    let path = on_path(&graph, graph.outputs(), &targets);
    let (mut graph, map) = decompose(&graph, &|index| path.binary_search(&index).is_ok())?;
    renew(&mut parameters, &map)?;
    if options.batch_norm != BatchNorm::Train {
        let (made, map) = drawn_into_convolutions(&graph, &|_| true)?;
        renew(&mut parameters, &map)?;
        graph = made;
    }
    let (mut graph, map) = before_enlargements(&graph)?;
    renew(&mut parameters, &map)?;
    let mut running = Vec::new();
    if options.batch_norm == BatchNorm::Train {
        // The last: statistics after the step are no outputs yet, and a graph that is built anew loses what outputs do
        // not need.
        let made = with_batch_statistics(&graph, &|_| true)?;
        renew(&mut parameters, &made.map)?;
        (graph, running) = (made.graph, made.running);
    }
    Ok((graph, parameters, running))
}

fn chosen_outputs<'a>(facts: &'a Facts, options: &'a StepOptions) -> Result<Vec<&'a str>> {
    let main = match &options.output {
        Some(name) => name.as_str(),
        None => match facts.outputs.first() {
            Some(port) => port.name.as_str(),
            None => return Err(Error::new(ErrorKind::ModelUnsupported, "the model has no output")),
        },
    };
    let mut outputs = vec![main];
    if let Some(auxiliary) = &options.auxiliary {
        if auxiliary == main {
            return Err(Error::invalid(format!("{auxiliary:?} is the main output already")));
        }
        outputs.push(auxiliary);
    }
    Ok(outputs)
}

/// The one image input `[N, C, H, W]`, with the bands that the file says.
fn input_shapes(facts: &Facts, options: &StepOptions) -> Result<InputShapes> {
    let [port] = &facts.inputs[..] else {
        let names: Vec<&str> = facts.inputs.iter().map(|port| port.name.as_str()).collect();
        let message = format!("expected one input, the model has {}: {}", names.len(), names.join(", "));
        return Err(Error::new(ErrorKind::ModelUnsupported, message));
    };
    let bands = match port.shape.as_deref() {
        Some([_, bands, _, _]) => bands.fixed().and_then(|bands| usize::try_from(bands).ok()),
        _ => None,
    };
    let bands = bands.ok_or_else(|| {
        Error::new(
            ErrorKind::ModelUnsupported,
            "expected an input [N, C, H, W] with a fixed number of bands C",
        )
        .at_tensor(short(&port.name))
    })?;
    let shape = vec![options.batch, bands, options.size[0], options.size[1]];
    Ok([(port.name.clone(), shape)].into())
}

/// The value that a softmax, sigmoid or argmax at the end of the model is computed from; the value itself where there is
/// none. Losses take logits.
fn before_activation(graph: &Graph, id: ValueId) -> ValueId {
    let mut at = id;
    while let Some((_, node)) = graph.producer(at) {
        let before = match node.op_type.as_str() {
            "Softmax" | "LogSoftmax" | "Sigmoid" | "ArgMax" | "Cast" | "Identity" => node.input(0),
            _ => None,
        };
        match before {
            Some(before) if graph.kind(before).element.is_float() => at = before,
            _ => break,
        }
    }
    at
}

pub(crate) fn add_inputs(
    graph: &mut Graph,
    options: &StepOptions,
    logits: ValueId,
) -> Result<(Targets, Option<ValueId>)> {
    let shape = graph.shape(logits).to_vec();
    let &[n, _, ref spatial @ ..] = &shape[..] else {
        let message = format!("expected logits [N, C, H, W], the model gives {shape:?}");
        return Err(Error::new(ErrorKind::ModelUnsupported, message).at_tensor(short(graph.name(logits))));
    };
    let plain = [&[n], spatial].concat();
    let kind = if options.loss.is_regression() {
        ValueType::new(ElementType::Float32, shape)
    } else {
        ValueType::new(ElementType::Int64, plain.clone())
    };
    let labels = graph.add_input(names::LABELS, kind);
    let mask = graph.add_input(names::MASK, ValueType::new(ElementType::Float32, plain));
    let scale = options
        .optimizer
        .loss_scale
        .then(|| graph.add_input(names::SCALE, ValueType::new(ElementType::Float32, [])));
    Ok((Targets { labels, mask }, scale))
}
