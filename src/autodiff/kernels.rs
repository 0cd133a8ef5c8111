//! Operators of our own that a session may have beside ONNX's.

/// Which of the operators of domain `glebe` (`crate::runtime::operators`) the emitted graph may use.
///
/// Each computes what a pattern of standard operators computes, in one pass. They exist on the CPU provider; the
/// standard form is the portable path and the oracle of their tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Kernels {
    /// `ConvForward` and `ConvInputGrad`: convolutions whose weights are inputs, with their activation, and the gradient
    /// of a convolution's input.
    pub convolution: bool,
    /// `ConvWeightGrad`: the gradient of a convolution's weight.
    pub conv_weight_grad: bool,
    /// `GateGrad`: the gradient of Relu and Clip, and of a bias before them.
    pub gate: bool,
    /// `SoftmaxCrossEntropy`: loss and gradient of logits.
    pub cross_entropy: bool,
}

impl Kernels {
    /// Standard operators only.
    pub const NONE: Kernels =
        Kernels { convolution: false, conv_weight_grad: false, gate: false, cross_entropy: false };

    /// All that there are.
    pub const ALL: Kernels =
        Kernels { convolution: true, conv_weight_grad: true, gate: true, cross_entropy: true };
}
