//! The training compiler: from an inference graph to loss, gradients and optimizer update in standard ONNX operators.
//! Pure graph work on [`crate::onnx`]; one file a family of rules.

pub(crate) mod adapter;
pub(crate) mod backward;
pub(crate) mod batch_norm;
pub(crate) mod blocked;
pub(crate) mod compile;
pub(crate) mod decompose;
pub(crate) mod emit;
pub(crate) mod evaluation;
pub(crate) mod frontier;
mod frozen_norm;
mod kernels;
pub(crate) mod liveness;
pub mod loss;
pub(crate) mod lowering;
pub mod optimizer;
mod options;
mod parameter;
mod pointwise;
pub(crate) mod rules;
mod selection;
pub(crate) mod survey;
#[cfg(test)]
mod tests;

pub use kernels::Kernels;
pub use loss::{Loss, LossKind, LossTerm};
pub use optimizer::{Optimizer, OptimizerKind, ParameterGroup};
pub use options::{BatchNorm, StepOptions};
pub use parameter::{Parameter, Role};
pub use selection::{Lora, Selection};
pub use survey::Support;
