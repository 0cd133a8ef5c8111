//! Composite operators and their parts, computed by the runtime.

use std::path::{Path, PathBuf};

use crate::autodiff::decompose::decompose;
use crate::autodiff::emit::Emit;
use crate::onnx::graph::{Graph, ValueType};
use crate::onnx::proto::AttributeProto;
use crate::onnx::{Document, ElementType, InputShapes, Limits, specialise};
use crate::runtime::{OutputData, Runtime, RuntimeOptions, Session, SessionOptions};

/// Numbers between -1 and 1 without pattern.
pub(crate) fn noise(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// What the runtime computes for `output`, of noise.
fn computed(runtime: &Runtime, bytes: &[u8], shape: [usize; 4], output: &str) -> (Vec<usize>, Vec<f32>) {
    let options = SessionOptions { threads: 1, ..SessionOptions::default() };
    let mut session = Session::new(runtime, bytes, &options).unwrap();
    session
        .run(&noise(shape.iter().product()), shape, output, |shape, data| match data {
            OutputData::F32(data) => Ok((shape.to_vec(), data.to_vec())),
            other => panic!("{other:?}"),
        })
        .unwrap()
}

/// Made by `tests/golden/upgrade/make.py`.
fn composites() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decompose");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

const COMPOSITE: &[&str] = &[
    "Attention",
    "Einsum",
    "GlobalLpPool",
    "LRN",
    "LpNormalization",
    "LpPool",
    "MeanVarianceNormalization",
    "RotaryEmbedding",
];

#[test]
fn parts_compute_what_the_composite_operator_computes() {
    let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
    let files = composites();
    assert!(files.len() > 50, "only {} models", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let document = Document::from_bytes(bytes.clone(), &Limits::default()).unwrap();
        let graph = match specialise(&document, &InputShapes::new(), None) {
            Ok(graph) => graph,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let (parts, map) = match decompose(&graph, &|_| true) {
            Ok(made) => made,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        assert!(parts.nodes().iter().all(|node| !COMPOSITE.contains(&node.op_type.as_str())), "{name}");
        assert!(parts.nodes().iter().all(|node| !node.is("AveragePool")), "{name}");
        assert_eq!(map.get(graph.outputs()[0]), Some(parts.outputs()[0]), "{name}");
        let output = parts.outputs()[0];
        assert_eq!(parts.name(output), "y", "{name}");
        let shape: [usize; 4] = graph.shape(graph.inputs()[0]).try_into().unwrap();
        let (expected_shape, expected) = computed(&runtime, &bytes, shape, "y");
        assert_eq!(parts.shape(output), expected_shape, "{name}");
        let (_, got) = computed(&runtime, &parts.to_bytes("parts").unwrap(), shape, "y");
        let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs() / (1.0 + b.abs()));
        let worst =
            worst.fold(0.0, |worst: f32, one| if one.is_nan() { f32::INFINITY } else { worst.max(one) });
        if worst > 3e-6 {
            wrong.push(format!("{name}: {worst}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_lies_off_the_path_stays() {
    for path in composites() {
        let document = Document::open(&path, &Limits::default()).unwrap();
        let graph = specialise(&document, &InputShapes::new(), None).unwrap();
        let (same, _) = decompose(&graph, &|_| false).unwrap();
        let operators = |graph: &Graph| -> Vec<String> {
            graph.nodes().iter().map(|node| node.op_type.clone()).collect()
        };
        assert_eq!(operators(&same), operators(&graph), "{}", path.display());
    }
}

/// A mask that leaves nothing to a query, which runtimes treat in different ways; by the specification it gets 0.
#[test]
fn a_query_without_keys_gets_nothing() {
    let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
    let mut graph = Graph::new(23);
    let x = graph.add_input("x", ValueType::new(ElementType::Float32, [1, 1, 3, 2]));
    let allowed = crate::onnx::graph::Constant::from_ints(
        ValueType::new(ElementType::Bool, [3, 3]),
        &[1, 0, 1, 0, 0, 0, 1, 1, 1],
    );
    let allowed = graph.add_constant("allowed", allowed.unwrap());
    let y = graph.op("Attention", &[x, x, x, allowed], &[]).unwrap();
    graph.set_outputs(vec![y]);
    let (parts, _) = decompose(&graph, &|_| true).unwrap();
    let name = parts.name(parts.outputs()[0]).to_owned();
    let (_, got) = computed(&runtime, &parts.to_bytes("parts").unwrap(), [1, 1, 3, 2], &name);
    assert_eq!(&got[2..4], [0.0, 0.0]);
    assert!(got.iter().all(|value| value.is_finite()), "{got:?}");
    assert!(got[0] != 0.0);
}

/// The runtime refuses even sizes, of which one more channel comes after than before.
#[test]
fn an_even_number_of_channels_reaches_further_to_the_end() {
    let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
    let shape = [1, 6, 2, 1];
    let mut graph = Graph::default();
    let x = graph.add_input("x", ValueType::new(ElementType::Float32, shape));
    let attributes = [AttributeProto::int("size", 4), AttributeProto::float("alpha", 0.5)];
    let y = graph.op("LRN", &[x], &attributes).unwrap();
    graph.set_outputs(vec![y]);
    let (parts, _) = decompose(&graph, &|_| true).unwrap();
    let name = parts.name(parts.outputs()[0]).to_owned();
    let (_, got) = computed(&runtime, &parts.to_bytes("parts").unwrap(), shape, &name);
    let x = noise(12);
    for channel in 0..6usize {
        for place in 0..2 {
            let near = channel.saturating_sub(1)..=(channel + 2).min(5);
            let sum: f32 = near.map(|other| x[other * 2 + place].powi(2)).sum();
            let expected = x[channel * 2 + place] / (1.0 + 0.5 / 4.0 * sum).powf(0.75);
            assert!((got[channel * 2 + place] - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn outputs_beyond_the_first_are_refused() {
    let mut graph = Graph::new(23);
    let x = graph.add_input("x", ValueType::new(ElementType::Float32, [1, 1, 3, 2]));
    let y = graph.op("Attention", &[x, x, x], &[]).unwrap();
    let (index, _) = graph.producer(y).unwrap();
    let present = graph.require_output(index, 1).unwrap();
    let sum = graph.total(present).unwrap();
    graph.set_outputs(vec![y, sum]);
    let error = decompose(&graph, &|_| true).unwrap_err();
    assert!(error.to_string().contains("output 1 is in use"), "{error}");
}
