//! Which values of a file sizes are computed from.
//!
//! Floating point initializers are parameters, and nothing that depends on one is folded. But a factor of a Resize, or
//! a number that a shape is multiplied by, decides sizes and has to be known: it is told from a weight by where it
//! flows.

use std::collections::{HashMap, HashSet};

use crate::onnx::proto::{GraphProto, NodeProto};

/// Names of all values that an operand which decides a size depends on. A Shape ends the way back: it does not depend
/// on the elements of its input.
pub(super) fn deciding(graph: &GraphProto) -> HashSet<&str> {
    let mut producers: HashMap<&str, &NodeProto> = HashMap::new();
    let mut stack: Vec<&str> = Vec::new();
    for node in &graph.node {
        producers.extend(node.output.iter().map(|output| (output.as_str(), node)));
        let operands = operands(node).iter().filter_map(|&index| node.input.get(index));
        stack.extend(operands.map(String::as_str));
    }
    let mut found = HashSet::new();
    while let Some(name) = stack.pop() {
        if name.is_empty() || !found.insert(name) {
            continue;
        }
        if let Some(node) = producers.get(name)
            && !node.is("Shape")
            && !node.is("Size")
        {
            stack.extend(node.input.iter().map(String::as_str));
        }
    }
    found
}

/// Indices of the inputs of a node that the shape of its output depends on by their elements.
fn operands(node: &NodeProto) -> &'static [usize] {
    match node.op_type.as_str() {
        "ConstantOfShape" => &[0],
        "Range" => &[0, 1, 2],
        "Resize" => &[1, 2, 3],
        "Slice" => &[1, 2, 3, 4],
        "Pad" => &[1, 3],
        "Col2Im" => &[1, 2],
        "AffineGrid" | "CenterCropPad" | "Expand" | "OneHot" | "Reshape" | "Split" | "Squeeze" | "Tile"
        | "TopK" | "Unsqueeze" | "Upsample" => &[1],
        op_type if op_type.starts_with("Reduce") => &[1],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op_type.to_owned(),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            ..NodeProto::default()
        }
    }

    #[test]
    fn a_factor_of_a_size_is_found_and_a_weight_is_not() {
        let graph = GraphProto {
            node: vec![
                node("Conv", &["x", "w"], "y"),
                node("Shape", &["y"], "s"),
                node("Cast", &["s"], "f"),
                node("Mul", &["f", "factor"], "g"),
                node("Cast", &["g"], "size"),
                node("Resize", &["y", "", "", "size"], "z"),
            ],
            ..GraphProto::default()
        };
        let found = deciding(&graph);
        assert!(found.contains("factor") && !found.contains("w") && !found.contains("x"), "{found:?}");
    }
}
