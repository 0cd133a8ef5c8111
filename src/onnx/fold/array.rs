//! Small arrays that are computed with while a graph is built.

use crate::error::Result;
use crate::onnx::ElementType;
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
    /// `None` for types that are not computed with, and for `uint64` beyond `i64`.
    pub(in crate::onnx) fn of(constant: &Constant) -> Option<Array> {
        let elements = match constant.to_ints() {
            Some(ints) => {
                let wraps = constant.kind().element == ElementType::Uint64;
                if wraps && ints.iter().any(|&value| value < 0) {
                    return None;
                }
                Elements::Ints(ints)
            }
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

    /// The elements, where they are integers.
    pub(in crate::onnx) fn as_ints(&self) -> Option<&[i64]> {
        match &self.elements {
            Elements::Ints(ints) => Some(ints),
            Elements::Floats(_) => None,
        }
    }

    /// The elements as numbers.
    pub(in crate::onnx) fn to_floats(&self) -> Vec<f64> {
        match &self.elements {
            Elements::Ints(ints) => ints.iter().map(|&value| value as f64).collect(),
            Elements::Floats(floats) => floats.clone(),
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

/// Something for every place of a shape, in row-major order, out of the place's indices.
pub(in crate::onnx) fn over<T>(shape: &[usize], mut make: impl FnMut(&[usize]) -> T) -> Vec<T> {
    let count = shape.iter().product();
    let mut made = Vec::with_capacity(count);
    let mut at = vec![0; shape.len()];
    for _ in 0..count {
        made.push(make(&at));
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    made
}

/// Position of the element at `at` in an array of `strides`.
pub(in crate::onnx) fn position(strides: &[usize], at: &[usize]) -> usize {
    strides.iter().zip(at).map(|(stride, at)| stride * at).sum()
}

/// For every place of `shape`, the position of the element of an array of shape `own` that broadcasting puts there.
pub(in crate::onnx) fn broadcast_places(own: &[usize], shape: &[usize]) -> Vec<usize> {
    let lead = shape.len() - own.len();
    let mut steps = vec![0; shape.len()];
    for (axis, stride) in strides(own).into_iter().enumerate() {
        steps[lead + axis] = if own[axis] == 1 { 0 } else { stride };
    }
    over(shape, |at| position(&steps, at))
}
