//! Values of a graph: what flows along its edges.

use crate::onnx::ElementType;
use crate::onnx::graph::Constant;

/// Names a value of one [`Graph`](crate::onnx::graph::Graph); has no meaning in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(super) u32);

impl ValueId {
    /// Position among the values of the graph: dense, from zero, so that a `Vec` can be a map from values.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Element type and static shape of a value. A scalar has the empty shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// Type of the elements.
    pub element: ElementType,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

impl ValueType {
    /// A type of `element` with the sizes of `shape`.
    pub fn new(element: ElementType, shape: impl Into<Vec<usize>>) -> ValueType {
        ValueType { element, shape: shape.into() }
    }

    /// Number of elements; `None` where it does not fit into a `usize`.
    pub fn checked_elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))
    }

    /// Number of elements. Values of a [`Graph`](crate::onnx::graph::Graph) are checked to have one that fits.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of the elements, packed.
    pub fn bytes(&self) -> u64 {
        self.element.packed_bytes(self.elements() as u64).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Display for ValueType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.element, self.shape)
    }
}

/// What a value is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// Given by the caller of the model.
    Input,
    /// A floating point initializer of the file, or a tensor that a pass put in its place: it may be trained, so
    /// nothing that depends on it is folded.
    Parameter(Constant),
    /// Known for good; what depends on nothing else is folded.
    Constant(Constant),
    /// Output `output` of node `node` (its index in the graph).
    Node {
        /// Index of the node.
        node: usize,
        /// Which of its outputs.
        output: usize,
    },
}

/// A value: a name that is unique in the graph, a type, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub(super) name: String,
    pub(super) kind: ValueType,
    pub(super) origin: Origin,
}

impl Value {
    /// The name; for values of the file, the file's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Element type and shape.
    pub fn kind(&self) -> &ValueType {
        &self.kind
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}
