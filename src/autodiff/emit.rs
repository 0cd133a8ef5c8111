//! Short forms for the nodes that rules are made of.

use crate::error::{Error, Result};
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, ValueId};
use crate::onnx::proto::AttributeProto;

/// What rules, losses and optimizers write their graphs with. Every method adds the nodes that it says and gives
/// their value; see [`Graph::op`] for the errors, which here mean a mistake in the rule.
pub(crate) trait Emit {
    /// The graph.
    fn graph(&mut self) -> &mut Graph;

    /// `operator(a)`.
    fn unary(&mut self, operator: &str, a: ValueId) -> Result<ValueId> {
        self.graph().op(operator, &[a], &[])
    }

    /// `operator(a, b)`, with broadcasting.
    fn binary(&mut self, operator: &str, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.graph().op(operator, &[a, b], &[])
    }

    /// `a + b`.
    fn plus(&mut self, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.binary("Add", a, b)
    }

    /// `a - b`.
    fn minus(&mut self, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.binary("Sub", a, b)
    }

    /// `a * b`.
    fn times(&mut self, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.binary("Mul", a, b)
    }

    /// `a / b`.
    fn over(&mut self, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.binary("Div", a, b)
    }

    /// A scalar of the floating point type of `like`.
    fn number_like(&mut self, like: ValueId, value: f64) -> Result<ValueId> {
        let kind = crate::onnx::graph::ValueType::new(self.graph().kind(like).element, []);
        let constant = Constant::from_f64(kind, &[value])?;
        Ok(self.graph().add_constant("number", constant))
    }

    /// `a * factor`; `a` itself where the factor is 1.
    fn scaled(&mut self, a: ValueId, factor: f64) -> Result<ValueId> {
        if factor == 1.0 {
            return Ok(a);
        }
        let factor = self.number_like(a, factor)?;
        self.times(a, factor)
    }

    /// `a + term`; `a` itself where the term is 0.
    fn shifted(&mut self, a: ValueId, term: f64) -> Result<ValueId> {
        if term == 0.0 {
            return Ok(a);
        }
        let term = self.number_like(a, term)?;
        self.plus(a, term)
    }

    /// `a` where `condition`, else `b`.
    fn choose(&mut self, condition: ValueId, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.graph().op("Where", &[condition, a, b], &[])
    }

    /// `g` where `condition`, else 0.
    fn masked(&mut self, condition: ValueId, g: ValueId) -> Result<ValueId> {
        let zero = self.number_like(g, 0.0)?;
        self.choose(condition, g, zero)
    }

    /// Cast to the element type of `like`.
    fn cast_like(&mut self, a: ValueId, like: ValueId) -> Result<ValueId> {
        let element = self.graph().kind(like).element;
        self.cast(a, element)
    }

    /// Cast; `a` itself where it has the type.
    fn cast(&mut self, a: ValueId, element: ElementType) -> Result<ValueId> {
        if self.graph().kind(a).element == element {
            return Ok(a);
        }
        self.graph().op("Cast", &[a], &[AttributeProto::int("to", i64::from(element.number()))])
    }

    /// `a` with another shape of as many elements; `a` itself where it has the shape.
    fn reshape(&mut self, a: ValueId, shape: &[usize]) -> Result<ValueId> {
        let graph = self.graph();
        if graph.shape(a) == shape {
            return Ok(a);
        }
        let dims: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
        let dims = graph.ints(&dims)?;
        // A size of 0 would else mean "as before".
        let attributes: &[AttributeProto] =
            if shape.contains(&0) { &[AttributeProto::int("allowzero", 1)] } else { &[] };
        graph.op("Reshape", &[a, dims], attributes)
    }

    /// Axes in another order; `a` itself where the order is the same.
    fn transpose(&mut self, a: ValueId, order: &[usize]) -> Result<ValueId> {
        if order.iter().enumerate().all(|(index, &axis)| index == axis) {
            return Ok(a);
        }
        let order: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
        self.graph().op("Transpose", &[a], &[AttributeProto::ints("perm", &order)])
    }

    /// The last two axes swapped.
    fn transpose_last(&mut self, a: ValueId) -> Result<ValueId> {
        let rank = self.graph().shape(a).len();
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 1, rank - 2);
        self.transpose(a, &order)
    }

    /// `operator` (`ReduceSum`, `ReduceMean`, `ReduceMax` …) over `axes`; `a` itself where there is none.
    fn reduce(&mut self, operator: &str, a: ValueId, axes: &[usize], keep: bool) -> Result<ValueId> {
        if axes.is_empty() {
            return Ok(a);
        }
        let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let axes = self.graph().ints(&axes)?;
        self.graph().op(operator, &[a, axes], &[AttributeProto::int("keepdims", i64::from(keep))])
    }

    /// Sum over `axes`, kept with size 1.
    fn sum(&mut self, a: ValueId, axes: &[usize]) -> Result<ValueId> {
        self.reduce("ReduceSum", a, axes, true)
    }

    /// Mean over `axes`, kept with size 1.
    fn mean(&mut self, a: ValueId, axes: &[usize]) -> Result<ValueId> {
        self.reduce("ReduceMean", a, axes, true)
    }

    /// Sum of all elements, a scalar.
    fn total(&mut self, a: ValueId) -> Result<ValueId> {
        let axes: Vec<usize> = (0..self.graph().shape(a).len()).collect();
        self.reduce("ReduceSum", a, &axes, false)
    }

    /// The gradient of broadcasting `shape` to the shape of `g`: sums over what was repeated.
    fn sum_to(&mut self, g: ValueId, shape: &[usize]) -> Result<ValueId> {
        let own = self.graph().shape(g).to_vec();
        if own == shape {
            return Ok(g);
        }
        let lead = own.len() - shape.len();
        let axes: Vec<usize> =
            (0..own.len()).filter(|&axis| axis < lead || shape[axis - lead] == 1 && own[axis] != 1).collect();
        let summed = self.sum(g, &axes)?;
        self.reshape(summed, shape)
    }

    /// `a` repeated to `shape`, which its own broadcasts to; `a` itself where it has the shape.
    fn expand(&mut self, a: ValueId, shape: &[usize]) -> Result<ValueId> {
        let graph = self.graph();
        if graph.shape(a) == shape {
            return Ok(a);
        }
        let dims: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
        let dims = graph.ints(&dims)?;
        graph.op("Expand", &[a, dims], &[])
    }

    /// Zeros of a shape, of the type of `like`.
    fn zeros(&mut self, shape: &[usize], like: ValueId) -> Result<ValueId> {
        let zero = self.number_like(like, 0.0)?;
        self.expand(zero, shape)
    }

    /// Matrix product of the last two axes, with broadcasting of the others.
    fn matmul(&mut self, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.binary("MatMul", a, b)
    }

    /// From `starts` to before `ends` by `steps` along `axes`.
    fn slice(
        &mut self,
        a: ValueId,
        axes: &[usize],
        starts: &[i64],
        ends: &[i64],
        steps: &[i64],
    ) -> Result<ValueId> {
        let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let graph = self.graph();
        let bounds = [graph.ints(starts)?, graph.ints(ends)?, graph.ints(&axes)?, graph.ints(steps)?];
        graph.op("Slice", &[a, bounds[0], bounds[1], bounds[2], bounds[3]], &[])
    }

    /// Zeros around `a`: `begins` and `ends` for every axis (negative ones cut off).
    fn pad(&mut self, a: ValueId, begins: &[i64], ends: &[i64]) -> Result<ValueId> {
        if begins.iter().chain(ends).all(|&count| count == 0) {
            return Ok(a);
        }
        let pads = self.graph().ints(&[begins, ends].concat())?;
        let zero = self.number_like(a, 0.0)?;
        self.graph().op("Pad", &[a, pads, zero], &[])
    }

    /// Values one after the other along `axis`.
    fn concat(&mut self, parts: &[ValueId], axis: usize) -> Result<ValueId> {
        match parts {
            [] => Err(Error::internal("a concatenation of nothing")),
            [one] => Ok(*one),
            _ => self.graph().op("Concat", parts, &[AttributeProto::int("axis", axis as i64)]),
        }
    }
}

impl Emit for Graph {
    fn graph(&mut self) -> &mut Graph {
        self
    }
}
