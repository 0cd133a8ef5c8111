//! 1 × 1 convolutions before an enlargement instead of behind it.

use crate::autodiff::emit::Emit;
use crate::error::{Error, Result};
use crate::onnx::graph::{Graph, Node, Rebuild, ValueId, ValueMap};
use crate::onnx::proto::AttributeProto;
use crate::onnx::resolved::{Convolution, Resize};

/// The graph with pointwise convolutions of enlarged images done on the small images, and what has become of the values.
///
/// A convolution of kernel 1 mixes channels, a Resize elements of one channel, both linearly: they commute. So a Conv of
/// a Concat of channels, some of which are enlarged,
///
/// ```text
/// W * [x, up(y), up(z)] + b  =  (W₁ * x + b) + up(W₂ * y) + up(W₃ * z)
/// ```
///
/// costs a fraction where the images are much smaller, forwards and backwards, and the Concat is never made: the head of
/// SegFormer.
///
/// # Errors
/// As [`Graph::rebuild`].
pub(crate) fn before_enlargements(graph: &Graph) -> Result<(Graph, ValueMap)> {
    let mut uses = vec![0usize; graph.len()];
    for id in graph.nodes().iter().flat_map(|node| node.inputs.iter().flatten()).chain(graph.outputs()) {
        uses[id.index()] += 1;
    }
    let mut mixtures: Vec<Option<Mixture>> = Vec::with_capacity(graph.nodes().len());
    let mut absorbed = vec![false; graph.nodes().len()];
    for node in graph.nodes() {
        let mixture = Mixture::of(graph, node, &uses);
        for index in mixture.iter().flat_map(|own| own.absorbed.iter()) {
            absorbed[*index] = true;
        }
        mixtures.push(mixture);
    }
    graph.rebuild(|rebuild, index, node| match &mixtures[index] {
        _ if absorbed[index] => Ok(vec![None; node.outputs.len()]),
        Some(mixture) => mixture.add(rebuild, node, graph),
        None => rebuild.keep(node),
    })
}

/// The parts that a pointwise convolution mixes.
struct Mixture {
    /// Values of the old graph, with the Resize that each goes through, and its channels.
    parts: Vec<(ValueId, Option<Node>, usize)>,
    /// The nodes that are gone: Concat and Resizes.
    absorbed: Vec<usize>,
}

impl Mixture {
    fn of(graph: &Graph, node: &Node, uses: &[usize]) -> Option<Mixture> {
        if !node.is("Conv") {
            return None;
        }
        let conv = Convolution::of(graph, node).ok()?;
        let windows = &conv.windows;
        let pointwise = windows.kernel.iter().chain(&windows.strides).all(|&size| size == 1)
            && windows.begin.iter().chain(&windows.end).all(|&pad| pad == 0)
            && conv.group == 1;
        let x = node.input(0).filter(|_| pointwise)?;
        let mut absorbed = Vec::new();
        let values = match graph.producer(x) {
            Some((index, concat))
                if concat.is("Concat") && uses[x.index()] == 1 && channels_joined(graph, concat) =>
            {
                absorbed.push(index);
                concat.inputs.iter().copied().collect::<Option<Vec<ValueId>>>()?
            }
            _ => vec![x],
        };
        let mut parts = Vec::with_capacity(values.len());
        for value in values {
            let channels = *graph.shape(value).get(1)?;
            let enlarged = enlargement(graph, value, uses, conv.filters);
            parts.push(match enlarged {
                Some((index, resize)) => {
                    absorbed.push(index);
                    (resize.input(0)?, Some(resize.clone()), channels)
                }
                None => (value, None, channels),
            });
        }
        parts.iter().any(|(_, resize, _)| resize.is_some()).then_some(Mixture { parts, absorbed })
    }

    fn add(&self, rebuild: &mut Rebuild<'_>, conv: &Node, old: &Graph) -> Result<Vec<Option<ValueId>>> {
        let weight = rebuild.value(conv.needed(1)?)?;
        let bias = conv.input(2).map(|id| rebuild.value(id)).transpose()?;
        let values = self.parts.iter().map(|(id, ..)| rebuild.value(*id)).collect::<Result<Vec<_>>>()?;
        let graph = &mut rebuild.new;
        let weights = self.weights(graph, weight)?;
        let convolved = |graph: &mut Graph, x: ValueId, w: ValueId, bias: Option<ValueId>| {
            let mut inputs = vec![Some(x), Some(w)];
            inputs.extend(bias.map(Some));
            graph.add_one(Node { inputs, outputs: Vec::new(), ..conv.clone() })
        };
        let plain = |index: &usize| self.parts[*index].1.is_none();
        let (plain, enlarged): (Vec<usize>, Vec<usize>) = (0..self.parts.len()).partition(plain);
        let mut sum = None;
        if !plain.is_empty() {
            let of = |all: &[ValueId]| plain.iter().map(|&index| all[index]).collect::<Vec<_>>();
            let x = graph.concat(&of(&values), 1)?;
            let w = graph.concat(&of(&weights), 1)?;
            sum = Some(convolved(graph, x, w, bias)?);
        }
        for index in enlarged {
            let Some(resize) = &self.parts[index].1 else { continue };
            let small = convolved(graph, values[index], weights[index], None)?;
            let large = resized(graph, old, resize, small)?;
            sum = Some(match sum {
                Some(sum) => graph.plus(sum, large)?,
                None => large,
            });
        }
        let mut sum = sum.ok_or_else(|| Error::internal("a mixture of nothing"))?;
        if let Some(bias) = bias.filter(|_| plain.is_empty()) {
            let mut shape = vec![1; graph.shape(sum).len()];
            shape[1] = graph.shape(bias).iter().product();
            let bias = graph.reshape(bias, &shape)?;
            sum = graph.plus(sum, bias)?;
        }
        if let Some(output) = conv.output(0) {
            graph.rename(sum, old.name(output));
        }
        Ok(vec![Some(sum)])
    }

    /// The weight's part for each of the parts.
    fn weights(&self, graph: &mut Graph, weight: ValueId) -> Result<Vec<ValueId>> {
        if self.parts.len() == 1 {
            return Ok(vec![weight]);
        }
        let sizes: Vec<i64> = self.parts.iter().map(|(_, _, channels)| *channels as i64).collect();
        let sizes = graph.ints(&sizes)?;
        let mut split = Node::new("Split");
        split.inputs = vec![Some(weight), Some(sizes)];
        split.set(AttributeProto::int("axis", 1));
        let made = graph.add(split, &vec![Some(""); self.parts.len()])?;
        made.into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::internal("a part of a Split is lost"))
    }
}

/// Whether a Concat joins channels.
fn channels_joined(graph: &Graph, concat: &Node) -> bool {
    let rank = concat.input(0).map_or(0, |id| graph.shape(id).len()) as i64;
    let axis = concat.int_or("axis", 0);
    axis == 1 || axis == 1 - rank
}

/// The Resize that makes `value`, which nothing else uses, where it enlarges every channel by itself and `filters`
/// products a pixel are better done before.
fn enlargement<'a>(
    graph: &'a Graph,
    value: ValueId,
    uses: &[usize],
    filters: usize,
) -> Option<(usize, &'a Node)> {
    let (index, node) = graph.producer(value)?;
    if !node.is("Resize") || uses[value.index()] != 1 {
        return None;
    }
    let resize = Resize::of(graph, node).ok()?;
    let (kept, spatial) = resize.axes.split_at_checked(2)?;
    if !kept.iter().all(|axis| axis.is_kept()) || node.attribute("keep_aspect_ratio_policy").is_some() {
        return None;
    }
    // What lies outside of a region is no linear function of the image; and such lists have an entry a channel axis.
    if node.text_or("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize" {
        return None;
    }
    let (small, large): (usize, usize) =
        (spatial.iter().map(|axis| axis.input).product(), spatial.iter().map(|axis| axis.output).product());
    // In products a pixel of the large image: another sum over it takes the time of some 32, and enlarging a channel that
    // of some 16.
    let channels = kept[1].input as f64;
    let saved = channels * filters as f64 * (1.0 - small as f64 / large.max(1) as f64);
    let spent = 32.0 * filters as f64 + 16.0 * (filters as f64 - channels);
    (saved > spent).then_some((index, node))
}

/// The Resize for an image of other channels.
fn resized(graph: &mut Graph, old: &Graph, resize: &Node, x: ValueId) -> Result<ValueId> {
    let mut node = Node { inputs: vec![Some(x)], outputs: Vec::new(), ..resize.clone() };
    let Resize { axes, .. } = Resize::of(old, resize)?;
    // By the numbers that the other one was resolved to.
    let of = |own: &Node, index: usize| own.input(index).and_then(|id| old.known(id).cloned());
    let scales = of(resize, 2).filter(|scales| scales.kind().elements() > 0);
    node.inputs.extend([None, None, None]);
    if let Some(scales) = scales {
        node.inputs[2] = Some(graph.add_constant("scales", scales));
        node.inputs.truncate(3);
    } else {
        let mut sizes: Vec<i64> = axes.iter().map(|axis| axis.output as i64).collect();
        node.unset("axes");
        for (size, own) in sizes.iter_mut().zip(graph.shape(x)).take(2) {
            *size = *own as i64;
        }
        node.inputs[3] = Some(graph.ints(&sizes)?);
    }
    graph.add_one(node)
}
