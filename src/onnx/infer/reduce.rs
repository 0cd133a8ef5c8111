//! Reductions.

use crate::error::Result;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, one};
use crate::onnx::resolved::reduced_axes;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    let known = [
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    ];
    known.contains(&op_type).then_some(reduce)
}

fn reduce(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    let axes = reduced_axes(call.graph, call.node)?;
    let keep = call.node.int_or("keepdims", 1) != 0;
    let dims = kind
        .shape
        .iter()
        .enumerate()
        .filter_map(|(axis, &dim)| if !axes.contains(&axis) { Some(dim) } else { keep.then_some(1) });
    one(kind.element, dims.collect::<Vec<_>>())
}
