//! `glebe step`: options of the optimizer and of adapters.

use std::path::Path;

use glebe::ErrorKind;
use glebe::weights::tensors::{self, Elements, Tensors};

use crate::command_line::glebe;

/// Runs `glebe step` on a small U-Net; the losses, and the tensors of the file that `output` names.
fn step(arguments: &[&str], output: &str) -> (Vec<f64>, Tensors) {
    step_of("unet.ts17.onnx", arguments, output)
}

fn step_of(model: &str, arguments: &[&str], output: &str) -> (Vec<f64>, Tensors) {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train");
    let (model, batches) = (golden.join(model), golden.join("batches.safetensors"));
    let made = folder.path().join("made.safetensors");
    let mut all = vec!["step", model.to_str().unwrap(), "--batches", batches.to_str().unwrap(), "--json"];
    all.extend(["--ignore-index", "255", output, made.to_str().unwrap()]);
    all.extend(arguments);
    let done = glebe(&all);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let losses = report["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
    (losses, tensors::read(&made).unwrap())
}

fn values<'a>(tensors: &'a Tensors, name: &str) -> &'a [f32] {
    match &tensors[name].elements {
        Elements::F32(values) => values,
        other => panic!("{other:?}"),
    }
}

fn close(a: &[f32], b: impl Iterator<Item = f32>) {
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "{a} {b}");
    }
}

#[test]
fn gradients_of_several_batches_are_averaged() {
    let (each, _) = step(&["--lr", "0"], "--weights");
    let (together, summed) = step(&["--lr", "0", "--accumulate", "5"], "--gradients");
    assert_eq!((each.len(), together.len()), (5, 1));
    assert!((together[0] - each.iter().sum::<f64>() / 5.0).abs() < 1e-5);
    // The mean of the same batch is that batch.
    let (_, one) = step(&["--lr", "0", "--steps", "1"], "--gradients");
    assert_ne!(summed["head.weight"], one["head.weight"]);
    // Two steps of two batches and one of what is left, with the first again.
    assert_eq!(step(&["--lr", "0", "--accumulate", "2"], "--weights").0.len(), 3);
}

#[test]
fn groups_and_averages_do_what_they_say() {
    let (_, before) = step(&["--lr", "0", "--steps", "1"], "--weights");
    let plain = ["--optimizer", "sgd", "--lr", "0.1", "--steps", "1"];
    let (_, after) = step(&plain, "--weights");
    let (_, frozen) = step(&[&plain[..], &["--group", "head.*:lr=0"]].concat(), "--weights");
    assert_eq!(frozen["head.weight"], before["head.weight"]);
    assert_ne!(after["head.weight"], before["head.weight"]);
    let other = before.keys().find(|name| !name.starts_with("head")).unwrap();
    assert_eq!(frozen[other], after[other]);
    let (_, averages) = step(&[&plain[..], &["--ema-decay", "0.75"]].concat(), "--averages");
    let (w0, w1) = (values(&before, "head.weight"), values(&after, "head.weight"));
    close(values(&averages, "head.weight"), w0.iter().zip(w1).map(|(a, b)| 0.75 * a + 0.25 * b));
}

#[test]
fn settings_of_the_optimizer_reach_it() {
    let weights = |more: &[&str]| {
        let (_, weights) = step(&[&["--lr", "0.01", "--steps", "2"], more].concat(), "--weights");
        values(&weights, "head.weight").to_vec()
    };
    let adam = weights(&[]);
    assert_ne!(adam, weights(&["--betas", "0.5,0.6"]));
    assert_ne!(adam, weights(&["--epsilon", "0.1"]));
    assert_ne!(weights(&["--optimizer", "rmsprop"]), weights(&["--optimizer", "rmsprop", "--alpha", "0.5"]));
    assert_eq!(adam, weights(&["--betas", "0.9,0.999", "--epsilon", "1e-8"]));
    // A power of two is taken out again to the last bit, but for the loss's own rounding.
    close(
        &weights(&["--optimizer", "sgd", "--loss-scale", "1024"]),
        weights(&["--optimizer", "sgd"]).into_iter(),
    );
    // Biases are decayed unless that is off.
    let bias = |more: &[&str]| {
        let (_, weights) = step(&[&["--lr", "0.01", "--weight-decay", "1"], more].concat(), "--weights");
        values(&weights, "head.bias").to_vec()
    };
    assert_ne!(bias(&[]), bias(&["--no-norm-decay"]));
}

#[test]
fn adapters_alone_are_written() {
    let weights = |seed: &str| {
        let arguments = ["--params", "lora:r=2", "--seed", seed, "--steps", "1"];
        step_of("mobile.ts17.onnx", &arguments, "--weights").1
    };
    let (a, b) = (weights("1"), weights("2"));
    assert!(!a.is_empty() && a.keys().all(|name| name.contains(".lora_")), "{:?}", a.keys());
    assert_eq!(a, weights("1"));
    assert_ne!(a, b);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train");
    let (model, batches) = (golden.join("unet.ts17.onnx"), golden.join("batches.safetensors"));
    let start = ["step", model.to_str().unwrap(), "--batches", batches.to_str().unwrap()];
    for (more, said) in [
        (&["--betas", "0.9"][..], "two numbers"),
        (&["--betas", "0.9,1"], "beta2"),
        (&["--accumulate", "0"], "1 batch"),
        (&["--group", "encoder.*:lr=1:lr=2"], "given twice"),
        (&["--group", "encoder.*:rate=1"], "lr or decay"),
        (&["--group", "nowhere:lr=1"], "matches none"),
        (&["--ema-decay", "1"], "average"),
        (&["--averages", "a.safetensors"], "--ema-decay"),
        (&["--loss-scale", "0"], "loss scale"),
        (&["--epsilon", "0"], "epsilon"),
        (&["--momentum", "0.9"], "no effect with adamw: it is for sgd, rmsprop"),
        (&["--betas", "0.8,0.9", "--optimizer", "sgd"], "no effect with sgd"),
        (&["--alpha", "0.8"], "it is for rmsprop"),
        (&["--epsilon", "1e-6", "--optimizer", "sgd"], "no effect with sgd"),
        (&["--aux-weight", "0.5"], "--aux-output"),
        (&["--params", "lora:r=0"], "rank"),
        (&["--params", "lora:r=2,lora:r=4"], "more than once"),
    ] {
        let done = glebe(&[&start[..], more].concat());
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(ErrorKind::InvalidArgument.code()), "{more:?}: {told}");
        assert!(told.contains(said) && told.lines().count() == 1, "{more:?}: {told}");
    }
}

#[test]
fn a_mode_of_batch_norm_that_changes_nothing_is_named() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train");
    let batches = golden.join("batches.safetensors");
    // The exporter has drawn BatchNormalization into the convolutions of the one and not of the other.
    for (model, is_told) in [("deeplab.tsfold11.onnx", true), ("unet.ts17.onnx", false)] {
        let model = golden.join(model);
        let [model, batches] = [&model, &batches].map(|path| path.to_str().unwrap());
        let step = ["step", model, "--batches", batches, "--ignore-index", "255", "--steps", "1"];
        let inspect = ["inspect", model, "--params", "all"];
        for start in [&step[..], &inspect] {
            let told = |mode: &str| {
                let done = glebe(&[start, &["--bn", mode]].concat());
                assert!(done.status.success());
                String::from_utf8(done.stderr).unwrap().contains("changes nothing")
            };
            assert_eq!((told("train"), told("frozen")), (is_told, false), "{start:?}");
        }
    }
}

#[test]
fn a_run_goes_on_from_its_state() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (whole, all) = step(&["--steps", "4", "--ema-decay", "0.9"], "--weights");
    let state = at("state.safetensors");
    let (first, _) = step(&["--steps", "2", "--ema-decay", "0.9", "--state", &state], "--weights");
    assert_eq!(first, whole[..2]);
    assert!(glebe::finetune::TrainState::read(&state).unwrap().updates == 2);
    // Batches come round from the beginning, so the third step sees what the third would have only with one batch a file.
    let (_, second) = step(&["--steps", "0", "--ema-decay", "0.9", "--init-state", &state], "--weights");
    let (_, after_two) = step(&["--steps", "2", "--ema-decay", "0.9"], "--weights");
    assert_eq!(second, after_two);
    assert_ne!(second, all);
}

#[test]
fn features_are_kept_over_the_epochs() {
    let (plain, a) = step(&["--params", "head", "--steps", "6"], "--weights");
    for size in [&["--cache-memory", "1MiB"][..], &["--cache-file", "1MiB"], &["--cache-memory", "0"]] {
        let (cached, b) = step(&[&["--params", "head", "--steps", "6"], size].concat(), "--weights");
        assert!(plain.iter().zip(&cached).all(|(a, b)| (a - b).abs() < 1e-5), "{plain:?} {cached:?}");
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    }
}

#[test]
fn outputs_that_cannot_be_are_refused_before_the_steps() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train");
    for name in ["unet.ts17.onnx", "batches.safetensors"] {
        std::fs::copy(golden.join(name), at(name)).unwrap();
    }
    let (model, batches, out) = (at("unet.ts17.onnx"), at("batches.safetensors"), at("out.safetensors"));
    let nowhere = at("none/out.safetensors");
    for (arguments, kind) in [
        (&["--weights", &nowhere][..], ErrorKind::NotFound),
        (&["--weights", &batches, "--overwrite"], ErrorKind::InvalidArgument),
        (&["--export", &model, "--overwrite"], ErrorKind::InvalidArgument),
        (&["--weights", &out, "--gradients", &out], ErrorKind::InvalidArgument),
    ] {
        let done =
            glebe(&[&["step", &model, "--batches", &batches, "--ignore-index", "255"], arguments].concat());
        assert_eq!(done.status.code(), Some(kind.code()), "{arguments:?}");
        assert!(done.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// 10 pixels by a factor of 0.7 are 7 by float32 and 6.99… by float64: the runtime's parts do not agree.
#[test]
fn factors_near_a_ratio_of_sizes_are_trained_in_every_form() {
    use glebe::onnx::{Dim, ElementType, GraphBuilder};
    let mut graph = GraphBuilder::new("net");
    let dims = |bands: u64| [2, bands, 10, 10].map(Dim::Fixed);
    let x = graph.input("image", ElementType::Float32, &dims(3));
    let weight = graph.initializer_f32("conv.weight", &[2, 3, 1, 1], &[0.3, -0.2, 0.5, 0.1, 0.4, -0.6]);
    let mixed = graph.node("Conv", &[&x, &weight]).output("mixed");
    let scales = graph.initializer_f32("scales", &[4], &[1.0, 1.0, 0.7, 0.7]);
    let logits = graph.node("Resize", &[&mixed, "", &scales]).string("mode", "linear").output("logits");
    graph.output(&logits, ElementType::Float32, &[2, 2, 7, 7].map(Dim::Fixed));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("net.onnx"), graph.finish().unwrap()).unwrap();
    let images = glebe::weights::tensors::NamedTensor::f32(
        &[1, 2, 3, 10, 10],
        (0..600).map(|i| (i as f32 * 0.1).sin()).collect(),
    );
    let labels = tensors::NamedTensor {
        shape: vec![1, 2, 7, 7],
        elements: Elements::U8((0..98).map(|i| u8::from(i % 3 == 0)).collect()),
    };
    let all: Tensors = [("images".to_owned(), images), ("labels".to_owned(), labels)].into();
    tensors::write(at("batches.safetensors"), &all, &Default::default(), false).unwrap();
    let mut losses = Vec::new();
    for more in [&["--loss", "ce"][..], &["--loss", "ce", "--portable"], &["--loss", "dice"]] {
        let path = |name: &str| at(name).to_str().unwrap().to_owned();
        let (model, batches) = (path("net.onnx"), path("batches.safetensors"));
        let start = ["step", &model, "--batches", &batches, "--json"];
        let done = glebe(&[&start[..], more].concat());
        assert!(done.status.success(), "{more:?}: {}", String::from_utf8_lossy(&done.stderr));
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        losses.push(report["losses"][0].as_f64().unwrap());
    }
    assert!((losses[0] - losses[1]).abs() < 1e-6, "{losses:?}");
}
