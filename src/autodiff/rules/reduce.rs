//! Reductions over axes.
//!
//! The axes are an input that is known; without them all axes are reduced, or with `noop_with_empty_axes` none, and then
//! the formulas below are those of a single element. Below, gradient and result are brought to the shape that keeps
//! reduced axes with size 1, so that they broadcast.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::Result;
use crate::onnx::graph::ValueId;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "ReduceSum" => sum,
        "ReduceMean" => mean,
        "ReduceMax" | "ReduceMin" => extreme,
        "ReduceL1" => l1,
        "ReduceL2" => l2,
        "ReduceLogSum" => log_sum,
        "ReduceLogSumExp" => log_sum_exp,
        "ReduceSumSquare" => sum_square,
        "ReduceProd" => product,
        _ => return None,
    })
}

/// What the rules of this family begin with.
struct Reduction {
    /// Axes that are reduced.
    axes: Vec<usize>,
    /// Shape of the result with those axes kept.
    kept: Vec<usize>,
    /// Gradient of the result, in that shape.
    g: ValueId,
}

impl Reduction {
    fn new(vjp: &mut Vjp<'_>) -> Result<Reduction> {
        let shape = vjp.shape(vjp.x(0)?);
        let given = vjp.ints(1)?.unwrap_or_default();
        let axes = if given.is_empty() {
            let count = if vjp.node.int_or("noop_with_empty_axes", 0) == 0 { shape.len() } else { 0 };
            (0..count).collect()
        } else {
            given.into_iter().map(|axis| vjp.axis(axis, shape.len())).collect::<Result<Vec<_>>>()?
        };
        let mut kept = shape;
        for &axis in &axes {
            kept[axis] = 1;
        }
        let g = vjp.g(0)?;
        let g = vjp.reshape(g, &kept)?;
        Ok(Reduction { axes, kept, g })
    }

    /// The result, in the shape of the gradient.
    fn y(&self, vjp: &mut Vjp<'_>) -> Result<ValueId> {
        let y = vjp.y(0)?;
        vjp.reshape(y, &self.kept)
    }
}

/// g, repeated.
fn sum(vjp: &mut Vjp<'_>) -> Gradients {
    let reduction = Reduction::new(vjp)?;
    repeated(vjp, reduction.g)
}

/// g / n, repeated, of n elements.
fn mean(vjp: &mut Vjp<'_>) -> Gradients {
    let Reduction { axes, g, .. } = Reduction::new(vjp)?;
    let shape = vjp.shape(vjp.x(0)?);
    let count: usize = axes.iter().map(|&axis| shape[axis]).product();
    let share = vjp.scaled(g, 1.0 / count.max(1) as f64)?;
    repeated(vjp, share)
}

fn repeated(vjp: &mut Vjp<'_>, g: ValueId) -> Gradients {
    let shape = vjp.shape(vjp.x(0)?);
    let dx = vjp.expand(g, &shape)?;
    vjp.only(0, dx)
}

/// g for the extreme, in equal parts where several elements are (as PyTorch's `amax`).
fn extreme(vjp: &mut Vjp<'_>) -> Gradients {
    let reduction = Reduction::new(vjp)?;
    let (x, y) = (vjp.x(0)?, reduction.y(vjp)?);
    let equal = vjp.binary("Equal", x, y)?;
    let mask = vjp.cast_like(equal, x)?;
    let ties = vjp.sum(mask, &reduction.axes)?;
    let part = vjp.over(reduction.g, ties)?;
    let dx = vjp.times(mask, part)?;
    vjp.only(0, dx)
}

/// y = Σ |x|: g sign x.
fn l1(vjp: &mut Vjp<'_>) -> Gradients {
    let reduction = Reduction::new(vjp)?;
    let x = vjp.x(0)?;
    let sign = vjp.sign(x)?;
    let dx = vjp.times(sign, reduction.g)?;
    vjp.only(0, dx)
}

/// y = √Σ x²: g x / y, and 0 where y is (then every x is 0, and 1 stands for y).
fn l2(vjp: &mut Vjp<'_>) -> Gradients {
    let reduction = Reduction::new(vjp)?;
    let (x, y) = (vjp.x(0)?, reduction.y(vjp)?);
    let zero = vjp.number_like(y, 0.0)?;
    let vanishing = vjp.binary("Equal", y, zero)?;
    let one = vjp.cast_like(vanishing, y)?;
    let below = vjp.plus(y, one)?;
    let factor = vjp.over(reduction.g, below)?;
    let dx = vjp.times(x, factor)?;
    vjp.only(0, dx)
}

/// y = ln Σ x: g / Σ x = g e^-y, repeated.
fn log_sum(vjp: &mut Vjp<'_>) -> Gradients {
    let reduction = Reduction::new(vjp)?;
    let y = reduction.y(vjp)?;
    let minus = vjp.unary("Neg", y)?;
    let inverse = vjp.unary("Exp", minus)?;
    let share = vjp.times(reduction.g, inverse)?;
    repeated(vjp, share)
}

/// y = ln Σ eˣ: g e^(x - y), which does not overflow as x ≤ y.
fn log_sum_exp(vjp: &mut Vjp<'_>) -> Gradients {
    let reduction = Reduction::new(vjp)?;
    let (x, y) = (vjp.x(0)?, reduction.y(vjp)?);
    let power = vjp.minus(x, y)?;
    let share = vjp.unary("Exp", power)?;
    let dx = vjp.times(share, reduction.g)?;
    vjp.only(0, dx)
}

/// y = Σ x²: 2 g x.
fn sum_square(vjp: &mut Vjp<'_>) -> Gradients {
    let reduction = Reduction::new(vjp)?;
    let x = vjp.x(0)?;
    let double = vjp.scaled(reduction.g, 2.0)?;
    let dx = vjp.times(x, double)?;
    vjp.only(0, dx)
}

/// y = Π x: g times the product of the other elements, right with zeros too.
///
/// Let z mark the zeros, c be their count and p the product with ones in their place. The product of the others is
/// p / x where c = 0, p at the only zero where c = 1, and else 0: so p / (x + z) where z = c, else 0.
fn product(vjp: &mut Vjp<'_>) -> Gradients {
    let reduction = Reduction::new(vjp)?;
    let x = vjp.x(0)?;
    let zero = vjp.number_like(x, 0.0)?;
    let zeros = vjp.binary("Equal", x, zero)?;
    let zeros = vjp.cast_like(zeros, x)?;
    let count = vjp.sum(zeros, &reduction.axes)?;
    let filled = vjp.plus(x, zeros)?;
    let p = vjp.reduce("ReduceProd", filled, &reduction.axes, true)?;
    let scaled = vjp.times(reduction.g, p)?;
    let others = vjp.over(scaled, filled)?;
    let counts = vjp.binary("Equal", zeros, count)?;
    let dx = vjp.gated(counts, others)?;
    vjp.only(0, dx)
}
