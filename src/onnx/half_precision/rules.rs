//! Which operators compute in half precision, and which of their inputs and outputs are then in it.

use std::collections::{HashMap, HashSet};

use crate::onnx::proto::{GraphProto, NodeProto, is_default_domain};

/// What of a node becomes half precision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    inputs: &'static [usize],
    outputs: &'static [usize],
    weighted_sum: bool,
}

/// More places than any operator has; those of operators with any number of them are all below.
const ALL: &[usize] = &[];

impl Rule {
    pub(super) fn halves_input(&self, at: usize) -> bool {
        self.inputs.is_empty() || self.inputs.contains(&at)
    }

    pub(super) fn halves_output(&self, at: usize) -> bool {
        self.outputs.is_empty() || self.outputs.contains(&at)
    }

    /// Whether it adds up many products with weights. Runtimes do that in single precision also where the factors are
    /// half, so a weight changed in its last digits changes the sum as little.
    pub(super) fn is_weighted_sum(&self) -> bool {
        self.weighted_sum
    }
}

/// The rule of a node that may compute in half precision.
pub(super) fn rule(node: &NodeProto) -> Option<Rule> {
    if !is_default_domain(&node.domain) {
        return None;
    }
    let rule = |inputs, outputs| Some(Rule { inputs, outputs, weighted_sum: false });
    match node.op_type.as_str() {
        "Conv" | "ConvTranspose" | "Gemm" | "MatMul" => {
            Some(Rule { inputs: ALL, outputs: ALL, weighted_sum: true })
        }
        // As it scores; training has outputs of other types.
        "BatchNormalization" if node.output.iter().skip(1).all(String::is_empty) => rule(ALL, &[0]),
        // By its definition it computes mean and deviation in single precision, unless told otherwise.
        "LayerNormalization" if node.int("stash_type").unwrap_or(1) == 1 => rule(ALL, &[0]),
        "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Neg" | "Abs" | "Einsum" => rule(ALL, ALL),
        "Relu" | "LeakyRelu" | "PRelu" | "Clip" | "Elu" | "Selu" | "Sigmoid" | "HardSigmoid"
        | "HardSwish" | "Tanh" | "Gelu" | "Erf" | "Softmax" | "LogSoftmax" => rule(ALL, ALL),
        // The places of greatest values are whole numbers.
        "MaxPool" | "AveragePool" | "GlobalMaxPool" => rule(ALL, &[0]),
        "Concat" => rule(ALL, ALL),
        "Split" => rule(&[0], ALL),
        "Identity" | "Transpose" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Slice" | "Gather"
        | "GatherElements" | "GatherND" | "Expand" | "Tile" | "DepthToSpace" | "SpaceToDepth" | "Dropout"
        | "Resize" => rule(&[0], &[0]),
        "Pad" => rule(&[0, 2], &[0]),
        "Where" => rule(&[1, 2], &[0]),
        _ => None,
    }
}

/// Whether a node that stays gives the same for a half-precision number as for the same in single precision.
pub(super) fn takes_either(node: &NodeProto) -> bool {
    is_default_domain(&node.domain)
        && matches!(node.op_type.as_str(), "Shape" | "Size" | "Cast" | "IsNaN" | "IsInf")
}

/// Nodes that an output ends in: activations, and what lays values out anew.
pub(super) fn ends(graph: &GraphProto, nodes: &[NodeProto]) -> HashSet<usize> {
    let producers: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |output| (output.as_str(), index)))
        .collect();
    let mut ends = HashSet::new();
    let mut open: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    while let Some(value) = open.pop() {
        let Some(&index) = producers.get(value) else { continue };
        let node = &nodes[index];
        let is_end = is_default_domain(&node.domain)
            && matches!(
                node.op_type.as_str(),
                "Softmax"
                    | "LogSoftmax"
                    | "Sigmoid"
                    | "HardSigmoid"
                    | "Tanh"
                    | "Resize"
                    | "Identity"
                    | "Cast"
                    | "Clip"
                    | "Transpose"
                    | "Reshape"
                    | "Flatten"
                    | "Squeeze"
                    | "Unsqueeze"
                    | "Slice"
                    | "DepthToSpace"
            );
        if is_end && ends.insert(index) {
            open.extend(node.input(0));
        }
    }
    ends
}
