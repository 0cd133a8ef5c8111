//! Reductions, and what works along one axis.

use super::elementwise::as_floats;
use super::{Call, Operator, axis_of};
use crate::autodiff::tests::array::{Array, each};

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "ReduceSum" => |call| reduce(call, |x| x.iter().sum()),
        "ReduceMean" => |call| reduce(call, |x| x.iter().sum::<f64>() / x.len() as f64),
        "ReduceMax" => |call| reduce(call, |x| x.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        "ReduceMin" => |call| reduce(call, |x| x.iter().copied().fold(f64::INFINITY, f64::min)),
        "ReduceProd" => |call| reduce(call, |x| x.iter().product()),
        "ReduceL1" => |call| reduce(call, |x| x.iter().map(|x| x.abs()).sum()),
        "ReduceL2" => |call| reduce(call, |x| x.iter().map(|x| x * x).sum::<f64>().sqrt()),
        "ReduceSumSquare" => |call| reduce(call, |x| x.iter().map(|x| x * x).sum()),
        "ReduceLogSum" => |call| reduce(call, |x| x.iter().sum::<f64>().ln()),
        "ReduceLogSumExp" => |call| reduce(call, log_sum_exp),
        "Softmax" => |call| {
            along(call, -1, |x| {
                let total = log_sum_exp(x);
                x.iter().map(|x| (x - total).exp()).collect()
            })
        },
        "LogSoftmax" => |call| {
            along(call, -1, |x| {
                let total = log_sum_exp(x);
                x.iter().map(|x| x - total).collect()
            })
        },
        "Hardmax" => |call| {
            along(call, -1, |x| {
                let best = extreme(x, |a, b| a > b);
                (0..x.len()).map(|at| f64::from(u8::from(at == best))).collect()
            })
        },
        "ArgMax" => |call| arg(call, |a, b| a > b),
        "ArgMin" => |call| arg(call, |a, b| a < b),
        "CumSum" => cum_sum,
        "TopK" => top_k,
        _ => return None,
    })
}

pub(super) fn log_sum_exp(x: &[f64]) -> f64 {
    let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + x.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
}

/// Position of the first element that no other beats.
fn extreme(x: &[f64], beats: impl Fn(f64, f64) -> bool) -> usize {
    (1..x.len()).fold(0, |best, at| if beats(x[at], x[best]) { at } else { best })
}

/// The slices of `x` that differ along `axes` only, in the order of the result, and the result's shape with ones.
fn slices(x: &Array, axes: &[usize]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let outer: Vec<usize> =
        (0..x.rank()).map(|axis| if axes.contains(&axis) { 1 } else { x.shape[axis] }).collect();
    let inner: Vec<usize> =
        (0..x.rank()).map(|axis| if axes.contains(&axis) { x.shape[axis] } else { 1 }).collect();
    let mut all = Vec::new();
    each(&outer, |base| {
        let mut slice = Vec::new();
        each(&inner, |at| {
            let sum: Vec<usize> = base.iter().zip(at).map(|(base, at)| base + at).collect();
            slice.push(x.place(&sum));
        });
        all.push(slice);
    });
    (outer, all)
}

/// Integers are reduced as numbers and given back as integers.
fn reduce(call: &Call<'_>, f: impl Fn(&[f64]) -> f64) -> Vec<Array> {
    let x = call.x(0);
    let axes = call.ints(1).or_else(|| call.node.ints("axes").map(<[i64]>::to_vec)).unwrap_or_default();
    if axes.is_empty() && call.node.int_or("noop_with_empty_axes", 0) == 1 {
        return vec![x.clone()];
    }
    let axes: Vec<usize> = match axes.is_empty() {
        true => (0..x.rank()).collect(),
        false => axes.iter().map(|&axis| axis_of(axis, x.rank())).collect(),
    };
    let numbers = as_floats(x);
    let (kept, slices) = slices(x, &axes);
    let values: Vec<f64> =
        slices.iter().map(|slice| f(&slice.iter().map(|&at| numbers.f()[at]).collect::<Vec<_>>())).collect();
    let shape = match call.node.int_or("keepdims", 1) {
        0 => (0..x.rank()).filter(|axis| !axes.contains(axis)).map(|axis| x.shape[axis]).collect(),
        _ => kept,
    };
    vec![match x.is_float() {
        true => Array::floats(&shape, values),
        false => Array::ints(&shape, values.iter().map(|&x| x as i64).collect()),
    }]
}

/// Every line along an axis changed as a whole.
fn along(call: &Call<'_>, default: i64, f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<Array> {
    let x = call.x(0);
    let axis = axis_of(call.node.int_or("axis", default), x.rank());
    let mut y = x.f().to_vec();
    for slice in slices(x, &[axis]).1 {
        let made = f(&slice.iter().map(|&at| x.f()[at]).collect::<Vec<_>>());
        for (at, value) in slice.iter().zip(made) {
            y[*at] = value;
        }
    }
    vec![Array::floats(&x.shape, y)]
}

fn arg(call: &Call<'_>, beats: impl Fn(f64, f64) -> bool) -> Vec<Array> {
    let x = as_floats(call.x(0));
    let axis = axis_of(call.node.int_or("axis", 0), x.rank());
    let last = call.node.int_or("select_last_index", 0) == 1;
    let (mut shape, slices) = slices(&x, &[axis]);
    if call.node.int_or("keepdims", 1) == 0 {
        shape.remove(axis);
    }
    let best = slices.iter().map(|slice| {
        let mut values: Vec<f64> = slice.iter().map(|&at| x.f()[at]).collect();
        if last {
            values.reverse();
            return (values.len() - 1 - extreme(&values, &beats)) as i64;
        }
        extreme(&values, &beats) as i64
    });
    vec![Array::ints(&shape, best.collect())]
}

fn cum_sum(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let axis = axis_of(call.x(1).i()[0], x.rank());
    let (exclusive, reverse) = (call.node.int_or("exclusive", 0), call.node.int_or("reverse", 0));
    let numbers = as_floats(x);
    let mut y = numbers.f().to_vec();
    for mut slice in slices(x, &[axis]).1 {
        if reverse == 1 {
            slice.reverse();
        }
        let mut sum = 0.0;
        for at in slice {
            let before = sum;
            sum += numbers.f()[at];
            y[at] = if exclusive == 1 { before } else { sum };
        }
    }
    vec![match x.is_float() {
        true => Array::floats(&x.shape, y),
        false => Array::ints(&x.shape, y.iter().map(|&x| x as i64).collect()),
    }]
}

/// The k largest (or smallest) along an axis with their positions; equal ones in the order of their positions.
fn top_k(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let axis = axis_of(call.node.int_or("axis", -1), x.rank());
    let k = call.x(1).i()[0] as usize;
    let largest = call.node.int_or("largest", 1) == 1;
    let mut shape = x.shape.clone();
    shape[axis] = k;
    let mut values = Array::floats(&shape, vec![0.0; shape.iter().product()]);
    let mut indices = vec![0; values.len()];
    let (_, targets) = slices(&values, &[axis]);
    for (slice, target) in slices(x, &[axis]).1.iter().zip(targets) {
        let mut order: Vec<usize> = (0..slice.len()).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (x.f()[slice[a]], x.f()[slice[b]]);
            if largest { b.total_cmp(&a) } else { a.total_cmp(&b) }
        });
        for (&from, to) in order.iter().zip(target) {
            values.f_mut()[to] = x.f()[slice[from]];
            indices[to] = from as i64;
        }
    }
    vec![values, Array::ints(&shape, indices)]
}
