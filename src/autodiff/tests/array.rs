//! Arrays of the reference interpreter.

use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, ValueType};

/// Elements: all floating point as `f64`, all integers as `i64`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
    Bools(Vec<bool>),
}

/// A row-major array of any rank.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

impl Array {
    pub(super) fn floats(shape: &[usize], values: Vec<f64>) -> Array {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "floats for {shape:?}");
        Array { shape: shape.to_vec(), data: Data::Floats(values) }
    }

    pub(super) fn ints(shape: &[usize], values: Vec<i64>) -> Array {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "ints for {shape:?}");
        Array { shape: shape.to_vec(), data: Data::Ints(values) }
    }

    pub(super) fn bools(shape: &[usize], values: Vec<bool>) -> Array {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "bools for {shape:?}");
        Array { shape: shape.to_vec(), data: Data::Bools(values) }
    }

    /// Elements given by a function of the index.
    pub(super) fn of_floats(shape: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Array {
        let mut values = Vec::with_capacity(shape.iter().product());
        each(shape, |at| values.push(f(at)));
        Array::floats(shape, values)
    }

    pub(super) fn constant(constant: &Constant) -> Array {
        let shape = constant.kind().shape.clone();
        let data = match constant.kind().element {
            ElementType::Bool => {
                Data::Bools(constant.to_ints().unwrap().into_iter().map(|value| value != 0).collect())
            }
            element if element.is_float() => Data::Floats(constant.to_f64().unwrap()),
            _ => Data::Ints(constant.to_ints().unwrap()),
        };
        Array { shape, data }
    }

    /// As a constant of a graph: rounded to `element`.
    pub(super) fn to_constant(&self, element: ElementType) -> Constant {
        let kind = ValueType::new(element, self.shape.clone());
        match &self.data {
            Data::Floats(values) => Constant::from_f64(kind, values),
            Data::Ints(values) => Constant::from_ints(kind, values),
            Data::Bools(values) => {
                Constant::from_ints(kind, &values.iter().map(|&value| i64::from(value)).collect::<Vec<_>>())
            }
        }
        .unwrap()
    }

    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    pub(super) fn f(&self) -> &[f64] {
        match &self.data {
            Data::Floats(values) => values,
            other => panic!("expected floats, got {other:?}"),
        }
    }

    pub(super) fn f_mut(&mut self) -> &mut [f64] {
        match &mut self.data {
            Data::Floats(values) => values,
            other => panic!("expected floats, got {other:?}"),
        }
    }

    pub(super) fn i(&self) -> &[i64] {
        match &self.data {
            Data::Ints(values) => values,
            other => panic!("expected integers, got {other:?}"),
        }
    }

    pub(super) fn b(&self) -> &[bool] {
        match &self.data {
            Data::Bools(values) => values,
            other => panic!("expected booleans, got {other:?}"),
        }
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self.data, Data::Floats(_))
    }

    /// The same elements under another shape.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Array {
        assert_eq!(shape.iter().product::<usize>(), self.len(), "{:?} as {shape:?}", self.shape);
        Array { shape: shape.to_vec(), data: self.data.clone() }
    }

    /// Position of an element among all.
    pub(super) fn place(&self, at: &[usize]) -> usize {
        place(&self.shape, at)
    }

    /// The floating point element at an index.
    pub(super) fn at(&self, at: &[usize]) -> f64 {
        self.f()[self.place(at)]
    }

    /// An array whose every element is one of this array's, by its place; zero where there is none.
    pub(super) fn picked(&self, shape: &[usize], mut from: impl FnMut(&[usize]) -> Option<usize>) -> Array {
        let mut places = Vec::with_capacity(shape.iter().product());
        each(shape, |at| places.push(from(at)));
        let data = match &self.data {
            Data::Floats(v) => Data::Floats(places.iter().map(|at| at.map_or(0.0, |at| v[at])).collect()),
            Data::Ints(v) => Data::Ints(places.iter().map(|at| at.map_or(0, |at| v[at])).collect()),
            Data::Bools(v) => Data::Bools(places.iter().map(|at| at.is_some_and(|at| v[at])).collect()),
        };
        Array { shape: shape.to_vec(), data }
    }

    /// Repeated to `shape` by the rule of multidirectional broadcasting.
    pub(super) fn broadcast(&self, shape: &[usize]) -> Array {
        if self.shape == shape {
            return self.clone();
        }
        let lead = shape.len() - self.rank();
        self.picked(shape, |at| {
            let own: Vec<usize> =
                at[lead..].iter().zip(&self.shape).map(|(&at, &dim)| if dim == 1 { 0 } else { at }).collect();
            Some(self.place(&own))
        })
    }

    pub(super) fn transposed(&self, order: &[usize]) -> Array {
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape[axis]).collect();
        let mut own = vec![0; self.rank()];
        self.picked(&shape, |at| {
            for (&axis, &at) in order.iter().zip(at) {
                own[axis] = at;
            }
            Some(self.place(&own))
        })
    }

    /// Every floating point element changed.
    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Array {
        Array::floats(&self.shape, self.f().iter().map(|&x| f(x)).collect())
    }

    /// Two arrays of floating point, element by element with broadcasting.
    pub(super) fn zip(&self, other: &Array, f: impl Fn(f64, f64) -> f64) -> Array {
        let shape = broadcast_shape(&self.shape, &other.shape);
        let (a, b) = (self.broadcast(&shape), other.broadcast(&shape));
        Array::floats(&shape, a.f().iter().zip(b.f()).map(|(&a, &b)| f(a, b)).collect())
    }
}

/// Position of an element among all.
pub(super) fn place(shape: &[usize], at: &[usize]) -> usize {
    debug_assert_eq!(shape.len(), at.len());
    shape.iter().zip(at).fold(0, |place, (&dim, &at)| {
        assert!(at < dim, "index {at} of {dim}");
        place * dim + at
    })
}

/// Calls `f` with every index of a shape, in order.
pub(super) fn each(shape: &[usize], mut f: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut at = vec![0; shape.len()];
    loop {
        f(&at);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
}

pub(super) fn broadcast_shape(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let padded = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
    let sizes = padded(a).into_iter().zip(padded(b));
    sizes
        .map(|(x, y)| {
            assert!(x == y || x == 1 || y == 1, "{a:?} and {b:?} do not broadcast");
            if x == 1 { y } else { x }
        })
        .collect()
}
