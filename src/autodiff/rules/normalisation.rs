//! Normalisations. Everywhere x̂ is the normalised input and r = 1 / √(variance + ε).
//!
//! Mean and r are computed again from the input, since not every provider gives them as further outputs. Factors that
//! are constant over a stretch of elements are multiplied with each other first, so that the big tensors see few passes;
//! and what would be Σ g x - mean Σ g is computed as Σ g (x - mean), which does not lose the digits of inputs that
//! are far from zero.

use crate::autodiff::emit::Emit;
use crate::autodiff::rules::{Gradients, Rule, Vjp};
use crate::error::Result;
use crate::onnx::graph::ValueId;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "BatchNormalization" => batch,
        "InstanceNormalization" | "GroupNormalization" => group,
        "LayerNormalization" => layer,
        "RMSNormalization" | "SimplifiedLayerNormalization" => root_mean_square,
        "LpNormalization" => lp,
        _ => return None,
    })
}

/// In inference form, y = γ (x - mean) r + β for every channel with mean and variance as inputs:
///
/// * dx = g γ r, and dβ = Σ g;
/// * dγ = r Σ g (x - mean);
/// * dmean = -γ r Σ g, and dvar = -γ r³ / 2 Σ g (x - mean).
///
/// The training form is composed of other operators before it comes here.
fn batch(vjp: &mut Vjp<'_>) -> Gradients {
    if vjp.node.int_or("training_mode", 0) != 0 {
        return Err(vjp.node.unsupported("the training form has no gradient rule"));
    }
    let (g, x, scale, mean, variance) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?, vjp.x(3)?, vjp.x(4)?);
    let rank = vjp.shape(x).len();
    let channels = vjp.shape(scale);
    let others: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
    let epsilon = f64::from(vjp.node.float_or("epsilon", 1e-5));
    let r = inverse_root(vjp, variance, epsilon)?;
    let slope = vjp.times(scale, r)?;
    // A vector over the channels, to broadcast against x.
    let mut wide = channels.clone();
    wide.resize(rank.max(2) - 1, 1);
    let mut all = vec![None; 5];
    if vjp.wants(0) {
        let slope = vjp.reshape(slope, &wide)?;
        all[0] = Some(vjp.times(g, slope)?);
    }
    if vjp.wants(2) || vjp.wants(3) {
        let sum = vjp.sum(g, &others)?;
        let sum = vjp.reshape(sum, &channels)?;
        all[2] = Some(sum);
        if vjp.wants(3) {
            let product = vjp.times(slope, sum)?;
            all[3] = Some(vjp.unary("Neg", product)?);
        }
    }
    if vjp.wants(1) || vjp.wants(4) {
        let mean = vjp.reshape(mean, &wide)?;
        let centred = vjp.minus(x, mean)?;
        let product = vjp.times(g, centred)?;
        let sum = vjp.sum(product, &others)?;
        let sum = vjp.reshape(sum, &channels)?;
        let normalised = vjp.times(sum, r)?;
        all[1] = Some(normalised);
        if vjp.wants(4) {
            let square = vjp.times(slope, r)?;
            let product = vjp.times(normalised, square)?;
            all[4] = Some(vjp.scaled(product, -0.5)?);
        }
    }
    Ok(all)
}

/// Per image and group of channels (every channel its own group for InstanceNormalization), y = γ x̂ + β. With means
/// over a group:
///
/// * dx = r (γ g - mean(γ g) - x̂ mean(γ g x̂));
/// * dγ = Σ g x̂ and dβ = Σ g.
///
/// γ and β have one element a channel, or one a group (GroupNormalization of operator set 18 to 20). All sums over the big
/// tensors are per channel; what is left to sum is small.
fn group(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x, scale) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let shape = vjp.shape(x);
    let (count, channels) = (shape[0], shape[1]);
    let groups = match vjp.node.is("InstanceNormalization") {
        true => channels,
        false => vjp.node.int_or("num_groups", 1).max(1) as usize,
    };
    let each = channels / groups;
    let size: usize = shape[2..].iter().product();
    let epsilon = f64::from(vjp.node.float_or("epsilon", 1e-5));
    let split = [count, groups, each, size];
    // One element a channel, or one a group.
    let scale_shape = vjp.shape(scale);
    let own = if scale_shape == [channels] { [groups, each, 1] } else { [groups, 1, 1] };
    let gamma = vjp.reshape(scale, &own)?;
    let x = vjp.reshape(x, &split)?;
    let g = vjp.reshape(g, &split)?;
    let mean = vjp.mean(x, &[2, 3])?;
    let centred = vjp.minus(x, mean)?;
    let square = vjp.times(centred, centred)?;
    let variance = vjp.mean(square, &[2, 3])?;
    let r = inverse_root(vjp, variance, epsilon)?;
    // Per channel: Σ g and Σ g x̂, [count, groups, each, 1].
    let sum = vjp.sum(g, &[3])?;
    let product = vjp.times(g, centred)?;
    let product = vjp.sum(product, &[3])?;
    let product = vjp.times(product, r)?;
    let dx = if vjp.wants(0) {
        let elements = (each * size) as f64;
        let average = |vjp: &mut Vjp<'_>, sums: ValueId| -> Result<ValueId> {
            let weighted = vjp.times(sums, gamma)?;
            let total = vjp.sum(weighted, &[2])?;
            let mean = vjp.scaled(total, 1.0 / elements)?;
            vjp.times(mean, r)
        };
        let shift = average(vjp, sum)?;
        let pull = average(vjp, product)?;
        let pull = vjp.times(pull, r)?;
        let slope = vjp.times(gamma, r)?;
        let direct = vjp.times(g, slope)?;
        let direct = vjp.minus(direct, shift)?;
        let along = vjp.times(centred, pull)?;
        let dx = vjp.minus(direct, along)?;
        Some(vjp.reshape(dx, &shape)?)
    } else {
        None
    };
    let small = |vjp: &mut Vjp<'_>, index: usize, sums: ValueId| -> Result<Option<ValueId>> {
        if !vjp.wants(index) {
            return Ok(None);
        }
        let total = vjp.sum_to(sums, &own)?;
        vjp.reshape(total, &scale_shape).map(Some)
    };
    let dgamma = small(vjp, 1, product)?;
    let dbeta = small(vjp, 2, sum)?;
    Ok(vec![dx, dgamma, dbeta])
}

/// Over the axes from `axis` on, y = γ x̂ + β: dx = r (γ g - mean(γ g) - x̂ mean(γ g x̂)), dγ = Σ g x̂ and dβ = Σ g, summed
/// to the shapes of γ and β.
fn layer(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x, scale) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let axes = axes_from(vjp)?;
    let epsilon = f64::from(vjp.node.float_or("epsilon", 1e-5));
    let mut all = vec![None; vjp.node.inputs.len()];
    if vjp.wants(2) {
        all[2] = Some(vjp.reduced(2, g)?);
    }
    if !vjp.wants(0) && !vjp.wants(1) {
        return Ok(all);
    }
    let mean = vjp.mean(x, &axes)?;
    let centred = vjp.minus(x, mean)?;
    let square = vjp.times(centred, centred)?;
    let variance = vjp.mean(square, &axes)?;
    let r = inverse_root(vjp, variance, epsilon)?;
    let normalised = vjp.times(centred, r)?;
    if vjp.wants(1) {
        all[1] = Some(vjp.product_to(1, g, normalised)?);
    }
    if vjp.wants(0) {
        let weighted = vjp.times(g, scale)?;
        let shift = vjp.mean(weighted, &axes)?;
        let product = vjp.times(weighted, normalised)?;
        let pull = vjp.mean(product, &axes)?;
        let along = vjp.times(normalised, pull)?;
        let rest = vjp.minus(weighted, shift)?;
        let rest = vjp.minus(rest, along)?;
        all[0] = Some(vjp.times(rest, r)?);
    }
    Ok(all)
}

/// Over the axes from `axis` on, y = γ x̂ with x̂ = x r and r = 1 / √(mean x² + ε): dx = r (γ g - x̂ mean(γ g x̂)) and
/// dγ = Σ g x̂.
fn root_mean_square(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x, scale) = (vjp.g(0)?, vjp.x(0)?, vjp.x(1)?);
    let axes = axes_from(vjp)?;
    let epsilon = f64::from(vjp.node.float_or("epsilon", 1e-5));
    let square = vjp.times(x, x)?;
    let power = vjp.mean(square, &axes)?;
    let r = inverse_root(vjp, power, epsilon)?;
    let normalised = vjp.times(x, r)?;
    let mut all = vec![None; vjp.node.inputs.len()];
    if vjp.wants(1) {
        all[1] = Some(vjp.product_to(1, g, normalised)?);
    }
    if vjp.wants(0) {
        let weighted = vjp.times(g, scale)?;
        let product = vjp.times(weighted, normalised)?;
        let pull = vjp.mean(product, &axes)?;
        let along = vjp.times(normalised, pull)?;
        let rest = vjp.minus(weighted, along)?;
        all[0] = Some(vjp.times(rest, r)?);
    }
    Ok(all)
}

/// y = x / n with n = √Σ x² or, for `p = 1`, n = Σ |x|, along an axis: (g - y Σ g y) / n, or (g - sign(x) Σ g y) / n; 0
/// where n is 0. There y is 0 or not a number, depending on who computes it, so y is formed again.
fn lp(vjp: &mut Vjp<'_>) -> Gradients {
    let (g, x) = (vjp.g(0)?, vjp.x(0)?);
    let axis = vjp.axis(vjp.node.int_or("axis", -1), vjp.shape(x).len())?;
    let order = vjp.node.int_or("p", 2);
    let norm = match order {
        2 => vjp.reduce("ReduceL2", x, &[axis], true)?,
        1 => vjp.reduce("ReduceL1", x, &[axis], true)?,
        p => return Err(vjp.node.invalid(format!("norm of order {p}"))),
    };
    let zero = vjp.number_like(x, 0.0)?;
    let present = vjp.binary("Greater", norm, zero)?;
    let absent = vjp.unary("Not", present)?;
    let one = vjp.cast_like(absent, norm)?;
    let below = vjp.plus(norm, one)?;
    let inverse = vjp.unary("Reciprocal", below)?;
    let inverse = vjp.gated(present, inverse)?;
    let y = vjp.times(x, inverse)?;
    let direction = if order == 1 { vjp.sign(x)? } else { y };
    let product = vjp.times(g, y)?;
    let sum = vjp.sum(product, &[axis])?;
    let along = vjp.times(direction, sum)?;
    let rest = vjp.minus(g, along)?;
    let dx = vjp.times(rest, inverse)?;
    vjp.only(0, dx)
}

/// 1 / √(variance + ε).
fn inverse_root(vjp: &mut Vjp<'_>, variance: ValueId, epsilon: f64) -> Result<ValueId> {
    let shifted = vjp.shifted(variance, epsilon)?;
    let root = vjp.unary("Sqrt", shifted)?;
    vjp.unary("Reciprocal", root)
}

/// The axes from the attribute `axis` on.
fn axes_from(vjp: &Vjp<'_>) -> Result<Vec<usize>> {
    let rank = vjp.shape(vjp.x(0)?).len();
    let axis = vjp.axis(vjp.node.int_or("axis", -1), rank)?;
    Ok((axis..rank).collect())
}
