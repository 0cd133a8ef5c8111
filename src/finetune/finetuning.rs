//! A finetuning from beginning to end: lists and a model in, a better model out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::data::{Dataset, Found, Loader, RasterLoader, Split};
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::config::Config;
use crate::finetune::config::data::{BatchSizes, Source};
use crate::finetune::metric_names::MetricNames;
use crate::finetune::preflight::{Preflight, preflight};
use crate::finetune::run_folder::RunFolder;
use crate::finetune::scoring::ScoreKeeper;
use crate::finetune::step::TrainStep;
use crate::finetune::trainer::Trainer;
use crate::geometry::Band;
use crate::hooks::Callbacks;
use crate::metrics::peak_rss_mib;
use crate::model::{Model, ModelOptions, Tags};
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
        let logits = preflight.outputs.ok_or_else(|| Error::internal("a step without logits"))?;
        let (batch, size) = (step_options.batch, step_options.size);
        let sizes = BatchSizes::of(&[batch, 0, size[0], size[1]], &logits)?;
        let names = class_names(&config, contract.class_names(), sizes.classes)?;
        let source = Source::new(&config, contract, sizes)?;
        let data = source.parts()?;
        source.check_bands(&data.train, data.train.bands())?;
        let train = source.loader(&data.train, Split::Train)?;
        let val = data.val.as_ref().map(|own| source.loader(own, Split::Val)).transpose()?;
        let test = data.test.as_ref().map(|own| source.loader(own, Split::Test)).transpose()?;
        let tags = tags(&data.train, &names, size);
        tags.check(contract)?;
        // What the run itself would refuse.
        let fit = config.fit_options(Path::new(""), val.is_some(), &names)?;
        config.callbacks(Path::new(""), &fit, 1, val.is_some())?;
        fit.check()?;
        let scoring = fit.scoring.unwrap_or_default();
        let metrics = ScoreKeeper::new(&scoring, logits[1])?.metrics(vec![("Loss".to_owned(), 0.0)])?;
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

    /// The training step, before its first update.
    pub fn step(&self) -> &TrainStep {
        &self.step
    }

    /// What is trained, at what cost.
    pub fn preflight(&self) -> &Preflight {
        &self.preflight
    }

    /// Bands and what their samples become, in words.
    pub fn input(&self) -> String {
        let Some(own) = &self.tags.normalisation else { return String::new() };
        let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        let bands = match &self.tags.bands {
            Some(bands) => bands.iter().map(Band::to_string).collect::<Vec<_>>().join(","),
            None => "all".to_owned(),
        };
        if own.is_identity() {
            return format!("bands {bands}, samples as they are (no scale, mean or std is set)");
        }
        let (scale, mean, std) = (list(own.scale()), list(own.mean()), list(own.std()));
        format!("bands {bands}, scale {scale}, mean {mean}, std {std}")
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
        if let Some(token) = &step.token {
            token.check()?;
        }
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
                let found = trainer.resume_newest()?;
                if !found {
                    tracing::warn!("{} has no checkpoint to go on from: the run begins anew", out.display());
                }
                if let Some(done) = trainer.resumed.as_ref().map(|own| own.epoch)
                    && done > epochs
                {
                    let message =
                        format!("the run has more epochs already: expected {done} at least, got {epochs}");
                    return Err(Error::new(ErrorKind::Mismatch, message).at_path(out));
                }
            }
            Ok(trainer)
        };
        let mut trainer = begin().inspect_err(|_| folder.abandon())?;
        folder.settle(&config)?;
        if config.outputs.image_metrics
            && let Some(test) = &test
        {
            folder.write_windows(test)?;
        }
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
        let (state, token) = (trainer.state().clone(), trainer.step().token.clone());
        // Its sessions and weights are not needed any more.
        drop(trainer);
        let maps = match config.outputs.maps {
            true => score(&runtime, &config, &model, &names, &scored, token.as_ref())?,
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
    token: Option<&CancelToken>,
) -> Result<Maps> {
    if val.is_none() && test.is_none() {
        return Ok(Maps::default());
    }
    let model = Model::open(runtime, model, &ModelOptions::default())?;
    let mut options = SegmentOptions::default();
    (options.provider, options.threads) = (config.run.device.clone(), config.run.threads);
    let mut segmenter = Segmenter::new(&model, options)?;
    if let Some(token) = token {
        segmenter = segmenter.cancel_with(token);
    }
    let names = (!names.is_empty()).then_some(names);
    let mut of = |data: &Option<Dataset>| -> Result<Option<Vec<(String, f64)>>> {
        let Some(data) = data else { return Ok(None) };
        let found = segmenter.evaluate(data, names)?;
        let record = found.scores.record(&found.class_names)?;
        Ok(Some(record.iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_f64()?))).collect()))
    };
    Ok(Maps { val: of(val)?, test: of(test)? })
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
fn tags(data: &Dataset, names: &[String], size: [usize; 2]) -> Tags {
    // Other images may have more bands than these.
    let bands = data.common_bands().map(<[_]>::to_vec);
    Tags {
        bands,
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
