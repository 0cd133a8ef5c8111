//! Images with their channels in blocks (NCHWc), as ONNX Runtime's CPU provider lays them out for convolutions.
//!
//! What follows a convolution stays in that layout as far as its kernels know it; in front of others the image is put in
//! order, and both lie in memory for a moment. The last block of channels is filled up.

use crate::onnx::ElementType;
use crate::onnx::graph::{Graph, Node, Origin, ValueId};

/// Channels of a block where the processor has the widest vectors; others have smaller ones, and need less.
const BLOCK: usize = 16;

/// Convolutions of blocks make so many multiplications in the time of one of the others. Measured with one thread on 14 networks
/// of two to six convolutions of 3 x 3 with 1 to 36 channels: the four that blocks filled up 2.5 times and more took 10 to 32 %
/// less without them, the others 1.02 to 2.1 times as long.
const FASTER: f64 = 2.5;

/// How images lie in memory while a graph runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As they are written down.
    Plain,
    /// With their channels in blocks where the CPU provider prefers that.
    Blocked,
}

impl Layout {
    /// The one in which a graph runs faster on the CPU: blocks, unless its convolutions have so few channels that most of
    /// each block would be filling. A network of 8 channels then needs half of the memory, too.
    pub(crate) fn faster(graph: &Graph) -> Layout {
        let (mut own, mut filled) = (0.0, 0.0);
        for node in graph.nodes() {
            let (plain, blocked) = multiplications(graph, node);
            own += plain;
            filled += blocked;
        }
        if filled >= FASTER * own && own > 0.0 { Layout::Plain } else { Layout::Blocked }
    }
}

/// Multiplications of a convolution, and those with its channels in blocks; none of other nodes.
fn multiplications(graph: &Graph, node: &Node) -> (f64, f64) {
    let (Some(w), Some(y)) = (node.input(1), node.output(0)) else { return (0.0, 0.0) };
    let (&[filters, channels, ..], [images, _, pixels @ ..]) = (graph.shape(w), graph.shape(y)) else {
        return (0.0, 0.0);
    };
    if !node.is("Conv") {
        return (0.0, 0.0);
    }
    // In floating point: no size of a model makes it overflow.
    let each: f64 =
        pixels.iter().chain(&graph.shape(w)[2..]).chain([images]).map(|size| *size as f64).product();
    let (takes, makes) = convolution(graph, node);
    let up = |count: usize, blocks: bool| if blocks { count.next_multiple_of(BLOCK) } else { count };
    // One channel a group needs no filling.
    let blocked = up(filters, makes) as f64 * up(channels, takes && channels > 1) as f64;
    (each * filters as f64 * channels as f64, each * blocked)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::graph::{Constant, ValueType};
    use crate::onnx::proto::AttributeProto;

    /// Convolutions of 3 x 3, one after another, on an image of 3 channels; those of a negative number are depthwise.
    fn network(widths: &[i64]) -> Graph {
        let mut graph = Graph::default();
        let mut x = graph.add_input("x", ValueType::new(ElementType::Float32, [1, 3, 12, 12]));
        let mut channels = 3;
        for width in widths {
            let filters = width.unsigned_abs() as usize;
            let (taken, groups) = if *width < 0 { (1, filters) } else { (channels, 1) };
            let kind = ValueType::new(ElementType::Float32, [filters, taken, 3, 3]);
            let zeros = Constant::from_f64(kind, &vec![0.0; filters * taken * 9]).unwrap();
            let w = graph.add_parameter("w", zeros);
            let settings =
                [AttributeProto::int("group", groups as i64), AttributeProto::ints("pads", &[1; 4])];
            x = graph.op("Conv", &[x, w], &settings).unwrap();
            channels = filters;
        }
        graph
    }

    #[test]
    fn narrow_networks_are_faster_without_blocks() {
        // Times of ONNX Runtime 1.31 on 512 x 512, one thread, plain over blocked: 0.90, 0.79, 0.87, 0.68.
        for widths in [&[8, 5][..], &[20, 20, 20, 5], &[20, 36, 5], &[8, 1]] {
            assert_eq!(Layout::faster(&network(widths)), Layout::Plain, "{widths:?}");
        }
        // 1.32, 1.07, 1.11, 1.02, 1.87, 1.73.
        for widths in [
            &[16, 5][..],
            &[8, 8, 8, 8, 5],
            &[12, 12, 5],
            &[24, 24, 24, 5],
            &[16, 16, 16, 5],
            &[8, 16, 32, 16, 8, 5],
        ] {
            assert_eq!(Layout::faster(&network(widths)), Layout::Blocked, "{widths:?}");
        }
        // A channel a group is not filled up, and what has no convolution is left as it is.
        assert_eq!(Layout::faster(&network(&[32, -32, 32])), Layout::Blocked);
        assert_eq!(Layout::faster(&Graph::default()), Layout::Blocked);
    }
}
