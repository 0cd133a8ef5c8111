//! Pools.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::matrix::{Matrix, transposed_along};
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::Result;
use crate::onnx::graph::{Constant, ValueId, ValueType};
use crate::onnx::proto::AttributeProto;
use crate::onnx::resolved::Pooling;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "MaxPool" => max_pool,
        "AveragePool" => average_pool,
        "GlobalAveragePool" => global_average,
        "GlobalMaxPool" => global_max,
        _ => return None,
    })
}

/// The gradient goes to the element that was the maximum: the forward node is asked for its indices, which count over the
/// whole tensor, and g is added up there. Of equal elements the first has the gradient, as in PyTorch.
fn max_pool(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    if vjp.node.int_or("storage_order", 0) != 0 {
        return Err(vjp.node.unsupported("a gradient with storage_order 1"));
    }
    let pool = Pooling::of(vjp.graph, &vjp.node)?;
    let shape = vjp.shape(x);
    let indices = vjp.y(1)?;
    let count: usize = vjp.shape(g).iter().product();
    let places = vjp.reshape(indices, &[count])?;
    let values = vjp.reshape(g, &[count])?;
    let zeros = vjp.zeros(&[shape.iter().product()], g)?;
    let windows = &pool.windows;
    let apart = (0..windows.kernel.len())
        .all(|axis| (windows.kernel[axis] - 1) * windows.dilations[axis] < windows.strides[axis]);
    // Windows that do not overlap never meet, and plain scattering is cheaper and repeatable on every device.
    let mut attributes = vec![AttributeProto::int("axis", 0)];
    if !apart {
        attributes.push(AttributeProto::string("reduction", "add"));
    }
    let spread = vjp.graph.op("ScatterElements", &[zeros, places, values], &attributes)?;
    let dx = vjp.reshape(spread, &shape)?;
    vjp.only(0, dx)
}

/// Every window shares its gradient equally among the elements that it counts: those of the input, and with
/// `count_include_pad` those of the padding too (but not what lies beyond it in ceil mode). Sums over windows are
/// separable: with S `[output, input]` the 0-1 matrix of an axis, dX = S_hᵀ (g / count) S_w.
///
/// Windows that tile the input exactly need no matrix: each element gets its window's share.
fn average_pool(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let pool = Pooling::of(vjp.graph, &vjp.node)?;
    let (windows, shape) = (&pool.windows, vjp.shape(x));
    let rank = windows.kernel.len();
    let tiles = (0..rank).all(|axis| {
        windows.kernel[axis] == windows.strides[axis]
            && windows.dilations[axis] == 1
            && windows.begin[axis] == 0
            && windows.inputs[axis] == windows.outputs[axis] * windows.kernel[axis]
    });
    if tiles {
        let size: usize = windows.kernel.iter().product();
        let share = vjp.scaled(g, 1.0 / size as f64)?;
        let dx = repeated(vjp, share, &windows.kernel, &shape)?;
        return vjp.only(0, dx);
    }
    // Counts are a product over the axes, since the elements that count form a box.
    let mut counts = vec![1.0];
    for axis in 0..rank {
        let inside = windows.inside(axis);
        let along: Vec<f64> = (0..windows.outputs[axis])
            .map(|window| {
                if !pool.count_include_pad {
                    return inside[window] as f64;
                }
                let padded = windows.begin[axis] + windows.inputs[axis] + windows.end[axis];
                let places = (0..windows.kernel[axis])
                    .map(|tap| window * windows.strides[axis] + tap * windows.dilations[axis]);
                places.filter(|&place| place < padded).count() as f64
            })
            .collect();
        counts = counts.iter().flat_map(|count| along.iter().map(move |own| count * own)).collect();
    }
    let shares: Vec<f64> = counts.iter().map(|&count| if count > 0.0 { 1.0 / count } else { 0.0 }).collect();
    let mut kind = vec![1, 1];
    kind.extend(&windows.outputs);
    let element = vjp.graph.kind(g).element;
    let shares = Constant::from_f64(ValueType::new(element, kind), &shares)?;
    let shares = vjp.graph.add_constant("shares", shares);
    let mut dx = vjp.times(g, shares)?;
    for axis in 0..rank {
        let mut matrix = Matrix::zeros(windows.outputs[axis], windows.inputs[axis]);
        for window in 0..windows.outputs[axis] {
            for tap in 0..windows.kernel[axis] {
                let place = window * windows.strides[axis] + tap * windows.dilations[axis];
                if place >= windows.begin[axis] && place - windows.begin[axis] < windows.inputs[axis] {
                    matrix.add(window, place - windows.begin[axis], 1.0);
                }
            }
        }
        dx = transposed_along(vjp, dx, axis + 2, &matrix)?;
    }
    vjp.only(0, dx)
}

/// Every element of `a` `[N, C, spatial]` repeated `factors` times along the spatial axes.
fn repeated(vjp: &mut Vjp<'_>, a: ValueId, factors: &[usize], shape: &[usize]) -> Result<ValueId> {
    let own = vjp.shape(a);
    let (mut split, mut full) = (own[..2].to_vec(), own[..2].to_vec());
    for (axis, &factor) in factors.iter().enumerate() {
        split.extend([own[axis + 2], 1]);
        full.extend([own[axis + 2], factor]);
    }
    let split = vjp.reshape(a, &split)?;
    let wide = vjp.expand(split, &full)?;
    vjp.reshape(wide, shape)
}

/// g / n for each of n elements.
fn global_average(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let shape = vjp.shape(x);
    let count: usize = shape[2..].iter().product();
    let share = vjp.scaled(g, 1.0 / count as f64)?;
    let dx = vjp.expand(share, &shape)?;
    vjp.only(0, dx)
}

/// g for the maximum, in equal parts where several elements are.
fn global_max(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x, y) = (vjp.g(0)?, vjp.x(0)?, vjp.y(0)?);
    let spatial: Vec<usize> = (2..vjp.shape(x).len()).collect();
    let equal = vjp.binary("Equal", x, y)?;
    let mask = vjp.cast_like(equal, g)?;
    let ties = vjp.sum(mask, &spatial)?;
    let share = vjp.over(g, ties)?;
    let dx = vjp.times(mask, share)?;
    vjp.only(0, dx)
}
