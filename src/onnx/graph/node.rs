//! Nodes of a graph: operators with their inputs and attributes.

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::ValueId;
use crate::onnx::proto::{AttributeProto, is_default_domain};
use crate::onnx::short;

/// An operator applied to values.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The file's name for it, or empty.
    pub name: String,
    /// Domain of the operator; empty for ONNX's own.
    pub domain: String,
    /// Name of the operator.
    pub op_type: String,
    /// Inputs; `None` where an optional one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs; `None` where an optional one is not asked for.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes.
    pub attributes: Vec<AttributeProto>,
}

impl Node {
    /// An operator of the default domain without inputs yet.
    pub fn new(op_type: &str) -> Node {
        Node {
            name: String::new(),
            domain: String::new(),
            op_type: op_type.to_owned(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// Whether this is operator `op_type` of the default domain.
    pub fn is(&self, op_type: &str) -> bool {
        self.op_type == op_type && is_default_domain(&self.domain)
    }

    /// Input `index`, if there is one.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Output `index`, if there is one.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }

    /// The attribute called `name`.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).and_then(|attribute| attribute.i)
    }

    /// An integer attribute, or what stands for it where it is absent.
    pub fn int_or(&self, name: &str, default: i64) -> i64 {
        self.int(name).unwrap_or(default)
    }

    /// A list of integers; `None` where it is absent or empty.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice()).filter(|ints| !ints.is_empty())
    }

    /// A number, or what stands for it where it is absent.
    pub fn float_or(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).and_then(|attribute| attribute.f).unwrap_or(default)
    }

    /// A text, or what stands for it where it is absent.
    pub fn text_or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.attribute(name).and_then(|attribute| attribute.text()).unwrap_or(default)
    }

    /// Replaces or adds an attribute.
    pub fn set(&mut self, attribute: AttributeProto) {
        self.attributes.retain(|other| other.name != attribute.name);
        self.attributes.push(attribute);
    }

    /// Removes an attribute.
    pub fn unset(&mut self, name: &str) {
        self.attributes.retain(|other| other.name != name);
    }

    /// For messages: domain, operator and name, `Conv "/encoder/conv1/Conv"`.
    pub fn describe(&self) -> String {
        let domain =
            if is_default_domain(&self.domain) { String::new() } else { format!("{}.", self.domain) };
        match self.name.as_str() {
            "" => format!("{domain}{}", self.op_type),
            name => format!("{domain}{} {:?}", self.op_type, short(name)),
        }
    }

    /// An error about this node.
    pub fn error(&self, kind: ErrorKind, message: impl std::fmt::Display) -> Error {
        Error::new(kind, format!("{}: {message}", self.describe()))
    }

    /// A node that the file means otherwise than the specification allows.
    pub fn invalid(&self, message: impl std::fmt::Display) -> Error {
        self.error(ErrorKind::ModelInvalid, message)
    }

    /// A node that is allowed but beyond this library.
    pub fn unsupported(&self, message: impl std::fmt::Display) -> Error {
        self.error(ErrorKind::ModelUnsupported, message)
    }

    /// Input `index` of a node that must have it.
    ///
    /// # Errors
    /// `ModelInvalid` where it is left out.
    pub fn needed(&self, index: usize) -> Result<ValueId> {
        self.input(index).ok_or_else(|| self.invalid(format!("input {index} is missing")))
    }
}
