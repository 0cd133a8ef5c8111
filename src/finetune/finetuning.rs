//! A finetuning from beginning to end: lists and a model in, a better model out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::data::{
    Dataset, DatasetOptions, Found, ListItem, Loader, RasterLoader, Split, Use, read_all, read_list,
    shared_image,
};
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::config::Config;
use crate::finetune::metric_names::MetricNames;
use crate::finetune::preflight::{Preflight, preflight};
use crate::finetune::run_folder::RunFolder;
use crate::finetune::scoring::ScoreKeeper;
use crate::finetune::step::TrainStep;
use crate::finetune::trainer::Trainer;
use crate::geometry::Band;
use crate::hooks::Callbacks;
use crate::metrics::peak_rss_mib;
use crate::model::{Model, ModelOptions, Normalisation, Tags};
use crate::runtime::{CancelToken, Runtime};
use crate::segment::{SegmentOptions, Segmenter};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::report::Report;

/// Name of the finetuned model in the folder of a run.
pub const MODEL: &str = "model.onnx";

/// Finetunes a model as a configuration says, with no more callbacks than it asks for: see [`Finetuning`].
///
/// # Errors
/// Those of [`Finetuning::new`], [`Finetuning::check_metrics`] and [`Finetuning::run`].
pub fn finetune(runtime: &Runtime, config: Config) -> Result<FinetuneReport> {
    let finetuning = Finetuning::new(runtime, config)?;
    finetuning.check_metrics()?;
    finetuning.run(Callbacks::new())
}

/// A finetuning that is ready to run: the data are looked through, the step is built, nothing is written yet.
///
/// ```no_run
/// use glebe::finetune::{Config, Finetuning};
/// use glebe::hooks::Callbacks;
/// use glebe::runtime::{Runtime, RuntimeOptions};
///
/// # fn main() -> glebe::Result<()> {
/// let runtime = Runtime::load(&RuntimeOptions::default())?;
/// let config = Config::read("finetune.toml", &["training.steps=200"])?;
/// let finetuning = Finetuning::new(&runtime, config)?;
/// println!("{} training windows", finetuning.found().train.windows);
/// let report = finetuning.run(Callbacks::new())?;
/// println!("{}", report.model.display());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Finetuning {
    config: Config,
    step: TrainStep,
    preflight: Preflight,
    init: Option<(String, Report)>,
    tags: Tags,
    names: Vec<String>,
    metrics: MetricNames,
    runtime: Runtime,
    /// Validation and test data, to be scored as whole maps.
    scored: [Option<Dataset>; 2],
    train: RasterLoader,
    val: Option<RasterLoader>,
    test: Option<RasterLoader>,
    resume: bool,
}

/// What was found in each part of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FoundData {
    /// Training data.
    pub train: Found,
    /// Validation data.
    pub val: Option<Found>,
    /// Test data.
    pub test: Option<Found>,
}

/// What a finetuning did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FinetuneReport {
    /// Folder of all that was written.
    pub out: PathBuf,
    /// The finetuned model.
    pub model: PathBuf,
    /// The data.
    pub data: FoundData,
    /// What was loaded from [`Config::init`], and its message.
    pub init: Option<(String, Report)>,
    /// The message of the checkpoint that the weights came back from: the best, or the one that was gone on from.
    pub checkpoint: String,
    /// Epochs that are done.
    pub epochs: u64,
    /// Updates that are done.
    pub steps: u64,
    /// The best value of the metric that decides about it, and its name.
    pub best: Option<(String, f64)>,
    /// Metrics of the test data, window by window, with the weights that were exported.
    pub test: Option<Vec<(String, f64)>>,
    /// Scores of the exported model on the whole images of validation and test data, tile by tile as `glebe segment` scores
    /// them.
    pub maps: Maps,
    /// Seconds of training and validation.
    pub fit_s: f64,
    /// Seconds of these that training waited for data.
    pub wait_s: f64,
    /// Largest memory of the process, where the system tells.
    pub peak_rss_mib: Option<f64>,
}

/// Scores of whole maps, by their names in the metrics of an epoch.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Maps {
    /// Of the validation data.
    pub val: Option<Vec<(String, f64)>>,
    /// Of the test data.
    pub test: Option<Vec<(String, f64)>>,
}

impl Finetuning {
    /// Opens the model, looks through the data and builds the training step; writes nothing.
    ///
    /// # Errors
    /// `InvalidArgument` for settings, with their key; `ModelUnsupported` with what stands in the way of training; errors of
    /// lists, images and labels with the list and the line; `Mismatch` where model and data do not fit together; those of
    /// [`TrainStep::new`] and [`TrainStep::load_checkpoint`].
    pub fn new(runtime: &Runtime, mut config: Config) -> Result<Finetuning> {
        config.check()?;
        config.out.get_or_insert_with(RunFolder::default_name);
        let model = Model::open(runtime, &config.model, &ModelOptions::default())?;
        let contract = model.contract();
        let step_options = config.step_options(contract)?;
        let preflight = preflight(&model, &step_options)?;
        if let Some(refusal) = preflight.refusal() {
            return Err(refusal.at_path(&config.model));
        }
        let channels = preflight.outputs.ok_or_else(|| Error::internal("a step without logits"))?;
        let classes = channels[1].max(2);
        let names = class_names(&config, contract.class_names(), classes)?;
        let data = Data::open(&config, &model, classes, step_options.size)?;
        contract.check_channels(data.train.bands()).map_err(|error| match data.train.items().next() {
            Some(item) => item.locate(error.at_path(&item.image)),
            None => error,
        })?;
        let label_size = [channels[2], channels[3]];
        let (batch, size) = (step_options.batch, step_options.size);
        let loader = |data: &Dataset, is_test: bool| {
            let mut options = config.evaluation_loader(batch, size, is_test);
            options.label_size = label_size;
            RasterLoader::new(data, options)
        };
        let mut training = config.training_loader(batch, size);
        training.label_size = label_size;
        let part = |name: &'static str| move |error: Error| in_part(name, error);
        let train = RasterLoader::new(&data.train, training).map_err(part("training data"))?;
        let val = data.val.as_ref().map(|data| loader(data, false)).transpose();
        let val = val.map_err(part("validation data"))?;
        let test = data.test.as_ref().map(|data| loader(data, true)).transpose();
        let test = test.map_err(part("test data"))?;
        let tags = tags(&config, &data.train, &names, size);
        tags.check(contract)?;
        // What the run itself would refuse.
        let fit = config.fit_options(Path::new(""), val.is_some(), &names)?;
        config.callbacks(Path::new(""), &fit, 1, val.is_some())?;
        fit.check()?;
        let scoring = fit.scoring.unwrap_or_default();
        let metrics = ScoreKeeper::new(&scoring, channels[1])?.metrics(vec![("Loss".to_owned(), 0.0)])?;
        let metrics = MetricNames::new(if val.is_some() { &metrics } else { &[] });
        let mut step = TrainStep::new(&model, &step_options, &config.run_options())?;
        let init = load(&config, &mut step)?;
        let (runtime, scored) = (runtime.clone(), [data.val, data.test]);
        let resume = false;
        Ok(Finetuning {
            config,
            step,
            preflight,
            init,
            tags,
            names,
            metrics,
            runtime,
            scored,
            train,
            val,
            test,
            resume,
        })
    }

    /// Lets `token` stop it, also in the middle of a step. What checkpoints hold can be gone on from.
    ///
    /// # Errors
    /// The runtime's.
    pub fn cancel_with(&mut self, token: &CancelToken) -> Result<()> {
        self.step.cancel_with(token)
    }

    /// Goes on with what the folder holds, where there is something: with the same settings, but for the length of the
    /// training and what has no effect on its numbers.
    pub fn resume(&mut self, wanted: bool) {
        self.resume = wanted;
    }

    /// What was found in the data.
    pub fn found(&self) -> FoundData {
        FoundData {
            train: self.train.found().clone(),
            val: self.val.as_ref().map(|own| own.found().clone()),
            test: self.test.as_ref().map(|own| own.found().clone()),
        }
    }

    /// What is trained, at what cost.
    pub fn preflight(&self) -> &Preflight {
        &self.preflight
    }

    /// The loading message and report of the checkpoint that it starts from, if any.
    pub fn init(&self) -> Option<&(String, Report)> {
        self.init.as_ref()
    }

    /// The configuration; its folder is named.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Epochs and, in each of them, updates.
    pub fn length(&self) -> (u64, u64) {
        let batches = self.train.batches().div_ceil(self.config.training.accumulate.max(1)) as u64;
        (self.config.length().epochs, batches)
    }

    /// That the metrics which decide about the best weights and about stopping early are ones that the run measures. Not for
    /// runs with callbacks that log metrics of their own; a name that is missing ends those after the first epoch.
    ///
    /// # Errors
    /// `InvalidArgument` with the key, and the nearest name that there is.
    pub fn check_metrics(&self) -> Result<()> {
        if let Some(name) = self.config.training.best.as_deref().filter(|name| *name != "last") {
            self.metrics.check("training.best", name)?;
        }
        let stop = &self.config.early_stopping;
        match stop.patience {
            Some(_) => self.metrics.check_validation("early_stopping.metric", &stop.metric),
            None => Ok(()),
        }
    }

    /// Trains, goes back to the best weights, tests them where there are test data, and writes the model into the folder;
    /// `callbacks` hear of everything behind those that write the files.
    ///
    /// The folder is made now: an existing one must be empty, or be gone on from ([`Finetuning::resume`]).
    ///
    /// # Errors
    /// `AlreadyExists` for a folder that is not empty; `Mismatch` where one that is gone on from has other settings;
    /// `Cancelled`; those of [`Trainer::fit`], [`Trainer::test`] and the export. Checkpoints and files stay as the last
    /// complete epoch left them.
    pub fn run(self, callbacks: Callbacks) -> Result<FinetuneReport> {
        let data = self.found();
        let (epochs, each) = self.length();
        let Finetuning { config, step, init, tags, names, mut train, mut val, mut test, resume, .. } = self;
        let (runtime, scored) = (self.runtime, self.scored);
        let folder = RunFolder::open(&config, resume)?;
        let out = folder.path();
        let fit = config.fit_options(out, val.is_some(), &names)?;
        let steps = config.training.steps.unwrap_or(epochs * each);
        let mut all = config.callbacks(out, &fit, steps, val.is_some())?;
        all.append(callbacks);
        let best = fit.checkpoints.as_ref().and_then(|own| own.best.clone());
        let begin = || -> Result<Trainer> {
            let mut trainer = Trainer::new(step, fit, all)?;
            if resume {
                trainer.resume_newest()?;
            }
            Ok(trainer)
        };
        let mut trainer = begin().inspect_err(|_| folder.abandon())?;
        folder.settle(&config)?;
        let start = Instant::now();
        trainer.fit(&mut train, val.as_mut().map(|own| own as &mut dyn Loader))?;
        let fit_s = start.elapsed().as_secs_f64();
        let test = test.as_mut().map(|data| trainer.test(data)).transpose()?;
        let model = out.join(MODEL);
        let bytes = match config.training.averages {
            true => trainer.step().export_averages_tagged(&tags)?,
            false => trainer.step().export_tagged(&tags)?,
        };
        folder.write(MODEL, &bytes)?;
        let best = best.and_then(|(name, _)| Some((name, trainer.best.value?)));
        let state = trainer.state().clone();
        // Its sessions and weights are not needed any more.
        drop(trainer);
        let maps = match config.outputs.maps {
            true => score(&runtime, &config, &model, &names, &scored)?,
            false => Maps::default(),
        };
        Ok(FinetuneReport {
            out: out.to_owned(),
            model,
            data,
            init,
            checkpoint: state.checkpoint_message,
            epochs: state.epoch,
            steps: state.global_step,
            best,
            maps,
            test,
            fit_s,
            wait_s: train.waited().as_secs_f64(),
            peak_rss_mib: peak_rss_mib(),
        })
    }
}

/// Scores the exported model on whole images.
fn score(
    runtime: &Runtime,
    config: &Config,
    model: &Path,
    names: &[String],
    [val, test]: &[Option<Dataset>; 2],
) -> Result<Maps> {
    if val.is_none() && test.is_none() {
        return Ok(Maps::default());
    }
    let model = Model::open(runtime, model, &ModelOptions::default())?;
    let mut options = SegmentOptions::default();
    (options.provider, options.threads) = (config.run.device.clone(), config.run.threads);
    let mut segmenter = Segmenter::new(&model, options)?;
    let names = (!names.is_empty()).then_some(names);
    let mut of = |data: &Option<Dataset>| -> Result<Option<Vec<(String, f64)>>> {
        let Some(data) = data else { return Ok(None) };
        let found = segmenter.evaluate(data, names)?;
        let record = found.scores.record(&found.class_names)?;
        Ok(Some(record.iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_f64()?))).collect()))
    };
    Ok(Maps { val: of(val)?, test: of(test)? })
}

/// The parts of the data.
struct Data {
    train: Dataset,
    val: Option<Dataset>,
    test: Option<Dataset>,
}

impl Data {
    fn open(config: &Config, model: &Model, classes: usize, size: [usize; 2]) -> Result<Data> {
        let options = dataset_options(config, model, classes)?;
        let root = config.data.root.as_deref();
        let read = |lists: &[String], split: Split, key: &str| -> Result<Vec<ListItem>> {
            let mut items = Vec::new();
            for list in lists {
                items.extend(read_list(list, root, split).map_err(|error| in_part(key, error))?);
            }
            Ok(items)
        };
        let open = |items: Vec<ListItem>, key: &str| {
            Dataset::open(items, options.clone()).map_err(|error| in_part(key, error))
        };
        let items = read(&config.data.train, Split::Train, "data.train")?;
        let tests = match config.data.test.is_empty() {
            true => tests_of_areas(config, root)?,
            false => read(&config.data.test, Split::Test, "data.test")?,
        };
        let vals = read(&config.data.val, Split::Val, "data.val")?;
        for (other, name) in [(&vals, "validation"), (&tests, "test")] {
            if let Some(image) = shared_image(&items, other) {
                tracing::warn!("{} is in both the training and the {name} data", image.display());
            }
        }
        let whole = open(items, "data.train")?;
        let test = (!tests.is_empty()).then(|| open(tests, "data.test")).transpose()?;
        let (train, val) = match config.division(size) {
            Some(division) => {
                let divided = whole.divide(&division);
                let (train, val) = divided.map_err(|error| in_part("data.val_fraction", error))?;
                (train, Some(val))
            }
            None => (whole, (!vals.is_empty()).then(|| open(vals, "data.val")).transpose()?),
        };
        for (other, key) in [(&val, "data.val"), (&test, "data.test")] {
            let Some((other, item)) = other.as_ref().and_then(|own| Some((own, own.items().next()?))) else {
                continue;
            };
            if other.bands() != train.bands() {
                let message = format!(
                    "expected {} bands as in the training data, got {}",
                    train.bands(),
                    other.bands()
                );
                let error = Error::new(ErrorKind::Mismatch, message).at_path(&item.image);
                return Err(in_part(key, item.locate(error)));
            }
        }
        Ok(Data { train, val, test })
    }
}

/// Lines for tests of lists of areas that are given for the training.
fn tests_of_areas(config: &Config, root: Option<&Path>) -> Result<Vec<ListItem>> {
    let mut items = Vec::new();
    for list in &config.data.train {
        items.extend(read_all(list, root)?);
    }
    items.retain(|item| item.usage == Some(Use::Split(Split::Test)));
    Ok(items)
}

fn dataset_options(config: &Config, model: &Model, classes: usize) -> Result<DatasetOptions> {
    let own = model.contract().normalisation();
    let pick = |asked: &Option<Vec<f64>>, own: &[f64]| asked.clone().unwrap_or_else(|| own.to_vec());
    let data = &config.data;
    let normalisation = Normalisation::new(
        pick(&data.scale, own.scale()),
        pick(&data.mean, own.mean()),
        pick(&data.std, own.std()),
    )
    .map_err(|error| in_part("data", error))?;
    let mut options = DatasetOptions::new(classes, normalisation);
    options.bands = match &data.bands {
        Some(numbers) if numbers.is_empty() => {
            return Err(Error::invalid("data.bands: expected at least one, got none"));
        }
        Some(numbers) => Some(
            numbers
                .iter()
                .map(|number| Band::new(*number))
                .collect::<Result<_>>()
                .map_err(|error| in_part("data.bands", error))?,
        ),
        None => model.contract().bands().map(<[Band]>::to_vec),
    };
    options.nodata_rule = data.nodata_rule;
    options.labels = config.labels.clone();
    options.open = config.open_options();
    options.threads = config.run.loader_threads.max(1);
    Ok(options)
}

/// Names of the classes: those that are set, else the model's, if there are as many.
fn class_names(config: &Config, own: Option<&[String]>, classes: usize) -> Result<Vec<String>> {
    let asked = &config.data.class_names;
    if !asked.is_empty() && asked.len() != classes {
        let message = format!(
            "data.class_names: expected {classes} names for the model's classes, got {}",
            asked.len()
        );
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    if !asked.is_empty() {
        return Ok(asked.clone());
    }
    Ok(own.filter(|own| own.len() == classes).map(<[String]>::to_vec).unwrap_or_default())
}

/// What the exported model says, so that scoring with it needs no options.
fn tags(config: &Config, data: &Dataset, names: &[String], size: [usize; 2]) -> Tags {
    let bands = data.band_numbers().to_vec();
    // Images whose bands are all used say nothing of which they are.
    let is_chosen =
        config.data.bands.is_some() || bands.iter().zip(1..).any(|(band, at)| band.number() != at);
    Tags {
        bands: is_chosen.then_some(bands),
        normalisation: Some(data.options().normalisation.clone()),
        class_names: (!names.is_empty()).then(|| names.to_vec()),
        tile: (size[0] == size[1]).then_some(size[0]),
    }
}

fn load(config: &Config, step: &mut TrainStep) -> Result<Option<(String, Report)>> {
    let Some(path) = &config.init.checkpoint else { return Ok(None) };
    let options = config.load_options()?;
    let checkpoint = Checkpoint::open_with(path, &options.open)?;
    let message = checkpoint.origin().message();
    let report = step.load_checkpoint(&checkpoint, &options.mapping)?;
    Ok(Some((message, report)))
}

/// Says which part of the data or which key an error is about.
fn in_part(part: &str, error: Error) -> Error {
    Error::new(error.kind(), part).caused_by(error.one_line())
}
