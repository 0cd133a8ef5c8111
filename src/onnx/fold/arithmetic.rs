//! Element by element.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::fold::array::{Array, Elements, broadcast_places};
use crate::onnx::fold::{Evaluation, Rule};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "And" | "Or" | "Xor" | "BitwiseAnd" | "BitwiseOr"
        | "BitwiseXor" => binary,
        "Max" | "Min" | "Sum" => several,
        "Mean" => mean,
        "Pow" => power,
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" => compared,
        "Where" => chosen,
        "Cast" | "CastLike" => cast,
        "Identity" => identity,
        "Clip" => clip,
        "Not" | "BitwiseNot" => inverted,
        "Abs" | "Neg" | "Sign" | "Relu" | "Floor" | "Ceil" | "Round" | "Sqrt" | "Exp" | "Log"
        | "Reciprocal" | "Sin" | "Cos" | "Tan" | "Tanh" | "Sigmoid" => unary,
        "IsNaN" => is_nan,
        _ => return None,
    })
}

type Made = Result<Option<Vec<Array>>>;

/// Input `index`, broadcast to the shape of the output.
fn spread(evaluation: &Evaluation<'_>, index: usize) -> Result<Array> {
    let (input, shape) = (evaluation.input(index)?, evaluation.shape());
    if input.shape == shape {
        return Ok(input.clone());
    }
    Ok(input.gather(shape, &broadcast_places(&input.shape, shape)))
}

/// Two arrays of one shape as one.
fn zip(
    evaluation: &Evaluation<'_>,
    a: &Array,
    b: &Array,
    ints: impl Fn(i64, i64) -> Option<i64>,
    floats: impl Fn(f64, f64) -> Option<f64>,
) -> Option<Array> {
    let shape = evaluation.shape();
    Some(match (&a.elements, &b.elements) {
        (Elements::Ints(a), Elements::Ints(b)) => {
            Array::ints(shape, a.iter().zip(b).map(|(&a, &b)| ints(a, b)).collect::<Option<_>>()?)
        }
        _ => {
            let (a, b) = (a.to_floats(), b.to_floats());
            Array::floats(shape, a.iter().zip(&b).map(|(&a, &b)| floats(a, b)).collect::<Option<_>>()?)
        }
    })
}

fn binary(evaluation: &Evaluation<'_>) -> Made {
    let (a, b) = (spread(evaluation, 0)?, spread(evaluation, 1)?);
    let node = evaluation.node;
    let divides = matches!(node.op_type.as_str(), "Div" | "Mod");
    if divides && b.as_ints().is_some_and(|ints| ints.contains(&0)) {
        return Err(node.invalid("division by zero"));
    }
    let keeps_sign = node.int_or("fmod", 0) != 0;
    let ints = |a: i64, b: i64| {
        Some(match node.op_type.as_str() {
            "Add" => a.wrapping_add(b),
            "Sub" => a.wrapping_sub(b),
            "Mul" => a.wrapping_mul(b),
            // Toward zero.
            "Div" => a.wrapping_div(b),
            "Mod" if keeps_sign => a.wrapping_rem(b),
            "Mod" => {
                // With the sign of the divisor.
                let rest = a.wrapping_rem(b);
                if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
            }
            "And" | "BitwiseAnd" => a & b,
            "Or" | "BitwiseOr" => a | b,
            "Xor" | "BitwiseXor" => a ^ b,
            _ => return None,
        })
    };
    let floats = |a: f64, b: f64| {
        Some(match node.op_type.as_str() {
            "Add" => a + b,
            "Sub" => a - b,
            "Mul" => a * b,
            "Div" => a / b,
            "Mod" if keeps_sign => a % b,
            _ => return None,
        })
    };
    Ok(zip(evaluation, &a, &b, ints, floats).map(|made| vec![made]))
}

/// Of any number of inputs.
fn several(evaluation: &Evaluation<'_>) -> Made {
    let kind = evaluation.node.op_type.as_str();
    let ints = |a: i64, b: i64| {
        Some(match kind {
            "Max" => a.max(b),
            "Min" => a.min(b),
            _ => a.wrapping_add(b),
        })
    };
    let floats = |a: f64, b: f64| {
        Some(match kind {
            // Not a number stays.
            "Max" | "Min" if a.is_nan() || b.is_nan() => f64::NAN,
            "Max" => a.max(b),
            "Min" => a.min(b),
            _ => a + b,
        })
    };
    let mut made = spread(evaluation, 0)?;
    for index in 1..evaluation.inputs.len() {
        match zip(evaluation, &made, &spread(evaluation, index)?, ints, floats) {
            Some(next) => made = next,
            None => return Ok(None),
        }
    }
    Ok(Some(vec![made]))
}

fn mean(evaluation: &Evaluation<'_>) -> Made {
    let mut sums = spread(evaluation, 0)?.to_floats();
    for index in 1..evaluation.inputs.len() {
        let terms = spread(evaluation, index)?.to_floats();
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
    }
    let count = evaluation.inputs.len() as f64;
    sums.iter_mut().for_each(|sum| *sum /= count);
    Ok(Some(vec![Array::floats(evaluation.shape(), sums)]))
}

/// In floating point, also for integers.
fn power(evaluation: &Evaluation<'_>) -> Made {
    let (a, b) = (spread(evaluation, 0)?, spread(evaluation, 1)?);
    let powers = a.to_floats().iter().zip(b.to_floats()).map(|(a, b)| a.powf(b)).collect();
    Ok(Some(vec![Array::floats(evaluation.shape(), powers)]))
}

fn compared(evaluation: &Evaluation<'_>) -> Made {
    let (a, b) = (spread(evaluation, 0)?, spread(evaluation, 1)?);
    fn holds<T: PartialOrd>(operator: &str, a: &T, b: &T) -> i64 {
        i64::from(match operator {
            "Equal" => a == b,
            "Less" => a < b,
            "LessOrEqual" => a <= b,
            "Greater" => a > b,
            _ => a >= b,
        })
    }
    let operator = evaluation.node.op_type.as_str();
    let truths = match (&a.elements, &b.elements) {
        (Elements::Ints(a), Elements::Ints(b)) => {
            a.iter().zip(b).map(|(a, b)| holds(operator, a, b)).collect()
        }
        _ => {
            let (a, b) = (a.to_floats(), b.to_floats());
            a.iter().zip(&b).map(|(a, b)| holds(operator, a, b)).collect()
        }
    };
    Ok(Some(vec![Array::ints(evaluation.shape(), truths)]))
}

fn chosen(evaluation: &Evaluation<'_>) -> Made {
    let condition = spread(evaluation, 0)?;
    let (a, b) = (spread(evaluation, 1)?, spread(evaluation, 2)?);
    let Some(condition) = condition.as_ints() else { return Ok(None) };
    fn pick<T: Copy>(condition: &[i64], a: &[T], b: &[T]) -> Vec<T> {
        condition.iter().zip(a.iter().zip(b)).map(|(&is, (&a, &b))| if is != 0 { a } else { b }).collect()
    }
    let elements = match (&a.elements, &b.elements) {
        (Elements::Ints(a), Elements::Ints(b)) => Elements::Ints(pick(condition, a, b)),
        (Elements::Floats(a), Elements::Floats(b)) => Elements::Floats(pick(condition, a, b)),
        _ => return Ok(None),
    };
    Ok(Some(vec![Array { shape: evaluation.shape().to_vec(), elements }]))
}

/// The conversion is that of the constant's bytes: integers wrap, floating point is cut off toward zero. What lies
/// outside of the integer type has no defined value, so it is left to the runtime.
fn cast(evaluation: &Evaluation<'_>) -> Made {
    let input = evaluation.input(0)?;
    let Some(target) = evaluation.types.first().map(|kind| kind.element) else { return Ok(None) };
    if let Elements::Floats(floats) = &input.elements
        && let Some((low, high)) = bounds(target)
    {
        let inside = |value: &f64| value.trunc() >= low && value.trunc() <= high;
        if !floats.iter().all(inside) {
            return Ok(None);
        }
    }
    Ok(Some(vec![input.clone()]))
}

/// The least and the greatest value of an integer type, as far as `f64` has them.
fn bounds(element: ElementType) -> Option<(f64, f64)> {
    Some(match element {
        ElementType::Int64 => (i64::MIN as f64, 9_223_372_036_854_774_784.0),
        ElementType::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        ElementType::Int16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        ElementType::Int8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
        ElementType::Uint64 => (0.0, 18_446_744_073_709_549_568.0),
        ElementType::Uint32 => (0.0, f64::from(u32::MAX)),
        ElementType::Uint16 => (0.0, f64::from(u16::MAX)),
        ElementType::Uint8 => (0.0, f64::from(u8::MAX)),
        _ => return None,
    })
}

fn identity(evaluation: &Evaluation<'_>) -> Made {
    Ok(Some(vec![evaluation.input(0)?.clone()]))
}

/// Between the bounds, of which each may be left out; the upper one wins where they cross.
fn clip(evaluation: &Evaluation<'_>) -> Made {
    let bound = |index: usize| evaluation.inputs.get(index).and_then(Option::as_ref);
    let mut made = evaluation.input(0)?.clone();
    for (index, upper) in [(1, false), (2, true)] {
        let Some(bound) = bound(index) else { continue };
        match (&mut made.elements, &bound.elements) {
            (Elements::Ints(ints), Elements::Ints(bound)) => {
                let &[bound] = &bound[..] else { return Ok(None) };
                for value in ints {
                    *value = if upper { (*value).min(bound) } else { (*value).max(bound) };
                }
            }
            (Elements::Floats(floats), Elements::Floats(bound)) => {
                let &[bound] = &bound[..] else { return Ok(None) };
                for value in floats.iter_mut().filter(|value| !value.is_nan()) {
                    *value = if upper { value.min(bound) } else { value.max(bound) };
                }
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(vec![made]))
}

fn inverted(evaluation: &Evaluation<'_>) -> Made {
    let input = evaluation.input(0)?;
    let Some(ints) = input.as_ints() else { return Ok(None) };
    let bits = evaluation.node.is("BitwiseNot");
    let made = ints.iter().map(|&value| if bits { !value } else { i64::from(value == 0) }).collect();
    Ok(Some(vec![Array::ints(input.shape.clone(), made)]))
}

fn unary(evaluation: &Evaluation<'_>) -> Made {
    let input = evaluation.input(0)?;
    let operator = evaluation.node.op_type.as_str();
    let elements = match &input.elements {
        Elements::Ints(ints) => {
            let one = |value: i64| {
                Some(match operator {
                    "Abs" => value.wrapping_abs(),
                    "Neg" => value.wrapping_neg(),
                    "Sign" => value.signum(),
                    "Relu" => value.max(0),
                    _ => return None,
                })
            };
            ints.iter().map(|&value| one(value)).collect::<Option<_>>().map(Elements::Ints)
        }
        Elements::Floats(floats) => {
            let one = |value: f64| {
                Some(match operator {
                    "Abs" => value.abs(),
                    "Neg" => -value,
                    "Sign" if value == 0.0 => 0.0,
                    "Sign" => value.signum(),
                    "Relu" if value.is_nan() => value,
                    "Relu" => value.max(0.0),
                    "Floor" => value.floor(),
                    "Ceil" => value.ceil(),
                    "Round" => value.round_ties_even(),
                    "Sqrt" => value.sqrt(),
                    "Exp" => value.exp(),
                    "Log" => value.ln(),
                    "Reciprocal" => value.recip(),
                    "Sin" => value.sin(),
                    "Cos" => value.cos(),
                    "Tan" => value.tan(),
                    "Tanh" => value.tanh(),
                    "Sigmoid" => 1.0 / (1.0 + (-value).exp()),
                    _ => return None,
                })
            };
            floats.iter().map(|&value| one(value)).collect::<Option<_>>().map(Elements::Floats)
        }
    };
    Ok(elements.map(|elements| vec![Array { shape: input.shape.clone(), elements }]))
}

fn is_nan(evaluation: &Evaluation<'_>) -> Made {
    let input = evaluation.input(0)?;
    let made = input.to_floats().iter().map(|value| i64::from(value.is_nan())).collect();
    Ok(Some(vec![Array::ints(input.shape.clone(), made)]))
}
