//! Constants in single and in half precision.

use std::collections::{HashMap, HashSet};

use half::f16;

use crate::onnx::ElementType;
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto};

/// The float32 constants of a model: its initializers, and what Constant nodes made.
pub(super) struct Constants {
    /// In the order of the file.
    tensors: Vec<Constant>,
    places: HashMap<String, usize>,
}

/// A float32 tensor and what half precision would make of it.
pub(super) struct Constant {
    tensor: TensorProto,
    values: Vec<f32>,
    /// Elements that are finite and too large.
    clamped: u64,
    /// Elements that are too near to 0.
    flushed: u64,
}

impl Constant {
    fn of(tensor: TensorProto) -> Option<Constant> {
        let values = tensor.to_f32()?;
        let count = |wrong: &dyn Fn(f32) -> bool| values.iter().filter(|value| wrong(**value)).count() as u64;
        let clamped = count(&is_too_large);
        let flushed = count(&|value| value != 0.0 && f16::from_f32(value).to_f32() == 0.0);
        Some(Constant { tensor, values, clamped, flushed })
    }

    /// Whether a node may use it in half precision: one that adds up products with weights may in any case.
    pub(super) fn fits(&self, is_weighted_sum: bool) -> bool {
        let is_one_number = self.values.len() == 1;
        is_weighted_sum || (self.clamped == 0 && !(is_one_number && self.flushed > 0))
    }
}

fn is_too_large(value: f32) -> bool {
    value.is_finite() && f16::from_f32(value).is_infinite()
}

impl Constants {
    /// Takes the float32 constants out of the graph and the nodes.
    pub(super) fn take(graph: &mut GraphProto, nodes: &mut Vec<NodeProto>) -> Constants {
        let mut constants = Constants { tensors: Vec::new(), places: HashMap::new() };
        let mut left = Vec::new();
        for tensor in std::mem::take(&mut graph.initializer) {
            if tensor.data_type == ElementType::Float32.number()
                && let Some(constant) = Constant::of(tensor.clone())
            {
                constants.add(constant);
            } else {
                left.push(tensor);
            }
        }
        graph.initializer = left;
        nodes.retain(|node| match constant_of(node) {
            Some(constant) => {
                constants.add(constant);
                false
            }
            None => true,
        });
        constants
    }

    pub(super) fn get(&self, name: &str) -> Option<&Constant> {
        self.places.get(name).map(|place| &self.tensors[*place])
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|constant| constant.tensor.name.as_str())
    }

    /// Those that are used in single precision.
    pub(super) fn rest(self, wanted: &HashSet<String>) -> impl Iterator<Item = TensorProto> {
        self.tensors
            .into_iter()
            .map(|constant| constant.tensor)
            .filter(move |tensor| wanted.contains(&tensor.name))
    }

    fn add(&mut self, constant: Constant) {
        self.places.insert(constant.tensor.name.clone(), self.tensors.len());
        self.tensors.push(constant);
    }
}

/// The float32 tensor that a Constant node makes.
fn constant_of(node: &NodeProto) -> Option<Constant> {
    if !node.is("Constant") {
        return None;
    }
    let [name] = &node.output[..] else { return None };
    let attribute = node.attribute.first()?;
    let tensor = match (attribute.name.as_str(), &attribute.t, attribute.f) {
        ("value", Some(tensor), _) => TensorProto { name: name.clone(), ..(**tensor).clone() },
        ("value_float", _, Some(value)) => TensorProto::from_f32(name, &[], &[value]),
        ("value_floats", _, _) => {
            TensorProto::from_f32(name, &[attribute.floats.len() as i64], &attribute.floats)
        }
        _ => return None,
    };
    Constant::of(tensor)
}

/// Tensors in half precision, and what became of their elements.
#[derive(Default)]
pub(super) struct Halves {
    pub(super) tensors: Vec<TensorProto>,
    pub(super) weights: u64,
    pub(super) clamped: u64,
    pub(super) flushed: u64,
}

impl Halves {
    pub(super) fn add(&mut self, name: &str, constant: &Constant) {
        let bytes: Vec<u8> = constant
            .values
            .iter()
            .flat_map(|value| {
                let value = if is_too_large(*value) { f16::MAX.to_f32().copysign(*value) } else { *value };
                f16::from_f32(value).to_le_bytes()
            })
            .collect();
        self.tensors.push(TensorProto::raw(name, ElementType::Float16, &constant.tensor.dims, bytes));
        self.weights += constant.values.len() as u64;
        self.clamped += constant.clamped;
        self.flushed += constant.flushed;
    }
}
