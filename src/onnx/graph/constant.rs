//! Tensors whose elements are known.

use half::{bf16, f16};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::proto::{Bytes, TensorProto};
use crate::onnx::short;

/// A tensor with its elements: little-endian, row-major, packed. Clones share the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    kind: ValueType,
    bytes: Bytes,
}

impl Constant {
    /// A tensor of known bytes.
    ///
    /// # Errors
    /// `ModelInvalid` where the bytes are not as many as the type asks for.
    pub fn new(kind: ValueType, bytes: impl Into<Bytes>) -> Result<Constant> {
        let bytes = bytes.into();
        let expected = kind
            .checked_elements()
            .and_then(|count| kind.element.packed_bytes(count as u64))
            .ok_or_else(|| Error::new(ErrorKind::ModelUnsupported, format!("a tensor of type {kind}")))?;
        if bytes.len() as u64 != expected {
            let message = format!("{kind}: expected {expected} bytes, got {}", bytes.len());
            return Err(Error::new(ErrorKind::ModelInvalid, message));
        }
        Ok(Constant { kind, bytes })
    }

    /// The elements of a tensor of the file that lie in it, in bytes or in typed lists.
    ///
    /// # Errors
    /// `ModelUnsupported` for elements in another file and for strings.
    pub fn from_proto(tensor: &TensorProto) -> Result<Constant> {
        let unsupported = |what: &str| {
            Error::new(ErrorKind::ModelUnsupported, what.to_owned()).at_tensor(short(&tensor.name))
        };
        let element = tensor.element_type().ok_or_else(|| unsupported("unknown element type"))?;
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let kind = ValueType::new(element, shape.ok_or_else(|| unsupported("negative size"))?);
        if tensor.is_external() {
            return Err(unsupported("elements are in another file"));
        }
        if let Some(raw) = &tensor.raw_data {
            return Constant::new(kind, raw.clone()).map_err(|error| error.at_tensor(short(&tensor.name)));
        }
        let narrow = |width: usize| -> Vec<u8> {
            tensor.int32_data.iter().flat_map(|value| value.to_le_bytes()[..width].to_vec()).collect()
        };
        let bytes: Vec<u8> = match element {
            ElementType::Float32 => tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ElementType::Float64 => tensor.double_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ElementType::Int64 => tensor.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ElementType::Uint64 => tensor.uint64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ElementType::Uint32 => {
                tensor.uint64_data.iter().flat_map(|value| (*value as u32).to_le_bytes()).collect()
            }
            ElementType::Int32 => narrow(4),
            ElementType::Int16 | ElementType::Uint16 | ElementType::Float16 | ElementType::Bfloat16 => {
                narrow(2)
            }
            ElementType::Int8 | ElementType::Uint8 | ElementType::Bool => narrow(1),
            _ => return Err(unsupported("elements of this type in a typed list")),
        };
        Constant::new(kind, bytes).map_err(|error| error.at_tensor(short(&tensor.name)))
    }

    /// `float32` elements.
    ///
    /// # Errors
    /// `ModelInvalid` where `values` are not as many as `shape` asks for.
    pub fn from_f32(shape: impl Into<Vec<usize>>, values: &[f32]) -> Result<Constant> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Constant::new(ValueType::new(ElementType::Float32, shape), bytes)
    }

    /// `int64` elements.
    ///
    /// # Errors
    /// `ModelInvalid` where `values` are not as many as `shape` asks for.
    pub fn from_i64(shape: impl Into<Vec<usize>>, values: &[i64]) -> Result<Constant> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Constant::new(ValueType::new(ElementType::Int64, shape), bytes)
    }

    /// Elements of any real type out of `f64`, rounded to it (integers saturate; `bool` is "not zero").
    ///
    /// # Errors
    /// `ModelUnsupported` for types without a conversion; `ModelInvalid` where the count is wrong.
    pub fn from_f64(kind: ValueType, values: &[f64]) -> Result<Constant> {
        let mut bytes = Vec::with_capacity(values.len() * 8);
        macro_rules! put {
            ($convert:expr) => {
                for &value in values {
                    bytes.extend_from_slice(&$convert(value).to_le_bytes());
                }
            };
        }
        match kind.element {
            ElementType::Float32 => put!(|v| v as f32),
            ElementType::Float64 => put!(|v: f64| v),
            ElementType::Float16 => put!(f16::from_f64),
            ElementType::Bfloat16 => put!(bf16::from_f64),
            ElementType::Int64 => put!(|v| v as i64),
            ElementType::Int32 => put!(|v| v as i32),
            ElementType::Int16 => put!(|v| v as i16),
            ElementType::Int8 => put!(|v| v as i8),
            ElementType::Uint64 => put!(|v| v as u64),
            ElementType::Uint32 => put!(|v| v as u32),
            ElementType::Uint16 => put!(|v| v as u16),
            ElementType::Uint8 => put!(|v| v as u8),
            ElementType::Bool => put!(|v| u8::from(v != 0.0)),
            other => {
                return Err(Error::new(ErrorKind::ModelUnsupported, format!("constants of type {other}")));
            }
        }
        Constant::new(kind, bytes)
    }

    /// Elements of an integer type out of `i64` (wrapping, as ONNX casts between integers do), or of any other type
    /// through `f64`.
    ///
    /// # Errors
    /// As [`Constant::from_f64`].
    pub fn from_ints(kind: ValueType, values: &[i64]) -> Result<Constant> {
        let mut bytes = Vec::with_capacity(values.len() * 8);
        let width = match kind.element {
            ElementType::Int64 | ElementType::Uint64 => 8,
            ElementType::Int32 | ElementType::Uint32 => 4,
            ElementType::Int16 | ElementType::Uint16 => 2,
            ElementType::Int8 | ElementType::Uint8 => 1,
            _ => {
                let values: Vec<f64> = values.iter().map(|&value| value as f64).collect();
                return Constant::from_f64(kind, &values);
            }
        };
        for value in values {
            bytes.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        Constant::new(kind, bytes)
    }

    /// Element type and shape.
    pub fn kind(&self) -> &ValueType {
        &self.kind
    }

    /// The elements: little-endian, row-major, packed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same bytes under another shape.
    ///
    /// # Errors
    /// `ModelInvalid` where the number of elements differs.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Constant> {
        Constant::new(ValueType::new(self.kind.element, shape), self.bytes.clone())
    }

    /// Integers (and `bool` as 0 and 1); `None` for floating point. `uint64` above `i64::MAX` wraps.
    pub fn to_ints(&self) -> Option<Vec<i64>> {
        let bytes = &self.bytes;
        macro_rules! get {
            ($kind:ty) => {
                bytes
                    .as_chunks::<{ size_of::<$kind>() }>()
                    .0
                    .iter()
                    .map(|word| <$kind>::from_le_bytes(*word) as i64)
                    .collect()
            };
        }
        Some(match self.kind.element {
            ElementType::Int64 => get!(i64),
            ElementType::Int32 => get!(i32),
            ElementType::Int16 => get!(i16),
            ElementType::Int8 => get!(i8),
            ElementType::Uint64 => get!(u64),
            ElementType::Uint32 => get!(u32),
            ElementType::Uint16 => get!(u16),
            ElementType::Uint8 => get!(u8),
            ElementType::Bool => bytes.iter().map(|&byte| i64::from(byte != 0)).collect(),
            _ => return None,
        })
    }

    /// Elements of any real type as `f64`; `None` for strings, complex numbers and types below one byte.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        macro_rules! get {
            ($kind:ty, $convert:expr) => {
                self.bytes
                    .as_chunks::<{ size_of::<$kind>() }>()
                    .0
                    .iter()
                    .map(|word| $convert(<$kind>::from_le_bytes(*word)))
                    .collect()
            };
        }
        Some(match self.kind.element {
            ElementType::Float32 => get!(f32, f64::from),
            ElementType::Float64 => get!(f64, |value| value),
            ElementType::Float16 => get!(f16, f16::to_f64),
            ElementType::Bfloat16 => get!(bf16, bf16::to_f64),
            _ => self.to_ints()?.into_iter().map(|value| value as f64).collect(),
        })
    }

    /// `float32` elements as they are; `None` for other types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        (self.kind.element == ElementType::Float32)
            .then(|| self.bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    /// As a tensor of a file.
    pub fn to_proto(&self, name: &str) -> TensorProto {
        let dims: Vec<i64> = self.kind.shape.iter().map(|&dim| dim as i64).collect();
        TensorProto::raw(name, self.kind.element, &dims, self.bytes.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back_in_every_type() {
        for &element in ElementType::ALL {
            let kind = ValueType::new(element, [3]);
            let Ok(constant) = Constant::from_f64(kind, &[0.0, 1.0, 3.0]) else { continue };
            let expected = if element == ElementType::Bool { [0.0, 1.0, 1.0] } else { [0.0, 1.0, 3.0] };
            assert_eq!(constant.to_f64().unwrap(), expected, "{element}");
            assert_eq!(constant.to_ints().is_none(), element.is_float(), "{element}");
            let again = Constant::from_proto(&constant.to_proto("c")).unwrap();
            assert_eq!(again, constant);
        }
    }

    #[test]
    fn typed_lists_are_read() {
        let mut tensor = TensorProto { data_type: 1, dims: vec![2], ..TensorProto::default() };
        tensor.float_data = vec![1.5, -2.0];
        assert_eq!(Constant::from_proto(&tensor).unwrap().to_f32().unwrap(), [1.5, -2.0]);
        let mut tensor = TensorProto { data_type: 10, dims: vec![1], ..TensorProto::default() };
        tensor.int32_data = vec![0x3e00];
        assert_eq!(Constant::from_proto(&tensor).unwrap().to_f64().unwrap(), [1.5]);
        let mut tensor = TensorProto { data_type: 3, dims: vec![2], ..TensorProto::default() };
        tensor.int32_data = vec![-1, 5];
        assert_eq!(Constant::from_proto(&tensor).unwrap().to_ints().unwrap(), [-1, 5]);
    }

    #[test]
    fn a_wrong_number_of_bytes_is_refused() {
        let error = Constant::from_f32([2, 2], &[1.0]).unwrap_err();
        assert_eq!(error.to_string(), "float32 [2, 2]: expected 16 bytes, got 4");
    }
}
