//! The weights that training starts from, taken from a checkpoint of another program or run.

use std::collections::HashSet;

use crate::autodiff::compile::whole;
use crate::autodiff::{Parameter, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::export::with_elements;
use crate::finetune::step::TrainStep;
use crate::onnx::graph::{Graph, ValueId};
use crate::onnx::{Document, ElementType, Limits};
use crate::weights::checkpoint::{Checkpoint, OpenOptions};
use crate::weights::mapping::{Mapping, MappingOptions, Slot};
use crate::weights::report::Report;
use crate::weights::tensors::{Elements, NamedTensor, Tensors};

/// How a checkpoint is read and matched with the model.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// How the file is opened.
    pub open: OpenOptions,
    /// Which of its tensors go where.
    pub mapping: MappingOptions,
}

impl TrainStep {
    /// Takes over the weights of a checkpoint, trained and frozen ones, as if the model file had held them: the optimizer
    /// begins anew, [`TrainStep::updates`] counts from 0, moving averages and adapters start from what is loaded. What the
    /// feature cache kept is forgotten; loss scale and cancel token stay.
    ///
    /// The step is built anew, which takes as long as the first time and for a moment twice the memory. An error leaves the
    /// step as it was.
    ///
    /// ```no_run
    /// use glebe::weights::checkpoint::Checkpoint;
    /// use glebe::weights::mapping::MappingOptions;
    /// # fn load(step: &mut glebe::finetune::TrainStep) -> glebe::Result<()> {
    /// let checkpoint = Checkpoint::open("last.ckpt")?;
    /// let mut options = MappingOptions::default();
    /// options.filter = "!head.*".parse()?;
    /// let report = step.load_checkpoint(&checkpoint, &options)?;
    /// println!("{report}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidState` while gradients wait; `Mismatch` where tensors are missing, too many or of another shape (unless
    /// [`MappingOptions::partial`]; [`TrainStep::survey_checkpoint`] lists them all), where nothing fits, and where a
    /// BatchNorm of the checkpoint is neither in the model nor can be folded; `InvalidArgument` for numbers that the
    /// model's element type cannot hold; as [`Checkpoint::read`]; the runtime's.
    pub fn load_checkpoint(&mut self, checkpoint: &Checkpoint, options: &MappingOptions) -> Result<Report> {
        self.check_nothing_waits()?;
        let Layout { slots, untied } = self.layout()?;
        let mapping = Mapping::new(&slots, checkpoint, options)?;
        let weights = mapping.read(checkpoint)?;
        check_range(&self.document, &untied, &weights).map_err(|error| error.at_path(checkpoint.path()))?;
        let bytes = with_elements(&self.document, &untied, &weights)?;
        drop(weights);
        let document = Document::from_bytes(bytes, &no_limits())?;
        let mut new = TrainStep::build(&self.runtime, &document, &self.options, &self.run)?;
        (new.scale, new.wants_logits) = (self.scale, self.wants_logits);
        new.evaluates_averages = self.evaluates_averages;
        if let Some(token) = &self.token {
            new.cancel_with(token)?;
        }
        *self = new;
        Ok(mapping.report().clone())
    }

    /// What [`TrainStep::load_checkpoint`] would do, in full also where it would be an error that something is missing, too
    /// much or of another shape. Changes nothing.
    ///
    /// # Errors
    /// `Mismatch` where a BatchNorm of the checkpoint is neither in the model nor can be folded.
    pub fn survey_checkpoint(&self, checkpoint: &Checkpoint, options: &MappingOptions) -> Result<Report> {
        Ok(Mapping::survey(&self.layout()?.slots, checkpoint, options)?.report().clone())
    }

    /// That no gradients would be lost.
    pub(super) fn check_nothing_waits(&self) -> Result<()> {
        if self.waiting() == 0 {
            return Ok(());
        }
        let message = "gradients wait: apply or discard them before weights are loaded";
        Err(Error::new(ErrorKind::InvalidState, message))
    }

    fn layout(&self) -> Result<Layout> {
        let (graph, parameters) = whole(&self.document, &self.options)?;
        let untied = graph.untied().to_vec();
        let mut own: HashSet<&str> =
            self.document.graph().initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        own.extend(untied.iter().map(|(name, _)| name.as_str()));
        let slots = parameters
            .iter()
            .filter(|parameter| own.contains(parameter.name.as_str()))
            .map(|parameter| slot(&graph, parameter))
            .collect();
        Ok(Layout { slots, untied })
    }
}

/// What a checkpoint can fill.
struct Layout {
    slots: Vec<Slot>,
    /// Tensors that are an Identity of another in the file, and that other.
    untied: Vec<(String, String)>,
}

fn slot(graph: &Graph, parameter: &Parameter) -> Slot {
    Slot {
        name: parameter.name.clone(),
        alias: parameter.alias.clone(),
        shape: parameter.shape.clone(),
        // The exporter's own numbers are in no checkpoint, but a buffer of the network may be.
        is_optional: parameter.role == Role::Fixed,
        transposed: parameter.role == Role::Weight && is_right_factor(graph, parameter),
        up_groups: up_groups(graph, parameter),
    }
}

/// Groups of the transposed convolution that it is the weight of.
fn up_groups(graph: &Graph, parameter: &Parameter) -> Option<usize> {
    let node = parameter.node.map(|index| &graph.nodes()[index])?;
    let is_weight =
        node.is("ConvTranspose") && node.input(1).is_some_and(|id| is_same(graph, id, parameter.id));
    is_weight.then(|| usize::try_from(node.int_or("group", 1)).unwrap_or(1))
}

/// Whether it is what an exporter makes of a linear layer's weight `[out, in]`: the second operand `[in, out]` of a product.
fn is_right_factor(graph: &Graph, parameter: &Parameter) -> bool {
    let Some(node) = parameter.node.map(|index| &graph.nodes()[index]) else { return false };
    let is_product = matches!(node.op_type.as_str(), "MatMul" | "FusedMatMul" | "Gemm");
    let is_plain = node.int_or("transB", 0) == 0;
    is_product && is_plain && node.input(1).is_some_and(|id| is_same(graph, id, parameter.id))
}

/// Whether a value is another one, at most in another type.
fn is_same(graph: &Graph, mut id: ValueId, wanted: ValueId) -> bool {
    while id != wanted {
        match graph.producer(id) {
            Some((_, node)) if node.is("Cast") || node.is("Identity") => match node.input(0) {
                Some(before) => id = before,
                None => return false,
            },
            _ => return false,
        }
    }
    true
}

/// That no finite number becomes infinite in the type of its tensor.
fn check_range(document: &Document, untied: &[(String, String)], weights: &Tensors) -> Result<()> {
    for (name, tensor) in weights {
        let of = untied.iter().find(|(own, _)| own == name).map_or(name, |(_, initializer)| initializer);
        let element = document.graph().initializer(of).and_then(|tensor| tensor.element_type());
        let NamedTensor { elements: Elements::F32(values), .. } = tensor else { continue };
        let most = match element {
            // Halfway to the number after the largest.
            Some(ElementType::Float16) => 65520.0,
            Some(ElementType::Bfloat16) => f32::from_bits(0x7f7f_8000),
            _ => continue,
        };
        if let Some(value) = values.iter().find(|value| value.is_finite() && value.abs() >= most) {
            let message =
                format!("{value} does not fit into the model's {}", element.map_or("", ElementType::name));
            return Err(Error::invalid(message).at_tensor(name));
        }
    }
    Ok(())
}

/// No limits: the file was checked when it was opened, and has other elements now and nothing else.
fn no_limits() -> Limits {
    let mut limits = Limits::default();
    let most = u64::MAX;
    (limits.file_bytes, limits.tensor_bytes, limits.tensor_elements) = (most, most, most);
    (limits.nodes, limits.decoded_bytes, limits.produced_elements) = (most, most, most);
    limits.depth = 100;
    limits
}
