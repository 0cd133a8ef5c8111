//! InnerEye's variants, which differ from the usual definitions in what they divide by.

use crate::autodiff::emit::Emit;
use crate::autodiff::loss::{Context, Emitted};
use crate::error::{Error, Result};
use crate::onnx::graph::{Constant, ValueId};
use crate::onnx::proto::AttributeProto;

const EPSILON: f64 = 1e-10;

/// Class weights from the batch, `[1, C, 1, 1]`: n_c^-power scaled to mean 1, n_c the number of pixels of the class, at
/// least 1; `None` for power 0.
fn weights(context: &mut Context<'_>, one_hot: ValueId, power: f32) -> Result<Option<ValueId>> {
    if power == 0.0 {
        return context.class_weights();
    }
    let (mask, pixels, classes) = (context.mask, context.pixels(), context.classes());
    let graph = &mut *context.graph;
    let counted = graph.times(one_hot, mask)?;
    let count = graph.sum(counted, &pixels)?;
    let one = graph.scalar(1.0)?;
    let count = graph.binary("Max", count, one)?;
    let exponent = graph.scalar(-power)?;
    let raw = graph.binary("Pow", count, exponent)?;
    let total = graph.total(raw)?;
    let raw = graph.scaled(raw, classes as f64)?;
    graph.over(raw, total).map(Some)
}

/// Per image and class I = Σ_v (p t + ε), S = Σ_v (p² + ε) + Σ_v (t² + ε); 1 - 2 mean over images and classes of
/// w_c I / S.
pub(super) fn soft_dice(context: &mut Context<'_>, power: f32) -> Result<Emitted> {
    let p = context.probabilities()?;
    let t = context.one_hot()?;
    let weights = weights(context, t, power)?;
    let (mask, shape) = (context.mask, context.shape.clone());
    let spatial: Vec<usize> = (2..shape.len()).collect();
    let graph = &mut *context.graph;
    let p = graph.times(p, mask)?;
    let t = graph.times(t, mask)?;
    let both = graph.times(p, t)?;
    let square = graph.times(p, p)?;
    let voxels = graph.sum(mask, &spatial)?;
    let epsilon = graph.scaled(voxels, EPSILON)?;
    let both = graph.sum(both, &spatial)?;
    let both = graph.plus(both, epsilon)?;
    let square = graph.sum(square, &spatial)?;
    let labelled = graph.sum(t, &spatial)?;
    let all = graph.plus(square, labelled)?;
    let double = graph.scaled(epsilon, 2.0)?;
    let all = graph.plus(all, double)?;
    // An image without a pixel that counts has 0 / 0 here.
    let tiny = graph.scalar(1e-30)?;
    let all = graph.binary("Max", all, tiny)?;
    let mut ratio = graph.over(both, all)?;
    if let Some(weights) = weights {
        ratio = graph.times(ratio, weights)?;
    }
    let total = graph.total(ratio)?;
    let scaled = graph.scaled(total, 2.0 / (shape[0] * shape[1]) as f64)?;
    let one = graph.scalar(1.0)?;
    let loss = graph.minus(one, scaled)?;
    context.differentiate(loss)
}

/// The plain mean over all pixels of -w_y log p_y. With smoothing ε the target is t (1 - ε) + (1 - t) ε / (C - 1) and the
/// loss of a pixel -Σ_c w_c t_c log p_c; without weights its mean over the classes too (divided by C).
pub(super) fn cross_entropy(context: &mut Context<'_>, power: f32) -> Result<Emitted> {
    let one_hot = context.one_hot()?;
    let weights = weights(context, one_hot, power)?;
    let smoothing = f64::from(context.loss.label_smoothing);
    let classes = context.classes();
    if classes == 1 {
        return Err(Error::invalid("loss innereye-ce needs two channels or more, the model gives 1"));
    }
    let count = context.count()?;
    let mask = context.mask;
    let graph = &mut *context.graph;
    let mut target = one_hot;
    let mut divisor = 1.0;
    if smoothing > 0.0 {
        let other = smoothing / (classes - 1) as f64;
        target = graph.scaled(one_hot, 1.0 - smoothing - other)?;
        target = graph.shifted(target, other)?;
        if weights.is_none() {
            divisor = classes as f64;
        }
    }
    if let Some(weights) = weights {
        target = graph.times(target, weights)?;
    }
    let target = graph.times(target, mask)?;
    let log = graph.op("LogSoftmax", &[context.logits], &[AttributeProto::int("axis", 1)])?;
    let product = graph.times(target, log)?;
    let total = graph.total(product)?;
    let negative = graph.scaled(total, -1.0 / divisor)?;
    let loss = graph.over(negative, count)?;
    context.differentiate(loss)
}

/// The pixel losses of [`cross_entropy`] times q = (1 - p_y + 1e-6)^γ · n / (Σ q + 1e-6), q without gradient.
pub(super) fn focal(context: &mut Context<'_>, gamma: f32, power: f32) -> Result<Emitted> {
    let one_hot = context.one_hot()?;
    let weights = weights(context, one_hot, power)?;
    if context.classes() == 1 {
        return Err(Error::invalid("loss innereye-focal needs two channels or more, the model gives 1"));
    }
    let count = context.count()?;
    let p = context.probabilities()?;
    let mask = context.mask;
    let graph = &mut *context.graph;
    let own = graph.times(p, one_hot)?;
    let own = graph.sum(own, &[1])?;
    let one = graph.add_constant("one_and_a_bit", Constant::from_f32([], &[1.0 + 1e-6])?);
    let rest = graph.minus(one, own)?;
    let zero = graph.scalar(0.0)?;
    let rest = graph.binary("Max", rest, zero)?;
    let exponent = graph.scalar(gamma)?;
    let raw = graph.binary("Pow", rest, exponent)?;
    let raw = graph.times(raw, mask)?;
    let sum = graph.total(raw)?;
    let sum = graph.shifted(sum, 1e-6)?;
    let raw = graph.times(raw, count)?;
    let q = graph.over(raw, sum)?;
    let mut target = graph.times(one_hot, q)?;
    if let Some(weights) = weights {
        target = graph.times(target, weights)?;
    }
    // With the target held fixed the gradient is p Σ_c T - T, as for any cross-entropy.
    let log = graph.op("LogSoftmax", &[context.logits], &[AttributeProto::int("axis", 1)])?;
    let product = graph.times(target, log)?;
    let total = graph.total(product)?;
    let negative = graph.unary("Neg", total)?;
    let loss = graph.over(negative, count)?;
    let mass = graph.sum(target, &[1])?;
    let pulled = graph.times(p, mass)?;
    let difference = graph.minus(pulled, target)?;
    let gradient = graph.over(difference, count)?;
    Ok(Emitted { loss, gradient })
}
