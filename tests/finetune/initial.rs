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

/// A transposed convolution of as many input as output channels (tests/golden/checkpoints/views_and_folds.py).
#[test]
fn norms_are_folded_into_transposed_convolutions_along_the_output_channels() {
    let model = Model::open(runtime(), stored("up.onnx"), &ModelOptions::default()).unwrap();
    let mut options = StepOptions::new(1, [8, 8]);
    options.params = "all".parse().unwrap();
    let mut step = TrainStep::new(&model, &options, &RunOptions::default()).unwrap();
    let report = load(&mut step, "up.pth", &MappingOptions::default()).unwrap();
    assert_eq!(report.folded().collect::<Vec<_>>(), ["up_bn"]);
    let (own, wanted) = (step.weights().unwrap(), tensors::read(stored("up.folded.safetensors")).unwrap());
    for (name, tensor) in &wanted {
        // PyTorch folds in float32.
        let pairs = values(&own[name]).iter().zip(values(tensor));
        assert!(pairs.into_iter().all(|(own, wanted)| (own - wanted).abs() <= 1e-6), "{name}");
    }
}

/// What a state of ours does not hold is what the step that wrote it did not change.
#[test]
fn a_state_without_frozen_weights_is_loaded_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    let mut step = unet("ts17", "head", &RunOptions::default());
    let held = step.weights().unwrap().len();
    std::fs::write(&path, step.state().unwrap().to_bytes().unwrap()).unwrap();
    let report = step.load_checkpoint(&Checkpoint::open(&path).unwrap(), &MappingOptions::default()).unwrap();
    assert_eq!((report.loaded.len(), report.kept), (held, 27 - held));
    assert!(report.is_complete() && report.kept > 0, "{report}");
}

#[test]
fn linear_layers_are_turned() {
    for form in ["ts17", "ts20", "tsfold13", "ort17"] {
        let model = model(&format!("convnext.{form}.onnx"));
        let mut step = TrainStep::new(&model, &fixed("head"), &RunOptions::default()).unwrap();
        let report = load(&mut step, "loaded.convnext.ckpt", &MappingOptions::default());
        let report = report.unwrap_or_else(|error| panic!("{form}: {error}"));
        let turned = report.loaded.iter().filter(|loaded| loaded.transposed).count();
        assert_eq!(
            turned,
            if form.starts_with("ts") && !form.starts_with("tsfold") { 0 } else { 4 },
            "{form}"
        );
        assert_close(&logits(&mut step, "image32"), &expected("convnext"), form);
    }
    // torch.export's optimiser forgets which layer a weight was of: said, and not guessed.
    let model = model("convnext.dynamo23.onnx");
    let mut step = TrainStep::new(&model, &fixed("head"), &RunOptions::default()).unwrap();
    let before = everything(&step);
    let error = load(&mut step, "loaded.convnext.ckpt", &MappingOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.message().contains("4 missing") && error.message().contains("4 unexpected"), "{error}");
    assert_eq!(everything(&step), before);
}

#[test]
fn another_head_is_left_out_in_part_and_listed() {
    let mut step = unet("ts17", "all", &RunOptions::default());
    let before = everything(&step);
    let error = load(&mut step, "loaded.head.pth", &MappingOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert_eq!(
        error.message(),
        "the checkpoint does not fit the model: 1 unexpected: \"auxiliary.weight\"; 2 of another shape: \
         head.weight (expected [5, 6, 3, 3], got [7, 6, 3, 3]), head.bias (expected [5], got [7])"
    );
    assert!(error.path().unwrap().ends_with("loaded.head.pth"));
    assert_eq!(everything(&step), before);
    let surveyed = step
        .survey_checkpoint(&Checkpoint::open(stored("loaded.head.pth")).unwrap(), &MappingOptions::default());
    let report = load(&mut step, "loaded.head.pth", &partial()).unwrap();
    assert_eq!(surveyed.unwrap(), report);
    assert_eq!((report.loaded.len(), report.missing.len()), (25, 0));
    assert_eq!(report.unexpected, ["auxiliary.weight"]);
    let misshaped: Vec<&str> = report.misshaped.iter().map(|own| own.slot.as_str()).collect();
    assert_eq!(misshaped, ["head.weight", "head.bias"]);
    assert_eq!(report.counts(), "25 loaded, 5 not of floating point, 1 unexpected, 2 of another shape");
    assert_close(&logits(&mut step, "image"), &expected("partial"), "partial");
    // A filter says the same on purpose.
    let mut options = MappingOptions::default();
    options.filter = "!head.*,!auxiliary.*".parse().unwrap();
    let mut step = unet("ts17", "head", &RunOptions::default());
    let report = load(&mut step, "loaded.head.pth", &options).unwrap();
    assert!(report.is_complete() && report.filtered == 3, "{report}");
    assert_close(&logits(&mut step, "image"), &expected("partial"), "filter");
    // Without a part of the network.
    options.filter = "down.*".parse().unwrap();
    let mut step = unet("ts17", "head", &RunOptions::default());
    assert_eq!(load(&mut step, "loaded.head.pth", &options).unwrap().loaded.len(), 15);
    // And one of two networks in a file.
    let mut both: Tensors = tensors::read(stored("loaded.safetensors")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.safetensors");
    both.values_mut().for_each(|tensor| *tensor = zeroed(tensor));
    for (name, tensor) in tensors::read(stored("loaded.safetensors")).unwrap() {
        both.insert(format!("student.model.{name}"), tensor);
    }
    tensors::write(&path, &both, &BTreeMap::new(), false).unwrap();
    let both = Checkpoint::open(&path).unwrap();
    let mut options = MappingOptions::default();
    options.prefix = Some("student.".into());
    let report = step.load_checkpoint(&both, &options).unwrap();
    assert_eq!((report.stripped.as_str(), report.loaded.len()), ("student.model.", 27));
    assert_close(&logits(&mut step, "image"), &expected("loaded"), "prefix");
    options.prefix = Some("teacher.".into());
    let error = step.load_checkpoint(&both, &options).unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidArgument && error.message().contains("\"teacher.\""),
        "{error}"
    );
}

fn zeroed(tensor: &NamedTensor) -> NamedTensor {
    NamedTensor::f32(&tensor.shape, vec![0.0; tensor.elements.len()])
}

/// The model's exporter has folded the norms; which layer one follows cannot be told, or is not in the model.
#[test]
fn a_norm_that_cannot_be_folded_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("renamed.safetensors");
    let renamed: Tensors = tensors::read(stored("loaded.safetensors"))
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (name.replace("down.1.1.", "normalise."), tensor))
        .collect();
    tensors::write(&path, &renamed, &BTreeMap::new(), false).unwrap();
    let renamed = Checkpoint::open(&path).unwrap();
    let run = RunOptions::default();
    let mut step = TrainStep::new(&model("unet.tsfold17.onnx"), &fixed("all"), &run).unwrap();
    let before = everything(&step);
    for options in [MappingOptions::default(), partial()] {
        let error = step.load_checkpoint(&renamed, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        // In part too: a bias of the model is left that the norm may have been folded into.
        let said = if options.partial { "no BatchNorm" } else { "without a place in the model:" };
        assert!(error.message().contains(&format!("{said} \"normalise\"")), "{error}");
    }
    assert_eq!(everything(&step), before);
    // Another epsilon than PyTorch's own.
    let mut options = MappingOptions::default();
    options.norm_epsilon = 1e-3;
    load(&mut step, "loaded.ckpt", &options).unwrap();
    let far = logits(&mut step, "image32");
    let wanted = expected("loaded32");
    assert!(far.iter().zip(values(&wanted)).any(|(own, wanted)| (own - wanted).abs() > 1e-4));
    options.norm_epsilon = f64::NAN;
    assert_eq!(load(&mut step, "loaded.ckpt", &options).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// A batch of two images, with labels that follow from the numbers.
fn train(step: &mut TrainStep, count: usize) {
    let shape = step.image_shape().to_vec();
    let image = expected("image");
    let images = values(&image).repeat(shape[0]);
    let labels: Vec<u8> = (0..shape[0] * shape[2] * shape[3]).map(|at| (at % 5) as u8).collect();
    let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
    for _ in 0..count {
        step.step(&batch, 1e-2).unwrap();
    }
}

/// A step that was built on the loaded file and one that loads midway go the same way from there on.
#[test]
fn loading_begins_anew() {
    for run in engines() {
        for (params, batch_norm) in [("all", BatchNorm::Train), ("up*,head", BatchNorm::Frozen)] {
            let mut options = options_of(params);
            options.batch_norm = batch_norm;
            options.optimizer.ema_decay = Some(0.5);
            options.optimizer.loss_scale = true;
            let mut step = TrainStep::new(&model("unet.ts17.onnx"), &options, &run).unwrap();
            step.set_loss_scale(64.0).unwrap();
            step.want_logits(true);
            let fresh = step.model_fingerprint();
            train(&mut step, 2);
            load(&mut step, "loaded.ckpt", &MappingOptions::default()).unwrap();
            assert_ne!(step.model_fingerprint(), fresh);
            let state = step.state().unwrap();
            assert_eq!((state.updates, state.loss_scale), (0, 64.0));
            let zero = |tensor: &NamedTensor| values(tensor).iter().all(|value| *value == 0.0);
            assert!(state.optimizer.values().flat_map(Tensors::values).all(zero));
            assert!(!state.averages.is_empty());
            for (name, average) in &state.averages {
                assert_eq!(average, &state.weights[name], "{name}");
            }
            let file =
                Model::from_bytes(runtime(), step.export().unwrap(), &ModelOptions::default()).unwrap();
            let mut other = TrainStep::new(&file, &options, &run).unwrap();
            other.set_loss_scale(64.0).unwrap();
            train(&mut step, 2);
            train(&mut other, 2);
            assert_eq!(step.state().unwrap(), other.state().unwrap());
            assert_eq!(step.weights().unwrap(), other.weights().unwrap());
        }
    }
}

#[test]
fn adapters_start_beside_the_loaded_weights() {
    let run = RunOptions::default();
    let mut options = fixed("lora:r=2");
    options.seed = 4;
    let mut step = TrainStep::new(&model("convnext.ts17.onnx"), &options, &run).unwrap();
    let start = step.weights().unwrap();
    load(&mut step, "loaded.convnext.ckpt", &MappingOptions::default()).unwrap();
    assert_close(&logits(&mut step, "image32"), &expected("convnext"), "lora");
    // The same random numbers; nothing of the checkpoint is in them.
    assert_eq!(step.weights().unwrap(), start);
    assert!(start.keys().all(|name| name.contains(".lora_")));
}

#[test]
fn kept_features_of_other_weights_are_forgotten() {
    let mut run = RunOptions::default();
    run.features = Some(FeatureCache::in_memory(1 << 20));
    let mut step = unet("ts17", "head", &run);
    let image = expected("image");
    let labels = vec![1u8; 256];
    let batch = Batch { images: values(&image), labels: Labels::U8(&labels), mask: None, keys: Some(&[7]) };
    step.step(&batch, 0.0).unwrap();
    assert!(step.has_features(7));
    load(&mut step, "loaded.ckpt", &MappingOptions::default()).unwrap();
    assert!(!step.has_features(7));
    step.want_logits(true);
    let output = step.step(&batch, 0.0).unwrap();
    assert_close(&output.logits.unwrap(), &expected("loaded"), "features");
    assert!(step.has_features(7) && step.cache_use().computed == 1);
}

#[test]
fn waiting_gradients_are_not_lost() {
    let mut step = unet("ts17", "all", &RunOptions::default());
    let image = expected("image");
    let labels = vec![1u8; 256];
    let batch = Batch { images: values(&image), labels: Labels::U8(&labels), mask: None, keys: None };
    step.accumulate(&batch).unwrap();
    let error = load(&mut step, "loaded.ckpt", &MappingOptions::default()).unwrap_err();
    assert_eq!((error.kind(), step.waiting()), (ErrorKind::InvalidState, 1));
    step.discard();
    assert!(load(&mut step, "loaded.ckpt", &MappingOptions::default()).is_ok());
}

/// Notes what it sees when a checkpoint is loaded, and fails there if it is told to.
#[derive(Debug)]
struct AtLoad {
    log: Recorder,
    fails: bool,
}

impl Callback for AtLoad {
    fn dispatch(&mut self, event: Event, context: &mut Context<'_>) -> Result<()> {
        self.log.note(event);
        if event != Event::CheckpointLoad {
            return Ok(());
        }
        self.log.note(&context.state.checkpoint_message);
        let weight = context.access()?.weight("head.weight")?;
        self.log.note(values(&weight)[0]);
        if self.fails { Err(Error::new(ErrorKind::NotSupported, "no such thing")) } else { Ok(()) }
    }
}

fn trainer(fails: bool) -> (Trainer, Recorder) {
    let log = Recorder::default();
    let mut callbacks = Callbacks::new();
    callbacks.add(AtLoad { log: log.clone(), fails });
    let step = unet("ts17", "all", &RunOptions::default());
    let trainer = Trainer::new(step, FitOptions::new(1, 1e-3), callbacks).unwrap();
    log.taken();
    (trainer, log)
}

#[test]
fn callbacks_hear_of_it_before_weights_change() {
    let first = |trainer: &Trainer| values(&trainer.step().weight("head.weight").unwrap())[0].to_string();
    let message = "Loading checkpoint that was created at (epoch = 2, global_step = 4)";
    let (mut own, log) = trainer(false);
    let old = first(&own);
    let report = own.load_checkpoint(stored("loaded.ckpt"), &LoadOptions::default()).unwrap();
    assert!(report.is_complete());
    assert_eq!(log.taken(), ["checkpoint_load", message, &old]);
    assert_ne!(first(&own), old);
    assert_eq!(own.state().checkpoint_message, message);
    assert_eq!((own.state().epoch, own.state().global_step), (0, 0));
    for (file, message) in [
        ("loaded.parallel.pth", "Loading checkpoint that was created at (epoch = 11)"),
        ("loaded.safetensors", ""),
    ] {
        own.load_checkpoint(stored(file), &LoadOptions::default()).unwrap();
        assert_eq!(own.state().checkpoint_message, message);
        assert_eq!(log.taken()[..2], ["checkpoint_load", message]);
    }
    // One that fails: the weights stay, everyone hears of it, and the trainer can be used.
    let (mut own, log) = trainer(true);
    let before = everything(own.step());
    let error = own.load_checkpoint(stored("loaded.ckpt"), &LoadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    assert_eq!(log.taken(), ["checkpoint_load", message, &old, "exception"]);
    assert_eq!(everything(own.step()), before);
    // A file that cannot be read says nothing.
    let error = own.load_checkpoint(stored("nothing.ckpt"), &LoadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(log.taken(), ["exception"]);
}

/// A run's own checkpoint as the start of another, whatever was trained and for how many classes.
#[test]
fn own_checkpoints_are_sources_of_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    let mut options = options_of("all");
    options.batch_norm = BatchNorm::Train;
    let step = || TrainStep::new(&model("unet.ts17.onnx"), &options, &RunOptions::default()).unwrap();
    let mut trained = step();
    train(&mut trained, 3);
    let earlier = Trainer::new(trained, FitOptions::new(1, 1e-3), Callbacks::new()).unwrap();
    earlier.checkpoint().unwrap().write(&path).unwrap();
    let mut later = Trainer::new(step(), FitOptions::new(1, 1e-3), Callbacks::new()).unwrap();
    let report = later.load_checkpoint(&path, &LoadOptions::default()).unwrap();
    assert!(report.is_complete(), "{report}");
    assert_eq!(
        later.state().checkpoint_message,
        "Loading checkpoint that was created at (epoch = 0, global_step = 0)"
    );
    assert_eq!(later.step().weights().unwrap(), earlier.step().weights().unwrap());
    // What goes on from the earlier run would lose the loaded weights.
    later.resume(earlier.checkpoint().unwrap()).unwrap_err();
    // Trained in part: the rest is the file's.
    let mut head = unet("ts17", "head", &RunOptions::default());
    train(&mut head, 3);
    let part = Trainer::new(head, FitOptions::new(1, 1e-3), Callbacks::new()).unwrap();
    part.checkpoint().unwrap().write(&path).unwrap();
    let load = LoadOptions::default();
    let mut later = Trainer::new(step(), FitOptions::new(1, 1e-3), Callbacks::new()).unwrap();
    let report = later.load_checkpoint(&path, &load).unwrap();
    assert_eq!((report.loaded.len(), report.missing.len(), report.kept), (2, 0, 25));
    let weights = later.step().weights().unwrap();
    let (own, other) = (part.step().weights().unwrap(), step().weights().unwrap());
    for (name, tensor) in &weights {
        assert_eq!(tensor, own.get(name).unwrap_or(&other[name]), "{name}");
    }
    // Behind a checkpoint that waits.
    let mut later = Trainer::new(step(), FitOptions::new(1, 1e-3), Callbacks::new()).unwrap();
    later.resume(earlier.checkpoint().unwrap()).unwrap();
    assert_eq!(later.load_checkpoint(&path, &load).unwrap_err().kind(), ErrorKind::InvalidState);
}

/// An archive that says it unpacks to much more than it has bytes.
fn bomb(path: &Path) {
    let (name, size) = (b"archive/data.pkl", 3u32 << 30);
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        packed.write_all(&[0; 1 << 20]).unwrap();
    }
    let packed = packed.finish().unwrap();
    let mut head = Vec::new();
    for word in [20u16, 0, 8, 0, 33] {
        head.extend(word.to_le_bytes());
    }
    for word in [0u32, packed.len() as u32, size] {
        head.extend(word.to_le_bytes());
    }
    head.extend((name.len() as u16).to_le_bytes());
    head.extend(0u16.to_le_bytes());
    let mut file = b"PK\x03\x04".to_vec();
    file.extend(&head);
    file.extend(name);
    file.extend(&packed);
    let central = file.len() as u32;
    file.extend(b"PK\x01\x02");
    file.extend(20u16.to_le_bytes());
    file.extend(&head);
    file.extend([0; 14]);
    file.extend(name);
    let length = file.len() as u32 - central;
    file.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    file.extend(length.to_le_bytes());
    file.extend(central.to_le_bytes());
    file.extend([0; 2]);
    std::fs::write(path, file).unwrap();
}

#[test]
fn bad_files_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let sound = std::fs::read(stored("loaded.ckpt")).unwrap();
    let safetensors = std::fs::read(stored("loaded.safetensors")).unwrap();
    let mut wrong = tensors::read(stored("loaded.safetensors")).unwrap();
    wrong.insert("up.0.0.weight".into(), NamedTensor::f32(&[2, 3], vec![0.0; 6]));
    let misshaped = folder.path().join("misshaped.safetensors");
    tensors::write(&misshaped, &wrong, &BTreeMap::new(), false).unwrap();
    let zip_bomb = folder.path().join("bomb.pth");
    bomb(&zip_bomb);
    let mut own =
        Trainer::new(unet("ts17", "all", &RunOptions::default()), FitOptions::new(1, 1e-3), Callbacks::new())
            .unwrap();
    let before = everything(own.step());
    for (path, kind, said) in [
        (put("short.ckpt", &sound[..sound.len() / 2]), ErrorKind::InvalidArgument, ""),
        (put("short.safetensors", &safetensors[..9000]), ErrorKind::InvalidArgument, "ends before"),
        (put("empty.pth", b""), ErrorKind::InvalidArgument, "empty"),
        (put("text.pth", b"not a checkpoint at all"), ErrorKind::InvalidArgument, "expected a checkpoint"),
        (zip_bomb, ErrorKind::LimitExceeded, "data.pkl"),
        (stored("foreign.pth"), ErrorKind::InvalidArgument, "system"),
        (stored("scripted.pth"), ErrorKind::NotSupported, "TorchScript"),
        (misshaped, ErrorKind::Mismatch, "up.0.0.weight (expected [8, 18, 3, 3], got [2, 3])"),
        (stored("convnext.pth"), ErrorKind::Mismatch, "does not fit the model: 25 missing"),
        (folder.path().into(), ErrorKind::InvalidArgument, "regular file"),
        (golden("train/unet.ts17.onnx"), ErrorKind::InvalidArgument, "expected a checkpoint"),
    ] {
        let error = own.load_checkpoint(&path, &LoadOptions::default()).unwrap_err();
        let line = error.one_line();
        assert_eq!(error.kind(), kind, "{line}");
        assert!(line.contains(said) && !line.contains('\n'), "{line}");
        assert_eq!(error.path(), Some(path.as_path()), "{line}");
    }
    assert!(everything(own.step()) == before);
    assert!(!Path::new("/tmp/glebe-pickle-was-run").exists());
    own.load_checkpoint(stored("loaded.ckpt"), &LoadOptions::default()).unwrap();
    assert!(everything(own.step()) != before);
}
