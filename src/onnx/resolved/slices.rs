//! Slices.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node};
use crate::onnx::resolved::{axis_of, ints};

/// What a Slice takes along one axis: elements `start + i step` for `i` below `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first element, below the size of the axis where `count` is not 0.
    pub(crate) start: usize,
    /// Distance to the next one, negative for backwards, never 0.
    pub(crate) step: i64,
    /// Number of elements.
    pub(crate) count: usize,
}

impl Span {
    /// All of an axis.
    pub(crate) fn all(count: usize) -> Span {
        Span { start: 0, step: 1, count }
    }

    /// The element of the axis that is element `index` of the slice.
    pub(crate) fn at(&self, index: usize) -> usize {
        (self.start as i64 + index as i64 * self.step) as usize
    }

    /// By the rules of the specification: bounds from the end where negative, then clamped to the axis. Beyond these, an
    /// end of `i32::MAX` or `i64::MAX` means "to the last one" backwards too, as in ONNX Runtime, which runs the graph.
    fn new(size: usize, start: i64, end: i64, step: i64) -> Span {
        let size = i128::from(size as u64);
        let from_end = |bound: i64| i128::from(bound) + if bound < 0 { size } else { 0 };
        let is_open = end == i64::MAX || end == i64::from(i32::MAX);
        let (start, end) = if step > 0 {
            let end = if is_open { size } else { from_end(end).min(size).max(0) };
            (from_end(start).min(size).max(0), end)
        } else {
            // The end is not taken: -1 stands for "to the first element".
            let end = if is_open { -1 } else { from_end(end).max(-1).min(size - 1) };
            (from_end(start).max(0).min(size - 1), end)
        };
        let (distance, step_size) = if step > 0 { (end - start, step) } else { (start - end, step) };
        let step_size = i128::from(step_size).abs();
        let count = if distance > 0 { (distance + step_size - 1) / step_size } else { 0 };
        if count == 0 {
            return Span { start: 0, step, count: 0 };
        }
        // The step of a single element has no meaning and may be beyond all bounds.
        Span {
            start: start as usize,
            step: if count == 1 { step.signum() } else { step },
            count: count as usize,
        }
    }
}

/// What a Slice takes along every axis of its input.
///
/// # Errors
/// `ModelInvalid` for lists of different lengths, steps of 0, and axes that the input does not have or that come twice;
/// `ModelUnsupported` where bounds depend on data.
pub(crate) fn spans(graph: &Graph, node: &Node) -> Result<Vec<Span>> {
    let shape = graph.shape(node.needed(0)?);
    let missing = |index: usize| node.invalid(format!("input {index} is missing"));
    let starts = ints(graph, node, 1)?.ok_or_else(|| missing(1))?;
    let ends = ints(graph, node, 2)?.ok_or_else(|| missing(2))?;
    let axes = ints(graph, node, 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = ints(graph, node, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(node.invalid("starts, ends, axes and steps differ in length"));
    }
    let mut spans: Vec<Span> = shape.iter().map(|&dim| Span::all(dim)).collect();
    let mut seen = vec![false; shape.len()];
    for index in 0..starts.len() {
        let axis = axis_of(node, axes[index], shape.len())?;
        if std::mem::replace(&mut seen[axis], true) {
            return Err(node.invalid(format!("axis {axis} is sliced twice")));
        }
        if steps[index] == 0 {
            return Err(node.invalid("a step of 0"));
        }
        spans[axis] = Span::new(shape[axis], starts[index], ends[index], steps[index]);
    }
    Ok(spans)
}
