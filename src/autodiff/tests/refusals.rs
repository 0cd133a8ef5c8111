//! Forms of operators that are computed from trained tensors where they usually are settings: their gradient is right, or
//! they are refused.

use super::array::Array;
use super::case::Case;
use super::choices::Choices;
use super::difference::{check, differentiated};
use crate::autodiff::kernels::Kernels;
use crate::onnx::graph::ValueId;
use crate::onnx::proto::AttributeProto;

fn choices() -> Choices {
    Choices::new(&[], 5)
}

#[test]
fn bounds_of_clip_have_gradients() {
    // Bounds that cut on both sides, that cross (the upper one wins), and one alone.
    for (low, high) in
        [(Some(-0.3), Some(0.4)), (Some(0.4), Some(-0.3)), (None, Some(0.2)), (Some(0.1), None)]
    {
        let mut c = choices();
        let mut case = Case::new();
        let x = case.x(c.floats(&[4, 5], -1.0, 1.0));
        let bound = |case: &mut Case, value: Option<f64>| -> Option<ValueId> {
            value.map(|value| case.x(Array::floats(&[], vec![value])))
        };
        let (low, high) = (bound(&mut case, low), bound(&mut case, high));
        let case = case.op("Clip", &[Some(x), low, high], &[]).unwrap();
        check(&case, &mut c, Kernels::NONE).unwrap();
    }
    // ReLU6 with bounds that are learnt.
    let mut c = choices();
    let mut case = Case::new();
    let x = case.x(c.floats(&[4, 5], -4.0, 9.0));
    let [low, high] = [0.0, 6.0].map(|value| case.x(Array::floats(&[], vec![value])));
    let case = case.op("Clip", &[Some(x), Some(low), Some(high)], &[]).unwrap();
    check(&case, &mut c, Kernels::NONE).unwrap();
}

/// The refusal of one node whose inputs are all trained.
fn refusal(op: &str, inputs: &[Option<Array>], attributes: &[AttributeProto], ends: &[usize]) -> String {
    let mut case = Case::of_opset(20);
    let inputs: Vec<Option<ValueId>> = inputs
        .iter()
        .map(|values| {
            values
                .as_ref()
                .map(|values| if values.is_float() { case.x(values.clone()) } else { case.constant(values) })
        })
        .collect();
    let made = case.add(op, &inputs, attributes, ends.len().max(1)).unwrap();
    case.ends = ends.iter().map(|&end| made[end]).collect();
    differentiated(&case, &mut choices(), Kernels::NONE).err().unwrap_or_default()
}

#[test]
fn gradients_that_would_be_lost_are_refused() {
    let mut c = choices();
    let mut floats = |shape: &[usize]| Some(c.floats(shape, 0.5, 1.0));
    let normalised = [floats(&[2, 3]), floats(&[3]), floats(&[3])];
    let said = refusal("LayerNormalization", &normalised, &[], &[0, 1, 2]);
    assert!(said.contains("a gradient through output 1 beside others has no rule"), "{said}");
    let pads = Some(Array::ints(&[4], vec![0, 1, 0, 1]));
    let said = refusal("Pad", &[floats(&[2, 3]), pads, floats(&[])], &[], &[0]);
    assert!(said.contains("no gradient rule for input 2"), "{said}");
    let indices = Some(Array::ints(&[2], vec![0, 1]));
    let depth = Some(Array::ints(&[], vec![3]));
    let said = refusal("OneHot", &[indices, depth, floats(&[2])], &[], &[0]);
    assert!(said.contains("no gradient rule for its values"), "{said}");
}
