//! The training compiler: from an inference graph to loss, gradients and optimizer update in standard ONNX operators.
//! Pure graph work on [`crate::onnx`]; one file a family of rules.

pub(crate) mod backward;
pub(crate) mod batch_norm;
pub(crate) mod decompose;
pub(crate) mod emit;
mod kernels;
pub(crate) mod rules;

pub use kernels::Kernels;
