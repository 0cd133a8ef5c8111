//! Operators of domain `glebe`.

use super::convolution::Windows;
use super::reduction::log_sum_exp;
use super::{Call, Operator};
use crate::autodiff::tests::array::Array;

pub(super) fn operator(domain: &str, op_type: &str) -> Option<Operator> {
    Some(match (domain, op_type) {
        ("glebe", "SoftmaxCrossEntropy") => cross_entropy,
        ("glebe", "GateGrad") => gate_grad,
        ("glebe", "ConvForward") => conv_forward,
        ("glebe", "ConvInputGrad") => conv_input_grad,
        ("glebe", "ConvWeightGrad") => conv_weight_grad,
        _ => return None,
    })
}

/// Logits [N, C, …], labels [N, …], class weights [C], mask [N, …]; gives
/// Σ mask ((1 - s) w[y] (-log p[y]) + s / C Σ w[c] (-log p[c])), Σ mask w[y], and the gradient of the former.
fn cross_entropy(call: &Call<'_>) -> Vec<Array> {
    let (logits, labels) = (call.x(0), call.x(1));
    let (weights, mask) = (call.x(2).f(), call.x(3).f());
    let smoothing = call.number("label_smoothing", 0.0);
    let classes = logits.shape[1];
    let inner: usize = logits.shape[2..].iter().product();
    let (mut loss, mut weight) = (0.0, 0.0);
    let mut gradient = vec![0.0; logits.len()];
    for (pixel, &counts) in mask.iter().enumerate() {
        let (n, at) = (pixel / inner, pixel % inner);
        let place = |c: usize| (n * classes + c) * inner + at;
        let own: Vec<f64> = (0..classes).map(|c| logits.f()[place(c)]).collect();
        let total = log_sum_exp(&own);
        if counts == 0.0 {
            continue;
        }
        let label = labels.i()[pixel] as usize;
        weight += counts * weights[label];
        // The loss is Σ share[c] (-log p[c]); its gradient is p Σ share - share.
        let share: Vec<f64> = (0..classes)
            .map(|c| {
                let spread = smoothing / classes as f64 * weights[c];
                counts * (spread + if c == label { (1.0 - smoothing) * weights[c] } else { 0.0 })
            })
            .collect();
        let all: f64 = share.iter().sum();
        for c in 0..classes {
            loss -= share[c] * (own[c] - total);
            gradient[place(c)] = (own[c] - total).exp() * all - share[c];
        }
    }
    vec![
        Array::floats(&[], vec![loss]),
        Array::floats(&[], vec![weight]),
        Array::floats(&logits.shape, gradient),
    ]
}

/// dY where Y lies between the attributes `low` and `high`, else 0; and its sums over all axes but the second.
fn gate_grad(call: &Call<'_>) -> Vec<Array> {
    let (dy, y) = (call.x(0), call.x(1));
    let (low, high) = (call.number("low", f32::NEG_INFINITY), call.number("high", f32::INFINITY));
    let channels = dy.shape[1];
    let size: usize = dy.shape[2..].iter().product();
    let mut sums = vec![0.0; channels];
    let mut dx = vec![0.0; dy.len()];
    for (at, (g, y)) in dy.f().iter().zip(y.f()).enumerate() {
        if low < *y && *y < high {
            dx[at] = *g;
            sums[at / size % channels] += g;
        }
    }
    vec![Array::floats(&dy.shape, dx), Array::floats(&[channels], sums)]
}

/// Conv, cut to the attributes `low` and `high`.
fn conv_forward(call: &Call<'_>) -> Vec<Array> {
    let (low, high) = (call.number("low", f32::NEG_INFINITY), call.number("high", f32::INFINITY));
    super::convolution::conv(call).into_iter().map(|y| y.map(|y| y.clamp(low, high))).collect()
}

/// dY [N, M, …] and W [M, C/G, k] with the attributes of Conv and `input_shape`;
/// dX[n, c, i] = Σ dY[n, m, o] w[m, c, k] over all o, k with i = o s + k d - p.
fn conv_input_grad(call: &Call<'_>) -> Vec<Array> {
    let (dy, w) = (call.x(0), call.x(1));
    let input: Vec<usize> =
        call.node.ints("input_shape").unwrap().iter().map(|&size| size as usize).collect();
    let groups = call.node.int_or("group", 1) as usize;
    let windows = Windows::of(call.node, &input, &w.shape[2..]);
    assert_eq!(windows.out, dy.shape[2..]);
    let places = windows.places(&input);
    let (maps, each_group) = (w.shape[0], w.shape[1]);
    let channels = each_group * groups;
    let (size, taps) = (input.iter().product::<usize>(), w.shape[2..].iter().product::<usize>());
    let mut dx = vec![0.0; dy.shape[0] * channels * size];
    for n in 0..dy.shape[0] {
        for m in 0..maps {
            for c in 0..each_group {
                let map = (n * channels + m / (maps / groups) * each_group + c) * size;
                for (window, taps_at) in places.iter().enumerate() {
                    let g = dy.f()[(n * maps + m) * places.len() + window];
                    for (tap, at) in taps_at.iter().enumerate() {
                        if let Some(at) = at {
                            dx[map + at] += g * w.f()[(m * each_group + c) * taps + tap];
                        }
                    }
                }
            }
        }
    }
    vec![Array::floats(&[&[dy.shape[0], channels], &input[..]].concat(), dx)]
}

/// X [N, C, …] and dY [N, M, …] with the attributes of Conv; dW[m, c, k] = Σ dY[n, m, o] x[n, c, o s + k d - p].
fn conv_weight_grad(call: &Call<'_>) -> Vec<Array> {
    let (x, dy) = (call.x(0), call.x(1));
    let kernel: Vec<usize> = call.node.ints("kernel_shape").unwrap().iter().map(|&k| k as usize).collect();
    let groups = call.node.int_or("group", 1) as usize;
    let windows = Windows::of(call.node, &x.shape[2..], &kernel);
    assert_eq!(windows.out, dy.shape[2..]);
    let places = windows.places(&x.shape[2..]);
    let (channels, maps) = (x.shape[1], dy.shape[1]);
    let each_group = channels / groups;
    let (size, taps) = (x.shape[2..].iter().product::<usize>(), kernel.iter().product::<usize>());
    let mut dw = vec![0.0; maps * each_group * taps];
    for n in 0..x.shape[0] {
        for m in 0..maps {
            for c in 0..each_group {
                let map = (n * channels + m / (maps / groups) * each_group + c) * size;
                for (window, taps_at) in places.iter().enumerate() {
                    let g = dy.f()[(n * maps + m) * places.len() + window];
                    for (tap, at) in taps_at.iter().enumerate() {
                        if let Some(at) = at {
                            dw[(m * each_group + c) * taps + tap] += g * x.f()[map + at];
                        }
                    }
                }
            }
        }
    }
    vec![Array::floats(&[&[maps, each_group], &kernel[..]].concat(), dw)]
}
