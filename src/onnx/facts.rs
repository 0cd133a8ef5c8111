//! What a model file says about itself, for `glebe inspect`.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::onnx::order::constant_names;
use crate::onnx::proto::{GraphProto, NodeProto, TypeValue, ValueInfoProto, is_default_domain};
use crate::onnx::{Dim, Document, ElementType};

/// A summary of a model file. Serialises to the JSON of `glebe inspect --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Facts {
    /// Version of the file format.
    pub ir_version: i64,
    /// Version of each operator set; the standard one is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// The tool that wrote the file.
    pub producer_name: String,
    /// Version of that tool.
    pub producer_version: String,
    /// Version of the model itself.
    pub model_version: i64,
    /// Reverse domain name of the model's owner.
    pub domain: String,
    /// The producer's text for people.
    pub doc_string: String,
    /// Name of the graph.
    pub graph_name: String,
    /// What the caller has to give; without the initializers, which old files list too.
    pub inputs: Vec<Port>,
    /// What the caller gets.
    pub outputs: Vec<Port>,
    /// Elements of all initializers that are floating-point numbers: the weights, and what was folded into them.
    pub parameters: u64,
    /// Bytes of all initializers, as elements and not as in the file.
    pub parameter_bytes: u64,
    /// Number of initializers.
    pub initializers: u64,
    /// Number of nodes, those in bodies of control-flow nodes included.
    pub nodes: u64,
    /// How often each operator occurs; operators of other domains as `domain.Operator`.
    pub operators: BTreeMap<String, u64>,
    /// Number of functions in the file.
    pub functions: u64,
    /// The producer's key and value pairs.
    pub metadata: BTreeMap<String, String>,
    /// Whether weights are in other files.
    pub external_data: bool,
}

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Port {
    /// Name.
    pub name: String,
    /// Element type (`float32`), or what it is if not a tensor (`sequence`), or `unknown`.
    pub r#type: String,
    /// The dimensions, `None` where even their number is unknown.
    pub shape: Option<Vec<Dim>>,
}

impl Facts {
    /// Collects the facts; O(nodes + initializers).
    pub fn of(document: &Document) -> Facts {
        let (model, graph) = (document.model(), document.graph());
        let constants: HashSet<&str> = constant_names(graph).collect();
        let inputs = graph.input.iter().filter(|input| !constants.contains(input.name.as_str()));
        let mut facts = Facts {
            ir_version: model.ir_version,
            opsets: BTreeMap::new(),
            producer_name: model.producer_name.clone(),
            producer_version: model.producer_version.clone(),
            model_version: model.model_version,
            domain: model.domain.clone(),
            doc_string: model.doc_string.clone(),
            graph_name: graph.name.clone(),
            inputs: inputs.map(Port::of).collect(),
            outputs: graph.output.iter().map(Port::of).collect(),
            parameters: 0,
            parameter_bytes: 0,
            initializers: 0,
            nodes: 0,
            operators: BTreeMap::new(),
            functions: model.functions.len() as u64,
            metadata: document
                .metadata()
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            external_data: false,
        };
        for import in &model.opset_import {
            let domain = if is_default_domain(&import.domain) { "ai.onnx" } else { &import.domain };
            facts.opsets.insert(domain.to_owned(), import.version);
        }
        let mut todo = vec![graph];
        while let Some(graph) = todo.pop() {
            facts.add_constants(graph);
            for node in &graph.node {
                facts.nodes += 1;
                *facts.operators.entry(operator(node)).or_default() += 1;
                for attribute in &node.attribute {
                    facts.external_data |= attribute.t.as_ref().is_some_and(|tensor| tensor.is_external());
                    todo.extend(attribute.subgraphs());
                }
            }
        }
        facts
    }

    /// The input that the caller has to give, where there is exactly one.
    pub fn input(&self) -> Option<&Port> {
        match &self.inputs[..] {
            [input] => Some(input),
            _ => None,
        }
    }

    fn add_constants(&mut self, graph: &GraphProto) {
        let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_deref());
        for tensor in graph.initializer.iter().chain(sparse) {
            self.initializers += 1;
            self.external_data |= tensor.is_external();
            let (Some(element), Some(elements)) = (tensor.element_type(), tensor.elements()) else {
                continue;
            };
            if element.is_float() {
                self.parameters += elements;
            }
            self.parameter_bytes += element.packed_bytes(elements).unwrap_or(0);
        }
    }
}

impl Port {
    fn of(value: &ValueInfoProto) -> Port {
        let element = |number| ElementType::from_number(number).map_or("unknown", ElementType::name);
        let (kind, shape) = match value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
            Some(TypeValue::Tensor(tensor)) => (element(tensor.elem_type), tensor.shape.as_ref()),
            Some(TypeValue::SparseTensor(_)) => ("sparse tensor", None),
            Some(TypeValue::Sequence(_)) => ("sequence", None),
            Some(TypeValue::Map(_)) => ("map", None),
            Some(TypeValue::Optional(_)) => ("optional", None),
            Some(TypeValue::Opaque(_)) => ("opaque", None),
            None => ("unknown", None),
        };
        Port { name: value.name.clone(), r#type: kind.to_owned(), shape: shape.map(Dim::list) }
    }
}

/// The operator's name with its domain, unless that is the standard one.
fn operator(node: &NodeProto) -> String {
    match is_default_domain(&node.domain) {
        true => node.op_type.clone(),
        false => format!("{}.{}", node.domain, node.op_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::ModelProto;
    use crate::onnx::{GraphBuilder, Limits};
    use prost::Message;

    fn document() -> Document {
        let mut graph = GraphBuilder::new("tiny");
        let x = graph.input("x", ElementType::Float32, &[Dim::Unknown, Dim::Fixed(3), "h".into()]);
        let w = graph.initializer_f32("w", &[3, 1], &[1.0; 3]);
        let s = graph.initializer_i64("s", &[2], &[1, 2]);
        let a = graph.node("Mul", &[&x, &w]).output("a");
        let b = graph.node("Mul", &[&a, &w]).output("b");
        let c = graph.node("Custom", &[&b, &s]).domain("com.example", 1).output("c");
        graph.output(&c, ElementType::Float16, &[Dim::Unknown]);
        graph.metadata("tile", "512");
        // As files of IR version 3 do: the weight is listed as an input too.
        let mut model = ModelProto::decode(&graph.finish().unwrap()[..]).unwrap();
        let inner = model.graph.as_mut().unwrap();
        inner.input.push(ValueInfoProto { name: "w".into(), ..ValueInfoProto::default() });
        Document::from_bytes(model.encode_to_vec(), &Limits::default()).unwrap()
    }

    #[test]
    fn a_model_is_summed_up() {
        let facts = Facts::of(&document());
        assert_eq!(facts.opsets, BTreeMap::from([("ai.onnx".into(), 17), ("com.example".into(), 1)]));
        assert_eq!(facts.producer_name, "glebe");
        assert_eq!(facts.inputs.len(), 1);
        assert_eq!(facts.input().unwrap().shape.as_deref().unwrap(), [Dim::Unknown, 3.into(), "h".into()]);
        assert_eq!(facts.outputs[0].r#type, "float16");
        assert_eq!((facts.parameters, facts.parameter_bytes, facts.initializers), (3, 28, 2));
        assert_eq!(facts.operators, BTreeMap::from([("Mul".into(), 2), ("com.example.Custom".into(), 1)]));
        assert_eq!((facts.nodes, facts.functions, facts.external_data), (3, 0, false));
        assert_eq!(facts.metadata["tile"], "512");
    }

    #[test]
    fn a_file_of_the_reference_package_is_summed_up() {
        let document = Document::from_bytes(crate::onnx::golden("network"), &Limits::default()).unwrap();
        let facts = Facts::of(&document);
        assert_eq!((facts.ir_version, facts.producer_name.as_str()), (9, "make.py"));
        assert_eq!(facts.inputs.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["x", "flag"]);
        assert_eq!(facts.inputs[1].r#type, "bool");
        let shape = ["batch".into(), Dim::Fixed(3), "height".into(), Dim::Unknown];
        assert_eq!(facts.outputs[0].shape.as_deref().unwrap(), shape);
        assert_eq!((facts.parameters, facts.initializers, facts.functions), (10, 3, 1));
        assert_eq!(facts.nodes, 7);
        assert_eq!(facts.operators["com.example.Twice"], 1);
        assert_eq!(facts.metadata["classes"], "water,land,other");
        assert_eq!(document.final_activation("y").unwrap(), crate::onnx::Activation::Softmax);
        assert!(document.final_activation("z").unwrap_err().message().contains("expected one of \"y\""));
    }

    #[test]
    fn json_has_plain_shapes() {
        let json = serde_json::to_value(Facts::of(&document())).unwrap();
        let port = serde_json::json!({"name": "x", "type": "float32", "shape": [null, 3, "h"]});
        assert_eq!(json["inputs"][0], port);
        assert_eq!(json["opsets"]["ai.onnx"], 17);
    }
}
