//! Elements moved or repeated.

use crate::error::Result;
use crate::onnx::fold::array::{Array, Elements, broadcast_places, over, position, strides};
use crate::onnx::fold::{Evaluation, Rule};
use crate::onnx::resolved::{axis_of, spans, split_sizes};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => reshaped,
        "Transpose" => transpose,
        "Expand" => expand,
        "Tile" => tile,
        "Slice" => slice,
        "Concat" => concat,
        "Split" => split,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        _ => return None,
    })
}

type Made = Result<Option<Vec<Array>>>;

/// The same elements in the same order.
fn reshaped(evaluation: &Evaluation<'_>) -> Made {
    let mut made = evaluation.input(0)?.clone();
    made.shape = evaluation.shape().to_vec();
    Ok(Some(vec![made]))
}

/// Elements of input 0 at the positions that `place` gives for the places of the output.
fn moved(evaluation: &Evaluation<'_>, place: impl FnMut(&[usize]) -> usize) -> Made {
    let shape = evaluation.shape();
    Ok(Some(vec![evaluation.input(0)?.gather(shape, &over(shape, place))]))
}

fn transpose(evaluation: &Evaluation<'_>) -> Made {
    let own = strides(&evaluation.input(0)?.shape);
    let order: Vec<usize> = match evaluation.node.ints("perm") {
        Some(order) => order.iter().map(|&axis| axis as usize).collect(),
        None => (0..own.len()).rev().collect(),
    };
    let steps: Vec<usize> = order.iter().map(|&axis| own[axis]).collect();
    moved(evaluation, |at| position(&steps, at))
}

fn expand(evaluation: &Evaluation<'_>) -> Made {
    let (input, shape) = (evaluation.input(0)?, evaluation.shape());
    Ok(Some(vec![input.gather(shape, &broadcast_places(&input.shape, shape))]))
}

fn tile(evaluation: &Evaluation<'_>) -> Made {
    let own = evaluation.input(0)?.shape.clone();
    let steps = strides(&own);
    moved(evaluation, |at| (0..at.len()).map(|axis| at[axis] % own[axis] * steps[axis]).sum())
}

fn slice(evaluation: &Evaluation<'_>) -> Made {
    let steps = strides(&evaluation.input(0)?.shape);
    let spans = spans(evaluation.graph, evaluation.node)?;
    moved(evaluation, |at| (0..at.len()).map(|axis| spans[axis].at(at[axis]) * steps[axis]).sum())
}

fn concat(evaluation: &Evaluation<'_>) -> Made {
    let shape = evaluation.shape();
    let axis = axis_of(evaluation.node, evaluation.node.int_or("axis", 0), shape.len())?;
    // Blocks of the axes from `axis` on, one of every input in turn.
    let outer: usize = shape[..axis].iter().product();
    let inputs =
        (0..evaluation.inputs.len()).map(|index| evaluation.input(index)).collect::<Result<Vec<_>>>()?;
    let block = |input: &Array| input.len().checked_div(outer).unwrap_or(0);
    let mut made = match inputs.first().map(|input| &input.elements) {
        Some(Elements::Ints(_)) => Elements::Ints(Vec::new()),
        _ => Elements::Floats(Vec::new()),
    };
    for row in 0..outer {
        for input in &inputs {
            let range = row * block(input)..(row + 1) * block(input);
            match (&mut made, &input.elements) {
                (Elements::Ints(made), Elements::Ints(ints)) => made.extend_from_slice(&ints[range]),
                (Elements::Floats(made), Elements::Floats(floats)) => made.extend_from_slice(&floats[range]),
                _ => return Ok(None),
            }
        }
    }
    Ok(Some(vec![Array { shape: shape.to_vec(), elements: made }]))
}

fn split(evaluation: &Evaluation<'_>) -> Made {
    let input = evaluation.input(0)?;
    let (axis, sizes) = split_sizes(evaluation.graph, evaluation.node, evaluation.types.len())?;
    let steps = strides(&input.shape);
    let mut begin = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        let mut shape = input.shape.clone();
        shape[axis] = size;
        let places = over(&shape, |at| begin * steps[axis] + position(&steps, at));
        parts.push(input.gather(shape, &places));
        begin += size;
    }
    Ok(Some(parts))
}

/// Channels are `[block, block, C]` in mode DCR and `[C, block, block]` in mode CRD.
fn depth_to_space(evaluation: &Evaluation<'_>) -> Made {
    let steps = strides(&evaluation.input(0)?.shape);
    let block = evaluation.node.int_or("blocksize", 1) as usize;
    let columns_first = evaluation.node.text_or("mode", "DCR") == "CRD";
    let channels = evaluation.shape()[1];
    moved(evaluation, |at| {
        let inside = at[2] % block * block + at[3] % block;
        let channel = if columns_first { at[1] * block * block + inside } else { inside * channels + at[1] };
        position(&steps, &[at[0], channel, at[2] / block, at[3] / block])
    })
}

fn space_to_depth(evaluation: &Evaluation<'_>) -> Made {
    let input = evaluation.input(0)?;
    let steps = strides(&input.shape);
    let block = evaluation.node.int_or("blocksize", 1) as usize;
    let channels = input.shape[1];
    moved(evaluation, |at| {
        let inside = at[1] / channels;
        let (row, column) = (at[2] * block + inside / block, at[3] * block + inside % block);
        position(&steps, &[at[0], at[1] % channels, row, column])
    })
}
