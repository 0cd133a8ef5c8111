//! Axes: attributes that became inputs. All are written out, so that no later pass has to know the defaults.

use crate::error::Result;
use crate::onnx::graph::{Graph, Node};
use crate::onnx::proto::AttributeProto;
use crate::onnx::specialise::Call;
use crate::onnx::specialise::upgrade::{Made, Rule};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean"
        | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => reduce,
        "Squeeze" => squeeze,
        "Unsqueeze" => unsqueeze,
        "TopK" => top_k,
        _ => return None,
    })
}

/// The axes as the file gives them: the attribute, or the second input. `None` where there is neither.
fn axes(graph: &Graph, call: &Call<'_>, node: &mut Node) -> Result<Option<Vec<i64>>> {
    let attribute = node.ints("axes").map(<[i64]>::to_vec);
    node.unset("axes");
    match attribute {
        Some(axes) => Ok(Some(axes)),
        None => Ok(call.ints(graph, 1)?.filter(|axes| !axes.is_empty())),
    }
}

fn put(graph: &mut Graph, call: &Call<'_>, mut node: Node, axes: &[i64]) -> Made {
    let axes = graph.ints(axes)?;
    node.inputs.truncate(1);
    node.inputs.push(Some(axes));
    call.put(graph, node)
}

/// ReduceSum from set 13 on and the others from 18 on have the axes as an input. None are all, or, where
/// `noop_with_empty_axes` says so, none.
fn reduce(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let input = node.needed(0)?;
    let axes = axes(graph, call, &mut node)?;
    let nothing = node.int_or("noop_with_empty_axes", 0) != 0;
    node.unset("noop_with_empty_axes");
    match axes {
        Some(axes) => put(graph, call, node, &axes),
        // Nothing is reduced, but what the operator does to an element is done.
        None if nothing => match node.op_type.as_str() {
            "ReduceL1" | "ReduceL2" => call.end(graph, "Abs", &[input], &[]),
            "ReduceLogSum" => call.end(graph, "Log", &[input], &[]),
            "ReduceSumSquare" => call.end(graph, "Mul", &[input, input], &[]),
            _ => Ok(vec![Some(input)]),
        },
        None => {
            let all: Vec<i64> = (0..graph.shape(input).len() as i64).collect();
            if all.is_empty() {
                node.inputs.truncate(1);
                return call.put(graph, node);
            }
            put(graph, call, node, &all)
        }
    }
}

/// The axes became an input with set 13; left out, they are all of size 1.
fn squeeze(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let input = node.needed(0)?;
    let axes = match axes(graph, call, &mut node)? {
        Some(axes) => axes,
        None => {
            let shape = graph.shape(input).iter().enumerate();
            shape.filter(|&(_, &dim)| dim == 1).map(|(axis, _)| axis as i64).collect()
        }
    };
    if axes.is_empty() {
        return Ok(vec![Some(input)]);
    }
    put(graph, call, node, &axes)
}

/// The axes became an input with set 13.
fn unsqueeze(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let input = node.needed(0)?;
    match axes(graph, call, &mut node)? {
        Some(axes) => put(graph, call, node, &axes),
        None => Ok(vec![Some(input)]),
    }
}

/// The count became an input with set 10; what set 11 can choose had been so: the largest, in order.
fn top_k(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    if call.opset < 10 {
        let count = node.int("k").ok_or_else(|| node.invalid("attribute k is missing"))?;
        node.unset("k");
        let count = graph.ints(&[count])?;
        node.inputs.truncate(1);
        node.inputs.push(Some(count));
    }
    if node.int("axis").is_none() {
        node.set(AttributeProto::int("axis", -1));
    }
    call.put(graph, node)
}
