//! Recurrent networks.

use crate::error::Result;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule};
use crate::onnx::resolved;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "RNN" => |call| recurrent(call, 1, false),
        "GRU" => |call| recurrent(call, 3, false),
        "LSTM" => |call| recurrent(call, 4, true),
        _ => return None,
    })
}

/// X `[length, batch, size]`, W `[directions, gates hidden, size]` to Y `[length, directions, batch, hidden]` and the
/// last state; batch first with layout 1.
fn recurrent(call: &Call<'_>, gates: usize, has_cell: bool) -> Result<Vec<ValueType>> {
    let (x, w) = (call.shape_of_rank(0, 3)?, call.shape_of_rank(1, 3)?);
    let (directions, element) = (w[0], call.element(0)?);
    let hidden = match call.node.int("hidden_size") {
        Some(hidden) => resolved::size(call.node, hidden)?,
        None => w[1] / gates,
    };
    if Some(w[1]) != hidden.checked_mul(gates) || w[2] != x[2] {
        return Err(call.node.invalid(format!("weight {w:?} does not fit input {x:?}")));
    }
    let (y, state) = if call.node.int_or("layout", 0) == 0 {
        (vec![x[0], directions, x[1], hidden], vec![directions, x[1], hidden])
    } else {
        (vec![x[0], x[1], directions, hidden], vec![x[0], directions, hidden])
    };
    let mut types = vec![ValueType::new(element, y), ValueType::new(element, state)];
    if has_cell {
        types.push(types[1].clone());
    }
    Ok(types)
}
