//! Operators of all sets in the form of operator set 18.
//!
//! Later sets mostly widen what 18 allows, so their nodes stay as they are; earlier ones are rewritten where the form or
//! the meaning has changed since, and so is what ONNX Runtime's optimizer puts in the place of standard operators.
//! Besides, what a shape leaves open is filled in, so that later passes see one form: the axes of Squeeze and of the
//! reductions, the sizes of Split, pads along all axes.
//!
//! An operator is one function of the family's file and one line of that file's `rule`.

mod activation;
mod axes;
mod constant;
mod fused;
mod normalisation;
mod pieces;
mod resize;
mod softmax;

use crate::error::Result;
use crate::onnx::graph::{Graph, ValueId};
use crate::onnx::specialise::Call;

/// What stands for the outputs of a node of the file.
type Made = Result<Vec<Option<ValueId>>>;

/// Adds what a node of the file means.
type Rule = fn(&mut Graph, &Call<'_>) -> Made;

/// Adds a node of the file to the graph.
///
/// # Errors
/// `ModelInvalid` and `ModelUnsupported`, as [`Graph::add`] gives them.
pub(super) fn add(graph: &mut Graph, call: &Call<'_>) -> Made {
    let node = call.node();
    let (domain, op_type) = (node.domain.as_str(), node.op_type.as_str());
    let rule = match domain {
        "" => constant::rule(op_type)
            .or_else(|| axes::rule(op_type))
            .or_else(|| pieces::rule(op_type))
            .or_else(|| softmax::rule(op_type))
            .or_else(|| resize::rule(op_type))
            .or_else(|| activation::rule(op_type))
            .or_else(|| normalisation::rule(op_type)),
        "com.microsoft" => fused::rule(op_type).or_else(|| normalisation::microsoft(op_type)),
        _ => None,
    };
    match rule {
        Some(rule) => rule(graph, call),
        None => call.put(graph, node),
    }
}

/// An operator of the default domain, with a single output.
fn op(graph: &mut Graph, op_type: &str, inputs: &[ValueId]) -> Result<ValueId> {
    graph.op(op_type, inputs, &[])
}
