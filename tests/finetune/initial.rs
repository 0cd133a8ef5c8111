//! Weights of foreign checkpoints in a training: what the network computes then is what PyTorch computes with them
//! (tests/golden/checkpoints/loaded.py).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use glebe::autodiff::{BatchNorm, StepOptions};
use glebe::finetune::{Batch, FeatureCache, FitOptions, Labels, LoadOptions, RunOptions, TrainStep, Trainer};
use glebe::hooks::{Callback, Callbacks, Context, Event};
use glebe::model::{Model, ModelOptions};
use glebe::weights::checkpoint::Checkpoint;
use glebe::weights::mapping::MappingOptions;
use glebe::weights::report::Report;
use glebe::weights::tensors::{self, NamedTensor, Tensors};
use glebe::{Error, ErrorKind, Result};

use crate::fixtures::{engines, runtime, values};
use crate::lifecycle::Recorder;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn stored(name: &str) -> PathBuf {
    golden("checkpoints").join(name)
}

fn expected(name: &str) -> NamedTensor {
    tensors::read(stored("loaded.logits.safetensors")).unwrap().remove(name).unwrap()
}

fn model(file: &str) -> Model {
    Model::open(runtime(), golden("train").join(file), &ModelOptions::default()).unwrap()
}

fn options_of(params: &str) -> StepOptions {
    let mut options = StepOptions::new(1, [16, 16]);
    options.params = params.parse().unwrap();
    options
}

/// The shape that some of the files fix.
fn fixed(params: &str) -> StepOptions {
    let mut options = StepOptions::new(2, [32, 32]);
    options.params = params.parse().unwrap();
    options
}

fn unet(form: &str, params: &str, run: &RunOptions) -> TrainStep {
    TrainStep::new(&model(&format!("unet.{form}.onnx")), &options_of(params), run).unwrap()
}

/// What the step's network gives for an image of `loaded.logits.safetensors`.
fn logits(step: &mut TrainStep, image: &str) -> Vec<f32> {
    let image = expected(image);
    let count = step.image_shape()[0];
    let images = values(&image).repeat(count);
    let labels = vec![0u8; count * image.shape[2] * image.shape[3]];
    let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
    let mut logits = step.evaluate(&batch).unwrap().logits.unwrap();
    logits.truncate(logits.len() / count);
    logits
}

/// PyTorch's are of float64 runs; ours have the rounding of float32 in a dozen layers.
fn assert_close(own: &[f32], expected: &NamedTensor, what: &str) {
    let expected = values(expected);
    assert_eq!(own.len(), expected.len(), "{what}");
    for (own, expected) in own.iter().zip(expected) {
        assert!((own - expected).abs() <= 2e-5, "{what}: {own} {expected}");
    }
}

fn load(step: &mut TrainStep, file: &str, options: &MappingOptions) -> Result<Report> {
    step.load_checkpoint(&Checkpoint::open(stored(file))?, options)
}

fn partial() -> MappingOptions {
    let mut options = MappingOptions::default();
    options.partial = true;
    options
}

/// Weights, statistics, averages, optimizer and counter, and the whole file with its frozen weights.
fn everything(step: &TrainStep) -> (Vec<u8>, Vec<u8>) {
    (step.state().unwrap().to_bytes().unwrap(), step.export().unwrap())
}

#[test]
fn whatever_the_names_the_network_computes_what_pytorch_computes() {
    for run in engines() {
        for (file, wanted, prefix) in [
            ("loaded.safetensors", "loaded", ""),
            ("loaded.ckpt", "loaded", "model."),
            ("loaded.parallel.pth", "loaded", "module."),
            ("loaded.half.pth", "half", ""),
        ] {
            // All is trained, or the head alone: the frozen weights are the checkpoint's too.
            for params in ["all", "head"] {
                let mut step = unet("ts17", params, &run);
                let what = format!("{file} {params}");
                assert_close(&logits(&mut step, "image"), &expected("before"), &what);
                let report = load(&mut step, file, &MappingOptions::default()).unwrap();
                assert!(report.is_complete() && report.stripped == prefix, "{what}: {report}");
                assert_eq!(report.loaded.len(), 27, "{what}");
                assert_close(&logits(&mut step, "image"), &expected(wanted), &what);
            }
        }
    }
}

/// Every form in which an exporter writes the network: shared initializers, weights in another file, local functions,
/// operators of ONNX Runtime, BatchNormalization folded.
#[test]
fn exporters_forms_get_the_same_weights() {
    for (form, folded) in [
        ("ts9", 0),
        ("tied17", 0),
        ("external17", 0),
        ("function17", 0),
        ("dynamoraw18", 0),
        ("tsfold17", 5),
        ("dynamo18", 5),
        ("ort17", 5),
    ] {
        let model = model(&format!("unet.{form}.onnx"));
        let mut step = TrainStep::new(&model, &fixed("all"), &RunOptions::default()).unwrap();
        let report = load(&mut step, "loaded.ckpt", &MappingOptions::default())
            .unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(report.folded().count(), folded, "{form}: {report}");
        assert_close(&logits(&mut step, "image32"), &expected("loaded32"), form);
        // The exported file holds them, also those of other files.
        let file = Model::from_bytes(runtime(), step.export().unwrap(), &ModelOptions::default()).unwrap();
        let mut again = TrainStep::new(&file, &fixed("head"), &RunOptions::default()).unwrap();
        assert_close(&logits(&mut again, "image32"), &expected("loaded32"), form);
    }
}

#[test]
fn linear_layers_are_turned() {
    for form in ["ts17", "ts20", "tsfold13", "ort17", "dynamo23"] {
        let model = model(&format!("convnext.{form}.onnx"));
        let mut step = TrainStep::new(&model, &fixed("head"), &RunOptions::default()).unwrap();
        let report = load(&mut step, "loaded.convnext.ckpt", &MappingOptions::default());
        let report = report.unwrap_or_else(|error| panic!("{form}: {error}"));
        println!("{form}: {report}");
        assert_close(&logits(&mut step, "image32"), &expected("convnext"), form);
    }
}
