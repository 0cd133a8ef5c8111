//! Losses of numbers: squared, absolute, Huber's.

use crate::autodiff::emit::Emit;
use crate::autodiff::loss::{Context, Emitted};
use crate::error::Result;
use crate::onnx::graph::{Graph, ValueId};

pub(super) fn mse(context: &mut Context<'_>) -> Result<Emitted> {
    mean_of(context, |graph, d| {
        let square = graph.times(d, d)?;
        Ok((square, graph.scaled(d, 2.0)?))
    })
}

/// The derivative at 0 is 0.
pub(super) fn l1(context: &mut Context<'_>) -> Result<Emitted> {
    mean_of(context, |graph, d| Ok((graph.unary("Abs", d)?, graph.unary("Sign", d)?)))
}

/// d²/2 within delta, delta (|d| - delta/2) beyond: with c = clip(d, -delta, delta) it is c (d - c/2), and c is the
/// derivative.
pub(super) fn huber(context: &mut Context<'_>, delta: f32) -> Result<Emitted> {
    mean_of(context, |graph, d| {
        let (low, high) = (graph.scalar(-delta)?, graph.scalar(delta)?);
        let cut = graph.op("Clip", &[d, low, high], &[])?;
        let half = graph.scaled(cut, 0.5)?;
        let rest = graph.minus(d, half)?;
        Ok((graph.times(cut, rest)?, cut))
    })
}

/// Mean over pixels that count and channels of a function of the difference, given with its derivative.
fn mean_of(
    context: &mut Context<'_>,
    function: impl Fn(&mut Graph, ValueId) -> Result<(ValueId, ValueId)>,
) -> Result<Emitted> {
    let weights = context.class_weights()?;
    let count = context.count()?;
    let (channels, mask) = (context.classes() as f64, context.mask);
    let graph = &mut *context.graph;
    let difference = graph.minus(context.logits, context.targets.labels)?;
    // A target that does not count may be anything, also no number at all.
    let zero = graph.scalar(0.0)?;
    let counts = graph.binary("Greater", mask, zero)?;
    let difference = graph.masked(counts, difference)?;
    let (value, slope) = function(graph, difference)?;
    let factor = match weights {
        Some(weights) => graph.times(weights, mask)?,
        None => mask,
    };
    let elements = graph.scaled(count, channels)?;
    let value = graph.times(value, factor)?;
    let total = graph.total(value)?;
    let loss = graph.over(total, elements)?;
    let slope = graph.times(slope, factor)?;
    let gradient = graph.over(slope, elements)?;
    Ok(Emitted { loss, gradient })
}
