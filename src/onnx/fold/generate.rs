//! Tensors out of sizes.

use crate::error::Result;
use crate::onnx::fold::array::{Array, Elements, over};
use crate::onnx::fold::{Evaluation, Rule};
use crate::onnx::graph::Constant;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "ConstantOfShape" => constant_of_shape,
        "Range" => range,
        "EyeLike" => eye_like,
        _ => return None,
    })
}

type Made = Result<Option<Vec<Array>>>;

fn constant_of_shape(evaluation: &Evaluation<'_>) -> Made {
    let shape = evaluation.shape();
    let value = evaluation.node.attribute("value").and_then(|attribute| attribute.t.as_deref());
    let value = match value {
        Some(tensor) => Array::of(&Constant::from_proto(tensor)?),
        None => Some(Array::floats([1], vec![0.0])),
    };
    let Some(value) = value else { return Ok(None) };
    if value.len() != 1 {
        return Err(evaluation.node.invalid(format!("a value of {} elements", value.len())));
    }
    Ok(Some(vec![value.gather(shape, &vec![0; shape.iter().product()])]))
}

fn range(evaluation: &Evaluation<'_>) -> Made {
    let (start, delta) = (evaluation.input(0)?, evaluation.input(2)?);
    let shape = evaluation.shape();
    let count = shape.iter().product::<usize>();
    Ok(match (&start.elements, &delta.elements) {
        (Elements::Ints(start), Elements::Ints(delta)) => match (&start[..], &delta[..]) {
            (&[start], &[delta]) => {
                let one = |index: usize| start.wrapping_add(delta.wrapping_mul(index as i64));
                Some(vec![Array::ints(shape, (0..count).map(one).collect())])
            }
            _ => None,
        },
        (Elements::Floats(start), Elements::Floats(delta)) => match (&start[..], &delta[..]) {
            (&[start], &[delta]) => {
                let one = |index: usize| start + delta * index as f64;
                Some(vec![Array::floats(shape, (0..count).map(one).collect())])
            }
            _ => None,
        },
        _ => None,
    })
}

/// Ones on diagonal k.
fn eye_like(evaluation: &Evaluation<'_>) -> Made {
    let diagonal = evaluation.node.int_or("k", 0);
    let shape = evaluation.shape();
    let ones = over(shape, |at| i64::from((at[1] as i64 - at[0] as i64) == diagonal));
    Ok(Some(vec![Array::ints(shape, ones)]))
}
