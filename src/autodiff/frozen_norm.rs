//! BatchNormalization by running statistics, drawn into the convolution before it.

use crate::autodiff::emit::Emit;
use crate::error::{Error, Result};
use crate::onnx::graph::{Graph, Node, Rebuild, ValueId, ValueMap};

/// The graph with the BatchNormalization nodes whose index `chosen` affirms drawn into the Conv whose result they alone
/// use, and what has become of the values.
///
/// With r = 1 / √(variance + ε) and s = scale r,
///
/// ```text
/// s (W * x + b - mean) + bias  =  (s W) * x + (s (b - mean) + bias)
/// ```
///
/// so that one convolution with a computed weight takes the place of both. Its gradient by weight, scale and bias follows
/// from that of the computed weight, which is small: of the image-sized tensors one need not be kept and two need not be
/// gone over again. Scale's gradient is the same sum, in another order: Σ g x̂ = Σ (∂s W · W) r - Σ g mean r.
///
/// # Errors
/// As [`Graph::rebuild`].
pub(crate) fn drawn_into_convolutions(
    graph: &Graph,
    chosen: &dyn Fn(usize) -> bool,
) -> Result<(Graph, ValueMap)> {
    let mut uses = vec![0usize; graph.len()];
    for id in graph.nodes().iter().flat_map(|node| node.inputs.iter().flatten()).chain(graph.outputs()) {
        uses[id.index()] += 1;
    }
    // For each normalisation, the convolution before it; and which convolutions those are.
    let mut before = vec![None; graph.nodes().len()];
    let mut drawn = vec![false; graph.nodes().len()];
    for (index, node) in graph.nodes().iter().enumerate() {
        if let Some(conv) = convolution_before(graph, node, &uses).filter(|_| chosen(index)) {
            before[index] = Some(conv);
            drawn[conv] = true;
        }
    }
    graph.rebuild(|rebuild, index, node| {
        if drawn[index] {
            return Ok(vec![None; node.outputs.len()]);
        }
        match before[index] {
            Some(conv) => joined(rebuild, &graph.nodes()[conv], node, graph),
            None => rebuild.keep(node),
        }
    })
}

/// The index of the Conv that makes what `node`, a BatchNormalization in inference form, alone uses.
fn convolution_before(graph: &Graph, node: &Node, uses: &[usize]) -> Option<usize> {
    let inference = node.is("BatchNormalization")
        && node.int_or("training_mode", 0) == 0
        && node.outputs.iter().skip(1).all(Option::is_none);
    let x = node.input(0).filter(|id| inference && uses[id.index()] == 1)?;
    let (index, conv) = graph.producer(x)?;
    conv.is("Conv").then_some(index)
}

fn joined(rebuild: &mut Rebuild<'_>, conv: &Node, norm: &Node, old: &Graph) -> Result<Vec<Option<ValueId>>> {
    let mut made = Node { inputs: rebuild.inputs(conv)?, outputs: Vec::new(), ..conv.clone() };
    let mut input = |index: usize| norm.needed(index).and_then(|id| rebuild.value(id));
    let (scale, bias, mean, variance) = (input(1)?, input(2)?, input(3)?, input(4)?);
    let graph = &mut rebuild.new;
    let weight = made.needed(1)?;
    let shifted = graph.shifted(variance, f64::from(norm.float_or("epsilon", 1e-5)))?;
    let root = graph.unary("Sqrt", shifted)?;
    let inverse = graph.unary("Reciprocal", root)?;
    let factor = graph.times(scale, inverse)?;
    let mut wide = vec![1; graph.shape(weight).len()];
    wide[0] = graph.shape(weight)[0];
    let wide = graph.reshape(factor, &wide)?;
    let weight = graph.times(weight, wide)?;
    let centre = match made.input(2) {
        Some(own) => graph.minus(own, mean)?,
        None => graph.unary("Neg", mean)?,
    };
    let shift = graph.times(centre, factor)?;
    let shift = graph.plus(shift, bias)?;
    made.inputs.truncate(1);
    made.inputs.extend([Some(weight), Some(shift)]);
    let output = norm.output(0).ok_or_else(|| Error::internal("a normalisation without output"))?;
    graph.add(made, &[Some(old.name(output))])
}
