//! Element types of stored tensors.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::weights::tensors::Elements;

/// Type of the elements of a tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoredType {
    /// `float64`, read as f32.
    F64,
    /// `float32`.
    F32,
    /// `float16`, read as f32.
    F16,
    /// `bfloat16`, read as f32.
    BF16,
    /// `int64`.
    I64,
    /// `int32`.
    I32,
    /// `int16`, read as i32.
    I16,
    /// `int8`, read as i32.
    I8,
    /// `uint16`, read as i32.
    U16,
    /// `uint32`, read as i64.
    U32,
    /// `uint8`.
    U8,
    /// `bool`, read as u8 of 0 and 1.
    Bool,
    /// A type of so many bytes that is listed, and not read.
    Other(&'static str, u8),
}

/// Types by their name in PyTorch, by that of their storage there, and by that in safetensors.
const NAMES: [(StoredType, &str, &str, &str); 23] = [
    (StoredType::F64, "float64", "DoubleStorage", "F64"),
    (StoredType::F32, "float32", "FloatStorage", "F32"),
    (StoredType::F16, "float16", "HalfStorage", "F16"),
    (StoredType::BF16, "bfloat16", "BFloat16Storage", "BF16"),
    (StoredType::I64, "int64", "LongStorage", "I64"),
    (StoredType::I32, "int32", "IntStorage", "I32"),
    (StoredType::I16, "int16", "ShortStorage", "I16"),
    (StoredType::I8, "int8", "CharStorage", "I8"),
    (StoredType::U16, "uint16", "", "U16"),
    (StoredType::U32, "uint32", "", "U32"),
    (StoredType::U8, "uint8", "ByteStorage", "U8"),
    (StoredType::Bool, "bool", "BoolStorage", "BOOL"),
    (StoredType::Other("uint64", 8), "uint64", "", "U64"),
    (StoredType::Other("complex64", 8), "complex64", "ComplexFloatStorage", "C64"),
    (StoredType::Other("complex128", 16), "complex128", "ComplexDoubleStorage", ""),
    (StoredType::Other("float8_e4m3fn", 1), "float8_e4m3fn", "", "F8_E4M3"),
    (StoredType::Other("float8_e5m2", 1), "float8_e5m2", "", "F8_E5M2"),
    (StoredType::Other("float8_e4m3fnuz", 1), "float8_e4m3fnuz", "", ""),
    (StoredType::Other("float8_e5m2fnuz", 1), "float8_e5m2fnuz", "", ""),
    (StoredType::Other("qint8", 1), "qint8", "QInt8Storage", ""),
    (StoredType::Other("quint8", 1), "quint8", "QUInt8Storage", ""),
    (StoredType::Other("qint32", 4), "qint32", "QInt32Storage", ""),
    // Bytes without a type, which the tensor has.
    (StoredType::Other("untyped", 1), "untyped", "UntypedStorage", ""),
];

impl StoredType {
    /// The type of PyTorch's name, `float32` and so on.
    #[cfg(feature = "pytorch")]
    pub(super) fn of_torch(name: &str) -> Option<StoredType> {
        NAMES.iter().find(|(_, torch, ..)| *torch == name).map(|(own, ..)| *own)
    }

    /// The type of the elements in a storage class of PyTorch, `FloatStorage` and so on.
    #[cfg(feature = "pytorch")]
    pub(super) fn of_storage(name: &str) -> Option<StoredType> {
        NAMES.iter().find(|(_, _, storage, _)| !storage.is_empty() && *storage == name).map(|(own, ..)| *own)
    }

    /// The type of the name in a safetensors file, `F32` and so on.
    pub(super) fn of_safetensors(name: &str) -> Option<StoredType> {
        NAMES.iter().find(|(.., own)| !own.is_empty() && *own == name).map(|(own, ..)| *own)
    }

    /// Bytes of an element in the file.
    pub const fn bytes(self) -> u64 {
        match self {
            StoredType::F64 | StoredType::I64 => 8,
            StoredType::F32 | StoredType::I32 | StoredType::U32 => 4,
            StoredType::F16 | StoredType::BF16 | StoredType::I16 | StoredType::U16 => 2,
            StoredType::I8 | StoredType::U8 | StoredType::Bool => 1,
            StoredType::Other(_, bytes) => bytes as u64,
        }
    }

    /// Bytes of an element once it is read.
    pub(super) const fn bytes_in_memory(self) -> u64 {
        match self {
            StoredType::I64 | StoredType::U32 => 8,
            StoredType::U8 | StoredType::Bool => 1,
            StoredType::Other(_, bytes) => bytes as u64,
            _ => 4,
        }
    }

    /// Whether the elements are floating point numbers that are read as f32.
    pub const fn is_float(self) -> bool {
        matches!(self, StoredType::F64 | StoredType::F32 | StoredType::F16 | StoredType::BF16)
    }

    /// The elements in little-endian bytes.
    ///
    /// # Errors
    /// `NotSupported` for a type that is not read.
    pub(super) fn decode(self, bytes: &[u8]) -> Result<Elements> {
        macro_rules! words {
            ($kind:ty, $to:expr) => {
                bytes
                    .as_chunks::<{ size_of::<$kind>() }>()
                    .0
                    .iter()
                    .map(|word| $to(<$kind>::from_le_bytes(*word)))
                    .collect()
            };
        }
        Ok(match self {
            StoredType::F64 => Elements::F32(words!(f64, |value: f64| value as f32)),
            StoredType::F32 => Elements::F32(words!(f32, |value| value)),
            StoredType::F16 => Elements::F32(words!(half::f16, half::f16::to_f32)),
            StoredType::BF16 => Elements::F32(words!(half::bf16, half::bf16::to_f32)),
            StoredType::I64 => Elements::I64(words!(i64, |value| value)),
            StoredType::U32 => Elements::I64(words!(u32, i64::from)),
            StoredType::I32 => Elements::I32(words!(i32, |value| value)),
            StoredType::I16 => Elements::I32(words!(i16, i32::from)),
            StoredType::U16 => Elements::I32(words!(u16, i32::from)),
            StoredType::I8 => Elements::I32(words!(i8, i32::from)),
            StoredType::U8 => Elements::U8(bytes.to_vec()),
            StoredType::Bool => Elements::U8(bytes.iter().map(|byte| u8::from(*byte != 0)).collect()),
            StoredType::Other(name, _) => {
                let message = format!("elements of type {name} cannot be read");
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
        })
    }
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(own, ..)| own == self).map_or("unknown", |(_, name, ..)| name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_type() {
        for (kind, torch, storage, safetensors) in NAMES {
            assert_eq!(kind.to_string(), torch);
            #[cfg(feature = "pytorch")]
            assert_eq!(StoredType::of_torch(torch), Some(kind));
            #[cfg(feature = "pytorch")]
            assert!(storage.is_empty() || StoredType::of_storage(storage) == Some(kind));
            let _ = storage;
            assert!(safetensors.is_empty() || StoredType::of_safetensors(safetensors) == Some(kind));
        }
        assert_eq!(StoredType::of_safetensors(""), None);
    }

    #[test]
    fn elements_are_widened() {
        assert_eq!(StoredType::F64.decode(&0.1f64.to_le_bytes()).unwrap(), Elements::F32(vec![0.1]));
        assert_eq!(StoredType::F16.decode(&[0x00, 0x3c]).unwrap(), Elements::F32(vec![1.0]));
        assert_eq!(StoredType::BF16.decode(&[0x80, 0xbf]).unwrap(), Elements::F32(vec![-1.0]));
        assert_eq!(StoredType::I8.decode(&[0xff]).unwrap(), Elements::I32(vec![-1]));
        assert_eq!(StoredType::U16.decode(&[0xff, 0xff]).unwrap(), Elements::I32(vec![65535]));
        assert_eq!(StoredType::U32.decode(&[0xff; 4]).unwrap(), Elements::I64(vec![u32::MAX.into()]));
        assert_eq!(StoredType::Bool.decode(&[0, 7]).unwrap(), Elements::U8(vec![0, 1]));
        assert_eq!(
            StoredType::Other("complex64", 8).decode(&[0; 8]).unwrap_err().kind(),
            ErrorKind::NotSupported
        );
    }
}
