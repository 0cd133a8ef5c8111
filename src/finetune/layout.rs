//! What of a model a checkpoint can fill.

use std::collections::HashSet;

use crate::autodiff::compile::whole;
use crate::autodiff::{Parameter, Role, StepOptions};
use crate::error::{Error, Result};
use crate::model::Contract;
use crate::onnx::graph::{Constant, Graph, ValueId};
use crate::onnx::{Document, ElementType, Limits};
use crate::weights::mapping::Slot;
use crate::weights::tensors::{Elements, NamedTensor, Tensors};

/// What a checkpoint can fill.
pub(super) struct Layout {
    pub(super) slots: Vec<Slot>,
    /// Tensors that are an Identity of another in the file, and that other.
    pub(super) untied: Vec<(String, String)>,
    graph: Graph,
    parameters: Vec<Parameter>,
}

/// Sides of images that networks of any size are looked at with, one after the other until one is taken.
const SIDES: [usize; 4] = [256, 224, 512, 1024];

impl Layout {
    /// The layout of the model in the shapes of a step.
    ///
    /// # Errors
    /// As [`whole`].
    pub(super) fn of(document: &Document, options: &StepOptions) -> Result<Layout> {
        let (graph, parameters) = whole(document, options)?;
        let untied = graph.untied().to_vec();
        let mut own: HashSet<&str> =
            document.graph().initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        own.extend(untied.iter().map(|(name, _)| name.as_str()));
        let slots = parameters
            .iter()
            .filter(|parameter| own.contains(parameter.name.as_str()))
            .map(|parameter| slot(&graph, parameter))
            .collect();
        Ok(Layout { slots, untied, graph, parameters })
    }

    /// The layout of a model whose images may have any size that it takes: weights do not depend on it.
    ///
    /// # Errors
    /// As [`whole`].
    pub(super) fn of_any_size(document: &Document, contract: &Contract) -> Result<Layout> {
        let (height, width) = contract.tile();
        let mut first = None;
        for side in contract.suggested_tile().into_iter().chain(SIDES) {
            let size = [height.unwrap_or(side), width.unwrap_or(side)];
            let mut options = StepOptions::new(contract.batch().unwrap_or(1), size);
            options.output = Some(contract.output().to_owned());
            match Layout::of(document, &options) {
                Ok(layout) => return Ok(layout),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| Error::internal("no size was tried")))
    }

    /// The elements of a tensor as the file has them.
    pub(super) fn elements(&self, name: &str) -> Option<&Constant> {
        let own = self.parameters.iter().find(|own| own.name == name)?;
        self.graph.known(own.id)
    }
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
pub(super) fn check_range(document: &Document, untied: &[(String, String)], weights: &Tensors) -> Result<()> {
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
pub(super) fn no_limits() -> Limits {
    let mut limits = Limits::default();
    let most = u64::MAX;
    (limits.file_bytes, limits.tensor_bytes, limits.tensor_elements) = (most, most, most);
    (limits.nodes, limits.decoded_bytes, limits.produced_elements) = (most, most, most);
    limits.depth = 100;
    limits
}
