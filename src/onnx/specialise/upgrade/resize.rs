//! Resize and its forerunners, and RoiAlign.

use crate::error::Result;
use crate::onnx::axis_of;
use crate::onnx::graph::{Constant, Graph, Node, ValueId};
use crate::onnx::proto::AttributeProto;
use crate::onnx::specialise::Call;
use crate::onnx::specialise::upgrade::{Made, Rule};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Upsample" => upsample,
        "Resize" => resize,
        "RoiAlign" => roi_align,
        _ => return None,
    })
}

/// Upsample (7: factors as an attribute, 9: as an input) was what Resize was in set 10.
fn upsample(graph: &mut Graph, call: &Call<'_>) -> Made {
    let node = call.node();
    let factors = match node.attribute("scales") {
        Some(attribute) => attribute.floats.clone(),
        None => factors(graph, call, &node)?,
    };
    asymmetric(graph, call, &factors)
}

fn factors(graph: &Graph, call: &Call<'_>, node: &Node) -> Result<Vec<f32>> {
    let known = graph.known(call.needed(1)?);
    let factors = known.and_then(Constant::to_f32);
    factors.ok_or_else(|| node.unsupported("its factors are not known in advance"))
}

/// Sample i of the result comes from place i / factor. The nearest one was taken by cutting off, but by rounding up along
/// axes that shrink: so does the runtime, and the specification of those sets does not say.
fn asymmetric(graph: &mut Graph, call: &Call<'_>, factors: &[f32]) -> Made {
    let node = call.node();
    let input = node.needed(0)?;
    if factors.len() != graph.shape(input).len() {
        let message = format!("{} factors for shape {:?}", factors.len(), graph.shape(input));
        return Err(node.invalid(message));
    }
    let linear = match node.text_or("mode", "nearest") {
        "nearest" => false,
        "linear" | "bilinear" => true,
        other => return Err(node.unsupported(format!("mode {other:?}"))),
    };
    if linear {
        return step(graph, call, input, factors, "linear", "floor");
    }
    let shrinks = factors.iter().any(|&factor| factor < 1.0);
    let grows = factors.iter().any(|&factor| factor > 1.0);
    let mut input = input;
    if shrinks && grows {
        // One Resize has one way of rounding.
        let growing: Vec<f32> = factors.iter().map(|factor| factor.max(1.0)).collect();
        let factors = graph.add_constant("factors", Constant::from_f32([growing.len()], &growing)?);
        let mut first = Node::new("Resize");
        first.inputs = vec![Some(input), None, Some(factors)];
        first.attributes = attributes("nearest", "floor");
        input = graph.add_one(first)?;
    }
    let rest: Vec<f32> =
        factors.iter().map(|factor| if shrinks { factor.min(1.0) } else { *factor }).collect();
    step(graph, call, input, &rest, "nearest", if shrinks { "ceil" } else { "floor" })
}

fn attributes(mode: &str, nearest: &str) -> Vec<AttributeProto> {
    vec![
        AttributeProto::string("mode", mode),
        AttributeProto::string("coordinate_transformation_mode", "asymmetric"),
        AttributeProto::string("nearest_mode", nearest),
    ]
}

fn step(
    graph: &mut Graph,
    call: &Call<'_>,
    input: ValueId,
    factors: &[f32],
    mode: &str,
    nearest: &str,
) -> Made {
    let factors = graph.add_constant("factors", Constant::from_f32([factors.len()], factors)?);
    let mut node = Node {
        inputs: vec![Some(input), None, Some(factors)],
        attributes: attributes(mode, nearest),
        name: call.proto.name.clone(),
        ..Node::new("Resize")
    };
    settle_sizes(graph, &mut node)?;
    call.put_first(graph, node)
}

/// With one of factors and sizes, for all axes; the region is kept where the mode looks at it.
fn resize(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    if call.opset < 11 {
        let factors = factors(graph, call, &node)?;
        return asymmetric(graph, call, &factors);
    }
    let input = node.needed(0)?;
    // Before set 13 what is not used had to be given all the same, as a tensor without elements.
    let given = |index: usize| node.input(index).filter(|&id| graph.kind(id).elements() > 0);
    let (region, factors, sizes) = (given(1), given(2), given(3));
    let region =
        region.filter(|_| node.text_or("coordinate_transformation_mode", "") == "tf_crop_and_resize");
    node.inputs = match (factors, sizes) {
        (_, Some(sizes)) => vec![Some(input), region, None, Some(sizes)],
        (Some(factors), None) => vec![Some(input), region, Some(factors)],
        (None, None) => return Err(node.invalid("neither factors nor sizes are given")),
    };
    if node.text_or("coordinate_transformation_mode", "") == "tf_half_pixel_for_nn" {
        // Set 13 dropped it. floor((i + ½) / f) is (i + ½) / f - ½, rounded with halves up.
        if node.text_or("mode", "nearest") != "nearest" || node.text_or("nearest_mode", "") != "floor" {
            return Err(node.unsupported("tf_half_pixel_for_nn other than nearest with floor"));
        }
        node.set(AttributeProto::string("coordinate_transformation_mode", "half_pixel"));
        node.set(AttributeProto::string("nearest_mode", "round_prefer_ceil"));
    }
    if let Some(axes) = node.ints("axes").map(<[i64]>::to_vec) {
        all_axes(graph, &mut node, input, &axes)?;
    }
    settle_sizes(graph, &mut node)?;
    call.put(graph, node)
}

/// Gives the sizes where rounding leaves them open: of 10 elements and a factor of 0.7 the kernel of ONNX Runtime makes 7,
/// by float32, and its shape inference expects 6, by float64. A factor so near to a ratio of sizes is that ratio.
fn settle_sizes(graph: &mut Graph, node: &mut Node) -> Result<()> {
    let (Some(input), Some(factors), None) = (node.input(0), node.input(2), node.input(3)) else {
        return Ok(());
    };
    let Some(factors) = graph.known(factors).and_then(Constant::to_f32) else { return Ok(()) };
    let shape = graph.shape(input);
    let is_crop = node.text_or("coordinate_transformation_mode", "") == "tf_crop_and_resize";
    if is_crop || factors.len() != shape.len() {
        return Ok(());
    }
    let pairs = || shape.iter().zip(&factors);
    let by_kernel = |dim: usize, factor: f32| (dim as f32 * factor).floor();
    let is_open = |(&dim, &factor): (&usize, &f32)| {
        f64::from(by_kernel(dim, factor)) != (dim as f64 * f64::from(factor)).floor()
    };
    if !pairs().any(is_open) {
        return Ok(());
    }
    let sizes: Vec<i64> = pairs().map(|(&dim, &factor)| by_kernel(dim, factor) as i64).collect();
    let sizes = graph.add_constant("sizes", Constant::from_i64([sizes.len()], &sizes)?);
    node.inputs[2] = None;
    node.inputs.resize(3, None);
    node.inputs.push(Some(sizes));
    Ok(())
}

/// Set 18 can name the axes that factors, sizes and region are of; the others keep their size.
fn all_axes(graph: &mut Graph, node: &mut Node, input: ValueId, axes: &[i64]) -> Result<()> {
    let shape = graph.shape(input).to_vec();
    let rank = shape.len();
    let places = axes.iter().map(|&axis| axis_of(node, axis, rank)).collect::<Result<Vec<_>>>()?;
    let stretched = node.text_or("keep_aspect_ratio_policy", "stretch") == "stretch";
    if node.input(1).is_some() || !stretched {
        return Err(node.unsupported("axes together with a region or a kept aspect ratio"));
    }
    let index = if node.input(3).is_some() { 3 } else { 2 };
    let given = graph.known(node.needed(index)?).and_then(Constant::to_f64);
    let given = given.ok_or_else(|| node.unsupported(format!("input {index} is not known in advance")))?;
    if given.len() != places.len() {
        return Err(node.invalid(format!("{} sizes for {} axes", given.len(), places.len())));
    }
    let full = if index == 3 {
        let mut full: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
        places.iter().zip(given).for_each(|(&axis, size)| full[axis] = size as i64);
        graph.ints(&full)?
    } else {
        let mut full = vec![1.0f32; rank];
        places.iter().zip(given).for_each(|(&axis, factor)| full[axis] = factor as f32);
        graph.add_constant("factors", Constant::from_f32([rank], &full)?)
    };
    node.inputs[index] = Some(full);
    node.unset("axes");
    Ok(())
}

/// Set 16 moved the samples by half a pixel unless told otherwise.
fn roi_align(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    if call.opset < 16 {
        node.set(AttributeProto::string("coordinate_transformation_mode", "output_half_pixel"));
    }
    call.put(graph, node)
}
