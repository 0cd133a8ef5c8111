//! A copy of a model on its way to becoming another one.

use std::collections::{HashMap, HashSet};

use prost::Message as _;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::names::Names;
use crate::onnx::proto::{GraphProto, ModelProto, ValueInfoProto};
use crate::onnx::{Document, order, shown, uses};

/// A model with all weights in it, its graph taken out to be changed.
pub(in crate::onnx) struct Edit {
    /// Without its graph.
    model: ModelProto,
    pub(in crate::onnx) graph: GraphProto,
    names: Names,
}

impl Edit {
    /// A copy of the document's messages. Weights in other files are read; those in the file are shared, not copied.
    ///
    /// # Errors
    /// As [`Document::resolve_external`].
    pub(in crate::onnx) fn of(document: &Document) -> Result<Edit> {
        let mut model = document.model().clone();
        let mut graph = model.graph.take().map_or_else(GraphProto::default, |graph| *graph);
        for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.is_external()) {
            tensor.raw_data = Some(document.resolve_external(tensor)?);
            tensor.external_data.clear();
            tensor.data_location = 0;
        }
        let mut names = Names::default();
        collect(&graph, &mut names);
        Ok(Edit { model, graph, names })
    }

    /// Version of the standard operators; what is added to the graph must be written in it.
    ///
    /// # Errors
    /// `ModelUnsupported` where it is below `least`, which `what` needs.
    pub(in crate::onnx) fn opset(&self, least: i64, what: &str) -> Result<i64> {
        let version = self.model.opset("").unwrap_or(0);
        if version < least {
            let message = format!(
                "{what} needs operator set {least} of the standard operators, the model has {version}"
            );
            return Err(Error::new(ErrorKind::ModelUnsupported, message));
        }
        Ok(version)
    }

    /// The only input that is no initializer.
    ///
    /// # Errors
    /// `ModelUnsupported` where there are none or several.
    pub(in crate::onnx) fn only_input(&self) -> Result<&ValueInfoProto> {
        let constants: HashSet<&str> = order::constant_names(&self.graph).collect();
        let mut inputs = self.graph.input.iter().filter(|input| !constants.contains(input.name.as_str()));
        match (inputs.next(), inputs.next()) {
            (Some(input), None) => Ok(input),
            _ => Err(Error::new(ErrorKind::ModelUnsupported, "expected a model with one input")),
        }
    }

    /// The output of this name.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub(in crate::onnx) fn output(&self, name: &str) -> Result<&ValueInfoProto> {
        self.graph
            .output
            .iter()
            .find(|output| output.name == name)
            .ok_or_else(|| Error::invalid(format!("the model has no output {}", shown(name))))
    }

    /// A name that no value has yet, `like` itself if possible. It is taken from then on.
    pub(in crate::onnx) fn fresh(&mut self, like: &str) -> String {
        self.names.fresh(like)
    }

    /// Gives the value `from` another name wherever a node makes or uses it, in bodies too. Inputs and outputs of the
    /// graph keep theirs.
    pub(in crate::onnx) fn rename(&mut self, from: &str, to: &str) {
        rename(&mut self.graph, from, to);
    }

    /// Removes outputs but `output`, and everything that it does not need; inputs stay.
    pub(in crate::onnx) fn keep_only(&mut self, output: &str) {
        self.graph.output.retain(|port| port.name == output);
        let needed = needed(&self.graph, output);
        let mut kept = needed.iter();
        self.graph.node.retain(|_| kept.next().copied().unwrap_or(false));
        let used: HashSet<String> = self
            .graph
            .node
            .iter()
            .flat_map(|node| uses(node).into_iter().chain(node.output.iter().map(String::as_str)))
            .chain([output])
            .map(str::to_owned)
            .collect();
        let constants: HashSet<String> = order::constant_names(&self.graph).map(str::to_owned).collect();
        self.graph.initializer.retain(|tensor| used.contains(&tensor.name));
        self.graph
            .sparse_initializer
            .retain(|sparse| sparse.values.as_ref().is_some_and(|values| used.contains(&values.name)));
        // Before version 4 of the format every initializer is an input as well.
        self.graph.input.retain(|input| !constants.contains(&input.name) || used.contains(&input.name));
        self.graph.value_info.retain(|value| used.contains(&value.name));
        self.graph.quantization_annotation.retain(|annotation| used.contains(&annotation.tensor_name));
    }

    /// The file.
    ///
    /// # Errors
    /// `LimitExceeded` from 2 GiB on, protobuf's limit; `ModelInvalid` where names do not fit together.
    pub(in crate::onnx) fn finish(self) -> Result<Vec<u8>> {
        order::check(&self.graph)?;
        let model = ModelProto { graph: Some(Box::new(self.graph)), ..self.model };
        let length = model.encoded_len();
        if length >= i32::MAX as usize {
            let message = format!("model and weights have {length} bytes: expected less than 2 GiB");
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        Ok(model.encode_to_vec())
    }
}

impl Document {
    /// The model as one file, weights in other files among it.
    ///
    /// # Errors
    /// `LimitExceeded` from 2 GiB on, protobuf's limit; as [`Document::resolve_external`].
    pub(crate) fn embedded(&self) -> Result<Vec<u8>> {
        Edit::of(self)?.finish()
    }
}

fn collect(graph: &GraphProto, names: &mut Names) {
    names.extend(graph.input.iter().chain(&graph.output).map(|value| value.name.clone()));
    names.extend(order::constant_names(graph).map(str::to_owned));
    for node in &graph.node {
        names.extend(node.input.iter().chain(&node.output).cloned());
        for body in node.attribute.iter().flat_map(|attribute| attribute.subgraphs()) {
            collect(body, names);
        }
    }
}

fn rename(graph: &mut GraphProto, from: &str, to: &str) {
    for node in &mut graph.node {
        for name in node.input.iter_mut().chain(&mut node.output).filter(|name| *name == from) {
            to.clone_into(name);
        }
        for attribute in &mut node.attribute {
            for body in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
                // A body that has a value of this name of its own means that one.
                if !order::defined(body).contains(from) {
                    for output in body.output.iter_mut().filter(|output| output.name == from) {
                        to.clone_into(&mut output.name);
                    }
                    rename(body, from, to);
                }
            }
        }
    }
}

/// Which nodes the value needs.
fn needed(graph: &GraphProto, value: &str) -> Vec<bool> {
    let producers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |output| (output.as_str(), index)))
        .filter(|(output, _)| !output.is_empty())
        .collect();
    let mut needed = vec![false; graph.node.len()];
    let mut open: Vec<usize> = producers.get(value).copied().into_iter().collect();
    while let Some(index) = open.pop() {
        if std::mem::replace(&mut needed[index], true) {
            continue;
        }
        open.extend(uses(&graph.node[index]).into_iter().filter_map(|name| producers.get(name).copied()));
    }
    needed
}
