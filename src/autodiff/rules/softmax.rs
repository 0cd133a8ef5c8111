//! Softmax and its logarithm, along one axis.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::Result;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Softmax" => softmax,
        "LogSoftmax" => log_softmax,
        _ => return None,
    })
}

/// y (g - Σ g y).
fn softmax(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y, axis) = (vjp.g(0)?, vjp.y(0)?, axis(vjp)?);
    let product = vjp.times(g, y)?;
    let sum = vjp.sum(product, &[axis])?;
    let rest = vjp.minus(g, sum)?;
    let dx = vjp.times(rest, y)?;
    vjp.only(0, dx)
}

/// g - e^y Σ g.
fn log_softmax(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y, axis) = (vjp.g(0)?, vjp.y(0)?, axis(vjp)?);
    let sum = vjp.sum(g, &[axis])?;
    let probability = vjp.unary("Exp", y)?;
    let share = vjp.times(probability, sum)?;
    let dx = vjp.minus(g, share)?;
    vjp.only(0, dx)
}

fn axis(vjp: &Vjp<'_>) -> Result<usize> {
    vjp.axis(vjp.node.int_or("axis", -1), vjp.shape(vjp.x(0)?).len())
}
