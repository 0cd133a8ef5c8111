//! Evaluation of nodes whose inputs are constants.
//!
//! Exporters compute shapes by dozens of small nodes; with static input shapes all of them are constants. Integers and
//! booleans are computed in `i64`, floating point in `f64` and rounded to the type at the end, which for the
//! arithmetic operators and the square root is the correctly rounded result of the type itself.
//!
//! What has no evaluation here stays a node: the runtime folds it when it loads the graph. So nothing is lost where an
//! operator is missing, unless a shape depends on it.
//!
//! An operator is one function of the family's file and one line of [`rule`].

mod array;

pub(super) use array::Array;

use crate::error::Result;
use crate::onnx::graph::{Constant, Graph, Node, ValueType};
use crate::onnx::proto::is_default_domain;

/// More elements than this are left to the runtime: no shape has as many, and a constant of this size should not be
/// written into the graph when a few nodes make it.
const MOST_ELEMENTS: usize = 1 << 16;

/// `None` where the operator, for these attributes or types, is not evaluated here.
type Rule = fn(&Node, &[Option<Array>], &[ValueType]) -> Result<Option<Vec<Array>>>;

/// The outputs of a node whose types are `types`, where they can be known in advance.
pub(super) fn fold(graph: &Graph, node: &Node, types: &[ValueType]) -> Result<Option<Vec<Constant>>> {
    if !is_default_domain(&node.domain) || types.iter().any(|kind| kind.elements() > MOST_ELEMENTS) {
        return Ok(None);
    }
    // The shape is known whatever the elements are.
    if node.is("Shape") || node.is("Size") {
        return shape_of(graph, node).map(Some);
    }
    let Some(rule) = rule(&node.op_type) else { return Ok(None) };
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        let array = match input {
            None => None,
            Some(id) => {
                match graph.constant(*id).filter(|constant| constant.kind().elements() <= MOST_ELEMENTS) {
                    None => return Ok(None),
                    Some(constant) => match Array::of(constant) {
                        None => return Ok(None),
                        array => array,
                    },
                }
            }
        };
        inputs.push(array);
    }
    let Some(outputs) = rule(node, &inputs, types)? else { return Ok(None) };
    outputs.iter().zip(types).map(|(array, kind)| array.to_constant(kind)).collect::<Result<_>>().map(Some)
}

fn rule(_op_type: &str) -> Option<Rule> {
    None
}

/// Shape (with `start` and `end`) and Size.
fn shape_of(graph: &Graph, node: &Node) -> Result<Vec<Constant>> {
    let shape = graph.shape(node.needed(0)?);
    if node.is("Size") {
        return Ok(vec![Constant::from_i64([], &[shape.iter().product::<usize>() as i64])?]);
    }
    let rank = shape.len() as i64;
    let bound = |name: &str, default: i64| {
        let at = node.int_or(name, default);
        (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    let dims: Vec<i64> = shape[start..end.max(start)].iter().map(|&dim| dim as i64).collect();
    Ok(vec![Constant::from_i64([dims.len()], &dims)?])
}
