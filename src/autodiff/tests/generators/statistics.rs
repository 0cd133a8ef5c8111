//! Reductions, softmax, normalisations.

use super::activations::away;
use super::{Generator, cases, check_all};
use crate::autodiff::tests::array::Array;
use crate::autodiff::tests::case::Case;
use crate::autodiff::tests::choices::Choices;
use crate::error::Result;
use crate::onnx::proto::AttributeProto;

pub(super) const ALL: &[Generator] = &[
    cases("ReduceSum", |c| reduce(c, "ReduceSum", any)),
    cases("ReduceMean", |c| reduce(c, "ReduceMean", any)),
    cases("ReduceMax", |c| reduce(c, "ReduceMax", |c, shape| c.distinct(shape))),
    cases("ReduceMin", |c| reduce(c, "ReduceMin", |c, shape| c.distinct(shape))),
    cases("ReduceProd", |c| reduce(c, "ReduceProd", factors)),
    cases("ReduceL1", |c| reduce(c, "ReduceL1", |c, shape| c.apart(shape, &[0.0]))),
    cases("ReduceL2", |c| {
        reduce(c, "ReduceL2", |c, shape| c.floats(shape, 0.3, 2.0).map(|x| 1.1 - x).map(|x| away(x, &[0.0])))
    }),
    cases("ReduceSumSquare", |c| reduce(c, "ReduceSumSquare", any)),
    cases("ReduceLogSum", |c| reduce(c, "ReduceLogSum", |c, shape| c.floats(shape, 0.3, 2.0))),
    cases("ReduceLogSumExp", |c| reduce(c, "ReduceLogSumExp", any)),
    cases("Softmax", |c| along(c, "Softmax")),
    cases("LogSoftmax", |c| along(c, "LogSoftmax")),
    cases("BatchNormalization", batch),
    cases("InstanceNormalization", |c| {
        let mut case = Case::new();
        let shape = image(c);
        // Apart: of two elements that are almost equal the differences say little.
        let x = case.x(c.distinct(&shape));
        let (scale, bias) =
            (case.x(c.floats(&[shape[1]], 0.5, 1.5)), case.x(c.floats(&[shape[1]], -1.0, 1.0)));
        case.op("InstanceNormalization", &[Some(x), Some(scale), Some(bias)], &[epsilon(c)])
    }),
    cases("GroupNormalization", group).times(2),
    cases("LayerNormalization", layer).times(2),
    cases("RMSNormalization", |c| root_mean_square(c, "RMSNormalization")),
    cases("SimplifiedLayerNormalization", |c| root_mean_square(c, "SimplifiedLayerNormalization")),
    cases("LpNormalization", |c| {
        let mut case = Case::new();
        let shape = c.some_shape(1, 4);
        let attributes =
            [AttributeProto::int("axis", c.axis(shape.len())), AttributeProto::int("p", c.one(&[2, 1]))];
        let x = case.x(c.apart(&shape, &[0.0]).map(|x| x + 0.3 * x.signum()));
        case.op("LpNormalization", &[Some(x)], &attributes)
    }),
];

#[test]
fn statistics_have_the_gradients_of_differences() {
    check_all(ALL);
}

fn any(c: &mut Choices, shape: &[usize]) -> Array {
    c.floats(shape, -2.0, 2.0)
}

/// Zeros among them: none, one, or several in a product.
fn factors(c: &mut Choices, shape: &[usize]) -> Array {
    let zeros = c.one(&[0.0, 0.1, 0.4]);
    let mut x = c.apart(shape, &[0.0]);
    for x in x.f_mut() {
        if c.unit() < zeros {
            *x = 0.0;
        }
    }
    x
}

fn reduce(c: &mut Choices, op: &str, values: fn(&mut Choices, &[usize]) -> Array) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(0, 5);
    let mut attributes = vec![AttributeProto::int("keepdims", 1 - c.below(2) as i64)];
    let x = case.x(values(c, &shape));
    let axes = match c.below(4) {
        // Without axes all are reduced; none, by the attribute, where the result is then the input itself.
        2 => {
            if matches!(op, "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd") && c.flip()
            {
                attributes.push(AttributeProto::int("noop_with_empty_axes", 1));
            }
            if c.flip() { None } else { Some(case.ints(&[])) }
        }
        _ if shape.is_empty() => None,
        _ => Some(case.ints(&c.axes(shape.len(), 1))),
    };
    case.op(op, &[Some(x), axes], &attributes)
}

fn along(c: &mut Choices, op: &str) -> Result<Case> {
    let mut case = Case::new();
    let shape = c.some_shape(1, 5);
    let axis = AttributeProto::int("axis", c.axis(shape.len()));
    let x = case.x(c.floats(&shape, -3.0, 3.0));
    case.op(op, &[Some(x)], &[axis])
}

/// [N, C, …] with one to three spatial axes of more than one element.
fn image(c: &mut Choices) -> Vec<usize> {
    let spatial = c.within(1, 3);
    let mut shape = vec![c.within(1, 2), c.within(1, 3)];
    shape.extend((0..spatial).map(|_| c.within(2, 3)));
    shape
}

fn epsilon(c: &mut Choices) -> AttributeProto {
    AttributeProto::float("epsilon", c.one(&[1e-5, 1e-2, 1e-3]))
}

/// Statistics are differentiated too.
fn batch(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let shape = if c.below(4) == 3 { vec![c.within(1, 4), c.within(1, 3)] } else { image(c) };
    let channels = [shape[1]];
    let x = case.x(c.floats(&shape, -2.0, 2.0));
    let inputs = [
        x,
        case.x(c.floats(&channels, 0.5, 1.5)),
        case.x(c.floats(&channels, -1.0, 1.0)),
        case.x(c.floats(&channels, -1.0, 1.0)),
        case.x(c.floats(&channels, 0.5, 2.0)),
    ];
    case.op("BatchNormalization", &inputs.map(Some), &[epsilon(c)])
}

/// Scale and bias by group before set 21, by channel from then on.
fn group(c: &mut Choices) -> Result<Case> {
    let opset = c.one(&[21, 18]);
    let mut case = Case::of_opset(opset);
    let mut shape = image(c);
    let groups = c.within(1, 3);
    shape[1] = groups * c.within(1, 2);
    let own = [if opset == 21 { shape[1] } else { groups }];
    let x = case.x(c.floats(&shape, -2.0, 2.0));
    let (scale, bias) = (case.x(c.floats(&own, 0.5, 1.5)), case.x(c.floats(&own, -1.0, 1.0)));
    let attributes = [AttributeProto::int("num_groups", groups as i64), epsilon(c)];
    case.op("GroupNormalization", &[Some(x), Some(scale), Some(bias)], &attributes)
}

/// The shape of a normalised stretch of at least two elements, with the axis where it begins.
fn stretch(c: &mut Choices) -> (Vec<usize>, i64) {
    let mut shape = c.some_shape(1, 4);
    if let Some(last) = shape.last_mut() {
        *last += 1;
    }
    let axis = c.axis(shape.len());
    (shape, axis)
}

/// Scale and bias of the normalised shape, or narrower.
fn layer(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let (shape, axis) = stretch(c);
    let inner = &shape[axis.rem_euclid(shape.len() as i64) as usize..];
    let own = |c: &mut Choices| if c.below(3) == 2 { c.narrower(inner) } else { inner.to_vec() };
    let (scale, bias) = (own(c), own(c));
    let mut inputs =
        vec![Some(case.x(c.floats(&shape, -2.0, 2.0))), Some(case.x(c.floats(&scale, 0.5, 1.5)))];
    if c.flip() {
        inputs.push(Some(case.x(c.floats(&bias, -1.0, 1.0))));
    }
    case.op("LayerNormalization", &inputs, &[AttributeProto::int("axis", axis), epsilon(c)])
}

fn root_mean_square(c: &mut Choices, op: &str) -> Result<Case> {
    let mut case = Case::of_opset(23);
    let (shape, axis) = stretch(c);
    let inner = shape[axis.rem_euclid(shape.len() as i64) as usize..].to_vec();
    let x = case.x(c.floats(&shape, -2.0, 2.0));
    let scale = case.x(c.floats(&inner, 0.5, 1.5));
    case.op(op, &[Some(x), Some(scale)], &[AttributeProto::int("axis", axis), epsilon(c)])
}
