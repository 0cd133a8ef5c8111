//! A random case: a small graph with the values of its inputs.

use super::array::Array;
use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Graph, Node, ValueId, ValueType};
use crate::onnx::proto::AttributeProto;

/// A graph, the values of its inputs, which of them are differentiated, and which values are seeded.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    pub(super) graph: Graph,
    pub(super) given: Vec<(ValueId, Array)>,
    pub(super) targets: Vec<ValueId>,
    pub(super) ends: Vec<ValueId>,
}

impl Case {
    pub(super) fn new() -> Case {
        Case::default()
    }

    /// Of another operator set than the oldest.
    pub(super) fn of_opset(opset: i64) -> Case {
        Case { graph: Graph::new(opset), ..Case::default() }
    }

    /// An input that is differentiated: `float32`, though the interpreter computes with all digits.
    pub(super) fn x(&mut self, values: Array) -> ValueId {
        let id = self.input(values);
        self.targets.push(id);
        id
    }

    /// An input that is not differentiated.
    pub(super) fn input(&mut self, values: Array) -> ValueId {
        let element = match values.data {
            super::array::Data::Floats(_) => ElementType::Float32,
            super::array::Data::Ints(_) => ElementType::Int64,
            super::array::Data::Bools(_) => ElementType::Bool,
        };
        let name = format!("in{}", self.given.len());
        let id = self.graph.add_input(&name, ValueType::new(element, values.shape.clone()));
        self.given.push((id, values));
        id
    }

    /// A constant.
    pub(super) fn constant(&mut self, values: &Array) -> ValueId {
        let element = match values.data {
            super::array::Data::Floats(_) => ElementType::Float32,
            super::array::Data::Ints(_) => ElementType::Int64,
            super::array::Data::Bools(_) => ElementType::Bool,
        };
        self.graph.add_constant("constant", values.to_constant(element))
    }

    /// Constant integers.
    pub(super) fn ints(&mut self, values: &[i64]) -> ValueId {
        self.graph.ints(values).unwrap()
    }

    /// A node whose first output is seeded.
    pub(super) fn op(
        mut self,
        op_type: &str,
        inputs: &[Option<ValueId>],
        attributes: &[AttributeProto],
    ) -> Result<Case> {
        let made = self.add(op_type, inputs, attributes, 1)?;
        self.ends.extend(made);
        Ok(self)
    }

    /// A node with `outputs` outputs.
    pub(super) fn add(
        &mut self,
        op_type: &str,
        inputs: &[Option<ValueId>],
        attributes: &[AttributeProto],
        outputs: usize,
    ) -> Result<Vec<ValueId>> {
        let mut node = Node::new(op_type);
        node.inputs = inputs.to_vec();
        node.attributes = attributes.to_vec();
        let made = self.graph.add(node, &vec![Some(""); outputs])?;
        Ok(made.into_iter().flatten().collect())
    }

    /// For reports: the nodes with shapes and attributes.
    pub(super) fn describe(&self) -> String {
        let nodes = self.graph.nodes().iter().map(|node| {
            let inputs: Vec<String> = node
                .inputs
                .iter()
                .map(|id| match id {
                    None => "-".to_owned(),
                    Some(id) => match self.graph.constant(*id).filter(|c| c.kind().elements() <= 12) {
                        Some(constant) => format!("{:?}", constant.to_f64().unwrap_or_default()),
                        None => format!("{:?}", self.graph.shape(*id)),
                    },
                })
                .collect();
            let attributes: Vec<String> = node
                .attributes
                .iter()
                .map(|attribute| match (attribute.i, attribute.f, attribute.text()) {
                    (Some(i), _, _) => format!("{}={i}", attribute.name),
                    (_, Some(f), _) => format!("{}={f}", attribute.name),
                    (_, _, Some(text)) => format!("{}={text}", attribute.name),
                    _ => format!("{}={:?}", attribute.name, attribute.ints),
                })
                .collect();
            format!("{}({}) {}", node.op_type, inputs.join(", "), attributes.join(" "))
        });
        nodes.collect::<Vec<_>>().join("; ")
    }
}
