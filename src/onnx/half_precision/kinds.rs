//! Which values are float32, and which are computed from sizes.

use std::collections::{HashMap, HashSet};

use super::weights::Constants;
use crate::onnx::ElementType;
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto, is_default_domain};

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `float32`.
    Float,
    /// Anything else.
    Other,
    /// Not known: the output of an unknown operator.
    Unknown,
}

/// The kinds of all values.
pub(super) struct Kinds {
    kinds: HashMap<String, Kind>,
    of_sizes: HashSet<String>,
}

impl Kinds {
    /// The kinds of the values that `nodes`, which are in order, make.
    pub(super) fn of(graph: &GraphProto, nodes: &[NodeProto], constants: &Constants) -> Kinds {
        let mut kinds: HashMap<String, Kind> = HashMap::new();
        for value in graph.value_info.iter().chain(&graph.output).chain(&graph.input) {
            if let Some(kind) = told(value) {
                kinds.insert(value.name.clone(), kind);
            }
        }
        for tensor in &graph.initializer {
            kinds.insert(tensor.name.clone(), number(tensor.data_type));
        }
        for name in constants.names() {
            kinds.insert(name.to_owned(), Kind::Float);
        }
        let fixed: HashSet<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name.as_str())
            .chain(constants.names())
            .chain(
                nodes
                    .iter()
                    .filter(|node| node.is("Constant"))
                    .flat_map(|node| node.output.iter().map(String::as_str)),
            )
            .collect();
        let mut of_sizes = HashSet::new();
        for node in nodes {
            let varying =
                || node.input.iter().filter(|name| !name.is_empty() && !fixed.contains(name.as_str()));
            let sizes = node.is("Shape")
                || node.is("Size")
                || (varying().next().is_some() && varying().all(|name| of_sizes.contains(name)));
            for (at, output) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                if sizes {
                    of_sizes.insert(output.clone());
                }
                let inputs = |at: usize| {
                    node.input(at).and_then(|name| kinds.get(name)).copied().unwrap_or(Kind::Unknown)
                };
                let made = made(node, at, &inputs);
                if made != Kind::Unknown || !kinds.contains_key(output) {
                    kinds.insert(output.clone(), made);
                }
            }
        }
        Kinds { kinds, of_sizes }
    }

    pub(super) fn of_value(&self, name: &str) -> Kind {
        self.kinds.get(name).copied().unwrap_or(Kind::Unknown)
    }

    /// Whether it is computed from the sizes of other values and constants alone.
    pub(super) fn is_of_sizes(&self, name: &str) -> bool {
        self.of_sizes.contains(name)
    }
}

fn number(data_type: i32) -> Kind {
    if data_type == ElementType::Float32.number() { Kind::Float } else { Kind::Other }
}

fn told(value: &ValueInfoProto) -> Option<Kind> {
    value.r#type.as_ref()?;
    let tensor = value.tensor_type()?;
    (tensor.elem_type != 0).then(|| number(tensor.elem_type))
}

/// The kind of a node's output.
fn made(node: &NodeProto, output: usize, inputs: &dyn Fn(usize) -> Kind) -> Kind {
    if !is_default_domain(&node.domain) {
        return Kind::Unknown;
    }
    let asked = |name: &str, otherwise: Kind| {
        node.int(name).and_then(|wanted| i32::try_from(wanted).ok()).map_or(otherwise, number)
    };
    let value = |otherwise: Kind| {
        let tensor = node.attribute("value").and_then(|value| value.t.as_deref());
        tensor.map_or(otherwise, |tensor: &TensorProto| number(tensor.data_type))
    };
    match (node.op_type.as_str(), output) {
        ("Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" | "NonMaxSuppression" | "IsNaN" | "IsInf", _)
        | ("Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual", _)
        | ("And" | "Or" | "Xor" | "Not" | "QuantizeLinear" | "ConvInteger" | "MatMulInteger", _)
        | ("QLinearConv" | "QLinearMatMul" | "StringNormalizer" | "TfIdfVectorizer", _)
        | ("DynamicQuantizeLinear", 0 | 2)
        | ("TopK" | "MaxPool" | "Dropout", 1)
        | ("Unique", 1..) => Kind::Other,
        ("DynamicQuantizeLinear", _) | ("MelWeightMatrix", _) => asked("output_datatype", Kind::Float),
        ("DequantizeLinear", _) => inputs(1),
        ("Cast", _) => asked("to", Kind::Unknown),
        ("Multinomial", _) => asked("dtype", Kind::Other),
        ("RandomNormal" | "RandomUniform", _) => asked("dtype", Kind::Float),
        ("RandomNormalLike" | "RandomUniformLike" | "EyeLike" | "Bernoulli", _) => asked("dtype", inputs(0)),
        ("HannWindow" | "HammingWindow" | "BlackmanWindow", _) => asked("output_datatype", Kind::Float),
        ("Constant", _) if node.attribute("value_float").is_some() => Kind::Float,
        ("Constant", _) if node.attribute("value_floats").is_some() => Kind::Float,
        ("Constant", _) => value(Kind::Other),
        ("ConstantOfShape", _) => value(Kind::Float),
        ("CastLike" | "Where", _) => inputs(1),
        ("OneHot", _) => inputs(2),
        ("SequenceAt" | "SequenceConstruct" | "SequenceEmpty" | "SequenceErase" | "SequenceInsert", _)
        | ("SequenceMap" | "ConcatFromSequence" | "SplitToSequence" | "SequenceLength", _)
        | ("Optional" | "OptionalGetElement" | "OptionalHasElement" | "ImageDecoder" | "If", _) => {
            Kind::Unknown
        }
        _ => inputs(0),
    }
}
