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
        for index in self.written_order(self.outputs()) {
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

    /// Indices of the nodes that `outputs` need, in the order in which a file has them: output after output what it needs
    /// beside the outputs before it.
    ///
    /// The order decides how much memory a run takes. ONNX Runtime orders nodes anew: from the last node that nothing
    /// uses, depth first, with all that it needs; then from the one before. Were the gradients of weights written as
    /// they are emitted, those of the first layers last, it would compute all gradients of activations for them before
    /// any other gradient of a weight, and keep all of them until then.
    pub(crate) fn written_order(&self, outputs: &[ValueId]) -> Vec<usize> {
        let mut written = vec![false; self.nodes().len()];
        let mut order = Vec::new();
        for &output in outputs {
            let mut stack = vec![output];
            let start = order.len();
            while let Some(id) = stack.pop() {
                if let Some((index, node)) = self.producer(id)
                    && !std::mem::replace(&mut written[index], true)
                {
                    order.push(index);
                    stack.extend(node.inputs.iter().flatten());
                }
            }
            order[start..].sort_unstable();
        }
        order
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::ElementType;
    use crate::onnx::graph::ValueType;

    /// x -> a -> b -> c as activations, and da, db, dc made of them in the other order, as gradients of weights are.
    #[test]
    fn nodes_are_written_output_after_output() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", ValueType::new(ElementType::Float32, [4]));
        let a = graph.op("Exp", &[x], &[]).unwrap();
        let b = graph.op("Relu", &[a], &[]).unwrap();
        let c = graph.op("Tanh", &[b], &[]).unwrap();
        let dc = graph.op("Neg", &[c], &[]).unwrap();
        let unused = graph.op("Sin", &[c], &[]).unwrap();
        let db = graph.op("Add", &[c, b], &[]).unwrap();
        let da = graph.op("Mul", &[db, a], &[]).unwrap();
        graph.set_outputs(vec![c, da, db, dc]);
        let index = |id| graph.producer(id).unwrap().0;
        assert_eq!(graph.written_order(graph.outputs()), [a, b, c, db, da, dc].map(index));
        let written: Vec<String> =
            graph.to_proto("order").graph.unwrap().node.iter().map(|node| node.op_type.clone()).collect();
        assert_eq!(written, ["Exp", "Relu", "Tanh", "Add", "Mul", "Neg"]);
        assert!(!graph.written_order(graph.outputs()).contains(&index(unused)));
    }
}
