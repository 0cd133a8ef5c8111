//! Tensors out of sizes.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, one};
use crate::onnx::resolved;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "ConstantOfShape" => constant_of_shape,
        "Range" => range,
        "EyeLike" => eye_like,
        "RandomNormalLike" | "RandomUniformLike" => random_like,
        "RandomNormal" | "RandomUniform" => random,
        _ => return None,
    })
}

/// `float32` zeros where no value is given.
fn constant_of_shape(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let value = call.node.attribute("value").and_then(|attribute| attribute.t.as_deref());
    let element = match value {
        None => ElementType::Float32,
        Some(tensor) => {
            tensor.element_type().ok_or_else(|| call.node.invalid("a value of an unknown type"))?
        }
    };
    one(element, call.sizes(0)?)
}

fn range(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let element = call.element(0)?;
    call.expect_like_first(1)?;
    call.expect_like_first(2)?;
    let count = if element.is_float() {
        let bound = |index: usize| -> Result<f64> {
            let numbers = resolved::numbers(call.graph, call.node, index)?.unwrap_or_default();
            match numbers[..] {
                [number] => Ok(number),
                _ => Err(call.node.invalid(format!("input {index}: expected one number"))),
            }
        };
        let (start, limit, delta) = (bound(0)?, bound(1)?, bound(2)?);
        let count = ((limit - start) / delta).ceil();
        if !count.is_finite() || count > (1u64 << 40) as f64 {
            return Err(call.node.invalid(format!("from {start} to {limit} by {delta}")));
        }
        count.max(0.0) as usize
    } else {
        let bound = |index: usize| -> Result<i128> {
            match call.needed_ints(index)?[..] {
                [number] => Ok(i128::from(number)),
                _ => Err(call.node.invalid(format!("input {index}: expected one number"))),
            }
        };
        let (start, limit, delta) = (bound(0)?, bound(1)?, bound(2)?);
        if delta == 0 {
            return Err(call.node.invalid("a step of 0"));
        }
        let (distance, step) = if delta > 0 { (limit - start, delta) } else { (start - limit, -delta) };
        let count = if distance > 0 { (distance + step - 1) / step } else { 0 };
        usize::try_from(count)
            .map_err(|_| call.node.invalid(format!("from {start} to {limit} by {delta}")))?
    };
    one(element, [count])
}

fn eye_like(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let shape = call.shape_of_rank(0, 2)?;
    one(dtype(call, call.element(0)?)?, shape)
}

fn random_like(call: &Call<'_>) -> Result<Vec<ValueType>> {
    one(dtype(call, call.element(0)?)?, call.shape(0)?)
}

fn random(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let shape = call.node.ints("shape").unwrap_or_default();
    let shape = shape.iter().map(|&size| resolved::size(call.node, size)).collect::<Result<Vec<_>>>()?;
    one(dtype(call, ElementType::Float32)?, shape)
}

/// The attribute `dtype`.
fn dtype(call: &Call<'_>, default: ElementType) -> Result<ElementType> {
    let Some(number) = call.node.int("dtype") else { return Ok(default) };
    let element = i32::try_from(number).ok().and_then(ElementType::from_number);
    element.ok_or_else(|| call.node.invalid(format!("unknown type {number}")))
}
