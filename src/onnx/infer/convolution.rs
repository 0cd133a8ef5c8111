//! Convolutions and their relatives.

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::ValueType;
use crate::onnx::infer::{Call, Rule, one};
use crate::onnx::resolved::{self, Convolution, TransposedConvolution, Windows};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Conv" => conv,
        "ConvTranspose" => conv_transpose,
        "ConvInteger" => conv_integer,
        "DeformConv" => deform_conv,
        "Col2Im" => col_to_image,
        _ => return None,
    })
}

pub(super) fn conv(call: &Call<'_>) -> Result<Vec<ValueType>> {
    call.expect_like_first(1)?;
    one(call.element(0)?, Convolution::of(call.graph, call.node)?.output())
}

fn conv_transpose(call: &Call<'_>) -> Result<Vec<ValueType>> {
    call.expect_like_first(1)?;
    one(call.element(0)?, TransposedConvolution::of(call.graph, call.node)?.output())
}

/// The third input is a zero point here.
fn conv_integer(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let mut plain = call.node.clone();
    plain.inputs.truncate(2);
    one(ElementType::Int32, Convolution::of(call.graph, &plain)?.output())
}

/// Inputs X, W, offset, B, mask; the offset `[N, 2 groups kernel, outputs]`.
fn deform_conv(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let mut plain = call.node.clone();
    plain.inputs = vec![call.node.input(0), call.node.input(1), call.node.input(3)];
    let convolution = Convolution::of(call.graph, &plain)?;
    let windows = &convolution.windows;
    let groups = resolved::size(call.node, call.node.int_or("offset_group", 1))?;
    let taps = call.product(call.count(&windows.kernel)?, groups)?;
    let rank = windows.kernel.len();
    let places = |channels: usize| [&[convolution.batch, channels], &windows.outputs[..]].concat();
    call.input(2)?;
    call.expect(2, &places(call.product(taps, rank)?))?;
    call.expect(4, &places(taps))?;
    one(call.element(0)?, convolution.output())
}

/// `[N, C kernel, windows]` to `[N, C, image]`.
fn col_to_image(call: &Call<'_>) -> Result<Vec<ValueType>> {
    let x = call.shape_of_rank(0, 3)?;
    let (image, block) = (call.sizes(1)?, call.sizes(2)?);
    let windows = Windows::sliding(call.node, &image, &block)?;
    let (taps, places) = (call.count(&block)?, call.count(&windows.outputs)?);
    if x[1] % taps != 0 || x[2] != places {
        return Err(call.node.invalid(format!("input {x:?} for windows of {block:?} in {image:?}")));
    }
    one(call.element(0)?, [&[x[0], x[1] / taps], &image[..]].concat())
}
