//! Reductions, and running sums.

use crate::error::Result;
use crate::onnx::fold::array::{Array, Elements, over, position, strides};
use crate::onnx::fold::{Evaluation, Rule};
use crate::onnx::resolved::{axis_of, reduced_axes};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "ReduceSum" | "ReduceProd" | "ReduceMax" | "ReduceMin" | "ReduceMean" => reduce,
        "CumSum" => running_sum,
        _ => return None,
    })
}

type Made = Result<Option<Vec<Array>>>;

fn reduce(evaluation: &Evaluation<'_>) -> Made {
    let (input, node) = (evaluation.input(0)?, evaluation.node);
    let axes = reduced_axes(evaluation.graph, node)?;
    let count: usize = axes.iter().map(|&axis| input.shape[axis]).product();
    let operator = node.op_type.as_str();
    if count == 0 && !matches!(operator, "ReduceSum" | "ReduceProd") {
        return Ok(None);
    }
    // For every element of the input, the place of the result that it goes to.
    let mut kept = input.shape.clone();
    for &axis in &axes {
        kept[axis] = 1;
    }
    let mut steps = strides(&kept);
    for &axis in &axes {
        steps[axis] = 0;
    }
    let places = over(&input.shape, |at| position(&steps, at));
    let total: usize = kept.iter().product();
    let shape = evaluation.shape();
    let made = match &input.elements {
        Elements::Ints(ints) => {
            let start = match operator {
                "ReduceProd" => 1,
                "ReduceMax" => i64::MIN,
                "ReduceMin" => i64::MAX,
                _ => 0,
            };
            let mut made = vec![start; total];
            for (&place, &value) in places.iter().zip(ints) {
                let old = made[place];
                made[place] = match operator {
                    "ReduceProd" => old.wrapping_mul(value),
                    "ReduceMax" => old.max(value),
                    "ReduceMin" => old.min(value),
                    _ => old.wrapping_add(value),
                };
            }
            if operator == "ReduceMean" {
                made.iter_mut().for_each(|sum| *sum /= count as i64);
            }
            Array::ints(shape, made)
        }
        Elements::Floats(floats) => {
            let start = match operator {
                "ReduceProd" => 1.0,
                "ReduceMax" => f64::NEG_INFINITY,
                "ReduceMin" => f64::INFINITY,
                _ => 0.0,
            };
            let mut made = vec![start; total];
            for (&place, &value) in places.iter().zip(floats) {
                let old: f64 = made[place];
                made[place] = match operator {
                    "ReduceProd" => old * value,
                    // Not a number stays.
                    "ReduceMax" | "ReduceMin" if old.is_nan() || value.is_nan() => f64::NAN,
                    "ReduceMax" => old.max(value),
                    "ReduceMin" => old.min(value),
                    _ => old + value,
                };
            }
            if operator == "ReduceMean" {
                made.iter_mut().for_each(|sum| *sum /= count as f64);
            }
            Array::floats(shape, made)
        }
    };
    Ok(Some(vec![made]))
}

fn running_sum(evaluation: &Evaluation<'_>) -> Made {
    let (input, node) = (evaluation.input(0)?, evaluation.node);
    let Some(&[axis]) = evaluation.input(1)?.as_ints() else { return Ok(None) };
    let axis = axis_of(node, axis, input.shape.len())?;
    let exclusive = node.int_or("exclusive", 0) != 0;
    let backwards = node.int_or("reverse", 0) != 0;
    let (size, step) = (input.shape[axis], strides(&input.shape)[axis]);
    // Positions along the axis, first to last, of each line.
    let starts: Vec<usize> = (0..input.len()).filter(|place| place / step % size == 0).collect();
    let line =
        |start: usize| (0..size).map(move |at| start + step * if backwards { size - 1 - at } else { at });
    fn sums<T: Copy>(
        values: &mut [T],
        line: impl Iterator<Item = usize>,
        zero: T,
        add: fn(T, T) -> T,
        exclusive: bool,
    ) {
        let mut sum = zero;
        for place in line {
            let next = add(sum, values[place]);
            values[place] = if exclusive { sum } else { next };
            sum = next;
        }
    }
    let mut made = input.clone();
    for start in starts {
        match &mut made.elements {
            Elements::Ints(ints) => sums(ints, line(start), 0, i64::wrapping_add, exclusive),
            Elements::Floats(floats) => sums(floats, line(start), 0.0, |a, b| a + b, exclusive),
        }
    }
    Ok(Some(vec![made]))
}
