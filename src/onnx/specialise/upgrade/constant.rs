//! Constants, casts, and what gives its input on.

use crate::error::ErrorKind;
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, ValueType};
use crate::onnx::proto::AttributeProto;
use crate::onnx::specialise::upgrade::{Made, Rule};
use crate::onnx::specialise::{Call, wide, widened};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Constant" => constant,
        "Identity" | "Dropout" => through,
        "Cast" => cast,
        "CastLike" => cast_like,
        "Loop" | "Scan" | "SequenceMap" => control,
        "Add" | "And" | "Div" | "Equal" | "Gemm" | "Greater" | "Less" | "Mul" | "Or" | "PRelu" | "Pow"
        | "Sub" | "Xor" => binary,
        _ => return None,
    })
}

fn constant(graph: &mut Graph, call: &Call<'_>) -> Made {
    let name = call.proto.output.first().map_or("", String::as_str);
    let [attribute] = &call.proto.attribute[..] else {
        return Err(call.node().invalid("expected one attribute"));
    };
    let floats = |shape: &[usize], values: &[f32]| Constant::from_f32(shape, values);
    let ints = |shape: &[usize], values: &[i64]| Constant::from_i64(shape, values);
    let value = match attribute.name.as_str() {
        "value" => attribute.t.as_deref().map(Constant::from_proto),
        "value_float" => attribute.f.map(|value| floats(&[], &[value])),
        "value_floats" => Some(floats(&[attribute.floats.len()], &attribute.floats)),
        "value_int" => attribute.i.map(|value| ints(&[], &[value])),
        "value_ints" => Some(ints(&[attribute.ints.len()], &attribute.ints)),
        _ => None,
    };
    let value = value.ok_or_else(|| {
        call.node().error(ErrorKind::ModelUnsupported, format!("a constant given as {:?}", attribute.name))
    })??;
    Ok(vec![Some(graph.add_constant(name, widened(value)?))])
}

/// Gives its input on. A mask that a Dropout is asked for is all true; that a file was exported with Dropout switched on
/// does not matter.
fn through(graph: &mut Graph, call: &Call<'_>) -> Made {
    let input = call.needed(0)?;
    let mut made = vec![Some(input)];
    if call.outputs().get(1).copied().flatten().is_some() {
        // Before set 10 the mask had the type of the data.
        let element = if call.opset < 10 { graph.kind(input).element } else { ElementType::Bool };
        let kind = ValueType::new(element, graph.shape(input));
        let ones = vec![1; kind.elements()];
        made.push(Some(graph.add_constant("mask", Constant::from_ints(kind, &ones)?)));
    }
    Ok(made)
}

/// A cast to the type that the value has already vanishes.
fn cast(graph: &mut Graph, call: &Call<'_>) -> Made {
    let node = call.node();
    let target = node.int("to").and_then(|to| ElementType::from_number(i32::try_from(to).ok()?));
    let target = wide(target.ok_or_else(|| node.invalid("casts to an unknown type"))?);
    let input = node.needed(0)?;
    if graph.kind(input).element == target {
        return Ok(vec![Some(input)]);
    }
    call.put(graph, node)
}

/// The type is known, so this is a Cast.
fn cast_like(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let (input, element) = (node.needed(0)?, graph.kind(node.needed(1)?).element);
    if graph.kind(input).element == element {
        return Ok(vec![Some(input)]);
    }
    node.op_type = "Cast".to_owned();
    node.inputs.truncate(1);
    node.set(AttributeProto::int("to", i64::from(element.number())));
    call.put(graph, node)
}

fn control(_: &mut Graph, call: &Call<'_>) -> Made {
    Err(call.node().unsupported("loops cannot be unrolled by the compiler: export the model without them"))
}

/// Before set 7, broadcasting was asked for by an attribute and went by other rules.
fn binary(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    if call.opset < 7 {
        if node.int_or("broadcast", 0) != 0 {
            let message = format!("broadcasting of operator set {} (expected 7 or later)", call.opset);
            return Err(node.unsupported(message));
        }
        ["axis", "broadcast", "consumed_inputs"].iter().for_each(|name| node.unset(name));
    }
    call.put(graph, node)
}
