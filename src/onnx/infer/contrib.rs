//! Operators of domain `com.microsoft`, which ONNX Runtime writes into the files that it optimises.

use crate::error::Result;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, broadcast, convolution, linear, normalisation, one};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "FusedConv" => convolution::conv,
        "FusedMatMul" => fused_matmul,
        "FusedGemm" => return linear::rule("Gemm"),
        "Gelu" | "QuickGelu" => same,
        "FastGelu" | "BiasGelu" => with_bias,
        "BiasSoftmax" => same,
        "LayerNormalization" => normalisation::layer,
        "SimplifiedLayerNormalization" => normalisation::simplified_layer,
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => skip_layer,
        _ => return None,
    })
}

fn same(call: &Call<'_>) -> Result<Vec<ValueType>> {
    Ok(vec![call.kind(0)?.clone()])
}

/// The bias is of the last axis.
fn with_bias(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    let last = kind.shape.last().copied().unwrap_or(1);
    call.expect(1, &[last])?;
    Ok(vec![kind.clone()])
}

/// The last two axes are swapped by `transA` and `transB`; `transBatchA` and `transBatchB` move the first axis to
/// before the last.
fn fused_matmul(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let side = |index: usize, swap: &str, batch: &str| -> Result<Vec<usize>> {
        let mut shape = call.shape(index)?.to_vec();
        let rank = shape.len();
        if rank > 2 && call.node.int_or(batch, 0) != 0 {
            shape[..rank - 1].rotate_left(1);
        }
        if rank > 1 && call.node.int_or(swap, 0) != 0 {
            shape.swap(rank - 1, rank - 2);
        }
        Ok(shape)
    };
    let (a, b) = (side(0, "transA", "transBatchA")?, side(1, "transB", "transBatchB")?);
    one(call.element(0)?, linear::product(call, &a, &b)?)
}

/// Gives the result, mean, inverse deviation, and the sum of input and skip.
fn skip_layer(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    if broadcast(&kind.shape, call.shape(1)?).as_ref() != Some(&kind.shape) {
        return Err(call.node.invalid(format!("a skip of {:?} for {:?}", call.shape(1)?, kind.shape)));
    }
    call.input(2)?;
    let mut statistics = kind.clone();
    match statistics.shape.last_mut() {
        Some(last) => *last = 1,
        None => return Err(call.node.invalid("a scalar has no channels")),
    }
    Ok(vec![kind.clone(), statistics.clone(), statistics, kind.clone()])
}
