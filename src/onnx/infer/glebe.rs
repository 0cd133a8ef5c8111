//! Operators of domain `glebe`: this library's own, on the CPU provider.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, one};
use crate::onnx::resolved;
use crate::onnx::resolved::{Convolution, Windows};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "ConvForward" => conv_forward,
        "ConvInputGrad" => conv_input_grad,
        "ConvWeightGrad" => conv_weight_grad,
        "GateGrad" => gate_grad,
        "SoftmaxCrossEntropy" => softmax_cross_entropy,
        _ => return None,
    })
}

/// As Conv.
fn conv_forward(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let conv = Convolution::of(call.graph, call.node)?;
    one(call.element(0)?, conv.output())
}

/// dY `[N, M, D'...]` and W `[M, C / group, K...]` to dX `[N, C, input_shape...]`.
fn conv_input_grad(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (dy, w) = (call.shape(0)?, call.shape(1)?);
    let input = call.node.ints("input_shape").unwrap_or_default();
    if dy.len() < 3 || w.len() != dy.len() || w[0] != dy[1] || input.len() != dy.len() - 2 {
        return Err(call.node.invalid(format!("gradient {dy:?} and input {input:?} do not fit {w:?}")));
    }
    let group = resolved::size(call.node, call.node.int_or("group", 1))?;
    let channels = w[1].checked_mul(group).ok_or_else(|| call.node.invalid("too many channels"))?;
    let mut shape = vec![dy[0], channels];
    for &dim in input {
        shape.push(resolved::size(call.node, dim)?);
    }
    let windows = Windows::sliding(call.node, &shape[2..], &w[2..])?;
    if windows.outputs != dy[2..] {
        return Err(call.node.invalid(format!("an input of {input:?} does not give {dy:?}")));
    }
    one(call.element(0)?, shape)
}

/// X `[N, C, D...]` and dY `[N, M, D'...]` to dW `[M, C / group, kernel_shape...]`.
fn conv_weight_grad(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (x, dy) = (call.shape(0)?, call.shape(1)?);
    let kernel = call.node.ints("kernel_shape").unwrap_or_default();
    if x.len() < 3 || dy.len() != x.len() || x[0] != dy[0] || kernel.len() != x.len() - 2 {
        return Err(call.node.invalid(format!("gradient {dy:?} and kernel {kernel:?} do not fit {x:?}")));
    }
    let group = resolved::size(call.node, call.node.int_or("group", 1))?;
    if group == 0 || x[1] % group != 0 || dy[1] % group != 0 {
        return Err(call.node.invalid(format!("{group} groups of {} and {} channels", x[1], dy[1])));
    }
    let mut shape = vec![dy[1], x[1] / group];
    for &dim in kernel {
        shape.push(resolved::size(call.node, dim)?);
    }
    one(call.element(0)?, shape)
}

/// dY and Y `[N, C, D...]` to dX of the same shape, and sums `[C]`.
fn gate_grad(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let dy = call.kind(0)?;
    if dy.shape != call.shape(1)? || dy.shape.len() < 2 {
        return Err(call.node.invalid(format!("gradient {:?} for {:?}", dy.shape, call.shape(1)?)));
    }
    Ok(vec![dy.clone(), ValueType::new(dy.element, [dy.shape[1]])])
}

/// Logits `[N, C, D...]`, labels, weights and mask to the sum of the losses, the sum of the weights, and the gradient
/// of the first in the logits.
fn softmax_cross_entropy(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let logits = call.kind(0)?;
    let scalar = ValueType::new(ElementType::Float32, []);
    if logits.shape.len() < 2 {
        return Err(call.node.invalid(format!("no classes in shape {:?}", logits.shape)));
    }
    Ok(vec![scalar.clone(), scalar, logits.clone()])
}
