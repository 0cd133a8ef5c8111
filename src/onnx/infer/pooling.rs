//! Pools.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, one};
use crate::onnx::resolved::{self, Pooling, Windows};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "MaxPool" => max_pool,
        "AveragePool" | "LpPool" => pool,
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => global,
        "MaxUnpool" => max_unpool,
        "MaxRoiPool" => roi_pool,
        "RoiAlign" => roi_align,
        _ => return None,
    })
}

fn pool(call: &Call<'_>) -> Result<Vec<ValueType>> {
    one(call.element(0)?, Pooling::of(call.graph, call.node)?.output())
}

/// With the indices of the elements in the flat input.
fn max_pool(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let shape = Pooling::of(call.graph, call.node)?.output();
    Ok(vec![ValueType::new(call.element(0)?, shape.clone()), ValueType::new(ElementType::Int64, shape)])
}

fn global(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    if kind.shape.len() < 2 {
        return Err(call.node.invalid(format!("no channels in shape {:?}", kind.shape)));
    }
    let mut shape = kind.shape.clone();
    shape[2..].fill(1);
    one(kind.element, shape)
}

fn max_unpool(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let x = call.shape(0)?;
    call.input(1)?;
    call.expect(1, x)?;
    if x.len() < 3 {
        return Err(call.node.invalid(format!("no spatial axes in shape {x:?}")));
    }
    if call.node.input(2).is_some() {
        return one(call.element(0)?, call.sizes(2)?);
    }
    let kernel = call.node.ints("kernel_shape").unwrap_or_default();
    let kernel = kernel.iter().map(|&dim| resolved::size(call.node, dim)).collect::<Result<Vec<_>>>()?;
    // What a pool with these windows makes as many outputs of.
    let windows = Windows::over(call.node, &x[2..], &kernel)?;
    one(call.element(0)?, [&x[..2], &windows.inputs[..]].concat())
}

fn roi_pool(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (x, regions) = (call.shape_of_rank(0, 4)?, call.shape_of_rank(1, 2)?);
    match call.node.ints("pooled_shape") {
        Some(&[height, width]) => {
            let (height, width) = (resolved::size(call.node, height)?, resolved::size(call.node, width)?);
            one(call.element(0)?, [regions[0], x[1], height, width])
        }
        _ => Err(call.node.invalid("expected two sizes in pooled_shape")),
    }
}

fn roi_align(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let (x, regions) = (call.shape_of_rank(0, 4)?, call.shape_of_rank(1, 2)?);
    let height = resolved::size(call.node, call.node.int_or("output_height", 1))?;
    let width = resolved::size(call.node, call.node.int_or("output_width", 1))?;
    one(call.element(0)?, [regions[0], x[1], height, width])
}
