//! The Python of docs/exporting-for-finetuning.md, where there is PyTorch: exported by it, trained here, loaded by it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use glebe::autodiff::{BatchNorm, StepOptions};
use glebe::finetune::{Batch, Labels, TrainStep};
use glebe::weights::tensors::{self, NamedTensor};

use crate::golden::{Golden, open, relative};
use crate::networks::run_options;

/// The interpreter that has the peers' environment; a missing one is said aloud, and the test passes without a check.
const VARIABLE: &str = "PEERS_PYTHON";

fn python(interpreter: &str, folder: &Path, what: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/train/snippet.py");
    let done = Command::new(interpreter).arg(script).arg(what).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn the_page_on_exporting_does_what_it_says() {
    let Ok(interpreter) = std::env::var(VARIABLE) else {
        eprintln!("skipped: {VARIABLE} names no Python with torch, onnx, onnxscript and safetensors");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    python(&interpreter, folder.path(), "export");
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_str(&std::fs::read_to_string(at("parameters.json")).unwrap()).unwrap();

    let images: Vec<f32> =
        (0..2 * 3 * 64 * 64).map(|index| ((index * 37 % 101) as f32 / 50.0) - 1.0).collect();
    let labels: Vec<u8> = (0..2 * 64 * 64).map(|index| u8::from(index % 64 > 20)).collect();
    let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
    let mut logits = Vec::new();
    for file in ["model.onnx", "dynamo.onnx"] {
        let model = open(&at(file));
        let mut options = StepOptions::new(2, [64, 64]);
        options.batch_norm = BatchNorm::Train;
        let mut step = TrainStep::new(&model, &options, &run_options(false)).unwrap();
        // Parameters and statistics are those of the state_dict, under its names.
        let found: BTreeMap<String, Vec<usize>> =
            step.weights().unwrap().into_iter().map(|(name, tensor)| (name, tensor.shape)).collect();
        assert_eq!(found, shapes, "{file}");
        for _ in 0..3 {
            step.step(&batch, 1e-2).unwrap();
        }
        if file == "model.onnx" {
            step.export_to(at("finetuned.onnx"), false).unwrap();
            // With frozen statistics the step scores as the model in eval mode.
            let finetuned = open(&at("finetuned.onnx"));
            assert_eq!(finetuned.document().metadata()["glebe.class_names"], r#"["water", "wood"]"#);
            let mut frozen =
                TrainStep::new(&finetuned, &StepOptions::new(2, [64, 64]), &run_options(false)).unwrap();
            frozen.want_logits(true);
            logits = frozen.accumulate(&batch).unwrap().logits.unwrap();
        }
        // What the page says of patterns.
        options.params = "decoder.*,!*.bias".parse().unwrap();
        options.batch_norm = BatchNorm::Frozen;
        let step = TrainStep::new(&model, &options, &run_options(false)).unwrap();
        let names: Vec<String> = step.weights().unwrap().into_keys().collect();
        assert_eq!(names, ["decoder.1.weight", "decoder.2.weight"], "{file}");
    }

    let tensor = NamedTensor::f32(&[2, 3, 64, 64], images.clone());
    let all = [("images".to_owned(), tensor)].into();
    tensors::write(at("images.safetensors"), &all, &BTreeMap::new(), false).unwrap();
    python(&interpreter, folder.path(), "load");
    let wanted = Golden::read(&at("logits.safetensors"));
    let error = relative(&logits, wanted.array("logits"));
    assert!(error <= 1e-5, "{error:e}");
}
