//! Whether a model can be trained, what that would train, and what it would cost: before anything is run.

use serde::Serialize;

use crate::autodiff::blocked::Layout;
use crate::autodiff::compile::{Compiled, Prepared, compile_prepared, prepare};
use crate::autodiff::liveness::liveness;
use crate::autodiff::survey::{Refusal, survey};
use crate::autodiff::{Parameter, StepOptions, Support};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Contract, Model};
use crate::onnx::graph::{Origin, ValueId};
use crate::onnx::{Document, Facts};

/// What training a model would mean: which tensors are trained, which nodes the gradient flows through, what stands in
/// the way, and how much memory it takes.
///
/// Serialises to the object `training` of `glebe inspect MODEL --params LIST --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Preflight {
    /// Why the model cannot be trained so, one line each; empty where it can.
    pub problems: Vec<String>,
    /// What was asked for.
    pub params: String,
    /// How BatchNormalization behaves.
    pub batch_norm: String,
    /// The loss.
    pub loss: String,
    /// The optimizer.
    pub optimizer: String,
    /// Images of a batch.
    pub batch: usize,
    /// Height and width of the images.
    pub size: [usize; 2],
    /// Shape of the logits, `[N, K, H, W]`; absent where the model cannot be trained.
    pub outputs: Option<[usize; 4]>,
    /// Elements that are trained.
    pub trained_elements: usize,
    /// Elements of the floating point tensors that are not.
    pub frozen_elements: usize,
    /// Tensors that are trained, in the order of their first use.
    pub trained: Vec<Tensor>,
    /// All other floating point tensors that the network uses.
    pub frozen: Vec<Tensor>,
    /// Number of nodes that the gradient flows through, or would have to.
    pub backward_nodes: usize,
    /// The nodes of the network in the chosen shapes: what depends on constants alone is gone, and so are nodes that do
    /// nothing in training (Identity, Dropout) and the activation at the end, which the loss brings itself.
    pub nodes: Vec<NodeSupport>,
    /// Nodes that the gradient would have to flow through and cannot.
    pub unsupported: Vec<Unsupported>,
    /// Predicted memory; absent where the model cannot be trained.
    pub memory: Option<Memory>,
}

/// A floating point tensor of the model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tensor {
    /// Name of the initializer.
    pub name: String,
    /// A name made from that of the layer, where the exporter gave it a made-up one; patterns match either.
    pub alias: String,
    /// What it does; see [`Role`](crate::autodiff::Role).
    pub role: &'static str,
    /// Shape.
    pub shape: Vec<usize>,
    /// Number of elements.
    pub elements: usize,
}

/// A node and how it stands to the backward pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NodeSupport {
    /// Name of the node; of its first output where it has none.
    pub name: String,
    /// Operator.
    pub op: String,
    /// How it stands to the backward pass.
    pub support: Support,
}

/// A node that the gradient cannot flow through.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Unsupported {
    /// Name of the node; of its first output where it has none.
    pub node: String,
    /// Operator.
    pub op: String,
    /// The operators between the nearest trained parameter and the node: `"w" -> Conv -> GridSample`.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Predicted memory in bytes.
///
/// The parts are exact counts of the compiled step's tensors; the peaks add what the runtime keeps beside them, which is
/// estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Memory {
    /// Weights, trained and frozen.
    pub weights: u64,
    /// Gradients of the trained ones.
    pub gradients: u64,
    /// The optimizer's state, and the moving average of the weights where there is one.
    pub optimizer: u64,
    /// Results of forward nodes that the backward pass needs, at this batch and size.
    pub activations: u64,
    /// Most that results and gradients of nodes take at a time.
    pub working_peak: u64,
    /// Predicted peak of the process on the CPU provider with glebe's own operators, while the step is built or while it
    /// runs: all of these, the images, the file, the runtime's copies of the weights, gaps between tensors, and the
    /// program itself. Other providers and the portable graphs keep a second copy of the trained weights and of the
    /// optimizer's state.
    ///
    /// Peaks of `glebe step` (`peak_rss_mib`) were within an eighth of it for the benchmark's three networks, with `all`,
    /// `decoder` and `head`, at 1 and 4 x 256² and 2 x 128². `glebe inspect --measure` holds the file once more.
    pub peak: u64,
    /// Nodes of the whole step: forward, loss and backward.
    pub step_nodes: usize,
}

/// Looks at what training `model` with `options` would mean, without running anything.
///
/// A model that cannot be trained is no error here: [`Preflight::problems`] says why, and [`Preflight::refusal`] makes
/// an error of it.
///
/// # Errors
/// `InvalidArgument` for settings out of range and patterns without a match; `Mismatch` for shapes that the model does
/// not take; `ModelInvalid`.
pub fn preflight(model: &Model, options: &StepOptions) -> Result<Preflight> {
    Preflight::of(model.document(), options).map_err(|error| match model.path() {
        Some(path) => error.at_path(path),
        None => error,
    })
}

impl Preflight {
    /// [`preflight`] of a file: needs no runtime.
    ///
    /// # Errors
    /// As [`preflight`].
    pub fn of(document: &Document, options: &StepOptions) -> Result<Preflight> {
        let mut report = Preflight::empty(options);
        // What opening the model would refuse.
        let facts = Facts::of(document);
        if report.or_problem(Contract::of(document, &facts, options.output.as_deref()))?.is_none() {
            return Ok(report);
        }
        let Some(prepared) = report.or_problem(prepare(document, options))? else { return Ok(report) };
        report.parameters(&prepared);
        let targets: Vec<ValueId> =
            prepared.chosen.iter().map(|&index| prepared.parameters[index].id).collect();
        let found = survey(&prepared.graph, &targets, options.kernels)?;
        let node_name = |index: usize| {
            let node = &prepared.graph.nodes()[index];
            match node.output(0) {
                Some(id) if node.name.is_empty() => prepared.graph.name(id).to_owned(),
                _ => node.name.clone(),
            }
        };
        for index in prepared.graph.needed_for(prepared.graph.outputs()) {
            let op = prepared.graph.nodes()[index].op_type.clone();
            report.nodes.push(NodeSupport { name: node_name(index), op, support: found.support[index] });
        }
        report.backward_nodes = report.nodes.iter().filter(|node| node.support != Support::Frozen).count();
        for Refusal { node, path, reason } in found.refusals {
            report.problems.push(format!("{reason}; a trained parameter lies behind it ({path})"));
            let op = prepared.graph.nodes()[node].op_type.clone();
            report.unsupported.push(Unsupported { node: node_name(node), op, path, reason });
        }
        if report.problems.is_empty()
            && let Some(compiled) = report.or_problem(compile_prepared(prepared, options))?
        {
            report.outputs = compiled.graph.shape(compiled.logits).try_into().ok();
            report.memory = Some(memory(document, &compiled, options));
        }
        Ok(report)
    }

    fn empty(options: &StepOptions) -> Preflight {
        Preflight {
            problems: Vec::new(),
            params: options.params.to_string(),
            batch_norm: options.batch_norm.to_string(),
            loss: options.loss.to_string(),
            optimizer: options.optimizer.kind.to_string(),
            batch: options.batch,
            size: options.size,
            outputs: None,
            trained_elements: 0,
            frozen_elements: 0,
            trained: Vec::new(),
            frozen: Vec::new(),
            backward_nodes: 0,
            nodes: Vec::new(),
            unsupported: Vec::new(),
            memory: None,
        }
    }

    /// What is there, or a problem noted where the model is the reason.
    fn or_problem<T>(&mut self, made: Result<T>) -> Result<Option<T>> {
        match made {
            Ok(made) => Ok(Some(made)),
            Err(error) if error.kind() == ErrorKind::ModelUnsupported => {
                self.problems.push(error.one_line());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn parameters(&mut self, prepared: &Prepared) {
        for (index, own) in prepared.parameters.iter().enumerate() {
            if prepared.chosen.contains(&index) {
                self.trained_elements += own.elements();
                self.trained.push(Tensor::of(own));
            } else {
                self.frozen_elements += own.elements();
                self.frozen.push(Tensor::of(own));
            }
        }
    }

    /// The problems as an error; `None` where the model can be trained.
    pub fn refusal(&self) -> Option<Error> {
        let first = self.problems.first()?;
        let more = match self.problems.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more in the report)"),
        };
        Some(Error::new(ErrorKind::ModelUnsupported, format!("cannot be trained so: {first}{more}")))
    }
}

impl Tensor {
    fn of(own: &Parameter) -> Tensor {
        Tensor {
            name: own.name.clone(),
            alias: own.alias.clone(),
            role: own.role.name(),
            shape: own.shape.clone(),
            elements: own.elements(),
        }
    }
}

/// A process with the runtime loaded and a session of next to nothing.
const PROGRAM: u64 = 60 << 20;

fn memory(document: &Document, compiled: &Compiled, options: &StepOptions) -> Memory {
    let graph = &compiled.graph;
    let mut ends = vec![compiled.loss, compiled.logits];
    ends.extend(compiled.trained.iter().map(|own| own.gradient));
    ends.extend(compiled.statistics.iter().map(|own| own.updated));
    let order = graph.needed_for(&ends);
    let mut used = vec![false; graph.len()];
    for id in order.iter().flat_map(|&index| graph.nodes()[index].inputs.iter().flatten()) {
        used[id.index()] = true;
    }
    let frozen: u64 = graph
        .values()
        .filter(|(id, value)| {
            used[id.index()] && matches!(value.origin(), Origin::Parameter(_) | Origin::Constant(_))
        })
        .map(|(_, value)| value.kind().bytes())
        .sum();
    let trained: u64 = compiled.trained.iter().map(|own| graph.kind(own.input).bytes()).sum();
    let kept = options.optimizer.state_names().len() + usize::from(options.optimizer.ema_decay.is_some());
    let optimizer = trained * kept as u64;
    let live = liveness(graph, &ends, compiled.forward, Layout::Plain);
    let file = document.bytes().len() as u64;
    // Building: the graph's bytes, the runtime's message of them, its tensors, and their packed form.
    let building = PROGRAM + file + 4 * frozen;
    let given = |id: ValueId| graph.kind(id).bytes();
    // Labels and mask are held once as they are given and once as the graph takes them.
    let images: u64 = compiled.inputs.iter().copied().map(given).sum();
    let inputs = images + 2 * (given(compiled.targets.labels) + given(compiled.targets.mask));
    // While it runs: the runtime's own copy of the frozen tensors and for most of them a packed one; the trained weights,
    // their gradients, and what the pass that updates them holds. Tensors do not lie without gaps. The fractions are those
    // that fit 27 measured peaks best (three networks, three selections, three sizes); see `Memory::peak`.
    let copies = frozen * 14 / 5 + trained * 12 / 5;
    let standing = PROGRAM + file + copies + optimizer + inputs;
    Memory {
        weights: frozen + trained,
        gradients: trained,
        optimizer,
        activations: live.across,
        working_peak: live.peak,
        peak: building.max(standing + live.peak * 5 / 4),
        step_nodes: order.len(),
    }
}
