//! Model + checkpoint → ONNX without a step: the same bytes that a step gives, and nothing else than weights and metadata
//! changed.

use std::path::{Path, PathBuf};

use glebe::autodiff::{BatchNorm, StepOptions};
use glebe::finetune::{
    Batch, ExportOptions, Exported, Labels, NOTE_KEY, RunOptions, TrainStep, export, fingerprint,
};
use glebe::geometry::Band;
use glebe::model::{Contract, Model, ModelOptions, Normalisation, Tags};
use glebe::onnx::wire::{GRAPH_INITIALIZER, MODEL_GRAPH, MODEL_METADATA};
use glebe::onnx::{Document, Facts, Limits, with_metadata};
use glebe::weights::checkpoint::Checkpoint;
use glebe::weights::mapping::MappingOptions;
use glebe::weights::tensors::{self, Elements, NamedTensor};
use glebe::{ErrorKind, Result};

use crate::fixtures::{runtime, values};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn document(form: &str) -> Document {
    Document::open(golden(&format!("train/{form}.onnx")), &Limits::default()).unwrap()
}

fn step(form: &str, options: &StepOptions) -> TrainStep {
    let path = golden(&format!("train/{form}.onnx"));
    let model = Model::open(runtime(), path, &ModelOptions::default()).unwrap();
    TrainStep::new(&model, options, &RunOptions::default()).unwrap()
}

fn options(params: &str) -> StepOptions {
    let mut options = StepOptions::new(2, [32, 32]);
    options.params = params.parse().unwrap();
    options.loss.ignore_index = Some(255);
    options
}

/// Some updates on the golden batches.
fn train(step: &mut TrainStep, count: usize) {
    let batches = tensors::read(golden("train/batches.safetensors")).unwrap();
    let Elements::U8(labels) = &batches["labels"].elements else { panic!() };
    let images = values(&batches["images"]);
    let (image, label) = (images.len() / 5, labels.len() / 5);
    for at in 0..count {
        let (images, labels) = (&images[at * image..][..image], &labels[at * label..][..label]);
        let batch = Batch { images, labels: Labels::U8(labels), mask: None, keys: None };
        step.step(&batch, 1e-2).unwrap();
    }
}

/// A file as a step writes it, without its note.
fn bare(bytes: &[u8]) -> Vec<u8> {
    with_metadata(bytes, &[], &[NOTE_KEY]).unwrap()
}

fn made(document: &Document, checkpoint: &Path, options: &ExportOptions) -> Result<Exported> {
    export(document, Some(&Checkpoint::open_with(checkpoint, &options.load.open)?), options)
}

/// The network on an image of `loaded.logits.safetensors`.
fn logits(bytes: Vec<u8>) -> Vec<f32> {
    let model = Model::from_bytes(runtime(), bytes, &ModelOptions::default()).unwrap();
    let mut step = TrainStep::new(&model, &options("head"), &RunOptions::default()).unwrap();
    let file = tensors::read(golden("checkpoints/loaded.logits.safetensors")).unwrap();
    let images = values(&file["image32"]).repeat(2);
    let batch = Batch { images: &images, labels: Labels::U8(&[0; 2048]), mask: None, keys: None };
    let mut logits = step.evaluate(&batch).unwrap().logits.unwrap();
    logits.truncate(logits.len() / 2);
    logits
}

#[test]
fn a_foreign_checkpoint_gives_the_file_of_a_step_that_loaded_it() {
    let wanted = tensors::read(golden("checkpoints/loaded.logits.safetensors")).unwrap();
    for (form, file, logit) in [
        ("unet.ts17", "loaded.ckpt", "loaded32"),
        ("unet.ts9", "loaded.parallel.pth", "loaded32"),
        ("unet.tied17", "loaded.safetensors", "loaded32"),
        ("unet.external17", "loaded.ckpt", "loaded32"),
        ("unet.function17", "loaded.ckpt", "loaded32"),
        ("unet.tsfold17", "loaded.ckpt", "loaded32"),
        ("unet.ort17", "loaded.ckpt", "loaded32"),
        ("convnext.tsfold13", "loaded.convnext.ckpt", "convnext"),
    ] {
        let checkpoint = golden("checkpoints").join(file);
        let own = made(&document(form), &checkpoint, &ExportOptions::default());
        let own = own.unwrap_or_else(|error| panic!("{form}: {error}"));
        let mut step = step(form, &options("all"));
        let report = step
            .load_checkpoint(&Checkpoint::open(&checkpoint).unwrap(), &MappingOptions::default())
            .unwrap();
        assert_eq!(own.report.as_ref(), Some(&report), "{form}");
        assert!(own.bytes == bare(&step.export().unwrap()), "{form}");
        // What PyTorch computes with these weights, of float64 runs.
        for (own, wanted) in logits(own.bytes).iter().zip(values(&wanted[logit])) {
            assert!((own - wanted).abs() <= 2e-5, "{form}: {own} {wanted}");
        }
        assert!(own.merged.is_empty() && own.metadata.is_empty(), "{form}");
    }
}

#[test]
fn every_other_byte_stays() {
    let document = document("unet.ts17");
    let mut options = ExportOptions::default();
    options.tags.tile = Some(64);
    let own = made(&document, &golden("checkpoints/loaded.ckpt"), &options).unwrap();
    let after = Document::from_bytes(own.bytes, &Limits::default()).unwrap();
    let model = |document: &Document| -> Vec<Vec<u8>> {
        let fields = document.outline().model().iter();
        let others = fields.filter(|field| ![MODEL_GRAPH, MODEL_METADATA].contains(&field.number));
        others.map(|field| document.bytes()[field.range.clone()].to_vec()).collect()
    };
    let graph = |document: &Document| -> Vec<Vec<u8>> {
        let fields = document.outline().graph().iter();
        let others = fields.filter(|field| field.number != GRAPH_INITIALIZER);
        others.map(|field| document.bytes()[field.range.clone()].to_vec()).collect()
    };
    assert!(!model(&document).is_empty() && !graph(&document).is_empty());
    assert_eq!(model(&after), model(&document));
    assert_eq!(graph(&after), graph(&document));
    // Weights differ in their elements only.
    for (own, before) in after.graph().initializer.iter().zip(&document.graph().initializer) {
        let mut own = own.clone();
        own.raw_data = before.raw_data.clone();
        assert_eq!(&own, before);
    }
}

#[test]
fn a_state_gives_the_file_of_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    for (form, params, batch_norm) in [
        ("unet.ts17", "all", BatchNorm::Train),
        ("unet.ts17", "up*,head", BatchNorm::Train),
        ("unet.tied17", "head", BatchNorm::Frozen),
        ("segformer.ts17", "norm", BatchNorm::Frozen),
    ] {
        let mut training = options(params);
        training.batch_norm = batch_norm;
        training.optimizer.ema_decay = Some(0.5);
        let mut step = step(form, &training);
        train(&mut step, 2);
        step.state().unwrap().write(&path, true).unwrap();
        let document = document(form);
        let own = made(&document, &path, &ExportOptions::default()).unwrap();
        assert!(bare(&own.bytes) == bare(&step.export().unwrap()), "{form} {params}");
        assert_eq!(own.metadata[NOTE_KEY], "2 updates");
        let mut averages = ExportOptions::default();
        averages.load.open.averages = true;
        let own = made(&document, &path, &averages).unwrap();
        assert!(bare(&own.bytes) == bare(&step.export_averages().unwrap()), "{form} {params}");
        assert!(bare(&own.bytes) != bare(&step.export().unwrap()), "{form} {params}");
        assert_eq!(own.metadata[NOTE_KEY], "2 updates, moving averages");
    }
    // There are none in other files.
    let mut averages = ExportOptions::default();
    averages.load.open.averages = true;
    step("unet.ts17", &options("head")).state().unwrap().write(&path, true).unwrap();
    for path in [&path, &golden("checkpoints/loaded.ckpt"), &golden("checkpoints/loaded.safetensors")] {
        let error = made(&document("unet.ts17"), path, &averages).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("moving averages"), "{error}");
    }
}

#[test]
fn adapters_are_merged_as_by_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    for form in ["vit.ts17", "segformer.dynamo20", "mobile.ts17", "convnext.ts17"] {
        for params in ["lora:r=2:alpha=3", "lora:r=3,norm"] {
            let mut step = step(form, &options(params));
            train(&mut step, 2);
            step.state().unwrap().write(&path, true).unwrap();
            let own = made(&document(form), &path, &ExportOptions::default()).unwrap();
            assert!(bare(&own.bytes) == bare(&step.export().unwrap()), "{form} {params}");
            let factors = step.trained_names().iter().filter(|name| name.ends_with(".lora_A"));
            assert_eq!(own.merged.len(), factors.count(), "{form} {params}");
        }
    }
}

#[test]
fn adapters_without_their_scale_are_refused_until_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let (path, older) = (folder.path().join("state.safetensors"), folder.path().join("older.safetensors"));
    let mut step = step("vit.ts17", &options("lora:r=2:alpha=3"));
    train(&mut step, 2);
    step.state().unwrap().write(&path, true).unwrap();
    let (all, mut metadata) = tensors::read_with_metadata(&path).unwrap();
    assert_eq!(metadata.remove("adapter_scale").unwrap(), "1.5");
    let metadata = metadata.into_iter().collect();
    tensors::write(&older, &all, &metadata, false).unwrap();
    let document = document("vit.ts17");
    let error = made(&document, &older, &ExportOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("alpha") && error.path() == Some(older.as_path()), "{error}");
    let mut alpha = ExportOptions::default();
    alpha.lora_alpha = Some(3.0);
    assert!(bare(&made(&document, &older, &alpha).unwrap().bytes) == bare(&step.export().unwrap()));
    assert_eq!(made(&document, &path, &alpha).unwrap_err().kind(), ErrorKind::InvalidArgument);
    for wrong in [0.0, -1.0, f32::NAN] {
        alpha.lora_alpha = Some(wrong);
        assert_eq!(made(&document, &older, &alpha).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    // One factor alone, in part or not, and factors of other shapes.
    let (name, tensor) =
        all.iter().find(|(name, _)| name.starts_with("weights/") && name.ends_with(".lora_B")).unwrap();
    let partly = |change: &dyn Fn(&mut tensors::Tensors)| {
        let mut all = all.clone();
        change(&mut all);
        let mut metadata: std::collections::BTreeMap<_, _> = metadata.clone();
        metadata.insert("adapter_scale".into(), "1.5".into());
        tensors::write(&older, &all, &metadata, true).unwrap();
        let mut partial = ExportOptions::default();
        partial.load.mapping.partial = true;
        made(&document, &older, &partial).unwrap_err()
    };
    let error = partly(&|all| drop(all.remove(name)));
    assert!(error.kind() == ErrorKind::Mismatch && error.message().contains("one of its two"), "{error}");
    let shape = [tensor.shape[0] + 1, tensor.shape[1] + 1];
    let other = NamedTensor::f32(&shape, vec![0.5; shape[0] * shape[1]]);
    let error = partly(&|all| drop(all.insert(name.clone(), other.clone())));
    assert!(error.kind() == ErrorKind::Mismatch && error.message().contains("do not make"), "{error}");
    // A step with another alpha does not go on from it.
    let mut other = self::step("vit.ts17", &options("lora:r=2:alpha=4"));
    let error = other.set_state(&step.state().unwrap()).unwrap_err();
    assert!(error.kind() == ErrorKind::Mismatch && error.message().contains("scaled by 1.5"), "{error}");
}

/// The file of a state that says which model it is of, as checkpoints of a training do.
fn of_model(step: &TrainStep, path: &Path, model: &str) {
    let state = step.state().unwrap();
    state.write(path, true).unwrap();
    let (all, metadata) = tensors::read_with_metadata(path).unwrap();
    let mut metadata: std::collections::BTreeMap<_, _> = metadata.into_iter().collect();
    metadata.insert("model".into(), model.into());
    tensors::write(path, &all, &metadata, true).unwrap();
}

#[test]
fn what_was_not_trained_is_that_of_the_model_it_began_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    let (document, own) = (document("unet.ts17"), ExportOptions::default());
    let mut head = step("unet.ts17", &options("head"));
    train(&mut head, 1);
    of_model(&head, &path, &head.model_fingerprint());
    assert_eq!(head.model_fingerprint(), fingerprint(document.bytes()));
    let bytes = made(&document, &path, &own).unwrap().bytes;
    // The same model with other tags.
    let mut tagged = ExportOptions::default();
    tagged.tags.tile = Some(64);
    let tagged = export(&document, None, &tagged).unwrap().bytes;
    let tagged = Document::from_bytes(tagged, &Limits::default()).unwrap();
    let again = made(&tagged, &path, &own).unwrap().bytes;
    assert!(bare(&with_metadata(&again, &[], &["glebe.tile"]).unwrap()) == bare(&bytes));
    // Another, whose frozen weights are not those that it was trained with.
    let other = made(&document, &golden("checkpoints/loaded.ckpt"), &own).unwrap().bytes;
    let other = Document::from_bytes(other, &Limits::default()).unwrap();
    let error = made(&other, &path, &own).unwrap_err();
    assert!(error.kind() == ErrorKind::Mismatch && error.message().contains("another model"), "{error}");
    let mut partial = ExportOptions::default();
    partial.load.mapping.partial = true;
    assert!(made(&other, &path, &partial).is_ok());
    // A training that began from a checkpoint: first this is exported, then the training's.
    let mut step = step("unet.ts17", &options("head"));
    let loaded = Checkpoint::open(golden("checkpoints/loaded.ckpt")).unwrap();
    step.load_checkpoint(&loaded, &MappingOptions::default()).unwrap();
    train(&mut step, 1);
    of_model(&step, &path, &step.model_fingerprint());
    assert_eq!(made(&document, &path, &own).unwrap_err().kind(), ErrorKind::Mismatch);
    assert!(bare(&made(&other, &path, &own).unwrap().bytes) == bare(&step.export().unwrap()));
    // All weights are its own: no matter what is there.
    let mut training = options("all");
    training.batch_norm = BatchNorm::Train;
    let mut whole = self::step("unet.ts17", &training);
    train(&mut whole, 1);
    of_model(&whole, &path, "another");
    assert!(bare(&made(&other, &path, &own).unwrap().bytes) == bare(&whole.export().unwrap()));
}

fn tags() -> Tags {
    Tags {
        bands: Some([3, 2, 1].map(|band| Band::new(band).unwrap()).to_vec()),
        normalisation: Some(
            Normalisation::new(vec![255.0], vec![0.1 + 0.2, 1e-300, -0.0], vec![1.0 / 3.0]).unwrap(),
        ),
        class_names: Some(["a", "b,c", "d\"", "é", ""].iter().map(|name| format!("{name}·")).collect()),
        tile: Some(96),
    }
}

fn contract(bytes: &[u8]) -> Contract {
    let document = Document::from_bytes(bytes.to_vec(), &Limits::default()).unwrap();
    Contract::of(&document, &Facts::of(&document), None).unwrap()
}

#[test]
fn tags_are_written_once_and_read_back() {
    let mut training = options("head");
    training.size = [16, 16];
    training.optimizer.ema_decay = Some(0.5);
    let mut step = step("unet.ts17", &training);
    train_small(&mut step);
    let tagged = step.export_tagged(&tags()).unwrap();
    assert_eq!(Tags::of(&contract(&tagged)), tags());
    let bare_of = |bytes: &[u8]| {
        let keys: Vec<String> = tags().entries().into_iter().map(|(key, _)| key).collect();
        with_metadata(bytes, &[], &keys.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    };
    assert!(bare_of(&tagged) == step.export().unwrap());
    assert!(bare_of(&step.export_averages_tagged(&tags()).unwrap()) == step.export_averages().unwrap());
    // A second finetuning: one note, one entry a key, the tags of the first.
    let model = Model::from_bytes(runtime(), tagged, &ModelOptions::default()).unwrap();
    let mut second = TrainStep::new(&model, &training, &RunOptions::default()).unwrap();
    train_small(&mut second);
    train_small(&mut second);
    let bytes = second.export().unwrap();
    let document = Document::from_bytes(bytes.clone(), &Limits::default()).unwrap();
    let mut keys: Vec<&str> =
        document.model().metadata_props.iter().map(|entry| entry.key.as_str()).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), document.metadata()[NOTE_KEY].split(' ').next()), (count, Some("2")));
    assert_eq!(Tags::of(&contract(&bytes)), tags());
    // Weights of another program take the note away; the same twice is the same.
    let own = made(&document, &golden("checkpoints/loaded.ckpt"), &ExportOptions::default()).unwrap();
    assert!(!contract_metadata(&own.bytes).contains(&NOTE_KEY.to_owned()));
    let mut again = ExportOptions::default();
    again.tags = tags();
    let first = export(&document, None, &again).unwrap().bytes;
    let second = Document::from_bytes(first.clone(), &Limits::default()).unwrap();
    assert!(export(&second, None, &again).unwrap().bytes == first);
    assert!(contract_metadata(&first).contains(&NOTE_KEY.to_owned()));
    // And what does not fit is refused.
    let five = Tags { class_names: Some(vec!["a".into(); 4]), ..Tags::default() };
    assert_eq!(step.export_tagged(&five).unwrap_err().kind(), ErrorKind::Mismatch);
    assert_eq!(step.export_averages_tagged(&five).unwrap_err().kind(), ErrorKind::Mismatch);
}

fn contract_metadata(bytes: &[u8]) -> Vec<String> {
    let document = Document::from_bytes(bytes.to_vec(), &Limits::default()).unwrap();
    document.model().metadata_props.iter().map(|entry| entry.key.clone()).collect()
}

/// One update on images of 16 pixels.
fn train_small(step: &mut TrainStep) {
    let file = tensors::read(golden("checkpoints/loaded.logits.safetensors")).unwrap();
    let images = values(&file["image"]).repeat(2);
    let labels: Vec<u8> = (0..512).map(|at| (at % 5) as u8).collect();
    let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
    step.step(&batch, 1e-2).unwrap();
}

/// What is left out of a normalisation is the model's own, by whichever keys it says so.
#[test]
fn a_part_of_the_normalisation_keeps_the_rest() {
    let document = document("unet.ts17");
    let deepness = [("standardization_mean", "[0.5]"), ("standardization_std", "[0.25]")];
    let entries = deepness.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let bytes = with_metadata(document.bytes(), &entries, &[]).unwrap();
    let document = Document::from_bytes(bytes, &Limits::default()).unwrap();
    let mut options = ExportOptions::default();
    options.scale = Some(vec![10_000.0]);
    let made = export(&document, None, &options).unwrap().bytes;
    let expected = Normalisation::new(vec![10_000.0], vec![0.5], vec![0.25]).unwrap();
    assert_eq!(contract(&made).normalisation(), &expected);
    assert!(!contract_metadata(&made).iter().any(|key| key.starts_with("standardization")));
    // One that cannot be read is put right, by all three only.
    let broken = [("glebe.scale".to_owned(), "wide".to_owned())];
    let bytes = with_metadata(document.bytes(), &broken, &[]).unwrap();
    let document = Document::from_bytes(bytes, &Limits::default()).unwrap();
    assert_eq!(export(&document, None, &options).unwrap_err().kind(), ErrorKind::ModelInvalid);
    (options.mean, options.std) = (Some(vec![0.0]), Some(vec![2.0]));
    let made = export(&document, None, &options).unwrap().bytes;
    assert_eq!(contract(&made).normalisation().std(), [2.0]);
    options.std = Some(vec![0.0]);
    assert_eq!(export(&document, None, &options).unwrap_err().kind(), ErrorKind::InvalidArgument);
    // Nothing to do.
    let error = export(&document, None, &ExportOptions::default()).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidArgument && error.message().contains("nothing"), "{error}");
}
