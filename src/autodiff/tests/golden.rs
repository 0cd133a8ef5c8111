//! The interpreter against what ONNX Runtime and the reference implementation give.
//!
//! `tests/golden/autodiff/make.py` writes the golden: a model whose nodes are the cases. Their inputs are initializers,
//! and for every output there is an initializer with the expected values, named after it with `.expected`.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use super::array::{Array, Data};
use super::interpreter::{self, Call};
use crate::onnx::ElementType;
use crate::onnx::graph::{Constant, Graph, Node, ValueType};
use crate::onnx::proto::{ModelProto, NodeProto, TensorProto};

fn model(name: &str) -> ModelProto {
    let path = format!("{}/tests/golden/autodiff/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    ModelProto::decode(&std::fs::read(&path).unwrap()[..]).unwrap()
}

fn node_of(proto: &NodeProto) -> Node {
    let mut node = Node::new(&proto.op_type);
    node.name.clone_from(&proto.name);
    node.attributes.clone_from(&proto.attribute);
    node.domain.clone_from(&proto.domain);
    node
}

/// Largest difference, relative to the largest expected value (at least 1).
fn error(found: &Array, expected: &Array) -> f64 {
    match (&found.data, &expected.data) {
        (Data::Floats(found), Data::Floats(expected)) => {
            let most = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
            let differences =
                found.iter().zip(expected).map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() });
            // A NaN is an error.
            differences.fold(0.0, |worst, d| if d <= worst { worst } else { d }) / most
        }
        (found, expected) => f64::from(u8::from(found != expected)),
    }
}

#[test]
fn the_interpreter_agrees_with_the_golden() {
    let model = model("operators");
    let graph = model.graph.as_deref().unwrap();
    let tensors: HashMap<&str, &TensorProto> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let opset = model.opset("").unwrap();
    let (mut failures, mut counts) = (Vec::new(), BTreeMap::new());
    for proto in &graph.node {
        *counts.entry(proto.op_type.as_str()).or_insert(0) += 1;
        let node = node_of(proto);
        let inputs: Vec<Option<Constant>> = proto
            .input
            .iter()
            .map(|name| (!name.is_empty()).then(|| Constant::from_proto(tensors[name.as_str()]).unwrap()))
            .collect();
        // Values in single precision are good to about 1e-6.
        let double = inputs.iter().flatten().all(|constant| constant.kind().element != ElementType::Float32);
        let arrays: Vec<Option<Array>> =
            inputs.iter().map(|constant| constant.as_ref().map(Array::constant)).collect();
        let inputs: Vec<Option<&Array>> = arrays.iter().map(Option::as_ref).collect();
        let call = Call { node: &node, inputs, outputs: proto.output.len(), opset };
        let made = interpreter::apply(&call);
        for (name, array) in proto.output.iter().zip(&made) {
            let Some(tensor) = tensors.get(format!("{name}.expected").as_str()) else { continue };
            let expected = Array::constant(&Constant::from_proto(tensor).unwrap());
            let allowed = if double { 1e-12 } else { 1e-5 };
            if array.shape != expected.shape {
                failures.push(format!("{name}: shape {:?}, expected {:?}", array.shape, expected.shape));
                continue;
            }
            let error = error(array, &expected);
            if error.is_nan() || error > allowed {
                failures.push(format!("{name}: error {error:.1e}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    let cases: usize = counts.values().sum();
    assert!(cases >= 300 && counts.len() >= 100, "{cases} cases of {} operators", counts.len());
}

/// What is inferred of a node is what the runtime gives.
#[test]
fn inferred_shapes_agree_with_the_golden() {
    let model = model("operators");
    let proto = model.graph.as_deref().unwrap();
    let tensors: HashMap<&str, &TensorProto> =
        proto.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut failures = Vec::new();
    // The size of what NonZero gives depends on data.
    for case in proto.node.iter().filter(|case| case.op_type != "NonZero") {
        let mut graph = Graph::new(model.opset("").unwrap());
        let mut node = node_of(case);
        for name in &case.input {
            let id = (!name.is_empty()).then(|| {
                let constant = Constant::from_proto(tensors[name.as_str()]).unwrap();
                // Floating point as inputs, so that nothing is folded; bounds and scales have to be known.
                let float = constant.kind().element.is_float() && case.op_type != "Resize";
                match float {
                    true => graph.add_input(name, constant.kind().clone()),
                    false => graph.add_constant(name, constant),
                }
            });
            node.inputs.push(id);
        }
        let names: Vec<Option<&str>> = case.output.iter().map(|name| Some(name.as_str())).collect();
        match graph.add(node, &names) {
            Err(error) => failures.push(format!("{}: {error}", case.output[0])),
            Ok(made) => {
                for (id, name) in made.into_iter().flatten().zip(&case.output) {
                    let Some(tensor) = tensors.get(format!("{name}.expected").as_str()) else { continue };
                    let constant = Constant::from_proto(tensor).unwrap();
                    if graph.kind(id) != constant.kind() {
                        let inferred: &ValueType = graph.kind(id);
                        failures.push(format!("{name}: {inferred}, expected {}", constant.kind()));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
