//! Convolutions and transposed convolutions.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp, weight_gradient};
use crate::error::Result;
use crate::onnx::graph::{Node, ValueId};
use crate::onnx::proto::AttributeProto;
use crate::onnx::resolved::{Convolution, TransposedConvolution, Windows};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Conv" => conv,
        "ConvTranspose" => conv_transpose,
        _ => return None,
    })
}

/// Y = X * W + b, over one to three spatial axes.
///
/// * dX is the transposed convolution of g with W: [`input_gradient`].
/// * dW: [`weight_gradient::emit`].
/// * db = Σ g over batch and space.
fn conv(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x, w) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let conv = Convolution::of(vjp.graph, &vjp.node)?;
    let dx = if vjp.wants(0) { Some(input_gradient(vjp, &conv, g, w)?) } else { None };
    let dw = if vjp.wants(1) {
        let shape = vjp.shape(w);
        Some(weight_gradient::emit(vjp, x, g, &conv.windows, conv.group, &shape)?)
    } else {
        None
    };
    with_bias(vjp, g, dx, dw)
}

/// Y = X *ᵀ W + b, W `[C, M/G, k]`: dX is the convolution of g with W; dW is that of the convolution which takes g to
/// X; db as for Conv.
fn conv_transpose(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x, w) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let conv = TransposedConvolution::of(vjp.graph, &vjp.node)?;
    let g_full = g;
    // What output_padding adds behind the last window takes part in no window: without it the convolution has exactly
    // as many windows as X has elements.
    let windows = &conv.windows;
    let used: Vec<usize> = (0..windows.kernel.len())
        .map(|axis| {
            let reach = (windows.kernel[axis] - 1) * windows.dilations[axis] + 1;
            let last = (windows.outputs[axis] - 1) * windows.strides[axis] + reach;
            // Signed in effect: cropped at the end by what the padding leaves.
            (last - windows.begin[axis].min(last)).min(windows.inputs[axis])
        })
        .collect();
    let g = if used == windows.inputs {
        g
    } else {
        let axes: Vec<usize> = (2..2 + used.len()).collect();
        let ends: Vec<i64> = used.iter().map(|&end| end as i64).collect();
        vjp.slice(g, &axes, &vec![0; used.len()], &ends, &vec![1; used.len()])?
    };
    let mut inner = windows.clone();
    inner.inputs = used;
    for axis in 0..inner.kernel.len() {
        let reach = (inner.kernel[axis] - 1) * inner.dilations[axis] + 1;
        let last = (inner.outputs[axis] - 1) * inner.strides[axis] + reach;
        inner.end[axis] = last - inner.begin[axis].min(last) - inner.inputs[axis];
    }
    let dx = if vjp.wants(0) {
        let mut node = Node::new("Conv");
        node.inputs = vec![Some(g), Some(w)];
        node.attributes = attributes(&inner, conv.group);
        Some(vjp.graph.add_one(node)?)
    } else {
        None
    };
    let dw = if vjp.wants(1) {
        let shape = vjp.shape(w);
        Some(weight_gradient::emit(vjp, g, x, &inner, conv.group, &shape)?)
    } else {
        None
    };
    with_bias(vjp, g_full, dx, dw)
}

fn with_bias(vjp: &mut Vjp<'_>, g: ValueId, dx: Option<ValueId>, dw: Option<ValueId>) -> Gradients {
    let mut all = vec![dx, dw];
    if vjp.node.inputs.len() > 2 {
        all.push(if vjp.wants(2) { Some(bias_gradient(vjp, g)?) } else { None });
    }
    Ok(all)
}

/// Σ g over all axes but the second; where the operator that makes g gives the sums too, those.
fn bias_gradient(vjp: &mut Vjp<'_>, g: ValueId) -> Result<ValueId> {
    let gate = vjp.graph.producer(g).filter(|(_, node)| node.domain == "glebe" && node.op_type == "GateGrad");
    if let Some((index, _)) = gate {
        return vjp.graph.require_output(index, 1);
    }
    let axes: Vec<usize> = (0..vjp.shape(g).len()).filter(|&axis| axis != 1).collect();
    vjp.reduce("ReduceSum", g, &axes, false)
}

fn attributes(windows: &Windows, group: usize) -> Vec<AttributeProto> {
    let list = |values: &[usize]| values.iter().map(|&value| value as i64).collect::<Vec<_>>();
    vec![
        AttributeProto::ints("kernel_shape", &list(&windows.kernel)),
        AttributeProto::ints("strides", &list(&windows.strides)),
        AttributeProto::ints("dilations", &list(&windows.dilations)),
        AttributeProto::ints("pads", &windows.pads()),
        AttributeProto::int("group", group as i64),
    ]
}

/// From this many output pixels on, a stride-1 gradient is a convolution with the flipped weight; below, where channels
/// are many and pixels few, a ConvTranspose (measured on ONNX Runtime 1.31's CPU provider).
const FLIP_FROM: usize = 96 * 96;

/// dX of a convolution.
///
/// With all strides 1 it is itself a convolution, of g with W flipped and its two channel axes exchanged. Else a
/// ConvTranspose without padding, whose surplus at both ends is cut off and whose lack at the end (positions that no
/// window reached) is filled with zeros: an asymmetric padding of ConvTranspose would fall back to the CPU under the
/// CUDA provider (microsoft/onnxruntime#11312).
fn input_gradient(vjp: &mut Vjp<'_>, conv: &Convolution, g: ValueId, w: ValueId) -> Result<ValueId> {
    let windows = &conv.windows;
    if vjp.kernels.convolution && windows.kernel.len() == 2 {
        let mut node = Node::new("ConvInputGrad");
        node.domain = "glebe".to_owned();
        node.inputs = vec![Some(g), Some(w)];
        node.attributes = attributes(windows, conv.group);
        let size: Vec<i64> = windows.inputs.iter().map(|&size| size as i64).collect();
        node.set(AttributeProto::ints("input_shape", &size));
        return vjp.graph.add_one(node);
    }
    let pixels: usize = windows.outputs.iter().product();
    let fits = (0..windows.kernel.len()).all(|axis| {
        let reach = (windows.kernel[axis] - 1) * windows.dilations[axis];
        reach >= windows.begin[axis] && reach >= windows.end[axis]
    });
    let one = windows.kernel.iter().all(|&size| size == 1);
    if fits && windows.strides.iter().all(|&stride| stride == 1) && (one || pixels >= FLIP_FROM) {
        return flipped(vjp, conv, g, w);
    }
    let mut node = Node::new("ConvTranspose");
    node.inputs = vec![Some(g), Some(w)];
    let mut whole = windows.clone();
    whole.begin.fill(0);
    whole.end.fill(0);
    let symmetric = windows.begin == windows.end;
    let rest: Option<Vec<i64>> = symmetric.then(|| output_padding(windows)).flatten();
    if let Some(rest) = rest {
        node.attributes = attributes(windows, conv.group);
        node.set(AttributeProto::ints("output_padding", &rest));
        return vjp.graph.add_one(node);
    }
    node.attributes = attributes(&whole, conv.group);
    let full = vjp.graph.add_one(node)?;
    let made = vjp.shape(full);
    let (mut begins, mut ends) = (vec![0i64; made.len()], vec![0i64; made.len()]);
    for axis in 0..windows.kernel.len() {
        begins[axis + 2] = -(windows.begin[axis] as i64);
        ends[axis + 2] = (windows.begin[axis] + windows.inputs[axis]) as i64 - made[axis + 2] as i64;
    }
    vjp.pad(full, &begins, &ends)
}

/// What ConvTranspose has to add at the end of every axis to come back to the input's size; `None` where it is more than
/// the operator allows.
fn output_padding(windows: &Windows) -> Option<Vec<i64>> {
    (0..windows.kernel.len())
        .map(|axis| {
            let reach = (windows.kernel[axis] - 1) * windows.dilations[axis] + 1;
            let padded = windows.inputs[axis] + windows.begin[axis] + windows.end[axis];
            let covered = (windows.outputs[axis] - 1) * windows.strides[axis] + reach;
            let rest = padded.checked_sub(covered)?;
            (rest < windows.strides[axis].max(windows.dilations[axis])).then_some(rest as i64)
        })
        .collect()
}

fn flipped(vjp: &mut Vjp<'_>, conv: &Convolution, g: ValueId, w: ValueId) -> Result<ValueId> {
    let windows = &conv.windows;
    let shape = vjp.shape(w);
    let rank = windows.kernel.len();
    let mut weight = w;
    if windows.kernel.iter().any(|&size| size > 1) {
        let axes: Vec<usize> = (2..2 + rank).collect();
        // Backwards from the last element to before the first.
        weight = vjp.slice(weight, &axes, &vec![-1; rank], &vec![i64::MIN; rank], &vec![-1; rank])?;
    }
    // [M, C/G, k] to [C, M/G, k], within the groups.
    let (group, per_group) = (conv.group, conv.filters / conv.group);
    let mut grouped = vec![group, per_group, shape[1]];
    grouped.extend(&shape[2..]);
    weight = vjp.reshape(weight, &grouped)?;
    let mut order: Vec<usize> = (0..grouped.len()).collect();
    order.swap(1, 2);
    weight = vjp.transpose(weight, &order)?;
    let mut turned = vec![conv.channels, per_group];
    turned.extend(&shape[2..]);
    weight = vjp.reshape(weight, &turned)?;
    let mut back = windows.clone();
    for axis in 0..rank {
        let reach = (windows.kernel[axis] - 1) * windows.dilations[axis];
        back.begin[axis] = reach - windows.begin[axis];
        back.end[axis] = reach - windows.end[axis];
    }
    let mut node = Node::new("Conv");
    node.inputs = vec![Some(g), Some(weight)];
    node.attributes = attributes(&back, conv.group);
    vjp.graph.add_one(node)
}
