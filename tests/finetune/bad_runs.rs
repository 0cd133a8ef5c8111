//! Runs that go wrong: one clear line of the right kind, and the last good checkpoint as it was.

use std::fs;
use std::path::Path;

use glebe::finetune::{
    Batch, Checkpoint, Checkpoints, FitOptions, LAST, Labels, Loader, ScoreForm, Scoring, Tail, Trainer,
};
use glebe::hooks::{Callback, Callbacks, Context, Decay, EarlyStopping, Event, Mode, Schedule};
use glebe::{Error, ErrorKind, Result};

use crate::fixtures::{BATCH, CLASSES, SIZE, build, engines, options};
use crate::lifecycle::{Recorder, loader, trainer};

fn with_checkpoints(folder: &Path, epochs: u64) -> FitOptions {
    let mut options = FitOptions::new(epochs, 1e-2);
    options.checkpoints = Some(Checkpoints::new(folder));
    options
}

/// Trains one epoch, and gives the bytes of its checkpoint.
fn one_epoch(folder: &Path) -> Vec<u8> {
    trainer(with_checkpoints(folder, 1), Callbacks::new()).fit(&mut loader(2, 1), None).unwrap();
    fs::read(folder.join(LAST)).unwrap()
}

#[track_caller]
fn assert_refused(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let line = error.one_line();
    assert_eq!(error.kind(), kind, "{line}");
    assert!(!line.contains('\n'), "{line}");
    for part in parts {
        assert!(line.contains(part), "{line}: no {part:?}");
    }
}

/// A loader that gives what it is told to.
struct Bad {
    batches: usize,
    images: Vec<f32>,
    labels: Vec<u8>,
    count: Option<usize>,
    fails: bool,
}

impl Bad {
    fn new() -> Bad {
        let (images, labels) = (vec![0.5; BATCH * 3 * SIZE * SIZE], vec![1; BATCH * SIZE * SIZE]);
        Bad { batches: 1, images, labels, count: None, fails: false }
    }
}

impl Loader for Bad {
    fn batches(&self) -> usize {
        self.batches
    }

    fn batch(&mut self, _: usize) -> Result<Batch<'_>> {
        if self.fails {
            return Err(Error::new(ErrorKind::RasterInvalid, "cannot read tile 7").at_path("scene.tif"));
        }
        Ok(Batch { images: &self.images, labels: Labels::U8(&self.labels), mask: None, keys: None })
    }

    fn images(&self, _: usize) -> Option<usize> {
        self.count
    }
}

#[test]
fn bad_batches_end_a_run_and_leave_the_checkpoint() {
    type Change = fn(&mut Bad);
    let cases: [(Change, ErrorKind, &[&str]); 8] = [
        (|own| own.batches = 0, ErrorKind::InvalidArgument, &["no batches"]),
        (
            |own| {
                own.images.truncate(7);
                own.count = Some(1);
            },
            ErrorKind::Mismatch,
            &["samples", "got 7"],
        ),
        (|own| own.labels.truncate(7), ErrorKind::Mismatch, &["labels", "got 7"]),
        (|own| own.labels[30] = 9, ErrorKind::InvalidArgument, &["label 9", "row 2, column 6"]),
        (|own| own.count = Some(0), ErrorKind::Mismatch, &["images that count", "got 0"]),
        (|own| own.count = Some(3), ErrorKind::Mismatch, &["1 to 2", "got 3"]),
        (|own| own.fails = true, ErrorKind::RasterInvalid, &["tile 7", "scene.tif"]),
        (|own| own.images[5] = f32::NAN, ErrorKind::InvalidState, &["loss is NaN", "epoch 2, batch 1"]),
    ];
    for (change, kind, parts) in cases {
        let folder = tempfile::tempdir().unwrap();
        let before = one_epoch(folder.path());
        let mut own = trainer(with_checkpoints(folder.path(), 3), Callbacks::new());
        assert!(own.resume_newest().unwrap());
        let mut bad = Bad::new();
        change(&mut bad);
        assert_refused(&own.fit(&mut bad, None).unwrap_err(), kind, parts);
        assert_eq!(fs::read(folder.path().join(LAST)).unwrap(), before, "{parts:?}");
        // What was said of the refused batch is not of a step by itself.
        let images: Vec<f32> = (0..BATCH * 3 * SIZE * SIZE).map(|at| at as f32 / 500.0).collect();
        let labels = vec![1; BATCH * SIZE * SIZE];
        let whole = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
        let again = own.step_mut().evaluate(&whole).unwrap().loss;
        assert_eq!(own.step_mut().evaluate(&whole).unwrap().loss, again, "{parts:?}");
        // It goes on from there.
        assert!(own.resume_newest().unwrap());
        own.fit(&mut loader(2, 1), None).unwrap();
        assert_eq!(own.state().epoch, 3);
    }
}

#[test]
fn a_loss_that_explodes_ends_the_run_before_it_spoils_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = with_checkpoints(folder.path(), 50);
    options.learning_rate = 1e30;
    let mut own = trainer(options.clone(), Callbacks::new());
    let error = own.fit(&mut loader(1, 1), None).unwrap_err();
    assert_refused(
        &error,
        ErrorKind::InvalidState,
        &["the loss is", "learning rate of 1e+30", "before this batch"],
    );
    let last = Checkpoint::read(folder.path().join(LAST)).unwrap();
    assert_eq!(last.epoch, own.state().epoch - 1);
    options.allow_non_finite = true;
    options.checkpoints = None;
    trainer(options, Callbacks::new()).fit(&mut loader(1, 1), None).unwrap();
}

/// Fails at one event.
#[derive(Debug)]
struct FailsAt(Event);

impl Callback for FailsAt {
    fn dispatch(&mut self, event: Event, _: &mut Context<'_>) -> Result<()> {
        match event == self.0 {
            true => Err(Error::new(ErrorKind::LimitExceeded, "no more")),
            false => Ok(()),
        }
    }
}

#[test]
fn a_callback_may_fail_in_each_event() {
    for event in Event::ALL {
        let folder = tempfile::tempdir().unwrap();
        let before = one_epoch(folder.path());
        let log = Recorder::default();
        let mut callbacks = Callbacks::new();
        callbacks.add(log.clone()).add(FailsAt(*event));
        let step = build(&options(), &engines()[0]);
        let run = || -> Result<()> {
            let mut own = Trainer::new(step, with_checkpoints(folder.path(), 2), callbacks)?;
            if *event != Event::TrainStart {
                own.resume_newest()?;
            }
            own.fit(&mut loader(2, 1), Some(&mut loader(1, 9)))?;
            own.validate(&mut loader(1, 9))?;
            own.test(&mut loader(1, 9))?;
            own.infer(&mut [(glebe::hooks::Split::Test, &mut loader(1, 9))])
        };
        if *event == Event::Exception {
            // It is called where something else fails, and does not hide that.
            run().unwrap();
            continue;
        }
        let error = run().unwrap_err();
        let name = format!("failed at {event}");
        assert_refused(&error, ErrorKind::LimitExceeded, &["FailsAt", &name, "no more"]);
        // Everyone hears of it, and last.
        assert_eq!(log.taken().last().unwrap(), "exception", "{event}");
        let checkpoint = Checkpoint::read(folder.path().join(LAST)).unwrap();
        if checkpoint.epoch == 1 && *event != Event::TrainStart {
            assert_eq!(fs::read(folder.path().join(LAST)).unwrap(), before, "{event}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{event}: something is left");
    }
}

#[test]
fn checkpoints_that_cannot_be_gone_on_from_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = one_epoch(folder.path());
    let path = folder.path().join(LAST);
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Checkpoint::read(&path).unwrap_err()
    };
    for cut in [0, 7, 100, good.len() / 2, good.len() - 1] {
        assert_refused(&read(&good[..cut]), ErrorKind::InvalidArgument, &[LAST]);
    }
    let mut longer = good.clone();
    longer.extend_from_slice(b"more");
    assert_refused(&read(&longer), ErrorKind::InvalidArgument, &[LAST]);
    // The length of the header, and a header beyond the file.
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_refused(&read(&huge), ErrorKind::InvalidArgument, &[LAST]);
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|own| own == from.as_bytes()).unwrap();
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let epoch = read(&replaced("\"epoch\":\"1\"", "\"epoch\":\"x\""));
    assert_refused(&epoch, ErrorKind::InvalidArgument, &["\"epoch\" is \"x\""]);
    let missing = read(&replaced("\"global_step\"", "\"global_stop\""));
    assert_refused(&missing, ErrorKind::InvalidArgument, &["no \"global_step\""]);
    let later = read(&replaced("\"glebe.checkpoint\":\"1\"", "\"glebe.checkpoint\":\"9\""));
    assert_refused(&later, ErrorKind::NotSupported, &["format 9", "reads 1"]);
    let missing = Checkpoint::read(folder.path().join("none.safetensors")).unwrap_err();
    assert_refused(&missing, ErrorKind::NotFound, &["none.safetensors"]);
    // A folder with nothing else begins anew, and says so by false.
    fs::write(&path, &good[..50]).unwrap();
    assert!(!trainer(with_checkpoints(folder.path(), 2), Callbacks::new()).resume_newest().unwrap());

    fs::write(&path, &good).unwrap();
    let checkpoint = Checkpoint::read(&path).unwrap();
    let mut own = trainer(FitOptions::new(2, 1e-2), Callbacks::new());
    let mut other = checkpoint.clone();
    other.model = "0".repeat(64);
    assert_refused(&own.resume(other).unwrap_err(), ErrorKind::Mismatch, &["another model"]);
    let mut other = checkpoint.clone();
    other.seed = 7;
    assert_refused(&own.resume(other).unwrap_err(), ErrorKind::Mismatch, &["another seed", "42", "got 7"]);
    let mut head = options();
    head.params = "head".parse().unwrap();
    let mut partly =
        Trainer::new(build(&head, &engines()[0]), FitOptions::new(2, 1e-2), Callbacks::new()).unwrap();
    assert_eq!(partly.resume(checkpoint).unwrap_err().kind(), ErrorKind::Mismatch);
    // None of these has changed anything.
    own.fit(&mut loader(2, 1), None).unwrap();
    assert_eq!(own.state().epoch, 2);
}

#[test]
fn a_best_metric_that_never_appears_is_named_with_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let before = one_epoch(folder.path());
    let mut options = with_checkpoints(folder.path(), 3);
    options.checkpoints.as_mut().unwrap().best = Some(("val/mIoU".to_owned(), Mode::Highest));
    let mut own = trainer(options, Callbacks::new());
    own.resume_newest().unwrap();
    let error = own.fit(&mut loader(2, 1), Some(&mut loader(1, 9))).unwrap_err();
    assert_refused(&error, ErrorKind::InvalidArgument, &["val/mIoU", "val/MeanIoU"]);
    assert_eq!(fs::read(folder.path().join(LAST)).unwrap(), before);
    let mut callbacks = Callbacks::new();
    callbacks.add(EarlyStopping::new("val/Loss", Mode::Lowest));
    let error = trainer(FitOptions::new(1, 0.1), callbacks)
        .fit(&mut loader(1, 1), Some(&mut loader(1, 9)))
        .unwrap_err();
    assert_refused(&error, ErrorKind::InvalidArgument, &["no metric \"val/Loss\"", "Loss, "]);
}

#[test]
fn options_out_of_range_are_refused_before_anything_is_done() {
    type Change = fn(&mut FitOptions);
    let cases: [(Change, ErrorKind, &str); 11] = [
        (|own| own.learning_rate = -1.0, ErrorKind::InvalidArgument, "learning rate"),
        (|own| own.learning_rate = f64::NAN, ErrorKind::InvalidArgument, "learning rate"),
        (|own| own.accumulate = 0, ErrorKind::InvalidArgument, "or more"),
        (|own| own.validate_every = 0, ErrorKind::InvalidArgument, "or more"),
        (
            |own| own.schedule = Some(Schedule::new(Decay::Exponential { gamma: -1.0 })),
            ErrorKind::InvalidArgument,
            "gamma",
        ),
        (
            |own| {
                let mut schedule = Schedule::new(Decay::Cosine);
                schedule.warm_up = 9;
                own.schedule = Some(schedule);
            },
            ErrorKind::InvalidArgument,
            "warm-up",
        ),
        (|own| own.checkpoints.as_mut().unwrap().every = 0, ErrorKind::InvalidArgument, "1 epoch or more"),
        (|own| (own.tail, own.accumulate) = (Tail::Carry, 2), ErrorKind::NotSupported, "gradients that wait"),
        (|own| own.reload_best = true, ErrorKind::InvalidArgument, "no metric says which"),
        (
            |own| {
                let mut scoring = Scoring::default();
                (scoring.class_names, scoring.form) = (vec!["one".to_owned()], ScoreForm::InnerEye);
                own.scoring = Some(scoring);
            },
            ErrorKind::InvalidArgument,
            "3 class names",
        ),
        (|own| own.evaluate_averages = true, ErrorKind::InvalidState, "moving average"),
    ];
    assert_eq!(CLASSES, 3);
    for (change, kind, part) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut own = with_checkpoints(&folder.path().join("new"), 2);
        change(&mut own);
        let made = Trainer::new(build(&options(), &engines()[0]), own.clone(), Callbacks::new());
        assert_refused(&made.unwrap_err(), kind, &[part]);
        let mut other = trainer(FitOptions::new(1, 0.1), Callbacks::new());
        assert_refused(&other.set_options(own).unwrap_err(), kind, &[part]);
        assert!(!folder.path().join("new").exists(), "{part}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let own = with_checkpoints(&file.join("checkpoints"), 1);
    let made = Trainer::new(build(&options(), &engines()[0]), own, Callbacks::new());
    let error = made.unwrap_err();
    assert!(error.one_line().contains("checkpoints"), "{}", error.one_line());
}

const FULL: &str = "GLEBE_TEST_FULL_DISK";

#[test]
#[ignore = "the child of a_disk_that_is_full_leaves_the_last_checkpoint"]
fn full_disk_child() {
    let Some(folder) = std::env::var_os(FULL) else { return };
    let folder = Path::new(&folder);
    let mut own = trainer(with_checkpoints(folder, 3), Callbacks::new());
    own.resume_newest().unwrap();
    let error = own.fit(&mut loader(2, 1), None).unwrap_err();
    // The limit is no obstacle to a line.
    fs::write(folder.join("said"), format!("{:?} {}", error.kind(), error.one_line())).unwrap();
}

/// A limit of the size of files stands for a full disk: writing fails in the middle of the file.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let before = one_epoch(folder.path());
    assert!(before.len() > 8 * 1024, "{}", before.len());
    let program = std::env::current_exe().unwrap();
    let done = std::process::Command::new("sh")
        // Ignored, the signal becomes the error EFBIG. The limit is 8 blocks of 512 or 1024 bytes.
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
        .arg(program)
        .args(["--exact", "bad_runs::full_disk_child", "--ignored"])
        .env(FULL, folder.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let said = fs::read_to_string(folder.path().join("said")).unwrap();
    assert!(said.starts_with("Io ") && said.contains(LAST), "{said}");
    assert_eq!(fs::read(folder.path().join(LAST)).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a temporary is left");
}

/// Changes the rate at the beginning of one epoch.
#[derive(Debug)]
struct RateOf(u64, f64);

impl Callback for RateOf {
    fn epoch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        if context.state.epoch == self.0 {
            context.state.learning_rate = self.1;
        }
        Ok(())
    }
}

#[test]
fn weights_that_exploded_do_not_reach_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let before = one_epoch(folder.path());
    // One batch an epoch: its update comes behind its loss, which is still finite.
    let mut callbacks = Callbacks::new();
    callbacks.add(RateOf(2, 3e38));
    let mut own = trainer(with_checkpoints(folder.path(), 3), callbacks);
    own.resume_newest().unwrap();
    let error = own.fit(&mut loader(1, 1), None).unwrap_err();
    assert_refused(&error, ErrorKind::InvalidState, &["not finite after epoch 2"]);
    assert_eq!(fs::read(folder.path().join(LAST)).unwrap(), before);
    let mut again = trainer(with_checkpoints(folder.path(), 3), Callbacks::new());
    assert!(again.resume_newest().unwrap());
    again.fit(&mut loader(1, 1), None).unwrap();
}

#[test]
fn a_checkpoint_that_is_loaded_by_half_is_not_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let stopping = |metric: &str| {
        let mut callbacks = Callbacks::new();
        callbacks.add(EarlyStopping::new(metric, Mode::Lowest));
        callbacks
    };
    let mut first = trainer(with_checkpoints(folder.path(), 2), stopping("Loss"));
    first.fit(&mut loader(2, 1), Some(&mut loader(1, 9))).unwrap();
    let mut own = trainer(with_checkpoints(folder.path(), 4), stopping("MeanIoU"));
    assert!(own.resume_newest().unwrap());
    for _ in 0..2 {
        // The second fit tries the same again.
        let error = own.fit(&mut loader(2, 1), Some(&mut loader(1, 9))).unwrap_err();
        assert_refused(&error, ErrorKind::InvalidState, &["callback early_stopping cannot go on"]);
        assert_eq!(own.checkpoint().unwrap_err().kind(), ErrorKind::InvalidState);
    }
    *own.callbacks_mut() = stopping("Loss");
    own.fit(&mut loader(2, 1), Some(&mut loader(1, 9))).unwrap();
    assert_eq!((own.state().epoch, own.state().global_step), (4, 8));
}

#[test]
fn the_newest_checkpoint_is_one_of_the_same_run() {
    newest_of_the_same_run(ScoreForm::Epoch);
    // The loss is not the first of its metrics.
    newest_of_the_same_run(ScoreForm::InnerEye);
}

fn newest_of_the_same_run(form: ScoreForm) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = with_checkpoints(folder.path(), 5);
    options.checkpoints.as_mut().unwrap().keep = 9;
    let mut scoring = Scoring::default();
    (scoring.form, scoring.on_training) = (form, true);
    options.scoring = Some(scoring);
    trainer(options.clone(), Callbacks::new()).fit(&mut loader(2, 1), None).unwrap();
    // Another way from epoch 2 on, with other data, which ends within epoch 4.
    let branch = options.clone();
    let mut callbacks = Callbacks::new();
    callbacks.add(FailsInEpoch(4));
    let mut own = trainer(branch.clone(), callbacks);
    own.resume(Checkpoint::read(folder.path().join("epoch-2.safetensors")).unwrap()).unwrap();
    own.fit(&mut loader(2, 7), None).unwrap_err();
    let expected = Checkpoint::read(folder.path().join(LAST)).unwrap();
    assert_eq!(expected.epoch, 3);
    let (path, found) = branch.checkpoints.as_ref().unwrap().newest().unwrap();
    assert_eq!((path, &found), (folder.path().join(LAST), &expected));
    // Where a kill came between two files of an epoch, the later one of the run is found.
    let mut rest = trainer(branch.clone(), Callbacks::new());
    assert!(rest.resume_newest().unwrap());
    rest.fit(&mut loader(2, 7), None).unwrap();
    expected.write(folder.path().join(LAST)).unwrap();
    let (path, _) = branch.checkpoints.as_ref().unwrap().newest().unwrap();
    assert_eq!(path, folder.path().join("epoch-5.safetensors"));
}

/// Fails at the end of the batches of one epoch.
#[derive(Debug)]
struct FailsInEpoch(u64);

impl Callback for FailsInEpoch {
    fn batches_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        match context.state.epoch == self.0 {
            true => Err(Error::new(ErrorKind::Cancelled, "enough")),
            false => Ok(()),
        }
    }
}

/// Wishes to stop at the very end of an epoch.
#[derive(Debug)]
struct StopsAtEnd(u64);

impl Callback for StopsAtEnd {
    fn epoch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        context.state.should_stop = context.state.epoch == self.0;
        Ok(())
    }
}

#[test]
fn a_late_wish_to_stop_is_in_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = with_checkpoints(folder.path(), 9);
    options.checkpoints.as_mut().unwrap().every = 5;
    let mut callbacks = Callbacks::new();
    callbacks.add(StopsAtEnd(3));
    trainer(options.clone(), callbacks).fit(&mut loader(1, 1), None).unwrap();
    let last = Checkpoint::read(folder.path().join(LAST)).unwrap();
    assert_eq!((last.epoch, last.should_stop), (3, true));
    let mut own = trainer(options.clone(), Callbacks::new());
    own.resume_newest().unwrap();
    own.fit(&mut loader(1, 1), None).unwrap();
    assert_eq!(own.state().epoch, 3);
    // Who asks for more epochs gets them.
    own.set_options(options).unwrap();
    own.fit(&mut loader(1, 1), None).unwrap();
    assert_eq!(own.state().epoch, 9);
}

#[test]
fn an_epoch_without_its_end_is_not_gone_on_from() {
    let mut callbacks = Callbacks::new();
    callbacks.add(FailsAt(Event::ValidationEnd));
    let mut own = trainer(FitOptions::new(3, 1e-2), callbacks);
    own.fit(&mut loader(1, 1), Some(&mut loader(1, 9))).unwrap_err();
    let error = own.fit(&mut loader(1, 1), None).unwrap_err();
    assert_refused(&error, ErrorKind::InvalidState, &["epoch 1 was interrupted"]);
    assert_eq!(own.checkpoint().unwrap_err().kind(), ErrorKind::InvalidState);
}

#[test]
fn a_best_by_a_validation_that_there_is_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = with_checkpoints(folder.path(), 2);
    options.checkpoints.as_mut().unwrap().best = Some(("val/Loss".to_owned(), Mode::Lowest));
    let error = trainer(options, Callbacks::new()).fit(&mut loader(1, 1), None).unwrap_err();
    assert_refused(&error, ErrorKind::InvalidArgument, &["val/Loss", "no validation data"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Images that fill a batch up count neither for the loss nor for the gradients, mask or not.
#[test]
fn images_that_do_not_count_change_nothing() {
    let run = |filler: f32| {
        let mut own = trainer(FitOptions::new(1, 1e-2), Callbacks::new());
        let mut data = Bad::new();
        let half = data.images.len() / 2;
        for (at, value) in data.images[..half].iter_mut().enumerate() {
            *value = (at % 7) as f32 / 7.0;
        }
        data.images[half..].fill(filler);
        data.count = Some(1);
        own.fit(&mut data, None).unwrap();
        own.step().weights().unwrap()
    };
    assert!(run(0.5) == run(-3.0));
}
