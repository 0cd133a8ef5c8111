//! Element types of tensors.

use std::fmt;

use crate::tensor::DataType;

macro_rules! elements {
    ($($variant:ident = $number:literal, $name:literal, $bits:literal;)*) => {
        /// The type of one element of a tensor, as numbered by the ONNX specification.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(i32)]
        pub enum ElementType {
            $(#[doc = concat!("`", $name, "`.")] $variant = $number,)*
        }

        impl ElementType {
            /// All types, in the order of their numbers.
            pub const ALL: &'static [ElementType] = &[$(ElementType::$variant,)*];

            /// The type of this number; `None` for 0 ("undefined") and numbers of later specifications.
            pub const fn from_number(number: i32) -> Option<ElementType> {
                match number { $($number => Some(ElementType::$variant),)* _ => None }
            }

            /// The name used in reports: `float32`, `bool`.
            pub const fn name(self) -> &'static str {
                match self { $(ElementType::$variant => $name,)* }
            }

            /// Bits of one element in a tensor's bytes; 0 for strings, whose size varies.
            pub const fn bits(self) -> u64 {
                match self { $(ElementType::$variant => $bits,)* }
            }
        }
    };
}

elements! {
    Float32 = 1, "float32", 32;
    Uint8 = 2, "uint8", 8;
    Int8 = 3, "int8", 8;
    Uint16 = 4, "uint16", 16;
    Int16 = 5, "int16", 16;
    Int32 = 6, "int32", 32;
    Int64 = 7, "int64", 64;
    String = 8, "string", 0;
    Bool = 9, "bool", 8;
    Float16 = 10, "float16", 16;
    Float64 = 11, "float64", 64;
    Uint32 = 12, "uint32", 32;
    Uint64 = 13, "uint64", 64;
    Complex64 = 14, "complex64", 64;
    Complex128 = 15, "complex128", 128;
    Bfloat16 = 16, "bfloat16", 16;
    Float8E4M3Fn = 17, "float8e4m3fn", 8;
    Float8E4M3Fnuz = 18, "float8e4m3fnuz", 8;
    Float8E5M2 = 19, "float8e5m2", 8;
    Float8E5M2Fnuz = 20, "float8e5m2fnuz", 8;
    Uint4 = 21, "uint4", 4;
    Int4 = 22, "int4", 4;
    Float4E2M1 = 23, "float4e2m1", 4;
    Float8E8M0 = 24, "float8e8m0", 8;
    Uint2 = 25, "uint2", 2;
    Int2 = 26, "int2", 2;
    Float6E2M3 = 27, "float6e2m3", 6;
    Float6E3M2 = 28, "float6e3m2", 6;
}

impl ElementType {
    /// The number in the specification.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// Whether elements are floating-point numbers, complex ones included.
    pub fn is_float(self) -> bool {
        ["float", "bfloat", "complex"].into_iter().any(|family| self.name().starts_with(family))
    }

    /// Bytes of `elements` elements, packed without gaps and rounded up; `None` for strings and where the number
    /// does not fit 64 bits.
    pub fn packed_bytes(self, elements: u64) -> Option<u64> {
        let bits = u128::from(elements) * u128::from(self.bits());
        (self != ElementType::String).then(|| u64::try_from(bits.div_ceil(8)).ok()).flatten()
    }

    /// The sample type of rasters with the same values, if there is one.
    pub const fn data_type(self) -> Option<DataType> {
        Some(match self {
            ElementType::Uint8 => DataType::U8,
            ElementType::Uint16 => DataType::U16,
            ElementType::Int16 => DataType::I16,
            ElementType::Uint32 => DataType::U32,
            ElementType::Int32 => DataType::I32,
            ElementType::Uint64 => DataType::U64,
            ElementType::Int64 => DataType::I64,
            ElementType::Float32 => DataType::F32,
            ElementType::Float64 => DataType::F64,
            _ => return None,
        })
    }
}

impl From<DataType> for ElementType {
    fn from(data_type: DataType) -> ElementType {
        match data_type {
            DataType::U8 => ElementType::Uint8,
            DataType::U16 => ElementType::Uint16,
            DataType::I16 => ElementType::Int16,
            DataType::U32 => ElementType::Uint32,
            DataType::I32 => ElementType::Int32,
            DataType::U64 => ElementType::Uint64,
            DataType::I64 => ElementType::Int64,
            DataType::F32 => ElementType::Float32,
            DataType::F64 => ElementType::Float64,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_sample_types() {
        for &element in ElementType::ALL {
            assert_eq!(ElementType::from_number(element.number()), Some(element));
            if let Some(data_type) = element.data_type() {
                assert_eq!(data_type.name(), element.name());
                assert_eq!(data_type.bytes() as u64 * 8, element.bits());
                assert_eq!(ElementType::from(data_type), element);
            }
        }
        assert_eq!(ElementType::from_number(0), None);
        assert_eq!(ElementType::from_number(29), None);
    }

    #[test]
    fn sizes_round_up_and_do_not_wrap() {
        assert_eq!(ElementType::Int4.packed_bytes(5), Some(3));
        assert_eq!(ElementType::Float6E2M3.packed_bytes(5), Some(4));
        assert_eq!(ElementType::Uint2.packed_bytes(5), Some(2));
        assert_eq!(ElementType::Complex128.packed_bytes(u64::MAX), None);
        assert_eq!(ElementType::String.packed_bytes(1), None);
    }
}
