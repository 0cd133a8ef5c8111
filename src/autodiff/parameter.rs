//! What the floating point tensors of a model are: weights, biases, scales, statistics, or constants of the exporter.

use std::collections::HashMap;

use crate::autodiff::decompose::is_composite;
use crate::autodiff::rules::rule;
use crate::onnx::graph::{Graph, Node, Origin, ValueId};

/// What a tensor does in the network, found from the operator that uses it and the place it is used at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Weight of a convolution or a linear layer.
    Weight,
    /// Added to the result of a layer.
    Bias,
    /// Scale of a normalisation layer (gamma).
    NormScale,
    /// Shift of a normalisation layer (beta).
    NormBias,
    /// Running mean or variance of a BatchNormalization: never trained by gradients.
    Statistic,
    /// Any other tensor that takes part in the computation: embeddings, slopes, layer scales.
    Other,
    /// A number of the exporter or an operator's setting (bounds, scales, masks, single numbers): not trained unless
    /// a pattern names it, and settings not even then.
    Fixed,
    /// A factor of a low-rank adapter, which the step puts beside a weight of the file.
    Adapter,
}

impl Role {
    /// The name in reports: `weight`, `bias`, `norm-scale`, `norm-bias`, `statistic`, `other`, `fixed`,
    /// `adapter`.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Weight => "weight",
            Role::Bias => "bias",
            Role::NormScale => "norm-scale",
            Role::NormBias => "norm-bias",
            Role::Statistic => "statistic",
            Role::Other => "other",
            Role::Fixed => "fixed",
            Role::Adapter => "adapter",
        }
    }
}

/// A floating point tensor of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The value in the graph.
    pub(crate) id: ValueId,
    /// Name of the initializer.
    pub name: String,
    /// A name made from that of the layer, where the exporter gave the tensor a made-up one (`onnx::MatMul_12` used by
    /// `/decoder/mlp/MatMul` is `decoder.mlp.weight`); else the name.
    pub alias: String,
    /// What it does.
    pub role: Role,
    /// Shape.
    pub shape: Vec<usize>,
    /// Index of the node that uses it first, through reshapes and the like.
    pub(crate) node: Option<usize>,
}

impl Parameter {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether presets and patterns may train it.
    pub fn is_trainable(&self) -> bool {
        !matches!(self.role, Role::Statistic | Role::Fixed)
    }
}

/// Operators that give their first input on in another form; what follows them decides what a tensor is.
const VIEWS: [&str; 10] = [
    "Cast",
    "Expand",
    "Flatten",
    "Identity",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "Split",
];

/// All floating point tensors of the graph that it uses, in the order of their first use.
pub(crate) fn parameters(graph: &Graph) -> Vec<Parameter> {
    let mut users: HashMap<ValueId, Vec<(usize, usize)>> = HashMap::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        for (slot, id) in node.inputs.iter().enumerate() {
            if let Some(id) = id {
                users.entry(*id).or_default().push((index, slot));
            }
        }
    }
    let mut found: Vec<Parameter> = graph
        .parameters()
        .filter_map(|(id, value)| {
            let uses = ends(graph, &users, id);
            let &(first, _) = uses.first()?;
            let role = role(graph, id, &uses);
            Some(Parameter {
                id,
                name: value.name().to_owned(),
                alias: alias(value.name(), &graph.nodes()[first], role),
                role,
                shape: value.kind().shape.clone(),
                node: Some(first),
            })
        })
        .collect();
    found.sort_by_key(|parameter| (parameter.node, parameter.id));
    found
}

/// The places where a tensor is used, looking through [`VIEWS`].
fn ends(graph: &Graph, users: &HashMap<ValueId, Vec<(usize, usize)>>, id: ValueId) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut stack = vec![id];
    while let Some(id) = stack.pop() {
        for &(index, slot) in users.get(&id).map_or(&[][..], Vec::as_slice) {
            let node = &graph.nodes()[index];
            if slot == 0 && VIEWS.contains(&node.op_type.as_str()) {
                stack.extend(node.outputs.iter().flatten());
            } else {
                found.push((index, slot));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The first use that says something; a tensor that is used as a weight anywhere is one.
fn role(graph: &Graph, id: ValueId, uses: &[(usize, usize)]) -> Role {
    let roles: Vec<Role> = uses.iter().map(|&(index, slot)| use_role(graph, id, index, slot)).collect();
    let structural = roles.iter().copied().find(|role| *role != Role::Fixed && *role != Role::Other);
    let role = structural.or_else(|| roles.iter().copied().find(|role| *role == Role::Other));
    match role.unwrap_or(Role::Fixed) {
        Role::Other if is_mask(graph, id) || is_exporters_number(graph, id) => Role::Fixed,
        role => role,
    }
}

fn use_role(graph: &Graph, id: ValueId, index: usize, slot: usize) -> Role {
    let node = &graph.nodes()[index];
    match (node.op_type.as_str(), slot) {
        ("Conv" | "ConvTranspose" | "Gemm", 1) | ("Gemm", 0) | ("MatMul" | "Einsum", _) => Role::Weight,
        ("Conv" | "ConvTranspose" | "Gemm", 2) => Role::Bias,
        ("BatchNormalization", 3 | 4) => Role::Statistic,
        (
            "BatchNormalization"
            | "LayerNormalization"
            | "InstanceNormalization"
            | "GroupNormalization"
            | "RMSNormalization"
            | "SimplifiedLayerNormalization",
            1,
        ) => Role::NormScale,
        ("BatchNormalization" | "LayerNormalization" | "InstanceNormalization" | "GroupNormalization", 2) => {
            Role::NormBias
        }
        ("PRelu", 1) => slope(graph, id),
        ("Gather" | "GatherND" | "GatherElements" | "Concat" | "ScatterND" | "Tile" | "Resize", 0)
        | ("Concat" | "Where", _) => Role::Other,
        ("Add" | "Sub" | "Mul" | "Div", _) if is_of_image(graph, id, node, slot) => Role::Fixed,
        ("Add", _) => match other(graph, node, slot) {
            Some(Around::Norm) => Role::NormBias,
            Some(Around::Layer) => Role::Bias,
            _ => Role::Other,
        },
        ("Mul", _) => match other(graph, node, slot) {
            Some(Around::Norm) => Role::NormScale,
            _ => Role::Other,
        },
        // Bounds, fill values, scales of a resampling: settings that happen to be tensors.
        ("Clip", 1 | 2) | ("Pad" | "Resize" | "Upsample" | "Range" | "OneHot", _) => Role::Fixed,
        (op_type, _) if rule(&node.domain, op_type).is_some() || is_composite(node) => Role::Other,
        _ => Role::Fixed,
    }
}

/// Numbers that normalise the image, one a band or one for all, which exporters take from buffers: they stand right behind
/// the input.
fn is_of_image(graph: &Graph, id: ValueId, node: &Node, slot: usize) -> bool {
    let bands = graph.inputs().first().and_then(|image| graph.shape(*image).get(1)).copied().unwrap_or(1);
    let mut at = node.input(1 - slot.min(1)).filter(|_| graph.kind(id).elements() <= bands);
    while let Some(id) = at {
        match graph.value(id).origin() {
            Origin::Input => return true,
            Origin::Node { node, .. } => {
                let producer = &graph.nodes()[*node];
                let by_number = matches!(producer.op_type.as_str(), "Add" | "Sub" | "Mul" | "Div")
                    && producer.inputs.iter().flatten().any(|id| graph.known(*id).is_some());
                at = match producer.op_type.as_str() {
                    "Cast" => producer.input(0),
                    _ if by_number => {
                        producer.inputs.iter().flatten().copied().find(|id| graph.known(*id).is_none())
                    }
                    _ => None,
                };
            }
            _ => return false,
        }
    }
    false
}

/// A single number that the exporter wrote as a tensor: a factor, a small number, an exponent. Those of the network have a
/// name of its own (`gate.gamma`).
fn is_exporters_number(graph: &Graph, id: ValueId) -> bool {
    let name = graph.name(id);
    let made_up = is_made_up(name)
        || name.contains(['/', ':'])
        || [
            "scalar",
            "const",
            "_const",
            "val",
            "full",
            "ones",
            "zeros",
            "clone",
            "_tensor_constant",
            "lifted_tensor",
        ]
        .iter()
        .any(|start| name.to_ascii_lowercase().starts_with(start));
    graph.kind(id).elements() < 2 && made_up
}

/// A PRelu may have a single slope, which is trained all the same.
fn slope(graph: &Graph, id: ValueId) -> Role {
    if graph.kind(id).elements() == 1 { Role::Weight } else { Role::Other }
}

/// What the other operand of an addition or multiplication comes out of.
enum Around {
    /// A layer with a weight.
    Layer,
    /// A normalisation, possibly scaled already.
    Norm,
}

fn other(graph: &Graph, node: &Node, slot: usize) -> Option<Around> {
    let mut id = node.input(1 - slot.min(1))?;
    for _ in 0..4 {
        let Origin::Node { node, .. } = graph.value(id).origin() else { return None };
        let producer = &graph.nodes()[*node];
        match producer.op_type.as_str() {
            "MatMul" | "Gemm" | "Conv" | "ConvTranspose" | "Einsum" => return Some(Around::Layer),
            "InstanceNormalization" | "LayerNormalization" | "GroupNormalization" | "BatchNormalization" => {
                return Some(Around::Norm);
            }
            // The normalised value times its scale, written out.
            "Mul" => {
                let factor = producer.inputs.iter().flatten().any(|id| graph.known(*id).is_some());
                if !factor {
                    return None;
                }
                id = producer.inputs.iter().flatten().copied().find(|id| graph.known(*id).is_none())?;
            }
            view if VIEWS.contains(&view) => id = producer.input(0)?,
            _ => return None,
        }
    }
    None
}

/// Attention masks come as tensors of zeros and large negative numbers; they are constants of the architecture.
fn is_mask(graph: &Graph, id: ValueId) -> bool {
    let values = graph.known(id).and_then(|constant| constant.to_f32()).unwrap_or_default();
    values.iter().any(|value| *value <= -50.0) && values.iter().all(|value| *value == 0.0 || *value <= -50.0)
}

/// Names that exporters make up: `onnx::Conv_123`, `val_7`, `12`.
fn is_made_up(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.contains("::") || digits(name) || name.strip_prefix("val_").is_some_and(digits)
}

fn alias(name: &str, user: &Node, role: Role) -> String {
    if !is_made_up(name) || user.name.is_empty() {
        return name.to_owned();
    }
    let path: Vec<&str> = user.name.split('/').filter(|part| !part.is_empty()).collect();
    let layer = match path.split_last() {
        Some((last, layer)) if last.starts_with(&user.op_type) && !layer.is_empty() => layer.join("."),
        _ => path.join("."),
    };
    let kind = match role {
        Role::Bias | Role::NormBias => "bias",
        _ => "weight",
    };
    format!("{layer}.{kind}")
}
