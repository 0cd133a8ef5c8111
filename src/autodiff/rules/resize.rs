//! Resize: the gradient of interpolation is the transposed interpolation.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp, matrix};
use crate::error::Result;
use crate::onnx::graph::ValueId;
use crate::onnx::proto::AttributeProto;
use crate::onnx::resolved::{Interpolation, Resize};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    (op_type == "Resize").then_some(resize as Rule)
}

/// Every mode is linear in the input and separable: Y is X multiplied along every resized axis with a matrix of
/// constants A `[output, input]`, and dX is g multiplied with Aᵀ. The matrices are computed here from the mode, the
/// coordinates and the sizes ([`matrix::sampling`]).
///
/// Enlarging by a whole number with the nearest element is a repetition, whose gradient is the sum over each block:
/// an average pool times its size.
fn resize(vjp: &mut Vjp<'_>) -> Gradients {
    let mut g = vjp.g(0)?;
    let resize = Resize::of(vjp.graph, &vjp.node)?;
    if let Some(factors) = repetition(&resize) {
        let dx = blocks(vjp, g, &factors)?;
        return vjp.only(0, dx);
    }
    for axis in 0..resize.axes.len() {
        if let Some(weights) = matrix::sampling(&resize, axis, &vjp.node)? {
            g = matrix::transposed_along(vjp, g, axis, &weights)?;
        }
    }
    vjp.only(0, g)
}

/// The whole numbers by which the last two axes are repeated, where that is what the operator does.
fn repetition(resize: &Resize) -> Option<[usize; 2]> {
    if !matches!(resize.interpolation, Interpolation::Nearest(_)) || resize.axes.len() != 4 {
        return None;
    }
    let mut factors = [1, 1];
    for (axis, own) in resize.axes.iter().enumerate() {
        if axis < 2 {
            if !own.is_kept() {
                return None;
            }
            continue;
        }
        if own.output % own.input.max(1) != 0 {
            return None;
        }
        let factor = own.output / own.input.max(1);
        let places = matrix::nearest_places(resize, axis)?;
        if !places.iter().enumerate().all(|(index, &place)| place == index / factor) {
            return None;
        }
        factors[axis - 2] = factor;
    }
    Some(factors)
}

fn blocks(vjp: &mut Vjp<'_>, g: ValueId, factors: &[usize; 2]) -> Result<ValueId> {
    let size = [factors[0] as i64, factors[1] as i64];
    if size == [1, 1] {
        return Ok(g);
    }
    let attributes = [AttributeProto::ints("kernel_shape", &size), AttributeProto::ints("strides", &size)];
    let mean = vjp.graph.op("AveragePool", &[g], &attributes)?;
    vjp.scaled(mean, (size[0] * size[1]) as f64)
}
