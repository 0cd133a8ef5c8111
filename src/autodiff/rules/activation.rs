//! Activations: functions of one value, most of them bent somewhere.
//!
//! Masks are written as a comparison, a cast and a product: on the CPU provider each of these is one pass at the speed
//! of memory, while `Where` and `Sign` take ten times as long.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Node, ValueId};
use crate::onnx::proto::AttributeProto;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Relu" => relu,
        "LeakyRelu" => leaky_relu,
        "PRelu" => parametric_relu,
        "ThresholdedRelu" => thresholded_relu,
        "Shrink" => shrink,
        "Clip" => clip,
        "Elu" => elu,
        "Selu" => selu,
        "Celu" => celu,
        "Sigmoid" => sigmoid,
        "HardSigmoid" => hard_sigmoid,
        "HardSwish" => hard_swish,
        "Swish" => swish,
        "Mish" => mish,
        "Gelu" => gelu,
        "Tanh" => tanh,
        "Erf" => erf,
        "Softplus" => softplus,
        "Softsign" => softsign,
        _ => return None,
    })
}

/// g where y > 0; at 0 the derivative is taken as 0, as PyTorch does.
fn relu(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y) = (vjp.g(0)?, vjp.y(0)?);
    if let Some(dx) = gate(vjp, g, y, [Some(0.0), None])? {
        return vjp.only(0, dx);
    }
    let dx = above(vjp, y, 0.0).and_then(|positive| vjp.gated(positive, g))?;
    vjp.only(0, dx)
}

/// g where y lies between the bounds, by an operator of our own where there is one for this shape.
fn gate(vjp: &mut Vjp<'_>, g: ValueId, y: ValueId, [low, high]: [Option<f32>; 2]) -> Result<Option<ValueId>> {
    if !vjp.kernels.gate || vjp.shape(g).len() < 2 || vjp.graph.kind(g).element != ElementType::Float32 {
        return Ok(None);
    }
    let mut node = Node::new("GateGrad");
    node.domain = "glebe".to_owned();
    node.inputs = vec![Some(g), Some(y)];
    for (name, bound) in [("low", low), ("high", high)] {
        node.attributes.extend(bound.map(|bound| AttributeProto::float(name, bound)));
    }
    vjp.graph.add_one(node).map(Some)
}

/// g where x > 0, else α g (at 0 too, as PyTorch does).
fn leaky_relu(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let alpha = f64::from(vjp.node.float_or("alpha", 0.01));
    let positive = above(vjp, x, 0.0)?;
    let slope = vjp.cast_like(positive, g)?;
    let slope = if (0.0..=1.0).contains(&alpha) {
        let alpha = vjp.number_like(g, alpha)?;
        vjp.binary("Max", slope, alpha)?
    } else {
        let rise = vjp.scaled(slope, 1.0 - alpha)?;
        vjp.shifted(rise, alpha)?
    };
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// With slope s, which broadcasts to x: dx = g where x > 0, else s g; ds = Σ g min(x, 0).
fn parametric_relu(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x, s) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let dx = if vjp.wants(0) {
        let positive = above(vjp, x, 0.0)?;
        let positive = vjp.cast_like(positive, g)?;
        let one = vjp.number_like(g, 1.0)?;
        // s + (1 - s) [x > 0]; the difference is as small as the slope is.
        let rise = vjp.minus(one, s)?;
        let rise = vjp.times(positive, rise)?;
        let slope = vjp.plus(rise, s)?;
        Some(vjp.times(g, slope)?)
    } else {
        None
    };
    let ds = if vjp.wants(1) {
        let zero = vjp.number_like(x, 0.0)?;
        let negative = vjp.binary("Min", x, zero)?;
        Some(vjp.product_to(1, g, negative)?)
    } else {
        None
    };
    Ok(vec![dx, ds])
}

/// g where x > α.
fn thresholded_relu(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let alpha = f64::from(vjp.node.float_or("alpha", 1.0));
    let dx = above(vjp, x, alpha).and_then(|passed| vjp.gated(passed, g))?;
    vjp.only(0, dx)
}

/// g where |x| > λ; the bias only shifts.
fn shrink(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let lambda = f64::from(vjp.node.float_or("lambd", 0.5));
    let size = vjp.unary("Abs", x)?;
    let dx = above(vjp, size, lambda).and_then(|passed| vjp.gated(passed, g))?;
    vjp.only(0, dx)
}

/// g where the value is not changed, so at a bound itself too (there `torch.clamp` of PyTorch 2.15 gives 0). Of bounds
/// that depend on trained tensors: Σ g where the lower one is above x, and where the upper one is below both.
///
/// Bounds 0 and 6 are what exporters make of ReLU6, whose gradient in PyTorch is 0 at both; there y alone says where
/// the value lies, so the input need not be kept, and the runtime can fuse convolution and activation.
fn clip(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x, y) = (vjp.g(0)?, vjp.x(0)?, vjp.y(0)?);
    let bound = |index| vjp.numbers(index).ok().flatten().and_then(|numbers| numbers.first().copied());
    let six = (bound(1), bound(2)) == (Some(0.0), Some(6.0)) && !vjp.wants(1) && !vjp.wants(2);
    if six && let Some(dx) = gate(vjp, g, y, [Some(0.0), Some(6.0)])? {
        return vjp.only(0, dx);
    }
    let dx = match vjp.wants(0) {
        true => {
            let passed = if six { between(vjp, y, 0.0, 6.0)? } else { vjp.binary("Equal", x, y)? };
            Some(vjp.gated(passed, g)?)
        }
        false => None,
    };
    let mut all = vec![dx];
    all.resize(vjp.node.inputs.len(), None);
    let (low, high) = (vjp.node.input(1), vjp.node.input(2));
    if let (true, Some(low)) = (vjp.wants(1), low) {
        let below = vjp.binary("Less", x, low)?;
        let mut own = vjp.gated(below, g)?;
        if let Some(high) = high {
            let stays = vjp.binary("LessOrEqual", low, high)?;
            own = vjp.gated(stays, own)?;
        }
        all[1] = Some(vjp.reduced(1, own)?);
    }
    if let (true, Some(high)) = (vjp.wants(2), high) {
        // What it cuts: x, or the lower bound where that is more.
        let cut = match low {
            Some(low) => vjp.binary("Max", x, low)?,
            None => x,
        };
        let above = vjp.binary("Greater", cut, high)?;
        let own = vjp.gated(above, g)?;
        all[2] = Some(vjp.reduced(2, own)?);
    }
    Ok(all)
}

/// y = x where x > 0, else α (eˣ - 1): g where x > 0, else g α eˣ.
fn elu(vjp: &mut Vjp<'_>) -> Gradients {
    let alpha = f64::from(vjp.node.float_or("alpha", 1.0));
    exponential_below(vjp, alpha, 1.0)
}

/// γ times Elu.
fn selu(vjp: &mut Vjp<'_>) -> Gradients {
    let alpha = f64::from(vjp.node.float_or("alpha", 1.673_263_2));
    let gamma = f64::from(vjp.node.float_or("gamma", 1.050_701));
    exponential_below(vjp, alpha, gamma)
}

/// g γ (α e^min(x, 0) + (1 - α) [x > 0]): nothing overflows, and with α = 1 the second term vanishes.
fn exponential_below(vjp: &mut Vjp<'_>, alpha: f64, gamma: f64) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let zero = vjp.number_like(x, 0.0)?;
    let negative = vjp.binary("Min", x, zero)?;
    let power = vjp.unary("Exp", negative)?;
    let mut slope = vjp.scaled(power, gamma * alpha)?;
    if alpha != 1.0 {
        let positive = above(vjp, x, 0.0)?;
        let positive = vjp.cast_like(positive, g)?;
        let rise = vjp.scaled(positive, gamma * (1.0 - alpha))?;
        slope = vjp.plus(slope, rise)?;
    }
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// y = max(x, 0) + min(α (e^(x/α) - 1), 0): g e^(min(x, 0) / α).
fn celu(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let alpha = f64::from(vjp.node.float_or("alpha", 1.0));
    let zero = vjp.number_like(x, 0.0)?;
    let negative = vjp.binary("Min", x, zero)?;
    let power = vjp.scaled(negative, 1.0 / alpha)?;
    let slope = vjp.unary("Exp", power)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// g y (1 - y).
fn sigmoid(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y) = (vjp.g(0)?, vjp.y(0)?);
    let one = vjp.number_like(y, 1.0)?;
    let rest = vjp.minus(one, y)?;
    let slope = vjp.times(y, rest)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// y = αx + β cut to [0, 1]: α g where 0 < y < 1; 0 at the bounds, as PyTorch does.
fn hard_sigmoid(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y) = (vjp.g(0)?, vjp.y(0)?);
    let alpha = f64::from(vjp.node.float_or("alpha", 0.2));
    let inside = between(vjp, y, 0.0, 1.0)?;
    let passed = vjp.gated(inside, g)?;
    let dx = vjp.scaled(passed, alpha)?;
    vjp.only(0, dx)
}

/// y = x h with h = x / 6 + 1/2 cut to [0, 1]: inside, x / 6 is h - 1/2, so dx = g (h + (h - 1/2) [0 < h < 1]). At
/// x = ±3 the derivatives are 0 and 1.
fn hard_swish(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let sixth = vjp.scaled(x, 1.0 / 6.0)?;
    let (zero, one) = (vjp.number_like(x, 0.0)?, vjp.number_like(x, 1.0)?);
    let line = vjp.shifted(sixth, 0.5)?;
    let h = vjp.graph.op("Clip", &[line, zero, one], &[])?;
    let inside = between(vjp, h, 0.0, 1.0)?;
    let centred = vjp.shifted(h, -0.5)?;
    let extra = vjp.gated(inside, centred)?;
    let slope = vjp.plus(h, extra)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// y = x σ(αx), with s = σ(αx): g (s + α y (1 - s)).
fn swish(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x, y) = (vjp.g(0)?, vjp.x(0)?, vjp.y(0)?);
    let alpha = f64::from(vjp.node.float_or("alpha", 1.0));
    let inner = vjp.scaled(x, alpha)?;
    let s = vjp.unary("Sigmoid", inner)?;
    let one = vjp.number_like(x, 1.0)?;
    let rest = vjp.minus(one, s)?;
    let tail = vjp.times(y, rest)?;
    let tail = vjp.scaled(tail, alpha)?;
    let slope = vjp.plus(s, tail)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// y = x t with t = tanh(softplus x): g (t + x σ(x) (1 - t²)).
///
/// With e = eˣ and n = e (e + 2), t = n / (n + 2); from x = 20 on t is 1 in double precision too, so x is cut there
/// and nothing overflows. (`Softplus` itself is the slowest activation of the CPU provider.)
fn mish(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let most = vjp.number_like(x, 20.0)?;
    let cut = vjp.binary("Min", x, most)?;
    let e = vjp.unary("Exp", cut)?;
    let more = vjp.shifted(e, 2.0)?;
    let n = vjp.times(e, more)?;
    let below = vjp.shifted(n, 2.0)?;
    let t = vjp.over(n, below)?;
    let bend = one_minus_square(vjp, t)?;
    let s = vjp.unary("Sigmoid", x)?;
    // The factor that vanishes comes first, so that a large x meets 0.
    let tail = vjp.times(bend, x)?;
    let tail = vjp.times(tail, s)?;
    let slope = vjp.plus(t, tail)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// y = x Φ(x): g (Φ(x) + x φ(x)) with Φ(x) = (1 + erf(x / √2)) / 2 and φ(x) = e^(-x²/2) / √(2π).
///
/// With `approximate = tanh`, y = x (1 + t) / 2 where t = tanh(k (x + c x³)), k = √(2/π), c = 0.044715:
/// g ((1 + t) / 2 + x (1 - t²) (k + 3 k c x²) / 2).
fn gelu(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let approximate = vjp.node.text_or("approximate", "none").to_owned();
    let slope = match approximate.as_str() {
        "none" => {
            let inner = vjp.scaled(x, std::f64::consts::FRAC_1_SQRT_2)?;
            let erf = vjp.unary("Erf", inner)?;
            let half = vjp.scaled(erf, 0.5)?;
            let phi = vjp.shifted(half, 0.5)?;
            let square = vjp.times(inner, inner)?;
            let minus = vjp.unary("Neg", square)?;
            let bell = vjp.unary("Exp", minus)?;
            let tail = vjp.times(inner, bell)?;
            // inner is x / √2, hence 1 / √π.
            let tail = vjp.scaled(tail, std::f64::consts::FRAC_2_SQRT_PI / 2.0)?;
            vjp.plus(phi, tail)?
        }
        "tanh" => {
            let k = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
            let c = 0.044715;
            let square = vjp.times(x, x)?;
            let cubic = vjp.scaled(square, k * c)?;
            let factor = vjp.shifted(cubic, k)?;
            let inner = vjp.times(x, factor)?;
            let t = vjp.unary("Tanh", inner)?;
            let bend = one_minus_square(vjp, t)?;
            // The factor that vanishes meets x before x² does: no 0 ∞.
            let tail = vjp.times(bend, x)?;
            let steep = vjp.scaled(cubic, 3.0)?;
            let steep = vjp.shifted(steep, k)?;
            let tail = vjp.times(tail, steep)?;
            let sum = vjp.plus(t, tail)?;
            let sum = vjp.shifted(sum, 1.0)?;
            vjp.scaled(sum, 0.5)?
        }
        other => return Err(vjp.node.invalid(format!("approximate {other:?}"))),
    };
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// g (1 - y²).
fn tanh(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, y) = (vjp.g(0)?, vjp.y(0)?);
    let slope = one_minus_square(vjp, y)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// g 2/√π e^(-x²).
fn erf(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let square = vjp.times(x, x)?;
    let minus = vjp.unary("Neg", square)?;
    let bell = vjp.unary("Exp", minus)?;
    let product = vjp.times(g, bell)?;
    let dx = vjp.scaled(product, std::f64::consts::FRAC_2_SQRT_PI)?;
    vjp.only(0, dx)
}

/// y = ln(1 + eˣ): g σ(x).
fn softplus(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let slope = vjp.unary("Sigmoid", x)?;
    let dx = vjp.times(g, slope)?;
    vjp.only(0, dx)
}

/// y = x / (1 + |x|): g / (1 + |x|)².
fn softsign(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let size = vjp.unary("Abs", x)?;
    let below = vjp.shifted(size, 1.0)?;
    // Divided twice: the square of the denominator might overflow.
    let once = vjp.over(g, below)?;
    let dx = vjp.over(once, below)?;
    vjp.only(0, dx)
}

/// 1 - a².
fn one_minus_square(vjp: &mut Vjp<'_>, a: ValueId) -> Result<ValueId> {
    let one = vjp.number_like(a, 1.0)?;
    let square = vjp.times(a, a)?;
    vjp.minus(one, square)
}

/// Where a > bound.
fn above(vjp: &mut Vjp<'_>, a: ValueId, bound: f64) -> Result<ValueId> {
    let bound = vjp.number_like(a, bound)?;
    vjp.binary("Greater", a, bound)
}

/// Where low < a < high.
fn between(vjp: &mut Vjp<'_>, a: ValueId, low: f64, high: f64) -> Result<ValueId> {
    let above = above(vjp, a, low)?;
    let high = vjp.number_like(a, high)?;
    let below = vjp.binary("Less", a, high)?;
    vjp.binary("And", above, below)
}
