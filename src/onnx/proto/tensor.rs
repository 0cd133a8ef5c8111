//! Constant tensors.

use super::{Bytes, StringStringEntryProto};
use crate::onnx::ElementType;

/// Where the elements of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DataLocation {
    /// In the message.
    Default = 0,
    /// In another file, named in `external_data`.
    External = 1,
}

/// A constant tensor.
///
/// The elements are in `raw_data` (little-endian, the usual way), or in the list for their type, or in another file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorProto {
    /// Shape; empty for a scalar.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// Element type, a number of [`ElementType`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// For a tensor in pieces: which piece this is. No known producer writes it.
    #[prost(message, optional, tag = "3")]
    pub segment: Option<Segment>,
    /// Elements: float32, and the two halves of complex64.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Elements: int32 and everything smaller, floats of up to 16 bits by their bit pattern.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Elements: strings.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub string_data: Vec<Bytes>,
    /// Elements: int64.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// Name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Elements of any type but string: little-endian, row-major, without gaps.
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub raw_data: Option<Bytes>,
    /// Elements: float64, and the two halves of complex128.
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Elements: uint32 and uint64.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// Text for people.
    #[prost(string, tag = "12")]
    pub doc_string: String,
    /// Where in which file the elements are: `location`, `offset`, `length`.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// Where the elements are.
    #[prost(enumeration = "DataLocation", tag = "14")]
    pub data_location: i32,
    /// Key and value pairs of the producer.
    #[prost(message, repeated, tag = "16")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

impl TensorProto {
    /// A tensor of little-endian bytes, in row-major order.
    pub fn raw(
        name: impl Into<String>,
        element: ElementType,
        dims: &[i64],
        bytes: impl Into<Bytes>,
    ) -> TensorProto {
        TensorProto {
            dims: dims.to_vec(),
            data_type: element.number(),
            name: name.into(),
            raw_data: Some(bytes.into()),
            ..TensorProto::default()
        }
    }

    /// A float32 tensor, in row-major order.
    pub fn from_f32(name: impl Into<String>, dims: &[i64], values: &[f32]) -> TensorProto {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        TensorProto::raw(name, ElementType::Float32, dims, bytes)
    }

    /// An int64 tensor, in row-major order.
    pub fn from_i64(name: impl Into<String>, dims: &[i64], values: &[i64]) -> TensorProto {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        TensorProto::raw(name, ElementType::Int64, dims, bytes)
    }

    /// The element type, where it is a known one.
    pub fn element_type(&self) -> Option<ElementType> {
        ElementType::from_number(self.data_type)
    }

    /// Number of elements; `None` where a dimension is negative or the number does not fit 64 bits.
    pub fn elements(&self) -> Option<u64> {
        let mut product = 1u64;
        for &dim in &self.dims {
            product = product.checked_mul(u64::try_from(dim).ok()?)?;
        }
        Some(product)
    }

    /// Whether the elements are in another file.
    pub fn is_external(&self) -> bool {
        self.data_location == DataLocation::External as i32
    }

    /// The elements of a float32 tensor that holds them itself, in row-major order.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        if self.is_external() || self.element_type()? != ElementType::Float32 {
            return None;
        }
        match &self.raw_data {
            Some(raw) => Some(words(raw).map(f32::from_le_bytes).collect()),
            None => Some(self.float_data.clone()),
        }
    }

    /// The elements of an int64 or int32 tensor that holds them itself, in row-major order.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        if self.is_external() {
            return None;
        }
        match (self.element_type()?, &self.raw_data) {
            (ElementType::Int64, Some(raw)) => Some(words(raw).map(i64::from_le_bytes).collect()),
            (ElementType::Int64, None) => Some(self.int64_data.clone()),
            (ElementType::Int32, Some(raw)) => {
                Some(words(raw).map(|word| i64::from(i32::from_le_bytes(word))).collect())
            }
            (ElementType::Int32, None) => {
                Some(self.int32_data.iter().map(|&value| i64::from(value)).collect())
            }
            _ => None,
        }
    }
}

/// The piece of a tensor that is in a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Segment {
    /// First element.
    #[prost(int64, tag = "1")]
    pub begin: i64,
    /// Past the last element.
    #[prost(int64, tag = "2")]
    pub end: i64,
}

/// A constant tensor of which only the values that are not zero are written.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SparseTensorProto {
    /// The values, `[NNZ]`; its name is the name of the sparse tensor.
    #[prost(message, optional, boxed, tag = "1")]
    pub values: Option<Box<TensorProto>>,
    /// Where they are, int64: `[NNZ]` (row-major position) or `[NNZ, rank]`.
    #[prost(message, optional, boxed, tag = "2")]
    pub indices: Option<Box<TensorProto>>,
    /// Shape of the dense tensor.
    #[prost(int64, repeated, packed = "false", tag = "3")]
    pub dims: Vec<i64>,
}

fn words<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    raw.as_chunks::<N>().0.iter().copied()
}
