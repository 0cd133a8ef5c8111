//! Softmax, LogSoftmax and Hardmax.

use crate::onnx::axis_of;
use crate::onnx::graph::{Graph, Node};
use crate::onnx::proto::AttributeProto;
use crate::onnx::specialise::Call;
use crate::onnx::specialise::upgrade::{Made, Rule};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    matches!(op_type, "Softmax" | "LogSoftmax" | "Hardmax").then_some(flattened)
}

/// Before set 13 these worked on a matrix, with all axes from `axis` on (1 where it is not given) as its second
/// dimension; since then they work along `axis` alone (the last). Both are the same where at most one of the
/// flattened axes is longer than 1.
fn flattened(graph: &mut Graph, call: &Call<'_>) -> Made {
    let mut node = call.node();
    let input = node.needed(0)?;
    let shape = graph.shape(input).to_vec();
    if call.opset >= 13 {
        let axis = axis_of(&node, node.int_or("axis", -1), shape.len())?;
        node.set(AttributeProto::int("axis", axis as i64));
        return call.put(graph, node);
    }
    // An axis just after the last is allowed: then every row has a single element.
    let axis = match node.int_or("axis", 1) {
        axis if axis == shape.len() as i64 => shape.len(),
        axis => axis_of(&node, axis, shape.len())?,
    };
    let long: Vec<usize> = (axis..shape.len()).filter(|&axis| shape[axis] != 1).collect();
    let alone = match long[..] {
        [] => Some(axis).filter(|&axis| axis < shape.len()),
        [one] => Some(one),
        _ => None,
    };
    if let Some(alone) = alone {
        node.set(AttributeProto::int("axis", alone as i64));
        return call.put(graph, node);
    }
    let (rows, columns): (usize, usize) = (shape[..axis].iter().product(), shape[axis..].iter().product());
    let matrix = graph.ints(&[rows as i64, columns as i64])?;
    let matrix = graph.op("Reshape", &[input, matrix], &[])?;
    let inner = Node {
        name: node.name.clone(),
        inputs: vec![Some(matrix)],
        attributes: vec![AttributeProto::int("axis", 1)],
        ..Node::new(&node.op_type)
    };
    let inner = graph.add_one(inner)?;
    let dims: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
    let dims = graph.ints(&dims)?;
    call.end(graph, "Reshape", &[inner, dims], &[])
}
