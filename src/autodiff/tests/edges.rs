//! What random cases rarely meet: every form that a rule chooses between, ties, zeros, and very large numbers.

use super::array::Array;
use super::case::Case;
use super::choices::Choices;
use super::difference::{check, differentiated};
use crate::autodiff::kernels::Kernels;
use crate::onnx::proto::AttributeProto;

fn choices() -> Choices {
    Choices::new(&[], 11)
}

/// Gradients against differences, for a node with `outputs` outputs of which `seeded` have a gradient.
fn agrees(
    opset: i64,
    op: &str,
    shape: &[usize],
    rest: &[Option<Array>],
    attributes: &[AttributeProto],
    (outputs, seeded): (usize, &[usize]),
) -> Case {
    let mut choices = choices();
    let mut case = Case::of_opset(opset);
    let mut inputs = vec![Some(case.x(choices.distinct(shape)))];
    for values in rest {
        inputs.push(values.as_ref().map(|values| case.constant(values)));
    }
    let made = case.add(op, &inputs, attributes, outputs).unwrap();
    case.ends = seeded.iter().map(|&output| made[output]).collect();
    check(&case, &mut choices, Kernels::NONE).unwrap();
    differentiated(&case, &mut choices, Kernels::NONE).unwrap().case
}

fn ints(values: &[i64]) -> Option<Array> {
    Some(Array::ints(&[values.len()], values.to_vec()))
}

/// Names of the operators that a case's gradient consists of, after its own node.
fn operators(case: &Case) -> Vec<&str> {
    case.graph.nodes()[1..].iter().map(|node| node.op_type.as_str()).collect()
}

/// The gradient of Σ y by the first input, whose elements are `x`.
fn gradient(
    op: &str,
    shape: &[usize],
    x: &[f64],
    rest: &[Option<Array>],
    attributes: &[AttributeProto],
) -> Vec<f64> {
    let mut case = Case::of_opset(24);
    let mut inputs = vec![Some(case.x(Array::floats(shape, x.to_vec())))];
    for values in rest {
        inputs.push(values.as_ref().map(|values| case.constant(values)));
    }
    let case = case.op(op, &inputs, attributes).unwrap();
    let mut made = differentiated(&case, &mut choices(), Kernels::NONE).unwrap();
    for (_, seed) in &mut made.seeds {
        seed.f_mut().fill(1.0);
    }
    made.computed()[0].f().to_vec()
}

fn close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{got} for {expected}");
    }
}

#[test]
fn slices_of_all_directions_and_steps() {
    let far = i64::MAX;
    for (starts, ends, axes, steps) in [
        (&[1][..], &[3][..], &[0][..], &[1][..]),
        (&[1, -3], &[9, -1], &[0, 2], &[1, 1]),
        (&[0], &[far], &[-1], &[2]),
        (&[1], &[9], &[2], &[3]),
        (&[-1], &[i64::MIN], &[1], &[-1]),
        (&[-1, 4], &[i64::MIN, 0], &[1, 2], &[-1, -2]),
        (&[0, 1], &[9, 9], &[1, 2], &[2, 2]),
        (&[2], &[3], &[2], &[7]),
        (&[3], &[-100], &[2], &[-3]),
        (&[1, 1, 0], &[9, 9, 9], &[0, 1, 2], &[3, 2, 4]),
        (&[2], &[2], &[0], &[1]),
    ] {
        let rest = [ints(starts), ints(ends), ints(axes), ints(steps)];
        agrees(18, "Slice", &[4, 5, 6], &rest, &[], (1, &[0]));
    }
}

#[test]
fn a_plain_slice_is_one_pad() {
    let case = agrees(18, "Slice", &[6], &[ints(&[1]), ints(&[4])], &[], (1, &[0]));
    assert_eq!(operators(&case), ["Pad"]);
}

#[test]
fn pads_of_all_modes() {
    for mode in ["constant", "reflect", "edge", "wrap"] {
        let attributes = [AttributeProto::string("mode", mode)];
        agrees(19, "Pad", &[2, 4, 5], &[ints(&[0, 2, 1, 0, 3, 4])], &attributes, (1, &[0]));
        agrees(19, "Pad", &[3, 4], &[ints(&[2, 3]), None, ints(&[-1])], &attributes, (1, &[0]));
    }
    // Cut off, and more than once around.
    agrees(18, "Pad", &[2, 3, 4], &[ints(&[0, 1, -1, 0, -1, 1])], &[], (1, &[0]));
    let wrap = [AttributeProto::string("mode", "wrap")];
    agrees(19, "Pad", &[4, 5], &[ints(&[3, 0, 9, 12])], &wrap, (1, &[0]));
}

#[test]
fn parts_that_nothing_depends_on() {
    let axis = [AttributeProto::int("axis", 1)];
    for seeded in [&[0, 1, 2][..], &[1], &[0, 2], &[2]] {
        agrees(18, "Split", &[2, 7], &[ints(&[2, 4, 1])], &axis, (3, seeded));
    }
    let uneven = [AttributeProto::int("num_outputs", 3)];
    agrees(18, "Split", &[7, 2], &[], &uneven, (3, &[0, 1, 2]));
}

#[test]
fn gathers_take_the_form_that_fits() {
    let axis = [AttributeProto::int("axis", 1)];
    for (indices, op) in [
        // Neighbours; a permutation; some rows twice; one row often; a scalar.
        (Array::ints(&[3], vec![-3, 3, 4]), "Pad"),
        (Array::ints(&[5], vec![2, 0, 1, -1, 3]), "Gather"),
        (Array::ints(&[2, 3], vec![1, 1, 3, 0, 1, -5]), "Gather"),
        (Array::ints(&[2, 3], vec![1, 1, 1, 1, 1, 3]), "MatMul"),
        (Array::ints(&[], vec![-1]), "Pad"),
    ] {
        let case = agrees(18, "Gather", &[2, 5, 3], &[Some(indices.clone())], &axis, (1, &[0]));
        assert!(operators(&case).contains(&op), "{:?}", operators(&case));
        agrees(18, "Gather", &[2, 5], &[Some(indices)], &axis, (1, &[0]));
    }
    // Too large for a constant matrix.
    let often = Array::ints(&[1200], (0..1200).map(|at| at % 9).collect());
    let case = agrees(18, "Gather", &[900, 2], &[Some(often)], &[], (1, &[0]));
    assert!(operators(&case).contains(&"ScatterND"), "{:?}", operators(&case));
}

#[test]
fn gathers_by_indices_that_depend_on_data() {
    for axis in 0..3 {
        let mut choices = choices();
        let mut case = Case::new();
        let x = case.x(choices.distinct(&[2, 3, 4]));
        let indices = case.input(choices.indices(&[5, 2], -2, 2));
        let case =
            case.op("Gather", &[Some(x), Some(indices)], &[AttributeProto::int("axis", axis)]).unwrap();
        check(&case, &mut choices, Kernels::NONE).unwrap();
    }
    for (shape, indices, batch) in
        [(&[4, 3, 2][..], &[5, 2][..], 0), (&[4, 3, 2], &[4, 5, 1], 1), (&[2, 3, 4, 2], &[2, 3, 6, 1], 2)]
    {
        let mut choices = choices();
        let mut case = Case::new();
        let x = case.x(choices.distinct(shape));
        let indices = case.input(choices.indices(indices, -3, 3));
        let attributes = [AttributeProto::int("batch_dims", batch)];
        let case = case.op("GatherND", &[Some(x), Some(indices)], &attributes).unwrap();
        check(&case, &mut choices, Kernels::NONE).unwrap();
    }
}

#[test]
fn scatters_that_multiply_are_refused() {
    for reduction in ["mul", "max", "min"] {
        let mut case = Case::new();
        let x = case.x(Array::floats(&[3], vec![1.0; 3]));
        let indices = case.ints(&[1]);
        let updates = case.x(Array::floats(&[1], vec![2.0]));
        let attributes = [AttributeProto::string("reduction", reduction)];
        let case = case.op("ScatterElements", &[Some(x), Some(indices), Some(updates)], &attributes).unwrap();
        let error = differentiated(&case, &mut choices(), Kernels::NONE).err().unwrap();
        assert!(error.contains("has no gradient rule"), "{error}");
    }
}

#[test]
fn products_with_zeros() {
    let x = [1.0, 0.0, 3.0, 0.0, 0.0, 2.0, 1.0, 2.0, 3.0];
    close(
        &gradient("ReduceProd", &[3, 3], &x, &[ints(&[1])], &[]),
        &[0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 6.0, 3.0, 2.0],
    );
}

#[test]
fn extremes_share_among_ties() {
    let x = [1.0, 4.0, 4.0, 2.0, 2.0, 2.0];
    let max = gradient("ReduceMax", &[2, 3], &x, &[ints(&[1])], &[]);
    close(&max, &[0.0, 0.5, 0.5, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
    close(&gradient("ReduceMin", &[2, 3], &x, &[], &[]), &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn norms_of_zeros_have_no_gradient() {
    close(&gradient("ReduceL2", &[2, 2], &[0.0, 0.0, 3.0, 4.0], &[ints(&[1])], &[]), &[0.0, 0.0, 0.6, 0.8]);
    close(&gradient("ReduceL1", &[3], &[0.0, -2.0, 2.0], &[], &[]), &[0.0, -1.0, 1.0]);
    close(&gradient("LpNormalization", &[3], &[0.0; 3], &[], &[]), &[0.0; 3]);
}

#[test]
fn activations_at_their_bends() {
    let at =
        |op: &str, x: &[f64], attributes: &[AttributeProto]| gradient(op, &[x.len()], x, &[], attributes);
    close(&at("Relu", &[-1.0, 0.0, 1.0], &[]), &[0.0, 0.0, 1.0]);
    close(&at("LeakyRelu", &[-1.0, 0.0, 1.0], &[]), &[0.01, 0.01, 1.0]);
    close(&at("LeakyRelu", &[-1.0, 1.0], &[AttributeProto::float("alpha", 3.0)]), &[3.0, 1.0]);
    close(&at("HardSwish", &[-3.0, -2.0, 3.0, 4.0], &[]), &[0.0, -1.0 / 6.0, 1.0, 1.0]);
    close(&at("HardSigmoid", &[-2.5, 0.0, 2.5], &[]), &[0.0, 0.2, 0.0]);
    close(&at("Elu", &[-1.0, 2.0], &[AttributeProto::float("alpha", -2.0)]), &[-2.0 * (-1.0f64).exp(), 1.0]);
    let bound = |value: f64| Some(Array::floats(&[], vec![value]));
    let clipped = |low: Option<Array>, high: Option<Array>, x: &[f64]| {
        gradient("Clip", &[x.len()], x, &[low, high], &[])
    };
    close(&clipped(bound(-1.0), bound(2.0), &[-2.0, -1.0, 0.0, 2.0, 3.0]), &[0.0, 1.0, 1.0, 1.0, 0.0]);
    close(&clipped(None, bound(2.0), &[-2.0, 2.0, 3.0]), &[1.0, 1.0, 0.0]);
    // ReLU6.
    close(&clipped(bound(0.0), bound(6.0), &[-1.0, 0.0, 3.0, 6.0, 7.0]), &[0.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn activations_of_large_numbers_stay_finite() {
    let x = [-1e15, -1e4, -100.0, 100.0, 1e4, 1e15];
    let step = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    for op in ["Relu", "Elu", "Celu", "Softplus", "Mish", "Swish", "Gelu", "HardSwish"] {
        close(&gradient(op, &[6], &x, &[], &[]), &step);
    }
    let tanh = [AttributeProto::string("approximate", "tanh")];
    close(&gradient("Gelu", &[6], &x, &[], &tanh), &step);
    for op in ["Sigmoid", "Tanh", "Erf", "HardSigmoid"] {
        close(&gradient(op, &[6], &x, &[], &[]), &[0.0; 6]);
    }
}

#[test]
fn groups_have_a_scale_for_each_channel_or_group() {
    for (opset, length) in [(21, 6), (18, 3)] {
        let mut choices = choices();
        let mut case = Case::of_opset(opset);
        let x = case.x(choices.distinct(&[2, 6, 3, 2]));
        let scale = case.x(choices.distinct(&[length]));
        let bias = case.x(choices.distinct(&[length]));
        let groups = [AttributeProto::int("num_groups", 3)];
        let case = case.op("GroupNormalization", &[Some(x), Some(scale), Some(bias)], &groups).unwrap();
        check(&case, &mut choices, Kernels::NONE).unwrap();
    }
}
