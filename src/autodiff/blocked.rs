//! Images with their channels in blocks (NCHWc), as ONNX Runtime's CPU provider lays them out for convolutions.
//!
//! What follows a convolution stays in that layout as far as its kernels know it; in front of others the image is put in
//! order, and both lie in memory for a moment. The last block of channels is filled up.

use crate::onnx::ElementType;
use crate::onnx::graph::{Graph, Node, Origin, ValueId};

/// Channels of a block where the processor has the widest vectors; others have smaller ones, and need less.
const BLOCK: usize = 16;

/// Which nodes of a graph work on blocks.
pub(super) struct Blocked {
    /// By node: whether it takes images in blocks.
    takes: Vec<bool>,
    /// By node: whether it makes them.
    makes: Vec<bool>,
}

impl Blocked {
    /// No node does.
    pub(super) fn none(graph: &Graph) -> Blocked {
        Blocked { takes: vec![false; graph.nodes().len()], makes: vec![false; graph.nodes().len()] }
    }

    /// As the CPU provider chooses.
    pub(super) fn of(graph: &Graph) -> Blocked {
        let mut all = Blocked::none(graph);
        let mut lies_so = vec![false; graph.len()];
        for (index, node) in graph.nodes().iter().enumerate() {
            let (takes, makes) = work(graph, node, &lies_so);
            (all.takes[index], all.makes[index]) = (takes, makes);
            for id in node.outputs.iter().flatten().filter(|_| makes) {
                lies_so[id.index()] = true;
            }
        }
        all
    }

    pub(super) fn takes(&self, node: usize) -> bool {
        self.takes[node]
    }

    pub(super) fn makes(&self, node: usize) -> bool {
        self.makes[node]
    }
}

/// Whether it is an image that nodes of a graph make or get.
pub(super) fn is_image(graph: &Graph, id: ValueId) -> bool {
    let value = graph.value(id);
    let is_given = matches!(value.origin(), Origin::Node { .. } | Origin::Input);
    is_given && value.kind().shape.len() == 4 && value.kind().element == ElementType::Float32
}

/// Bytes of an image in blocks.
pub(super) fn bytes(graph: &Graph, id: ValueId) -> u64 {
    let kind = graph.kind(id);
    match kind.shape.get(1) {
        Some(&channels) if channels > 0 && kind.shape.len() == 4 => {
            kind.bytes() / channels as u64 * channels.next_multiple_of(BLOCK) as u64
        }
        _ => kind.bytes(),
    }
}

/// Whether a node takes images in blocks, and whether it makes them.
fn work(graph: &Graph, node: &Node, lies_so: &[bool]) -> (bool, bool) {
    let images: Vec<ValueId> =
        node.inputs.iter().flatten().copied().filter(|id| is_image(graph, *id)).collect();
    let all_lie_so = !images.is_empty() && images.iter().all(|id| lies_so[id.index()]);
    let follows = match node.op_type.as_str() {
        "Conv" => return convolution(graph, node),
        "MaxPool" | "AveragePool" | "GlobalMaxPool" | "GlobalAveragePool" | "BatchNormalization" => true,
        "Relu" | "LeakyRelu" | "Sigmoid" | "Tanh" | "HardSigmoid" | "Clip" => true,
        "Add" | "Sum" | "Mul" => {
            // Not where one is stretched over the other, or is no image at all.
            let shapes = node.inputs.iter().flatten().map(|id| graph.shape(*id));
            images.len() == node.inputs.len()
                && shapes.collect::<Vec<_>>().windows(2).all(|two| two[0] == two[1])
        }
        "Concat" => {
            node.int("axis") == Some(1) && images.iter().all(|id| graph.shape(*id)[1].is_multiple_of(BLOCK))
        }
        "Resize" => matches!(node.text_or("mode", "nearest"), "nearest" | "linear"),
        _ => false,
    };
    (follows && all_lie_so, follows && all_lie_so)
}

/// Few channels are taken as they lie; groups of uneven sizes have no kernel.
fn convolution(graph: &Graph, node: &Node) -> (bool, bool) {
    let (Some(x), Some(w)) = (node.input(0), node.input(1)) else { return (false, false) };
    let groups = usize::try_from(node.int_or("group", 1)).unwrap_or(1).max(1);
    let &[filters, channels, _, _] = graph.shape(w) else { return (false, false) };
    if !is_image(graph, x) || graph.known(w).is_none() {
        return (false, false);
    }
    match groups {
        1 => (channels >= BLOCK, true),
        _ => {
            let depthwise = channels == 1 && filters == groups && filters.is_multiple_of(4);
            let even = channels.is_multiple_of(BLOCK) && (filters / groups).is_multiple_of(BLOCK);
            (depthwise || even, depthwise || even)
        }
    }
}
