//! Normalisations.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node, ValueId};
use crate::onnx::proto::AttributeProto;
use crate::onnx::specialise::Call;
use crate::onnx::specialise::upgrade::pieces::scalar_like;
use crate::onnx::specialise::upgrade::{Made, Rule, op};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "BatchNormalization" => batch,
        "GroupNormalization" => group,
        // The runtime registers its own in the default domain.
        "SimplifiedLayerNormalization" => simplified,
        _ => return None,
    })
}

/// Those of the runtime's own domain.
pub(super) fn microsoft(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "LayerNormalization" => layer,
        "SimplifiedLayerNormalization" => simplified,
        "SkipLayerNormalization" => skip_layer,
        "SkipSimplifiedLayerNormalization" => skip_simplified,
        _ => return None,
    })
}

/// One output, by the given statistics, whatever the mode that the file was exported in: a training step has its own
/// way of treating them. The running statistics that a file in training mode gives are the ones it is given.
fn batch(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    if node.int_or("spatial", 1) == 0 {
        return Err(node.unsupported("statistics of every place (spatial = 0)"));
    }
    ["spatial", "training_mode", "is_test", "consumed_inputs"].iter().for_each(|name| node.unset(name));
    let statistics = [node.input(3), node.input(4)];
    let mut made = call.put_first(graph, node)?;
    made.extend(statistics);
    made.truncate(call.proto.output.len());
    Ok(made)
}

/// Set 18 had one scale and bias a group: an InstanceNormalization of the groups as channels. Since set 21 there is one
/// a channel, and the node stays.
fn group(graph: &mut Graph, call: &Call<'_>) -> Made {
    let node = call.node();
    if call.opset >= 21 {
        return call.put(graph, node);
    }
    let (x, scale, bias) = (node.needed(0)?, node.needed(1)?, node.needed(2)?);
    let shape = graph.shape(x).to_vec();
    let groups = node.int_or("num_groups", 0);
    let fits = shape.len() >= 2 && groups > 0 && shape[1].is_multiple_of(groups as usize);
    if !fits {
        return Err(node.invalid(format!("{groups} groups of shape {shape:?}")));
    }
    let groups = groups as usize;
    let elements = shape[1..].iter().product::<usize>() / groups;
    let grouped = graph.ints(&[shape[0] as i64, groups as i64, elements as i64])?;
    let grouped = op(graph, "Reshape", &[x, grouped])?;
    let mut inner = Node::new("InstanceNormalization");
    inner.name = node.name.clone();
    inner.inputs = vec![Some(grouped), Some(scale), Some(bias)];
    inner.attributes = vec![AttributeProto::float("epsilon", node.float_or("epsilon", 1e-5))];
    let normal = graph.add_one(inner)?;
    let dims: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
    let dims = graph.ints(&dims)?;
    call.end(graph, "Reshape", &[normal, dims], &[])
}

fn layer(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    node.domain = String::new();
    call.put(graph, node)
}

/// x / √(mean(x²) + ε) scale over the axes from `axis` on.
fn simplified(graph: &mut Graph, call: &Call<'_>) -> Made {
    let node = call.node();
    let (x, scale) = (node.needed(0)?, node.needed(1)?);
    let axis = crate::onnx::axis_of(&node, node.int_or("axis", -1), graph.shape(x).len())?;
    root_mean_square(graph, call, x, scale, axis, node.float_or("epsilon", 1e-5))
}

/// RMSNormalization, which set 23 brought, in primitives before it.
fn root_mean_square(
    graph: &mut Graph,
    call: &Call<'_>,
    x: ValueId,
    scale: ValueId,
    axis: usize,
    epsilon: f32,
) -> Made {
    if graph.opset() >= 23 {
        let attributes =
            [AttributeProto::int("axis", axis as i64), AttributeProto::float("epsilon", epsilon)];
        return call.end(graph, "RMSNormalization", &[x, scale], &attributes);
    }
    let axes: Vec<i64> = (axis as i64..graph.shape(x).len() as i64).collect();
    let axes = graph.ints(&axes)?;
    let square = op(graph, "Mul", &[x, x])?;
    let mean = op(graph, "ReduceMean", &[square, axes])?;
    let epsilon = scalar_like(graph, x, f64::from(epsilon))?;
    let shifted = op(graph, "Add", &[mean, epsilon])?;
    let root = op(graph, "Sqrt", &[shifted])?;
    let normal = op(graph, "Div", &[x, root])?;
    call.end(graph, "Mul", &[normal, scale], &[])
}

/// LayerNormalization of the sum of two inputs and a bias; the sum is the fourth output.
fn skip_layer(graph: &mut Graph, call: &Call<'_>) -> Made {
    let node = call.node();
    let sum = skip_sum(graph, call, 4)?;
    let mut inner = Node::new("LayerNormalization");
    inner.name = node.name.clone();
    inner.inputs = vec![Some(sum), Some(node.needed(2)?)];
    inner.inputs.extend(node.input(3).map(Some));
    inner.attributes = vec![
        AttributeProto::int("axis", -1),
        AttributeProto::float("epsilon", node.float_or("epsilon", 1e-12)),
    ];
    let mut made = call.put_first(graph, inner)?;
    made.extend([None, None, Some(sum)]);
    Ok(made)
}

/// As [`skip_layer`], without mean and shift.
fn skip_simplified(graph: &mut Graph, call: &Call<'_>) -> Made {
    let node = call.node();
    let sum = skip_sum(graph, call, 3)?;
    let axis = graph.shape(sum).len().saturating_sub(1);
    let scale = node.needed(2)?;
    let mut made = root_mean_square(graph, call, sum, scale, axis, node.float_or("epsilon", 1e-12))?;
    made.extend([None, None, Some(sum)]);
    Ok(made)
}

fn skip_sum(graph: &mut Graph, call: &Call<'_>, bias: usize) -> Result<ValueId> {
    let mut sum = op(graph, "Add", &[call.needed(0)?, call.needed(1)?])?;
    if let Some(bias) = call.input(bias) {
        sum = op(graph, "Add", &[sum, bias])?;
    }
    Ok(sum)
}
