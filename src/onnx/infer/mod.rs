//! Types of the outputs of a node from those of its inputs.
//!
//! Operators are understood in their form of operator set 18 or later ([`super::graph::CANONICAL_OPSET`]); the import
//! brings older ones into it. Shapes are static: where a shape is an input (Reshape, Expand, Resize), that input has
//! to be known.
//!
//! An operator is one function of the family's file and one line of [`rule`].

mod attention;
mod contrib;
mod convolution;
mod elementwise;
mod generate;
mod glebe;
mod index;
mod linear;
mod normalisation;
mod pieces;
mod pooling;
mod quantise;
mod recurrent;
mod reduce;
mod sampling;
mod shape;

use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, Node, ValueId, ValueType};
use crate::onnx::proto::is_default_domain;
use crate::onnx::resolved;

/// Types of all outputs that the node has; at least those that are asked for, where the operator has as many.
type Rule = fn(&Call<'_>) -> Result<Vec<ValueType>>;

/// Types of the outputs of `node`, which need not be in the graph yet; its inputs are. `outputs` is the number of
/// outputs that are asked for.
///
/// # Errors
/// `ModelInvalid` for what the operator does not allow; `ModelUnsupported` for an operator without a rule or a size
/// that depends on data.
pub(super) fn infer(graph: &Graph, node: &Node, outputs: usize) -> Result<Vec<ValueType>> {
    let domain = if is_default_domain(&node.domain) { "" } else { node.domain.as_str() };
    let Some(rule) = rule(domain, &node.op_type) else {
        return Err(node.unsupported("this operator is not known to the compiler"));
    };
    rule(&Call { graph, node, outputs })
}

fn rule(domain: &str, op_type: &str) -> Option<Rule> {
    match domain {
        "" => FAMILIES.iter().find_map(|family| family(op_type)),
        "com.microsoft" => contrib::rule(op_type),
        "glebe" => glebe::rule(op_type),
        _ => None,
    }
}

/// The families of the default domain.
const FAMILIES: [fn(&str) -> Option<Rule>; 14] = [
    elementwise::rule,
    shape::rule,
    pieces::rule,
    index::rule,
    generate::rule,
    linear::rule,
    convolution::rule,
    pooling::rule,
    reduce::rule,
    normalisation::rule,
    sampling::rule,
    attention::rule,
    recurrent::rule,
    quantise::rule,
];

/// The types of one output.
fn one(element: ElementType, shape: impl Into<Vec<usize>>) -> Result<Vec<ValueType>> {
    Ok(vec![ValueType::new(element, shape)])
}

/// A node whose outputs are to be typed.
#[derive(Debug)]
pub(super) struct Call<'a> {
    graph: &'a Graph,
    /// The node.
    pub(super) node: &'a Node,
    /// How many outputs are asked for.
    pub(super) outputs: usize,
}

impl<'a> Call<'a> {
    /// Input `index`, which must be there.
    pub(super) fn input(&self, index: usize) -> Result<ValueId> {
        self.node.needed(index)
    }

    /// Type of input `index`, which must be there.
    pub(super) fn kind(&self, index: usize) -> Result<&'a ValueType> {
        Ok(self.graph.kind(self.input(index)?))
    }

    /// Shape of input `index`, which must be there.
    pub(super) fn shape(&self, index: usize) -> Result<&'a [usize]> {
        Ok(&self.kind(index)?.shape)
    }

    /// Shape of input `index`, which must have `rank` dimensions.
    pub(super) fn shape_of_rank(&self, index: usize, rank: usize) -> Result<&'a [usize]> {
        let shape = self.shape(index)?;
        if shape.len() != rank {
            let message = format!("input {index}: expected {rank} dimensions, got shape {shape:?}");
            return Err(self.node.invalid(message));
        }
        Ok(shape)
    }

    /// Element type of input `index`, which must be there.
    pub(super) fn element(&self, index: usize) -> Result<ElementType> {
        Ok(self.kind(index)?.element)
    }

    /// Elements of input `index` where it is there and known.
    pub(super) fn known(&self, index: usize) -> Option<&'a Constant> {
        self.node.input(index).and_then(|id| self.graph.known(id))
    }

    /// Integers that input `index` must be known to be; `None` where the input is left out.
    ///
    /// # Errors
    /// `ModelUnsupported` where they depend on data.
    pub(super) fn ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        resolved::ints(self.graph, self.node, index)
    }

    /// Integers that input `index`, which must be there, must be known to be.
    pub(super) fn needed_ints(&self, index: usize) -> Result<Vec<i64>> {
        self.input(index)?;
        Ok(self.ints(index)?.unwrap_or_default())
    }

    /// Sizes that input `index`, which must be there, must be known to be.
    pub(super) fn sizes(&self, index: usize) -> Result<Vec<usize>> {
        self.needed_ints(index)?.into_iter().map(|size| resolved::size(self.node, size)).collect()
    }

    /// An axis, counted from the end where negative, as an index.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        resolved::axis_of(self.node, axis, rank)
    }

    /// The axis of attribute `axis`, or of `default` where it is absent.
    pub(super) fn axis_attribute(&self, default: i64, rank: usize) -> Result<usize> {
        self.axis(self.node.int_or("axis", default), rank)
    }

    /// Number of elements of a shape.
    pub(super) fn count(&self, shape: &[usize]) -> Result<usize> {
        resolved::count(self.node, shape)
    }

    /// A product of sizes.
    pub(super) fn product(&self, a: usize, b: usize) -> Result<usize> {
        self.count(&[a, b])
    }

    /// That input `index`, where it is there, has this shape.
    pub(super) fn expect(&self, index: usize, shape: &[usize]) -> Result<()> {
        match self.node.input(index).map(|id| self.graph.shape(id)) {
            Some(own) if own != shape => {
                Err(self.node.invalid(format!("input {index}: expected shape {shape:?}, got {own:?}")))
            }
            _ => Ok(()),
        }
    }

    /// That input `index` has the element type of input 0.
    pub(super) fn expect_like_first(&self, index: usize) -> Result<()> {
        let (first, own) = (self.element(0)?, self.element(index)?);
        if first == own {
            return Ok(());
        }
        Err(self.node.invalid(format!("input {index}: expected {first}, got {own}")))
    }

    /// The common shape of two inputs.
    pub(super) fn together(&self, a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
        broadcast(a, b).ok_or_else(|| self.node.invalid(format!("shapes {a:?} and {b:?} do not broadcast")))
    }
}

/// Shape of the result of broadcasting, by the multidirectional rule of the specification.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim =
        |shape: &[usize], index: usize| (index + shape.len()).checked_sub(rank).map_or(1, |own| shape[own]);
    (0..rank)
        .map(|index| match (dim(a, index), dim(b, index)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}
