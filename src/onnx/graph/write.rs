//! A graph as a model file.

use prost::Message;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Graph, Node, Origin, ValueId};
use crate::onnx::proto::{
    Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TensorType, TypeProto, TypeValue, ValueInfoProto, is_default_domain,
};

/// Version of the file format for an operator set, by the table of the specification.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        _ => 11,
    }
}

impl Graph {
    /// The graph as the bytes of a model: nodes that the outputs need, all inputs, and the parameters and constants in
    /// use as initializers.
    ///
    /// # Errors
    /// `LimitExceeded` from 2 GiB on, which protobuf cannot hold.
    pub fn to_bytes(&self, name: &str) -> Result<Vec<u8>> {
        let model = self.to_proto(name);
        let length = model.encoded_len();
        if length >= i32::MAX as usize {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("the graph and its frozen weights have {length} bytes: expected less than 2 GiB"),
            ));
        }
        Ok(model.encode_to_vec())
    }

    /// The graph as a message; see [`Graph::to_bytes`].
    pub fn to_proto(&self, name: &str) -> ModelProto {
        let mut used = vec![false; self.len()];
        let mut domains: Vec<&str> = Vec::new();
        let mut nodes = Vec::new();
        for index in self.needed_for(self.outputs()) {
            let node = &self.nodes()[index];
            for id in node.inputs.iter().flatten() {
                used[id.index()] = true;
            }
            if !is_default_domain(&node.domain) && !domains.contains(&node.domain.as_str()) {
                domains.push(&node.domain);
            }
            nodes.push(self.node_proto(node, index));
        }
        for id in self.outputs() {
            used[id.index()] = true;
        }
        let initializer =
            self.values().filter(|(id, _)| used[id.index()]).filter_map(|(_, value)| match value.origin() {
                Origin::Parameter(constant) | Origin::Constant(constant) => {
                    Some(constant.to_proto(value.name()))
                }
                _ => None,
            });
        let graph = GraphProto {
            name: name.to_owned(),
            node: nodes,
            initializer: initializer.collect(),
            input: self.inputs().iter().map(|&id| self.value_info(id)).collect(),
            output: self.outputs().iter().map(|&id| self.value_info(id)).collect(),
            ..GraphProto::default()
        };
        let mut opset_import = vec![OperatorSetIdProto { domain: String::new(), version: self.opset() }];
        opset_import.extend(
            domains.into_iter().map(|domain| OperatorSetIdProto { domain: domain.to_owned(), version: 1 }),
        );
        ModelProto {
            ir_version: ir_version(self.opset()),
            producer_name: "glebe".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            opset_import,
            graph: Some(Box::new(graph)),
            ..ModelProto::default()
        }
    }

    fn node_proto(&self, node: &Node, index: usize) -> NodeProto {
        let name = |id: &Option<ValueId>| id.map(|id| self.name(id).to_owned()).unwrap_or_default();
        NodeProto {
            input: node.inputs.iter().map(name).collect(),
            output: node.outputs.iter().map(name).collect(),
            // The index keeps names unique, and tells in a profile which node of the graph it is.
            name: format!("{index}:{}", if node.name.is_empty() { &node.op_type } else { &node.name }),
            op_type: node.op_type.clone(),
            attribute: node.attributes.clone(),
            domain: node.domain.clone(),
            ..NodeProto::default()
        }
    }

    fn value_info(&self, id: ValueId) -> ValueInfoProto {
        let kind = self.kind(id);
        let dim = |&dim: &usize| Dimension {
            value: Some(DimensionValue::Value(dim as i64)),
            ..Dimension::default()
        };
        let tensor = TensorType {
            elem_type: kind.element.number(),
            shape: Some(TensorShapeProto { dim: kind.shape.iter().map(dim).collect() }),
        };
        ValueInfoProto {
            name: self.name(id).to_owned(),
            r#type: Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: String::new() }),
            ..ValueInfoProto::default()
        }
    }
}
