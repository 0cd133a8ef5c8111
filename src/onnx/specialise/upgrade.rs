//! Older forms of operators in the form of operator set 18.
//!
//! Later sets mostly widen what 18 allows; where they change a meaning, or bring an operator that older runtimes do not
//! have, the node is rewritten too.

use crate::error::{ErrorKind, Result};
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, ValueId, ValueType};
use crate::onnx::proto::{AttributeProto, is_default_domain};
use crate::onnx::specialise::{Call, wide, widened};

/// What stands for the outputs of a node of the file.
type Made = Result<Vec<Option<ValueId>>>;

/// Adds a node of the file to the graph.
pub(super) fn add(graph: &mut Graph, call: &Call<'_>) -> Made {
    if !is_default_domain(&call.proto.domain) {
        return call.put(graph, call.node());
    }
    match rule(&call.proto.op_type) {
        Some(rule) => rule(graph, call),
        None => call.put(graph, call.node()),
    }
}

fn rule(op_type: &str) -> Option<fn(&mut Graph, &Call<'_>) -> Made> {
    Some(match op_type {
        "Constant" => constant,
        "Identity" | "Dropout" => through,
        "Cast" => cast,
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

/// Gives its input on. A mask that a Dropout is asked for is all true.
fn through(graph: &mut Graph, call: &Call<'_>) -> Made {
    let input = call.node().needed(0)?;
    let mut made = vec![Some(input)];
    if call.outputs().get(1).copied().flatten().is_some() {
        let kind = ValueType::new(ElementType::Bool, graph.shape(input));
        let ones = vec![1; kind.elements()];
        made.push(Some(graph.add_constant("mask", Constant::from_ints(kind, &ones)?)));
    }
    Ok(made)
}

/// A cast to the type that the value has already vanishes.
fn cast(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let target = node.int("to").and_then(|to| ElementType::from_number(i32::try_from(to).ok()?));
    let target = wide(target.ok_or_else(|| node.invalid("casts to an unknown type"))?);
    let input = node.needed(0)?;
    if graph.kind(input).element == target {
        return Ok(vec![Some(input)]);
    }
    node.set(AttributeProto::int("to", i64::from(target.number())));
    call.put(graph, node)
}
