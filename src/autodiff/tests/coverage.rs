//! That no rule goes unchecked.

use std::collections::BTreeSet;

use super::generators;
use super::interpreter;
use crate::autodiff::rules;

/// All operators of ONNX's own domain, of all versions (`onnx.defs.get_all_schemas_with_history`, onnx 1.23.2), and what
/// ONNX Runtime has in that domain besides.
const OPERATORS: &str = "Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool \
    BatchNormalization Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike \
    CausalConvWithState Ceil Celu CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Conv \
    ConvInteger ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv DepthToSpace DequantizeLinear Det Div Dropout \
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm \
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow \
    HannWindow HardSigmoid HardSwish Hardmax Identity If ImageDecoder InstanceNormalization IsInf IsNaN LRN LSTM \
    LayerNormalization LeakyRelu Less LessOrEqual LinearAttention Log LogSoftmax Loop LpNormalization LpPool MatMul \
    MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul \
    Multinomial Neg NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement \
    OptionalHasElement Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal \
    RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp \
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence \
    RoiAlign RotaryEmbedding Round STFT Scan Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct \
    SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap Shape Shrink Sigmoid Sign Sin Sinh Size Slice \
    Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze StringConcat \
    StringNormalizer StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer ThresholdedRelu Tile TopK \
    Transpose Trilu Unique Unsqueeze Upsample Where Xor SimplifiedLayerNormalization SkipLayerNormalization Affine \
    ImageScaler Crop ParametricSoftplus ScaledTanh DynamicSlice GivenTensorFill";

#[test]
fn every_rule_has_random_cases() {
    let generated: BTreeSet<&str> = generators::all().iter().map(|generator| generator.op).collect();
    let with_rule: Vec<&str> =
        OPERATORS.split_whitespace().filter(|op_type| rules::rule("", op_type).is_some()).collect();
    let missing: Vec<&&str> = with_rule.iter().filter(|op_type| !generated.contains(*op_type)).collect();
    assert!(missing.is_empty(), "rules without a generator of random cases: {missing:?}");
    assert!(with_rule.len() >= 95, "{} rules", with_rule.len());
    for op_type in &generated {
        assert!(interpreter::knows("", op_type), "{op_type}");
        assert!(OPERATORS.split_whitespace().any(|name| name == *op_type), "{op_type} is not in the list");
        assert!(!rules::is_flat("", op_type), "{op_type} has a rule and is flat");
    }
}

#[test]
fn no_operator_has_two_generators() {
    let generators = generators::all();
    let names: BTreeSet<&str> = generators.iter().map(|generator| generator.op).collect();
    assert_eq!(names.len(), generators.len());
}

#[test]
fn the_suite_has_thousands_of_cases() {
    let cases: usize = generators::all().iter().map(|generator| generator.cases).sum();
    assert!(cases >= 2000, "{cases} cases");
}
