//! Arithmetic with broadcasting, selection.

use super::{Generator, cases, check_all};
use crate::autodiff::tests::array::{Array, broadcast_shape};
use crate::autodiff::tests::case::Case;
use crate::autodiff::tests::choices::Choices;
use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::proto::AttributeProto;

pub(super) const ALL: &[Generator] = &[
    cases("Add", |c| binary(c, "Add", |c, shape| c.floats(shape, -2.0, 2.0))),
    cases("Sub", |c| binary(c, "Sub", |c, shape| c.floats(shape, -2.0, 2.0))),
    cases("Mul", |c| binary(c, "Mul", |c, shape| c.floats(shape, -2.0, 2.0))),
    cases("Div", |c| binary(c, "Div", signed_away)),
    cases("Sum", |c| several(c, "Sum")),
    cases("Mean", |c| several(c, "Mean")),
    cases("Max", |c| extreme(c, "Max")),
    cases("Min", |c| extreme(c, "Min")),
    cases("Pow", pow).times(2),
    cases("Where", choice),
    cases("Cast", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(0, 4);
        let x = case.x(c.floats(&shape, -2.0, 2.0));
        let double = ElementType::Float64.number();
        let y = case.add("Cast", &[Some(x)], &[AttributeProto::int("to", i64::from(double))], 1)?;
        let single = ElementType::Float32.number();
        case.op("Cast", &[Some(y[0])], &[AttributeProto::int("to", i64::from(single))])
    }),
    cases("CastLike", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(0, 4);
        let x = case.x(c.floats(&shape, -2.0, 2.0));
        let like = case.input(c.floats(&[2], 0.0, 1.0));
        case.op("CastLike", &[Some(x), Some(like)], &[])
    }),
];

#[test]
fn arithmetic_has_the_gradients_of_differences() {
    check_all(ALL);
}

/// Two shapes that broadcast with each other, in either order.
fn two_shapes(c: &mut Choices) -> (Vec<usize>, Vec<usize>) {
    let shape = c.some_shape(0, 5);
    let (mut a, b) = (shape.clone(), c.narrower(&shape));
    // Axes of size 1 on the other side too.
    for axis in 0..a.len() {
        let theirs = (axis + b.len()).checked_sub(a.len()).map_or(1, |own| b[own]);
        if theirs == a[axis] && c.below(4) == 3 {
            a[axis] = 1;
        }
    }
    if c.flip() { (b, a) } else { (a, b) }
}

/// Between 0.5 and 2, of either sign.
fn signed_away(c: &mut Choices, shape: &[usize]) -> Array {
    let mut x = c.floats(shape, 0.5, 2.0);
    for x in x.f_mut() {
        *x *= if c.unit() < 0.5 { -1.0 } else { 1.0 };
    }
    x
}

fn binary(c: &mut Choices, op: &str, values: fn(&mut Choices, &[usize]) -> Array) -> Result<Case> {
    let (a, b) = two_shapes(c);
    let mut case = Case::new();
    let x = case.x(values(c, &a));
    // A value may meet itself.
    if a == b && c.below(8) == 7 {
        return case.op(op, &[Some(x), Some(x)], &[]);
    }
    let values = values(c, &b);
    let y = if c.below(5) == 4 { case.constant(&values) } else { case.x(values) };
    case.op(op, &[Some(x), Some(y)], &[])
}

fn several(c: &mut Choices, op: &str) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(0, 4);
    let count = c.within(1, 4);
    let inputs: Vec<_> = (0..count)
        .map(|_| {
            let own = c.narrower(&shape);
            Some(case.x(c.floats(&own, -2.0, 2.0)))
        })
        .collect();
    case.op(op, &inputs, &[])
}

/// Elements that meet differ by 0.02 at least: the inputs are drawn from grids that are shifted against each other.
fn extreme(c: &mut Choices, op: &str) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(0, 4);
    let count = c.within(1, 3);
    let inputs: Vec<_> = (0..count)
        .map(|index| {
            let own = c.narrower(&shape);
            let values = c.floats(&own, -20.0, 20.0).map(|x| (x.round() + index as f64 / 3.0) / 10.0);
            Some(case.x(values))
        })
        .collect();
    case.op(op, &inputs, &[])
}

/// Positive bases with any exponent, bases of either sign with constant whole ones.
fn pow(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    match c.below(4) {
        0 => {
            let shape = c.some_shape(0, 4);
            let x = case.x(signed_away(c, &shape));
            let exponent = c.one(&[2.0, 3.0, 1.0, 4.0, -1.0, -2.0]);
            let exponent = case.constant(&Array::floats(&[], vec![exponent]));
            case.op("Pow", &[Some(x), Some(exponent)], &[])
        }
        1 => {
            let shape = c.some_shape(0, 4);
            let x = case.x(c.floats(&shape, 0.3, 2.0));
            let exponent = c.one(&[0.5, -0.5, 1.5, 2.5]);
            let exponent = case.constant(&Array::floats(&[], vec![exponent]));
            case.op("Pow", &[Some(x), Some(exponent)], &[])
        }
        2 => {
            // Exponents of an integer type.
            let (a, b) = two_shapes(c);
            let x = case.x(signed_away(c, &a));
            let exponent = case.input(c.indices(&b, 1, 4));
            case.op("Pow", &[Some(x), Some(exponent)], &[])
        }
        _ => {
            let (a, b) = two_shapes(c);
            let x = case.x(c.floats(&a, 0.3, 2.0));
            let y = case.x(c.floats(&b, -2.0, 2.0));
            case.op("Pow", &[Some(x), Some(y)], &[])
        }
    }
}

fn choice(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let (a, b) = two_shapes(c);
    let condition = broadcast_shape(&a, &b);
    let condition = c.narrower(&condition);
    let condition = case.input(c.bools(&condition));
    let (x, y) = (case.x(c.floats(&a, -2.0, 2.0)), case.x(c.floats(&b, -2.0, 2.0)));
    case.op("Where", &[Some(condition), Some(x), Some(y)], &[])
}
