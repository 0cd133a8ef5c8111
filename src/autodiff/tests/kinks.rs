//! What rules give where there is no derivative: the convention of PyTorch 2.15, from which the numbers are (`torch` in
//! double precision, gradient of the sum), or of what is said beside it.

use super::array::Array;
use super::case::Case;
use super::choices::Choices;
use super::difference::differentiated;
use crate::autodiff::kernels::Kernels;
use crate::onnx::proto::AttributeProto;

/// The gradients of Σ y by inputs of one axis each.
fn gradients(op: &str, inputs: &[&[f64]], attributes: &[AttributeProto]) -> Vec<Vec<f64>> {
    shaped(op, &inputs.iter().map(|x| Array::floats(&[x.len()], x.to_vec())).collect::<Vec<_>>(), attributes)
}

fn shaped(op: &str, inputs: &[Array], attributes: &[AttributeProto]) -> Vec<Vec<f64>> {
    let mut case = Case::of_opset(24);
    let inputs: Vec<_> = inputs.iter().map(|x| Some(case.x(x.clone()))).collect();
    let case = case.op(op, &inputs, attributes).unwrap();
    let mut made = differentiated(&case, &mut Choices::new(&[], 1), Kernels::NONE).unwrap();
    for (_, seed) in &mut made.seeds {
        seed.f_mut().fill(1.0);
    }
    made.computed().iter().map(|gradient| gradient.f().to_vec()).collect()
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto::float(name, value)
}

fn close(found: &[Vec<f64>], expected: &[&[f64]]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(*expected) {
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
    }
}

#[test]
fn functions_of_one_number() {
    close(&gradients("Relu", &[&[0.0, -0.0]], &[]), &[&[0.0, 0.0]]);
    close(&gradients("Abs", &[&[0.0, -0.0]], &[]), &[&[0.0, 0.0]]);
    close(&gradients("LeakyRelu", &[&[0.0]], &[float("alpha", 0.25)]), &[&[0.25]]);
    close(&gradients("ThresholdedRelu", &[&[1.0]], &[]), &[&[0.0]]);
    close(&gradients("Shrink", &[&[0.5, -0.5]], &[]), &[&[0.0, 0.0]]);
    close(&gradients("Softsign", &[&[0.0]], &[]), &[&[1.0]]);
    close(&gradients("Elu", &[&[0.0]], &[float("alpha", 0.5)]), &[&[0.5]]);
    close(&gradients("Selu", &[&[0.0]], &[]), &[&[1.758_099_340_847_376_6]]);
    close(&gradients("Celu", &[&[0.0]], &[float("alpha", 0.5)]), &[&[1.0]]);
    close(&gradients("HardSwish", &[&[-3.0, 3.0]], &[]), &[&[0.0, 1.0]]);
    close(&gradients("HardSigmoid", &[&[-2.5, 2.5]], &[]), &[&[0.0, 0.0]]);
    close(&gradients("PRelu", &[&[0.0], &[0.25]], &[]), &[&[0.25], &[0.0]]);
    assert_eq!(gradients("Sqrt", &[&[0.0]], &[]), [[f64::INFINITY]]);
}

#[test]
fn powers_of_zero() {
    let constant = |exponent: f64| {
        let mut case = Case::new();
        let x = case.x(Array::floats(&[2], vec![0.0, -0.0]));
        let exponent = case.constant(&Array::floats(&[], vec![exponent]));
        let case = case.op("Pow", &[Some(x), Some(exponent)], &[]).unwrap();
        let made = differentiated(&case, &mut Choices::new(&[], 1), Kernels::NONE).unwrap();
        let seed = made.seeds[0].1.f().to_vec();
        made.computed()[0].f().iter().zip(seed).map(|(g, seed)| g / seed).collect::<Vec<_>>()
    };
    for (exponent, expected) in [(3.0, 0.0), (2.0, 0.0), (1.0, 1.0), (0.0, 0.0)] {
        assert_eq!(constant(exponent), [expected, expected], "exponent {exponent}");
    }
    let by_both = gradients("Pow", &[&[0.0, 2.0, 0.0], &[2.0, 0.0, 0.0]], &[]);
    close(&by_both[..1], &[&[0.0, 0.0, 0.0]]);
    close(&[by_both[1][..2].to_vec()], &[&[0.0, std::f64::consts::LN_2]]);
}

/// Equal parts for all that are equal. (Of three, PyTorch has no operator; two after the other would give ½, ¼, ¼.)
#[test]
fn extremes_of_several() {
    for op in ["Max", "Min"] {
        close(&gradients(op, &[&[1.0], &[1.0]], &[]), &[&[0.5], &[0.5]]);
        let third = 1.0 / 3.0;
        close(&gradients(op, &[&[1.0], &[1.0], &[1.0]], &[]), &[&[third], &[third], &[third]]);
        close(&gradients(op, &[&[2.0, 2.0], &[2.0]], &[]), &[&[0.5, 0.5], &[1.0]]);
    }
}

#[test]
fn extremes_along_axes() {
    close(
        &gradients("ReduceMax", &[&[1.0, 2.0, 2.0, 2.0, 0.0]], &[]),
        &[&[0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]],
    );
    close(&gradients("ReduceMin", &[&[1.0, 0.0, 0.0]], &[]), &[&[0.0, 0.5, 0.5]]);
    close(&gradients("ReduceL2", &[&[0.0, 0.0]], &[]), &[&[0.0, 0.0]]);
    close(&gradients("ReduceL1", &[&[0.0, 1.0, -1.0]], &[]), &[&[0.0, 1.0, -1.0]]);
    close(&gradients("ReduceProd", &[&[0.0, 2.0, 3.0]], &[]), &[&[6.0, 0.0, 0.0]]);
    close(&gradients("ReduceProd", &[&[0.0, 0.0, 3.0]], &[]), &[&[0.0, 0.0, 0.0]]);
}

/// The first of equal elements, in rows; the global pool shares, as `amax` does.
#[test]
fn pools_of_equal_elements() {
    let image = |shape: &[usize], x: &[f64]| [Array::floats(shape, x.to_vec())];
    let kernel = AttributeProto::ints("kernel_shape", &[3]);
    let row = image(&[1, 1, 5], &[1.0, 1.0, 0.0, 1.0, 1.0]);
    close(&shaped("MaxPool", &row, &[kernel]), &[&[1.0, 1.0, 0.0, 1.0, 0.0]]);
    let square = image(&[1, 1, 2, 2], &[0.0, 3.0, 3.0, 3.0]);
    let kernel = AttributeProto::ints("kernel_shape", &[2, 2]);
    close(&shaped("MaxPool", &square, &[kernel]), &[&[0.0, 1.0, 0.0, 0.0]]);
    close(&shaped("GlobalMaxPool", &image(&[1, 1, 3], &[1.0, 1.0, 0.0]), &[]), &[&[0.5, 0.5, 0.0]]);
}

#[test]
fn the_first_of_equal_elements_is_among_the_top() {
    let mut case = Case::new();
    let x = case.x(Array::floats(&[3], vec![1.0, 1.0, 0.0]));
    let k = case.ints(&[1]);
    let made = case.add("TopK", &[Some(x), Some(k)], &[], 2).unwrap();
    case.ends = vec![made[0]];
    let made = differentiated(&case, &mut Choices::new(&[], 1), Kernels::NONE).unwrap();
    let gradient = made.computed().remove(0);
    assert!(gradient.f()[0] != 0.0 && gradient.f()[1..] == [0.0, 0.0], "{gradient:?}");
}
