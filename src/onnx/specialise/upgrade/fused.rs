//! Operators of the runtime's own domain that its optimizer makes out of several standard ones, taken apart again.
//!
//! Semantics: `docs/ContribOperators.md` of ONNX Runtime.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node, ValueId};
use crate::onnx::proto::AttributeProto;
use crate::onnx::specialise::Call;
use crate::onnx::specialise::upgrade::pieces::scalar_like;
use crate::onnx::specialise::upgrade::{Made, Rule, activation, op};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "FusedConv" => conv,
        "FusedGemm" => gemm,
        "FusedMatMul" | "TransposeMatMul" => matmul,
        "Gelu" | "BiasGelu" => gelu,
        "FastGelu" => fast_gelu,
        "QuickGelu" => quick_gelu,
        _ => return None,
    })
}

/// Conv, to which the fourth input is added, and an activation.
fn conv(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let name = node.text_or("activation", "").to_owned();
    let parameters = node.attribute("activation_params").map(|attribute| attribute.floats.clone());
    node.unset("activation");
    node.unset("activation_params");
    let added = node.input(3);
    node.inputs.truncate(3);
    plain(&mut node, "Conv");
    if name.is_empty() && added.is_none() {
        return call.put_first(graph, node);
    }
    let mut made = graph.add_one(node)?;
    if let Some(added) = added {
        if name.is_empty() {
            return call.end(graph, "Add", &[made, added], &[]);
        }
        made = op(graph, "Add", &[made, added])?;
    }
    activation::named(graph, call, made, &name, &parameters.unwrap_or_default())
}

/// Gemm and an activation.
fn gemm(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let name = node.text_or("activation", "").to_owned();
    let parameters: Vec<f32> = ["activation_alpha", "activation_beta", "activation_gamma"]
        .iter()
        .filter_map(|name| node.attribute(name)?.f)
        .collect();
    node.attributes.retain(|attribute| !attribute.name.starts_with("activation"));
    plain(&mut node, "Gemm");
    if name.is_empty() {
        return call.put_first(graph, node);
    }
    let made = graph.add_one(node)?;
    activation::named(graph, call, made, &name, &parameters)
}

fn plain(node: &mut Node, op_type: &str) {
    node.op_type = op_type.to_owned();
    node.domain = String::new();
    while node.inputs.last() == Some(&None) {
        node.inputs.pop();
    }
}

/// α A' B', where `trans` swaps the last two axes of an operand and `transBatch` makes its first axis the last but one.
fn matmul(graph: &mut Graph, call: &Call<'_>) -> Made {
    let node = call.node();
    let a = turned(graph, node.needed(0)?, &node, "A")?;
    let b = turned(graph, node.needed(1)?, &node, "B")?;
    let alpha = node.float_or("alpha", 1.0);
    if alpha == 1.0 {
        return call.end(graph, "MatMul", &[a, b], &[]);
    }
    let product = op(graph, "MatMul", &[a, b])?;
    let alpha = scalar_like(graph, product, f64::from(alpha))?;
    call.end(graph, "Mul", &[product, alpha], &[])
}

/// Batch axes first, then the matrix: without both attributes `[..., m, k]` stays; `trans` swaps the last two;
/// `transBatch` takes `[m, ..., k]` for `[..., m, k]`.
fn turned(graph: &mut Graph, operand: ValueId, node: &Node, which: &str) -> Result<ValueId> {
    let rank = graph.shape(operand).len() as i64;
    if rank < 2 {
        return Ok(operand);
    }
    let mut order: Vec<i64> = (0..rank).collect();
    if node.int_or(&format!("transBatch{which}"), 0) != 0 {
        let first = order.remove(0);
        order.insert(order.len() - 1, first);
    }
    if node.int_or(&format!("trans{which}"), 0) != 0 {
        order.swap(rank as usize - 1, rank as usize - 2);
    }
    if order.iter().enumerate().all(|(index, &axis)| index as i64 == axis) {
        return Ok(operand);
    }
    graph.op("Transpose", &[operand], &[AttributeProto::ints("perm", &order)])
}

/// The first input, with the second added where it is there.
fn biased(graph: &mut Graph, call: &Call<'_>) -> Result<ValueId> {
    let x = call.needed(0)?;
    match call.input(1) {
        Some(bias) => op(graph, "Add", &[x, bias]),
        None => Ok(x),
    }
}

fn gelu(graph: &mut Graph, call: &Call<'_>) -> Made {
    let x = biased(graph, call)?;
    activation::gelu(graph, call, x)
}

fn fast_gelu(graph: &mut Graph, call: &Call<'_>) -> Made {
    let x = biased(graph, call)?;
    activation::fast_gelu(graph, call, x)
}

fn quick_gelu(graph: &mut Graph, call: &Call<'_>) -> Made {
    let x = call.needed(0)?;
    activation::quick_gelu(graph, call, x, call.node().float_or("alpha", 1.702))
}
