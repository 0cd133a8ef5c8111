//! Names and order: every value that is used is produced, once, and not out of itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{place, shown};

/// Indices of a graph's nodes in an order in which each comes after those whose results it uses, bodies of
/// control-flow nodes included. It is the order of the file wherever that is such an order; O(n log n).
///
/// # Errors
///
/// `ModelInvalid` where nodes depend on each other in a circle, or two nodes produce a value of one name.
pub fn order(graph: &GraphProto) -> Result<Vec<usize>> {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if producers.insert(output, index).is_some() {
                return Err(invalid(format!("{}: {} is produced twice", place(index, node), shown(output))));
            }
        }
    }
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    let mut waits: Vec<usize> = vec![0; graph.node.len()];
    for (index, node) in graph.node.iter().enumerate() {
        for name in uses(node) {
            if let Some(&producer) = producers.get(name) {
                users[producer].push(index);
                waits[index] += 1;
            }
        }
    }
    let mut ready: BinaryHeap<_> = (0..waits.len()).filter(|&index| waits[index] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for &user in &users[index] {
            waits[user] -= 1;
            if waits[user] == 0 {
                ready.push(Reverse(user));
            }
        }
    }
    match waits.iter().position(|&count| count > 0) {
        None => Ok(order),
        Some(index) => {
            Err(invalid(format!("{}: depends on its own result", place(index, &graph.node[index]))))
        }
    }
}

/// Checks names and order of a graph and of the bodies in it.
pub(crate) fn check(graph: &GraphProto) -> Result<()> {
    let mut trail = Vec::new();
    check_within(graph, &mut trail)
}

/// Names of the values that a node uses, those used in its bodies and defined outside of them included.
pub fn uses(node: &NodeProto) -> HashSet<&str> {
    let mut names: HashSet<&str> =
        node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for body in node.attribute.iter().flat_map(|attribute| attribute.subgraphs()) {
        let inside = defined(body);
        let used =
            body.node.iter().flat_map(uses).chain(body.output.iter().map(|output| output.name.as_str()));
        names.extend(used.filter(|name| !inside.contains(name)));
    }
    names
}

/// `outer` holds the names of the graphs around this one. Recursion is as deep as the graphs, which the guard limits.
fn check_within<'a>(graph: &'a GraphProto, outer: &mut Vec<HashSet<&'a str>>) -> Result<()> {
    let mut inputs = HashSet::new();
    for input in &graph.input {
        if !inputs.insert(input.name.as_str()) {
            return Err(invalid(format!("input {} is given twice", shown(&input.name))));
        }
    }
    let mut constants = HashSet::new();
    for name in constant_names(graph) {
        if !constants.insert(name) {
            return Err(invalid(format!("initializer {} is given twice", shown(name))));
        }
    }
    outer.push(defined(graph));
    for (index, node) in graph.node.iter().enumerate() {
        if let Some(output) = node.output.iter().find(|name| {
            !name.is_empty() && (inputs.contains(name.as_str()) || constants.contains(name.as_str()))
        }) {
            let message =
                format!("{}: its output {} is an input or initializer", place(index, node), shown(output));
            return Err(invalid(message));
        }
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            if !outer.iter().any(|names| names.contains(name.as_str())) {
                return Err(invalid(format!(
                    "{}: nothing produces its input {}",
                    place(index, node),
                    shown(name)
                )));
            }
        }
        for body in node.attribute.iter().flat_map(|attribute| attribute.subgraphs()) {
            check_within(body, outer)?;
        }
    }
    for output in &graph.output {
        if !outer.iter().any(|names| names.contains(output.name.as_str())) {
            return Err(invalid(format!("nothing produces the output {}", shown(&output.name))));
        }
    }
    outer.pop();
    order(graph).map(drop)
}

/// Names of the graph's constants.
pub(crate) fn constant_names(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_deref());
    graph.initializer.iter().chain(sparse).map(|tensor| tensor.name.as_str())
}

/// Names of all values that a graph itself defines.
pub(in crate::onnx) fn defined(graph: &GraphProto) -> HashSet<&str> {
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let outputs = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    inputs.chain(constant_names(graph)).chain(outputs).filter(|name| !name.is_empty()).collect()
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ModelInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{AttributeProto, TensorProto, ValueInfoProto};

    fn node(inputs: &[&str], outputs: &[&str]) -> NodeProto {
        NodeProto {
            op_type: "Op".into(),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: outputs.iter().map(|&name| name.into()).collect(),
            ..NodeProto::default()
        }
    }

    fn graph(nodes: Vec<NodeProto>, output: &str) -> GraphProto {
        let value = |name: &str| ValueInfoProto { name: name.into(), ..ValueInfoProto::default() };
        GraphProto {
            node: nodes,
            input: vec![value("x")],
            output: vec![value(output)],
            ..GraphProto::default()
        }
    }

    #[test]
    fn the_file_order_is_kept_where_it_is_one() {
        let sorted = graph(vec![node(&["x"], &["a"]), node(&["x"], &["b"]), node(&["b", "a"], &["y"])], "y");
        assert_eq!(order(&sorted).unwrap(), [0, 1, 2]);
        let unsorted = graph(vec![node(&["a", ""], &["y"]), node(&["x"], &["a"])], "y");
        assert_eq!(order(&unsorted).unwrap(), [1, 0]);
        assert!(check(&sorted).is_ok() && check(&unsorted).is_ok());
    }

    #[test]
    fn circles_and_loose_ends_are_found() {
        let message = |graph: &GraphProto| check(graph).unwrap_err().to_string();
        let circle = graph(vec![node(&["x", "b"], &["a"]), node(&["a"], &["b"])], "b");
        assert_eq!(message(&circle), "node 0 (Op): depends on its own result");
        assert!(message(&graph(vec![node(&["x", "a"], &["a"])], "a")).contains("its own result"));
        assert!(
            message(&graph(vec![node(&["z"], &["a"])], "a")).contains("nothing produces its input \"z\"")
        );
        assert!(
            message(&graph(vec![node(&["x"], &["a"])], "z")).contains("nothing produces the output \"z\"")
        );
        assert!(message(&graph(vec![node(&["x"], &["a", "a"])], "a")).contains("produced twice"));
        assert!(message(&graph(vec![node(&["x"], &["x"])], "x")).contains("is an input or initializer"));
        let mut twice = graph(vec![], "x");
        twice.initializer = vec![TensorProto { name: "w".into(), ..TensorProto::default() }; 2];
        assert!(message(&twice).contains("initializer \"w\" is given twice"));
    }

    #[test]
    fn bodies_see_outer_values_and_order_their_node() {
        let mut branch = graph(vec![node(&["late"], &["inner"])], "inner");
        branch.input.clear();
        let mut control = node(&["x"], &["y"]);
        control.attribute = vec![AttributeProto::graph("then_branch", branch)];
        let outer = graph(vec![control.clone(), node(&["x"], &["late"])], "y");
        assert!(check(&outer).is_ok());
        assert_eq!(order(&outer).unwrap(), [1, 0]);
        assert!(check(&graph(vec![control], "y")).is_err());
    }
}
