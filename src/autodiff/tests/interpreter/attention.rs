//! Attention and the rotary embedding.

use super::matrix::matmul;
use super::{Call, Operator};
use crate::autodiff::tests::array::{Array, Data};

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "Attention" => attention,
        "RotaryEmbedding" => rotary,
        _ => return None,
    })
}

/// [batch, length, heads size] as [batch, heads, length, size].
fn heads(x: &Array, count: i64) -> Array {
    match x.shape[..] {
        [batch, length, hidden] => {
            let count = count as usize;
            x.reshaped(&[batch, length, count, hidden / count]).transposed(&[0, 2, 1, 3])
        }
        _ => x.clone(),
    }
}

/// Query by query: softmax over the keys of cap(scale q k) + mask, times the values.
fn attention(call: &Call<'_>) -> Vec<Array> {
    let node = call.node;
    let q = heads(call.x(0), node.int_or("q_num_heads", 0));
    let k = heads(call.x(1), node.int_or("kv_num_heads", 0));
    let v = heads(call.x(2), node.int_or("kv_num_heads", 0));
    let [batch, count, queries, size] = q.shape[..] else { panic!("{:?}", q.shape) };
    let (shared, keys, width) = (k.shape[1], k.shape[2], v.shape[3]);
    let scale = match node.attribute("scale") {
        Some(_) => call.number("scale", 0.0),
        None => 1.0 / (size as f64).sqrt(),
    };
    let cap = call.number("softcap", 0.0);
    let mask = call.get(3).map(|mask| mask.broadcast(&[batch, count, queries, keys]));
    let mut y = Array::floats(&[batch, count, queries, width], vec![0.0; batch * count * queries * width]);
    for b in 0..batch {
        for h in 0..count {
            let group = h / (count / shared);
            for i in 0..queries {
                let mut scores = vec![f64::NEG_INFINITY; keys];
                for (j, own) in scores.iter_mut().enumerate() {
                    if node.int_or("is_causal", 0) == 1 && j > i {
                        continue;
                    }
                    let product: f64 = (0..size).map(|d| q.at(&[b, h, i, d]) * k.at(&[b, group, j, d])).sum();
                    let mut score = scale * product;
                    if cap > 0.0 {
                        score = cap * (score / cap).tanh();
                    }
                    let place = [b, h, i, j];
                    match mask.as_ref().map(|mask| &mask.data) {
                        Some(Data::Bools(allowed)) if !allowed[mask.as_ref().unwrap().place(&place)] => {
                            continue;
                        }
                        Some(Data::Floats(_)) => score += mask.as_ref().unwrap().at(&place),
                        _ => {}
                    }
                    *own = score;
                }
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if most == f64::NEG_INFINITY {
                    continue;
                }
                let total: f64 = scores.iter().map(|score| (score - most).exp()).sum();
                for e in 0..width {
                    let sum: f64 =
                        (0..keys).map(|j| (scores[j] - most).exp() / total * v.at(&[b, group, j, e])).sum();
                    let place = y.place(&[b, h, i, e]);
                    y.f_mut()[place] = sum;
                }
            }
        }
    }
    if call.x(0).rank() == 3 {
        y = y.transposed(&[0, 2, 1, 3]).reshaped(&[batch, queries, count * width]);
    }
    vec![y]
}

/// Each pair of channels is turned by the angle of its place: a product with a small rotation matrix.
fn rotary(call: &Call<'_>) -> Vec<Array> {
    let x = heads(call.x(0), call.node.int_or("num_heads", 0));
    let [_, _, _, size] = x.shape[..] else { panic!("{:?}", x.shape) };
    let turned = match call.node.int_or("rotary_embedding_dim", 0) {
        0 => size,
        turned => turned as usize,
    };
    let interleaved = call.node.int_or("interleaved", 0) == 1;
    let angle = |cache: &Array, b: usize, s: usize, pair: usize| match call.get(3) {
        Some(places) => cache.at(&[places.i()[places.place(&[b, s])] as usize, pair]),
        None => cache.at(&[if cache.shape[0] == 1 { 0 } else { b }, s, pair]),
    };
    let y = Array::of_floats(&x.shape, |at| {
        let (b, h, s, d) = (at[0], at[1], at[2], at[3]);
        if d >= turned {
            return x.at(at);
        }
        let (pair, second) = if interleaved { (d / 2, d % 2) } else { (d % (turned / 2), d / (turned / 2)) };
        let other = |second: usize| if interleaved { 2 * pair + second } else { pair + second * turned / 2 };
        let vector = Array::floats(&[2], vec![x.at(&[b, h, s, other(0)]), x.at(&[b, h, s, other(1)])]);
        let (cos, sin) = (angle(call.x(1), b, s, pair), angle(call.x(2), b, s, pair));
        matmul(&Array::floats(&[2, 2], vec![cos, -sin, sin, cos]), &vector).f()[second]
    });
    vec![match call.x(0).shape[..] {
        [_, length, hidden] => y.transposed(&[0, 2, 1, 3]).reshaped(&[x.shape[0], length, hidden]),
        _ => y,
    }]
}
