//! The optimizer on the host: one pass over each parameter's memory.

use crate::autodiff::optimizer::{Rates, precise};
use crate::autodiff::{Optimizer, OptimizerKind};

/// One parameter's tensors, all of one length.
pub(super) struct Slot<'a> {
    pub(super) weight: &'a mut [f32],
    pub(super) gradient: &'a [f32],
    /// In the order of [`Optimizer::state_names`].
    pub(super) state: Vec<&'a mut [f32]>,
    pub(super) average: Option<&'a mut [f32]>,
    pub(super) rates: Rates,
}

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outcome {
    /// Euclidean norm of all gradients, where it was needed.
    pub(super) norm: Option<f32>,
    /// Whether the gradients were not finite, so that nothing was changed.
    pub(super) skipped: bool,
}

/// Updates all parameters; the formulas are those of [`crate::autodiff::optimizer`]. `step` counts from 1; gradients are
/// multiplied with `factor` first (one over the loss scale and the number of accumulated batches).
///
/// The result does not depend on `threads`: every element is computed by itself, and the norm is summed in `f64`
/// parameter by parameter in blocks of fixed size.
pub(super) fn update(
    optimizer: &Optimizer,
    slots: &mut [Slot<'_>],
    lr: f32,
    step: u64,
    factor: f32,
    threads: usize,
) -> Outcome {
    let norm = optimizer.needs_norm().then(|| norm_of(optimizer, slots, factor, threads));
    if optimizer.loss_scale && norm.is_some_and(|norm| !norm.is_finite()) {
        return Outcome { norm, skipped: true };
    }
    // Clipping by value comes first, so that this cannot be drawn into the first factor.
    let clip = match (optimizer.clip_norm, norm) {
        (Some(most), Some(norm)) => (most / (norm + 1e-6)).min(1.0),
        _ => 1.0,
    };
    let step = Step::of(optimizer, lr, step, factor, clip);
    let work: Vec<Piece<'_>> = slots.iter_mut().flat_map(pieces).collect();
    in_parallel(work, threads, |piece| piece.update(optimizer, &step));
    Outcome { norm, skipped: false }
}

/// Elements that are worked on at a time: 256 KiB of each array.
const BLOCK: usize = 1 << 16;

/// Numbers that all elements share.
struct Step {
    lr: f64,
    /// lr / (1 - β1^t).
    step_size: f64,
    /// √(1 - β2^t).
    root: f64,
    factor: f32,
    clip: f32,
    clip_value: Option<f32>,
}

impl Step {
    fn of(optimizer: &Optimizer, lr: f32, step: u64, factor: f32, clip: f32) -> Step {
        let lr = f64::from(lr);
        let correction = |beta: f32| 1.0 - precise(beta).powf(step as f64);
        Step {
            lr,
            step_size: lr / correction(optimizer.betas[0]),
            root: correction(optimizer.betas[1]).sqrt(),
            factor,
            clip,
            clip_value: optimizer.clip_value,
        }
    }

    fn gradient(&self, gradient: f32) -> f32 {
        let mut gradient = gradient * self.factor;
        if let Some(most) = self.clip_value {
            gradient = gradient.clamp(-most, most);
        }
        gradient * self.clip
    }
}

/// A block of a parameter.
struct Piece<'a> {
    weight: &'a mut [f32],
    gradient: &'a [f32],
    state: [&'a mut [f32]; 3],
    average: &'a mut [f32],
    rates: Rates,
}

fn pieces<'a>(slot: &'a mut Slot<'_>) -> Vec<Piece<'a>> {
    let mut state: Vec<_> = slot.state.iter_mut().map(|tensor| tensor.chunks_mut(BLOCK)).collect();
    let mut average = slot.average.as_mut().map(|average| average.chunks_mut(BLOCK));
    slot.weight
        .chunks_mut(BLOCK)
        .zip(slot.gradient.chunks(BLOCK))
        .map(|(weight, gradient)| Piece {
            weight,
            gradient,
            state: std::array::from_fn(|index| {
                state.get_mut(index).and_then(Iterator::next).unwrap_or_default()
            }),
            average: average.as_mut().and_then(Iterator::next).unwrap_or_default(),
            rates: slot.rates,
        })
        .collect()
}

impl Piece<'_> {
    fn update(self, optimizer: &Optimizer, step: &Step) {
        let Piece { weight, gradient, state: [first, second, third], average, rates } = self;
        let multiplier = precise(rates.lr_multiplier);
        let lr = (step.lr * multiplier) as f32;
        let decay = rates.weight_decay;
        match optimizer.kind {
            OptimizerKind::Sgd => {
                let momentum = optimizer.momentum;
                for (index, weight) in weight.iter_mut().enumerate() {
                    let g = step.gradient(gradient[index]) + decay * *weight;
                    let direction = if momentum > 0.0 {
                        let buffer = momentum * first[index] + g;
                        first[index] = buffer;
                        if optimizer.nesterov { g + momentum * buffer } else { buffer }
                    } else {
                        g
                    };
                    *weight -= lr * direction;
                }
            }
            OptimizerKind::RmsProp => {
                let (alpha, rest) = split(optimizer.alpha);
                for (index, weight) in weight.iter_mut().enumerate() {
                    let g = step.gradient(gradient[index]) + decay * *weight;
                    let square = alpha * first[index] + rest * g * g;
                    first[index] = square;
                    let mut direction = g / (square.sqrt() + optimizer.epsilon);
                    if optimizer.momentum > 0.0 {
                        direction += optimizer.momentum * second[index];
                        second[index] = direction;
                    }
                    *weight -= lr * direction;
                }
            }
            OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::AmsGrad => {
                let (beta1, rest1) = split(optimizer.betas[0]);
                let (beta2, rest2) = split(optimizer.betas[1]);
                let apart = optimizer.kind == OptimizerKind::AdamW;
                let kept = if apart { (1.0 - step.lr * multiplier * precise(decay)) as f32 } else { 1.0 };
                let pull = if apart { 0.0 } else { decay };
                let size = (step.step_size * multiplier) as f32;
                let root = (1.0 / step.root) as f32;
                let largest = optimizer.kind == OptimizerKind::AmsGrad;
                for (index, weight) in weight.iter_mut().enumerate() {
                    let g = step.gradient(gradient[index]) + pull * *weight;
                    let m = beta1 * first[index] + rest1 * g;
                    let v = beta2 * second[index] + rest2 * g * g;
                    first[index] = m;
                    second[index] = v;
                    let v = if largest {
                        third[index] = third[index].max(v);
                        third[index]
                    } else {
                        v
                    };
                    *weight = *weight * kept - size * (m / (v.sqrt() * root + optimizer.epsilon));
                }
            }
        }
        if let Some(decay) = optimizer.ema_decay
            && !average.is_empty()
        {
            let (decay, rest) = split(decay);
            for (average, weight) in average.iter_mut().zip(weight.iter()) {
                *average = decay * *average + rest * *weight;
            }
        }
    }
}

/// A share and what is left of 1, of the decimal number that was meant.
fn split(share: f32) -> (f32, f32) {
    (share, (1.0 - precise(share)) as f32)
}

fn norm_of(optimizer: &Optimizer, slots: &[Slot<'_>], factor: f32, threads: usize) -> f32 {
    let blocks: Vec<&[f32]> = slots.iter().flat_map(|slot| slot.gradient.chunks(BLOCK)).collect();
    let mut sums = vec![0f64; blocks.len()];
    let work: Vec<(&[f32], &mut f64)> = blocks.into_iter().zip(&mut sums).collect();
    let step =
        Step { lr: 0.0, step_size: 0.0, root: 1.0, factor, clip: 1.0, clip_value: optimizer.clip_value };
    in_parallel(work, threads, |(block, sum)| {
        *sum = block.iter().map(|&gradient| f64::from(step.gradient(gradient)).powi(2)).sum();
    });
    sums.iter().sum::<f64>().sqrt() as f32
}

/// Hands the work out to threads in turn.
fn in_parallel<T: Send>(work: Vec<T>, threads: usize, run: impl Fn(T) + Sync) {
    let threads = threads.min(work.len());
    if threads < 2 {
        work.into_iter().for_each(run);
        return;
    }
    let mut shares: Vec<Vec<T>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, item) in work.into_iter().enumerate() {
        shares[index % threads].push(item);
    }
    let run = &run;
    std::thread::scope(|scope| {
        let mut shares = shares.into_iter();
        let own = shares.next();
        for share in shares {
            scope.spawn(move || share.into_iter().for_each(run));
        }
        own.into_iter().flatten().for_each(run);
    });
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
