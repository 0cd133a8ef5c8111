//! Types and shapes of values.

use super::StringStringEntryProto;

/// A value's name and type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueInfoProto {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type (`type` in the specification).
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
    /// Text for people.
    #[prost(string, tag = "3")]
    pub doc_string: String,
    /// Key and value pairs of the producer.
    #[prost(message, repeated, tag = "4")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

impl ValueInfoProto {
    /// The type, where the value is a dense tensor.
    pub fn tensor_type(&self) -> Option<&TensorType> {
        match self.r#type.as_ref()?.value.as_ref()? {
            TypeValue::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }
}

/// A type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TypeProto {
    /// Which kind of type.
    #[prost(oneof = "TypeValue", tags = "1, 4, 5, 7, 8, 9")]
    pub value: Option<TypeValue>,
    /// What the value means (`IMAGE`).
    #[prost(string, tag = "6")]
    pub denotation: String,
}

/// The kinds of types.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum TypeValue {
    /// A dense tensor.
    #[prost(message, tag = "1")]
    Tensor(TensorType),
    /// A list.
    #[prost(message, boxed, tag = "4")]
    Sequence(Box<SequenceType>),
    /// A map.
    #[prost(message, boxed, tag = "5")]
    Map(Box<MapType>),
    /// A type outside the specification.
    #[prost(message, tag = "7")]
    Opaque(OpaqueType),
    /// A sparse tensor.
    #[prost(message, tag = "8")]
    SparseTensor(SparseTensorType),
    /// A value or none.
    #[prost(message, boxed, tag = "9")]
    Optional(Box<OptionalType>),
}

/// Type of a dense tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorType {
    /// Element type, a number of [`ElementType`](crate::onnx::ElementType).
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// Shape; absent means that even the rank is unknown.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// Type of a list.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SequenceType {
    /// Type of the elements.
    #[prost(message, optional, boxed, tag = "1")]
    pub elem_type: Option<Box<TypeProto>>,
}

/// Type of a map.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MapType {
    /// Type of the keys, a number of [`ElementType`](crate::onnx::ElementType).
    #[prost(int32, tag = "1")]
    pub key_type: i32,
    /// Type of the values.
    #[prost(message, optional, boxed, tag = "2")]
    pub value_type: Option<Box<TypeProto>>,
}

/// Type of a value that may be absent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalType {
    /// Type of the value.
    #[prost(message, optional, boxed, tag = "1")]
    pub elem_type: Option<Box<TypeProto>>,
}

/// Type of a sparse tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SparseTensorType {
    /// Element type, a number of [`ElementType`](crate::onnx::ElementType).
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// Shape; absent means that even the rank is unknown.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// A type outside the specification.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct OpaqueType {
    /// Domain.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Name.
    #[prost(string, tag = "2")]
    pub name: String,
}

/// A shape, dimension by dimension.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShapeProto {
    /// The dimensions.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// One dimension of a shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dimension {
    /// Size or name; absent means unknown.
    #[prost(oneof = "DimensionValue", tags = "1, 2")]
    pub value: Option<DimensionValue>,
    /// What the dimension means (`DATA_CHANNEL`).
    #[prost(string, tag = "3")]
    pub denotation: String,
}

/// Size or name of a dimension.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
pub enum DimensionValue {
    /// A fixed size.
    #[prost(int64, tag = "1")]
    Value(i64),
    /// A name; equal names in one graph mean equal sizes.
    #[prost(string, tag = "2")]
    Param(String),
}
