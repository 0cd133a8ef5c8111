//! Losses over regions: soft Dice and soft Jaccard.

use crate::autodiff::emit::Emit;
use crate::autodiff::loss::{Context, Emitted};
use crate::autodiff::optimizer::precise;
use crate::error::Result;
use crate::onnx::graph::ValueId;

/// Sums over the pixels that count, per class `[1, C, 1, 1]`: of p t, of p (or p²), of t.
struct Sums {
    both: ValueId,
    predicted: ValueId,
    labelled: ValueId,
}

fn sums(context: &mut Context<'_>, squared: bool) -> Result<Sums> {
    let p = context.probabilities()?;
    let t = context.one_hot()?;
    let (mask, pixels) = (context.mask, context.pixels());
    let graph = &mut *context.graph;
    let p = graph.times(p, mask)?;
    let t = graph.times(t, mask)?;
    let both = graph.times(p, t)?;
    let own = if squared { graph.times(p, p)? } else { p };
    Ok(Sums {
        both: graph.sum(both, &pixels)?,
        predicted: graph.sum(own, &pixels)?,
        // Squares of zeros and ones are themselves.
        labelled: graph.sum(t, &pixels)?,
    })
}

pub(super) fn dice(context: &mut Context<'_>, squared: bool, smooth: f32) -> Result<Emitted> {
    let sums = sums(context, squared)?;
    let graph = &mut *context.graph;
    let numerator = graph.scaled(sums.both, 2.0)?;
    let denominator = graph.plus(sums.predicted, sums.labelled)?;
    overlap(context, numerator, denominator, smooth)
}

pub(super) fn jaccard(context: &mut Context<'_>, smooth: f32) -> Result<Emitted> {
    let sums = sums(context, false)?;
    let graph = &mut *context.graph;
    let all = graph.plus(sums.predicted, sums.labelled)?;
    let union = graph.minus(all, sums.both)?;
    overlap(context, sums.both, union, smooth)
}

/// 1 - weighted mean over the classes of (numerator + s) / (denominator + s).
fn overlap(
    context: &mut Context<'_>,
    numerator: ValueId,
    denominator: ValueId,
    smooth: f32,
) -> Result<Emitted> {
    let weights = context.class_weights()?;
    let sum: f64 = match weights {
        Some(_) => context.loss.class_weights.iter().map(|&weight| f64::from(weight)).sum(),
        None => context.classes() as f64,
    };
    let graph = &mut *context.graph;
    let numerator = graph.shifted(numerator, precise(smooth))?;
    let denominator = graph.shifted(denominator, precise(smooth))?;
    let mut ratio = graph.over(numerator, denominator)?;
    if let Some(weights) = weights {
        ratio = graph.times(ratio, weights)?;
    }
    let total = graph.total(ratio)?;
    let mean = graph.scaled(total, 1.0 / sum)?;
    let one = graph.scalar(1.0)?;
    let loss = graph.minus(one, mean)?;
    context.differentiate(loss)
}
