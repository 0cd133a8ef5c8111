//! The files that the built-in callbacks write.

use std::fs;
use std::path::Path;

use glebe::finetune::{Checkpoints, FitOptions, ScoreForm, Scoring, Trainer};
use glebe::hooks::builtin::{
    BatchLosses, ClinicaDlTables, EpochCsv, EpochTimes, ImageMetrics, ProgressFile, RunRecord, StoringLog,
    TrainingCurves, Visualisations,
};
use glebe::hooks::{Callback, Callbacks, Context, Mode, Split};
use glebe::metrics::Value;
use glebe::{Error, ErrorKind, Result};

use crate::lifecycle::{loader, trainer};

fn scoring(form: ScoreForm, on_training: bool) -> Option<Scoring> {
    let mut scoring = Scoring::default();
    scoring.class_names = ["ground", "water", "house"].map(str::to_owned).into();
    (scoring.form, scoring.on_training) = (form, on_training);
    Some(scoring)
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Everything that writes files whose bytes do not depend on times.
pub(crate) fn writers(folder: &Path) -> Callbacks {
    let mut callbacks = Callbacks::new();
    callbacks
        .add(EpochCsv::new(folder))
        .add(BatchLosses::new(folder.join("batch_losses.csv")))
        .add(ClinicaDlTables::new(folder.join("split-0")))
        .add(Visualisations::new(folder.join("pictures")).every(2))
        .add(TrainingCurves::new(folder.join("curves.svg")));
    callbacks
}

pub(crate) fn fit_options(folder: &Path, epochs: u64) -> FitOptions {
    let mut options = FitOptions::new(epochs, 1e-2);
    options.scoring = scoring(ScoreForm::Epoch, true);
    let mut checkpoints = Checkpoints::new(folder.join("checkpoints"));
    checkpoints.best = Some(("val/MeanIoU".to_owned(), Mode::Highest));
    checkpoints.keep = 2;
    options.checkpoints = Some(checkpoints);
    options
}

pub(crate) fn fit(trainer: &mut Trainer) -> Result<()> {
    trainer.fit(&mut loader(3, 1).shuffled(), Some(&mut loader(2, 9)))
}

/// The names and contents of all files below a folder, those of a run record left out.
pub(crate) fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(own) = folders.pop() {
        for entry in fs::read_dir(own).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn epochs_have_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let storing = StoringLog::new();
    let mut callbacks = writers(folder.path());
    callbacks.add(storing.clone());
    let mut trainer = trainer(fit_options(folder.path(), 2), callbacks);
    fit(&mut trainer).unwrap();
    let rows = |name: &str| text(folder.path(), name).lines().map(str::to_owned).collect::<Vec<_>>();
    let train = rows("Train/epoch_metrics.csv");
    let columns: Vec<&str> = train[0].split(',').collect();
    assert_eq!(
        columns[..6],
        [
            "loss",
            "learning_rate",
            "Accuracy",
            "MeanIoU",
            "IoUWithoutBackground",
            "Dice/AverageAcrossStructures"
        ]
    );
    assert_eq!(columns[6], "IoU/ground");
    assert_eq!(columns[columns.len() - 2..], ["epoch", "cross_validation_split_index"]);
    assert_eq!(train.len(), 3);
    assert!(train[1].ends_with(",0,-1") && train[2].ends_with(",1,-1"), "{train:?}");
    // The values are those that the logger kept, with six decimals.
    let value = |epoch, name: &str| {
        storing.read(|own| match own.results(epoch).unwrap().get(name) {
            Some(Value::Float(value)) => *value,
            other => panic!("{name}: {other:?}"),
        })
    };
    let first: Vec<&str> = train[1].split(',').collect();
    assert_eq!(first[0], format!("{:.6}", value(0, "train/Loss")));
    assert_eq!(first[1], "0.010000");
    assert_eq!(first[3], format!("{:.6}", value(0, "train/MeanIoU")));
    let val = rows("Val/epoch_metrics.csv");
    assert!(val[0].starts_with("loss,Accuracy,") && val.len() == 3);
    assert_eq!(val[2].split(',').next().unwrap(), format!("{:.6}", value(1, "val/Loss")));

    let losses = rows("batch_losses.csv");
    assert_eq!(losses[0], "epoch,batch,loss");
    let of = |row: &str| row.split(',').nth(2).unwrap().parse::<f64>().unwrap();
    // A mean of the three, by the numbers of pixels that count.
    let of: Vec<f64> = losses[4..7].iter().map(|row| of(row)).collect();
    let (least, most) = (of.iter().copied().fold(f64::MAX, f64::min), of.iter().copied().fold(0.0, f64::max));
    assert!((least..=most).contains(&value(1, "train/Loss")), "{losses:?}");
    let tsv = rows("split-0/logs/training_loss.tsv");
    assert_eq!((tsv[0].as_str(), tsv.len()), ("epoch\tbatch\tloss", 7));
    assert!(tsv[6].starts_with("2\t3\t"));
    let aggregated = rows("split-0/validation_metrics/aggregated.tsv");
    assert!(aggregated[0].starts_with("Loss\tAccuracy\t") && aggregated[0].ends_with("\tepoch"));
    let details = rows("split-0/validation_metrics/details.tsv");
    assert_eq!(details[0], "loss\tAccuracy\tMeanIoU\tMeanDice\tparticipant_id\tsession_id\tepoch");
    // Four images in each of two validations.
    assert_eq!(details.len(), 9);
    assert!(details[8].ends_with("\tsub-003\tses-M000\t2"), "{details:?}");
    let curves = text(folder.path(), "curves.svg");
    assert!(
        curves.contains(">Loss<") && curves.contains(">MeanIoU<") && curves.matches("<circle").count() == 14
    );
}

#[test]
fn inner_eyes_columns_are_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut callbacks = Callbacks::new();
    callbacks.add(EpochCsv::of_split(folder.path(), 3));
    let mut options = fit_options(folder.path(), 1);
    options.scoring = scoring(ScoreForm::InnerEye, true);
    options.checkpoints = None;
    fit(&mut trainer(options, callbacks)).unwrap();
    let head = |name: &str| text(folder.path(), name).lines().next().unwrap().to_owned();
    // The columns of InnerEye's own regression results, with other structures.
    assert_eq!(
        head("Train/epoch_metrics.csv"),
        "subject_count,loss,learning_rate,Dice/AverageAcrossStructures,Dice/water,Dice/house,VoxelCount/water,\
         VoxelCount/house,epoch,cross_validation_split_index"
    );
    assert_eq!(
        head("Val/epoch_metrics.csv"),
        "subject_count,loss,Dice/AverageAcrossStructures,Dice/water,Dice/house,VoxelCount/water,VoxelCount/house,\
         epoch,cross_validation_split_index"
    );
    let row = text(folder.path(), "Train/epoch_metrics.csv").lines().nth(1).unwrap().to_owned();
    assert!(row.starts_with("6.000000,") && row.ends_with(",0,3"), "{row}");
}

#[test]
fn epochs_without_validation_leave_the_columns_alone() {
    for (empty_rows, expected) in [(false, 3), (true, 5)] {
        let folder = tempfile::tempdir().unwrap();
        let mut callbacks = Callbacks::new();
        callbacks.add(EpochCsv::new(folder.path()).empty_rows(empty_rows));
        let mut options = FitOptions::new(4, 1e-2);
        options.validate_every = 2;
        fit(&mut trainer(options, callbacks)).unwrap();
        let val = text(folder.path(), "Val/epoch_metrics.csv");
        assert_eq!(val.lines().count(), expected);
        // With the reference's empty first row the columns of all others are lost.
        assert_eq!(val.starts_with("loss,"), !empty_rows, "{val}");
    }
}

/// Logs numbers of its own.
#[derive(Debug)]
struct Logs(&'static str);

impl Callback for Logs {
    fn batch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        context.log(self.0, context.state.batch as f64)
    }
}

#[test]
fn what_callbacks_log_has_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let mut callbacks = Callbacks::new();
    callbacks.add(Logs("own/hue")).add(EpochCsv::new(folder.path()));
    fit(&mut trainer(FitOptions::new(1, 1e-2), callbacks)).unwrap();
    let train = text(folder.path(), "Train/epoch_metrics.csv");
    assert!(train.starts_with("loss,learning_rate,own/hue,epoch,"), "{train}");
    assert!(train.contains(",2.000000,0,-1\n"), "{train}");
    assert!(text(folder.path(), "Val/epoch_metrics.csv").contains(",1.500000,0,-1\n"));
    // A name of the trainer's own metrics would say two things.
    let mut callbacks = Callbacks::new();
    callbacks.add(Logs("Loss"));
    let error = fit(&mut trainer(FitOptions::new(1, 1e-2), callbacks)).unwrap_err();
    assert!(error.one_line().contains("\"train/Loss\", which the trainer measures"), "{}", error.one_line());
    let mut callbacks = Callbacks::new();
    callbacks.add(Logs("a/b/c"));
    let error = fit(&mut trainer(FitOptions::new(1, 1e-2), callbacks)).unwrap_err();
    assert!(
        error
            .one_line()
            .contains("Expected key to have format 'metric_name[/optional_suffix_for_hue]', got a/b/c"),
        "{}",
        error.one_line()
    );
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn tests_have_a_row_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let mut callbacks = Callbacks::new();
    callbacks
        .add(ImageMetrics::new(folder.path()).class_names(&["ground", "water", "house"]).spacing([1.0, 1.0]))
        .add(Visualisations::new(folder.path().join("pictures")))
        .add(ProgressFile::new(folder.path()))
        .add(EpochTimes::new());
    let mut trainer = trainer(FitOptions::new(2, 1e-2), callbacks);
    trainer.test(&mut loader(2, 9)).unwrap();
    let metrics = text(folder.path(), "best_validation_epoch/Test/metrics.csv");
    let rows: Vec<&str> = metrics.lines().collect();
    assert_eq!(rows[0], "Patient,Structure,Dice,HausdorffDistance_mm,MeanDistance_mm");
    // Four images of two structures.
    assert_eq!(rows.len(), 9);
    assert!(rows[1..5].iter().all(|row| row.contains(",house,")), "{metrics}");
    let aggregates = text(folder.path(), "best_validation_epoch/Test/metrics_aggregates.csv");
    assert!(aggregates.starts_with("Structure,count,DiceNumeric_mean,"), "{aggregates}");
    assert_eq!(aggregates.lines().count(), 3);
    let progress = text(folder.path(), "progress.log");
    assert!(progress.starts_with("ep_idx\tphase\titer\ti_p_ep\ttime\n2\ttst\t0\t2\t"), "{progress}");
    assert_eq!(progress.lines().count(), 3);
    // The first batch is drawn.
    let picture = fs::read(folder.path().join("pictures/epoch-000/test_batch-001_image-2.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    assert!(!folder.path().join("pictures/epoch-000/test_batch-002_image-1.png").exists());
    trainer.infer(&mut [(Split::Test, &mut loader(1, 9)), (Split::Val, &mut loader(1, 3))]).unwrap();
    let val = text(folder.path(), "best_validation_epoch/Val/metrics.csv");
    assert_eq!(val.lines().count(), 5);
    assert_eq!(text(folder.path(), "best_validation_epoch/Test/metrics.csv").lines().count(), 5);
}

#[test]
fn a_run_has_a_record() {
    for name in ["run.json", "run.toml"] {
        let folder = tempfile::tempdir().unwrap();
        let options = fit_options(folder.path(), 2);
        let record = RunRecord::new(folder.path().join(name)).section("fit", &options).unwrap();
        let mut callbacks = Callbacks::new();
        callbacks.add(record);
        fit(&mut trainer(options, callbacks)).unwrap();
        let text = text(folder.path(), name);
        let found: serde_json::Value = match name {
            "run.json" => serde_json::from_str(&text).unwrap(),
            _ => {
                let table: toml::Value = toml::from_str(&text).unwrap();
                serde_json::to_value(table).unwrap()
            }
        };
        assert_eq!((&found["status"], &found["global_step"]), (&"done".into(), &6.into()));
        assert_eq!(found["settings"]["fit"]["checkpoints"]["best"][1], "highest");
        assert_eq!(found["metrics"].as_array().unwrap().len(), 2);
        assert!(found["metrics"][1]["val/MeanIoU"].is_number());
    }
}

#[test]
fn a_record_goes_on_with_the_rows_of_its_file() {
    for name in ["run.json", "run.toml"] {
        let folder = tempfile::tempdir().unwrap();
        let run = |epochs| {
            let mut callbacks = Callbacks::new();
            callbacks.add(RunRecord::new(folder.path().join(name)));
            trainer(fit_options(folder.path(), epochs), callbacks)
        };
        fit(&mut run(2)).unwrap();
        let mut rest = run(3);
        rest.resume_newest().unwrap();
        fit(&mut rest).unwrap();
        let text = text(folder.path(), name);
        for epoch in 1..=3 {
            let line = if name == "run.json" {
                format!("\"epoch\": {epoch},")
            } else {
                format!("epoch = {epoch}\n")
            };
            assert!(text.contains(&line), "{name}: {line}");
        }
        assert_eq!(text.matches("val/MeanIoU").count(), 3);
    }
}

#[test]
fn a_regression_has_the_files_that_need_no_classes() {
    let folder = tempfile::tempdir().unwrap();
    let mut step_options = crate::fixtures::options();
    step_options.loss = "mse".parse().unwrap();
    let step = crate::fixtures::build(&step_options, &crate::fixtures::engines()[0]);
    let options = FitOptions::new(2, 1e-3);
    let callbacks = glebe::finetune::Outputs::all(folder.path()).callbacks(&options).unwrap();
    let mut own = Trainer::new(step, options, callbacks).unwrap();
    own.fit(&mut Regression::new(), Some(&mut Regression::new())).unwrap();
    own.test(&mut Regression::new()).unwrap();
    let val = text(folder.path(), "Val/epoch_metrics.csv");
    assert!(val.starts_with("loss,epoch,") && val.lines().count() == 3, "{val}");
    assert!(!folder.path().join("best_validation_epoch").exists());
}

/// One batch of numbers to be met.
struct Regression(Vec<f32>, Vec<f32>);

impl Regression {
    fn new() -> Regression {
        use crate::fixtures::{BATCH, CLASSES, SIZE};
        let images = (0..BATCH * 3 * SIZE * SIZE).map(|at| (at % 11) as f32 / 11.0).collect();
        Regression(images, vec![0.25; BATCH * CLASSES * SIZE * SIZE])
    }
}

impl glebe::finetune::Loader for Regression {
    fn batches(&self) -> usize {
        1
    }

    fn batch(&mut self, _: usize) -> Result<glebe::finetune::Batch<'_>> {
        let labels = glebe::finetune::Labels::F32(&self.1);
        Ok(glebe::finetune::Batch { images: &self.0, labels, mask: None, keys: None })
    }
}

/// Fails in one epoch.
#[derive(Debug)]
struct Fails(u64);

impl Callback for Fails {
    fn batches_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        match context.state.epoch == self.0 {
            true => Err(Error::new(ErrorKind::Cancelled, "enough")),
            false => Ok(()),
        }
    }
}

#[test]
fn files_of_a_run_that_goes_on_are_those_of_one_that_never_stopped() {
    let whole = tempfile::tempdir().unwrap();
    fit(&mut trainer(fit_options(whole.path(), 4), writers(whole.path()))).unwrap();
    let expected = contents(whole.path());
    assert!(expected.len() >= 9, "{:?}", expected.iter().map(|own| &own.0).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let mut callbacks = writers(folder.path());
    callbacks.add(Fails(3));
    assert!(fit(&mut trainer(fit_options(folder.path(), 4), callbacks)).is_err());
    // Rows and bytes of the epoch that was cut off are there, and go.
    let mut again = trainer(fit_options(folder.path(), 4), writers(folder.path()));
    assert!(again.resume_newest().unwrap());
    fit(&mut again).unwrap();
    for ((name, found), (expected_name, expected)) in contents(folder.path()).iter().zip(&expected) {
        assert_eq!(name, expected_name);
        assert!(found == expected, "{name}");
    }
}
