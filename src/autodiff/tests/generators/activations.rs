//! Functions of one number.

use super::{Generator, cases, check_all};
use crate::autodiff::tests::case::Case;
use crate::autodiff::tests::choices::Choices;
use crate::error::Result;

pub(super) const ALL: &[Generator] = &[
    cases("Neg", |c| plain(c, "Neg", -2.0, 2.0)),
    cases("Exp", |c| plain(c, "Exp", -2.0, 2.0)),
    cases("Log", |c| plain(c, "Log", 0.2, 3.0)),
    cases("Sqrt", |c| plain(c, "Sqrt", 0.2, 3.0)),
    cases("Reciprocal", |c| plain(c, "Reciprocal", 0.4, 3.0)),
    cases("Sigmoid", |c| plain(c, "Sigmoid", -6.0, 6.0)),
    cases("Tanh", |c| plain(c, "Tanh", -3.0, 3.0)),
    cases("Relu", |c| bent(c, "Relu", &[0.0])),
    cases("Abs", |c| bent(c, "Abs", &[0.0])),
];

#[test]
fn activations_have_the_gradients_of_differences() {
    check_all(ALL);
}

fn plain(c: &mut Choices, op: &str, from: f64, to: f64) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(0, 5);
    let x = case.x(c.floats(&shape, from, to));
    case.op(op, &[Some(x)], &[])
}

/// Away from kinks.
fn bent(c: &mut Choices, op: &str, kinks: &[f64]) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(0, 5);
    let x = case.x(c.apart(&shape, kinks));
    case.op(op, &[Some(x)], &[])
}
