//! Element by element: arithmetic and selection. With broadcasting, gradients are summed over what was repeated.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::onnx::graph::ValueId;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Add" | "Sum" => sum,
        "Sub" => sub,
        "Mul" => mul,
        "Div" => div,
        "Mean" => mean,
        "Neg" => neg,
        "Max" | "Min" => extreme,
        "Pow" => pow,
        "Where" => choice,
        "Cast" | "CastLike" => cast,
        _ => return None,
    })
}

/// Any number of terms: g for each.
fn sum(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    shared(vjp, g)
}

/// Of n terms: g / n for each.
fn mean(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, count) = (vjp.g(0)?, vjp.node.inputs.len());
    let g = vjp.scaled(g, 1.0 / count as f64)?;
    shared(vjp, g)
}

/// `g` for every input, summed to its shape.
fn shared(vjp: &mut Vjp<'_>, g: ValueId) -> Gradients {
    (0..vjp.node.inputs.len())
        .map(|index| if vjp.wants(index) { vjp.reduced(index, g).map(Some) } else { Ok(None) })
        .collect()
}

/// g and -g.
fn sub(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let a = if vjp.wants(0) { Some(vjp.reduced(0, g)?) } else { None };
    let b = if vjp.wants(1) {
        let summed = vjp.reduced(1, g)?;
        Some(vjp.unary("Neg", summed)?)
    } else {
        None
    };
    Ok(vec![a, b])
}

/// g b and g a.
fn mul(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, a, b) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let da = if vjp.wants(0) { Some(vjp.product_to(0, g, b)?) } else { None };
    let db = if vjp.wants(1) { Some(vjp.product_to(1, g, a)?) } else { None };
    Ok(vec![da, db])
}

/// y = a / b: g / b and -g y / b.
fn div(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, b) = (vjp.g(0)?, vjp.x(1)?);
    let quotient = vjp.over(g, b)?;
    let da = if vjp.wants(0) { Some(vjp.reduced(0, quotient)?) } else { None };
    let db = if vjp.wants(1) {
        let y = vjp.y(0)?;
        let product = vjp.product_to(1, quotient, y)?;
        Some(vjp.unary("Neg", product)?)
    } else {
        None
    };
    Ok(vec![da, db])
}

fn neg(vjp: &mut Vjp<'_>) -> Gradients {
    let g = vjp.g(0)?;
    let dx = vjp.unary("Neg", g)?;
    vjp.only(0, dx)
}

/// The gradient goes to the inputs that are the extreme, in equal parts where several are (as PyTorch's `maximum`).
fn extreme(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y) = (vjp.g(0)?, vjp.y(0)?);
    let shape = vjp.shape(y);
    let mut masks = Vec::new();
    for index in 0..vjp.node.inputs.len() {
        let x = vjp.x(index)?;
        let equal = vjp.binary("Equal", x, y)?;
        masks.push(vjp.cast_like(equal, g)?);
    }
    if let [_] = masks[..] {
        return vjp.only(0, g);
    }
    let mut ties = masks[0];
    for mask in &masks[1..] {
        ties = vjp.plus(ties, *mask)?;
    }
    let part = vjp.over(g, ties)?;
    debug_assert_eq!(vjp.shape(part), shape);
    (0..masks.len())
        .map(|index| {
            if !vjp.wants(index) {
                return Ok(None);
            }
            let own = vjp.times(part, masks[index])?;
            vjp.reduced(index, own).map(Some)
        })
        .collect()
}

/// y = a^b: g b a^(b-1), and g y ln a, taken as 0 where a is not positive (there the power has no derivative in b).
fn pow(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, a, b) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let da = if vjp.wants(0) {
        let derivative = match vjp.graph.known(b).and_then(|constant| constant.to_f64()).as_deref() {
            // The common exponents without a power; of 0 the power would be an infinity times 0 where a is 0.
            Some(&[exponent]) if !vjp.wants(1) && exponent == 2.0 => vjp.scaled(a, 2.0)?,
            Some(&[exponent]) if !vjp.wants(1) && (exponent == 0.0 || exponent == 1.0) => {
                vjp.number_like(a, exponent)?
            }
            Some(&[exponent]) if !vjp.wants(1) => {
                let lower = vjp.number_like(a, exponent - 1.0)?;
                let power = vjp.binary("Pow", a, lower)?;
                vjp.scaled(power, exponent)?
            }
            _ => {
                let exponent = vjp.cast_like(b, a)?;
                let lower = vjp.shifted(exponent, -1.0)?;
                let power = vjp.binary("Pow", a, lower)?;
                let slope = vjp.times(exponent, power)?;
                let zero = vjp.number_like(a, 0.0)?;
                let constant = vjp.binary("Equal", exponent, zero)?;
                vjp.choose(constant, zero, slope)?
            }
        };
        Some(vjp.product_to(0, g, derivative)?)
    } else {
        None
    };
    let db = if vjp.wants(1) {
        let y = vjp.y(0)?;
        let zero = vjp.number_like(a, 0.0)?;
        let one = vjp.number_like(a, 1.0)?;
        let positive = vjp.binary("Greater", a, zero)?;
        let safe = vjp.choose(positive, a, one)?;
        let log = vjp.unary("Log", safe)?;
        let slope = vjp.times(y, log)?;
        Some(vjp.product_to(1, g, slope)?)
    } else {
        None
    };
    Ok(vec![da, db])
}

/// Where(c, a, b): g where c, and g where not c.
fn choice(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, condition) = (vjp.g(0)?, vjp.x(0)?);
    let a = if vjp.wants(1) {
        let chosen = vjp.gated(condition, g)?;
        Some(vjp.reduced(1, chosen)?)
    } else {
        None
    };
    let b = if vjp.wants(2) {
        let other = vjp.unary("Not", condition)?;
        let chosen = vjp.gated(other, g)?;
        Some(vjp.reduced(2, chosen)?)
    } else {
        None
    };
    Ok(vec![None, a, b])
}

fn cast(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let dx = vjp.cast_like(g, x)?;
    vjp.only(0, dx)
}
