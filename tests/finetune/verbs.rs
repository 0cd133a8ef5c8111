//! The verbs of the training side: containers, tests of the best checkpoint, predictions that are kept, random numbers.

use std::sync::{Arc, Mutex};

use glebe::finetune::{
    AfterFit, ArrayLoader, Checkpoint, Checkpoints, Container, FitOptions, Loaders, OptimizerParams,
    TrainStep, Trainer, run_container,
};
use glebe::hooks::view::InnerEyeInference;
use glebe::hooks::{Callback, Callbacks, Context, Mode, Phase, Split};
use glebe::model::{Model, ModelOptions};
use glebe::{ErrorKind, Result};

use crate::fixtures::{Arrays, BATCH, CLASSES, SIZE, build, engines, options, runtime};
use crate::lifecycle::{Recorder, loader, trainer, words};

/// A training whose data are made up.
struct Own {
    log: Recorder,
    after: AfterFit,
    folder: std::path::PathBuf,
}

impl Container for Own {
    fn create_step(&mut self) -> Result<TrainStep> {
        let mut options = options();
        options.optimizer = OptimizerParams::default().optimizer();
        Ok(build(&options, &engines()[0]))
    }

    fn training_data(&mut self) -> Result<Loaders> {
        Ok(Loaders::new(loader(2, 1)).validation(loader(1, 9)).test(loader(1, 5)))
    }

    fn fit_options(&self) -> FitOptions {
        let mut options = OptimizerParams::default().fit_options(2);
        options.checkpoints = Some(Checkpoints::new(&self.folder));
        options
    }

    fn callbacks(&mut self) -> Result<Callbacks> {
        let mut callbacks = Callbacks::new();
        callbacks.add(InnerEyeInference::new(self.log.clone()));
        Ok(callbacks)
    }

    fn after_fit(&self) -> AfterFit {
        self.after.clone()
    }
}

#[test]
fn a_container_is_trained_and_inferred() {
    let folder = tempfile::tempdir().unwrap();
    let log = Recorder::default();
    let splits = vec![Split::Test, Split::Val, Split::Train];
    let mut own = Own { log: log.clone(), after: AfterFit::Infer(splits), folder: folder.path().to_owned() };
    let (trainer, metrics) = run_container(&mut own).unwrap();
    assert!(metrics.is_none());
    assert_eq!(trainer.state().global_step, 4);
    let batch = |split: &str| vec![format!("forward {split}"), format!("inference_step {split}")];
    let mut expected = words("on_inference_start");
    for (split, batches) in [("Test", 1), ("Val", 1), ("Train", 2)] {
        expected.push(format!("on_inference_epoch_start {split}"));
        (0..batches).for_each(|_| expected.extend(batch(split)));
        expected.push(format!("on_inference_epoch_end {split}"));
    }
    expected.extend(words("on_inference_end"));
    assert_eq!(log.taken(), expected);
    // The second run finds the checkpoint of the first, has nothing left to train, and tests.
    own.after = AfterFit::Test;
    let (again, metrics) = run_container(&mut own).unwrap();
    assert!(again.state().checkpoint_message.ends_with("(epoch = 2, global_step = 4)"));
    assert_eq!(again.checkpoint().unwrap(), trainer.checkpoint().unwrap());
    assert!(metrics.unwrap().iter().any(|(name, _)| name == "MeanIoU"));
}

/// A run whose best epoch is not its last: the rate explodes behind the first.
fn with_best(folder: &std::path::Path) -> FitOptions {
    let mut options = FitOptions::new(3, 5e-2);
    let mut checkpoints = Checkpoints::new(folder);
    checkpoints.best = Some(("val/said".to_owned(), Mode::Highest));
    options.checkpoints = Some(checkpoints);
    options
}

/// Says that the second epoch is the best.
#[derive(Debug)]
struct SecondIsBest;

impl Callback for SecondIsBest {
    fn evaluation_batches_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        context.log("said", if context.state.epoch == 2 { 1.0 } else { 0.5 })
    }
}

fn said() -> Callbacks {
    let mut callbacks = Callbacks::new();
    callbacks.add(SecondIsBest);
    callbacks
}

#[test]
fn the_best_weights_come_back_for_the_test() {
    let folder = tempfile::tempdir().unwrap();
    let mut own = trainer(with_best(folder.path()), said());
    let metrics = own
        .fit_and_test(&mut loader(2, 1), Some(&mut loader(1, 9)), Some(&mut loader(1, 5)))
        .unwrap()
        .unwrap();
    let best = Checkpoint::read(folder.path().join("best.safetensors")).unwrap();
    assert_eq!((best.epoch, best.global_step), (2, 4));
    assert_eq!(own.step().state().unwrap(), best.train);
    assert_eq!(own.state().epoch, 3);
    assert_eq!(
        own.state().checkpoint_message,
        "Loading checkpoint that was created at (epoch = 2, global_step = 4)"
    );
    // The metrics are those of these weights.
    let mut other = trainer(FitOptions::new(1, 0.1), Callbacks::new());
    other.step_mut().set_state(&best.train).unwrap();
    assert_eq!(other.test(&mut loader(1, 5)).unwrap(), metrics[..metrics.len() - 1]);
    // The same by an option of the fit alone; without test data nothing is tested.
    let folder = tempfile::tempdir().unwrap();
    let mut options = with_best(folder.path());
    options.reload_best = true;
    let mut own = trainer(options, said());
    assert!(own.fit_and_test(&mut loader(2, 1), Some(&mut loader(1, 9)), None).unwrap().is_none());
    assert_eq!(own.step().state().unwrap(), best.train);
    let mut options = FitOptions::new(1, 0.1);
    options.reload_best = true;
    let error = Trainer::new(build(&crate::fixtures::options(), &engines()[0]), options, Callbacks::new());
    assert!(error.unwrap_err().one_line().contains("no metric says which"));
}

/// Collects what is logged.
#[cfg(feature = "cli")]
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

#[cfg(feature = "cli")]
impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "cli")]
#[test]
fn the_log_says_what_geo_deep_learning_says() {
    let folder = tempfile::tempdir().unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .finish();
    // With one subscriber alone, a line that another test's thread meets first is switched off for all of them
    // (tracing-core asks the thread's own subscriber then); with a second it asks both.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    tracing::subscriber::with_default(subscriber, || {
        let mut own = trainer(with_best(folder.path()), said());
        own.fit_and_test(&mut loader(2, 1), Some(&mut loader(1, 9)), Some(&mut loader(1, 5))).unwrap();
        own.fit_and_test(&mut loader(2, 1), None, None).unwrap();
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let found: Vec<&str> = text.lines().map(str::trim).collect();
    let expected = [
        "INFO Number of training samples: 4",
        "INFO Number of validation samples: 2",
        "INFO Number of test samples: 2",
        "INFO Loading checkpoint that was created at (epoch = 2, global_step = 4)",
        "INFO Test metrics logged successfully to all loggers.",
        "INFO Number of training samples: 4",
        "WARN No test dataloader found.",
    ];
    let said: Vec<&str> = found.into_iter().filter(|line| expected.contains(line)).collect();
    assert_eq!(said, expected, "{text}");
}

/// Five images: two batches and a half.
fn five() -> (ArrayLoader, Vec<f32>, Vec<u8>) {
    let all: Vec<Arrays> = (0..3).map(Arrays::new).collect();
    let count = 5 * 3 * SIZE * SIZE;
    let images: Vec<f32> = all.iter().flat_map(|own| own.images.clone()).take(count).collect();
    let labels: Vec<u8> = all.iter().flat_map(|own| own.labels.clone()).take(5 * SIZE * SIZE).collect();
    let own = ArrayLoader::new(images.clone(), labels.clone(), BATCH, 3 * SIZE * SIZE, SIZE * SIZE);
    (own.unwrap(), images, labels)
}

#[test]
fn predictions_drop_nothing_and_have_means_over_virtual_batches() {
    let mut own = trainer(FitOptions::new(1, 0.1), Callbacks::new());
    let (mut data, _, labels) = five();
    let mut outputs = Vec::new();
    own.predict(&mut data, &mut |_, images, logits| {
        outputs.extend_from_slice(&logits[..images * CLASSES * SIZE * SIZE]);
        Ok(())
    })
    .unwrap();
    let accuracy = |images: std::ops::Range<usize>| {
        let (mut right, mut all) = (0, 0);
        for image in images {
            for pixel in 0..SIZE * SIZE {
                let label = labels[image * SIZE * SIZE + pixel];
                if label == 255 {
                    continue;
                }
                let of = |class: usize| outputs[(image * CLASSES + class) * SIZE * SIZE + pixel];
                let found =
                    (1..CLASSES).fold(0, |best, class| if of(class) > of(best) { class } else { best });
                right += usize::from(found == usize::from(label));
                all += 1;
            }
        }
        right as f64 / all as f64
    };
    for (size, groups) in [
        (Some(3), vec![0..3, 3..5]),
        (Some(99), std::iter::once(0..5).collect()),
        (None, (0..5).map(|at| at..at + 1).collect()),
    ] {
        let found = own.predict_all(&mut data, size).unwrap();
        assert_eq!(found.logits.concat(), outputs);
        assert_eq!(found.labels.len(), 5);
        let ignored = |label: &u8| if *label == 255 { -1 } else { i64::from(*label) };
        assert_eq!(found.labels.concat(), labels.iter().map(ignored).collect::<Vec<_>>());
        let count = groups.len() as f64;
        let expected = groups.into_iter().map(accuracy).sum::<f64>() / count;
        let (_, value) = found.metrics.iter().find(|own| own.0 == "Accuracy").unwrap();
        assert!((value - expected).abs() < 1e-12, "{size:?}");
    }
    assert_eq!(own.predict_all(&mut data, Some(0)).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn evaluations_go_by_moving_averages_where_asked() {
    let mut step_options = options();
    step_options.optimizer.ema_decay = Some(0.5);
    let mut fit_options = FitOptions::new(2, 1e-2);
    fit_options.evaluate_averages = true;
    let step = build(&step_options, &engines()[0]);
    let mut own = Trainer::new(step, fit_options.clone(), Callbacks::new()).unwrap();
    own.fit(&mut loader(2, 1), None).unwrap();
    let found = own.validate(&mut loader(1, 9)).unwrap();
    // The averages, exported and opened as a model of their own.
    let bytes = own.step().export_averages().unwrap();
    let model = Model::from_bytes(runtime(), bytes, &ModelOptions::default()).unwrap();
    let step = TrainStep::new(&model, &options(), &engines()[0]).unwrap();
    let mut other = Trainer::new(step, FitOptions::new(1, 0.1), Callbacks::new()).unwrap();
    let expected = other.validate(&mut loader(1, 9)).unwrap();
    assert!((found[0].1 - expected[0].1).abs() < 1e-6, "{found:?} {expected:?}");
    // The weights themselves are others.
    own.step_mut().evaluate_averages(false).unwrap();
    let raw = own.validate(&mut loader(1, 9)).unwrap();
    assert!((raw[0].1 - found[0].1).abs() > 1e-5);
    let made = Trainer::new(build(&options(), &engines()[0]), fit_options, Callbacks::new());
    assert_eq!(made.unwrap_err().kind(), ErrorKind::InvalidState);
}

/// Draws a number with every batch.
#[derive(Debug, Clone, Default)]
struct Draws(Arc<Mutex<Vec<(Phase, u64)>>>);

impl Callback for Draws {
    fn batch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        let number = context.random();
        self.0.lock().unwrap().push((context.state.phase, number));
        Ok(())
    }
}

impl Draws {
    fn of(&self, phase: Phase) -> Vec<u64> {
        self.0.lock().unwrap().iter().filter(|own| own.0 == phase).map(|own| own.1).collect()
    }
}

#[test]
fn validations_leave_random_numbers_as_they_were() {
    let run = |validates: bool, seed: u64| {
        let draws = Draws::default();
        let mut callbacks = Callbacks::new();
        callbacks.add(draws.clone());
        let mut options = FitOptions::new(3, 1e-3);
        options.seed = seed;
        let mut own = trainer(options, callbacks);
        let mut validation = loader(2, 9);
        own.fit(&mut loader(2, 1), validates.then_some(&mut validation as _)).unwrap();
        draws
    };
    let (with, without, other) = (run(true, 42), run(false, 42), run(true, 43));
    assert_eq!(with.of(Phase::Train), without.of(Phase::Train));
    assert_ne!(with.of(Phase::Train), other.of(Phase::Train));
    let train = with.of(Phase::Train);
    assert!((1..train.len()).all(|at| !train[..at].contains(&train[at])));
    // Each validation draws the same.
    let validation = with.of(Phase::Validation);
    assert_eq!((&validation[..2], validation.len()), (&validation[2..4], 6));
    // A run that goes on draws what the other would have.
    let draws = Draws::default();
    let mut first = trainer(FitOptions::new(1, 1e-3), said());
    first.callbacks_mut().add(draws.clone());
    first.fit(&mut loader(2, 1), Some(&mut loader(2, 9))).unwrap();
    let mut rest = trainer(FitOptions::new(3, 1e-3), said());
    rest.callbacks_mut().add(draws.clone());
    rest.resume(first.checkpoint().unwrap()).unwrap();
    rest.fit(&mut loader(2, 1), Some(&mut loader(2, 9))).unwrap();
    assert_eq!(draws.of(Phase::Train), train);
}

#[test]
fn epochs_may_be_cut_short() {
    let mut options = FitOptions::new(2, 1e-3);
    options.limit_train_batches = Some(2);
    let mut own = trainer(options.clone(), Callbacks::new());
    own.fit(&mut loader(5, 1), None).unwrap();
    assert_eq!((own.state().global_step, own.state().batches), (4, 2));
    options.limit_train_batches = Some(0);
    let made = Trainer::new(build(&crate::fixtures::options(), &engines()[0]), options, Callbacks::new());
    assert_eq!(made.unwrap_err().kind(), ErrorKind::InvalidArgument);
}
