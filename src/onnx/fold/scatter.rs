//! Elements written to places by indices.

use crate::error::Result;
use crate::onnx::fold::array::{Array, Elements};
use crate::onnx::fold::index::{block_places, element_places};
use crate::onnx::fold::{Evaluation, Rule};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "ScatterElements" | "Scatter" => scatter_elements,
        "ScatterND" => scatter_nd,
        _ => return None,
    })
}

type Made = Result<Option<Vec<Array>>>;

fn scatter_elements(evaluation: &Evaluation<'_>) -> Made {
    let (data, indices) = (evaluation.input(0)?, evaluation.input(1)?);
    let Some(ints) = indices.as_ints() else { return Ok(None) };
    let places = element_places(evaluation.node, &data.shape, &indices.shape, ints)?;
    written(evaluation, &places)
}

fn scatter_nd(evaluation: &Evaluation<'_>) -> Made {
    let (data, indices) = (evaluation.input(0)?, evaluation.input(1)?);
    let Some(ints) = indices.as_ints() else { return Ok(None) };
    let begins = block_places(evaluation.node, &data.shape, &indices.shape, ints, 0)?;
    let depth = indices.shape.last().copied().unwrap_or(0);
    let block: usize = data.shape[depth..].iter().product();
    let places: Vec<usize> = begins.iter().flat_map(|&begin| begin..begin + block).collect();
    written(evaluation, &places)
}

/// Updates in their order, by the attribute `reduction`.
fn written(evaluation: &Evaluation<'_>, places: &[usize]) -> Made {
    let mut made = evaluation.input(0)?.clone();
    let reduction = evaluation.node.text_or("reduction", "none");
    if !matches!(reduction, "none" | "add" | "mul" | "max" | "min") {
        return Err(evaluation.node.invalid(format!("reduction {reduction:?}")));
    }
    match (&mut made.elements, &evaluation.input(2)?.elements) {
        (Elements::Ints(data), Elements::Ints(updates)) => {
            for (&place, &update) in places.iter().zip(updates) {
                let old = data[place];
                data[place] = match reduction {
                    "add" => old.wrapping_add(update),
                    "mul" => old.wrapping_mul(update),
                    "max" => old.max(update),
                    "min" => old.min(update),
                    _ => update,
                };
            }
        }
        (Elements::Floats(data), Elements::Floats(updates)) => {
            for (&place, &update) in places.iter().zip(updates) {
                let old = data[place];
                data[place] = match reduction {
                    "add" => old + update,
                    "mul" => old * update,
                    "max" => old.max(update),
                    "min" => old.min(update),
                    _ => update,
                };
            }
        }
        _ => return Ok(None),
    }
    Ok(Some(vec![made]))
}
