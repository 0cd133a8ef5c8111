//! Normalisations without a rule of their own.

use crate::autodiff::decompose::{Composite, Decomposition};
use crate::autodiff::emit::Emit;
use crate::error::Result;
use crate::onnx::axis_of;
use crate::onnx::graph::ValueId;

pub(super) fn rule(op_type: &str) -> Option<Decomposition> {
    Some(match op_type {
        "MeanVarianceNormalization" => mean_variance,
        "LpNormalization" => lp,
        "LRN" => local_response,
        _ => return None,
    })
}

/// `(x - mean) / (√variance + 1e-9)` over the axes (0, 2, 3 where none are given). The small number is put under the root
/// as 1e-18, which is the same in 32 bits and has a derivative where the variance is 0.
fn mean_variance(op: &mut Composite<'_>) -> Result<Option<ValueId>> {
    let x = op.x(0)?;
    let rank = op.shape(x).len();
    let given = op.node.ints("axes").unwrap_or(&[0, 2, 3]);
    let axes = given.iter().map(|&axis| axis_of(&op.node, axis, rank)).collect::<Result<Vec<_>>>()?;
    let mean = op.mean(x, &axes)?;
    let centred = op.minus(x, mean)?;
    let square = op.times(centred, centred)?;
    let variance = op.mean(square, &axes)?;
    let variance = op.shifted(variance, 1e-18)?;
    let deviation = op.unary("Sqrt", variance)?;
    Ok(Some(op.over(centred, deviation)?))
}

/// `x / ‖x‖` along an axis, in the norm of order 1 or 2; 0 where the norm is 0, and so is its gradient.
fn lp(op: &mut Composite<'_>) -> Result<Option<ValueId>> {
    let x = op.x(0)?;
    let axis = op.axis("axis", -1, op.shape(x).len())?;
    let order = op.node.int_or("p", 2);
    let terms = match order {
        1 => op.unary("Abs", x)?,
        2 => op.times(x, x)?,
        _ => return Err(op.node.invalid(format!("a norm of order {order}"))),
    };
    let sum = op.sum(terms, &[axis])?;
    // There any divisor does.
    let (zero, one) = (op.number_like(sum, 0.0)?, op.number_like(sum, 1.0)?);
    let nothing = op.binary("Equal", sum, zero)?;
    let safe = op.choose(nothing, one, sum)?;
    let norm = if order == 2 { op.unary("Sqrt", safe)? } else { safe };
    let unit = op.over(x, norm)?;
    Ok(Some(op.choose(nothing, zero, unit)?))
}

/// `x / (bias + alpha / size s)^beta`, with s the sum of the squares of `size` neighbouring channels: `(size - 1) / 2`
/// rounded down before, and the rest after.
fn local_response(op: &mut Composite<'_>) -> Result<Option<ValueId>> {
    let x = op.x(0)?;
    let shape = op.shape(x);
    let size = op.node.int_or("size", 0);
    if size < 1 || shape.len() < 2 {
        return Err(op.node.invalid(format!("size {size} for shape {shape:?}")));
    }
    let (before, channels) = ((size - 1) / 2, shape[1] as i64);
    let square = op.times(x, x)?;
    let mut begins = vec![0; shape.len()];
    let mut ends = begins.clone();
    (begins[1], ends[1]) = (before, size - 1 - before);
    let padded = op.pad(square, &begins, &ends)?;
    let mut sum: Option<ValueId> = None;
    for first in 0..size {
        let part = op.slice(padded, &[1], &[first], &[first + channels], &[1])?;
        sum = Some(match sum {
            Some(sum) => op.plus(sum, part)?,
            None => part,
        });
    }
    let sum = sum.unwrap_or(square);
    let alpha = f64::from(op.node.float_or("alpha", 1e-4));
    let scaled = op.scaled(sum, alpha / size as f64)?;
    let base = op.shifted(scaled, f64::from(op.node.float_or("bias", 1.0)))?;
    let exponent = op.number_like(base, -f64::from(op.node.float_or("beta", 0.75)))?;
    let factor = op.binary("Pow", base, exponent)?;
    Ok(Some(op.times(x, factor)?))
}
