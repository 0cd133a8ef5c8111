//! Rules: for every operator, the nodes that turn the gradient of its outputs into that of its inputs.
//!
//! A rule is a vector-Jacobian product in standard operators. It sees static shapes everywhere, so what depends on
//! them (axes to sum over, padding, interpolation matrices) is computed here and emitted as constants.
//!
//! # Adding a rule
//!
//! Write one function in the file of the operator's family and one line in that file's `rule`:
//!
//! ```text
//! "Tanh" => tanh,
//!
//! /// y = tanh x: dx = g (1 - y²).
//! fn tanh(vjp: &mut Vjp<'_>) -> Gradients {
//!     let (g, y) = (vjp.g(0)?, vjp.y(0)?);
//!     let square = vjp.times(y, y)?;
//!     let cut = vjp.times(g, square)?;
//!     let dx = vjp.minus(g, cut)?;
//!     vjp.only(0, dx)
//! }
//! ```
//!
//! * [`Vjp::g`] is the gradient of an output, [`Vjp::x`] an input, [`Vjp::y`] an output of the forward node; prefer
//!   `y` where both would do, as it is kept anyway by whoever uses it next.
//! * The result has one entry an input, `None` where no gradient flows or none is wanted ([`Vjp::wants`]). Every
//!   gradient has exactly the shape of its input: [`Emit::sum_to`] undoes broadcasting.
//! * An operator whose outputs do not change with its inputs but in jumps (comparisons, rounding, shapes) goes into
//!   [`is_flat`] instead.
//! * An operator that is easier to express by others goes into `crate::autodiff::decompose`.
//!
//! The property tests (`src/autodiff/tests/generators`) pick a new rule up by one line more: a generator of its random
//! cases.

mod activation;
mod convolution;
mod elementwise;
mod index;
mod linear;
mod matrix;
mod normalisation;
mod pad;
mod part;
mod pooling;
mod reduce;
mod resize;
mod shape;
mod softmax;
mod transcendental;
mod weight_gradient;

use std::cell::Cell;

use crate::autodiff::emit::Emit;
use crate::autodiff::kernels::Kernels;
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Graph, Node, ValueId};
use crate::onnx::proto::is_default_domain;

/// One gradient an input.
pub(crate) type Gradients = Result<Vec<Option<ValueId>>>;

/// Emits the gradients of a node's inputs.
pub(crate) type Rule = fn(&mut Vjp<'_>) -> Gradients;

/// The rule of an operator.
pub(crate) fn rule(domain: &str, op_type: &str) -> Option<Rule> {
    if !is_default_domain(domain) {
        return None;
    }
    let families = [
        elementwise::rule,
        activation::rule,
        transcendental::rule,
        linear::rule,
        convolution::rule,
        pooling::rule,
        resize::rule,
        shape::rule,
        part::rule,
        pad::rule,
        index::rule,
        reduce::rule,
        softmax::rule,
        normalisation::rule,
    ];
    families.iter().find_map(|family| family(op_type))
}

/// Whether the outputs of an operator change with its inputs in jumps only, so that no gradient flows through it.
pub(crate) fn is_flat(domain: &str, op_type: &str) -> bool {
    is_default_domain(domain)
        && matches!(
            op_type,
            "And"
                | "ArgMax"
                | "ArgMin"
                | "Ceil"
                | "ConstantOfShape"
                | "Equal"
                | "EyeLike"
                | "Floor"
                | "Greater"
                | "GreaterOrEqual"
                | "IsInf"
                | "IsNaN"
                | "Less"
                | "LessOrEqual"
                | "NonZero"
                | "Not"
                | "OneHot"
                | "Or"
                | "Range"
                | "Round"
                | "Shape"
                | "Sign"
                | "Size"
                | "Xor"
        )
}

/// A node to be differentiated, with the gradients of its outputs, and the graph to emit into.
#[derive(Debug)]
pub(crate) struct Vjp<'a> {
    /// The graph: the forward nodes, and after them what rules have emitted so far.
    pub(crate) graph: &'a mut Graph,
    /// The forward node.
    pub(crate) node: Node,
    /// Its index in the graph.
    pub(crate) index: usize,
    /// The gradients of its outputs; `None` for those that nothing depends on.
    pub(crate) grads: Vec<Option<ValueId>>,
    /// For every input, whether its gradient is asked for.
    pub(crate) wants: Vec<bool>,
    /// Which of the outputs' gradients the rule has looked at, a bit each.
    pub(crate) read: Cell<u64>,
    /// Which operators beyond ONNX's own the session will have.
    pub(crate) kernels: Kernels,
}

impl Vjp<'_> {
    /// Gradient of output `index`, where it flows.
    pub(crate) fn grad(&self, index: usize) -> Option<ValueId> {
        self.read.set(self.read.get() | 1u64.checked_shl(index as u32).unwrap_or(0));
        self.grads.get(index).copied().flatten()
    }

    /// Gradient of output `index`, which must flow.
    pub(crate) fn g(&self, index: usize) -> Result<ValueId> {
        self.grad(index).ok_or_else(|| {
            let others: Vec<usize> = (0..self.grads.len()).filter(|&at| self.grads[at].is_some()).collect();
            self.node.error(
                ErrorKind::ModelUnsupported,
                format!("a gradient through output {others:?} alone has no rule"),
            )
        })
    }

    /// Input `index`, which must be there.
    pub(crate) fn x(&self, index: usize) -> Result<ValueId> {
        self.node.needed(index)
    }

    /// Output `index`; the node is made to give it where it did not.
    pub(crate) fn y(&mut self, index: usize) -> Result<ValueId> {
        self.graph.require_output(self.index, index)
    }

    /// Whether the gradient of input `index` is asked for.
    pub(crate) fn wants(&self, index: usize) -> bool {
        self.wants.get(index).copied().unwrap_or(false)
    }

    /// Shape of a value.
    pub(crate) fn shape(&self, id: ValueId) -> Vec<usize> {
        self.graph.shape(id).to_vec()
    }

    /// An axis, counted from the end where negative, as an index.
    pub(crate) fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        crate::onnx::axis_of(&self.node, axis, rank)
    }

    /// Integers that input `index` is known to be; `None` where it is left out.
    pub(crate) fn ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        let Some(id) = self.node.input(index) else { return Ok(None) };
        let ints = self.graph.known(id).and_then(|constant| constant.to_ints());
        ints.map(Some).ok_or_else(|| self.node.unsupported(format!("input {index} is not known in advance")))
    }

    /// Numbers that input `index` is known to be; `None` where it is left out.
    pub(crate) fn numbers(&self, index: usize) -> Result<Option<Vec<f64>>> {
        let Some(id) = self.node.input(index) else { return Ok(None) };
        let numbers = self.graph.known(id).and_then(|constant| constant.to_f64());
        numbers
            .map(Some)
            .ok_or_else(|| self.node.unsupported(format!("input {index} is not known in advance")))
    }

    /// `g` summed to the shape of input `index`.
    pub(crate) fn reduced(&mut self, index: usize, g: ValueId) -> Result<ValueId> {
        let shape = self.shape(self.x(index)?);
        self.sum_to(g, &shape)
    }

    /// `g * factor` summed to the shape of input `index`.
    pub(crate) fn product_to(&mut self, index: usize, g: ValueId, factor: ValueId) -> Result<ValueId> {
        let product = self.times(g, factor)?;
        self.reduced(index, product)
    }

    /// `a` where `condition`, else 0, for finite `a`: a cast and a product, which on the CPU provider take a tenth of the
    /// time of `Where`.
    pub(crate) fn gated(&mut self, condition: ValueId, a: ValueId) -> Result<ValueId> {
        let gate = self.cast_like(condition, a)?;
        self.times(a, gate)
    }

    /// Sign of `a`, 0 at 0: two comparisons, which on the CPU provider take a tenth of the time of `Sign`.
    pub(crate) fn sign(&mut self, a: ValueId) -> Result<ValueId> {
        let zero = self.number_like(a, 0.0)?;
        let positive = self.binary("Greater", a, zero)?;
        let positive = self.cast_like(positive, a)?;
        let negative = self.binary("Less", a, zero)?;
        let negative = self.cast_like(negative, a)?;
        self.minus(positive, negative)
    }

    /// `a` turned round along `axes`.
    pub(crate) fn flip(&mut self, a: ValueId, axes: &[usize]) -> Result<ValueId> {
        let count = axes.len();
        self.slice(a, axes, &vec![-1; count], &vec![i64::MIN; count], &vec![-1; count])
    }

    /// The gradient `dx` for input `index`, none for the others.
    pub(crate) fn only(&self, index: usize, dx: ValueId) -> Gradients {
        let mut all = vec![None; self.node.inputs.len()];
        *all.get_mut(index).ok_or_else(|| Error::internal("a gradient for no input"))? = Some(dx);
        Ok(all)
    }
}

impl Emit for Vjp<'_> {
    fn graph(&mut self) -> &mut Graph {
        self.graph
    }
}
