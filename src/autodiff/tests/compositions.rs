//! Random graphs of several operators: the gradient by all inputs at once, along random directions.

use super::array::Array;
use super::case::Case;
use super::choices::{Choices, for_cases};
use super::difference::{derivative, differentiated};
use super::interpreter::Interpreter;
use crate::autodiff::kernels::Kernels;
use crate::error::Result;
use crate::onnx::graph::ValueId;
use crate::onnx::proto::AttributeProto;

const CASES: usize = 60;

/// An operator that makes one more image `[N, C, H, W]` out of those there are; only smooth ones, as a chain of them
/// cannot be kept from kinks. Every value is used at least once; results that nothing uses are seeded.
fn grow(c: &mut Choices, case: &mut Case, images: &mut Vec<ValueId>) -> Result<()> {
    let x = images[c.below(images.len())];
    let shape = case.graph.shape(x).to_vec();
    let channels = shape[1];
    let vector = |c: &mut Choices, case: &mut Case, length: usize| case.x(c.floats(&[length], 0.5, 1.2));
    let one = |case: &mut Case, op: &str, inputs: &[ValueId], attributes: &[AttributeProto]| {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        case.add(op, &inputs, attributes, 1).map(|made| made[0])
    };
    let made = match c.below(14) {
        0 => {
            let op = c.one(&["Tanh", "Sigmoid", "Softplus", "Gelu", "Sin", "Mish", "Swish"]);
            one(case, op, &[x], &[])?
        }
        1 => {
            let (maps, kernel) = (c.within(1, 3), c.one(&[1, 3]));
            let w = case.x(c.floats(&[maps, channels, kernel, kernel], -0.5, 0.5));
            let b = vector(c, case, maps);
            let pad = (kernel / 2) as i64;
            let stride = if shape[2].min(shape[3]) > 2 { c.within(1, 2) as i64 } else { 1 };
            let attributes =
                [AttributeProto::ints("pads", &[pad; 4]), AttributeProto::ints("strides", &[stride; 2])];
            one(case, "Conv", &[x, w, b], &attributes)?
        }
        2 => {
            // Two values that broadcast: an image and its own means over space.
            let axes = case.ints(&[2, 3]);
            let means = one(case, "ReduceMean", &[x, axes], &[])?;
            let op = c.one(&["Mul", "Add", "Sub"]);
            one(case, op, &[x, means], &[])?
        }
        3 => {
            let same: Vec<ValueId> =
                images.iter().copied().filter(|&other| case.graph.shape(other) == shape).collect();
            let other = same[c.below(same.len())];
            let bounded = one(case, "Tanh", &[other], &[])?;
            one(case, c.one(&["Mul", "Add"]), &[x, bounded], &[])?
        }
        4 => {
            let fits: Vec<ValueId> = images
                .iter()
                .copied()
                .filter(|&other| {
                    let own = case.graph.shape(other);
                    (own[0], own[2], own[3]) == (shape[0], shape[2], shape[3]) && own[1] + channels <= 6
                })
                .collect();
            let Some(&other) = fits.first() else { return Ok(()) };
            one(case, "Concat", &[x, other], &[AttributeProto::int("axis", 1)])?
        }
        5 => {
            let target = [shape[0] as i64, channels as i64, c.within(2, 5) as i64, c.within(2, 5) as i64];
            let sizes = case.ints(&target);
            let mode = AttributeProto::string("mode", c.one(&["linear", "nearest", "cubic"]));
            case.add("Resize", &[Some(x), None, None, Some(sizes)], &[mode], 1)?[0]
        }
        6 => {
            let (scale, bias) = (vector(c, case, channels), vector(c, case, channels));
            let epsilon = AttributeProto::float("epsilon", 0.1);
            one(case, "InstanceNormalization", &[x, scale, bias], &[epsilon])?
        }
        7 => {
            let statistics: Vec<ValueId> = (0..4).map(|_| vector(c, case, channels)).collect();
            let inputs = [x, statistics[0], statistics[1], statistics[2], statistics[3]];
            one(case, "BatchNormalization", &inputs, &[])?
        }
        8 => {
            // A layer of a transformer: pixels as tokens, attention without projections, and back.
            let tokens = case.ints(&[0, 0, -1]);
            let flat = one(case, "Reshape", &[x, tokens], &[])?;
            let rows = one(case, "Transpose", &[flat], &[AttributeProto::ints("perm", &[0, 2, 1])])?;
            let scores = one(case, "MatMul", &[rows, flat], &[])?;
            let weights = one(case, "Softmax", &[scores], &[])?;
            let mixed = one(case, "MatMul", &[weights, rows], &[])?;
            let scale = vector(c, case, channels);
            let epsilon = AttributeProto::float("epsilon", 0.1);
            let normal = one(case, "LayerNormalization", &[mixed, scale], &[epsilon])?;
            let back = one(case, "Transpose", &[normal], &[AttributeProto::ints("perm", &[0, 2, 1])])?;
            let dims: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
            let dims = case.ints(&dims);
            one(case, "Reshape", &[back, dims], &[])?
        }
        9 if shape[2] > 1 && shape[3] > 1 => {
            let attributes =
                [AttributeProto::ints("kernel_shape", &[2, 2]), AttributeProto::ints("pads", &[1, 0, 0, 1])];
            one(case, "AveragePool", &[x], &attributes)?
        }
        10 => {
            let pads = case.ints(&[0, 0, 1, 0, 0, 0, 0, 1]);
            let mode = AttributeProto::string("mode", c.one(&["edge", "constant"]));
            one(case, "Pad", &[x, pads], &[mode])?
        }
        11 if shape[3] > 1 => {
            let bounds = [case.ints(&[-1]), case.ints(&[i64::MIN]), case.ints(&[3]), case.ints(&[-1])];
            one(case, "Slice", &[x, bounds[0], bounds[1], bounds[2], bounds[3]], &[])?
        }
        12 => {
            let picked = c.indices(&[c.clone().within(1, 4)], 0, channels as i64);
            let picked = case.constant(&picked);
            one(case, "Gather", &[x, picked], &[AttributeProto::int("axis", 1)])?
        }
        _ => {
            // Both halves of a split, gated.
            let twice = one(case, "Concat", &[x, x], &[AttributeProto::int("axis", 1)])?;
            let attributes = [AttributeProto::int("axis", 1), AttributeProto::int("num_outputs", 2)];
            let halves = case.add("Split", &[Some(twice)], &attributes, 2)?;
            let gate = one(case, "Sigmoid", &[halves[1]], &[])?;
            one(case, "Mul", &[halves[0], gate], &[])?
        }
    };
    if case.graph.kind(made).elements() <= 400 {
        images.push(made);
    }
    Ok(())
}

fn composition(c: &mut Choices) -> Result<Case> {
    // Of the latest set, for Swish.
    let mut case = Case::of_opset(24);
    let mut images = Vec::new();
    let (batch, height, width) = (c.within(1, 2), c.within(2, 4), c.within(2, 4));
    for _ in 0..c.within(1, 2) {
        let channels = c.within(1, 3);
        images.push(case.x(c.floats(&[batch, channels, height, width], -1.0, 1.0)));
    }
    for _ in 0..c.within(5, 20) {
        grow(c, &mut case, &mut images)?;
    }
    let used: Vec<ValueId> =
        case.graph.nodes().iter().flat_map(|node| node.inputs.iter().flatten().copied()).collect();
    case.ends = images.into_iter().filter(|id| !used.contains(id)).collect();
    Ok(case)
}

#[test]
fn whole_graphs_have_the_directional_derivatives_of_differences() {
    let mut operators = 0;
    let result = for_cases("composition", CASES, |mut choices| {
        let case = composition(&mut choices).map_err(|error| error.to_string())?;
        operators += case.graph.nodes().len();
        let made = differentiated(&case, &mut choices, Kernels::NONE)?;
        let gradients: Vec<Array> = made.computed();
        let forward = Interpreter::new(&case.graph, &case.ends);
        for _ in 0..3 {
            let (mut directions, mut product, mut lengths) = (Vec::new(), 0.0, (0.0, 0.0));
            for (at, (_, x)) in case.given.iter().enumerate() {
                let direction: Vec<f64> = (0..x.len()).map(|_| choices.unit() - 0.5).collect();
                for (g, d) in gradients[at].f().iter().zip(&direction) {
                    product += g * d;
                    lengths = (lengths.0 + g * g, lengths.1 + d * d);
                }
                directions.push((at, direction));
            }
            let expected = derivative(&forward, &case.given, &directions, &made.seeds);
            let error = (product - expected).abs() / (lengths.0 * lengths.1).sqrt().max(1e-2);
            if error.is_nan() || error > 1e-6 {
                return Err(format!("{}: {product} for {expected}, error {error:.1e}", case.describe()));
            }
        }
        Ok(())
    });
    assert_eq!(result, Ok(()));
    assert!(operators > 8 * CASES, "{operators} operators in {CASES} graphs");
}
