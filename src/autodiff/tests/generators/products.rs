//! Products of matrices, convolutions.

use super::{Generator, cases, check_all};
use crate::autodiff::kernels::Kernels;
use crate::autodiff::tests::case::Case;
use crate::autodiff::tests::choices::{Choices, for_cases};
use crate::autodiff::tests::difference;
use crate::error::Result;
use crate::onnx::proto::AttributeProto;

pub(super) const ALL: &[Generator] = &[
    cases("MatMul", matmul).times(2),
    cases("Gemm", gemm).times(2),
    cases("Conv", conv).times(4),
    cases("ConvTranspose", conv_transpose).times(4),
];

#[test]
fn products_have_the_gradients_of_differences() {
    check_all(ALL);
}

/// The same with the operator of our own for the weight gradient.
#[test]
fn the_kernel_form_of_the_weight_gradient_agrees_too() {
    let result = for_cases("Conv with kernels", 60, |mut choices| {
        let case = conv(&mut choices).map_err(|error| error.to_string())?;
        difference::check(&case, &mut choices, Kernels::ALL)
    });
    assert_eq!(result, Ok(()));
}

/// Matrices, vectors, and stacks of matrices that broadcast.
fn matmul(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let (m, k, n) = (c.within(1, 4), c.within(1, 4), c.within(1, 4));
    let (mut a, mut b) = (vec![m, k], vec![k, n]);
    match c.below(6) {
        0 => {}
        1 => a = vec![k],
        2 => b = vec![k],
        3 => (a, b) = (vec![k], vec![k]),
        _ => {
            let rank = c.within(1, 3);
            let batch = c.shape(rank, 3);
            let (x, y) = (c.narrower(&batch), c.narrower(&batch));
            if c.flip() {
                a = [&batch[..], &a].concat();
                b = if c.below(5) == 4 { vec![k] } else { [&y[..], &b].concat() };
            } else {
                a = if c.below(5) == 4 { vec![k] } else { [&x[..], &a].concat() };
                b = [&batch[..], &b].concat();
            }
        }
    }
    let (a, b) = (case.x(c.floats(&a, -1.0, 1.0)), case.x(c.floats(&b, -1.0, 1.0)));
    case.op("MatMul", &[Some(a), Some(b)], &[])
}

fn gemm(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let (m, k, n) = (c.within(1, 5), c.within(1, 5), c.within(1, 5));
    let (turn_a, turn_b) = (c.flip(), c.flip());
    let a = case.x(c.floats(&if turn_a { [k, m] } else { [m, k] }, -1.0, 1.0));
    let b = case.x(c.floats(&if turn_b { [n, k] } else { [k, n] }, -1.0, 1.0));
    let mut inputs = vec![Some(a), Some(b)];
    if c.flip() {
        let shape = c.narrower(&[m, n]);
        inputs.push(Some(case.x(c.floats(&shape, -1.0, 1.0))));
    }
    let attributes = [
        AttributeProto::int("transA", i64::from(turn_a)),
        AttributeProto::int("transB", i64::from(turn_b)),
        AttributeProto::float("alpha", c.one(&[1.0, 0.5, -2.0])),
        AttributeProto::float("beta", c.one(&[1.0, 0.5, -2.0, 0.0])),
    ];
    case.op("Gemm", &inputs, &attributes)
}

/// What convolutions and pools have in common: kernel, strides, dilations and padding of some spatial axes.
pub(super) struct Sliding {
    pub(super) kernel: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    pub(super) attributes: Vec<AttributeProto>,
    pub(super) size: Vec<usize>,
}

pub(super) fn signed(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&x| x as i64).collect()
}

impl Sliding {
    pub(super) fn new(c: &mut Choices, dilated: bool) -> Sliding {
        let rank = c.one(&[2, 1, 2, 3, 2]);
        let most = if rank == 3 { 2 } else { 3 };
        let kernel = c.shape(rank, most);
        let strides = if c.flip() { c.shape(rank, 3) } else { vec![1; rank] };
        let dilations = if dilated && c.below(3) == 2 { c.shape(rank, 2) } else { vec![1; rank] };
        let size: Vec<usize> = (0..rank)
            .map(|axis| (kernel[axis] - 1) * dilations[axis] + 1 + c.below(if rank == 3 { 3 } else { 5 }))
            .collect();
        let mut attributes = vec![AttributeProto::ints("kernel_shape", &signed(&kernel))];
        if strides.iter().any(|&stride| stride != 1) || c.flip() {
            attributes.push(AttributeProto::ints("strides", &signed(&strides)));
        }
        if dilations.iter().any(|&dilation| dilation != 1) {
            attributes.push(AttributeProto::ints("dilations", &signed(&dilations)));
        }
        match c.below(8) {
            0 | 1 => {}
            5 => attributes.push(AttributeProto::string("auto_pad", "VALID")),
            6 => attributes.push(AttributeProto::string("auto_pad", "SAME_UPPER")),
            7 => attributes.push(AttributeProto::string("auto_pad", "SAME_LOWER")),
            _ => {
                // Less than the kernel, so that every window meets the map; not the same at both ends.
                let pads: Vec<i64> =
                    (0..2 * rank).map(|at| c.below(kernel[at % rank].min(3)) as i64).collect();
                attributes.push(AttributeProto::ints("pads", &pads));
            }
        }
        Sliding { kernel, strides, dilations, attributes, size }
    }
}

fn conv(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let sliding = Sliding::new(c, true);
    let groups = c.one(&[1, 1, 2, 3]);
    let (in_group, out_group) = (c.within(1, 2), c.within(1, 2));
    let batch = c.within(1, 2);
    let x = [&[batch, groups * in_group], &sliding.size[..]].concat();
    let w = [&[groups * out_group, in_group], &sliding.kernel[..]].concat();
    let mut inputs = vec![Some(case.x(c.floats(&x, -1.0, 1.0))), Some(case.x(c.floats(&w, -1.0, 1.0)))];
    if c.flip() {
        inputs.push(Some(case.x(c.floats(&[groups * out_group], -1.0, 1.0))));
    }
    let mut attributes = sliding.attributes;
    attributes.push(AttributeProto::int("group", groups as i64));
    case.op("Conv", &inputs, &attributes)
}

fn conv_transpose(c: &mut Choices) -> Result<Case> {
    let mut case = Case::new();
    let sliding = Sliding::new(c, true);
    let rank = sliding.kernel.len();
    let groups = c.one(&[1, 1, 2, 3]);
    let (in_group, out_group) = (c.within(1, 2), c.within(1, 2));
    let batch = c.within(1, 2);
    // The map that is given is the small one.
    let size: Vec<usize> = (0..rank).map(|_| c.within(1, if rank == 3 { 2 } else { 4 })).collect();
    let x = [&[batch, groups * in_group], &size[..]].concat();
    let w = [&[groups * in_group, out_group], &sliding.kernel[..]].concat();
    let mut inputs = vec![Some(case.x(c.floats(&x, -1.0, 1.0))), Some(case.x(c.floats(&w, -1.0, 1.0)))];
    if c.flip() {
        inputs.push(Some(case.x(c.floats(&[groups * out_group], -1.0, 1.0))));
    }
    let mut attributes = sliding.attributes;
    attributes.push(AttributeProto::int("group", groups as i64));
    let reach = |axis: usize| {
        (sliding.strides[axis] * (size[axis] - 1) + (sliding.kernel[axis] - 1) * sliding.dilations[axis] + 1)
            as i64
    };
    let same = attributes.iter().any(|a| a.text().is_some_and(|text| text.starts_with("SAME")));
    // Padding must leave something; SAME must not ask for more than there is.
    let fits = (0..rank).all(|axis| {
        let pads = attributes.iter().find(|a| a.name == "pads");
        let cut = pads.map_or(0, |pads| pads.ints[axis] + pads.ints[axis + rank]);
        reach(axis) > cut && (!same || reach(axis) >= (size[axis] * sliding.strides[axis]) as i64)
    });
    if !fits {
        attributes.retain(|a| a.name != "pads" && a.name != "auto_pad");
    }
    match c.below(4) {
        2 if !same => {
            // Below the stride or the dilation.
            let extra: Vec<i64> = (0..rank)
                .map(|axis| c.below(sliding.strides[axis].max(sliding.dilations[axis])) as i64)
                .collect();
            attributes.push(AttributeProto::ints("output_padding", &extra));
        }
        3 if !attributes.iter().any(|a| a.name == "auto_pad" || a.name == "pads") => {
            let shape: Vec<i64> =
                (0..rank).map(|axis| reach(axis) - c.below(reach(axis).min(3) as usize) as i64).collect();
            attributes.push(AttributeProto::ints("output_shape", &shape));
        }
        _ => {}
    }
    case.op("ConvTranspose", &inputs, &attributes)
}
