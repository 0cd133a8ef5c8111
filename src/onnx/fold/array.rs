//! Small arrays that are computed with while a graph is built.

use crate::error::Result;
use crate::onnx::graph::{Constant, ValueType};

/// Elements in the widest type of their family.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::onnx) enum Elements {
    /// Integers and booleans (0 and 1).
    Ints(Vec<i64>),
    /// Floating point.
    Floats(Vec<f64>),
}

/// A row-major array.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::onnx) struct Array {
    /// Sizes, outermost first.
    pub(in crate::onnx) shape: Vec<usize>,
    /// Elements.
    pub(in crate::onnx) elements: Elements,
}

impl Array {
    /// `None` for types that are not computed with.
    pub(in crate::onnx) fn of(constant: &Constant) -> Option<Array> {
        let elements = match constant.to_ints() {
            Some(ints) => Elements::Ints(ints),
            None => Elements::Floats(constant.to_f64()?),
        };
        Some(Array { shape: constant.kind().shape.clone(), elements })
    }

    /// Integers of a shape.
    pub(in crate::onnx) fn ints(shape: impl Into<Vec<usize>>, ints: Vec<i64>) -> Array {
        Array { shape: shape.into(), elements: Elements::Ints(ints) }
    }

    /// Floating point numbers of a shape.
    pub(in crate::onnx) fn floats(shape: impl Into<Vec<usize>>, floats: Vec<f64>) -> Array {
        Array { shape: shape.into(), elements: Elements::Floats(floats) }
    }

    /// Number of elements.
    pub(in crate::onnx) fn len(&self) -> usize {
        match &self.elements {
            Elements::Ints(ints) => ints.len(),
            Elements::Floats(floats) => floats.len(),
        }
    }

    /// The elements at `places`, under another shape: what every operator does that only moves elements.
    pub(in crate::onnx) fn gather(&self, shape: impl Into<Vec<usize>>, places: &[usize]) -> Array {
        let elements = match &self.elements {
            Elements::Ints(ints) => Elements::Ints(places.iter().map(|&at| ints[at]).collect()),
            Elements::Floats(floats) => Elements::Floats(places.iter().map(|&at| floats[at]).collect()),
        };
        Array { shape: shape.into(), elements }
    }

    /// In the element type and shape of `kind`.
    pub(in crate::onnx) fn to_constant(&self, kind: &ValueType) -> Result<Constant> {
        match &self.elements {
            Elements::Ints(ints) => Constant::from_ints(kind.clone(), ints),
            Elements::Floats(floats) => Constant::from_f64(kind.clone(), floats),
        }
    }
}

/// Distance between neighbours along every axis, in elements.
pub(in crate::onnx) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}
