//! Padding.

use crate::error::Result;
use crate::onnx::fold::array::{Array, Elements, over, strides};
use crate::onnx::fold::{Evaluation, Rule};
use crate::onnx::resolved::Pads;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    (op_type == "Pad").then_some(pad)
}

fn pad(evaluation: &Evaluation<'_>) -> Result<Option<Vec<Array>>> {
    let mut input = evaluation.input(0)?.clone();
    let pads = Pads::of(evaluation.graph, evaluation.node)?;
    let steps = strides(&input.shape);
    let sizes = input.shape.clone();
    // What padding has as its position: one more element behind the others.
    let outside = input.len();
    let value = evaluation.inputs.get(2).and_then(Option::as_ref);
    match (&mut input.elements, value.map(|value| &value.elements)) {
        (Elements::Ints(ints), None) => ints.push(0),
        (Elements::Floats(floats), None) => floats.push(0.0),
        (Elements::Ints(ints), Some(Elements::Ints(value))) => ints.extend(value.first()),
        (Elements::Floats(floats), Some(Elements::Floats(value))) => floats.extend(value.first()),
        _ => return Ok(None),
    }
    if input.len() == outside {
        return Ok(None);
    }
    let mode = evaluation.node.text_or("mode", "constant");
    if !matches!(mode, "constant" | "edge" | "reflect" | "wrap") {
        return Err(evaluation.node.invalid(format!("mode {mode:?}")));
    }
    // The element of an axis that stands at `at` of the output; `None` in the padding of mode constant.
    let source = |axis: usize, at: usize| -> Option<usize> {
        let (size, place) = (sizes[axis] as i64, at as i64 - pads.begin[axis]);
        if (0..size).contains(&place) {
            return Some(place as usize);
        }
        let inside = match mode {
            "edge" => place.clamp(0, (size - 1).max(0)),
            "wrap" => place.rem_euclid(size.max(1)),
            "reflect" => {
                let period = (2 * (size - 1)).max(1);
                let folded = place.rem_euclid(period);
                folded.min(period - folded).clamp(0, (size - 1).max(0))
            }
            _ => return None,
        };
        Some(inside as usize)
    };
    // There is nothing to repeat along an empty axis.
    if mode != "constant" && outside == 0 {
        return Ok(None);
    }
    let places = over(evaluation.shape(), |at| {
        let place = (0..at.len()).try_fold(0, |sum, axis| Some(sum + source(axis, at[axis])? * steps[axis]));
        place.unwrap_or(outside)
    });
    Ok(Some(vec![input.gather(evaluation.shape(), &places)]))
}
