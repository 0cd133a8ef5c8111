//! A node of the file with its inputs resolved.

use crate::error::{ErrorKind, Result};
use crate::onnx::graph::{Graph, Node, ValueId};
use crate::onnx::proto::NodeProto;

/// A node of the file, of operator set `opset`, on its way into a graph.
#[derive(Debug)]
pub(in crate::onnx) struct Call<'a> {
    /// The node as the file has it.
    pub(in crate::onnx) proto: &'a NodeProto,
    /// Its inputs.
    pub(in crate::onnx) inputs: Vec<Option<ValueId>>,
    /// Operator set that says what it means.
    pub(in crate::onnx) opset: i64,
}

impl Call<'_> {
    /// The node as it is, without outputs.
    pub(in crate::onnx) fn node(&self) -> Node {
        Node {
            name: self.proto.name.clone(),
            domain: if self.proto.domain == "ai.onnx" { String::new() } else { self.proto.domain.clone() },
            op_type: self.proto.op_type.clone(),
            inputs: self.inputs.clone(),
            outputs: Vec::new(),
            attributes: self.proto.attribute.clone(),
        }
    }

    /// Names of the outputs that are asked for.
    pub(in crate::onnx) fn outputs(&self) -> Vec<Option<&str>> {
        self.proto.output.iter().map(|name| Some(name.as_str()).filter(|name| !name.is_empty())).collect()
    }

    /// Adds `node` in this one's place, with this one's outputs.
    pub(in crate::onnx) fn put(&self, graph: &mut Graph, node: Node) -> Result<Vec<Option<ValueId>>> {
        graph.add(node, &self.outputs())
    }

    /// Integers that input `index` is known to be; `None` where it is left out.
    pub(in crate::onnx) fn ints(&self, graph: &Graph, index: usize) -> Result<Option<Vec<i64>>> {
        let Some(id) = self.inputs.get(index).copied().flatten() else { return Ok(None) };
        let ints = graph.known(id).and_then(crate::onnx::graph::Constant::to_ints);
        ints.map(Some).ok_or_else(|| {
            let message = format!("input {index} ({:?}) is not known in advance", graph.name(id));
            self.node().error(ErrorKind::ModelUnsupported, message)
        })
    }
}
