//! Constant matrices that stand for interpolation and pooling along one axis.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::Vjp;
use crate::error::Result;
use crate::onnx::graph::{Constant, Node, ValueId, ValueType};
use crate::onnx::resolved::{Coordinates, Interpolation, Nearest, Resize, ResizeAxis};

/// A matrix `[rows, columns]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) elements: Vec<f64>,
}

impl Matrix {
    pub(super) fn zeros(rows: usize, columns: usize) -> Matrix {
        Matrix { rows, columns, elements: vec![0.0; rows * columns] }
    }

    pub(super) fn add(&mut self, row: usize, column: usize, value: f64) {
        self.elements[row * self.columns + column] += value;
    }
}

/// `g` multiplied along `axis`, which has as many elements as the matrix has rows, with the transposed matrix: the axis
/// gets as many elements as the matrix has columns.
pub(super) fn transposed_along(
    vjp: &mut Vjp<'_>,
    g: ValueId,
    axis: usize,
    matrix: &Matrix,
) -> Result<ValueId> {
    let element = vjp.graph.kind(g).element;
    let shape = vjp.shape(g);
    let last = shape.len() - 1;
    let (rows, columns) = (matrix.rows, matrix.columns);
    let mut result = shape.clone();
    result[axis] = columns;
    if axis == last {
        // g [.., rows] times [rows, columns]: one product of all rows of g.
        let kind = ValueType::new(element, [rows, columns]);
        let weights = vjp.graph.add_constant("sampling", Constant::from_f64(kind, &matrix.elements)?);
        let lead: usize = shape[..last].iter().product();
        let flat = vjp.reshape(g, &[lead, rows])?;
        let made = vjp.matmul(flat, weights)?;
        return vjp.reshape(made, &result);
    }
    // [columns, rows] times g seen as [lead, rows, trail].
    let mut turned = vec![0.0; rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            turned[column * rows + row] = matrix.elements[row * columns + column];
        }
    }
    let kind = ValueType::new(element, [columns, rows]);
    let weights = vjp.graph.add_constant("sampling", Constant::from_f64(kind, &turned)?);
    let lead: usize = shape[..axis].iter().product();
    let trail: usize = shape[axis + 1..].iter().product();
    let flat = vjp.reshape(g, &[lead, rows, trail])?;
    let made = vjp.matmul(weights, flat)?;
    vjp.reshape(made, &result)
}

/// The matrix `[output, input]` of a Resize along one axis; `None` where the axis is left as it is.
pub(super) fn sampling(resize: &Resize, axis: usize, node: &Node) -> Result<Option<Matrix>> {
    let own = resize.axes[axis];
    if own.is_kept() && resize.coordinates != Coordinates::CropAndResize {
        return Ok(None);
    }
    let mut matrix = Matrix::zeros(own.output, own.input);
    if let Interpolation::Nearest(_) = resize.interpolation {
        let places = nearest_places(resize, axis);
        let places = places.ok_or_else(|| node.unsupported("nearest with tf_crop_and_resize"))?;
        for (output, place) in places.into_iter().enumerate() {
            matrix.add(output, place, 1.0);
        }
        return Ok(Some(matrix));
    }
    if resize.coordinates == Coordinates::CropAndResize && own.roi != (0.0, 1.0) {
        return Err(node.unsupported("a gradient through a cropping Resize (tf_crop_and_resize)"));
    }
    for output in 0..own.output {
        let place = f64::from(coordinate(resize.coordinates, &own, output));
        weigh(resize, &own, &mut matrix, output, place);
    }
    Ok(Some(matrix))
}

/// Adds the weights of the elements around `place`.
fn weigh(resize: &Resize, own: &ResizeAxis, matrix: &mut Matrix, output: usize, place: f64) {
    let scale = f64::from(own.scale);
    // With antialias, downscaling stretches the kernel over the output element's window.
    let stretch = if resize.antialias && scale < 1.0 { scale } else { 1.0 };
    let (radius, kernel): (f64, Box<dyn Fn(f64) -> f64>) = match resize.interpolation {
        Interpolation::Cubic(a) => (2.0, Box::new(move |x| cubic(f64::from(a), x))),
        _ => (1.0, Box::new(|x: f64| (1.0 - x.abs()).max(0.0))),
    };
    let reach = radius / stretch;
    let (first, last) = if resize.antialias && scale < 1.0 {
        // All elements that the stretched kernel reaches. Unlike Pillow, ONNX Runtime lets those outside take part, as
        // the border's element, unless they are excluded.
        ((place - reach).floor() as i64, (place + reach).ceil() as i64)
    } else {
        let floor = place.floor() as i64;
        match resize.interpolation {
            Interpolation::Cubic(_) => (floor - 1, floor + 2),
            _ => (floor, floor + 1),
        }
    };
    let inside = |at: i64| (0..own.input as i64).contains(&at);
    let mut weights: Vec<(i64, f64)> =
        (first..=last).map(|at| (at, kernel((at as f64 - place) * stretch))).collect();
    if resize.exclude_outside {
        weights.retain(|&(at, _)| inside(at));
    }
    if resize.exclude_outside || stretch != 1.0 {
        let sum: f64 = weights.iter().map(|&(_, weight)| weight).sum();
        if sum != 0.0 {
            weights.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
    }
    for (at, weight) in weights {
        // Outside, the border's element stands for what is missing.
        let at = at.clamp(0, own.input as i64 - 1) as usize;
        matrix.add(output, at, weight);
    }
}

/// Keys' cubic kernel with coefficient `a`.
fn cubic(a: f64, x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// For every output element of an axis, the input element that the nearest mode takes; `None` for a region of interest.
pub(super) fn nearest_places(resize: &Resize, axis: usize) -> Option<Vec<usize>> {
    let Interpolation::Nearest(mode) = resize.interpolation else { return None };
    let own = resize.axes[axis];
    if resize.coordinates == Coordinates::CropAndResize {
        return None;
    }
    let place = |output: usize| {
        if own.is_kept() {
            return output;
        }
        let at = coordinate(resize.coordinates, &own, output);
        let at = match mode {
            Nearest::RoundPreferFloor => (at - 0.5).ceil(),
            Nearest::RoundPreferCeil => (at + 0.5).floor(),
            Nearest::Floor => at.floor(),
            Nearest::Ceil => at.ceil(),
        };
        at.clamp(0.0, own.input as f32 - 1.0) as usize
    };
    Some((0..own.output).map(place).collect())
}

/// Where output element `output` lies in the input. In `float32`, as the runtime computes it: which element is nearest can
/// depend on the rounding.
fn coordinate(mode: Coordinates, axis: &ResizeAxis, output: usize) -> f32 {
    let (x, scale, input, length) = (output as f32, axis.scale, axis.input as f32, axis.output as f32);
    match mode {
        Coordinates::HalfPixel => (x + 0.5) / scale - 0.5,
        Coordinates::HalfPixelSymmetric => {
            // The exact output size, before it was rounded.
            let exact = scale * input;
            let adjustment = length / exact;
            let offset = input / 2.0 * (1.0 - adjustment);
            offset + (x + 0.5) / scale - 0.5
        }
        Coordinates::PytorchHalfPixel => {
            if length > 1.0 {
                (x + 0.5) / scale - 0.5
            } else {
                0.0
            }
        }
        Coordinates::AlignCorners => {
            if length > 1.0 {
                x * (input - 1.0) / (length - 1.0)
            } else {
                0.0
            }
        }
        Coordinates::Asymmetric => x / scale,
        Coordinates::HalfPixelForNearest => (x + 0.5) / scale,
        Coordinates::CropAndResize => {
            let (start, end) = axis.roi;
            if length > 1.0 {
                start * (input - 1.0) + x * (end - start) * (input - 1.0) / (length - 1.0)
            } else {
                0.5 * (start + end) * (input - 1.0)
            }
        }
    }
}
