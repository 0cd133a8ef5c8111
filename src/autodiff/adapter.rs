//! Low-rank adapters: beside a frozen weight W a trained product of two thin matrices (LoRA, arXiv 2106.09685).
//!
//! With W as the file has it, a matrix `[P, Q]`, the layer computes with `W + s L R`, `L` `[P, r]`, `R` `[r, Q]` and
//! `s = alpha / r`. The product is never formed: `x W + (s x L) R` takes two thin products, and so do the gradients of L
//! and R. Of the two factors the one that meets the layer's input is called `lora_A`, the other `lora_B`; both have the
//! layout of the weight (for weights in PyTorch's layout `[out, in]` they are PEFT's `lora_A` `[r, in]` and `lora_B`
//! `[out, r]`). A begins with Kaiming's uniform distribution (a = √5, so within ±1/√in), B with zeros: the first forward
//! pass is that of the model without adapters.
//!
//! | layer | W | how |
//! |---|---|---|
//! | `MatMul(x, W)` | `[in, out]` | `y + MatMul(s MatMul(x, L), R)` |
//! | `MatMul(W, x)` | `[out, in]` | `y + MatMul(L, s MatMul(R, x))` |
//! | either with `Transpose(W)` | | the factors change places and are transposed too |
//! | `Gemm` | by `transA` and `transB` | `Gemm(Gemm(x, A), B, y)`, transposed as W is, with α s as α |
//! | `Conv`, 1 x 1, one group | `[out, in, 1, 1]` | `y + Conv(s Conv(x, R), L)`, strides and pads at the first |
//!
//! A weight that several layers share has one adapter, which all of them use. A weight that is used in any other way, too
//! (an embedding that is also the last layer), has none: merging would change that use.

use std::collections::HashMap;

use crate::autodiff::decompose::decompose;
use crate::autodiff::emit::Emit;
use crate::autodiff::parameter::{Parameter, Role};
use crate::autodiff::selection::Lora;
use crate::error::{Error, Result};
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, Node, Origin, ValueId, ValueMap};
use crate::onnx::proto::AttributeProto;
use crate::random::SplitMix64;

/// An adapter of a weight.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    /// The adapted initializer.
    pub(crate) weight: String,
    /// Its elements in the file.
    pub(crate) base: Constant,
    /// Name of L, `[P, r]`.
    pub(crate) left: String,
    /// Name of R, `[r, Q]`.
    pub(crate) right: String,
    /// What the product is multiplied with.
    pub(crate) scale: f32,
}

/// A use of a weight by a linear layer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Use {
    /// The layer.
    node: usize,
    /// Which of its inputs the weight is.
    slot: usize,
    /// Whether the layer takes the weight transposed.
    is_turned: bool,
}

impl Use {
    /// Whether L meets the layer's input: with x W and with Wᵀ x.
    fn left_first(self) -> bool {
        (self.slot == 1) != self.is_turned
    }
}

/// The graph with products of weights that are written as `Einsum` as plain ones, so that they can have adapters.
///
/// # Errors
/// As [`decompose`].
pub(crate) fn with_plain_layers(graph: &Graph) -> Result<Graph> {
    let is_layer = |index: usize| {
        let node = &graph.nodes()[index];
        let mut inputs = node.inputs.iter().flatten();
        node.is("Einsum") && inputs.any(|id| matches!(graph.value(*id).origin(), Origin::Parameter(_)))
    };
    Ok(decompose(graph, &is_layer)?.0)
}

/// Which of the values are weights that can take an adapter.
pub(crate) fn adaptable(graph: &Graph, ids: &[ValueId]) -> Vec<bool> {
    let users = users(graph);
    let of_input = graph.depends_on(graph.inputs());
    ids.iter().map(|&id| layers(graph, &users, &of_input, id).is_some()).collect()
}

/// The nodes that use each value, with the input at which they do.
fn users(graph: &Graph) -> Vec<Vec<(usize, usize)>> {
    let mut users = vec![Vec::new(); graph.len()];
    for index in graph.needed_for(graph.outputs()) {
        for (slot, id) in graph.nodes()[index].inputs.iter().enumerate() {
            if let Some(id) = id {
                users[id.index()].push((index, slot));
            }
        }
    }
    users
}

/// The layers that use a weight; `None` unless all that use it are linear layers.
fn layers(graph: &Graph, users: &[Vec<(usize, usize)>], of_input: &[bool], id: ValueId) -> Option<Vec<Use>> {
    let shape = graph.shape(id);
    if shape.len() < 2 || shape[..2].contains(&0) || shape[2..].iter().any(|&size| size != 1) {
        return None;
    }
    let mut found = Vec::new();
    let mut stack = vec![(id, false)];
    while let Some((at, is_turned)) = stack.pop() {
        if graph.outputs().contains(&at) {
            return None;
        }
        for &(index, slot) in &users[at.index()] {
            let node = &graph.nodes()[index];
            if node.is("Transpose") && shape.len() == 2 {
                let turns = node.ints("perm").is_none_or(|order| order == [1, 0]);
                stack.push((node.output(0)?, is_turned != turns));
                continue;
            }
            found.push(layer(graph, of_input, index, slot, is_turned)?);
        }
    }
    found.sort_by_key(|own| (own.node, own.slot));
    (!found.is_empty()).then_some(found)
}

/// The use of a weight as input `slot` of a node, where that is a linear layer.
fn layer(graph: &Graph, of_input: &[bool], index: usize, slot: usize, is_turned: bool) -> Option<Use> {
    let node = &graph.nodes()[index];
    let weight = node.input(slot)?;
    // The other operand comes from the image: a product of two weights has no such form.
    let other = node.input(1 - slot.min(1))?;
    if slot > 1 || !of_input[other.index()] || !is_float32(graph, other) {
        return None;
    }
    let is_matrix = graph.shape(weight).len() == 2;
    match node.op_type.as_str() {
        "MatMul" if is_matrix => Some(Use { node: index, slot, is_turned }),
        "Gemm" if is_matrix => {
            let turns = node.int_or(TURNS[slot], 0) != 0;
            Some(Use { node: index, slot, is_turned: is_turned != turns })
        }
        "Conv" if slot == 1 && graph.shape(weight).len() > 2 && node.int_or("group", 1) == 1 => {
            // [out, in], as an operand on the left.
            Some(Use { node: index, slot: 0, is_turned: false })
        }
        _ => None,
    }
}

/// Attributes of Gemm by which its operands are transposed.
const TURNS: [&str; 2] = ["transA", "transB"];

fn is_float32(graph: &Graph, id: ValueId) -> bool {
    graph.kind(id).element == ElementType::Float32
}

/// A graph with adapters.
#[derive(Debug)]
pub(crate) struct Adapted {
    /// The graph.
    pub(crate) graph: Graph,
    /// Which of its values stand for those of the old graph.
    pub(crate) map: ValueMap,
    /// The adapters.
    pub(crate) adapters: Vec<Adapter>,
    /// Their factors, two each, A before B.
    pub(crate) factors: Vec<Parameter>,
}

/// Puts an adapter beside each of `weights`, which [`adaptable`] has affirmed.
///
/// # Errors
/// `Internal` for any other; whatever [`Graph::rebuild`] gives.
pub(crate) fn adapt(graph: &Graph, weights: &[&Parameter], lora: Lora, seed: u64) -> Result<Adapted> {
    let users = users(graph);
    let of_input = graph.depends_on(graph.inputs());
    let mut by_node: HashMap<usize, (usize, Use)> = HashMap::new();
    let mut plans = Vec::with_capacity(weights.len());
    for (index, own) in weights.iter().enumerate() {
        let uses = layers(graph, &users, &of_input, own.id)
            .ok_or_else(|| Error::internal(format!("{:?} can have no adapter", own.name)))?;
        plans.push(Plan::of(graph, own, uses[0], lora, seed)?);
        for own in uses {
            by_node.insert(own.node, (index, own));
        }
    }
    let mut placed: Vec<Option<Factors>> = vec![None; plans.len()];
    let (graph, map) = graph.rebuild(|rebuild, index, node| {
        let made = rebuild.keep(node)?;
        // A layer has one weight: its other operand comes from the image.
        let Some(&(plan, layer)) = by_node.get(&index) else { return Ok(made) };
        let factors = *placed[plan].get_or_insert_with(|| plans[plan].place(&mut rebuild.new));
        let y = made.first().copied().flatten().ok_or_else(|| Error::internal("a layer without output"))?;
        let inputs = rebuild.inputs(node)?;
        let slot = if node.is("Conv") { 0 } else { 1 - layer.slot };
        let x = inputs.get(slot).copied().flatten();
        let x = x.ok_or_else(|| Error::internal("a layer without operand"))?;
        let path = Path { node, layer, factors, scale: plans[plan].scale };
        Ok(vec![Some(path.emit(&mut rebuild.new, x, y)?)])
    })?;
    let (mut adapters, mut factors) = (Vec::new(), Vec::new());
    for ((plan, placed), own) in plans.into_iter().zip(placed).zip(weights) {
        let placed = placed.ok_or_else(|| Error::internal("an adapter of a weight that nothing uses"))?;
        let (a, b) = if plan.left_first { (placed.left, placed.right) } else { (placed.right, placed.left) };
        for (id, suffix) in [(a, "lora_A"), (b, "lora_B")] {
            factors.push(Parameter {
                id,
                name: graph.name(id).to_owned(),
                alias: format!("{}.{suffix}", own.alias),
                role: Role::Adapter,
                shape: graph.shape(id).to_vec(),
                node: own.node,
            });
        }
        adapters.push(Adapter {
            weight: own.name.clone(),
            base: plan.base,
            left: graph.name(placed.left).to_owned(),
            right: graph.name(placed.right).to_owned(),
            scale: plan.scale,
        });
    }
    Ok(Adapted { graph, map, adapters, factors })
}

/// L and R in the new graph.
#[derive(Debug, Clone, Copy)]
struct Factors {
    left: ValueId,
    right: ValueId,
}

/// An adapter that is to be placed.
struct Plan {
    name: String,
    base: Constant,
    left: Constant,
    right: Constant,
    /// Whether L is A.
    left_first: bool,
    scale: f32,
}

impl Plan {
    fn of(graph: &Graph, own: &Parameter, first: Use, lora: Lora, seed: u64) -> Result<Plan> {
        let base = graph.known(own.id).cloned();
        let base = base.ok_or_else(|| Error::internal(format!("{:?} has no elements", own.name)))?;
        let (rank, rest) = (lora.rank, &own.shape[2..]);
        let shapes = [[&[own.shape[0], rank], rest].concat(), [&[rank, own.shape[1]], rest].concat()];
        let left_first = first.left_first();
        let fan_in = if left_first { own.shape[0] } else { own.shape[1] };
        let mut values = shapes.each_ref().map(|shape| vec![0.0; shape.iter().product()]);
        fill(&mut values[usize::from(!left_first)], fan_in, &own.name, seed);
        let [left, right] = [0, 1].map(|side| Constant::from_f32(shapes[side].as_slice(), &values[side]));
        let scale = lora.alpha / rank as f32;
        Ok(Plan { name: own.name.clone(), base, left: left?, right: right?, left_first, scale })
    }

    fn place(&self, graph: &mut Graph) -> Factors {
        let suffix = |is_a: bool| format!("{}.lora_{}", self.name, if is_a { 'A' } else { 'B' });
        Factors {
            left: graph.add_parameter(&suffix(self.left_first), self.left.clone()),
            right: graph.add_parameter(&suffix(!self.left_first), self.right.clone()),
        }
    }
}

/// Uniform within ±1/√`fan_in`, row by row, from a generator of the tensor's own: SplitMix64, begun at the seed with the
/// name's FNV-1a, of whose numbers the upper 24 bits count.
fn fill(values: &mut [f32], fan_in: usize, name: &str, seed: u64) {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut numbers = SplitMix64::new(seed ^ hash);
    let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
    for value in values {
        *value = ((numbers.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * bound;
    }
}

/// The way past a layer.
struct Path<'a> {
    node: &'a Node,
    layer: Use,
    factors: Factors,
    scale: f32,
}

impl Path<'_> {
    /// The layer's result `y` and what the adapter adds to it for the operand `x`.
    fn emit(&self, graph: &mut Graph, x: ValueId, y: ValueId) -> Result<ValueId> {
        let Factors { left, right } = self.factors;
        let (first, second) = if self.layer.left_first() { (left, right) } else { (right, left) };
        match self.node.op_type.as_str() {
            "Conv" => self.conv(graph, x, y, first, second),
            "Gemm" => self.gemm(graph, x, y, first, second),
            _ => self.matmul(graph, x, y, first, second),
        }
    }

    fn matmul(
        &self,
        graph: &mut Graph,
        x: ValueId,
        y: ValueId,
        first: ValueId,
        second: ValueId,
    ) -> Result<ValueId> {
        let turned = |graph: &mut Graph, factor: ValueId| match self.layer.is_turned {
            true => graph.transpose(factor, &[1, 0]),
            false => Ok(factor),
        };
        let (first, second) = (turned(graph, first)?, turned(graph, second)?);
        let product = |graph: &mut Graph, x: ValueId, factor: ValueId| match self.layer.slot {
            0 => graph.matmul(factor, x),
            _ => graph.matmul(x, factor),
        };
        let thin = product(graph, x, first)?;
        let thin = graph.scaled(thin, f64::from(self.scale))?;
        let added = product(graph, thin, second)?;
        graph.plus(y, added)
    }

    /// The operand's own transposition is that of the first product; the factors are transposed in both.
    fn gemm(
        &self,
        graph: &mut Graph,
        x: ValueId,
        y: ValueId,
        first: ValueId,
        second: ValueId,
    ) -> Result<ValueId> {
        let (own, other) = (TURNS[self.layer.slot], TURNS[1 - self.layer.slot]);
        let turned = AttributeProto::int(own, i64::from(self.layer.is_turned));
        let alpha = AttributeProto::float("alpha", self.node.float_or("alpha", 1.0) * self.scale);
        let ordered = |factor: ValueId, x: ValueId| match self.layer.slot {
            0 => [factor, x],
            _ => [x, factor],
        };
        let operand = AttributeProto::int(other, self.node.int_or(other, 0));
        let thin = graph.op("Gemm", &ordered(first, x), &[turned.clone(), operand])?;
        let [a, b] = ordered(second, thin);
        graph.op("Gemm", &[a, b, y], &[turned, alpha])
    }

    fn conv(
        &self,
        graph: &mut Graph,
        x: ValueId,
        y: ValueId,
        first: ValueId,
        second: ValueId,
    ) -> Result<ValueId> {
        let thin = graph.op("Conv", &[x, first], &self.node.attributes)?;
        let thin = graph.scaled(thin, f64::from(self.scale))?;
        let added = graph.op("Conv", &[thin, second], &[])?;
        graph.plus(y, added)
    }
}
