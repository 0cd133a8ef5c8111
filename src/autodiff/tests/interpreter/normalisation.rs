//! Normalisations.

use super::{Call, Operator, axis_of};
use crate::autodiff::tests::array::Array;

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "BatchNormalization" => batch,
        "LayerNormalization" => layer,
        "RMSNormalization" | "SimplifiedLayerNormalization" => rms,
        "InstanceNormalization" => instance,
        "GroupNormalization" => group,
        "LpNormalization" => lp,
        "MeanVarianceNormalization" => mean_variance,
        "LRN" => local_response,
        "Dropout" => |call| {
            let x = call.x(0);
            vec![x.clone(), Array::bools(&x.shape, vec![true; x.len()])]
        },
        _ => return None,
    })
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Of the population.
fn variance(x: &[f64]) -> f64 {
    let mean = mean(x);
    x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / x.len() as f64
}

/// The channel of every element.
fn channels(x: &Array) -> Vec<usize> {
    let inner: usize = x.shape[2..].iter().product();
    (0..x.len()).map(|at| at / inner % x.shape[1]).collect()
}

/// With given statistics, or in training mode with those of the batch, which then move the running ones.
fn batch(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let (scale, bias, epsilon) = (call.x(1).f(), call.x(2).f(), call.number("epsilon", 1e-5));
    let (running_mean, running_var) = (call.x(3), call.x(4));
    let channel = channels(x);
    let training = call.node.int_or("training_mode", 0) == 1;
    let (means, vars): (Vec<f64>, Vec<f64>) = (0..x.shape[1])
        .map(|c| {
            let own: Vec<f64> =
                x.f().iter().zip(&channel).filter(|(_, own)| **own == c).map(|(x, _)| *x).collect();
            match training {
                true => (mean(&own), variance(&own)),
                false => (running_mean.f()[c], running_var.f()[c]),
            }
        })
        .unzip();
    let y = x
        .f()
        .iter()
        .zip(&channel)
        .map(|(x, &c)| (x - means[c]) / (vars[c] + epsilon).sqrt() * scale[c] + bias[c]);
    let y = Array::floats(&x.shape, y.collect());
    let momentum = call.number("momentum", 0.9);
    let moved = |old: &Array, new: &[f64]| {
        let values = old.f().iter().zip(new).map(|(old, new)| old * momentum + new * (1.0 - momentum));
        Array::floats(&old.shape, values.collect())
    };
    vec![y, moved(running_mean, &means), moved(running_var, &vars)]
}

/// Mean 0 and variance 1 over the last axes, from `axis` on; also gives mean and 1 / standard deviation.
fn layer(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let axis = axis_of(call.node.int_or("axis", -1), x.rank());
    let inner: usize = x.shape[axis..].iter().product();
    let epsilon = call.number("epsilon", 1e-5);
    let (mut y, mut means, mut inverses) = (Vec::new(), Vec::new(), Vec::new());
    for block in x.f().chunks(inner) {
        let (mean, inverse) = (mean(block), 1.0 / (variance(block) + epsilon).sqrt());
        y.extend(block.iter().map(|x| (x - mean) * inverse));
        means.push(mean);
        inverses.push(inverse);
    }
    let y = Array::floats(&x.shape, y).zip(call.x(1), |y, scale| y * scale);
    let y = call.get(2).map_or(y.clone(), |bias| y.zip(bias, |y, bias| y + bias));
    let stats: Vec<usize> =
        x.shape.iter().enumerate().map(|(at, &dim)| if at < axis { dim } else { 1 }).collect();
    vec![y, Array::floats(&stats, means), Array::floats(&stats, inverses)]
}

fn rms(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let axis = axis_of(call.node.int_or("axis", -1), x.rank());
    let inner: usize = x.shape[axis..].iter().product();
    let epsilon = call.number("epsilon", 1e-5);
    let y = x.f().chunks(inner).flat_map(|block| {
        let square = mean(&block.iter().map(|x| x * x).collect::<Vec<_>>());
        block.iter().map(move |x| x / (square + epsilon).sqrt())
    });
    vec![Array::floats(&x.shape, y.collect()).zip(call.x(1), |y, scale| y * scale)]
}

/// Blocks of elements normalised, then scaled and moved by channel.
fn blocks(call: &Call<'_>, size: usize, scale: &[f64], bias: &[f64]) -> Vec<Array> {
    let x = call.x(0);
    let epsilon = call.number("epsilon", 1e-5);
    let normal = x.f().chunks(size).flat_map(|block| {
        let (mean, variance) = (mean(block), variance(block));
        block.iter().map(move |x| (x - mean) / (variance + epsilon).sqrt())
    });
    let y = normal.zip(channels(x)).map(|(x, c)| x * scale[c] + bias[c]);
    vec![Array::floats(&x.shape, y.collect())]
}

fn instance(call: &Call<'_>) -> Vec<Array> {
    let size = call.x(0).shape[2..].iter().product();
    blocks(call, size, call.x(1).f(), call.x(2).f())
}

/// From set 21 on scale and bias are by channel, before by group.
fn group(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let groups = call.node.int("num_groups").unwrap() as usize;
    let size = x.len() / x.shape[0] / groups;
    let spread = |values: &[f64]| -> Vec<f64> {
        match call.opset {
            21.. => values.to_vec(),
            _ => (0..x.shape[1]).map(|c| values[c / (x.shape[1] / groups)]).collect(),
        }
    };
    blocks(call, size, &spread(call.x(1).f()), &spread(call.x(2).f()))
}

fn lp(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let axis = axis_of(call.node.int_or("axis", -1), x.rank());
    let p = call.node.int_or("p", 2) as i32;
    let inner: usize = x.shape[axis + 1..].iter().product();
    let size = x.shape[axis];
    let norm = |at: usize| -> f64 {
        let base = at / (inner * size) * inner * size + at % inner;
        (0..size).map(|step| x.f()[base + step * inner].abs().powi(p)).sum::<f64>().powf(1.0 / f64::from(p))
    };
    vec![Array::floats(&x.shape, (0..x.len()).map(|at| x.f()[at] / norm(at)).collect())]
}

fn mean_variance(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let axes: Vec<usize> = match call.node.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, x.rank())).collect(),
        None => vec![0, 2, 3],
    };
    // Elements with the same index along the other axes form a block.
    let mut blocks: std::collections::BTreeMap<Vec<usize>, Vec<usize>> = std::collections::BTreeMap::new();
    let mut count = 0;
    crate::autodiff::tests::array::each(&x.shape, |at| {
        let key = at.iter().enumerate().map(|(axis, &at)| if axes.contains(&axis) { 0 } else { at });
        blocks.entry(key.collect()).or_default().push(count);
        count += 1;
    });
    let mut y = vec![0.0; x.len()];
    for block in blocks.values() {
        let own: Vec<f64> = block.iter().map(|&at| x.f()[at]).collect();
        let (mean, deviation) = (mean(&own), variance(&own).sqrt());
        for &at in block {
            y[at] = (x.f()[at] - mean) / (deviation + 1e-9);
        }
    }
    vec![Array::floats(&x.shape, y)]
}

fn local_response(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    let size = call.node.int("size").unwrap();
    let (alpha, beta, bias) =
        (call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("bias", 1.0));
    let channels = x.shape[1] as i64;
    vec![Array::of_floats(&x.shape, |at| {
        let c = at[1] as i64;
        let from = (c - (size - 1) / 2).max(0);
        let to = (c + size / 2).min(channels - 1);
        let mut other = at.to_vec();
        let mut sum = 0.0;
        for c in from..=to {
            other[1] = c as usize;
            sum += x.at(&other).powi(2);
        }
        x.at(at) / (bias + alpha / size as f64 * sum).powf(beta)
    })]
}
