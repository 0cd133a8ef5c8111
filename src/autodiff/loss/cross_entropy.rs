//! Cross-entropies: softmax, sigmoid, focal.

use crate::autodiff::emit::Emit;
use crate::autodiff::loss::{Context, Emitted};
use crate::error::{Error, Result};
use crate::onnx::graph::Constant;
use crate::onnx::proto::AttributeProto;

/// Fused by hand: with the target T = mask ((1 - s) w onehot + s/C w), the loss is -Σ T log p / D and the gradient
/// (p Σ_c T - T) / D, D = Σ mask w_y. No exponential is taken of a positive number and no logarithm of a small one.
pub(super) fn cross_entropy(context: &mut Context<'_>) -> Result<Emitted> {
    if context.classes() == 1 {
        return Err(Error::invalid(
            "loss ce needs two channels or more, the model gives 1: use bce, focal, dice or jaccard",
        ));
    }
    if context.kernels.cross_entropy {
        return by_kernel(context);
    }
    let smoothing = f64::from(context.loss.label_smoothing);
    let classes = context.classes() as f64;
    let one_hot = context.one_hot()?;
    let weights = context.class_weights()?;
    let mask = context.mask;
    let graph = &mut *context.graph;
    let weighted = match weights {
        Some(weights) => graph.times(one_hot, weights)?,
        None => one_hot,
    };
    let hard = graph.times(weighted, mask)?;
    let hard = if weights.is_some() { hard } else { graph.times(one_hot, mask)? };
    let mut target = graph.scaled(hard, 1.0 - smoothing)?;
    if smoothing > 0.0 {
        let spread = match weights {
            Some(weights) => graph.times(weights, mask)?,
            None => mask,
        };
        let spread = graph.scaled(spread, smoothing / classes)?;
        target = graph.plus(target, spread)?;
    }
    let sum = graph.total(hard)?;
    let denominator = context.at_least_tiny(sum)?;
    let graph = &mut *context.graph;
    let log = graph.op("LogSoftmax", &[context.logits], &[AttributeProto::int("axis", 1)])?;
    let product = graph.times(target, log)?;
    let total = graph.total(product)?;
    let negative = graph.unary("Neg", total)?;
    let loss = graph.over(negative, denominator)?;
    let probabilities = graph.unary("Exp", log)?;
    let mass = graph.sum(target, &[1])?;
    let pulled = graph.times(probabilities, mass)?;
    let difference = graph.minus(pulled, target)?;
    let gradient = graph.over(difference, denominator)?;
    Ok(Emitted { loss, gradient })
}

/// The same by one operator of our own, in one pass over the logits.
fn by_kernel(context: &mut Context<'_>) -> Result<Emitted> {
    let classes = context.classes();
    let weights = match context.loss.class_weights.len() {
        0 => vec![1.0; classes],
        _ => context.loss.class_weights.clone(),
    };
    let weights = context.graph.add_constant("class_weights", Constant::from_f32([classes], &weights)?);
    let inputs = [context.logits, context.targets.labels, weights, context.targets.mask];
    let smoothing = AttributeProto::float("label_smoothing", context.loss.label_smoothing);
    let node = context.kernel("SoftmaxCrossEntropy", &inputs, &[smoothing]);
    let made = context.graph.add(node, &[Some("loss_sum"), Some("weight_sum"), Some("logits_gradient")])?;
    let &[Some(sum), Some(weight), Some(gradient)] = &made[..] else {
        return Err(Error::internal("SoftmaxCrossEntropy without its outputs"));
    };
    let denominator = context.at_least_tiny(weight)?;
    let loss = context.graph.over(sum, denominator)?;
    let gradient = context.graph.over(gradient, denominator)?;
    Ok(Emitted { loss, gradient })
}

/// softplus(x) - x t, with the gradient sigmoid(x) - t.
pub(super) fn binary(context: &mut Context<'_>) -> Result<Emitted> {
    let smoothing = f64::from(context.loss.label_smoothing);
    let one_hot = context.one_hot()?;
    let weights = match context.classes() {
        1 => context.pixel_weights(one_hot)?,
        _ => context.class_weights()?,
    };
    let count = context.count()?;
    let (classes, mask, logits) = (context.classes() as f64, context.mask, context.logits);
    let graph = &mut *context.graph;
    let target = graph.scaled(one_hot, 1.0 - smoothing)?;
    let target = graph.shifted(target, smoothing / 2.0)?;
    let factor = match weights {
        Some(weights) => graph.times(weights, mask)?,
        None => mask,
    };
    let elements = graph.scaled(count, classes)?;
    let all = graph.unary("Softplus", logits)?;
    let own = graph.times(logits, target)?;
    let each = graph.minus(all, own)?;
    let each = graph.times(each, factor)?;
    let total = graph.total(each)?;
    let loss = graph.over(total, elements)?;
    let probability = graph.unary("Sigmoid", logits)?;
    let difference = graph.minus(probability, target)?;
    let difference = graph.times(difference, factor)?;
    let gradient = graph.over(difference, elements)?;
    Ok(Emitted { loss, gradient })
}

/// Mean of w_y (1 - p_y)^γ (-log p_y), p_y = exp(log p_y).
pub(super) fn focal(context: &mut Context<'_>, gamma: f32) -> Result<Emitted> {
    let one_hot = context.one_hot()?;
    let nll = context.negative_log_likelihood(one_hot)?;
    let weights = context.pixel_weights(one_hot)?;
    let count = context.count()?;
    let mask = context.mask;
    let graph = &mut *context.graph;
    let log = graph.unary("Neg", nll)?;
    let probability = graph.unary("Exp", log)?;
    let one = graph.scalar(1.0)?;
    let rest = graph.minus(one, probability)?;
    // Rounding can give a probability above 1, and a power of a negative number is none; the small number keeps the
    // derivative of powers below 1 finite.
    let tiny = graph.scalar(1e-7)?;
    let rest = graph.binary("Max", rest, tiny)?;
    let exponent = graph.scalar(gamma)?;
    let modulation = graph.binary("Pow", rest, exponent)?;
    let mut each = graph.times(modulation, nll)?;
    if let Some(weights) = weights {
        each = graph.times(each, weights)?;
    }
    let each = graph.times(each, mask)?;
    let total = graph.total(each)?;
    let loss = graph.over(total, count)?;
    context.differentiate(loss)
}
