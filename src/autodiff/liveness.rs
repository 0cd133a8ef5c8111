//! How much memory the values of a graph take while it runs.

use crate::autodiff::blocked::{self, Blocked, Layout};
use crate::onnx::graph::{Graph, Node, Origin, ValueId};

/// Memory of the values that nodes make, of a run in the order that ONNX Runtime chooses.
///
/// What runtimes do alike is counted with: a value is given back after its last use, operators that only see their input
/// in another shape take none, and elementwise operators write over an input that nothing uses any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Liveness {
    /// Most bytes alive at a time.
    pub(crate) peak: u64,
    /// Bytes of the values made before `border` and used behind it.
    pub(crate) across: u64,
}

/// Operators that give their first input on as it lies in memory.
fn is_view(node: &Node) -> bool {
    matches!(node.op_type.as_str(), "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Identity")
}

/// Operators that may write their output over an input of the same bytes.
fn is_in_place(node: &Node) -> bool {
    matches!(
        node.op_type.as_str(),
        "Abs"
            | "Add"
            | "Ceil"
            | "Clip"
            | "Cos"
            | "Div"
            | "Elu"
            | "Erf"
            | "Exp"
            | "Floor"
            | "HardSigmoid"
            | "LeakyRelu"
            | "Log"
            | "Mul"
            | "Neg"
            | "Pow"
            | "Reciprocal"
            | "Relu"
            | "Sigmoid"
            | "Sin"
            | "Softplus"
            | "Sqrt"
            | "Sub"
            | "Tanh"
    )
}

/// Bytes that an operator needs beside its output while it runs: the columns of a transposed convolution, which
/// holds those of one image and group; the gradient of a convolution's input is computed by one.
fn workspace(graph: &Graph, node: &Node) -> u64 {
    let (Some(x), Some(w)) = (node.input(0), node.input(1)) else { return 0 };
    let (x, w) = (graph.shape(x), graph.shape(w));
    if !node.is("ConvTranspose") || x.len() < 3 || w.len() != x.len() {
        return 0;
    }
    let kernel: usize = w[1..].iter().product();
    let pixels: usize = x[2..].iter().product();
    4 * kernel as u64 * pixels as u64
}

/// The order in which ONNX Runtime takes the nodes of a graph as it is written: from the last node that nothing uses, depth
/// first, the later of its inputs first; then from the one before.
fn run_order(graph: &Graph, ends: &[ValueId]) -> Vec<usize> {
    let written = graph.written_order(ends);
    let mut rank = vec![usize::MAX; graph.nodes().len()];
    for (position, &index) in written.iter().enumerate() {
        rank[index] = position;
    }
    let makers = |index: usize| {
        let inputs = graph.nodes()[index].inputs.iter().flatten();
        inputs.filter_map(|&id| graph.producer(id).map(|(maker, _)| maker))
    };
    let mut is_used = vec![false; rank.len()];
    for &index in &written {
        makers(index).for_each(|maker| is_used[maker] = true);
    }
    let mut stack: Vec<(usize, bool)> =
        written.iter().filter(|&&index| !is_used[index]).map(|&index| (index, false)).collect();
    let mut seen = vec![false; rank.len()];
    let mut order = Vec::with_capacity(written.len());
    while let Some((index, is_ready)) = stack.pop() {
        if is_ready {
            order.push(index);
        } else if !std::mem::replace(&mut seen[index], true) {
            stack.push((index, true));
            let mut before: Vec<usize> = makers(index).collect();
            before.sort_unstable_by_key(|&maker| rank[maker]);
            stack.extend(before.into_iter().map(|maker| (maker, false)));
        }
    }
    order
}

/// Runs the graph on paper. `bound` are values whose memory the caller gives, so that it is not counted; all of them and
/// what they need are computed.
pub(crate) fn liveness(graph: &Graph, bound: &[ValueId], border: usize, layout: Layout) -> Liveness {
    let order = run_order(graph, bound);
    let blocks = match layout {
        Layout::Plain => Blocked::none(graph),
        Layout::Blocked => Blocked::of(graph),
    };
    // The value whose memory a value lies in.
    let mut home: Vec<usize> = (0..graph.len()).collect();
    for &index in &order {
        let node = &graph.nodes()[index];
        if let (true, Some(x), Some(y)) = (is_view(node), node.input(0), node.output(0)) {
            home[y.index()] = home[x.index()];
        }
    }
    let mut last = vec![None; graph.len()];
    // How often an image in blocks is still taken so.
    let mut in_blocks = vec![0usize; graph.len()];
    let mut crosses = vec![false; graph.len()];
    for &index in &order {
        for id in graph.nodes()[index].inputs.iter().flatten() {
            last[home[id.index()]] = Some(index);
            crosses[home[id.index()]] |= index >= border;
            in_blocks[home[id.index()]] += usize::from(blocks.takes(index));
        }
    }
    let mut free = vec![true; graph.len()];
    for (id, value) in graph.values() {
        free[id.index()] = !matches!(value.origin(), Origin::Node { .. });
    }
    for id in bound {
        free[home[id.index()]] = true;
    }
    let bytes = |id: ValueId| graph.kind(id).bytes();
    let (mut live, mut peak, mut across) = (0u64, 0u64, 0u64);
    let mut sizes = vec![0u64; graph.len()];
    // Of images in blocks: what the same in order takes, as long as it is not there too.
    let mut in_order = vec![0u64; graph.len()];
    let mut lies_in_blocks = vec![false; graph.len()];
    for &index in &order {
        let node = &graph.nodes()[index];
        let mut beside = workspace(graph, node);
        for &id in node.inputs.iter().flatten() {
            let at = home[id.index()];
            if blocks.takes(index) {
                in_blocks[at] -= 1;
                if !lies_in_blocks[at] && blocked::is_image(graph, id) {
                    beside += blocked::bytes(graph, id);
                }
            } else if in_order[at] > 0 {
                let made = std::mem::take(&mut in_order[at]);
                live += made;
                peak = peak.max(live);
                let gone = if in_blocks[at] == 0 { sizes[at] } else { 0 };
                live -= gone;
                sizes[at] = sizes[at] + made - gone;
            }
        }
        let mut dying: Vec<usize> = node.inputs.iter().flatten().map(|id| home[id.index()]).collect();
        dying.sort_unstable();
        dying.dedup();
        dying.retain(|&at| last[at] == Some(index) && sizes[at] > 0);
        let mut made = 0;
        for &id in node.outputs.iter().flatten() {
            let at = id.index();
            if free[at] && blocks.makes(index) {
                beside += blocked::bytes(graph, id);
            }
            if free[at] || home[at] != at {
                continue;
            }
            sizes[at] = bytes(id);
            if blocks.makes(index) {
                in_order[at] = std::mem::replace(&mut sizes[at], blocked::bytes(graph, id));
                lies_in_blocks[at] = true;
            }
            if is_in_place(node)
                && let Some(over) = dying.iter().position(|&old| sizes[old] == sizes[at])
            {
                live -= sizes[dying.swap_remove(over)];
            }
            live += sizes[at];
            made += sizes[at];
            if index < border && crosses[at] {
                across += sizes[at];
            }
            if last[at].is_none() {
                dying.push(at);
            }
        }
        if made > 0 || beside > 0 || !dying.is_empty() {
            peak = peak.max(live + beside);
        }
        for at in dying {
            live -= std::mem::take(&mut sizes[at]);
        }
    }
    Liveness { peak, across }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::ElementType;
    use crate::onnx::graph::{Constant, ValueType};
    use crate::onnx::proto::AttributeProto;

    /// A chain over 1000 floats: y = exp x, z = relu(y), s = z (5 x 200), t = tile(s), u = t · y.
    #[test]
    fn values_are_given_back_after_their_last_use() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", ValueType::new(ElementType::Float32, [1000]));
        let y = graph.op("Exp", &[x], &[]).unwrap();
        let z = graph.op("Relu", &[y], &[]).unwrap();
        let shape = graph.ints(&[5, 200]).unwrap();
        let s = graph.op("Reshape", &[z, shape], &[]).unwrap();
        let border = graph.nodes().len();
        let t = graph.op("Transpose", &[s], &[]).unwrap();
        let shape = graph.ints(&[1000]).unwrap();
        let flat = graph.op("Reshape", &[t, shape], &[]).unwrap();
        let u = graph.op("Mul", &[flat, y], &[]).unwrap();
        // Alive: y; y, z; then the transpose beside both; the product has the caller's memory.
        assert_eq!(liveness(&graph, &[u], border, Layout::Plain), Liveness { peak: 12_000, across: 8_000 });
        // Written over the transpose where its memory is not the caller's.
        let end = graph.op("ReduceSum", &[u], &[]).unwrap();
        assert_eq!(liveness(&graph, &[end], border, Layout::Plain), Liveness { peak: 12_000, across: 8_000 });
    }

    /// A convolution to 8 channels and one to 5 of an image of 10 x 10, in blocks of 16: the first makes 6400 bytes, of which
    /// 3200 in order are given to the second, which makes 6400 that go into the caller's memory.
    #[test]
    fn blocks_of_channels_are_filled_up_and_put_in_order() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", ValueType::new(ElementType::Float32, [1, 3, 10, 10]));
        let conv = |graph: &mut Graph, x: ValueId, filters: usize, channels: usize| {
            let kind = ValueType::new(ElementType::Float32, [filters, channels, 1, 1]);
            let w =
                graph.add_parameter("w", Constant::from_f64(kind, &vec![0.0; filters * channels]).unwrap());
            graph.op("Conv", &[x, w], &[]).unwrap()
        };
        let y = conv(&mut graph, x, 8, 3);
        let y = graph.op("Relu", &[y], &[]).unwrap();
        let z = conv(&mut graph, y, 5, 8);
        let peak = |graph: &Graph, end, layout| liveness(graph, &[end], graph.nodes().len(), layout).peak;
        assert_eq!(peak(&graph, z, Layout::Plain), 3200);
        assert_eq!(peak(&graph, z, Layout::Blocked), 9600);
        // 32 channels are taken in blocks: both lie so at the second, and nothing is put in order but the end.
        let y = conv(&mut graph, x, 32, 3);
        let z = conv(&mut graph, y, 32, 32);
        assert_eq!(peak(&graph, z, Layout::Plain), 12_800);
        assert_eq!(peak(&graph, z, Layout::Blocked), 25_600);
        let end = graph.op("Softmax", &[z], &[]).unwrap();
        assert_eq!(peak(&graph, end, Layout::Plain), 25_600);
        assert_eq!(peak(&graph, end, Layout::Blocked), 25_600);
        // What is taken in both ways is there in both until its last use: y, its copy in order, a mean of 128 bytes that is
        // the bias of the convolution, and what that makes.
        let axes = graph.ints(&[0, 2, 3]).unwrap();
        let mean = graph.op("ReduceMean", &[y, axes], &[AttributeProto::int("keepdims", 0)]).unwrap();
        let kind = ValueType::new(ElementType::Float32, [32, 32, 1, 1]);
        let w = graph.add_parameter("w", Constant::from_f64(kind, &[0.0; 1024]).unwrap());
        let v = graph.op("Conv", &[y, w, mean], &[]).unwrap();
        assert_eq!(peak(&graph, v, Layout::Plain), 12_800 + 128);
        assert_eq!(peak(&graph, v, Layout::Blocked), 3 * 12_800 + 128);
    }
}
