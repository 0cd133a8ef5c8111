//! A node of the file with its inputs resolved.

use crate::error::{ErrorKind, Result};
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, Node, ValueId};
use crate::onnx::proto::{AttributeProto, NodeProto};
use crate::onnx::specialise::{wide, widened};

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

    /// Adds `node` in this one's place, with this one's outputs. Half precision in its attributes is widened.
    pub(in crate::onnx) fn put(&self, graph: &mut Graph, mut node: Node) -> Result<Vec<Option<ValueId>>> {
        widen(&mut node)?;
        graph.add(node, &self.outputs())
    }

    /// Adds `node` in this one's place, with the first of this one's outputs alone.
    pub(in crate::onnx) fn put_first(&self, graph: &mut Graph, node: Node) -> Result<Vec<Option<ValueId>>> {
        graph.add(node, &[Some(self.proto.output.first().map_or("", String::as_str))])
    }

    /// Adds an operator of the default domain that gives this node's first output, under this node's name.
    pub(in crate::onnx) fn end(
        &self,
        graph: &mut Graph,
        op_type: &str,
        inputs: &[ValueId],
        attributes: &[AttributeProto],
    ) -> Result<Vec<Option<ValueId>>> {
        let node = Node {
            name: self.proto.name.clone(),
            inputs: inputs.iter().copied().map(Some).collect(),
            attributes: attributes.to_vec(),
            ..Node::new(op_type)
        };
        self.put_first(graph, node)
    }

    /// Input `index`, where it is there.
    pub(in crate::onnx) fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Input `index`, which must be there.
    pub(in crate::onnx) fn needed(&self, index: usize) -> Result<ValueId> {
        self.input(index).ok_or_else(|| self.node().invalid(format!("input {index} is missing")))
    }

    /// Integers that input `index` is known to be; `None` where it is left out.
    pub(in crate::onnx) fn ints(&self, graph: &Graph, index: usize) -> Result<Option<Vec<i64>>> {
        let Some(id) = self.input(index) else { return Ok(None) };
        let ints = graph.known(id).and_then(Constant::to_ints);
        ints.map(Some).ok_or_else(|| {
            let message = format!("input {index} ({:?}) is not known in advance", graph.name(id));
            self.node().error(ErrorKind::ModelUnsupported, message)
        })
    }
}

/// Tensors of half precision in attributes, and attributes that name a type of half precision.
fn widen(node: &mut Node) -> Result<()> {
    for attribute in &mut node.attributes {
        let element = match (attribute.name.as_str(), attribute.i) {
            ("to" | "dtype" | "output_dtype" | "output_datatype" | "stash_type", Some(number)) => {
                i32::try_from(number).ok().and_then(ElementType::from_number)
            }
            _ => None,
        };
        if let Some(element) = element {
            attribute.i = Some(i64::from(wide(element).number()));
        }
        if let Some(tensor) = &mut attribute.t
            && tensor.element_type().is_some_and(|element| wide(element) != element)
        {
            **tensor = widened(Constant::from_proto(tensor)?)?.to_proto(&tensor.name);
        }
    }
    Ok(())
}
