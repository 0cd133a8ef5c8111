//! Operators of our own in the place of standard ones.
//!
//! Rules and losses emit what they know to be dear in the form of our own at once. What is only seen in the whole graph
//! (a convolution whose weight changes from step to step, with the activation behind it) is put in its place here, as the
//! last thing before a graph is written.

use crate::autodiff::kernels::Kernels;
use crate::error::Result;
use crate::onnx::ElementType;
use crate::onnx::graph::{Graph, Node, ValueId};
use crate::onnx::proto::AttributeProto;
use crate::onnx::resolved::Convolution;

/// The graph with the operators that `kernels` allows. Inputs and outputs keep their names.
///
/// # Errors
/// None in practice; see [`Graph::rebuild`].
pub(crate) fn lowered(graph: &Graph, kernels: Kernels) -> Result<Graph> {
    let lowering = Lowering::of(graph, kernels);
    let (graph, _) = graph.rebuild(|rebuild, index, node| {
        if lowering.absorbed[index] {
            return Ok(vec![None; node.outputs.len()]);
        }
        let Some(convolution) = &lowering.convolutions[index] else { return rebuild.keep(node) };
        let mut made = convolution.clone();
        made.inputs = rebuild.inputs(convolution)?;
        let name = node.output(0).map(|id| graph.name(id));
        rebuild.new.add(made, &[name])
    })?;
    Ok(graph)
}

/// What becomes of each node.
struct Lowering {
    /// The node in its place, with inputs of the old graph.
    convolutions: Vec<Option<Node>>,
    /// Whether it is part of what takes another's place.
    absorbed: Vec<bool>,
}

impl Lowering {
    fn of(graph: &Graph, kernels: Kernels) -> Lowering {
        let count = graph.nodes().len();
        let mut lowering = Lowering { convolutions: vec![None; count], absorbed: vec![false; count] };
        if !kernels.convolution {
            return lowering;
        }
        let changing = graph.depends_on(graph.inputs());
        let users = users(graph);
        for (index, node) in graph.nodes().iter().enumerate() {
            let Some(made) = convolution(graph, node, &changing) else { continue };
            let only = node.output(0).and_then(|id| match users[id.index()] {
                Users::One(user) => Some(user),
                _ => None,
            });
            match only.and_then(|user| Some((user, limits(graph, &graph.nodes()[user])?))) {
                Some((user, [low, high])) => {
                    let mut made = made;
                    let bounds = [("low", low), ("high", high)];
                    for (name, bound) in bounds.into_iter().filter(|(_, bound)| bound.is_finite()) {
                        made.set(AttributeProto::float(name, bound));
                    }
                    lowering.convolutions[user] = Some(made);
                    lowering.absorbed[index] = true;
                }
                None => lowering.convolutions[index] = Some(made),
            }
        }
        lowering
    }
}

/// Who uses a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Users {
    None,
    /// One node, in one place.
    One(usize),
    Many,
}

fn users(graph: &Graph) -> Vec<Users> {
    let mut users = vec![Users::None; graph.len()];
    for index in graph.needed_for(graph.outputs()) {
        for id in graph.nodes()[index].inputs.iter().flatten() {
            let own = &mut users[id.index()];
            *own = if *own == Users::None { Users::One(index) } else { Users::Many };
        }
    }
    for id in graph.outputs() {
        users[id.index()] = Users::Many;
    }
    users
}

/// `ConvForward` for a two-dimensional Conv with a weight that is not the same in all runs. Weights that are, the runtime
/// lays out for its own kernels once.
fn convolution(graph: &Graph, node: &Node, changing: &[bool]) -> Option<Node> {
    if !node.is("Conv") {
        return None;
    }
    let weight = node.input(1).filter(|id| changing[id.index()])?;
    let float = |id: &Option<ValueId>| id.is_none_or(|id| graph.kind(id).element == ElementType::Float32);
    if graph.shape(weight).len() != 4 || !node.inputs.iter().all(float) {
        return None;
    }
    // With paddings written out.
    let conv = Convolution::of(graph, node).ok()?;
    let windows = &conv.windows;
    let list = |values: &[usize]| values.iter().map(|&value| value as i64).collect::<Vec<_>>();
    let mut made = Node::new("ConvForward");
    made.name.clone_from(&node.name);
    made.domain = "glebe".to_owned();
    made.inputs.clone_from(&node.inputs);
    made.attributes = vec![
        AttributeProto::ints("kernel_shape", &list(&windows.kernel)),
        AttributeProto::ints("strides", &list(&windows.strides)),
        AttributeProto::ints("dilations", &list(&windows.dilations)),
        AttributeProto::ints("pads", &windows.pads()),
        AttributeProto::int("group", conv.group as i64),
    ];
    Some(made)
}

/// The interval that an activation cuts its input to.
fn limits(graph: &Graph, node: &Node) -> Option<[f32; 2]> {
    if node.is("Relu") {
        return Some([0.0, f32::INFINITY]);
    }
    if !node.is("Clip") {
        return None;
    }
    let bound = |index: usize, absent: f32| match node.input(index) {
        None => Some(absent),
        Some(id) => graph.known(id)?.to_f32()?.first().copied().filter(|bound| !bound.is_nan()),
    };
    Some([bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::graph::{Constant, ValueType};

    /// Five convolutions of one image, each with something else behind it.
    fn graph() -> Graph {
        let mut graph = Graph::default();
        let float = |shape: &[usize]| ValueType::new(ElementType::Float32, shape);
        let x = graph.add_input("x", float(&[1, 2, 6, 6]));
        let w = graph.add_input("w", float(&[2, 2, 3, 3]));
        let frozen = graph.add_parameter("frozen", Constant::from_f32([2, 2, 3, 3], &[0.5; 36]).unwrap());
        let conv = |graph: &mut Graph, w: ValueId| {
            graph.op("Conv", &[x, w], &[AttributeProto::ints("pads", &[1; 4])]).unwrap()
        };
        let alone = conv(&mut graph, w);
        let before_relu = conv(&mut graph, w);
        let relu = graph.op("Relu", &[before_relu], &[]).unwrap();
        let before_clip = conv(&mut graph, w);
        let (low, high) = (graph.scalar(-1.0).unwrap(), graph.scalar(6.0).unwrap());
        let clip = graph.op("Clip", &[before_clip, low, high], &[]).unwrap();
        let twice = conv(&mut graph, w);
        let cut = graph.op("Relu", &[twice], &[]).unwrap();
        let sum = graph.op("Add", &[twice, cut], &[]).unwrap();
        let constant = conv(&mut graph, frozen);
        graph.set_outputs(vec![alone, relu, clip, sum, constant]);
        graph
    }

    #[test]
    fn convolutions_take_their_activation_with_them() {
        let old = graph();
        let new = lowered(&old, Kernels::ALL).unwrap();
        let operators: Vec<&str> = new.nodes().iter().map(|node| node.op_type.as_str()).collect();
        assert_eq!(
            operators,
            ["ConvForward", "ConvForward", "ConvForward", "ConvForward", "Relu", "Add", "Conv"]
        );
        let bound = |index: usize, name: &str| new.nodes()[index].attribute(name).and_then(|own| own.f);
        assert_eq!([0, 1, 2, 3].map(|index| bound(index, "low")), [None, Some(0.0), Some(-1.0), None]);
        assert_eq!([0, 1, 2, 3].map(|index| bound(index, "high")), [None, None, Some(6.0), None]);
        assert_eq!(new.nodes()[0].ints("pads"), Some(&[1, 1, 1, 1][..]));
        let names =
            |graph: &Graph| graph.outputs().iter().map(|&id| graph.name(id).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&new), names(&old));
    }

    #[test]
    fn without_kernels_nothing_changes() {
        let old = graph();
        assert_eq!(lowered(&old, Kernels::NONE).unwrap().nodes(), old.nodes());
    }
}
