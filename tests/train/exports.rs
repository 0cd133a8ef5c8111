//! The finetuned file: what ONNX Runtime makes of it, and what of it is the original's.

use std::path::Path;

use glebe::autodiff::{BatchNorm, StepOptions};
use glebe::finetune::{Batch, Labels, NOTE_KEY, TrainStep};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::Document;
use glebe::onnx::wire::GRAPH_INITIALIZER;
use glebe::runtime::{OutputData, SessionOptions};
use glebe::weights::tensors::Elements;

use crate::golden::{Golden, folder, open, runtime};
use crate::networks::{options, run_options};

/// Two steps, and the logits of the third.
fn trained(path: &Path, options: &StepOptions) -> (TrainStep, Vec<f32>, Vec<f32>) {
    let mut step = TrainStep::new(&open(path), options, &run_options(false)).unwrap();
    let batches = Golden::read(&folder().join("batches.safetensors"));
    let part =
        |index: usize| (batches.array("images").part(index).f32(), batches.array("labels").part(index).u8());
    for index in 0..2 {
        let (images, labels) = part(index);
        step.step(&Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None }, 0.01)
            .unwrap();
    }
    let (images, labels) = part(2);
    step.want_logits(true);
    let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
    let logits = step.accumulate(&batch).unwrap().logits.unwrap();
    step.discard();
    (step, images, logits)
}

/// What ONNX Runtime gives for a file of bytes alone.
fn scored(bytes: &[u8], images: &[f32]) -> Vec<f32> {
    let model = Model::from_bytes(runtime(), bytes.to_vec(), &ModelOptions::default()).unwrap();
    let mut session = model.session(&SessionOptions::default()).unwrap();
    let take = |_: &[usize], data: OutputData<'_>| match data {
        OutputData::F32(values) => Ok(values.to_vec()),
        other => panic!("{other:?}"),
    };
    session.run(images, [2, 3, 32, 32], "logits", take).unwrap()
}

/// Largest difference by the largest number.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let most = b.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max) / most
}

const FILES: [&str; 9] = [
    "unet.ts17",
    "unet.ts9",
    "unet.tied17",
    "unet.external17",
    "unet.function17",
    "unet.tsfold17",
    "unet.ort17",
    "attentive.dynamo20",
    "vit_bundled.dynamoraw20",
];

#[test]
fn an_exported_file_scores_as_the_step_does() {
    for name in FILES {
        let path = folder().join(format!("{name}.onnx"));
        let golden = Golden::read(&path.with_extension("safetensors"));
        for norms in [BatchNorm::Frozen, BatchNorm::Train] {
            let options = options(&golden, norms);
            let (step, images, logits) = trained(&path, &options);
            let bytes = step.export().unwrap();
            let original = std::fs::read(&path).unwrap();
            assert_ne!(bytes, original);
            let document = Document::from_bytes(bytes.clone(), &Default::default()).unwrap();
            let note = document.metadata()[NOTE_KEY].to_owned();
            assert!(note.starts_with("2 updates of all") && note.ends_with("with adamw"), "{note}");
            // Every trained tensor is an initializer with its elements.
            for (tensor, wanted) in step.weights().unwrap() {
                let found =
                    document.graph().initializer(&tensor).unwrap_or_else(|| panic!("{name}: {tensor}"));
                assert_eq!(found.to_f32().map(Elements::F32), Some(wanted.elements), "{name}: {tensor}");
            }
            // With batch statistics the logits are those of the batch, not of the running statistics.
            if norms == BatchNorm::Frozen {
                let error = apart(&scored(&bytes, &images), &logits);
                assert!(error <= 1e-5, "{name}: {error:e}");
            }
        }
    }
}

#[test]
fn tensors_that_were_one_are_two_after_training() {
    let path = folder().join("unet.tied17.onnx");
    let golden = Golden::read(&path.with_extension("safetensors"));
    let original = Document::open(&path, &Default::default()).unwrap();
    let before = original.graph().initializer("down.0.1.bias").unwrap().to_f32();
    // All; only the one that the file has; only the Identity.
    for (params, own, other) in
        [("all", true, true), ("down.0.1.bias,head", true, false), ("up.1.1.bias,head", false, true)]
    {
        let mut options = options(&golden, BatchNorm::Frozen);
        options.params = params.parse().unwrap();
        let (step, images, logits) = trained(&path, &options);
        let bytes = step.export().unwrap();
        let document = Document::from_bytes(bytes.clone(), &Default::default()).unwrap();
        let of = |name: &str| document.graph().initializer(name).and_then(|tensor| tensor.to_f32());
        assert_eq!(of("down.0.1.bias") != before, own, "{params}");
        assert_eq!(of("up.1.1.bias") != before, other, "{params}");
        assert!(of("up.1.1.bias").is_some(), "{params}");
        let identities = document.graph().node.iter().filter(|node| node.is("Identity")).count();
        assert_eq!(identities, if params == "all" { 0 } else { 3 }, "{params}");
        let error = apart(&scored(&bytes, &images), &logits);
        assert!(error <= 1e-5, "{params}: {error:e}");
        // What was finetuned can be finetuned again, with the tensors apart.
        let again = Model::from_bytes(runtime(), bytes, &ModelOptions::default()).unwrap();
        let step = TrainStep::new(&again, &options, &run_options(false)).unwrap();
        assert_eq!(step.weights().unwrap()["head.bias"].shape, [5]);
    }
}

#[test]
fn what_is_not_trained_keeps_its_bytes() {
    let path = folder().join("unet.ts17.onnx");
    let golden = Golden::read(&path.with_extension("safetensors"));
    let mut options = options(&golden, BatchNorm::Frozen);
    options.params = "head".parse().unwrap();
    let (step, ..) = trained(&path, &options);
    let (old, new) = (std::fs::read(&path).unwrap(), step.export().unwrap());
    let read = |bytes: &[u8]| Document::from_bytes(bytes.to_vec(), &Default::default()).unwrap();
    let (before, after) = (read(&old), read(&new));
    let fields = |document: &Document| document.outline().graph().to_vec();
    assert_eq!(fields(&before).len(), fields(&after).len());
    let mut initializers = before.graph().initializer.iter();
    for (a, b) in fields(&before).iter().zip(fields(&after)) {
        let name = (a.number == GRAPH_INITIALIZER).then(|| initializers.next().unwrap().name.as_str());
        let changed = name.is_some_and(|name| name.starts_with("head."));
        assert_eq!(old[a.range.clone()] != new[b.range], changed, "{name:?}");
    }
    // The model's own fields come in their order, and the note at the end.
    let count = before.outline().model().len();
    assert_eq!(after.outline().model().len(), count + 1);
    for (a, b) in before.outline().model().iter().zip(after.outline().model()).filter(|(a, _)| a.number != 7)
    {
        assert_eq!(old[a.range.clone()], new[b.range.clone()]);
    }
}

#[test]
fn a_file_with_weights_elsewhere_is_exported_whole() {
    let path = folder().join("unet.external17.onnx");
    let golden = Golden::read(&path.with_extension("safetensors"));
    let mut options = options(&golden, BatchNorm::Frozen);
    options.params = "head".parse().unwrap();
    let (step, images, logits) = trained(&path, &options);
    let elsewhere = tempfile::tempdir().unwrap();
    let exported = elsewhere.path().join("finetuned.onnx");
    step.export_to(&exported, false).unwrap();
    let error = apart(&scored(&std::fs::read(&exported).unwrap(), &images), &logits);
    assert!(error <= 1e-5, "{error:e}");
    assert!(step.export_to(&exported, false).is_err());
}
