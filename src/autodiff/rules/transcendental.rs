//! Functions of one value that are smooth where they are defined: powers, exponentials, trigonometry.
//!
//! Where a derivative grows without bound (√x at 0, asin x at 1) so does the gradient, as in PyTorch.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::Result;
use crate::onnx::graph::ValueId;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Exp" => exp,
        "Log" => log,
        "Sqrt" => sqrt,
        "Reciprocal" => reciprocal,
        "Abs" => abs,
        "Sin" => sin,
        "Cos" => cos,
        "Tan" => tan,
        "Asin" => asin,
        "Acos" => acos,
        "Atan" => atan,
        "Sinh" => sinh,
        "Cosh" => cosh,
        "Asinh" => asinh,
        "Acosh" => acosh,
        "Atanh" => atanh,
        _ => return None,
    })
}

/// g y.
fn exp(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y) = (vjp.g(0)?, vjp.y(0)?);
    let dx = vjp.times(g, y)?;
    vjp.only(0, dx)
}

/// g / x.
fn log(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let dx = vjp.over(g, x)?;
    vjp.only(0, dx)
}

/// g / (2 y).
fn sqrt(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y) = (vjp.g(0)?, vjp.y(0)?);
    let half = vjp.scaled(g, 0.5)?;
    let dx = vjp.over(half, y)?;
    vjp.only(0, dx)
}

/// y = 1 / x: -g y².
fn reciprocal(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y) = (vjp.g(0)?, vjp.y(0)?);
    let square = vjp.times(y, y)?;
    let product = vjp.times(g, square)?;
    negative(vjp, product)
}

/// g sign x; 0 at 0.
fn abs(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let sign = vjp.sign(x)?;
    let dx = vjp.times(g, sign)?;
    vjp.only(0, dx)
}

/// g cos x.
fn sin(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let slope = vjp.unary("Cos", x)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// -g sin x.
fn cos(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let slope = vjp.unary("Sin", x)?;
    let product = vjp.times(g, slope)?;
    negative(vjp, product)
}

/// g (1 + y²).
fn tan(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y) = (vjp.g(0)?, vjp.y(0)?);
    let square = vjp.times(y, y)?;
    let slope = vjp.shifted(square, 1.0)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// g / √(1 - x²).
fn asin(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let square = one_minus_square(vjp, x)?;
    let root = vjp.unary("Sqrt", square)?;
    let dx = vjp.over(g, root)?;
    vjp.only(0, dx)
}

/// -g / √(1 - x²).
fn acos(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let square = one_minus_square(vjp, x)?;
    let root = vjp.unary("Sqrt", square)?;
    let quotient = vjp.over(g, root)?;
    negative(vjp, quotient)
}

/// g / (1 + x²).
fn atan(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let square = vjp.times(x, x)?;
    let below = vjp.shifted(square, 1.0)?;
    let dx = vjp.over(g, below)?;
    vjp.only(0, dx)
}

/// g cosh x.
fn sinh(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let slope = vjp.unary("Cosh", x)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// g sinh x.
fn cosh(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let slope = vjp.unary("Sinh", x)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// g / √(x² + 1).
fn asinh(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let square = vjp.times(x, x)?;
    let below = vjp.shifted(square, 1.0)?;
    let root = vjp.unary("Sqrt", below)?;
    let dx = vjp.over(g, root)?;
    vjp.only(0, dx)
}

/// g / √(x² - 1), for x > 1.
fn acosh(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let (less, more) = (vjp.shifted(x, -1.0)?, vjp.shifted(x, 1.0)?);
    let square = vjp.times(less, more)?;
    let root = vjp.unary("Sqrt", square)?;
    let dx = vjp.over(g, root)?;
    vjp.only(0, dx)
}

/// g / (1 - x²).
fn atanh(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let below = one_minus_square(vjp, x)?;
    let dx = vjp.over(g, below)?;
    vjp.only(0, dx)
}

/// 1 - x² as (1 - x) (1 + x), which keeps its digits near 1.
fn one_minus_square(vjp: &mut Vjp<'_>, x: ValueId) -> Result<ValueId> {
    let one = vjp.number_like(x, 1.0)?;
    let less = vjp.minus(one, x)?;
    let more = vjp.plus(one, x)?;
    vjp.times(less, more)
}

/// -a for the only input.
fn negative(vjp: &mut Vjp<'_>, a: ValueId) -> Gradients {
    let dx = vjp.unary("Neg", a)?;
    vjp.only(0, dx)
}
