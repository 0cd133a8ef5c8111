//! The gradient of a convolution's weight, for Conv and ConvTranspose.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::Vjp;
use crate::error::Result;
use crate::onnx::graph::{Node, ValueId};
use crate::onnx::proto::AttributeProto;
use crate::onnx::resolved::Windows;

/// Below this many output pixels the gradient of a dense convolution is one convolution in which the output's gradient is
/// the kernel; above, a product of matrices for every element of the kernel (measured on ONNX Runtime's CPU provider).
const SWAP_BELOW: usize = 257;

/// dW `[M, C/G, k]` of the convolution that takes `x` `[N, C, H, W]` to the shape of `g` `[N, M, OH, OW]`:
/// dW[m, c, t] = Σ_{n, o} g[n, m, o] x[n, c, o s + t d - p].
pub(super) fn emit(
    vjp: &mut Vjp<'_>,
    x: ValueId,
    g: ValueId,
    windows: &Windows,
    group: usize,
    shape: &[usize],
) -> Result<ValueId> {
    let rank = windows.kernel.len();
    if vjp.kernels.conv_weight_grad && rank == 2 {
        return by_kernel(vjp, x, g, windows, group);
    }
    let pixels: usize = windows.outputs.iter().product();
    let taps: usize = windows.kernel.iter().product();
    if taps > 1 && pixels < SWAP_BELOW && shape[1] > 1 && rank <= 2 {
        return swapped(vjp, x, g, windows, group, shape);
    }
    per_tap(vjp, x, g, windows, group, shape)
}

/// One operator of our own: im2col of a few rows at a time and a product of matrices.
fn by_kernel(vjp: &mut Vjp<'_>, x: ValueId, g: ValueId, windows: &Windows, group: usize) -> Result<ValueId> {
    let list = |values: &[usize]| values.iter().map(|&value| value as i64).collect::<Vec<_>>();
    let mut node = Node::new("ConvWeightGrad");
    node.domain = "glebe".to_owned();
    node.inputs = vec![Some(x), Some(g)];
    node.attributes = vec![
        AttributeProto::ints("kernel_shape", &list(&windows.kernel)),
        AttributeProto::ints("strides", &list(&windows.strides)),
        AttributeProto::ints("dilations", &list(&windows.dilations)),
        AttributeProto::ints("pads", &windows.pads()),
        AttributeProto::int("group", group as i64),
    ];
    vjp.graph.add_one(node)
}

/// For every element t of the kernel: the part of the padded input that it meets, `[N, G, C/G, P]`, times g,
/// `[N, G, M/G, P]`: Σ_n g tapᵀ. With one channel a group (depthwise) the product is a sum over N and P of their
/// element-wise product.
fn per_tap(
    vjp: &mut Vjp<'_>,
    x: ValueId,
    g: ValueId,
    windows: &Windows,
    group: usize,
    shape: &[usize],
) -> Result<ValueId> {
    let (x_shape, g_shape) = (vjp.shape(x), vjp.shape(g));
    let (n, channels, filters) = (x_shape[0], shape[1], g_shape[1] / group);
    let pixels: usize = windows.outputs.iter().product();
    let padded = padded(vjp, x, windows)?;
    let g_flat = vjp.reshape(g, &[n, group, filters, pixels])?;
    let taps: usize = windows.kernel.iter().product();
    let mut parts = Vec::with_capacity(taps);
    for tap in 0..taps {
        let seen = met(vjp, padded, windows, tap)?;
        let seen = vjp.reshape(seen, &[n, group, channels, pixels])?;
        let part = if channels == 1 {
            let product = vjp.times(g_flat, seen)?;
            vjp.reduce("ReduceSum", product, &[0, 3], false)?
        } else {
            let turned = vjp.transpose_last(seen)?;
            let product = vjp.matmul(g_flat, turned)?;
            if n == 1 { product } else { vjp.reduce("ReduceSum", product, &[0], false)? }
        };
        parts.push(vjp.reshape(part, &[shape[0], shape[1], 1])?);
    }
    let stacked = vjp.concat(&parts, 2)?;
    vjp.reshape(stacked, shape)
}

/// The input with its padding, and with as much at the end as the windows need (in case of an input that no window
/// reaches the end of, what is too much stays).
fn padded(vjp: &mut Vjp<'_>, x: ValueId, windows: &Windows) -> Result<ValueId> {
    let rank = windows.kernel.len();
    let (mut begins, mut ends) = (vec![0i64; rank + 2], vec![0i64; rank + 2]);
    for axis in 0..rank {
        begins[axis + 2] = windows.begin[axis] as i64;
        ends[axis + 2] = windows.end[axis] as i64;
    }
    vjp.pad(x, &begins, &ends)
}

/// What element `tap` of the kernel meets: one element a window.
fn met(vjp: &mut Vjp<'_>, padded: ValueId, windows: &Windows, tap: usize) -> Result<ValueId> {
    let rank = windows.kernel.len();
    let mut rest = tap;
    let mut place = vec![0; rank];
    for axis in (0..rank).rev() {
        place[axis] = rest % windows.kernel[axis];
        rest /= windows.kernel[axis];
    }
    let whole =
        vjp.shape(padded)[2..] == windows.outputs[..] && windows.strides.iter().all(|&step| step == 1);
    if whole && place.iter().all(|&at| at == 0) {
        return Ok(padded);
    }
    let axes: Vec<usize> = (2..2 + rank).collect();
    let starts: Vec<i64> = (0..rank).map(|axis| (place[axis] * windows.dilations[axis]) as i64).collect();
    let ends: Vec<i64> = (0..rank)
        .map(|axis| starts[axis] + ((windows.outputs[axis] - 1) * windows.strides[axis] + 1) as i64)
        .collect();
    let steps: Vec<i64> = windows.strides.iter().map(|&step| step as i64).collect();
    vjp.slice(padded, &axes, &starts, &ends, &steps)
}

/// A convolution with batch and channels exchanged: X as `[C/G, G N, H, W]`, g as the kernel `[M, N, OH, OW]` with
/// strides and dilations exchanged, G groups. It has at least k outputs along each axis, the first k of which are dW as
/// `[C/G, M, k]`.
fn swapped(
    vjp: &mut Vjp<'_>,
    x: ValueId,
    g: ValueId,
    windows: &Windows,
    group: usize,
    shape: &[usize],
) -> Result<ValueId> {
    let rank = windows.kernel.len();
    let (x_shape, g_shape) = (vjp.shape(x), vjp.shape(g));
    let (n, channels) = (x_shape[0], shape[1]);
    // [N, G, C/G, H, W] to [C/G, G, N, H, W].
    let mut split = vec![n, group, channels];
    split.extend(&x_shape[2..]);
    let mut order: Vec<usize> = (0..split.len()).collect();
    order[0] = 2;
    order[1] = 1;
    order[2] = 0;
    let image = vjp.reshape(x, &split)?;
    let image = vjp.transpose(image, &order)?;
    let mut joined = vec![channels, group * n];
    joined.extend(&x_shape[2..]);
    let image = vjp.reshape(image, &joined)?;
    let mut order: Vec<usize> = (0..g_shape.len()).collect();
    order.swap(0, 1);
    let kernel = vjp.transpose(g, &order)?;
    let list = |values: &[usize]| values.iter().map(|&value| value as i64).collect::<Vec<_>>();
    let mut node = Node::new("Conv");
    node.inputs = vec![Some(image), Some(kernel)];
    node.attributes = vec![
        AttributeProto::ints("kernel_shape", &list(&windows.outputs)),
        AttributeProto::ints("strides", &list(&windows.dilations)),
        AttributeProto::ints("dilations", &list(&windows.strides)),
        AttributeProto::ints("pads", &windows.pads()),
        AttributeProto::int("group", group as i64),
    ];
    let mut made = vjp.graph.add_one(node)?;
    if vjp.shape(made)[2..] != windows.kernel[..] {
        let axes: Vec<usize> = (2..2 + rank).collect();
        made = vjp.slice(made, &axes, &vec![0; rank], &list(&windows.kernel), &vec![1; rank])?;
    }
    let mut order: Vec<usize> = (0..rank + 2).collect();
    order.swap(0, 1);
    vjp.transpose(made, &order)
}
