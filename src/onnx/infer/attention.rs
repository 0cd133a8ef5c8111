//! Attention.

use crate::error::Result;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule};
use crate::onnx::resolved;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Attention" => attention,
        "RotaryEmbedding" => rotary,
        _ => return None,
    })
}

/// `[batch, heads, length, size]` of an input, which may be `[batch, length, heads size]`.
fn heads(call: &Call<'_>, index: usize, count: &str) -> Result<[usize; 4]> {
    match *call.shape(index)? {
        [batch, heads, length, size] => Ok([batch, heads, length, size]),
        [batch, length, hidden] => {
            let heads = resolved::size(call.node, call.node.int_or(count, 0))?;
            if heads == 0 || hidden % heads != 0 {
                return Err(call.node.invalid(format!("{count}: {heads} heads of {hidden} channels")));
            }
            Ok([batch, heads, length, hidden / heads])
        }
        ref shape => {
            Err(call.node.invalid(format!("input {index}: expected 3 or 4 dimensions, got {shape:?}")))
        }
    }
}

/// Q, K, V, mask, and keys and values from before; gives the sum, keys and values from now on, and the scores.
fn attention(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let element = call.element(0)?;
    let flat = call.shape(0)?.len() == 3;
    let q = heads(call, 0, "q_num_heads")?;
    let k = heads(call, 1, "kv_num_heads")?;
    let v = heads(call, 2, "kv_num_heads")?;
    let fits = q[0] == k[0] && k[..3] == v[..3] && q[3] == k[3] && k[1] != 0 && q[1] % k[1] == 0;
    if !fits {
        return Err(call.node.invalid(format!("queries {q:?}, keys {k:?} and values {v:?} do not fit")));
    }
    let past = match call.node.input(4) {
        Some(_) => call.shape_of_rank(4, 4)?[2],
        None => 0,
    };
    let total = past.checked_add(k[2]).ok_or_else(|| call.node.invalid("too many keys"))?;
    let y = if flat { vec![q[0], q[2], call.product(q[1], v[3])?] } else { vec![q[0], q[1], q[2], v[3]] };
    Ok(vec![
        ValueType::new(element, y),
        ValueType::new(element, [k[0], k[1], total, k[3]]),
        ValueType::new(element, [v[0], v[1], total, v[3]]),
        ValueType::new(element, [q[0], q[1], q[2], total]),
    ])
}

fn rotary(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    call.input(1)?;
    call.input(2)?;
    match kind.shape.len() {
        3 | 4 => Ok(vec![kind.clone()]),
        rank => Err(call.node.invalid(format!("expected 3 or 4 dimensions, got {rank}"))),
    }
}
