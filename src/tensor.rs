//! Arrays of samples: `[C, H, W]` blocks of any sample type that rasters have.
//!
//! The arrays themselves are [`ndarray`]'s. [`Samples`] is a block whose sample type is known only at run time.

pub(crate) mod activation;
pub(crate) mod code;
pub(crate) mod vectorised;

use std::fmt;
use std::str::FromStr;

use ndarray::{Array3, ArrayView3};

use crate::error::{Error, Result};

/// The type of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl DataType {
    /// The name used in reports and on the command line: `uint8`, `float32`.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::U8 => "uint8",
            DataType::U16 => "uint16",
            DataType::I16 => "int16",
            DataType::U32 => "uint32",
            DataType::I32 => "int32",
            DataType::U64 => "uint64",
            DataType::I64 => "int64",
            DataType::F32 => "float32",
            DataType::F64 => "float64",
        }
    }

    /// Bytes of one sample.
    pub const fn bytes(self) -> usize {
        match self {
            DataType::U8 => 1,
            DataType::U16 | DataType::I16 => 2,
            DataType::U32 | DataType::I32 | DataType::F32 => 4,
            DataType::U64 | DataType::I64 | DataType::F64 => 8,
        }
    }

    /// Whether samples are whole numbers.
    pub const fn is_integer(self) -> bool {
        !matches!(self, DataType::F32 | DataType::F64)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DataType {
    type Err = Error;

    fn from_str(text: &str) -> Result<DataType> {
        use DataType::*;
        [U8, U16, I16, U32, I32, U64, I64, F32, F64].into_iter().find(|kind| kind.name() == text).ok_or_else(
            || {
                Error::invalid(format!(
                    "unknown sample type {text:?}: expected uint8, uint16, int16, uint32, int32, uint64, int64, float32 or float64"
                ))
            },
        )
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that is a sample type. Sealed: the set is that of [`DataType`].
pub trait Sample: Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static + sealed::Sealed {
    /// Its run-time name.
    const DATA_TYPE: DataType;

    /// The value as `f64`; exact for all but the largest 64-bit integers.
    fn to_f64(self) -> f64;

    /// The nearest value of this type: rounded half away from zero and clamped to the range for integers (NaN
    /// becomes 0), rounded to nearest for `f32`.
    fn from_f64(value: f64) -> Self;

    /// Wraps a block of this type.
    fn wrap(block: Array3<Self>) -> Samples;

    /// The block, where it is of this type.
    fn of(samples: &Samples) -> Option<&Array3<Self>>;

    /// The block to change, where it is of this type.
    fn of_mut(samples: &mut Samples) -> Option<&mut Array3<Self>>;
}

macro_rules! samples {
    ($($variant:ident $kind:ty, $round:ident;)*) => {
        /// A block of samples `[C, H, W]` (band, row, column) of a type known at run time.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Samples {
            $(#[doc = concat!("Samples of type `", stringify!($kind), "`.")] $variant(Array3<$kind>),)*
        }

        impl Samples {
            /// The type of the samples.
            pub fn data_type(&self) -> DataType {
                match self { $(Samples::$variant(_) => DataType::$variant,)* }
            }

            /// `[C, H, W]`.
            pub fn shape(&self) -> [usize; 3] {
                match self { $(Samples::$variant(block) => block.dim().into(),)* }
            }

            /// A block of zeros of shape `[C, H, W]`.
            pub fn zeros(data_type: DataType, shape: [usize; 3]) -> Samples {
                match data_type { $(DataType::$variant => Samples::$variant(Array3::default(shape)),)* }
            }

            /// A copy with every sample as `f64`.
            pub fn to_f64(&self) -> Array3<f64> {
                match self { $(Samples::$variant(block) => block.mapv(Sample::to_f64),)* }
            }

            /// A view without copying.
            pub fn view(&self) -> SamplesView<'_> {
                match self { $(Samples::$variant(block) => SamplesView::$variant(block.view()),)* }
            }
        }

        /// A borrowed block of samples `[C, H, W]` of a type known at run time; any strides.
        #[derive(Debug, Clone, Copy)]
        #[non_exhaustive]
        pub enum SamplesView<'a> {
            $(#[doc = concat!("Samples of type `", stringify!($kind), "`.")] $variant(ArrayView3<'a, $kind>),)*
        }

        impl SamplesView<'_> {
            /// The type of the samples.
            pub fn data_type(&self) -> DataType {
                match self { $(SamplesView::$variant(_) => DataType::$variant,)* }
            }

            /// `[C, H, W]`.
            pub fn shape(&self) -> [usize; 3] {
                match self { $(SamplesView::$variant(block) => block.dim().into(),)* }
            }
        }

        $(
            impl<'a> From<ArrayView3<'a, $kind>> for SamplesView<'a> {
                fn from(block: ArrayView3<'a, $kind>) -> Self {
                    SamplesView::$variant(block)
                }
            }

            impl sealed::Sealed for $kind {}

            impl Sample for $kind {
                const DATA_TYPE: DataType = DataType::$variant;

                #[inline]
                fn to_f64(self) -> f64 {
                    self as f64
                }

                fn from_f64(value: f64) -> Self {
                    samples!(@$round value) as $kind
                }

                fn wrap(block: Array3<Self>) -> Samples {
                    Samples::$variant(block)
                }

                fn of(samples: &Samples) -> Option<&Array3<Self>> {
                    match samples {
                        Samples::$variant(block) => Some(block),
                        _ => None,
                    }
                }

                fn of_mut(samples: &mut Samples) -> Option<&mut Array3<Self>> {
                    match samples {
                        Samples::$variant(block) => Some(block),
                        _ => None,
                    }
                }
            }
        )*
    };
    (@integer $value:ident) => { $value.round() };
    (@float $value:ident) => { $value };
}

samples! {
    U8 u8, integer;
    U16 u16, integer;
    I16 i16, integer;
    U32 u32, integer;
    I32 i32, integer;
    U64 u64, integer;
    I64 i64, integer;
    F32 f32, float;
    F64 f64, float;
}

/// `with_samples!(Samples, value, block => expression)`: the expression with `block` bound to the typed array,
/// for a [`Samples`] or a [`SamplesView`].
macro_rules! with_samples {
    ($name:ident, $value:expr, $block:ident => $body:expr) => {
        match $value {
            $crate::tensor::$name::U8($block) => $body,
            $crate::tensor::$name::U16($block) => $body,
            $crate::tensor::$name::I16($block) => $body,
            $crate::tensor::$name::U32($block) => $body,
            $crate::tensor::$name::I32($block) => $body,
            $crate::tensor::$name::U64($block) => $body,
            $crate::tensor::$name::I64($block) => $body,
            $crate::tensor::$name::F32($block) => $body,
            $crate::tensor::$name::F64($block) => $body,
        }
    };
}
pub(crate) use with_samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversion_rounds_and_clamps() {
        assert_eq!(u8::from_f64(254.5), 255);
        assert_eq!(u8::from_f64(-3.0), 0);
        assert_eq!(u8::from_f64(f64::NAN), 0);
        assert_eq!(i16::from_f64(-40000.0), i16::MIN);
        assert_eq!(f32::from_f64(0.25), 0.25);
    }

    #[test]
    fn names_round_trip() {
        for kind in ["uint8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"] {
            assert_eq!(kind.parse::<DataType>().unwrap().name(), kind);
        }
        assert!("uint128".parse::<DataType>().is_err());
    }

    #[test]
    fn a_block_knows_its_type_and_shape() {
        let block = Samples::zeros(DataType::I16, [2, 3, 4]);
        assert_eq!((block.data_type(), block.shape()), (DataType::I16, [2, 3, 4]));
        assert_eq!(with_samples!(Samples, &block, b => b.len()), 24);
    }
}
