//! Pools that are sums over windows: by a convolution with ones.

use crate::autodiff::decompose::{Composite, Decomposition};
use crate::autodiff::emit::Emit;
use crate::error::Result;
use crate::onnx::graph::{Constant, ValueId, ValueType};
use crate::onnx::proto::AttributeProto;
use crate::onnx::resolved::{Pooling, Windows};

pub(super) fn rule(op_type: &str) -> Option<Decomposition> {
    Some(match op_type {
        "AveragePool" => dilated_average,
        "LpPool" => lp,
        "GlobalLpPool" => global_lp,
        _ => return None,
    })
}

/// Sum over windows by the number of elements in them. Without dilations AveragePool has a rule.
fn dilated_average(op: &mut Composite<'_>) -> Result<Option<ValueId>> {
    let pooling = Pooling::of(op.graph, &op.node)?;
    if pooling.windows.dilations.iter().all(|&dilation| dilation == 1) {
        return Ok(None);
    }
    let x = op.x(0)?;
    let sum = window_sums(op, x, &pooling)?;
    let counts: Vec<Vec<usize>> = (0..pooling.windows.kernel.len())
        .map(|axis| match pooling.count_include_pad {
            true => elements(&pooling.windows, axis),
            false => pooling.windows.inside(axis),
        })
        .collect();
    let mut products = vec![1.0];
    for axis in &counts {
        let each = products.iter().flat_map(|product| axis.iter().map(move |&count| product * count as f64));
        products = each.collect();
    }
    let shape = [&[1, 1], &pooling.windows.outputs[..]].concat();
    let kind = ValueType::new(op.graph.kind(x).element, shape);
    let counts = op.graph.add_constant("counts", Constant::from_f64(kind, &products)?);
    Ok(Some(op.over(sum, counts)?))
}

/// Elements of every window that lie on the input or its padding: in ceil mode the last one may reach beyond both.
fn elements(windows: &Windows, axis: usize) -> Vec<usize> {
    let padded = windows.begin[axis] + windows.inputs[axis] + windows.end[axis];
    (0..windows.outputs[axis])
        .map(|window| {
            let first = window * windows.strides[axis];
            let places = (0..windows.kernel[axis]).map(|tap| first + tap * windows.dilations[axis]);
            places.filter(|&place| place < padded).count()
        })
        .collect()
}

/// `(Σ |x|^p)^(1/p)` over windows.
fn lp(op: &mut Composite<'_>) -> Result<Option<ValueId>> {
    let pooling = Pooling::of(op.graph, &op.node)?;
    let x = op.x(0)?;
    let powers = powers(op, x)?;
    let sum = window_sums(op, powers, &pooling)?;
    root(op, sum).map(Some)
}

/// `(Σ |x|^p)^(1/p)` over all spatial axes.
fn global_lp(op: &mut Composite<'_>) -> Result<Option<ValueId>> {
    let x = op.x(0)?;
    let powers = powers(op, x)?;
    let axes: Vec<usize> = (2..op.shape(x).len()).collect();
    let sum = op.sum(powers, &axes)?;
    root(op, sum).map(Some)
}

fn powers(op: &mut Composite<'_>, x: ValueId) -> Result<ValueId> {
    match op.node.int_or("p", 2) {
        1 => op.unary("Abs", x),
        2 => op.times(x, x),
        order if order > 0 => {
            let absolute = op.unary("Abs", x)?;
            let order = op.number_like(x, order as f64)?;
            op.binary("Pow", absolute, order)
        }
        order => Err(op.node.invalid(format!("a norm of order {order}"))),
    }
}

/// The p-th root, which has no derivative at 0: there none is passed on.
fn root(op: &mut Composite<'_>, sum: ValueId) -> Result<ValueId> {
    let order = op.node.int_or("p", 2);
    if order == 1 {
        return Ok(sum);
    }
    let (zero, one) = (op.number_like(sum, 0.0)?, op.number_like(sum, 1.0)?);
    let some = op.binary("Greater", sum, zero)?;
    let safe = op.choose(some, sum, one)?;
    let root = if order == 2 {
        op.unary("Sqrt", safe)?
    } else {
        let exponent = op.number_like(sum, 1.0 / order as f64)?;
        op.binary("Pow", safe, exponent)?
    };
    op.masked(some, root)
}

/// The sum of every window, channel by channel.
fn window_sums(op: &mut Composite<'_>, x: ValueId, pooling: &Pooling) -> Result<ValueId> {
    let windows = &pooling.windows;
    let shape = [&[pooling.channels, 1], &windows.kernel[..]].concat();
    let kind = ValueType::new(op.graph.kind(x).element, shape);
    let ones = vec![1.0; kind.elements()];
    let ones = op.graph.add_constant("ones", Constant::from_f64(kind, &ones)?);
    // Windows may reach beyond the padding that is given (ceil mode), or not reach its end.
    let ends = (0..windows.kernel.len()).map(|axis| {
        let last = windows.outputs[axis].saturating_sub(1) * windows.strides[axis];
        let reach = last + (windows.kernel[axis] - 1) * windows.dilations[axis] + 1;
        reach.saturating_sub(windows.inputs[axis] + windows.begin[axis])
    });
    let pads: Vec<usize> = windows.begin.iter().copied().chain(ends).collect();
    let ints = |values: &[usize]| -> Vec<i64> { values.iter().map(|&value| value as i64).collect() };
    op.graph.op(
        "Conv",
        &[x, ones],
        &[
            AttributeProto::int("group", pooling.channels as i64),
            AttributeProto::ints("kernel_shape", &ints(&windows.kernel)),
            AttributeProto::ints("strides", &ints(&windows.strides)),
            AttributeProto::ints("dilations", &ints(&windows.dilations)),
            AttributeProto::ints("pads", &ints(&pads)),
        ],
    )
}
