//! Optimizers: how weights follow from gradients.
//!
//! The formulas are PyTorch's (`torch.optim`), with t the number of the step, counted from 1, and w, g weight and
//! gradient:
//!
//! | kind | update |
//! |---|---|
//! | SGD | g += λ w; with momentum b = μ b + g and g = b (Nesterov: g + μ b); w -= lr g |
//! | Adam | g += λ w; m = β1 m + (1 - β1) g; v = β2 v + (1 - β2) g²; w -= lr / (1 - β1^t) m / (√v / √(1 - β2^t) + ε) |
//! | AMSGrad | Adam with the largest v so far in place of v |
//! | AdamW | w -= lr λ w, then Adam without λ |
//! | RMSprop | g += λ w; v = α v + (1 - α) g²; u = g / (√v + ε); with momentum b = μ b + u and u = b; w -= lr u |
//!
//! Before that: the gradients are divided by the loss scale, clipped by value, then by their global norm
//! (g min(1, c / (‖g‖ + 1e-6)), as `clip_grad_norm_`). Where the norm is not finite and a loss scale is in use, the step
//! changes nothing. After it: the moving average of the weights, e = d e + (1 - d) w.

#[cfg(test)]
pub(crate) mod golden;
mod graph;
mod group;
mod spec;

pub(crate) use graph::{Update, emit, precise};
pub use group::ParameterGroup;
pub(crate) use group::{Rates, rates};
pub use spec::{Optimizer, OptimizerKind};
