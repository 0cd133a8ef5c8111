//! The update as nodes: for providers on which weights and state stay on the device.

use crate::autodiff::emit::Emit;
use crate::autodiff::optimizer::{Optimizer, OptimizerKind, Rates};
use crate::error::{Error, Result};
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, ValueId, ValueType};

/// One parameter's part of an update.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    /// The weight before.
    pub(crate) weight: ValueId,
    /// Its gradient.
    pub(crate) gradient: ValueId,
    /// The rule's tensors before, in the order of [`Optimizer::state_names`].
    pub(crate) state: Vec<ValueId>,
    /// The moving average before, where there is one.
    pub(crate) average: Option<ValueId>,
    /// Its rates.
    pub(crate) rates: Rates,
}

/// What an update gives.
#[derive(Debug, Clone)]
pub(crate) struct Updated {
    /// The weight after.
    pub(crate) weight: ValueId,
    /// The rule's tensors after.
    pub(crate) state: Vec<ValueId>,
    /// The moving average after.
    pub(crate) average: Option<ValueId>,
}

/// Scalars that the rules share.
struct Shared {
    lr: ValueId,
    /// lr / (1 - β1^t).
    step_size: Option<ValueId>,
    /// √(1 - β2^t).
    root: Option<ValueId>,
    /// What gradients are multiplied with for the clipping by norm.
    clip: Option<ValueId>,
    /// Whether the norm is finite.
    finite: Option<ValueId>,
}

/// Emits the update of all parameters together. `lr` and `step` (from 1) are scalars `float32`; `scale` is what the
/// gradients are divided by. Gives the updates in order, and the norm of the gradients where it is computed.
///
/// # Errors
/// As [`Graph::add`].
pub(crate) fn emit(
    graph: &mut Graph,
    optimizer: &Optimizer,
    updates: &[Update],
    lr: ValueId,
    step: ValueId,
    scale: Option<ValueId>,
) -> Result<(Vec<Updated>, Option<ValueId>)> {
    let mut gradients = Vec::with_capacity(updates.len());
    for update in updates {
        let mut gradient = update.gradient;
        if let Some(scale) = scale {
            gradient = graph.over(gradient, scale)?;
        }
        if let Some(most) = optimizer.clip_value {
            let (low, high) = (graph.scalar(-most)?, graph.scalar(most)?);
            gradient = graph.op("Clip", &[gradient, low, high], &[])?;
        }
        gradients.push(gradient);
    }
    let norm = if optimizer.needs_norm() { Some(global_norm(graph, &gradients)?) } else { None };
    let shared = shared(graph, optimizer, lr, step, norm)?;
    let mut made = Vec::with_capacity(updates.len());
    for (update, gradient) in updates.iter().zip(gradients) {
        made.push(one(graph, optimizer, update, gradient, &shared)?);
    }
    Ok((made, norm))
}

/// √ Σ g² over all gradients.
fn global_norm(graph: &mut Graph, gradients: &[ValueId]) -> Result<ValueId> {
    let mut sums = Vec::with_capacity(gradients.len());
    for gradient in gradients {
        let axes: Vec<usize> = (0..graph.shape(*gradient).len()).collect();
        let square = graph.times(*gradient, *gradient)?;
        sums.push(graph.reduce("ReduceSum", square, &axes, false)?);
    }
    let parts = sums.iter().map(|sum| graph.reshape(*sum, &[1])).collect::<Result<Vec<_>>>()?;
    let all = graph.concat(&parts, 0)?;
    let total = graph.total(all)?;
    graph.unary("Sqrt", total)
}

fn shared(
    graph: &mut Graph,
    optimizer: &Optimizer,
    lr: ValueId,
    step: ValueId,
    norm: Option<ValueId>,
) -> Result<Shared> {
    let is_adam =
        matches!(optimizer.kind, OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::AmsGrad);
    let (mut step_size, mut root) = (None, None);
    if is_adam {
        // 1 - 0.999^t has four digits in float32 for the first steps: in float64, as PyTorch does.
        let step = graph.cast(step, ElementType::Float64)?;
        let mut corrections = Vec::new();
        for beta in optimizer.betas {
            // The decimal number that was meant, not the float32 next to it.
            let beta = precise(beta);
            let kind = ValueType::new(ElementType::Float64, []);
            let base = graph.add_constant("beta", Constant::from_f64(kind, &[beta])?);
            let power = graph.binary("Pow", base, step)?;
            let one = graph.number_like(power, 1.0)?;
            corrections.push(graph.minus(one, power)?);
        }
        let wide = graph.cast(lr, ElementType::Float64)?;
        let size = graph.over(wide, corrections[0])?;
        step_size = Some(graph.cast(size, ElementType::Float32)?);
        let square = graph.unary("Sqrt", corrections[1])?;
        root = Some(graph.cast(square, ElementType::Float32)?);
    }
    let clip = match (optimizer.clip_norm, norm) {
        (Some(most), Some(norm)) => {
            let most = graph.scalar(most)?;
            let padded = graph.shifted(norm, 1e-6)?;
            let ratio = graph.over(most, padded)?;
            let one = graph.scalar(1.0)?;
            Some(graph.binary("Min", ratio, one)?)
        }
        _ => None,
    };
    let finite = match (optimizer.loss_scale, norm) {
        (true, Some(norm)) => {
            // False for infinity and for what is no number.
            let most = graph.scalar(f32::MAX)?;
            Some(graph.binary("LessOrEqual", norm, most)?)
        }
        _ => None,
    };
    Ok(Shared { lr, step_size, root, clip, finite })
}

fn one(
    graph: &mut Graph,
    optimizer: &Optimizer,
    update: &Update,
    gradient: ValueId,
    shared: &Shared,
) -> Result<Updated> {
    let mut gradient = gradient;
    if let Some(clip) = shared.clip {
        gradient = graph.times(gradient, clip)?;
    }
    let rates = update.rates;
    let lr = graph.scaled(shared.lr, precise(rates.lr_multiplier))?;
    let decay = precise(rates.weight_decay);
    let mut weight = update.weight;
    if decay > 0.0 {
        if optimizer.kind == OptimizerKind::AdamW {
            let share = graph.scaled(lr, decay)?;
            let one = graph.scalar(1.0)?;
            let kept = graph.minus(one, share)?;
            weight = graph.times(weight, kept)?;
        } else {
            let pull = graph.scaled(weight, decay)?;
            gradient = graph.plus(gradient, pull)?;
        }
    }
    let (step, state) = match optimizer.kind {
        OptimizerKind::Sgd => sgd(graph, optimizer, update, gradient, lr)?,
        OptimizerKind::RmsProp => rmsprop(graph, optimizer, update, gradient, lr)?,
        _ => adam(graph, optimizer, update, gradient, shared)?,
    };
    let mut weight = graph.minus(weight, step)?;
    let mut state = state;
    if let Some(finite) = shared.finite {
        weight = graph.choose(finite, weight, update.weight)?;
        for (new, old) in state.iter_mut().zip(&update.state) {
            *new = graph.choose(finite, *new, *old)?;
        }
    }
    let average = match (update.average, optimizer.ema_decay) {
        (Some(average), Some(decay)) => {
            let next = mixed(graph, average, weight, decay)?;
            Some(match shared.finite {
                Some(finite) => graph.choose(finite, next, average)?,
                None => next,
            })
        }
        _ => None,
    };
    Ok(Updated { weight, state, average })
}

/// a d + b (1 - d).
fn mixed(graph: &mut Graph, a: ValueId, b: ValueId, d: f32) -> Result<ValueId> {
    let d = precise(d);
    let kept = graph.scaled(a, d)?;
    let added = graph.scaled(b, 1.0 - d)?;
    graph.plus(kept, added)
}

fn state(update: &Update, index: usize) -> Result<ValueId> {
    update.state.get(index).copied().ok_or_else(|| Error::internal("an update without its state"))
}

fn sgd(
    graph: &mut Graph,
    optimizer: &Optimizer,
    update: &Update,
    gradient: ValueId,
    lr: ValueId,
) -> Result<(ValueId, Vec<ValueId>)> {
    if optimizer.momentum == 0.0 {
        return Ok((graph.times(gradient, lr)?, Vec::new()));
    }
    let momentum = precise(optimizer.momentum);
    let kept = graph.scaled(state(update, 0)?, momentum)?;
    let buffer = graph.plus(kept, gradient)?;
    let direction = if optimizer.nesterov {
        let ahead = graph.scaled(buffer, momentum)?;
        graph.plus(gradient, ahead)?
    } else {
        buffer
    };
    Ok((graph.times(direction, lr)?, vec![buffer]))
}

fn adam(
    graph: &mut Graph,
    optimizer: &Optimizer,
    update: &Update,
    gradient: ValueId,
    shared: &Shared,
) -> Result<(ValueId, Vec<ValueId>)> {
    let (Some(step_size), Some(root)) = (shared.step_size, shared.root) else {
        return Err(Error::internal("Adam without its corrections"));
    };
    let first = mixed(graph, state(update, 0)?, gradient, optimizer.betas[0])?;
    let square = graph.times(gradient, gradient)?;
    let second = mixed(graph, state(update, 1)?, square, optimizer.betas[1])?;
    let mut kept = vec![first, second];
    let mut used = second;
    if optimizer.kind == OptimizerKind::AmsGrad {
        used = graph.binary("Max", state(update, 2)?, second)?;
        kept.push(used);
    }
    let deviation = graph.unary("Sqrt", used)?;
    let deviation = graph.over(deviation, root)?;
    let deviation = graph.shifted(deviation, precise(optimizer.epsilon))?;
    let direction = graph.over(first, deviation)?;
    let size = graph.scaled(step_size, precise(update.rates.lr_multiplier))?;
    Ok((graph.times(direction, size)?, kept))
}

fn rmsprop(
    graph: &mut Graph,
    optimizer: &Optimizer,
    update: &Update,
    gradient: ValueId,
    lr: ValueId,
) -> Result<(ValueId, Vec<ValueId>)> {
    let square = graph.times(gradient, gradient)?;
    let second = mixed(graph, state(update, 0)?, square, optimizer.alpha)?;
    let deviation = graph.unary("Sqrt", second)?;
    let deviation = graph.shifted(deviation, precise(optimizer.epsilon))?;
    let mut direction = graph.over(gradient, deviation)?;
    let mut kept = vec![second];
    if optimizer.momentum > 0.0 {
        let carried = graph.scaled(state(update, 1)?, precise(optimizer.momentum))?;
        direction = graph.plus(carried, direction)?;
        kept.push(direction);
    }
    Ok((graph.times(direction, lr)?, kept))
}

/// The decimal number that a setting was written as: 0.999 and not 0.99900001287. Settings are `float32` in the C
/// interface, PyTorch computes with the decimal, and 1 - β2 is where the difference shows (1e-5 of it).
pub(crate) fn precise(value: f32) -> f64 {
    format!("{value}").parse().unwrap_or(f64::from(value))
}
