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

mod arithmetic;
mod array;
mod extrema;
mod generate;
mod index;
mod matrix;
mod movement;
mod pad;
mod reduction;
mod scatter;

pub(super) use array::Array;

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, Node, ValueType};
use crate::onnx::proto::is_default_domain;

/// More elements than this are left to the runtime: no shape has as many, and a constant of this size should not be
/// written into the graph when a few nodes make it.
const MOST_ELEMENTS: usize = 1 << 16;

/// `None` where the operator, for these attributes or types, is not evaluated here.
type Rule = fn(&Evaluation<'_>) -> Result<Option<Vec<Array>>>;

/// A node whose outputs are to be computed.
#[derive(Debug)]
struct Evaluation<'a> {
    /// The graph that has the inputs.
    graph: &'a Graph,
    /// The node.
    node: &'a Node,
    /// The elements of its inputs; `None` where one is left out.
    inputs: Vec<Option<Array>>,
    /// The types of its outputs.
    types: &'a [ValueType],
}

impl Evaluation<'_> {
    /// Input `index`, which must be there.
    fn input(&self, index: usize) -> Result<&Array> {
        let input = self.inputs.get(index).and_then(Option::as_ref);
        input.ok_or_else(|| self.node.invalid(format!("input {index} is missing")))
    }

    /// Shape of the first output.
    fn shape(&self) -> &[usize] {
        self.types.first().map_or(&[], |kind| &kind.shape)
    }
}

/// The outputs of a node whose types are `types`, where they can be known in advance.
pub(super) fn fold(graph: &Graph, node: &Node, types: &[ValueType]) -> Result<Option<Vec<Constant>>> {
    let is_beyond = |kind: &ValueType| !is_short(&kind.shape) || !is_computed_with(kind.element);
    if !is_default_domain(&node.domain) || types.iter().any(is_beyond) {
        return Ok(None);
    }
    // The shape is known whatever the elements are.
    if node.is("Shape") || node.is("Size") {
        return shape_of(graph, node).map(Some);
    }
    let Some(rule) = rule(&node.op_type) else { return Ok(None) };
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        let Some(id) = input else {
            inputs.push(None);
            continue;
        };
        let short = graph.constant(*id).filter(|constant| is_short(&constant.kind().shape));
        match short.and_then(Array::of) {
            Some(array) => inputs.push(Some(array)),
            None => return Ok(None),
        }
    }
    let Some(outputs) = rule(&Evaluation { graph, node, inputs, types })? else { return Ok(None) };
    outputs.iter().zip(types).map(|(array, kind)| array.to_constant(kind)).collect::<Result<_>>().map(Some)
}

/// Whether there are few enough elements. Sizes of 0 count as 1, so that no part of a shape is longer than the whole
/// and an empty tensor cannot have a huge other axis.
fn is_short(shape: &[usize]) -> bool {
    let product = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim.max(1)));
    product.is_some_and(|product| product <= MOST_ELEMENTS)
}

/// The types that [`Constant::from_f64`] makes.
fn is_computed_with(element: ElementType) -> bool {
    use ElementType::{
        Bfloat16, Bool, Float16, Float32, Float64, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64,
    };
    matches!(
        element,
        Float32
            | Float64
            | Float16
            | Bfloat16
            | Int64
            | Int32
            | Int16
            | Int8
            | Uint64
            | Uint32
            | Uint16
            | Uint8
            | Bool
    )
}

fn rule(op_type: &str) -> Option<Rule> {
    FAMILIES.iter().find_map(|family| family(op_type))
}

const FAMILIES: [fn(&str) -> Option<Rule>; 9] = [
    arithmetic::rule,
    movement::rule,
    pad::rule,
    index::rule,
    scatter::rule,
    extrema::rule,
    reduction::rule,
    matrix::rule,
    generate::rule,
];

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
