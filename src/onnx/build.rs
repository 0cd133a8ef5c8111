//! Writing a model.

use std::collections::BTreeMap;

use prost::Message;

use crate::error::{Error, Result};
use crate::onnx::limits::Limits;
use crate::onnx::names::Names;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto, is_default_domain,
};
use crate::onnx::{Dim, ElementType, guard, scan};

/// Version of the file format that is written: the highest that ONNX Runtime 1.17 reads.
const IR_VERSION: i64 = 9;
/// Version of the standard operators, unless another is asked for.
const OPSET: i64 = 17;

/// Builds a model node by node.
///
/// Values are known by their names. Every function that makes a value returns its name, which is the one asked for
/// or, if that is taken, one like it. Nothing fails before [`GraphBuilder::finish`], which checks everything.
#[derive(Debug, Clone)]
pub struct GraphBuilder {
    graph: GraphProto,
    opsets: BTreeMap<String, i64>,
    metadata: BTreeMap<String, String>,
    names: Names,
    problem: Option<String>,
}

impl GraphBuilder {
    /// An empty graph of this name, in version 17 of the standard operators.
    pub fn new(name: impl Into<String>) -> GraphBuilder {
        GraphBuilder {
            graph: GraphProto { name: name.into(), ..GraphProto::default() },
            opsets: BTreeMap::from([(String::new(), OPSET)]),
            metadata: BTreeMap::new(),
            names: Names::default(),
            problem: None,
        }
    }

    /// Uses another version of the standard operators.
    pub fn opset(&mut self, version: i64) -> &mut GraphBuilder {
        self.opsets.insert(String::new(), version);
        self
    }

    /// Adds a key and its value to the model's metadata; an earlier value of the key is replaced.
    pub fn metadata(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut GraphBuilder {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds text for people.
    pub fn doc_string(&mut self, text: impl Into<String>) -> &mut GraphBuilder {
        self.graph.doc_string = text.into();
        self
    }

    /// Adds an input. Its name is part of the model's interface: it is an error if it is taken.
    pub fn input(&mut self, name: &str, element: ElementType, shape: &[Dim]) -> String {
        if name.is_empty() || !self.names.insert(name.to_owned()) {
            self.note(format!("the name {name:?} of an input is empty or taken"));
        }
        self.graph.input.push(value_info(name, element, shape));
        name.to_owned()
    }

    /// Makes the value of this name an output.
    pub fn output(&mut self, name: &str, element: ElementType, shape: &[Dim]) -> &mut GraphBuilder {
        if self.graph.output.iter().any(|output| output.name == name) {
            self.note(format!("{name:?} is an output twice"));
        }
        self.graph.output.push(value_info(name, element, shape));
        self
    }

    /// Adds a weight of any type under the tensor's name; returns the name it got.
    pub fn initializer(&mut self, mut tensor: TensorProto) -> String {
        tensor.name = self.fresh(&tensor.name);
        let name = tensor.name.clone();
        self.graph.initializer.push(tensor);
        name
    }

    /// Adds a float32 weight; `values` in row-major order of `dims`.
    pub fn initializer_f32(&mut self, name: &str, dims: &[i64], values: &[f32]) -> String {
        self.initializer(TensorProto::from_f32(name, dims, values))
    }

    /// Adds an int64 constant; `values` in row-major order of `dims`.
    pub fn initializer_i64(&mut self, name: &str, dims: &[i64], values: &[i64]) -> String {
        self.initializer(TensorProto::from_i64(name, dims, values))
    }

    /// Adds a Constant node.
    pub fn constant(&mut self, name: &str, tensor: TensorProto) -> String {
        self.node("Constant", &[]).tensor("value", TensorProto { name: String::new(), ..tensor }).output(name)
    }

    /// Starts a node; it is added by [`NodeBuilder::output`] or [`NodeBuilder::outputs`]. An empty input name stands
    /// for an optional input left out.
    pub fn node(&mut self, op_type: &str, inputs: &[&str]) -> NodeBuilder<'_> {
        let node = NodeProto {
            op_type: op_type.to_owned(),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            ..NodeProto::default()
        };
        NodeBuilder { graph: self, node }
    }

    /// A name that nothing has yet, `like` itself if possible. It is taken from then on.
    pub fn fresh(&mut self, like: &str) -> String {
        let like = if like.is_empty() { "value" } else { like };
        self.names.fresh(like)
    }

    /// Checks the graph and writes the file.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where a name is used and not defined, defined twice, the graph has no output, or a tensor's
    /// values do not fit its shape.
    pub fn finish(self) -> Result<Vec<u8>> {
        if let Some(problem) = self.problem {
            return Err(Error::invalid(problem));
        }
        let entry = |(key, value)| StringStringEntryProto { key, value };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "glebe".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            opset_import: self
                .opsets
                .into_iter()
                .map(|(domain, version)| OperatorSetIdProto { domain, version })
                .collect(),
            metadata_props: self.metadata.into_iter().map(entry).collect(),
            graph: Some(Box::new(self.graph)),
            ..ModelProto::default()
        };
        let limits = Limits::default();
        guard::check(&model, &limits, None).map_err(refused)?;
        let bytes = model.encode_to_vec();
        scan::scan(&bytes, &limits).map_err(refused)?;
        Ok(bytes)
    }

    /// Keeps the first problem for [`GraphBuilder::finish`].
    fn note(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }
}

/// A node on its way into a [`GraphBuilder`].
#[derive(Debug)]
#[must_use = "the node is added by `output` or `outputs`"]
pub struct NodeBuilder<'a> {
    graph: &'a mut GraphBuilder,
    node: NodeProto,
}

impl NodeBuilder<'_> {
    /// Takes the operator from another domain, in this version.
    pub fn domain(mut self, domain: &str, version: i64) -> Self {
        if !is_default_domain(domain) {
            self.graph.opsets.insert(domain.to_owned(), version);
        }
        self.node.domain = domain.to_owned();
        self
    }

    /// Names the node (nodes need no name).
    pub fn name(mut self, name: &str) -> Self {
        self.node.name = name.to_owned();
        self
    }

    /// Adds any attribute.
    pub fn attribute(mut self, attribute: AttributeProto) -> Self {
        self.node.attribute.push(attribute);
        self
    }

    /// Adds a whole number.
    pub fn int(self, name: &str, value: i64) -> Self {
        self.attribute(AttributeProto::int(name, value))
    }

    /// Adds whole numbers.
    pub fn ints(self, name: &str, values: &[i64]) -> Self {
        self.attribute(AttributeProto::ints(name, values))
    }

    /// Adds a number.
    pub fn float(self, name: &str, value: f32) -> Self {
        self.attribute(AttributeProto::float(name, value))
    }

    /// Adds numbers.
    pub fn floats(self, name: &str, values: &[f32]) -> Self {
        self.attribute(AttributeProto::floats(name, values))
    }

    /// Adds text.
    pub fn string(self, name: &str, value: &str) -> Self {
        self.attribute(AttributeProto::string(name, value))
    }

    /// Adds a tensor.
    pub fn tensor(self, name: &str, value: TensorProto) -> Self {
        self.attribute(AttributeProto::tensor(name, value))
    }

    /// Adds the node with one output; returns the output's name, `like` if it is free.
    pub fn output(self, like: &str) -> String {
        let [name] = self.outputs([like]);
        name
    }

    /// Adds the node with several outputs; returns their names.
    pub fn outputs<const N: usize>(mut self, like: [&str; N]) -> [String; N] {
        let names = like.map(|like| self.graph.fresh(like));
        self.node.output = names.to_vec();
        self.graph.graph.node.push(self.node);
        names
    }
}

fn value_info(name: &str, element: ElementType, shape: &[Dim]) -> ValueInfoProto {
    let tensor = TensorType {
        elem_type: element.number(),
        shape: Some(TensorShapeProto { dim: shape.iter().map(Into::into).collect() }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: String::new() }),
        ..ValueInfoProto::default()
    }
}

/// What the guard refuses in a file is a mistake of the caller here.
fn refused(error: Error) -> Error {
    let message = format!("the graph is not sound: {}", error.message());
    match error.tensor() {
        Some(tensor) => Error::invalid(message).at_tensor(tensor),
        None => Error::invalid(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::onnx::Document;

    #[test]
    fn a_built_model_passes_the_guard() {
        let mut graph = GraphBuilder::new("all");
        let x = graph.input("x", ElementType::Float32, &[Dim::Fixed(1), "n".into()]);
        let k = graph.constant("k", TensorProto::from_i64("", &[1], &[1]));
        let a = graph.node("LeakyRelu", &[&x]).name("act").float("alpha", 0.1).output("a");
        let [values, places] = graph.node("TopK", &[&a, &k]).int("axis", -1).outputs(["values", "places"]);
        graph.output(&values, ElementType::Float32, &[Dim::Fixed(1), Dim::Fixed(1)]);
        graph.output(&places, ElementType::Int64, &[Dim::Fixed(1), Dim::Fixed(1)]);
        graph.doc_string("text").metadata("k", "1").metadata("k", "2").opset(16);
        let document = Document::from_bytes(graph.finish().unwrap(), &Limits::default()).unwrap();
        assert_eq!(document.model().ir_version, 9);
        assert_eq!(document.model().opset(""), Some(16));
        assert_eq!(document.metadata()["k"], "2");
        assert_eq!(document.graph().doc_string, "text");
        assert_eq!(document.graph().producer("a").unwrap().name, "act");
    }

    #[test]
    fn names_are_made_unique() {
        let mut graph = GraphBuilder::new("names");
        let x = graph.input("x", ElementType::Float32, &[]);
        let a = graph.node("Relu", &[&x]).output("x");
        let b = graph.node("Relu", &[&a]).output("x");
        let c = graph.node("Relu", &[&b]).output("");
        assert_eq!([x.as_str(), &a, &b, &c], ["x", "x_1", "x_2", "value"]);
        graph.output(&c, ElementType::Float32, &[]);
        assert!(graph.finish().is_ok());
    }

    #[test]
    fn unsound_graphs_are_refused() {
        let start = || {
            let mut graph = GraphBuilder::new("bad");
            graph.input("x", ElementType::Float32, &[]);
            graph
        };
        let refused = |graph: GraphBuilder, part: &str| {
            let error = graph.finish().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(part), "{error}");
        };
        refused(start(), "no output");
        let mut graph = start();
        graph.output("y", ElementType::Float32, &[]);
        refused(graph, "nothing produces the output \"y\"");
        let mut graph = start();
        let y = graph.node("Relu", &["z"]).output("y");
        graph.output(&y, ElementType::Float32, &[]);
        refused(graph, "nothing produces its input \"z\"");
        let mut graph = start();
        graph.output("x", ElementType::Float32, &[]).output("x", ElementType::Float32, &[]);
        refused(graph, "an output twice");
        let mut graph = start();
        graph.input("x", ElementType::Float32, &[]);
        refused(graph, "empty or taken");
        let mut graph = start();
        graph.initializer_f32("w", &[2, 2], &[0.0; 3]);
        graph.output("x", ElementType::Float32, &[]);
        refused(graph, "tensor \"w\": the graph is not sound: expected 16 bytes");
    }
}
