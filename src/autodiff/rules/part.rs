//! Operators that cut tensors into parts and join them: Concat, Split, Slice.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::{Error, Result};
use crate::onnx::graph::{Node, ValueId};
use crate::onnx::proto::AttributeProto;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Concat" => concat,
        "Split" => split,
        "Slice" => slice,
        _ => return None,
    })
}

/// Each input gets its part of g: one Split where all are wanted, else slices.
fn concat(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let axis = vjp.axis(vjp.node.int_or("axis", 0), vjp.shape(g).len())?;
    let count = vjp.node.inputs.len();
    let sizes =
        (0..count).map(|index| Ok(vjp.shape(vjp.x(index)?)[axis] as i64)).collect::<Result<Vec<_>>>()?;
    if count == 1 {
        return vjp.only(0, g);
    }
    if (0..count).all(|index| vjp.wants(index)) {
        let sizes = vjp.graph.ints(&sizes)?;
        let mut node = Node::new("Split");
        node.inputs = vec![Some(g), Some(sizes)];
        node.set(AttributeProto::int("axis", axis as i64));
        return vjp.graph.add(node, &vec![Some(""); count]);
    }
    let mut start = 0;
    let mut all = Vec::with_capacity(count);
    for (index, size) in sizes.into_iter().enumerate() {
        let part = if vjp.wants(index) {
            Some(vjp.slice(g, &[axis], &[start], &[start + size], &[1])?)
        } else {
            None
        };
        all.push(part);
        start += size;
    }
    Ok(all)
}

/// The gradients of the parts one after the other, zeros for a part that nothing depends on. One part alone is padded.
fn split(vjp: &mut Vjp<'_>) -> Gradients {
    let shape = vjp.shape(vjp.x(0)?);
    let axis = vjp.axis(vjp.node.int_or("axis", 0), shape.len())?;
    let sizes = part_sizes(vjp, shape[axis])?;
    let flowing: Vec<usize> = (0..sizes.len()).filter(|&part| vjp.grad(part).is_some()).collect();
    let dx = if let [part] = flowing[..] {
        let before: usize = sizes[..part].iter().sum();
        let (mut begins, mut ends) = (vec![0; shape.len()], vec![0; shape.len()]);
        begins[axis] = before as i64;
        ends[axis] = (shape[axis] - before - sizes[part]) as i64;
        let g = vjp.g(part)?;
        vjp.pad(g, &begins, &ends)?
    } else {
        let first = *flowing.first().ok_or_else(|| Error::internal("a rule without a gradient"))?;
        let like = vjp.g(first)?;
        let mut parts = Vec::with_capacity(sizes.len());
        for (part, &size) in sizes.iter().enumerate() {
            parts.push(match vjp.grad(part) {
                Some(g) => g,
                None => {
                    let mut own = shape.clone();
                    own[axis] = size;
                    vjp.zeros(&own, like)?
                }
            });
        }
        vjp.concat(&parts, axis)?
    };
    vjp.only(0, dx)
}

/// Sizes of the parts of a Split along its axis: as the input says, or equal but for a last one that may be smaller.
fn part_sizes(vjp: &Vjp<'_>, total: usize) -> Result<Vec<usize>> {
    if let Some(sizes) = vjp.ints(1)? {
        return Ok(sizes.into_iter().map(|size| size.max(0) as usize).collect());
    }
    let count = vjp.node.int_or("num_outputs", vjp.node.outputs.len() as i64).max(1) as usize;
    let size = total.div_ceil(count);
    Ok((0..count).map(|part| size.min(total.saturating_sub(part * size))).collect())
}

/// Which elements of an axis a Slice takes: `first`, `first + step` and so on, `count` of them, after turning the
/// axis round if `flipped`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stride {
    first: usize,
    step: usize,
    count: usize,
    flipped: bool,
}

impl Stride {
    /// By the specification: a negative bound counts from the end, then bounds are cut to what the direction allows.
    fn new(size: usize, start: i64, end: i64, step: i64) -> Stride {
        let size = size as i64;
        let absolute = |bound: i64| if bound < 0 { bound.saturating_add(size) } else { bound };
        let (start, end) = if step > 0 {
            (absolute(start).clamp(0, size), absolute(end).clamp(0, size))
        } else {
            (absolute(start).clamp(-1, size - 1), absolute(end).clamp(-1, size - 1))
        };
        let span = if step > 0 { end - start } else { start - end };
        let width = step.unsigned_abs().min(i64::MAX as u64) as i64;
        let count = if span > 0 { (span - 1) / width + 1 } else { 0 };
        let first = if step > 0 || count == 0 { start.max(0) } else { start - (count - 1) * width };
        Stride { first: first as usize, step: width as usize, count: count as usize, flipped: step < 0 }
    }
}

/// g in its place, zeros elsewhere. Axes that were turned round are turned back; a step above 1 is undone by zeros
/// between the elements (an axis of 1 padded to the step and merged); then all is padded to the shape of x.
fn slice(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let shape = vjp.shape(vjp.x(0)?);
    if vjp.shape(g).contains(&0) {
        let dx = vjp.zeros(&shape, g)?;
        return vjp.only(0, dx);
    }
    let strides = strides(vjp, &shape)?;
    let dx = unslice(vjp, g, &shape, &strides)?;
    vjp.only(0, dx)
}

/// The stride along every axis of `shape`.
fn strides(vjp: &Vjp<'_>, shape: &[usize]) -> Result<Vec<Stride>> {
    let missing = || vjp.node.invalid("starts or ends are missing");
    let starts = vjp.ints(1)?.ok_or_else(missing)?;
    let ends = vjp.ints(2)?.ok_or_else(missing)?;
    let axes = vjp.ints(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = vjp.ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    let mut strides: Vec<Stride> =
        shape.iter().map(|&count| Stride { first: 0, step: 1, count, flipped: false }).collect();
    for (((&axis, &start), &end), &step) in axes.iter().zip(&starts).zip(&ends).zip(&steps) {
        let axis = vjp.axis(axis, shape.len())?;
        strides[axis] = Stride::new(shape[axis], start, end, step);
    }
    Ok(strides)
}

fn unslice(vjp: &mut Vjp<'_>, g: ValueId, shape: &[usize], strides: &[Stride]) -> Result<ValueId> {
    let flipped: Vec<usize> = (0..shape.len()).filter(|&axis| strides[axis].flipped).collect();
    let mut dx = if flipped.is_empty() { g } else { vjp.flip(g, &flipped)? };
    if strides.iter().any(|stride| stride.step > 1 && stride.count > 1) {
        let (mut apart, mut ends, mut merged) = (Vec::new(), Vec::new(), Vec::new());
        for stride in strides {
            let step = if stride.count > 1 { stride.step } else { 1 };
            apart.push(stride.count);
            ends.push(0);
            if step > 1 {
                apart.push(1);
                ends.push(step as i64 - 1);
            }
            merged.push(stride.count * step);
        }
        dx = vjp.reshape(dx, &apart)?;
        dx = vjp.pad(dx, &vec![0; ends.len()], &ends)?;
        dx = vjp.reshape(dx, &merged)?;
    }
    let own = vjp.shape(dx);
    let begins: Vec<i64> = strides.iter().map(|stride| stride.first as i64).collect();
    // The zeros after the last element may reach beyond the end: then they are cut off.
    let ends: Vec<i64> =
        (0..shape.len()).map(|axis| shape[axis] as i64 - own[axis] as i64 - begins[axis]).collect();
    vjp.pad(dx, &begins, &ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_take_what_a_loop_takes() {
        for size in 0usize..7 {
            for start in -9i64..9 {
                for end in [i64::MIN, -8, -7, -5, -3, -2, -1, 0, 1, 2, 4, 6, 7, 9, i64::MAX] {
                    for step in [-4i64, -3, -2, -1, 1, 2, 3, 5] {
                        // As the specification says it, element by element.
                        let length = size as i64;
                        let bound = |b: i64| if b < 0 { b.saturating_add(length) } else { b };
                        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
                        let low_start = if step > 0 { 0 } else { -1 };
                        let mut at = bound(start).max(low_start).min(high);
                        let stop = bound(end).max(low).min(high);
                        let mut expected = Vec::new();
                        while if step > 0 { at < stop } else { at > stop } {
                            expected.push(at as usize);
                            at += step;
                        }
                        let stride = Stride::new(size, start, end, step);
                        let mut got: Vec<usize> =
                            (0..stride.count).map(|index| stride.first + index * stride.step).collect();
                        if stride.flipped {
                            got.reverse();
                        }
                        assert_eq!(got, expected, "{size}: {start}..{end} by {step}");
                    }
                }
            }
        }
    }
}
