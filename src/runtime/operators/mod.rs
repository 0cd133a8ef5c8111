//! Operators of glebe's own for the CPU provider, in the domain `glebe`, version 1.
//!
//! A training graph in standard operators runs everywhere, but on the processor a few of its patterns cost far more
//! than their arithmetic. These do the same in one pass; a graph may use them where its session has them
//! ([`SessionOptions::operators`](super::SessionOptions::operators)) and runs on the CPU provider:
//!
//! * `ConvForward(X, W, B) -> Y`: Conv, with an activation that cuts the result to an interval.
//! * `ConvInputGrad(dY, W) -> dX`: the gradient of Conv by its input.
//! * `ConvWeightGrad(X, dY) -> dW`: the gradient of Conv by its weights.
//! * `GateGrad(dY, Y) -> dX, sums`: the gradient of Relu and Clip, and of a bias before them.
//! * `SoftmaxCrossEntropy(logits, labels, weights, mask) -> loss_sum, weight_sum, dlogits`.
//!
//! All work is divided for the session's own thread pool in such a way that each result is computed by one thread in
//! a fixed order: the bits are the same in every run and for any number of threads (on processors with the same
//! vector instructions).

mod conv_shape;
mod conv_weight_grad;
mod convolution;
mod cross_entropy;
mod dot;
mod gate_grad;
mod gather;
mod lanes;
mod outer;
mod parallel;
mod softmax_cross_entropy;
mod weight_grad;

use ort::operator::OperatorDomain;

/// The domain of the operators.
pub const DOMAIN: &str = "glebe";
/// Its version.
pub const VERSION: i64 = 1;

/// The operators, for a session of so many threads.
pub(super) fn domain(threads: usize) -> ort::Result<OperatorDomain> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    OperatorDomain::new(DOMAIN)?
        .add(convolution::ConvForward::new(threads))?
        .add(convolution::ConvInputGrad::new(threads))?
        .add(conv_weight_grad::ConvWeightGrad::new(threads))?
        .add(gate_grad::GateGrad::new(threads))?
        .add(softmax_cross_entropy::SoftmaxCrossEntropy::new(threads))
}
