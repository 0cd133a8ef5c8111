//! The reference interpreter: every operator in `f64`, by its definition and naive loops. It shares nothing with the
//! evaluation of constants in `crate::onnx` and nothing with the rules. What an operator gives is checked against
//! goldens of ONNX Runtime and of the reference implementation (`super::golden`).

mod attention;
mod convolution;
mod elementwise;
mod indexing;
mod layout;
mod matrix;
mod normalisation;
mod own;
mod padding;
mod pooling;
mod reduction;
mod resize;

use super::array::Array;
use crate::onnx::graph::{Graph, Node, Origin, ValueId};
use crate::onnx::proto::is_default_domain;

/// One operator applied to arrays.
pub(super) struct Call<'a> {
    /// For the attributes; its inputs and outputs are not looked at.
    pub(super) node: &'a Node,
    pub(super) inputs: Vec<Option<&'a Array>>,
    /// How many outputs are asked for.
    pub(super) outputs: usize,
    /// Operator set of the default domain.
    pub(super) opset: i64,
}

type Operator = fn(&Call<'_>) -> Vec<Array>;

impl<'a> Call<'a> {
    /// Input `index`, which must be there.
    fn x(&self, index: usize) -> &'a Array {
        self.get(index).unwrap_or_else(|| panic!("{}: input {index} is missing", self.node.describe()))
    }

    fn get(&self, index: usize) -> Option<&'a Array> {
        self.inputs.get(index).copied().flatten()
    }

    /// Integers of an optional input.
    fn ints(&self, index: usize) -> Option<Vec<i64>> {
        self.get(index).map(|array| array.i().to_vec())
    }

    /// A list of integers in an attribute, or `count` times `default`.
    fn list(&self, name: &str, count: usize, default: i64) -> Vec<i64> {
        self.node.ints(name).map_or_else(|| vec![default; count], <[i64]>::to_vec)
    }

    fn number(&self, name: &str, default: f32) -> f64 {
        f64::from(self.node.float_or(name, default))
    }
}

/// An axis counted from the end where negative.
fn axis_of(axis: i64, rank: usize) -> usize {
    let index = if axis < 0 { axis + rank as i64 } else { axis };
    assert!((0..rank as i64).contains(&index), "axis {axis} of {rank}");
    index as usize
}

fn operator(domain: &str, op_type: &str) -> Option<Operator> {
    if !is_default_domain(domain) {
        return own::operator(domain, op_type);
    }
    elementwise::operator(op_type)
        .or_else(|| matrix::operator(op_type))
        .or_else(|| convolution::operator(op_type))
        .or_else(|| pooling::operator(op_type))
        .or_else(|| reduction::operator(op_type))
        .or_else(|| normalisation::operator(op_type))
        .or_else(|| resize::operator(op_type))
        .or_else(|| padding::operator(op_type))
        .or_else(|| layout::operator(op_type))
        .or_else(|| indexing::operator(op_type))
        .or_else(|| attention::operator(op_type))
}

/// Whether an operator can be evaluated.
pub(super) fn knows(domain: &str, op_type: &str) -> bool {
    operator(domain, op_type).is_some()
}

/// The outputs of one operator.
pub(super) fn apply(call: &Call<'_>) -> Vec<Array> {
    let node = call.node;
    let operator = operator(&node.domain, &node.op_type);
    operator.unwrap_or_else(|| panic!("the interpreter lacks {}", node.describe()))(call)
}

/// Evaluates some values of a graph again and again.
pub(super) struct Interpreter<'a> {
    graph: &'a Graph,
    wanted: Vec<ValueId>,
    nodes: Vec<usize>,
    known: Vec<Option<Array>>,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(graph: &'a Graph, wanted: &[ValueId]) -> Interpreter<'a> {
        let known = graph.values().map(|(_, value)| match value.origin() {
            Origin::Constant(constant) | Origin::Parameter(constant) => Some(Array::constant(constant)),
            _ => None,
        });
        let known = known.collect();
        Interpreter { graph, wanted: wanted.to_vec(), nodes: graph.needed_for(wanted), known }
    }

    /// The wanted values, out of given ones (which may stand for parameters too).
    pub(super) fn run(&self, given: &[(ValueId, Array)]) -> Vec<Array> {
        let mut made: Vec<Option<Array>> = vec![None; self.graph.len()];
        for (id, array) in given {
            assert_eq!(self.graph.shape(*id), array.shape, "{}", self.graph.name(*id));
            made[id.index()] = Some(array.clone());
        }
        fn look<'b>(made: &'b [Option<Array>], known: &'b [Option<Array>], id: ValueId) -> Option<&'b Array> {
            made[id.index()].as_ref().or(known[id.index()].as_ref())
        }
        for &index in &self.nodes {
            let node = &self.graph.nodes()[index];
            let inputs = node.inputs.iter().map(|id| {
                id.map(|id| {
                    look(&made, &self.known, id).unwrap_or_else(|| panic!("no {:?}", self.graph.name(id)))
                })
            });
            let outputs = node.outputs.len();
            let call = Call { node, inputs: inputs.collect(), outputs, opset: self.graph.opset() };
            let results = apply(&call);
            for (id, array) in node.outputs.iter().zip(results) {
                let Some(id) = id else { continue };
                let kind = self.graph.kind(*id);
                assert_eq!(kind.shape, array.shape, "{}: inferred shape against the real", node.describe());
                assert_eq!(kind.element.is_float(), array.is_float(), "{}: type", node.describe());
                made[id.index()] = Some(array);
            }
        }
        let wanted = self.wanted.iter();
        wanted
            .map(|&id| look(&made, &self.known, id).unwrap_or_else(|| panic!("no {id:?}")).clone())
            .collect()
    }
}
