//! Pools.

use super::convolution::Windows;
use super::{Call, Operator};
use crate::autodiff::tests::array::{Array, each};

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "MaxPool" => max_pool,
        "AveragePool" => average_pool,
        "LpPool" => lp_pool,
        "GlobalAveragePool" => |call| global(call, |x| x.iter().sum::<f64>() / x.len() as f64),
        "GlobalMaxPool" => |call| global(call, |x| x.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        "GlobalLpPool" => |call| {
            let p = call.node.int_or("p", 2) as f64;
            global(call, |x| x.iter().map(|x| x.abs().powf(p)).sum::<f64>().powf(1.0 / p))
        },
        _ => return None,
    })
}

fn windows(call: &Call<'_>) -> Windows {
    let kernel: Vec<usize> = call.node.ints("kernel_shape").unwrap().iter().map(|&x| x as usize).collect();
    Windows::of(call.node, &call.x(0).shape[2..], &kernel)
}

/// Applies `f` to the maps of all batches and channels.
fn maps(x: &Array, out: &[usize], mut f: impl FnMut(usize, &[f64]) -> Vec<f64>) -> Array {
    let size: usize = x.shape[2..].iter().product();
    let values = x.f().chunks(size).enumerate().flat_map(|(index, map)| f(index, map)).collect();
    Array::floats(&[&x.shape[..2], out].concat(), values)
}

fn global(call: &Call<'_>, f: impl Fn(&[f64]) -> f64) -> Vec<Array> {
    let x = call.x(0);
    vec![maps(x, &vec![1; x.rank() - 2], |_, map| vec![f(map)])]
}

/// The second output is the place of the maximum in the whole tensor; the first of equal ones.
fn max_pool(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let windows = windows(call);
    let spatial = &x.shape[2..];
    let size: usize = spatial.iter().product();
    // By place in row-major order, the index that is given out.
    let mut numbers = Vec::with_capacity(size);
    each(spatial, |at| {
        let column_major = at.iter().zip(spatial).rev().fold(0, |place, (&at, &dim)| place * dim + at);
        numbers.push(if call.node.int_or("storage_order", 0) == 1 { column_major } else { numbers.len() });
    });
    let places = windows.places(spatial);
    let mut indices = Vec::new();
    let y = maps(x, &windows.out, |index, map| {
        let mut values = Vec::new();
        for window in &places {
            let mut best: Option<usize> = None;
            for &at in window.iter().flatten() {
                if best.is_none_or(|best| map[at] > map[best]) {
                    best = Some(at);
                }
            }
            let best = best.expect("a window in the padding");
            values.push(map[best]);
            indices.push((index * size + numbers[best]) as i64);
        }
        values
    });
    let indices = Array::ints(&y.shape, indices);
    vec![y, indices]
}

/// Divided by the elements of the window that are inside, or, where padding counts, inside the padded map.
fn average_pool(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let windows = windows(call);
    let spatial = &x.shape[2..];
    let places = windows.places(spatial);
    let mut counts = Vec::new();
    each(&windows.out, |window| {
        let mut count = 0;
        each(&windows.kernel, |tap| {
            let at = windows.position(window, tap);
            let counts = match call.node.int_or("count_include_pad", 0) {
                0 => (0..at.len()).all(|axis| at[axis] >= 0 && at[axis] < spatial[axis] as i64),
                _ => (0..at.len()).all(|axis| at[axis] < spatial[axis] as i64 + windows.ends[axis]),
            };
            count += usize::from(counts);
        });
        counts.push(count as f64);
    });
    vec![maps(x, &windows.out, |_, map| {
        let sums = places.iter().map(|window| window.iter().flatten().map(|&at| map[at]).sum::<f64>());
        sums.zip(&counts).map(|(sum, count)| sum / count).collect()
    })]
}

fn lp_pool(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let windows = windows(call);
    let places = windows.places(&x.shape[2..]);
    let p = call.node.int_or("p", 2) as f64;
    vec![maps(x, &windows.out, |_, map| {
        let sums =
            places.iter().map(|window| window.iter().flatten().map(|&at| map[at].abs().powf(p)).sum::<f64>());
        sums.map(|sum| sum.powf(1.0 / p)).collect()
    })]
}
