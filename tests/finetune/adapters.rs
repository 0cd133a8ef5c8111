//! Low-rank adapters: against PyTorch, against the gradients of whole weights, and merged into the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use glebe::ErrorKind;
use glebe::autodiff::StepOptions;
use glebe::finetune::{Batch, Labels, Preflight, RunOptions, TrainStep};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::proto::ModelProto;
use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::weights::tensors::{self, NamedTensor, Tensors};
use prost::Message as _;
use safetensors::SafeTensors;

use crate::fixtures::{Numbers, build, difference, engines, network, options, runtime, values};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train")
}

/// The golden's float64 losses.
fn losses(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor("losses").unwrap();
    view.data().chunks_exact(8).map(|word| f64::from_le_bytes(word.try_into().unwrap())).collect()
}

/// The float32 tensors of a golden whose names begin with `prefix`, without it.
fn starting(path: &Path, prefix: &str) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let found = file.iter().filter_map(|(name, view)| {
        let floats = view.data().chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap()));
        Some((name.strip_prefix(prefix)?.to_owned(), NamedTensor::f32(view.shape(), floats.collect())))
    });
    found.collect()
}

#[test]
fn adapters_are_trained_as_pytorch_trains_them() {
    let batches = tensors::read(folder().join("batches.safetensors")).unwrap();
    let (images, labels) = (values(&batches["images"]), &batches["labels"].elements);
    let glebe::weights::tensors::Elements::U8(labels) = labels else { panic!("{labels:?}") };
    let batch = |step: usize| Batch {
        images: &images[step * images.len() / 5..(step + 1) * images.len() / 5],
        labels: Labels::U8(&labels[step * labels.len() / 5..(step + 1) * labels.len() / 5]),
        mask: None,
        keys: None,
    };
    for form in ["vit.ts17", "segformer.dynamo20", "mobile.ts17"] {
        let golden = folder().join(format!("{form}.lora.safetensors"));
        let model = folder().join(format!("{form}.onnx"));
        let model = Model::open(runtime(), model, &ModelOptions::default()).unwrap();
        let mut options = StepOptions::new(2, [32, 32]);
        options.params = "lora:r=2:alpha=4".parse().unwrap();
        options.seed = 7;
        options.loss.ignore_index = Some(255);
        for run in engines() {
            let mut step = TrainStep::new(&model, &options, &run).unwrap();
            for (index, expected) in losses(&golden).into_iter().enumerate() {
                let output = step.accumulate(&batch(index)).unwrap();
                if index == 0 {
                    let mut gradients = step.gradients().unwrap();
                    let wanted = starting(&golden, "gradient.");
                    gradients.retain(|name, own| {
                        // B begins with zeros, so A has no gradient yet.
                        let is_b = wanted.contains_key(name);
                        assert!(is_b || values(own).iter().all(|value| *value == 0.0), "{name}");
                        is_b
                    });
                    let error = difference(&gradients, &wanted);
                    assert!(error < 1e-5, "{form}: gradients differ by {error}");
                }
                step.apply(1e-2).unwrap();
                let error = (f64::from(output.loss) / expected - 1.0).abs();
                assert!(error < 1e-5, "{form}: loss {} of step {index}, expected {expected}", output.loss);
            }
            let error = difference(&step.weights().unwrap(), &starting(&golden, "weights."));
            assert!(error < 2e-5, "{form}: factors differ by {error}");
            let exported =
                Model::from_bytes(runtime(), step.export().unwrap(), &ModelOptions::default()).unwrap();
            let error =
                difference(&initializers(&exported, "merged.", &golden), &starting(&golden, "merged."));
            assert!(error < 1e-5, "{form}: merged weights differ by {error}");
            step.want_logits(true);
            let logits = step.accumulate(&batch(0)).unwrap().logits.unwrap();
            let wanted = &starting(&golden, "logits")[""];
            let logits = Tensors::from([(String::new(), NamedTensor::f32(&wanted.shape, logits))]);
            let error = difference(&logits, &Tensors::from([(String::new(), wanted.clone())]));
            assert!(error < 1e-5, "{form}: logits differ by {error}");
        }
    }
}

/// The initializers of a file that the golden has under `prefix`.
fn initializers(model: &Model, prefix: &str, golden: &Path) -> Tensors {
    let wanted = starting(golden, prefix);
    let all = model.document().graph().initializer.iter();
    let found = all.filter(|own| wanted.contains_key(&own.name)).map(|own| {
        let raw = own.raw_data.as_ref().unwrap();
        let floats = raw.chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap()));
        let shape: Vec<usize> = own.dims.iter().map(|&dim| dim as usize).collect();
        (own.name.clone(), NamedTensor::f32(&shape, floats.collect()))
    });
    found.collect()
}

const SIDE: usize = 4;

/// Weights in every form that an adapter knows, and four that can have none.
fn forms() -> Vec<u8> {
    let mut numbers = Numbers::new(5);
    let mut graph = GraphBuilder::new("forms");
    let free = |name: &str| Dim::Named(name.into());
    let image = graph.input("image", ElementType::Float32, &[free("n"), Dim::Fixed(3), free("h"), free("w")]);
    let mut weight = |graph: &mut GraphBuilder, name: &str, dims: &[i64]| {
        let count: i64 = dims.iter().product();
        graph.initializer_f32(name, dims, &numbers.many(count as usize, 0.6))
    };
    let relu = |graph: &mut GraphBuilder, x: &str| graph.node("Relu", &[x]).output("relu");
    let w = weight(&mut graph, "conv.weight", &[5, 3, 1, 1]);
    let b = weight(&mut graph, "conv.bias", &[5]);
    let x = graph.node("Conv", &[&image, &w, &b]).ints("kernel_shape", &[1, 1]).output("x");
    let x = graph.node("Transpose", &[&x]).ints("perm", &[0, 2, 3, 1]).output("x");
    // MatMul, MatMul with the transpose.
    let w = weight(&mut graph, "matmul", &[5, 6]);
    let x = graph.node("MatMul", &[&x, &w]).output("x");
    let x = relu(&mut graph, &x);
    let w = weight(&mut graph, "transposed", &[7, 6]);
    let w = graph.node("Transpose", &[&w]).output("w");
    let x = graph.node("MatMul", &[&x, &w]).output("x");
    // Gemm in four forms.
    let rows = graph.initializer_i64("rows", &[2], &[-1, 7]);
    let x = graph.node("Reshape", &[&x, &rows]).output("x");
    let (w, b) = (weight(&mut graph, "gemm.weight", &[6, 7]), weight(&mut graph, "gemm.bias", &[6]));
    let x = graph.node("Gemm", &[&x, &w, &b]).int("transB", 1).float("alpha", 0.5).output("x");
    let x = relu(&mut graph, &x);
    let w = weight(&mut graph, "gemm.plain", &[6, 5]);
    let x = graph.node("Gemm", &[&x, &w]).output("x");
    let w = weight(&mut graph, "gemm.turned", &[8, 5]);
    let w = graph.node("Transpose", &[&w]).ints("perm", &[1, 0]).output("w");
    let x = graph.node("Gemm", &[&x, &w]).output("x");
    let w = weight(&mut graph, "gemm.left", &[8, 4]);
    let x = graph.node("Gemm", &[&w, &x]).int("transA", 1).int("transB", 1).output("x");
    // On the left of MatMul; and one weight three times, once as its transpose.
    let w = weight(&mut graph, "matmul.left", &[6, 4]);
    let x = graph.node("MatMul", &[&w, &x]).output("x");
    let w = weight(&mut graph, "shared", &[6, 6]);
    let turned = graph.node("Transpose", &[&w]).output("w");
    let y = graph.node("MatMul", &[&w, &x]).output("y");
    let y = relu(&mut graph, &y);
    let y = graph.node("MatMul", &[&w, &y]).output("y");
    let z = graph.node("MatMul", &[&turned, &x]).output("z");
    let x = graph.node("Add", &[&y, &z]).output("x");
    let x = graph.node("Transpose", &[&x]).output("x");
    // None of these: used by a sum too; a product of two weights.
    let w = weight(&mut graph, "tied", &[6, 6]);
    let sum = graph.node("ReduceMean", &[&w]).ints("axes", &[0]).output("sum");
    let x = graph.node("MatMul", &[&x, &w]).output("x");
    let x = graph.node("Add", &[&x, &sum]).output("x");
    let (a, b) = (weight(&mut graph, "thin", &[6, 3]), weight(&mut graph, "wide", &[3, 6]));
    let product = graph.node("MatMul", &[&a, &b]).output("product");
    let x = graph.node("MatMul", &[&x, &product]).output("x");
    let shape = graph.initializer_i64("shape", &[4], &[-1, SIDE as i64, SIDE as i64, 6]);
    let x = graph.node("Reshape", &[&x, &shape]).output("x");
    let x = graph.node("Transpose", &[&x]).ints("perm", &[0, 3, 1, 2]).output("x");
    // Nor a product of activations, as attention has.
    let x = graph.node("MatMul", &[&x, &x]).output("x");
    let w = weight(&mut graph, "grouped", &[6, 3, 1, 1]);
    let x = graph.node("Conv", &[&x, &w]).int("group", 2).output("x");
    let w = weight(&mut graph, "spatial", &[6, 6, 3, 3]);
    let x = graph.node("Conv", &[&x, &w]).ints("pads", &[1; 4]).output("x");
    let w = weight(&mut graph, "head", &[3, 6, 1, 1]);
    let x = graph.node("Conv", &[&x, &w]).output("logits");
    graph.output(&x, ElementType::Float32, &[free("n"), Dim::Fixed(3), free("h"), free("w")]);
    graph.opset(17);
    graph.finish().unwrap()
}

const ADAPTED: [&str; 10] = [
    "conv.weight",
    "matmul",
    "transposed",
    "gemm.weight",
    "gemm.plain",
    "gemm.turned",
    "gemm.left",
    "matmul.left",
    "shared",
    "head",
];

fn form_step(bytes: Vec<u8>, params: &str, run: &RunOptions) -> TrainStep {
    let model = Model::from_bytes(runtime(), bytes, &ModelOptions::default()).unwrap();
    let mut options = StepOptions::new(2, [SIDE, SIDE]);
    options.params = params.parse().unwrap();
    let mut step = TrainStep::new(&model, &options, run).unwrap();
    step.want_logits(true);
    step
}

fn relative(found: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let apart: f64 = found.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    (apart / wanted.iter().map(|b| b * b).sum::<f64>()).sqrt()
}

/// A B, or with one of them transposed.
fn product(a: &[f32], b: &[f32], [m, k, n]: [usize; 3], turned: [bool; 2], scale: f64) -> Vec<f64> {
    let a = |i: usize, l: usize| f64::from(a[if turned[0] { l * m + i } else { i * k + l }]);
    let b = |l: usize, j: usize| f64::from(b[if turned[1] { j * k + l } else { l * n + j }]);
    let element = |i: usize, j: usize| scale * (0..k).map(|l| a(i, l) * b(l, j)).sum::<f64>();
    (0..m * n).map(|at| element(at / n, at % n)).collect()
}

#[test]
fn gradients_of_the_factors_follow_from_those_of_the_weights() {
    const RANK: usize = 2;
    let scale = 5.0 / RANK as f64;
    let original = forms();
    let mut numbers = Numbers::new(11);
    let images = numbers.many(2 * 3 * SIDE * SIDE, 1.0);
    let labels: Vec<u8> = (0..2 * SIDE * SIDE).map(|pixel| (pixel * 7 % 3) as u8).collect();
    let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
    for run in engines() {
        let mut frozen = form_step(original.clone(), "all", &run);
        let mut step = form_step(original.clone(), "lora:r=2:alpha=5", &run);
        // At first it is the model itself.
        let (before, first) = (frozen.accumulate(&batch).unwrap(), step.accumulate(&batch).unwrap());
        assert!((before.loss / first.loss - 1.0).abs() < 1e-6, "{} {}", before.loss, first.loss);
        step.discard();
        let mut state = step.state().unwrap();
        let names: Vec<String> =
            ADAPTED.iter().flat_map(|name| ["A", "B"].map(|own| format!("{name}.lora_{own}"))).collect();
        let mut found: Vec<&String> = state.weights.keys().collect();
        found.sort_by_key(|name| names.iter().position(|other| other == *name));
        assert_eq!(found, names.iter().collect::<Vec<_>>());
        for own in state.weights.values_mut() {
            *own = NamedTensor::f32(&own.shape.clone(), numbers.many(values(own).len(), 0.5));
        }
        step.set_state(&state).unwrap();
        let output = step.accumulate(&batch).unwrap();
        let gradients = step.gradients().unwrap();

        // The file with merged weights is the same function, and its weights' gradients say what the factors' are.
        let merged = step.export().unwrap();
        let mut whole = form_step(merged.clone(), "all", &run);
        let expected = whole.accumulate(&batch).unwrap();
        let wanted: Vec<f64> = expected.logits.unwrap().into_iter().map(f64::from).collect();
        let error = relative(&output.logits.unwrap(), &wanted);
        assert!(error < 1e-5, "logits differ by {error}");
        assert!((output.loss / expected.loss - 1.0).abs() < 1e-5);
        let of_weights = whole.gradients().unwrap();
        for name in ADAPTED {
            let weight = &of_weights[name];
            let (p, q) = (weight.shape[0], weight.shape[1]);
            let (a, b) = (format!("{name}.lora_A"), format!("{name}.lora_B"));
            let is_left = |own: &str| state.weights[own].shape[..2] == [p, RANK];
            let (left, right) = if is_left(&a) { (&a, &b) } else { (&b, &a) };
            assert!(is_left(left) && state.weights[right].shape[..2] == [RANK, q], "{name}");
            assert_eq!(state.weights[left].shape[2..], weight.shape[2..], "{name}");
            let (l, r) = (values(&state.weights[left]), values(&state.weights[right]));
            let dw = values(weight);
            let dl = product(dw, r, [p, q, RANK], [false, true], scale);
            let dr = product(l, dw, [RANK, p, q], [true, false], scale);
            for (own, wanted) in [(left, dl), (right, dr)] {
                let error = relative(values(&gradients[own]), &wanted);
                assert!(error < 2e-5, "{own}: the gradient differs by {error}");
            }
        }
        // A is what meets the layer's input.
        let shape = |name: &str| state.weights[name].shape.clone();
        assert_eq!(shape("matmul.lora_A"), [5, RANK]);
        assert_eq!(shape("transposed.lora_A"), [RANK, 6]);
        assert_eq!(shape("gemm.weight.lora_A"), [RANK, 7]);
        assert_eq!(shape("gemm.left.lora_A"), [8, RANK]);
        assert_eq!(shape("matmul.left.lora_A"), [RANK, 4]);
        assert_eq!(shape("conv.weight.lora_A"), [RANK, 3, 1, 1]);

        // The file has the nodes and names that it had; adapted weights alone have other elements.
        let read = |bytes: &[u8]| *ModelProto::decode(bytes).unwrap().graph.unwrap();
        let (old, new) = (read(&original), read(&merged));
        assert_eq!(old.node, new.node);
        assert_eq!((&old.input, &old.output), (&new.input, &new.output));
        for (old, new) in old.initializer.iter().zip(&new.initializer) {
            let is_adapted = ADAPTED.contains(&old.name.as_str());
            assert_eq!((&old.name, &old.dims, old == new), (&new.name, &new.dims, !is_adapted));
        }
        assert_eq!(old.initializer.len(), new.initializer.len());
    }
}

#[test]
fn the_seed_says_where_adapters_begin() {
    let weights = |seed: u64| {
        let mut options = options();
        options.params = "lora:r=2".parse().unwrap();
        options.seed = seed;
        build(&options, &RunOptions::default()).weights().unwrap()
    };
    assert_eq!(weights(3), weights(3));
    let (a, b) = (weights(3), weights(4));
    assert!(
        a["head.weight.lora_A"] != b["head.weight.lora_A"]
            && a["head.weight.lora_B"] == b["head.weight.lora_B"]
    );
    // Within ±1/√in, and all over it.
    let own = values(&a["head.weight.lora_A"]);
    let bound = 1.0 / 14f32.sqrt();
    assert!(own.iter().all(|value| value.abs() <= bound));
    assert!(own.iter().any(|value| *value > bound / 2.0) && own.iter().any(|value| *value < -bound / 2.0));
}

#[test]
fn other_terms_choose_beside_adapters() {
    let network = network();
    let report = |params: &str| {
        let mut options = options();
        options.params = params.parse().unwrap();
        Preflight::of(network.document(), &options).map(|report| {
            let roles = report.trained.iter().map(|own| (own.name.clone(), own.role));
            assert_eq!(report.trained_elements, report.trained.iter().map(|own| own.elements).sum::<usize>());
            roles.collect::<BTreeMap<_, _>>()
        })
    };
    let names = |params: &str| report(params).unwrap().into_keys().collect::<Vec<_>>();
    // The head is the only 1 x 1 convolution.
    assert_eq!(names("lora:r=4"), ["head.weight.lora_A", "head.weight.lora_B"]);
    assert_eq!(report("lora:r=4").unwrap()["head.weight.lora_A"], "adapter");
    let with_norm = ["encoder.bn.bias", "encoder.bn.weight", "head.weight.lora_A", "head.weight.lora_B"];
    assert_eq!(names("lora:r=4,norm"), with_norm);
    assert_eq!(names("norm,lora:r=4"), with_norm);
    assert_eq!(names("norm,lora:r=4,!*.bn.*"), ["head.weight.lora_A", "head.weight.lora_B"]);
    // Trained itself, excluded, or trained before: nothing is left for an adapter.
    for params in ["lora:r=4,head", "lora:r=4,!head.*", "all,lora:r=4", "lora:r=4,norm,!head.weight"] {
        let error = report(params).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{params}");
        assert!(error.message().contains("adapter"), "{error}");
    }
}
