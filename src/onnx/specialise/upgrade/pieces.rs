//! Parts of tensors: splitting, slicing, padding, scattering.

use crate::error::Result;
use crate::onnx::axis_of;
use crate::onnx::graph::{Constant, Graph, Node, ValueId, ValueType};
use crate::onnx::proto::AttributeProto;
use crate::onnx::specialise::Call;
use crate::onnx::specialise::upgrade::{Made, Rule};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Split" => split,
        "Slice" => slice,
        "Pad" => pad,
        "Scatter" => scatter,
        "Concat" => concat,
        _ => return None,
    })
}

/// A scalar of the element type of `like`.
pub(super) fn scalar_like(graph: &mut Graph, like: ValueId, value: f64) -> Result<ValueId> {
    let kind = ValueType::new(graph.kind(like).element, []);
    let constant = Constant::from_f64(kind, &[value])?;
    Ok(graph.add_constant("scalar", constant))
}

/// The sizes became an input with set 13. Where they are left out there are as many equal parts as outputs; set 18 lets
/// the last be smaller. Here they are always written out.
fn split(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let input = node.needed(0)?;
    let shape = graph.shape(input);
    let total = shape[axis_of(&node, node.int_or("axis", 0), shape.len())?];
    let sizes = match (node.ints("split").map(<[i64]>::to_vec), call.ints(graph, 1)?) {
        (Some(sizes), _) | (None, Some(sizes)) => sizes,
        (None, None) => {
            let parts = call.proto.output.len();
            if call.opset < 18 && !total.is_multiple_of(parts) {
                return Err(node.invalid(format!("splits {total} into {parts} equal parts")));
            }
            let size = total.div_ceil(parts);
            (0..parts).map(|part| size.min(total.saturating_sub(part * size)) as i64).collect()
        }
    };
    node.unset("split");
    node.unset("num_outputs");
    let sizes = graph.ints(&sizes)?;
    node.inputs = vec![Some(input), Some(sizes)];
    call.put(graph, node)
}

/// The bounds became inputs with set 10.
fn slice(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    if call.opset < 10 {
        let mut inputs = vec![Some(node.needed(0)?)];
        for name in ["starts", "ends", "axes"] {
            match (node.ints(name).map(<[i64]>::to_vec), name) {
                (Some(ints), _) => inputs.push(Some(graph.ints(&ints)?)),
                (None, "axes") => {}
                (None, _) => return Err(node.invalid(format!("attribute {name} is missing"))),
            }
        }
        node.attributes.clear();
        node.inputs = inputs;
    }
    call.put(graph, node)
}

/// Pads and value became inputs with set 11; set 18 can pad some axes alone, which here is written as pads of 0 along
/// the others.
fn pad(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let input = node.needed(0)?;
    if call.opset < 11 {
        let pads = node.ints("pads").or_else(|| node.ints("paddings")).map(<[i64]>::to_vec);
        let pads = pads.ok_or_else(|| node.invalid("attribute pads is missing"))?;
        let value = f64::from(node.float_or("value", 0.0));
        ["pads", "paddings", "value"].iter().for_each(|name| node.unset(name));
        node.inputs = vec![Some(input), Some(graph.ints(&pads)?), Some(scalar_like(graph, input, value)?)];
        return call.put(graph, node);
    }
    if let Some(axes) = call.ints(graph, 3)? {
        let pads = call.ints(graph, 1)?.ok_or_else(|| node.invalid("input 1 is missing"))?;
        let full = spread(&node, &pads, &axes, graph.shape(input).len())?;
        node.inputs[1] = Some(graph.ints(&full)?);
    }
    node.inputs.truncate(3);
    call.put(graph, node)
}

/// Pads of `axes` as pads of all `rank` axes.
fn spread(node: &Node, pads: &[i64], axes: &[i64], rank: usize) -> Result<Vec<i64>> {
    if pads.len() != 2 * axes.len() {
        return Err(node.invalid(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    let mut full = vec![0; 2 * rank];
    for (index, &axis) in axes.iter().enumerate() {
        let axis = axis_of(node, axis, rank)?;
        full[axis] = pads[index];
        full[rank + axis] = pads[axes.len() + index];
    }
    Ok(full)
}

/// Scatter has been called ScatterElements since set 11.
fn scatter(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    node.op_type = "ScatterElements".to_owned();
    call.put(graph, node)
}

/// Before set 4 the axis was 1 where it was not given.
fn concat(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    if call.opset < 4 && node.int("axis").is_none() {
        node.set(AttributeProto::int("axis", 1));
    }
    call.put(graph, node)
}
