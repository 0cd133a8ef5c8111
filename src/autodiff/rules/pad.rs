//! Pad, in all its modes.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::Result;
use crate::onnx::graph::ValueId;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    (op_type == "Pad").then_some(pad)
}

/// With constants around: g without what was added, and zeros where the pad cut off. With elements of x around
/// (`reflect`, `edge`, `wrap`): every element gets the sum of the gradients of its copies, axis after axis. The value of
/// the constant has no gradient.
fn pad(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let shape = vjp.shape(vjp.x(0)?);
    let (begins, ends) = amounts(vjp, shape.len())?;
    let mode = vjp.node.text_or("mode", "constant").to_owned();
    if vjp.shape(g).contains(&0) {
        let dx = vjp.zeros(&shape, g)?;
        return vjp.only(0, dx);
    }
    let mut dx = g;
    if mode == "constant" {
        let back = |counts: &[i64]| counts.iter().map(|count| -count).collect::<Vec<_>>();
        dx = if begins.iter().chain(&ends).all(|&count| count >= 0) {
            cropped(vjp, g, &shape, &begins)?
        } else {
            vjp.pad(g, &back(&begins), &back(&ends))?
        };
        return vjp.only(0, dx);
    }
    for axis in 0..shape.len() {
        if begins[axis] != 0 || ends[axis] != 0 {
            let sources = sources(&mode, shape[axis], begins[axis], ends[axis])
                .ok_or_else(|| vjp.node.unsupported(format!("mode {mode:?} with these amounts")))?;
            dx = folded(vjp, dx, axis, shape[axis], &sources)?;
        }
    }
    vjp.only(0, dx)
}

/// How much is added before and after every axis.
fn amounts(vjp: &Vjp<'_>, rank: usize) -> Result<(Vec<i64>, Vec<i64>)> {
    let pads = vjp.ints(1)?.ok_or_else(|| vjp.node.invalid("the amounts are missing"))?;
    let axes = vjp.ints(3)?.unwrap_or_else(|| (0..rank as i64).collect());
    if pads.len() != 2 * axes.len() {
        return Err(vjp.node.invalid(format!("{} amounts for {} axes", pads.len(), axes.len())));
    }
    let (mut begins, mut ends) = (vec![0; rank], vec![0; rank]);
    for (index, &axis) in axes.iter().enumerate() {
        let axis = vjp.axis(axis, rank)?;
        (begins[axis], ends[axis]) = (pads[index], pads[index + axes.len()]);
    }
    Ok((begins, ends))
}

/// The part of `g` with `shape` that begins at `begins`.
fn cropped(vjp: &mut Vjp<'_>, g: ValueId, shape: &[usize], begins: &[i64]) -> Result<ValueId> {
    let own = vjp.shape(g);
    let axes: Vec<usize> = (0..shape.len()).filter(|&axis| own[axis] != shape[axis]).collect();
    if axes.is_empty() {
        return Ok(g);
    }
    let starts: Vec<i64> = axes.iter().map(|&axis| begins[axis]).collect();
    let stops: Vec<i64> = axes.iter().map(|&axis| begins[axis] + shape[axis] as i64).collect();
    vjp.slice(g, &axes, &starts, &stops, &vec![1; axes.len()])
}

/// For every element of the padded axis, which element of the axis it is a copy of. Negative amounts cut off first.
fn sources(mode: &str, size: usize, begin: i64, end: i64) -> Option<Vec<usize>> {
    let cut = -begin.min(0);
    let kept = size as i64 - cut + end.min(0);
    let total = kept + begin.max(0) + end.max(0);
    if kept <= 0 {
        return None;
    }
    let source = |at: i64| match mode {
        "edge" => Some(at.clamp(0, kept - 1)),
        "wrap" => Some(at.rem_euclid(kept)),
        "reflect" if kept == 1 => Some(0),
        "reflect" => {
            let period = 2 * (kept - 1);
            let within = at.rem_euclid(period);
            Some(if within < kept { within } else { period - within })
        }
        _ => None,
    };
    (0..total).map(|at| source(at - begin.max(0)).map(|at| (at + cut) as usize)).collect()
}

/// A stretch of a padded axis whose sources are neighbours.
#[derive(Debug, PartialEq)]
struct Run {
    /// Where it begins in the padded axis.
    at: usize,
    /// How many elements it has.
    count: usize,
    /// From source to source: 1, -1, or 0 where all are copies of one.
    step: i64,
    /// The lowest source.
    low: usize,
}

/// Cuts an axis into runs.
fn runs(sources: &[usize]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < sources.len() {
        let step_at = |index: usize| sources[index + 1] as i64 - sources[index] as i64;
        let mut count = 1;
        let mut step = 1;
        if at + 1 < sources.len() && step_at(at).abs() <= 1 {
            step = step_at(at);
            while at + count < sources.len() && step_at(at + count - 1) == step {
                count += 1;
            }
        }
        let low = sources[at].min(sources[at + count - 1]);
        runs.push(Run { at, count, step, low });
        at += count;
    }
    runs
}

/// Sums along `axis` of `g` what has the same source. A run is cut out, turned round or summed, and padded into its
/// place.
fn folded(vjp: &mut Vjp<'_>, g: ValueId, axis: usize, size: usize, sources: &[usize]) -> Result<ValueId> {
    let rank = vjp.shape(g).len();
    let mut sum: Option<ValueId> = None;
    for run in runs(sources) {
        let (start, stop) = (run.at as i64, (run.at + run.count) as i64);
        let mut part = vjp.slice(g, &[axis], &[start], &[stop], &[1])?;
        let mut length = run.count;
        match run.step {
            -1 => part = vjp.flip(part, &[axis])?,
            0 => {
                part = vjp.sum(part, &[axis])?;
                length = 1;
            }
            _ => {}
        }
        let (mut begins, mut ends) = (vec![0; rank], vec![0; rank]);
        begins[axis] = run.low as i64;
        ends[axis] = (size - run.low - length) as i64;
        let placed = vjp.pad(part, &begins, &ends)?;
        sum = Some(match sum {
            Some(sum) => vjp.plus(sum, placed)?,
            None => placed,
        });
    }
    sum.ok_or_else(|| crate::error::Error::internal("a padded axis without elements"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_numpys() {
        assert_eq!(sources("reflect", 3, 4, 2).unwrap(), [0, 1, 2, 1, 0, 1, 2, 1, 0]);
        assert_eq!(sources("edge", 3, 2, 1).unwrap(), [0, 0, 0, 1, 2, 2]);
        assert_eq!(sources("wrap", 3, 2, 4).unwrap(), [1, 2, 0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(sources("edge", 4, -1, 2).unwrap(), [1, 2, 3, 3, 3]);
        assert_eq!(sources("reflect", 1, 1, 1).unwrap(), [0, 0, 0]);
        assert_eq!(sources("mirror", 3, 1, 1), None);
    }

    #[test]
    fn runs_cover_an_axis() {
        for sources in
            [&[0, 1, 2, 1, 0, 1, 2, 1, 0][..], &[0, 0, 0, 1, 2, 2], &[1, 2, 0, 1, 2, 0], &[0], &[3, 0]]
        {
            let mut again = Vec::new();
            for run in runs(sources) {
                assert_eq!(run.at, again.len());
                let top = run.low as i64 + (run.count as i64 - 1) * run.step.abs();
                let first = if run.step < 0 { top } else { run.low as i64 };
                again.extend((0..run.count as i64).map(|index| (first + index * run.step) as usize));
            }
            assert_eq!(again, sources);
        }
    }
}
