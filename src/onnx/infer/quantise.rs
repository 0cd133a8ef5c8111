//! To fewer bits and back.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, one};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "QuantizeLinear" => quantise,
        "DequantizeLinear" => dequantise,
        "DynamicQuantizeLinear" => dynamic,
        _ => return None,
    })
}

/// The attribute `output_dtype`, where it says something.
fn output_type(call: &Call<'_>) -> Result<Option<ElementType>> {
    match call.node.int_or("output_dtype", 0) {
        0 => Ok(None),
        number => {
            let element = i32::try_from(number).ok().and_then(ElementType::from_number);
            element.map(Some).ok_or_else(|| call.node.invalid(format!("unknown type {number}")))
        }
    }
}

fn quantise(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let element = match (output_type(call)?, call.node.input(2)) {
        (Some(element), _) => element,
        (None, Some(zero)) => call.graph.kind(zero).element,
        (None, None) => ElementType::Uint8,
    };
    one(element, call.shape(0)?)
}

fn dequantise(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let element = match output_type(call)? {
        Some(element) => element,
        None => call.element(1)?,
    };
    one(element, call.shape(0)?)
}

fn dynamic(call: &Call<'_>) -> Result<Vec<ValueType>> {
    Ok(vec![
        ValueType::new(ElementType::Uint8, call.shape(0)?),
        ValueType::new(ElementType::Float32, []),
        ValueType::new(ElementType::Uint8, []),
    ])
}
