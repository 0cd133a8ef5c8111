//! Functions of one number.

use super::{Generator, cases, check_all};
use crate::autodiff::tests::array::Array;
use crate::autodiff::tests::case::Case;
use crate::autodiff::tests::choices::Choices;
use crate::error::Result;
use crate::onnx::proto::AttributeProto;

pub(super) const ALL: &[Generator] = &[
    cases("Neg", |c| plain(c, "Neg", -2.0, 2.0)),
    cases("Exp", |c| plain(c, "Exp", -2.0, 2.0)),
    cases("Log", |c| plain(c, "Log", 0.2, 3.0)),
    cases("Sqrt", |c| plain(c, "Sqrt", 0.2, 3.0)),
    cases("Reciprocal", |c| plain(c, "Reciprocal", 0.4, 3.0)),
    cases("Sin", |c| plain(c, "Sin", -4.0, 4.0)),
    cases("Cos", |c| plain(c, "Cos", -4.0, 4.0)),
    cases("Tan", |c| plain(c, "Tan", -1.2, 1.2)),
    cases("Asin", |c| plain(c, "Asin", -0.9, 0.9)),
    cases("Acos", |c| plain(c, "Acos", -0.9, 0.9)),
    cases("Atan", |c| plain(c, "Atan", -3.0, 3.0)),
    cases("Sinh", |c| plain(c, "Sinh", -2.0, 2.0)),
    cases("Cosh", |c| plain(c, "Cosh", -2.0, 2.0)),
    cases("Asinh", |c| plain(c, "Asinh", -3.0, 3.0)),
    cases("Acosh", |c| plain(c, "Acosh", 1.2, 3.0)),
    cases("Atanh", |c| plain(c, "Atanh", -0.9, 0.9)),
    cases("Erf", |c| plain(c, "Erf", -3.0, 3.0)),
    cases("Sigmoid", |c| plain(c, "Sigmoid", -6.0, 6.0)),
    cases("Tanh", |c| plain(c, "Tanh", -3.0, 3.0)),
    cases("Softplus", |c| plain(c, "Softplus", -6.0, 6.0)),
    cases("Mish", |c| plain(c, "Mish", -6.0, 6.0)),
    cases("Identity", |c| plain(c, "Identity", -2.0, 2.0)),
    cases("Swish", |c| {
        let alpha = c.one(&[1.0, 0.5, 1.702]);
        function(c, "Swish", (-4.0, 4.0), &[], &[AttributeProto::float("alpha", alpha)])
    }),
    cases("Gelu", |c| {
        let approximate = c.one(&["none", "tanh"]);
        function(c, "Gelu", (-4.0, 4.0), &[], &[AttributeProto::string("approximate", approximate)])
    }),
    cases("Softsign", |c| function(c, "Softsign", (-2.0, 2.0), &[0.0], &[])),
    cases("Relu", |c| function(c, "Relu", (-2.0, 2.0), &[0.0], &[])),
    cases("Abs", |c| function(c, "Abs", (-2.0, 2.0), &[0.0], &[])),
    cases("LeakyRelu", |c| {
        let alpha = c.one(&[0.01, 0.2, 1.0, -0.5, 2.5, 0.0]);
        function(c, "LeakyRelu", (-2.0, 2.0), &[0.0], &[AttributeProto::float("alpha", alpha)])
    }),
    cases("ThresholdedRelu", |c| {
        let alpha = c.one(&[1.0, 0.25, -0.5]);
        let kinks = [f64::from(alpha)];
        function(c, "ThresholdedRelu", (-2.0, 2.0), &kinks, &[AttributeProto::float("alpha", alpha)])
    }),
    cases("Shrink", |c| {
        let (bias, lambda) = (c.one(&[0.0, 0.25]), c.one(&[0.5, 1.25]));
        let kinks = [f64::from(lambda), -f64::from(lambda)];
        let attributes = [AttributeProto::float("bias", bias), AttributeProto::float("lambd", lambda)];
        function(c, "Shrink", (-2.0, 2.0), &kinks, &attributes)
    }),
    cases("Elu", |c| {
        let alpha = c.one(&[1.0, 0.5, 2.0]);
        function(c, "Elu", (-3.0, 3.0), &[0.0], &[AttributeProto::float("alpha", alpha)])
    }),
    cases("Celu", |c| {
        let alpha = c.one(&[1.0, 0.5, 2.0]);
        function(c, "Celu", (-3.0, 3.0), &[0.0], &[AttributeProto::float("alpha", alpha)])
    }),
    cases("Selu", |c| {
        let attributes = [AttributeProto::float("alpha", 1.5), AttributeProto::float("gamma", 0.75)];
        let count = c.below(3);
        function(c, "Selu", (-3.0, 3.0), &[0.0], &attributes[..count])
    }),
    cases("HardSigmoid", |c| {
        let (alpha, beta) = (c.one(&[0.2, 0.5, 1.0 / 6.0]), c.one(&[0.5, 0.25]));
        let (a, b) = (f64::from(alpha), f64::from(beta));
        let attributes = [AttributeProto::float("alpha", alpha), AttributeProto::float("beta", beta)];
        function(c, "HardSigmoid", (-4.0, 4.0), &[-b / a, (1.0 - b) / a], &attributes)
    }),
    cases("HardSwish", |c| function(c, "HardSwish", (-5.0, 5.0), &[-3.0, 3.0], &[])),
    cases("Clip", clip),
    cases("PRelu", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(0, 5);
        let slope = c.narrower(&shape);
        let x = case.x(c.apart(&shape, &[0.0]));
        let slope = case.x(c.floats(&slope, -1.0, 1.5));
        case.op("PRelu", &[Some(x), Some(slope)], &[])
    }),
];

#[test]
fn activations_have_the_gradients_of_differences() {
    check_all(ALL);
}

fn plain(c: &mut Choices, op: &str, from: f64, to: f64) -> Result<Case> {
    function(c, op, (from, to), &[], &[])
}

/// Values of a range that stay away from kinks.
fn function(
    c: &mut Choices,
    op: &str,
    (from, to): (f64, f64),
    kinks: &[f64],
    attributes: &[AttributeProto],
) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(0, 5);
    let values = c.floats(&shape, from, to);
    let x = case.x(values.map(|x| away(x, kinks)));
    case.op(op, &[Some(x)], attributes)
}

/// At least 0.01 from each kink.
pub(super) fn away(mut x: f64, kinks: &[f64]) -> f64 {
    for kink in kinks {
        if (x - kink).abs() < 0.01 {
            x = kink + if x < *kink { -0.015 } else { 0.015 };
        }
    }
    x
}

/// Bounds are constants, parameters that are not trained, or left out; the lower may be above the upper.
fn clip(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(0, 5);
    let (low, high) = c.one(&[(0.0, 6.0), (-0.5, 0.75), (0.0, 1.0), (-1.0, -0.5), (0.5, -0.5)]);
    let x =
        case.x(c.floats(&shape, -2.0, if high == 6.0 { 8.0 } else { 2.0 }).map(|x| away(x, &[low, high])));
    let (low, high) = (Array::floats(&[], vec![low]), Array::floats(&[], vec![high]));
    let low = if c.below(4) == 3 { None } else { Some(case.constant(&low)) };
    let high = if c.below(4) == 3 { None } else { Some(case.constant(&high)) };
    case.op("Clip", &[Some(x), low, high], &[])
}
