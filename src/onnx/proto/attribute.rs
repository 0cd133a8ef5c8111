//! Named constants of nodes.

use super::{Bytes, GraphProto, SparseTensorProto, TensorProto, TypeProto};

/// Which value an attribute has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AttributeType {
    /// Not said.
    Undefined = 0,
    /// `f`.
    Float = 1,
    /// `i`.
    Int = 2,
    /// `s`.
    String = 3,
    /// `t`.
    Tensor = 4,
    /// `g`.
    Graph = 5,
    /// `floats`.
    Floats = 6,
    /// `ints`.
    Ints = 7,
    /// `strings`.
    Strings = 8,
    /// `tensors`.
    Tensors = 9,
    /// `graphs`.
    Graphs = 10,
    /// `sparse_tensor`.
    SparseTensor = 11,
    /// `sparse_tensors`.
    SparseTensors = 12,
    /// `tp`.
    TypeProto = 13,
    /// `type_protos`.
    TypeProtos = 14,
}

/// A named constant of a node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttributeProto {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value: a number.
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// Value: a whole number.
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// Value: text (or bytes).
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub s: Option<Bytes>,
    /// Value: a tensor.
    #[prost(message, optional, boxed, tag = "5")]
    pub t: Option<Box<TensorProto>>,
    /// Value: a graph.
    #[prost(message, optional, boxed, tag = "6")]
    pub g: Option<Box<GraphProto>>,
    /// Value: numbers.
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub floats: Vec<f32>,
    /// Value: whole numbers.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Value: texts.
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub strings: Vec<Bytes>,
    /// Value: tensors.
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    /// Value: graphs.
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    /// Text for people.
    #[prost(string, tag = "13")]
    pub doc_string: String,
    /// Value: a type.
    #[prost(message, optional, boxed, tag = "14")]
    pub tp: Option<Box<TypeProto>>,
    /// Value: types.
    #[prost(message, repeated, tag = "15")]
    pub type_protos: Vec<TypeProto>,
    /// Which of the values counts (`type` in the specification).
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub kind: i32,
    /// In the body of a function: the attribute of the function that gives the value.
    #[prost(string, tag = "21")]
    pub ref_attr_name: String,
    /// Value: a sparse tensor.
    #[prost(message, optional, boxed, tag = "22")]
    pub sparse_tensor: Option<Box<SparseTensorProto>>,
    /// Value: sparse tensors.
    #[prost(message, repeated, tag = "23")]
    pub sparse_tensors: Vec<SparseTensorProto>,
}

impl AttributeProto {
    /// A whole number.
    pub fn int(name: impl Into<String>, value: i64) -> AttributeProto {
        AttributeProto { i: Some(value), ..AttributeProto::named(name, AttributeType::Int) }
    }

    /// Whole numbers.
    pub fn ints(name: impl Into<String>, values: &[i64]) -> AttributeProto {
        AttributeProto { ints: values.to_vec(), ..AttributeProto::named(name, AttributeType::Ints) }
    }

    /// A number.
    pub fn float(name: impl Into<String>, value: f32) -> AttributeProto {
        AttributeProto { f: Some(value), ..AttributeProto::named(name, AttributeType::Float) }
    }

    /// Numbers.
    pub fn floats(name: impl Into<String>, values: &[f32]) -> AttributeProto {
        AttributeProto { floats: values.to_vec(), ..AttributeProto::named(name, AttributeType::Floats) }
    }

    /// Text.
    pub fn string(name: impl Into<String>, value: &str) -> AttributeProto {
        AttributeProto {
            s: Some(Bytes::copy_from_slice(value.as_bytes())),
            ..AttributeProto::named(name, AttributeType::String)
        }
    }

    /// A tensor.
    pub fn tensor(name: impl Into<String>, value: TensorProto) -> AttributeProto {
        AttributeProto { t: Some(Box::new(value)), ..AttributeProto::named(name, AttributeType::Tensor) }
    }

    /// A graph: the body of a control-flow node.
    pub fn graph(name: impl Into<String>, value: GraphProto) -> AttributeProto {
        AttributeProto { g: Some(Box::new(value)), ..AttributeProto::named(name, AttributeType::Graph) }
    }

    /// The text, where the value is one and is UTF-8.
    pub fn text(&self) -> Option<&str> {
        self.s.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The graphs in the value, none for most attributes.
    pub fn subgraphs(&self) -> impl Iterator<Item = &GraphProto> {
        self.g.as_deref().into_iter().chain(&self.graphs)
    }

    fn named(name: impl Into<String>, kind: AttributeType) -> AttributeProto {
        AttributeProto { name: name.into(), kind: kind as i32, ..AttributeProto::default() }
    }
}
