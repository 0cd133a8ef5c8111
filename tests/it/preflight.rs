//! What is said about training before anything is run, against what the file itself says.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use glebe::ErrorKind;
use glebe::autodiff::{StepOptions, Support};
use glebe::finetune::{Preflight, preflight};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::{Dim, Document, ElementType, Facts, GraphBuilder, Limits};
use serde_json::Value;

use crate::command_line::glebe;
use crate::fixtures::{golden, runtime};

fn network(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train").join(name)
}

fn document(name: &str) -> Document {
    Document::open(network(name), &Limits::default()).unwrap()
}

fn options(params: &str) -> StepOptions {
    let mut options = StepOptions::new(2, [32, 32]);
    options.params = params.parse().unwrap();
    options
}

/// Names of the nodes of the file that results of trained initializers flow through, by a walk over the names in it.
/// Nodes that compute no numbers, or do nothing, are left out.
fn downstream(document: &Document, is_trained: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let graph = document.graph();
    let mut touched: HashSet<&str> =
        graph.initializer.iter().map(|own| own.name.as_str()).filter(|name| is_trained(name)).collect();
    let mut names = BTreeSet::new();
    for node in &graph.node {
        let silent = ["Shape", "Constant", "ConstantOfShape"].contains(&node.op_type.as_str());
        if !silent && node.input.iter().any(|name| touched.contains(name.as_str())) {
            touched.extend(node.output.iter().map(String::as_str));
            if !["Identity", "Dropout"].contains(&node.op_type.as_str()) {
                names.insert(node.name.clone());
            }
        }
    }
    names
}

fn on_path(report: &Preflight) -> BTreeSet<String> {
    let nodes = report.nodes.iter().filter(|node| node.support != Support::Frozen);
    nodes.map(|node| node.name.clone()).collect()
}

#[test]
fn nodes_and_parameters_are_those_of_the_file() {
    // Networks whose files have no arithmetic on shapes, and what is named in them.
    for (name, params, prefix) in [
        ("unet.ts17.onnx", "all", ""),
        ("unet.ts17.onnx", "decoder", "decoder"),
        ("linknet.ts11.onnx", "all", ""),
        ("deeplab.ts13.onnx", "all", ""),
        ("mobile.ts17.onnx", "all", ""),
    ] {
        let document = document(name);
        let facts = Facts::of(&document);
        let report = Preflight::of(&document, &options(params)).unwrap();
        assert_eq!(report.problems, [""; 0], "{name}");
        assert_eq!(report.trained_elements + report.frozen_elements, facts.parameters as usize, "{name}");
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for node in &report.nodes {
            *counts.entry(&node.op).or_default() += 1;
        }
        for op in ["Conv", "ConvTranspose", "BatchNormalization", "Relu", "MaxPool", "Resize"] {
            let (found, expected) = (counts.get(op).copied(), facts.operators.get(op).copied());
            assert_eq!(found, expected, "{name}: {op}");
        }
        let trained: HashSet<&str> = report.trained.iter().map(|own| own.name.as_str()).collect();
        if prefix.is_empty() {
            // All but the running statistics.
            let rest = report.frozen.iter().all(|own| own.role == "statistic");
            assert!(rest, "{name}: {:?}", report.frozen);
        }
        let expected = downstream(&document, |name| trained.contains(name));
        assert_eq!(on_path(&report), expected, "{name} {params}");
        assert_eq!(report.backward_nodes, expected.len(), "{name} {params}");
        for own in &report.trained {
            let tensor = document.graph().initializer.iter().find(|tensor| tensor.name == own.name).unwrap();
            let dims: Vec<usize> = tensor.dims.iter().map(|&dim| dim as usize).collect();
            assert_eq!((&dims, own.elements), (&own.shape, dims.iter().product()), "{name}: {}", own.name);
            assert!(own.role != "statistic" && own.role != "fixed");
        }
    }
}

#[test]
fn memory_is_counted() {
    let report = |batch: usize, params: &str, optimizer: &str| {
        let mut options = options(params);
        options.batch = batch;
        options.optimizer = glebe::autodiff::Optimizer::new(optimizer.parse().unwrap());
        Preflight::of(&document("unet.ts17.onnx"), &options).unwrap()
    };
    let all = report(2, "all", "adamw");
    let memory = all.memory.unwrap();
    let bytes = 4 * all.trained_elements as u64;
    assert_eq!((memory.gradients, memory.optimizer), (bytes, 2 * bytes));
    assert!(memory.weights >= bytes + 4 * all.frozen_elements as u64);
    assert!(memory.activations <= memory.working_peak && memory.working_peak < memory.peak);
    assert!(memory.step_nodes > all.nodes.len());
    // Plain descent has no state; results of the nodes grow with the batch.
    let plain = report(4, "all", "sgd").memory.unwrap();
    assert_eq!(plain.optimizer, 0);
    // Not exactly twice: what is computed of weights alone (a normalisation's factors) is kept once.
    let twice = 2 * memory.activations;
    assert!(
        plain.activations <= twice && plain.activations > twice - twice / 20,
        "{} {twice}",
        plain.activations
    );
    // Where less is trained, less is kept.
    let head = report(2, "head", "adamw").memory.unwrap();
    assert!(head.activations < memory.activations && head.gradients < memory.gradients);
}

/// Convolutions with two nodes between them that have no rule: `one` -> GridSample -> `two` -> LSTM -> `three`.
fn blocked() -> Vec<u8> {
    let mut graph = GraphBuilder::new("blocked");
    let shape = |channels: u64| [Dim::Fixed(2), channels.into(), 8.into(), 8.into()];
    let image = graph.input("image", ElementType::Float32, &shape(3));
    let conv = |graph: &mut GraphBuilder, x: &str, name: &str, output: i64, input: i64| {
        let values: Vec<f32> = (0..output * input).map(|at| (at % 5) as f32 - 2.0).collect();
        let weight = graph.initializer_f32(&format!("{name}.weight"), &[output, input, 1, 1], &values);
        graph.node("Conv", &[x, &weight]).name(name).output(name)
    };
    let one = conv(&mut graph, &image, "one", 4, 3);
    let grid = graph.initializer_f32("grid", &[2, 8, 8, 2], &[0.25; 256]);
    let sampled = graph.node("GridSample", &[&one, &grid]).name("sample").output("sampled");
    let two = conv(&mut graph, &sampled, "two", 4, 4);
    let rows = graph.initializer_i64("rows", &[3], &[8, 16, 4]);
    let rows = graph.node("Reshape", &[&two, &rows]).name("rows").output("rows");
    let w = graph.initializer_f32("lstm.w", &[1, 16, 4], &[0.1; 64]);
    let r = graph.initializer_f32("lstm.r", &[1, 16, 4], &[0.1; 64]);
    let lstm = graph.node("LSTM", &[&rows, &w, &r]).int("hidden_size", 4).name("memory").output("memory");
    let back = graph.initializer_i64("back", &[4], &[2, 4, 8, 8]);
    let back = graph.node("Reshape", &[&lstm, &back]).name("back").output("back");
    let three = conv(&mut graph, &back, "three", 2, 4);
    graph.output(&three, ElementType::Float32, &shape(2));
    graph.finish().unwrap()
}

fn blocked_report(params: &str) -> Preflight {
    let mut options = StepOptions::new(2, [8, 8]);
    options.params = params.parse().unwrap();
    let model = Model::from_bytes(runtime(), blocked(), &ModelOptions::default()).unwrap();
    preflight(&model, &options).unwrap()
}

#[test]
fn all_that_stands_in_the_way_is_listed() {
    let report = blocked_report("*.weight");
    let found: Vec<(&str, &str, &str)> = report
        .unsupported
        .iter()
        .map(|own| (own.node.as_str(), own.op.as_str(), own.path.as_str()))
        .collect();
    let expected = [
        ("sample", "GridSample", "\"one.weight\" -> Conv -> GridSample"),
        ("memory", "LSTM", "\"two.weight\" -> Conv -> Reshape -> LSTM"),
    ];
    assert_eq!(found, expected);
    assert_eq!((report.problems.len(), report.memory), (2, None));
    assert_eq!(report.backward_nodes, 7);
    let error = report.refusal().unwrap();
    assert_eq!(error.kind(), ErrorKind::ModelUnsupported);
    assert!(error.message().contains("GridSample") && error.message().contains("1 more"), "{error}");
    // Behind the first only the second is in the way.
    let report = blocked_report("two.weight,three.weight");
    assert_eq!(report.unsupported.len(), 1);
    assert_eq!(report.unsupported[0].node, "memory");
}

#[test]
fn what_lies_in_the_frozen_part_is_accepted() {
    let report = blocked_report("three.*");
    assert!(report.problems.is_empty() && report.refusal().is_none(), "{:?}", report.problems);
    assert_eq!(on_path(&report), BTreeSet::from(["three".to_owned()]));
    let support = |name: &str| report.nodes.iter().find(|node| node.name == name).unwrap().support;
    assert_eq!((support("sample"), support("memory")), (Support::Frozen, Support::Frozen));
    assert!(report.memory.is_some());
}

#[test]
fn forms_that_a_rule_refuses_are_all_found() {
    let mut graph = GraphBuilder::new("columns");
    let shape: [Dim; 4] = [1.into(), 2.into(), 4.into(), 4.into()];
    let image = graph.input("image", ElementType::Float32, &shape);
    let weight = graph.initializer_f32("weight", &[2, 2, 1, 1], &[1.0; 4]);
    let mut x = graph.node("Conv", &[&image, &weight]).output("x");
    for (name, order) in [("first", 1), ("second", 0), ("third", 1)] {
        let pool = graph.node("MaxPool", &[&x]).name(name).ints("kernel_shape", &[1, 1]);
        x = pool.int("storage_order", order).output(name);
    }
    graph.output(&x, ElementType::Float32, &shape);
    let document = Document::from_bytes(graph.finish().unwrap(), &Limits::default()).unwrap();
    let report = Preflight::of(&document, &StepOptions::new(1, [4, 4])).unwrap();
    let found: Vec<&str> = report.unsupported.iter().map(|own| own.node.as_str()).collect();
    assert_eq!(found, ["first", "third"]);
    assert!(report.unsupported.iter().all(|own| own.reason.contains("storage_order")));
}

#[test]
fn an_operator_that_nobody_knows_is_a_problem_and_no_error() {
    let mut graph = GraphBuilder::new("unknown");
    let shape: [Dim; 4] = [1.into(), 2.into(), 4.into(), 4.into()];
    let image = graph.input("image", ElementType::Float32, &shape);
    let x = graph.node("Celsius", &[&image]).domain("elsewhere", 1).name("first").output("first");
    graph.output(&x, ElementType::Float32, &shape);
    let document = Document::from_bytes(graph.finish().unwrap(), &Limits::default()).unwrap();
    let report = Preflight::of(&document, &StepOptions::new(1, [4, 4])).unwrap();
    // Not even its shape is known.
    assert_eq!((report.problems.len(), report.nodes.len()), (1, 0));
    assert!(report.problems[0].contains("Celsius"), "{:?}", report.problems);
}

fn json(arguments: &[&str]) -> (Option<i32>, Value) {
    let done = glebe(arguments);
    let value = serde_json::from_slice(&done.stdout);
    (done.status.code(), value.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr))))
}

#[test]
fn inspect_says_what_would_be_trained() {
    let path = network("unet.ts17.onnx");
    let path = path.to_str().unwrap();
    let (code, report) =
        json(&["inspect", path, "--params", "decoder", "--batch", "2", "--size", "32x64", "--json"]);
    assert_eq!(code, Some(0));
    assert_eq!(report["kind"], "model");
    let training = &report["training"];
    assert_eq!((&training["batch"], &training["size"]), (&2.into(), &serde_json::json!([32, 64])));
    let names: Vec<&str> =
        training["trained"].as_array().unwrap().iter().map(|own| own["name"].as_str().unwrap()).collect();
    assert!(!names.is_empty() && names.len() == names.iter().collect::<HashSet<_>>().len());
    assert_eq!(training["trained"][0]["role"], "weight");
    assert_eq!(training["nodes"][0]["support"], "frozen");
    assert_eq!(training["unsupported"], serde_json::json!([]));
    assert!(training["memory"]["peak"].as_u64().unwrap() > 1 << 20);
    assert_eq!(training.get("measured"), None);

    // For people: a summary, lists that are cut, and whole ones on demand.
    let short = glebe(&["inspect", path, "--params", "all"]);
    let long = glebe(&["-v", "inspect", path, "--params", "all"]);
    assert!(short.status.success() && long.status.success());
    let (short, long) = (String::from_utf8(short.stdout).unwrap(), String::from_utf8(long.stdout).unwrap());
    assert!(short.contains("can be trained") && short.contains("more (-v lists all)"), "{short}");
    assert!(!long.contains("more (-v lists all)") && long.contains("\nfrozen:") && long.contains("\nnodes:"));
    assert!(short.lines().count() < 30 && long.lines().count() > 60);
}

#[test]
fn inspect_measures_two_steps() {
    let path = network("unet.ts17.onnx");
    let (code, report) =
        json(&["inspect", path.to_str().unwrap(), "--params", "head", "--size", "32", "--measure", "--json"]);
    let measured = &report["training"]["measured"];
    assert_eq!(code, Some(0));
    for key in ["build_ms", "first_step_ms", "step_ms"] {
        assert!(measured[key].as_f64().is_some_and(|time| time > 0.0), "{measured}");
    }
}

#[test]
fn inspect_refuses_behind_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocked.onnx");
    std::fs::write(&path, blocked()).unwrap();
    let path = path.to_str().unwrap();
    let refused = Some(ErrorKind::ModelUnsupported.code());
    let (code, report) = json(&["inspect", path, "--params", "*.weight", "--json"]);
    assert_eq!(code, refused);
    // Its own sizes are taken where none are given.
    assert_eq!((&report["training"]["batch"], &report["training"]["size"][0]), (&2.into(), &8.into()));
    assert_eq!(report["training"]["unsupported"].as_array().unwrap().len(), 2);
    // A measurement is not tried.
    let done = glebe(&["inspect", path, "--params", "*.weight", "--measure"]);
    assert_eq!(done.status.code(), refused);
    let (shown, told) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert!(shown.contains("GridSample sample") && shown.contains("LSTM memory"), "{shown}");
    assert!(told.lines().count() == 1 && told.contains("blocked.onnx"), "{told}");
    assert!(glebe(&["inspect", path, "--params", "three.*"]).status.success());
}

#[test]
fn inspect_refuses_what_makes_no_sense() {
    let (unet, picture) = (network("unet.ts17.onnx"), golden("image.png"));
    let (unet, picture) = (unet.to_str().unwrap(), picture.to_str().unwrap());
    for (arguments, kind, said) in [
        (&["inspect", unet, "--params", "nowhere.*"][..], ErrorKind::InvalidArgument, "matches none"),
        (&["inspect", unet, "--params", ""], ErrorKind::InvalidArgument, "empty term"),
        (&["inspect", unet, "--params", "all", "--batch", "0"], ErrorKind::InvalidArgument, "batch"),
        (&["inspect", unet, "--params", "all", "--size", "0"], ErrorKind::InvalidArgument, "256x512"),
        (&["inspect", unet, "--params", "all", "--size", "32xx"], ErrorKind::InvalidArgument, "256x512"),
        (&["inspect", unet, "--size", "32"], ErrorKind::InvalidArgument, "--params"),
        (&["inspect", unet, "--measure"], ErrorKind::InvalidArgument, "--params"),
        (&["inspect", unet, "--params", "all", "--loss", "nonsense"], ErrorKind::InvalidArgument, "nonsense"),
        (&["inspect", unet, "--params", "all", "--output", "nowhere"], ErrorKind::InvalidArgument, "nowhere"),
        (&["inspect", picture, "--params", "all"], ErrorKind::InvalidArgument, "raster"),
        (&["inspect", "nowhere.onnx", "--params", "all"], ErrorKind::NotFound, "nowhere.onnx"),
    ] {
        let done = glebe(arguments);
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(kind.code()), "{arguments:?}: {told}");
        assert!(told.contains(said) && told.lines().count() == 1, "{arguments:?}: {told}");
        assert!(done.stdout.is_empty(), "{arguments:?}");
    }
    // A file with fixed sizes takes no others.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocked.onnx");
    std::fs::write(&path, blocked()).unwrap();
    let done = glebe(&["inspect", path.to_str().unwrap(), "--params", "three.*", "--size", "16"]);
    assert_eq!(done.status.code(), Some(ErrorKind::Mismatch.code()));
}
