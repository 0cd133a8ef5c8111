//! One dimension of a shape.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::onnx::proto::{Dimension, DimensionValue, TensorShapeProto};

/// One dimension of a shape as far as a file tells it. Serialises as a number, a string or null.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// This size and no other.
    Fixed(u64),
    /// Any size; equal names within a model mean equal sizes.
    Named(String),
    /// Any size.
    Unknown,
}

impl Dim {
    /// The size, where it is fixed.
    pub fn fixed(&self) -> Option<u64> {
        match self {
            Dim::Fixed(size) => Some(*size),
            _ => None,
        }
    }

    /// The dimensions of a shape in a file. A negative size, which some exporters write, is unknown.
    pub fn list(shape: &TensorShapeProto) -> Vec<Dim> {
        shape.dim.iter().map(Dim::from).collect()
    }
}

impl From<u64> for Dim {
    fn from(size: u64) -> Dim {
        Dim::Fixed(size)
    }
}

impl From<&str> for Dim {
    fn from(name: &str) -> Dim {
        Dim::Named(name.to_owned())
    }
}

impl From<&Dimension> for Dim {
    fn from(dimension: &Dimension) -> Dim {
        match &dimension.value {
            Some(DimensionValue::Value(size)) => u64::try_from(*size).map_or(Dim::Unknown, Dim::Fixed),
            Some(DimensionValue::Param(name)) if !name.is_empty() => Dim::Named(name.clone()),
            _ => Dim::Unknown,
        }
    }
}

impl From<&Dim> for Dimension {
    fn from(dim: &Dim) -> Dimension {
        let value = match dim {
            Dim::Fixed(size) => Some(DimensionValue::Value(i64::try_from(*size).unwrap_or(i64::MAX))),
            Dim::Named(name) => Some(DimensionValue::Param(name.clone())),
            Dim::Unknown => None,
        };
        Dimension { value, denotation: String::new() }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => size.fmt(f),
            Dim::Named(name) => f.write_str(name),
            Dim::Unknown => f.write_str("?"),
        }
    }
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Dim::Fixed(size) => serializer.serialize_u64(*size),
            Dim::Named(name) => serializer.serialize_str(name),
            Dim::Unknown => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_json_tell_the_three_cases_apart() {
        let dims = [Dim::Fixed(3), "height".into(), Dim::Unknown];
        assert_eq!(serde_json::to_string(&dims).unwrap(), r#"[3,"height",null]"#);
        for dim in &dims {
            assert_eq!(&Dim::from(&Dimension::from(dim)), dim);
        }
        let negative = Dimension { value: Some(DimensionValue::Value(-1)), ..Dimension::default() };
        assert_eq!(Dim::from(&negative), Dim::Unknown);
    }
}
