//! Graphs with static shapes against the files that they were made of: the runtime computes both.

use std::path::{Path, PathBuf};

use glebe::onnx::graph::{Graph, Origin, ValueType};
use glebe::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use glebe::onnx::{Document, ElementType, Facts, InputShapes, Limits, specialise};
use glebe::runtime::{OutputData, Session, SessionOptions};
use prost::Message;

use crate::fixtures::runtime;

/// Forms that operators have had, made by `tests/golden/upgrade/make.py`.
fn forms() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/upgrade");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    files
}

fn form(name: &str) -> Graph {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/upgrade").join(format!("{name}.onnx"));
    specialise(&Document::open(path, &Limits::default()).unwrap(), &InputShapes::new(), None).unwrap()
}

/// Numbers between -1 and 1 without pattern.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn computed(bytes: &[u8], shape: [usize; 4], output: &str) -> (Vec<usize>, Vec<f32>) {
    let mut options = SessionOptions::default();
    options.threads = 1;
    let mut session = Session::new(runtime(), bytes, &options).unwrap();
    let input = noise(shape.iter().product());
    session
        .run(&input, shape, output, |shape, data| {
            let data = match data {
                OutputData::F32(data) => data.to_vec(),
                OutputData::F16(data) => data.iter().map(|value| value.to_f32()).collect(),
                other => panic!("{other:?}"),
            };
            Ok((shape.to_vec(), data))
        })
        .unwrap()
}

/// Largest difference, with shapes compared; infinities and NaN must be the same.
fn difference(file: &[u8], graph: &Graph, shape: [usize; 4], output: &str) -> f32 {
    let (expected_shape, expected) = computed(file, shape, output);
    let id = graph.outputs()[0];
    assert_eq!(graph.shape(id), expected_shape);
    let (got_shape, got) = computed(&graph.to_bytes("graph").unwrap(), shape, graph.name(id));
    assert_eq!(got_shape, expected_shape);
    let pairs = got.iter().zip(&expected);
    pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn every_form_of_an_operator_computes_what_the_file_computes() {
    let files = forms();
    assert!(files.len() > 100, "only {} models", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let document = Document::from_bytes(bytes.clone(), &Limits::default()).unwrap();
        let shape = Facts::of(&document).inputs[0].shape.clone().unwrap();
        let shape: Vec<usize> = shape.iter().map(|dim| dim.fixed().unwrap() as usize).collect();
        let graph = match specialise(&document, &InputShapes::new(), None) {
            Ok(graph) => graph,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let difference = difference(&bytes, &graph, shape.try_into().unwrap(), "y");
        // A file of half precision rounds after every operator, its graph does not.
        let tolerance = if name == "half" { 2e-2 } else { 2e-6 };
        if difference.is_nan() || difference > tolerance {
            wrong.push(format!("{name}: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nodes_have_the_form_of_set_18() {
    for path in forms() {
        let document = Document::open(&path, &Limits::default()).unwrap();
        let Ok(graph) = specialise(&document, &InputShapes::new(), None) else { continue };
        for node in graph.nodes() {
            let place = format!("{}: {}", path.display(), node.op_type);
            assert_eq!(node.domain, "", "{place}");
            assert!(
                !["Upsample", "Scatter", "Identity", "Dropout", "If"].contains(&node.op_type.as_str()),
                "{place}"
            );
            let gone: &[&str] = match node.op_type.as_str() {
                "Squeeze" | "Unsqueeze" => &["axes"],
                name if name.starts_with("Reduce") => &["axes", "noop_with_empty_axes"],
                "Split" => &["split", "num_outputs"],
                "Clip" => &["min", "max"],
                "Pad" => &["pads", "value"],
                "Slice" => &["starts", "ends", "axes"],
                "TopK" => &["k"],
                "Resize" => &["axes"],
                "BatchNormalization" => &["training_mode", "spatial"],
                _ => &[],
            };
            for name in gone {
                assert!(node.attribute(name).is_none(), "{place} has {name}");
            }
        }
    }
}

#[test]
fn equal_initializers_that_an_exporter_kept_once_are_parameters_of_their_own() {
    let graph = form("tied");
    assert_eq!(graph.untied(), [("w2".to_owned(), "w".to_owned())]);
    let mut names: Vec<&str> = graph.parameters().map(|(_, value)| value.name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["w", "w2"]);
    // The indices have been tied too, and stay so.
    assert!(graph.find("i2").is_none());
    let convolutions: Vec<&str> = graph
        .nodes()
        .iter()
        .filter(|node| node.is("Conv"))
        .map(|node| graph.name(node.input(1).unwrap()))
        .collect();
    assert_eq!(convolutions, ["w", "w2"]);
    // They stay known when a pass rebuilds the graph.
    let (again, _) = graph.rebuild(|rebuild, _, node| rebuild.keep(node)).unwrap();
    assert_eq!(again.untied(), graph.untied());
}

#[test]
fn a_factor_that_sizes_are_computed_from_is_no_parameter() {
    let graph = form("resize_computed_11");
    assert_eq!(graph.parameters().count(), 0);
    assert_eq!(graph.shape(graph.outputs()[0]), [2, 4, 10, 9]);
    assert_eq!(graph.nodes().len(), 1, "{:?}", graph.nodes());
}

#[test]
fn half_precision_is_widened() {
    let graph = form("half");
    for (_, value) in graph.values() {
        assert!(!value.kind().to_string().contains("16"), "{}: {}", value.name(), value.kind());
    }
    let weight = graph.find("w").unwrap();
    assert!(matches!(graph.value(weight).origin(), Origin::Parameter(_)));
}

/// The file with the tensors of other files put in.
fn self_contained(document: &Document) -> Vec<u8> {
    let mut model = document.model().clone();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        if tensor.is_external() {
            tensor.raw_data = Some(document.resolve_external(tensor).unwrap());
            tensor.external_data.clear();
            tensor.data_location = 0;
        }
    }
    model.encode_to_vec()
}

/// Small networks by every exporter, made by `tests/golden/train/make.py`.
#[test]
fn exported_networks_compute_what_their_files_compute() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    assert!(files.len() > 30, "only {} models", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let document = Document::open(&path, &Limits::default()).unwrap();
        let shape = [2, 3, 32, 32];
        let shapes = InputShapes::from([("image".to_owned(), shape.to_vec())]);
        let graph = match specialise(&document, &shapes, None) {
            Ok(graph) => graph,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        assert_eq!(graph.name(graph.outputs()[0]), "logits", "{name}");
        let bytes = self_contained(&document);
        let difference = difference(&bytes, &graph, shape, "logits");
        if difference.is_nan() || difference > 2e-5 {
            wrong.push(format!("{name}: {difference}"));
        }
        // What shapes were computed by has been folded.
        for node in graph.nodes() {
            let left = ["Shape", "Size", "ConstantOfShape", "Range"].contains(&node.op_type.as_str());
            assert!(!left, "{name}: {}", node.describe());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn node(op_type: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        op_type: op_type.to_owned(),
        input: names(inputs),
        output: names(outputs),
        attribute: attributes,
        ..NodeProto::default()
    }
}

/// From `x` of shape `[1, 2, 3, 3]` and parameters `p` and `q` of `[2]` to `y`.
fn specialised(opset: i64, nodes: Vec<NodeProto>) -> glebe::Result<Graph> {
    let mut empty = Graph::default();
    empty.add_input("x", ValueType::new(ElementType::Float32, [1, 2, 3, 3]));
    let graph = GraphProto {
        name: "made".to_owned(),
        node: nodes,
        input: empty.to_proto("empty").graph.unwrap().input,
        output: vec![ValueInfoProto { name: "y".to_owned(), ..ValueInfoProto::default() }],
        initializer: vec![
            TensorProto::from_f32("p", &[2], &[1.0, 2.0]),
            TensorProto::from_f32("q", &[2], &[3.0, 4.0]),
        ],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
        graph: Some(Box::new(graph)),
        ..ModelProto::default()
    };
    specialise(&Document::from_bytes(model.encode_to_vec(), &Limits::default())?, &InputShapes::new(), None)
}

#[test]
fn a_file_exported_in_training_mode_has_the_given_statistics() {
    let attributes = vec![AttributeProto::int("training_mode", 1), AttributeProto::float("momentum", 0.9)];
    let outputs = ["z", "mean", "variance"];
    let nodes = vec![
        node("BatchNormalization", &["x", "p", "p", "q", "p"], &outputs, attributes),
        node("Add", &["mean", "variance"], &["sum"], vec![]),
        node("ReduceSum", &["sum"], &["total"], vec![]),
        node("Add", &["z", "total"], &["y"], vec![]),
    ];
    let graph = specialised(15, nodes).unwrap();
    let batch = &graph.nodes()[0];
    assert!(batch.is("BatchNormalization") && batch.attribute("training_mode").is_none());
    assert_eq!(batch.outputs.len(), 1);
    let added: Vec<&str> = graph.nodes()[1].inputs.iter().flatten().map(|&id| graph.name(id)).collect();
    assert_eq!(added, ["q", "p"]);
}

#[test]
fn what_cannot_be_brought_into_form_is_refused_by_name() {
    let refused = |opset: i64, nodes: Vec<NodeProto>, expected: &str| {
        let error = specialised(opset, nodes).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let branch = |name: &str| {
        let body = GraphProto {
            node: vec![node("Neg", &["x"], &["b"], vec![])],
            output: vec![ValueInfoProto { name: "b".to_owned(), ..ValueInfoProto::default() }],
            ..GraphProto::default()
        };
        AttributeProto::graph(name, body)
    };
    let choice = vec![
        node("ReduceMax", &["x"], &["m"], vec![AttributeProto::int("keepdims", 0)]),
        node("Cast", &["m"], &["c"], vec![AttributeProto::int("to", 9)]),
        node("If", &["c"], &["y"], vec![branch("then_branch"), branch("else_branch")]),
    ];
    refused(13, choice, "node 2 (If): the condition of this If depends on data");
    refused(13, vec![node("Loop", &["", "", "x"], &["y"], vec![branch("body")])], "loops cannot be unrolled");
    let broadcast = vec![AttributeProto::int("broadcast", 1), AttributeProto::int("axis", 1)];
    refused(6, vec![node("Add", &["x", "p"], &["y"], broadcast)], "broadcasting of operator set 6");
    refused(
        13,
        vec![node("Split", &["x"], &["y", "z"], vec![AttributeProto::int("axis", 2)])],
        "2 equal parts",
    );
    let saved = vec![
        node("BatchNormalization", &["x", "p", "p", "q", "p"], &["z", "", "", "saved"], vec![]),
        node("Add", &["z", "saved"], &["y"], vec![]),
    ];
    refused(9, saved, "\"saved\"");
    let unknown = NodeProto { domain: "elsewhere".to_owned(), ..node("Odd", &["x"], &["y"], vec![]) };
    refused(13, vec![unknown], "Odd");
}
