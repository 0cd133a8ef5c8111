//! What moves elements by indices that are data.

use super::layout::indices;
use super::{Call, Operator, axis_of};
use crate::autodiff::tests::array::{Array, Data};

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "Gather" => gather,
        "GatherElements" => |call| {
            let (x, at) = (call.x(0), call.x(1));
            let axis = axis_of(call.node.int_or("axis", 0), x.rank());
            vec![x.picked(&at.shape, |out| {
                let mut own = out.to_vec();
                own[axis] = axis_of(at.i()[at.place(out)], x.shape[axis]);
                Some(x.place(&own))
            })]
        },
        "GatherND" => gather_nd,
        "ScatterElements" | "Scatter" => scatter_elements,
        "ScatterND" => scatter_nd,
        "OneHot" => one_hot,
        "NonZero" => |call| {
            let x = super::elementwise::as_floats(call.x(0));
            let found: Vec<Vec<usize>> = indices(&x.shape).into_iter().filter(|at| x.at(at) != 0.0).collect();
            let shape = [x.rank(), found.len()];
            let values = (0..x.rank()).flat_map(|axis| found.iter().map(move |at| at[axis] as i64)).collect();
            vec![Array::ints(&shape, values)]
        },
        _ => return None,
    })
}

fn gather(call: &Call<'_>) -> Vec<Array> {
    let (x, at) = (call.x(0), call.x(1));
    let axis = axis_of(call.node.int_or("axis", 0), x.rank());
    let shape = [&x.shape[..axis], &at.shape[..], &x.shape[axis + 1..]].concat();
    vec![x.picked(&shape, |out| {
        let middle = &out[axis..axis + at.rank()];
        let index = axis_of(at.i()[at.place(middle)], x.shape[axis]);
        Some(x.place(&[&out[..axis], &[index], &out[axis + at.rank()..]].concat()))
    })]
}

/// The last axis of the indices names the first axes of x after the batch axes.
fn gather_nd(call: &Call<'_>) -> Vec<Array> {
    let (x, at) = (call.x(0), call.x(1));
    let batch = call.node.int_or("batch_dims", 0) as usize;
    let depth = *at.shape.last().unwrap();
    let lead = at.rank() - 1;
    let shape = [&at.shape[..lead], &x.shape[batch + depth..]].concat();
    vec![x.picked(&shape, |out| {
        let tuple = (0..depth).map(|step| {
            let index = at.i()[at.place(&[&out[..lead], &[step]].concat())];
            axis_of(index, x.shape[batch + step])
        });
        let tuple: Vec<usize> = tuple.collect();
        Some(x.place(&[&out[..batch], &tuple, &out[lead..]].concat()))
    })]
}

/// Puts `value` at a place, or combines it with what is there.
fn put(call: &Call<'_>, y: &mut Array, place: usize, updates: &Array, from: usize) {
    let reduction = call.node.text_or("reduction", "none");
    match (&mut y.data, &updates.data) {
        (Data::Floats(y), Data::Floats(updates)) => {
            let (old, new) = (y[place], updates[from]);
            y[place] = match reduction {
                "add" => old + new,
                "mul" => old * new,
                "max" => old.max(new),
                "min" => old.min(new),
                _ => new,
            };
        }
        (Data::Ints(y), Data::Ints(updates)) => {
            let (old, new) = (y[place], updates[from]);
            y[place] = match reduction {
                "add" => old + new,
                "mul" => old * new,
                "max" => old.max(new),
                "min" => old.min(new),
                _ => new,
            };
        }
        (Data::Bools(y), Data::Bools(updates)) => y[place] = updates[from],
        _ => panic!("updates of another type"),
    }
}

fn scatter_elements(call: &Call<'_>) -> Vec<Array> {
    let (at, updates) = (call.x(1), call.x(2));
    let mut y = call.x(0).clone();
    let axis = axis_of(call.node.int_or("axis", 0), y.rank());
    for (from, index) in indices(&at.shape).into_iter().enumerate() {
        let mut target = index.clone();
        target[axis] = axis_of(at.i()[from], y.shape[axis]);
        let place = y.place(&target);
        put(call, &mut y, place, updates, from);
    }
    vec![y]
}

fn scatter_nd(call: &Call<'_>) -> Vec<Array> {
    let (at, updates) = (call.x(1), call.x(2));
    let mut y = call.x(0).clone();
    let depth = *at.shape.last().unwrap();
    let inner: usize = y.shape[depth..].iter().product();
    for (tuple, index) in at.i().chunks(depth).enumerate() {
        let base =
            index.iter().zip(&y.shape).fold(0, |place, (&index, &dim)| place * dim + axis_of(index, dim));
        for step in 0..inner {
            put(call, &mut y, base * inner + step, updates, tuple * inner + step);
        }
    }
    vec![y]
}

/// Indices outside of [-depth, depth) give a line of "off".
fn one_hot(call: &Call<'_>) -> Vec<Array> {
    let at = super::elementwise::as_floats(call.x(0));
    let depth = super::elementwise::as_floats(call.x(1)).f()[0] as usize;
    let values = call.x(2);
    let axis = axis_of(call.node.int_or("axis", -1), at.rank() + 1);
    let mut shape = at.shape.clone();
    shape.insert(axis, depth);
    vec![values.picked(&shape, |out| {
        let mut own = out.to_vec();
        let class = own.remove(axis);
        let index = at.at(&own) as i64;
        let index = if index < 0 { index + depth as i64 } else { index };
        Some(usize::from(index == class as i64))
    })]
}
