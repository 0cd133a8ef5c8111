//! Element by element.

use super::{Call, Operator};
use crate::autodiff::tests::array::{Array, Data, broadcast_shape};
use crate::onnx::ElementType;

pub(super) fn operator(op_type: &str) -> Option<Operator> {
    Some(match op_type {
        "Identity" => |call| vec![call.x(0).clone()],
        "Abs" => |call| signed(call, f64::abs, i64::abs),
        "Neg" => |call| signed(call, |x| -x, |x| -x),
        "Sign" => |call| signed(call, sign, i64::signum),
        "Acos" => |call| one(call, f64::acos),
        "Acosh" => |call| one(call, f64::acosh),
        "Asin" => |call| one(call, f64::asin),
        "Asinh" => |call| one(call, f64::asinh),
        "Atan" => |call| one(call, f64::atan),
        "Atanh" => |call| one(call, f64::atanh),
        "Ceil" => |call| one(call, f64::ceil),
        "Cos" => |call| one(call, f64::cos),
        "Cosh" => |call| one(call, f64::cosh),
        "Erf" => |call| one(call, erf),
        "Exp" => |call| one(call, f64::exp),
        "Floor" => |call| one(call, f64::floor),
        "Log" => |call| one(call, f64::ln),
        "Reciprocal" => |call| one(call, |x| 1.0 / x),
        "Relu" => |call| signed(call, |x| x.max(0.0), |x| x.max(0)),
        "Round" => |call| one(call, f64::round_ties_even),
        "Sigmoid" => |call| one(call, sigmoid),
        "Sin" => |call| one(call, f64::sin),
        "Sinh" => |call| one(call, f64::sinh),
        "Softplus" => |call| one(call, softplus),
        "Softsign" => |call| one(call, |x| x / (1.0 + x.abs())),
        "Sqrt" => |call| one(call, f64::sqrt),
        "Tan" => |call| one(call, f64::tan),
        "Tanh" => |call| one(call, f64::tanh),
        "Mish" => |call| one(call, |x| x * softplus(x).tanh()),
        "HardSwish" => |call| one(call, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        "HardSigmoid" => |call| {
            let (alpha, beta) = (call.number("alpha", 0.2), call.number("beta", 0.5));
            one(call, |x| (alpha * x + beta).clamp(0.0, 1.0))
        },
        "Elu" => |call| {
            let alpha = call.number("alpha", 1.0);
            one(call, |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
        },
        "Celu" => |call| {
            let alpha = call.number("alpha", 1.0);
            one(call, |x| x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0))
        },
        "Selu" => |call| {
            let alpha = call.number("alpha", 1.673_263_2);
            let gamma = call.number("gamma", 1.050_701);
            one(call, |x| if x > 0.0 { gamma * x } else { gamma * alpha * x.exp_m1() })
        },
        "LeakyRelu" => |call| {
            let alpha = call.number("alpha", 0.01);
            one(call, |x| if x < 0.0 { alpha * x } else { x })
        },
        "ThresholdedRelu" => |call| {
            let alpha = call.number("alpha", 1.0);
            one(call, |x| if x > alpha { x } else { 0.0 })
        },
        "Shrink" => |call| {
            let (bias, lambda) = (call.number("bias", 0.0), call.number("lambd", 0.5));
            one(call, |x| match x {
                x if x < -lambda => x + bias,
                x if x > lambda => x - bias,
                _ => 0.0,
            })
        },
        "Swish" => |call| {
            let alpha = call.number("alpha", 1.0);
            one(call, |x| x * sigmoid(alpha * x))
        },
        "Gelu" => |call| match call.node.text_or("approximate", "none") {
            "tanh" => one(call, |x| {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }),
            _ => one(call, |x| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))),
        },
        "Clip" => clip,
        "PRelu" => |call| {
            let slope = call.x(1).broadcast(&call.x(0).shape);
            vec![call.x(0).zip(&slope, |x, slope| if x < 0.0 { slope * x } else { x })]
        },
        "IsNaN" => |call| predicate(call, f64::is_nan),
        "IsInf" => |call| predicate(call, f64::is_infinite),
        "Not" => |call| {
            let x = call.x(0);
            vec![Array::bools(&x.shape, x.b().iter().map(|x| !x).collect())]
        },
        "Add" | "Sum" => |call| folded(call, |a, b| a + b, |a, b| a + b),
        "Sub" => |call| folded(call, |a, b| a - b, |a, b| a - b),
        "Mul" => |call| folded(call, |a, b| a * b, |a, b| a * b),
        "Div" => |call| folded(call, |a, b| a / b, |a, b| a / b),
        "Max" => |call| folded(call, f64::max, i64::max),
        "Min" => |call| folded(call, f64::min, i64::min),
        "Mean" => |call| {
            let sum = folded(call, |a, b| a + b, |a, b| a + b).remove(0);
            let count = call.inputs.len() as f64;
            vec![sum.map(|x| x / count)]
        },
        "Mod" => |call| match call.node.int_or("fmod", 0) {
            // The sign of the divisor; of the dividend.
            0 => folded(call, |a, b| a - b * (a / b).floor(), |a, b| ((a % b) + b) % b),
            _ => folded(call, |a, b| a % b, |a, b| a % b),
        },
        "Pow" => |call| {
            let exponent = as_floats(call.x(1));
            match call.x(0).is_float() {
                true => vec![call.x(0).zip(&exponent, f64::powf)],
                false => {
                    let powers = as_floats(call.x(0)).zip(&exponent, f64::powf);
                    vec![Array::ints(&powers.shape, powers.f().iter().map(|&x| x as i64).collect())]
                }
            }
        },
        "And" => |call| logical(call, |a, b| a && b),
        "Or" => |call| logical(call, |a, b| a || b),
        "Xor" => |call| logical(call, |a, b| a != b),
        "Equal" => |call| compared(call, |a, b| a == b),
        "Greater" => |call| compared(call, |a, b| a > b),
        "GreaterOrEqual" => |call| compared(call, |a, b| a >= b),
        "Less" => |call| compared(call, |a, b| a < b),
        "LessOrEqual" => |call| compared(call, |a, b| a <= b),
        "Where" => chosen,
        "Cast" => |call| {
            let target = ElementType::from_number(call.node.int("to").unwrap() as i32).unwrap();
            vec![cast(call.x(0), target)]
        },
        "CastLike" => |call| {
            vec![match call.x(1).data {
                Data::Floats(_) => cast(call.x(0), ElementType::Float32),
                Data::Ints(_) => cast(call.x(0), ElementType::Int64),
                Data::Bools(_) => cast(call.x(0), ElementType::Bool),
            }]
        },
        _ => return None,
    })
}

fn one(call: &Call<'_>, f: impl Fn(f64) -> f64) -> Vec<Array> {
    vec![call.x(0).map(f)]
}

fn signed(call: &Call<'_>, f: impl Fn(f64) -> f64, g: impl Fn(i64) -> i64) -> Vec<Array> {
    let x = call.x(0);
    match x.is_float() {
        true => vec![x.map(f)],
        false => vec![Array::ints(&x.shape, x.i().iter().map(|&x| g(x)).collect())],
    }
}

fn predicate(call: &Call<'_>, f: impl Fn(f64) -> bool) -> Vec<Array> {
    let x = call.x(0);
    vec![Array::bools(&x.shape, x.f().iter().map(|&x| f(x)).collect())]
}

/// Any number of inputs, from the first to the last.
fn folded(call: &Call<'_>, f: impl Fn(f64, f64) -> f64, g: impl Fn(i64, i64) -> i64) -> Vec<Array> {
    let mut sum = call.x(0).clone();
    for index in 1..call.inputs.len() {
        let other = call.x(index);
        sum = match sum.is_float() {
            true => sum.zip(other, &f),
            false => {
                let shape = broadcast_shape(&sum.shape, &other.shape);
                let (a, b) = (sum.broadcast(&shape), other.broadcast(&shape));
                Array::ints(&shape, a.i().iter().zip(b.i()).map(|(&a, &b)| g(a, b)).collect())
            }
        };
    }
    vec![sum]
}

fn logical(call: &Call<'_>, f: impl Fn(bool, bool) -> bool) -> Vec<Array> {
    let shape = broadcast_shape(&call.x(0).shape, &call.x(1).shape);
    let (a, b) = (call.x(0).broadcast(&shape), call.x(1).broadcast(&shape));
    vec![Array::bools(&shape, a.b().iter().zip(b.b()).map(|(&a, &b)| f(a, b)).collect())]
}

fn compared(call: &Call<'_>, f: impl Fn(f64, f64) -> bool) -> Vec<Array> {
    let shape = broadcast_shape(&call.x(0).shape, &call.x(1).shape);
    let (a, b) = (as_floats(call.x(0)).broadcast(&shape), as_floats(call.x(1)).broadcast(&shape));
    vec![Array::bools(&shape, a.f().iter().zip(b.f()).map(|(&a, &b)| f(a, b)).collect())]
}

fn chosen(call: &Call<'_>) -> Vec<Array> {
    let shape = broadcast_shape(&call.x(1).shape, &call.x(2).shape);
    let shape = broadcast_shape(&call.x(0).shape, &shape);
    let condition = call.x(0).broadcast(&shape);
    let (a, b) = (call.x(1).broadcast(&shape), call.x(2).broadcast(&shape));
    fn pick<T: Copy>(condition: &[bool], a: &[T], b: &[T]) -> Vec<T> {
        condition.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c { a } else { b }).collect()
    }
    let data = match (&a.data, &b.data) {
        (Data::Floats(a), Data::Floats(b)) => Data::Floats(pick(condition.b(), a, b)),
        (Data::Ints(a), Data::Ints(b)) => Data::Ints(pick(condition.b(), a, b)),
        (Data::Bools(a), Data::Bools(b)) => Data::Bools(pick(condition.b(), a, b)),
        _ => panic!("Where of two types"),
    };
    vec![Array { shape, data }]
}

/// Bounds are scalars and may be left out; the upper one wins.
fn clip(call: &Call<'_>) -> Vec<Array> {
    let x = call.x(0);
    if !x.is_float() {
        let low = call.get(1).map_or(i64::MIN, |bound| bound.i()[0]);
        let high = call.get(2).map_or(i64::MAX, |bound| bound.i()[0]);
        return vec![Array::ints(&x.shape, x.i().iter().map(|&x| x.max(low).min(high)).collect())];
    }
    let low = call.get(1).map_or(f64::NEG_INFINITY, |bound| bound.f()[0]);
    let high = call.get(2).map_or(f64::INFINITY, |bound| bound.f()[0]);
    vec![x.map(|x| x.max(low).min(high))]
}

pub(super) fn as_floats(x: &Array) -> Array {
    let values = match &x.data {
        Data::Floats(values) => values.clone(),
        Data::Ints(values) => values.iter().map(|&x| x as f64).collect(),
        Data::Bools(values) => values.iter().map(|&x| f64::from(u8::from(x))).collect(),
    };
    Array::floats(&x.shape, values)
}

/// Floating point stays as exact as it is, whatever the type; to integers it is cut off.
fn cast(x: &Array, target: ElementType) -> Array {
    let shape = &x.shape;
    match target {
        ElementType::Bool => Array::bools(shape, as_floats(x).f().iter().map(|&x| x != 0.0).collect()),
        target if target.is_float() => as_floats(x),
        _ => match &x.data {
            Data::Ints(_) => x.clone(),
            _ => Array::ints(shape, as_floats(x).f().iter().map(|&x| x.trunc() as i64).collect()),
        },
    }
}

pub(super) fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The error function: its Maclaurin series near zero, the continued fraction of its complement elsewhere.
pub(super) fn erf(x: f64) -> f64 {
    let size = x.abs();
    if size < 2.5 {
        // 2/√π e^(-x²) Σ 2^n x^(2n+1) / (1·3·5···(2n+1)): all terms of one sign.
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while (term / sum).abs() > 1e-18 && n < 200.0 {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * if x == 0.0 { 0.0 } else { sum };
    }
    let mut fraction = 0.0;
    for k in (1..=80).rev() {
        fraction = f64::from(k) / 2.0 / (size + fraction);
    }
    let complement = (-size * size).exp() / std::f64::consts::PI.sqrt() / (size + fraction);
    (1.0 - complement).copysign(x)
}
