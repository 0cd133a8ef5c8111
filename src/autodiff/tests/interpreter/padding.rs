//! Padding.

use super::{Call, Operator, axis_of};
use crate::autodiff::tests::array::{Array, Data};

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "Pad" => pad,
        _ => return None,
    })
}

/// Negative pads cut off first; then constant, mirrored, repeated or wrapped elements are put around.
fn pad(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let rank = x.rank();
    let pads = call.ints(1).unwrap();
    let axes: Vec<usize> = match call.ints(3) {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect(),
        None => (0..rank).collect(),
    };
    let (mut begins, mut ends) = (vec![0; rank], vec![0; rank]);
    for (index, &axis) in axes.iter().enumerate() {
        begins[axis] = pads[index];
        ends[axis] = pads[index + axes.len()];
    }
    let cut: Vec<usize> = (0..rank)
        .map(|axis| (x.shape[axis] as i64 + begins[axis].min(0) + ends[axis].min(0)) as usize)
        .collect();
    let mut own = vec![0; rank];
    let x = x.picked(&cut, |at| {
        for axis in 0..rank {
            own[axis] = at[axis] + (-begins[axis]).max(0) as usize;
        }
        Some(x.place(&own))
    });
    let shape: Vec<usize> =
        (0..rank).map(|axis| cut[axis] + (begins[axis].max(0) + ends[axis].max(0)) as usize).collect();
    let mode = call.node.text_or("mode", "constant");
    // The place after all elements holds the constant.
    let mut source = x.reshaped(&[x.len()]);
    match &mut source.data {
        Data::Floats(values) => values.push(call.get(2).map_or(0.0, |value| value.f()[0])),
        Data::Ints(values) => values.push(call.get(2).map_or(0, |value| value.i()[0])),
        Data::Bools(values) => values.push(call.get(2).is_some_and(|value| value.b()[0])),
    }
    source.shape[0] += 1;
    vec![source.picked(&shape, |at| {
        for axis in 0..rank {
            let (size, at) = (x.shape[axis] as i64, at[axis] as i64 - begins[axis].max(0));
            let inside = match mode {
                "edge" => at.clamp(0, size - 1),
                "wrap" => at.rem_euclid(size),
                "reflect" if size == 1 => 0,
                "reflect" => {
                    let phase = at.rem_euclid(2 * (size - 1));
                    phase.min(2 * (size - 1) - phase)
                }
                _ if (0..size).contains(&at) => at,
                _ => return Some(x.len()),
            };
            own[axis] = inside as usize;
        }
        Some(x.place(&own))
    })]
}
