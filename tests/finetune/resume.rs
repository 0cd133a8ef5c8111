//! Checkpoints, and trainings that go on from them.

use std::path::Path;

use glebe::finetune::{BEST, Checkpoint, Checkpoints, FitOptions, LAST, Tail, TrainState, Trainer};
use glebe::hooks::view::{ClinicaDl, Lightning, LightningOrder};
use glebe::hooks::{Callback, Callbacks, Context, EarlyStopping, Mode, Schedule};
use glebe::{Error, ErrorKind, Result};

use crate::fixtures::{build, engines, options};
use crate::lifecycle::{Recorder, loader, trainer, words};

/// Ends the run at one batch.
#[derive(Debug)]
struct PowerCut {
    epoch: u64,
    batch: u64,
}

impl Callback for PowerCut {
    fn optimizer_step_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        if (context.state.epoch, context.state.batch) == (self.epoch, self.batch) {
            return Err(Error::new(ErrorKind::Cancelled, "power cut"));
        }
        Ok(())
    }
}

fn fit_options(folder: &Path) -> FitOptions {
    let mut options = FitOptions::new(4, 1e-2);
    options.schedule = Some(Schedule::new(glebe::hooks::Decay::Cosine));
    options.checkpoints = Some(Checkpoints::new(folder));
    options
}

fn fit(trainer: &mut Trainer) -> Result<()> {
    trainer.fit(&mut loader(3, 1).shuffled(), Some(&mut loader(1, 9)))
}

/// Whenever it was interrupted, the rest is bit by bit what it would have been.
#[test]
fn a_training_goes_on_as_if_it_had_never_stopped() {
    let whole = tempfile::tempdir().unwrap();
    let mut trainer_of_all = trainer(fit_options(whole.path()), Callbacks::new());
    fit(&mut trainer_of_all).unwrap();
    let expected = trainer_of_all.checkpoint().unwrap();
    assert_eq!((expected.epoch, expected.global_step), (4, 12));
    for (epoch, batch) in [(2, 1), (3, 3), (4, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let mut callbacks = Callbacks::new();
        callbacks.add(PowerCut { epoch, batch });
        let mut cut = trainer(fit_options(folder.path()), callbacks);
        assert_eq!(fit(&mut cut).unwrap_err().kind(), ErrorKind::Cancelled);
        let log = Recorder::default();
        let mut callbacks = Callbacks::new();
        callbacks.add(log.clone());
        let mut again = trainer(fit_options(folder.path()), callbacks);
        assert!(again.resume_newest().unwrap());
        fit(&mut again).unwrap();
        assert_eq!(again.checkpoint().unwrap(), expected, "{epoch} {batch}");
        assert_eq!(log.taken()[..4], words("trainer_init resume checkpoint_load epoch_start"));
        let message = &again.state().checkpoint_message;
        let steps = 3 * (epoch - 1);
        assert_eq!(
            *message,
            format!("Loading checkpoint that was created at (epoch = {}, global_step = {steps})", epoch - 1)
        );
        let last = |folder: &Path| std::fs::read(folder.join(LAST)).unwrap();
        assert_eq!(last(folder.path()), last(whole.path()));
    }
    // It is a state of the step, too.
    assert_eq!(TrainState::read(whole.path().join(LAST)).unwrap(), expected.train);
}

/// Adds a view that notes its hooks.
type Adding = Box<dyn Fn(Recorder, &mut Callbacks)>;

#[test]
fn a_training_that_goes_on_is_called_so_by_everyone() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = fit_options(folder.path());
    options.epochs = 1;
    fit(&mut trainer(options, Callbacks::new())).unwrap();
    let start = |callback: &dyn Fn(Recorder) -> Callbacks, count: usize| {
        let log = Recorder::default();
        let mut trainer = trainer(fit_options(folder.path()), callback(log.clone()));
        trainer.resume_newest().unwrap();
        fit(&mut trainer).unwrap();
        log.taken()[..count].to_vec()
    };
    let with = |callback: Adding| {
        move |log: Recorder| {
            let mut callbacks = Callbacks::new();
            callback(log, &mut callbacks);
            callbacks
        }
    };
    let of_clinicadl = with(Box::new(|log, all| {
        all.add(ClinicaDl::new(log));
    }));
    assert_eq!(start(&of_clinicadl, 3), words("on_trainer_init on_resume on_epoch_start"));
    std::fs::remove_dir_all(folder.path()).unwrap();
    let mut options = fit_options(folder.path());
    options.epochs = 1;
    fit(&mut trainer(options, Callbacks::new())).unwrap();
    let rest = "on_pretrain_routine_end train_dataloader val_dataloader on_train_start on_epoch_start";
    let of_lightning = with(Box::new(|log, all| {
        all.add(Lightning::new(log));
    }));
    let expected =
        format!("on_load_checkpoint configure_optimizers on_fit_start on_pretrain_routine_start {rest}");
    assert_eq!(start(&of_lightning, 9), words(&expected));
    std::fs::remove_dir_all(folder.path()).unwrap();
    let mut options = fit_options(folder.path());
    options.epochs = 1;
    fit(&mut trainer(options, Callbacks::new())).unwrap();
    let of_old = with(Box::new(|log, all| {
        all.add(Lightning::in_order(log, LightningOrder::V1_2));
    }));
    let expected =
        format!("configure_optimizers on_fit_start on_pretrain_routine_start on_load_checkpoint {rest}");
    assert_eq!(start(&of_old, 9), words(&expected));
}

#[test]
fn the_best_and_the_newest_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = fit_options(folder.path());
    let checkpoints = options.checkpoints.as_mut().unwrap();
    checkpoints.keep = 2;
    checkpoints.best = Some(("val/Loss".to_owned(), Mode::Lowest));
    let log = Recorder::default();
    let mut callbacks = Callbacks::new();
    callbacks.add(Losses(log.clone()));
    fit(&mut trainer(options, callbacks)).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [BEST, "epoch-3.safetensors", "epoch-4.safetensors", LAST]);
    let losses: Vec<f64> = log.taken().iter().map(|text| text.parse().unwrap()).collect();
    let best = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
    let kept = Checkpoint::read(folder.path().join(BEST)).unwrap();
    assert_eq!(kept.epoch, best as u64 + 1, "{losses:?}");
}

/// Notes the loss of every validation.
#[derive(Debug)]
struct Losses(Recorder);

impl Callback for Losses {
    fn validation_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.0.note(context.metric("Loss").unwrap());
        Ok(())
    }
}

#[test]
fn callbacks_go_on_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    // Of a learning rate of 0 nothing gets better.
    let run = |epochs: u64, resume: bool| {
        let mut options = fit_options(folder.path());
        (options.learning_rate, options.schedule, options.epochs) = (0.0, None, epochs);
        let mut callbacks = Callbacks::new();
        callbacks.add(EarlyStopping::new("Loss", Mode::Lowest).patience(2));
        let mut trainer = trainer(options, callbacks);
        if resume {
            assert!(trainer.resume_newest().unwrap());
        }
        fit(&mut trainer).unwrap();
        trainer.state().epoch
    };
    // The first is the best; the second and third are borne, the fourth is too much.
    assert_eq!(run(3, false), 3);
    assert_eq!(run(9, true), 4);
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = fit_options(folder.path());
    options.checkpoints.as_mut().unwrap().keep = 3;
    fit(&mut trainer(options.clone(), Callbacks::new())).unwrap();
    let checkpoints = options.checkpoints.clone().unwrap();
    assert_eq!(checkpoints.newest().unwrap().1.epoch, 4);
    let cut = |name: &str| {
        let path = folder.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    };
    cut(LAST);
    cut("epoch-4.safetensors");
    let (path, found) = checkpoints.newest().unwrap();
    assert_eq!((found.epoch, path), (3, folder.path().join("epoch-3.safetensors")));
    cut("epoch-3.safetensors");
    cut("epoch-2.safetensors");
    assert!(checkpoints.newest().is_none());
    assert!(!trainer(options, Callbacks::new()).resume_newest().unwrap());
}

#[test]
fn checkpoints_of_something_else_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fit(&mut trainer(fit_options(folder.path()), Callbacks::new())).unwrap();
    let found = || Checkpoint::read(folder.path().join(LAST)).unwrap();
    let mut options_of = fit_options(folder.path());
    options_of.seed = 7;
    let error = trainer(options_of, Callbacks::new()).resume(found()).unwrap_err();
    assert!(error.kind() == ErrorKind::Mismatch && error.message().contains("another seed"), "{error}");
    let mut other = found();
    other.model = "0".repeat(64);
    let error = trainer(fit_options(folder.path()), Callbacks::new()).resume(other).unwrap_err();
    assert!(error.message().contains("another model"), "{error}");
    let mut step = options();
    step.params = "head".parse().unwrap();
    let step = build(&step, &engines()[0]);
    let mut head = Trainer::new(step, fit_options(folder.path()), Callbacks::new()).unwrap();
    let error = head.resume(found()).unwrap_err();
    assert!(error.kind() == ErrorKind::Mismatch && error.message().contains("no such tensor"), "{error}");
    // No metric to choose by.
    let mut options_of = fit_options(folder.path());
    options_of.checkpoints.as_mut().unwrap().best = Some(("val/IoU".to_owned(), Mode::Highest));
    let error = fit(&mut trainer(options_of, Callbacks::new())).unwrap_err();
    assert!(error.message().contains("no metric \"val/IoU\""), "{error}");
    assert_eq!(found().epoch, 4);
    let mut options_of = fit_options(folder.path());
    (options_of.accumulate, options_of.tail) = (2, Tail::Carry);
    let made = Trainer::new(build(&options(), &engines()[0]), options_of, Callbacks::new());
    assert_eq!(made.unwrap_err().kind(), ErrorKind::NotSupported);
    let error = Checkpoint::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap_err();
    assert!(error.one_line().contains("Cargo.toml"), "{error}");
}

/// A run that had decided to end is over, also when it was killed before it could say so.
#[test]
fn a_training_that_had_stopped_stays_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let run = |resume: bool| {
        let mut options = fit_options(folder.path());
        (options.learning_rate, options.schedule, options.epochs) = (0.0, None, 9);
        let mut callbacks = Callbacks::new();
        callbacks.add(EarlyStopping::new("Loss", Mode::Lowest).patience(0));
        let mut trainer = trainer(options, callbacks);
        assert_eq!(resume && trainer.resume_newest().unwrap(), resume);
        fit(&mut trainer).unwrap();
        (trainer.state().epoch, trainer.state().global_step)
    };
    assert_eq!(run(false), (2, 6));
    assert_eq!(run(true), (2, 6));
}

/// An epoch of which batches are missing is no end of an epoch: neither kept nor gone on from.
#[test]
fn an_interrupted_epoch_is_not_passed_for_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut callbacks = Callbacks::new();
    callbacks.add(PowerCut { epoch: 2, batch: 2 });
    let mut cut = trainer(fit_options(folder.path()), callbacks);
    fit(&mut cut).unwrap_err();
    for error in [cut.checkpoint().unwrap_err(), fit(&mut cut).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(error.message().contains("epoch 2 was interrupted"), "{error}");
    }
    // From the checkpoint it goes on, to be interrupted at the same place.
    assert!(cut.resume_newest().unwrap());
    assert_eq!(fit(&mut cut).unwrap_err().kind(), ErrorKind::Cancelled);
}

/// Files of other runs stay: where none are kept beside the last one, and those of later epochs.
#[test]
fn checkpoints_of_other_runs_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = ["epoch-2.safetensors", "epoch-70.safetensors"];
    theirs.iter().for_each(|name| std::fs::write(folder.path().join(name), "theirs").unwrap());
    let is_theirs =
        |name: &str| std::fs::read(folder.path().join(name)).is_ok_and(|bytes| bytes == b"theirs");
    fit(&mut trainer(fit_options(folder.path()), Callbacks::new())).unwrap();
    assert!(theirs.into_iter().all(is_theirs));
    let mut options = fit_options(folder.path());
    options.checkpoints.as_mut().unwrap().keep = 1;
    fit(&mut trainer(options, Callbacks::new())).unwrap();
    assert!(is_theirs("epoch-70.safetensors") && folder.path().join("epoch-4.safetensors").exists());
    assert!(!folder.path().join("epoch-3.safetensors").exists());
}

/// Gives nothing.
struct Empty;

impl glebe::finetune::Loader for Empty {
    fn batches(&self) -> usize {
        0
    }

    fn batch(&mut self, _: usize) -> Result<glebe::finetune::Batch<'_>> {
        Err(Error::internal("there is none"))
    }
}

#[test]
fn a_loader_without_batches_is_refused() {
    let mut trainer = trainer(FitOptions::new(1, 1e-3), Callbacks::new());
    for error in [trainer.fit(&mut Empty, None).unwrap_err(), trainer.validate(&mut Empty).unwrap_err()] {
        assert!(error.message().contains("no batches"), "{error}");
    }
}
