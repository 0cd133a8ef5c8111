//! Gathering and scattering.

use super::{Generator, cases, check_all};
use crate::autodiff::tests::array::{Array, each};
use crate::autodiff::tests::case::Case;
use crate::autodiff::tests::choices::Choices;
use crate::error::Result;
use crate::onnx::graph::ValueId;
use crate::onnx::proto::AttributeProto;

pub(super) const ALL: &[Generator] = &[
    cases("Gather", gather).times(3),
    cases("GatherElements", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(1, 4);
        let axis = c.axis(shape.len());
        let at = axis.rem_euclid(shape.len() as i64) as usize;
        // Other axes may be shorter than those of the data.
        let mut picked: Vec<usize> = shape.iter().map(|&dim| c.within(1, dim)).collect();
        picked[at] = c.within(1, 5);
        let x = case.x(c.floats(&shape, -1.0, 1.0));
        let size = shape[at] as i64;
        let values = c.indices(&picked, -size, size);
        let indices = known_or_not(c, &mut case, values);
        case.op("GatherElements", &[Some(x), Some(indices)], &[AttributeProto::int("axis", axis)])
    }),
    cases("GatherND", gather_nd).times(2),
    cases("ScatterElements", scatter_elements).times(2),
    cases("ScatterND", scatter_nd).times(2),
    cases("TopK", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(1, 4);
        let axis = c.axis(shape.len());
        let size = shape[axis.rem_euclid(shape.len() as i64) as usize];
        let k = c.within(1, size) as i64;
        let attributes = [
            AttributeProto::int("axis", axis),
            AttributeProto::int("largest", c.below(2) as i64),
            AttributeProto::int("sorted", 1),
        ];
        let x = case.x(c.distinct(&shape));
        let k = case.ints(&[k]);
        let made = case.add("TopK", &[Some(x), Some(k)], &attributes, 2)?;
        case.ends = vec![made[0]];
        Ok(case)
    }),
];

#[test]
fn indexing_has_the_gradients_of_differences() {
    check_all(ALL);
}

/// Indices as a constant or as an input.
fn known_or_not(c: &mut Choices, case: &mut Case, values: Array) -> ValueId {
    if c.flip() { case.input(values) } else { case.constant(&values) }
}

/// Few picks, many picks of the same rows, neighbours, a scalar index.
fn gather(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(1, 4);
    let axis = c.axis(shape.len());
    let size = shape[axis.rem_euclid(shape.len() as i64) as usize] as i64;
    let values = match c.below(4) {
        0 => c.indices(&[], -size, size),
        1 => {
            let count = c.within(1, size as usize);
            let start = c.below(size as usize - count + 1) as i64;
            Array::ints(&[count], (start..start + count as i64).collect())
        }
        2 => c.indices(&[12], -size, size),
        _ => {
            let rank = c.within(1, 2);
            let picked = c.shape(rank, 3);
            c.indices(&picked, -size, size)
        }
    };
    let x = case.x(c.floats(&shape, -1.0, 1.0));
    let indices = known_or_not(c, &mut case, values);
    case.op("Gather", &[Some(x), Some(indices)], &[AttributeProto::int("axis", axis)])
}

fn gather_nd(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(1, 4);
    let batch = c.below(shape.len().min(3));
    let depth = c.within(1, shape.len() - batch);
    let rank = c.within(if batch == 0 { 0 } else { 1 }, 2);
    let lead = [shape[..batch].to_vec(), c.shape(rank.max(usize::from(batch > 0)), 3)].concat();
    let tuples = tuples(c, &lead, &shape[batch..batch + depth], false);
    let x = case.x(c.floats(&shape, -1.0, 1.0));
    let indices = known_or_not(c, &mut case, tuples);
    case.op("GatherND", &[Some(x), Some(indices)], &[AttributeProto::int("batch_dims", batch as i64)])
}

/// Index tuples into the first axes of a shape, distinct ones where that is asked for (as many as there are).
fn tuples(c: &mut Choices, lead: &[usize], sizes: &[usize], distinct: bool) -> Array {
    let mut all = Vec::new();
    each(sizes, |at| all.push(at.to_vec()));
    for at in (1..all.len()).rev() {
        all.swap(at, (c.unit() * (at + 1) as f64) as usize);
    }
    let count: usize = lead.iter().product();
    let mut values = Vec::new();
    for index in 0..count {
        let at = if distinct { index } else { (c.unit() * all.len() as f64) as usize };
        for (&at, &size) in all[at].iter().zip(sizes) {
            values.push(at as i64 - if c.unit() < 0.3 { size as i64 } else { 0 });
        }
    }
    Array::ints(&[lead, &[sizes.len()]].concat(), values)
}

fn reduction(c: &mut Choices) -> &'static str {
    c.one(&["none", "add"])
}

fn scatter_elements(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(1, 4);
    let rank = shape.len();
    let axis = c.axis(rank);
    let at = axis.rem_euclid(rank as i64) as usize;
    let reduction = reduction(c);
    let mut picked: Vec<usize> = shape.iter().map(|&dim| c.within(1, dim)).collect();
    if reduction == "add" {
        picked[at] = c.within(1, 5);
    }
    let size = shape[at];
    let mut values = c.indices(&picked, -(size as i64), size as i64);
    if reduction == "none" {
        // Every line has its own order, which repeats nothing.
        let shift = c.below(size);
        let mut list = Vec::new();
        each(&picked, |index| {
            let other: usize = index.iter().enumerate().filter(|(axis, _)| *axis != at).map(|(_, i)| i).sum();
            list.push(((index[at] + other + shift) % size) as i64);
        });
        values = Array::ints(&picked, list);
    }
    let x = case.x(c.floats(&shape, -1.0, 1.0));
    let indices = known_or_not(c, &mut case, values);
    let updates = case.x(c.floats(&picked, -1.0, 1.0));
    let attributes = [AttributeProto::int("axis", axis), AttributeProto::string("reduction", reduction)];
    case.op("ScatterElements", &[Some(x), Some(indices), Some(updates)], &attributes)
}

fn scatter_nd(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(1, 4);
    let depth = c.within(1, shape.len());
    let reduction = reduction(c);
    let places: usize = shape[..depth].iter().product();
    let lead = match reduction {
        "none" => vec![c.within(1, places.min(4))],
        _ => {
            let rank = c.within(1, 2);
            c.shape(rank, 3)
        }
    };
    let tuples = tuples(c, &lead, &shape[..depth], reduction == "none");
    let x = case.x(c.floats(&shape, -1.0, 1.0));
    let indices = known_or_not(c, &mut case, tuples);
    let updates = case.x(c.floats(&[&lead[..], &shape[depth..]].concat(), -1.0, 1.0));
    let attributes = [AttributeProto::string("reduction", reduction)];
    case.op("ScatterND", &[Some(x), Some(indices), Some(updates)], &attributes)
}
