//! Element by element, with broadcasting.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule};
use crate::onnx::resolved;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "BitwiseNot"
        | "Ceil"
        | "Celu"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "Gelu"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "Identity"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "Mish"
        | "Neg"
        | "Not"
        | "Reciprocal"
        | "Relu"
        | "Round"
        | "Selu"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "ThresholdedRelu"
        | "Trilu"
        | "LRN"
        | "Bernoulli" => same,
        "Clip" => clip,
        "IsNaN" | "IsInf" => predicate,
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Max" | "Min" | "Sum" | "Mean" | "And" | "Or" | "Xor"
        | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => combined,
        "Pow" => power,
        "PRelu" => same_unidirectional,
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => compared,
        "Where" => chosen,
        "Cast" => cast,
        "CastLike" => cast_like,
        "Dropout" => dropout,
        _ => return None,
    })
}

fn same(call: &Call<'_>) -> Result<Vec<ValueType>> {
    Ok(vec![call.kind(0)?.clone()])
}

fn clip(call: &Call<'_>) -> Result<Vec<ValueType>> {
    resolved::by_input(call.node, "min")?;
    resolved::by_input(call.node, "max")?;
    for index in 1..call.node.inputs.len() {
        // A scalar, or one element.
        if call.node.input(index).is_some() && call.count(call.shape(index)?)? != 1 {
            return Err(call.node.invalid(format!("bound {index} has shape {:?}", call.shape(index)?)));
        }
    }
    same(call)
}

fn predicate(call: &Call<'_>) -> Result<Vec<ValueType>> {
    Ok(vec![ValueType::new(ElementType::Bool, call.shape(0)?)])
}

/// Any number of inputs of one type.
fn combined(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let mut kind = call.kind(0)?.clone();
    for index in 1..call.node.inputs.len() {
        let other = call.kind(index)?;
        if other.element != kind.element {
            let message = format!("input {index}: expected {}, got {}", kind.element, other.element);
            return Err(call.node.invalid(message));
        }
        kind.shape = call.together(&kind.shape, &other.shape)?;
    }
    Ok(vec![kind])
}

/// The exponent may have another type than the base, which gives the result its own.
fn power(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let shape = call.together(call.shape(0)?, call.shape(1)?)?;
    Ok(vec![ValueType::new(call.element(0)?, shape)])
}

fn same_unidirectional(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let kind = call.kind(0)?;
    if call.together(&kind.shape, call.shape(1)?)? != kind.shape {
        return Err(call.node.invalid(format!("slope {:?} does not fit {:?}", call.shape(1)?, kind.shape)));
    }
    Ok(vec![kind.clone()])
}

fn compared(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let shape = call.together(call.shape(0)?, call.shape(1)?)?;
    Ok(vec![ValueType::new(ElementType::Bool, shape)])
}

fn chosen(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let shape = call.together(call.shape(0)?, call.shape(1)?)?;
    let shape = call.together(&shape, call.shape(2)?)?;
    Ok(vec![ValueType::new(call.element(1)?, shape)])
}

fn cast(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let number = call.node.int("to").and_then(|number| i32::try_from(number).ok());
    let element = number.and_then(ElementType::from_number);
    let element = element.ok_or_else(|| call.node.invalid("casts to an unknown type"))?;
    Ok(vec![ValueType::new(element, call.shape(0)?)])
}

fn cast_like(call: &Call<'_>) -> Result<Vec<ValueType>> {
    Ok(vec![ValueType::new(call.element(1)?, call.shape(0)?)])
}

fn dropout(call: &Call<'_>) -> Result<Vec<ValueType>> {
    Ok(vec![call.kind(0)?.clone(), ValueType::new(ElementType::Bool, call.shape(0)?)])
}
