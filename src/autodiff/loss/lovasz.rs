//! Lovász-softmax: the convex extension of the Jaccard loss over sorted errors (Berman et al., arXiv 1705.08790).

use crate::autodiff::emit::Emit;
use crate::autodiff::loss::{Context, Emitted};
use crate::error::{Error, Result};
use crate::onnx::graph::Node;
use crate::onnx::proto::AttributeProto;

/// For every class c the errors e = |t - p| of all pixels are sorted, largest first, and weighted with the increments of
/// the Jaccard loss 1 - (T - Σ t) / (T + Σ (1 - t)), sums up to the pixel, T = Σ t; the mean is over the classes that
/// are there. The increments depend on the order alone and have no gradient, so that of the errors is the increment at
/// their place, and the way back to the logits is that of |t - p| and the softmax.
///
/// A pixel that does not count has error 0 and label 0: it is sorted behind all others and adds nothing.
pub(super) fn lovasz(context: &mut Context<'_>) -> Result<Emitted> {
    let p = context.probabilities()?;
    let t = context.one_hot()?;
    let (classes, rank, shape, mask) =
        (context.classes(), context.shape.len(), context.shape.clone(), context.mask);
    let pixels: usize = shape.iter().product::<usize>() / classes;
    // [N, C, H, W] to [C, pixels] and back.
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(0, 1);
    let turned: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let graph = &mut *context.graph;
    let masked_p = graph.times(p, mask)?;
    let masked_t = graph.times(t, mask)?;
    let flat_p = graph.transpose(masked_p, &order)?;
    let flat_p = graph.reshape(flat_p, &[classes, pixels])?;
    let flat_t = graph.transpose(masked_t, &order)?;
    let flat_t = graph.reshape(flat_t, &[classes, pixels])?;
    let difference = graph.minus(flat_p, flat_t)?;
    let errors = graph.unary("Abs", difference)?;

    let k = graph.ints(&[pixels as i64])?;
    let mut node = Node::new("TopK");
    node.inputs = vec![Some(errors), Some(k)];
    node.attributes = vec![AttributeProto::int("axis", 1)];
    let made = graph.add(node, &[Some("errors_sorted"), Some("errors_order")])?;
    let &[Some(sorted), Some(places)] = &made[..] else {
        return Err(Error::internal("TopK without its outputs"));
    };
    let along = [AttributeProto::int("axis", 1)];
    let labels = graph.op("GatherElements", &[flat_t, places], &along)?;
    let axis = graph.ints(&[1])?;
    let axis = graph.reshape(axis, &[])?;
    let one = graph.scalar(1.0)?;
    let total = graph.sum(labels, &[1])?;
    let seen = graph.op("CumSum", &[labels, axis], &[])?;
    let left = graph.minus(total, seen)?;
    let background = graph.minus(one, labels)?;
    let wrong = graph.op("CumSum", &[background, axis], &[])?;
    let union = graph.plus(total, wrong)?;
    let kept = graph.over(left, union)?;
    let jaccard = graph.minus(one, kept)?;
    let increments = if pixels > 1 {
        let before = graph.pad(jaccard, &[0, 1], &[0, -1])?;
        graph.minus(jaccard, before)?
    } else {
        jaccard
    };

    // Mean over the classes that are there.
    let zero = graph.scalar(0.0)?;
    let there = graph.binary("Greater", total, zero)?;
    let there = graph.cast_like(there, total)?;
    let there = match context.class_weights()? {
        None => there,
        Some(weights) => {
            let weights = context.graph.reshape(weights, &[classes, 1])?;
            context.graph.times(there, weights)?
        }
    };
    let count = context.graph.total(there)?;
    let count = context.at_least_tiny(count)?;
    let graph = &mut *context.graph;
    let share = graph.over(there, count)?;
    let weighted = graph.times(increments, share)?;
    let products = graph.times(sorted, weighted)?;
    let loss = graph.total(products)?;

    let zeros = graph.zeros(&[classes, pixels], errors)?;
    let spread = graph.op("ScatterElements", &[zeros, places, weighted], &along)?;
    let sign = graph.unary("Sign", difference)?;
    let slope = graph.times(spread, sign)?;
    let slope = graph.reshape(slope, &turned)?;
    let slope = graph.transpose(slope, &order)?;
    let slope = graph.times(slope, mask)?;
    let gradient = if classes == 1 {
        // Sigmoid: p (1 - p).
        let rest = graph.minus(one, p)?;
        let derivative = graph.times(p, rest)?;
        graph.times(slope, derivative)?
    } else {
        let product = graph.times(slope, p)?;
        let mean = graph.sum(product, &[1])?;
        let centred = graph.minus(slope, mean)?;
        graph.times(p, centred)?
    };
    Ok(Emitted { loss, gradient })
}
