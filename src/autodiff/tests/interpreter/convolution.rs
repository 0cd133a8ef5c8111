//! Convolutions of any number of spatial axes, and the geometry of sliding windows that pooling shares.

use super::{Call, Operator};
use crate::autodiff::tests::array::{Array, each, place};
use crate::onnx::graph::Node;

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "Conv" => conv,
        "ConvTranspose" => conv_transpose,
        _ => return None,
    })
}

/// Where the windows of a convolution or pooling lie.
pub(super) struct Windows {
    pub(super) kernel: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    pub(super) begins: Vec<i64>,
    pub(super) ends: Vec<i64>,
    /// Spatial size of the result.
    pub(super) out: Vec<usize>,
}

impl Windows {
    /// By the attributes of Conv and of the pools.
    pub(super) fn of(node: &Node, input: &[usize], kernel: &[usize]) -> Windows {
        let count = input.len();
        let list = |name: &str, default: i64, count: usize| {
            node.ints(name).map_or_else(|| vec![default; count], <[i64]>::to_vec)
        };
        let strides: Vec<usize> = list("strides", 1, count).iter().map(|&x| x as usize).collect();
        let dilations: Vec<usize> = list("dilations", 1, count).iter().map(|&x| x as usize).collect();
        let pads = list("pads", 0, 2 * count);
        let mode = node.text_or("auto_pad", "NOTSET");
        let (mut begins, mut ends, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for axis in 0..count {
            let (size, stride) = (input[axis] as i64, strides[axis] as i64);
            let extent = (dilations[axis] * (kernel[axis] - 1) + 1) as i64;
            match mode {
                "SAME_UPPER" | "SAME_LOWER" => {
                    let windows = (size + stride - 1) / stride;
                    let total = ((windows - 1) * stride + extent - size).max(0);
                    let (less, more) = (total / 2, total - total / 2);
                    let (begin, end) = if mode == "SAME_UPPER" { (less, more) } else { (more, less) };
                    begins.push(begin);
                    ends.push(end);
                    out.push(windows as usize);
                }
                _ => {
                    let (begin, end) =
                        if mode == "VALID" { (0, 0) } else { (pads[axis], pads[axis + count]) };
                    let room = size + begin + end - extent;
                    let mut windows = room.div_euclid(stride) + 1;
                    if node.int_or("ceil_mode", 0) != 0 && room.rem_euclid(stride) != 0 {
                        // A further window, unless it would begin in the padding at the end.
                        windows += i64::from(windows * stride < size + begin);
                    }
                    begins.push(begin);
                    ends.push(end);
                    out.push(windows as usize);
                }
            }
        }
        Windows { kernel: kernel.to_vec(), strides, dilations, begins, ends, out }
    }

    /// Where tap `tap` of window `window` lies along every axis; may be outside.
    pub(super) fn position(&self, window: &[usize], tap: &[usize]) -> Vec<i64> {
        (0..window.len())
            .map(|axis| {
                (window[axis] * self.strides[axis] + tap[axis] * self.dilations[axis]) as i64
                    - self.begins[axis]
            })
            .collect()
    }

    /// For every window and every tap the place in a map of `input`, where it lies inside.
    pub(super) fn places(&self, input: &[usize]) -> Vec<Vec<Option<usize>>> {
        let mut all = Vec::new();
        each(&self.out, |window| {
            let mut taps = Vec::new();
            each(&self.kernel, |tap| taps.push(inside(input, &self.position(window, tap))));
            all.push(taps);
        });
        all
    }
}

/// The place of an index that may be outside.
fn inside(shape: &[usize], at: &[i64]) -> Option<usize> {
    let at: Option<Vec<usize>> =
        at.iter().zip(shape).map(|(&at, &dim)| usize::try_from(at).ok().filter(|&at| at < dim)).collect();
    at.map(|at| place(shape, &at))
}

/// y[n, m, o] = b[m] + Σ x[n, c, o s + k d - p] w[m, c, k], with c over the channels of m's group.
pub(super) fn conv(call: &Call<'_>) -> Vec<Array> {
    let (x, w) = (call.x(0), call.x(1));
    let groups = call.node.int_or("group", 1) as usize;
    let (batch, channels, maps) = (x.shape[0], x.shape[1], w.shape[0]);
    let windows = Windows::of(call.node, &x.shape[2..], &w.shape[2..]);
    let places = windows.places(&x.shape[2..]);
    let (size, taps) = (x.shape[2..].iter().product::<usize>(), w.shape[2..].iter().product::<usize>());
    let each_group = channels / groups;
    assert_eq!(w.shape[1], each_group);
    let (from, weight) = (x.f(), w.f());
    let mut y = Vec::new();
    for n in 0..batch {
        for m in 0..maps {
            let group = m / (maps / groups);
            for window in &places {
                let mut sum = call.get(2).map_or(0.0, |b| b.f()[m]);
                for c in 0..each_group {
                    let map = (n * channels + group * each_group + c) * size;
                    for (tap, at) in window.iter().enumerate() {
                        if let Some(at) = at {
                            sum += from[map + at] * weight[(m * each_group + c) * taps + tap];
                        }
                    }
                }
                y.push(sum);
            }
        }
    }
    vec![Array::floats(&[&[batch, maps], &windows.out[..]].concat(), y)]
}

/// Every element of x spreads over a window of y: y[n, m, i s + k d - p] += x[n, c, i] w[c, m, k].
fn conv_transpose(call: &Call<'_>) -> Vec<Array> {
    let (x, w) = (call.x(0), call.x(1));
    let (node, count) = (call.node, x.rank() - 2);
    let groups = node.int_or("group", 1) as usize;
    let strides: Vec<usize> = call.list("strides", count, 1).iter().map(|&x| x as usize).collect();
    let dilations: Vec<usize> = call.list("dilations", count, 1).iter().map(|&x| x as usize).collect();
    let extra = call.list("output_padding", count, 0);
    let pads = call.list("pads", 2 * count, 0);
    let mode = node.text_or("auto_pad", "NOTSET");
    let (mut begins, mut ends, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for axis in 0..count {
        let (size, stride) = (x.shape[axis + 2] as i64, strides[axis] as i64);
        let full = stride * (size - 1) + extra[axis] + (dilations[axis] * (w.shape[axis + 2] - 1) + 1) as i64;
        let wanted = match node.ints("output_shape") {
            Some(shape) => Some(shape[shape.len() - count + axis]),
            None if mode.starts_with("SAME") => Some(size * stride),
            None => None,
        };
        let (begin, end) = match wanted {
            Some(wanted) => {
                let total = full - wanted;
                let half = total.div_euclid(2);
                if mode == "SAME_UPPER" { (half, total - half) } else { (total - half, half) }
            }
            None if mode == "VALID" => (0, 0),
            None => (pads[axis], pads[axis + count]),
        };
        begins.push(begin);
        ends.push(end);
        out.push((full - begin - end) as usize);
    }
    let windows = Windows {
        kernel: w.shape[2..].to_vec(),
        strides,
        dilations,
        begins,
        ends,
        out: x.shape[2..].to_vec(),
    };
    let places = windows.places(&out);
    let (batch, channels) = (x.shape[0], x.shape[1]);
    let (in_group, out_group) = (channels / groups, w.shape[1]);
    let maps = out_group * groups;
    let (size, taps) = (out.iter().product::<usize>(), w.shape[2..].iter().product::<usize>());
    let mut y = vec![0.0; batch * maps * size];
    for n in 0..batch {
        for c in 0..channels {
            for m in 0..out_group {
                let map = (n * maps + (c / in_group) * out_group + m) * size;
                for (from, window) in places.iter().enumerate() {
                    let value = x.f()[(n * channels + c) * places.len() + from];
                    for (tap, at) in window.iter().enumerate() {
                        if let Some(at) = at {
                            y[map + at] += value * w.f()[(c * out_group + m) * taps + tap];
                        }
                    }
                }
            }
        }
    }
    if let Some(b) = call.get(2) {
        for (at, y) in y.iter_mut().enumerate() {
            *y += b.f()[at / size % maps];
        }
    }
    vec![Array::floats(&[&[batch, maps], &out[..]].concat(), y)]
}
