//! From a configuration to the options of each part.

use std::path::Path;

use crate::autodiff::{Optimizer, StepOptions};
use crate::data::{Division, LoaderOptions, Unit};
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::checkpoints::Checkpoints;
use crate::finetune::config::{Config, ScheduleKind, ValUnit};
use crate::finetune::fit_options::FitOptions;
use crate::finetune::initial::LoadOptions;
use crate::finetune::outputs::Outputs;
use crate::finetune::run_folder::CHECKPOINTS;
use crate::finetune::scoring::Scoring;
use crate::finetune::step::RunOptions;
use crate::hooks::{Callbacks, Decay, EarlyStopping, Mode, OneCycle, Plateau, Schedule};
use crate::model::Contract;
use crate::raster::OpenOptions;

/// Epochs where nothing says how many.
const EPOCHS: u64 = 10;

/// How long a training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::finetune) struct Length {
    pub(in crate::finetune) epochs: u64,
    /// Updates of an epoch, where a number of updates in all is asked for.
    pub(in crate::finetune) steps_per_epoch: Option<u64>,
}

impl Config {
    /// What can be checked without any file.
    ///
    /// # Errors
    /// `InvalidArgument` naming the key.
    pub(in crate::finetune) fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::invalid(message));
        if self.model.as_os_str().is_empty() {
            return wrong("model: expected an ONNX model, got none");
        }
        if self.data.train.is_empty() {
            return wrong("data.train: expected at least one list or IMAGE;LABELS, got none");
        }
        if self.training.batch == Some(0) || self.training.size.is_some_and(|size| size.contains(&0)) {
            return wrong("training.batch and training.size: expected 1 or more, got 0");
        }
        if !(0.0..=100.0).contains(&self.sampling.min_annotated) {
            let got = self.sampling.min_annotated;
            return wrong(&format!("sampling.min_annotated: expected 0 to 100 per cent, got {got}"));
        }
        if self.training.loss.is_regression() {
            let message = format!(
                "training.loss: labels of rasters are classes: expected a loss of classes, got {}",
                self.training.loss
            );
            return Err(Error::new(ErrorKind::NotSupported, message));
        }
        if self.training.averages && self.optimizer.ema_decay.is_none() {
            return wrong("training.averages: there are none without optimizer.ema_decay");
        }
        self.check_data()
    }

    /// As [`Config::check`], of what makes the batches.
    ///
    /// # Errors
    /// `InvalidArgument` naming the key.
    pub(in crate::finetune) fn check_data(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::invalid(message));
        if !self.data.val.is_empty() && self.data.val_fraction != 0.0 {
            return wrong("data.val and data.val_fraction: expected one of them, got both");
        }
        if self.training.epochs == Some(0) || self.training.steps == Some(0) {
            return wrong("training.epochs and training.steps: expected 1 or more, got 0");
        }
        if self.training.accumulate == 0 {
            return wrong("training.accumulate: expected 1 batch an update or more, got 0");
        }
        if self.run.threads > 1024 || self.run.loader_threads > 1024 {
            return wrong("run.threads and run.loader_threads: expected 0 to 1024");
        }
        if self.sampling.samples.is_some() && self.training.steps.is_some() {
            return wrong("sampling.samples and training.steps: expected one of them, got both");
        }
        self.check_hooks()
    }

    /// What the callbacks of schedules and early stopping would refuse when the folder is there.
    fn check_hooks(&self) -> Result<()> {
        let own = &self.schedule;
        let is_factor = |gamma: f64| gamma > 0.0 && gamma < 1.0;
        if own.kind == ScheduleKind::Plateau && own.gamma.is_some_and(|gamma| !is_factor(gamma)) {
            let got = own.gamma.unwrap_or_default();
            let message =
                format!("schedule.gamma: plateau: expected a factor above 0 and below 1, got {got}");
            return Err(Error::invalid(message));
        }
        if !(own.least.is_finite() && own.least >= 0.0) {
            let message = format!("schedule.least: expected a learning rate of 0 or more, got {}", own.least);
            return Err(Error::invalid(message));
        }
        let rate = self.training.learning_rate;
        if own.kind == ScheduleKind::OneCycle && !(rate.is_finite() && rate > 0.0) {
            let message = format!("training.learning_rate: one_cycle: expected a number above 0, got {rate}");
            return Err(Error::invalid(message));
        }
        if !(rate.is_finite() && rate >= 0.0) {
            let message =
                format!("training.learning_rate: expected a learning rate of 0 or more, got {rate}");
            return Err(Error::invalid(message));
        }
        let delta = self.early_stopping.min_delta;
        if !(delta.is_finite() && delta >= 0.0) {
            let message = format!("early_stopping.min_delta: expected 0 or more, got {delta}");
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    /// Epochs and steps.
    pub(in crate::finetune) fn length(&self) -> Length {
        match self.training.steps {
            None => Length { epochs: self.training.epochs.unwrap_or(EPOCHS), steps_per_epoch: None },
            Some(steps) => {
                let wanted = self.training.epochs.unwrap_or(EPOCHS).min(steps);
                let each = steps.div_ceil(wanted);
                Length { epochs: steps.div_ceil(each), steps_per_epoch: Some(each) }
            }
        }
    }

    /// The step; sizes that are left open are the model's own, else 4 images of 256 x 256.
    pub(in crate::finetune) fn step_options(&self, contract: &Contract) -> Result<StepOptions> {
        let own = contract.tile();
        let side = |fixed: Option<usize>| fixed.or(contract.suggested_tile()).unwrap_or(256);
        let training = &self.training;
        let misfit = |key: &str, fixed: usize, got: usize| {
            let message = format!("{key}: expected the model's own {fixed}, which is fixed, got {got}");
            Err(Error::new(ErrorKind::Mismatch, message).at_path(&self.model))
        };
        let size = training.size.unwrap_or_else(|| [side(own.0), side(own.1)]);
        for (fixed, got) in [(own.0, size[0]), (own.1, size[1])] {
            if let Some(fixed) = fixed.filter(|fixed| *fixed != got) {
                return misfit("training.size", fixed, got);
            }
        }
        let batch = training.batch.unwrap_or_else(|| contract.batch().unwrap_or(4));
        if let Some(fixed) = contract.batch().filter(|fixed| *fixed != batch) {
            return misfit("training.batch", fixed, batch);
        }
        let mut step = StepOptions::new(batch, size);
        step.params = training.params.clone();
        step.batch_norm = training.bn;
        step.loss = training.loss.clone();
        step.loss.class_weights = training.class_weights.clone();
        step.loss.label_smoothing = training.label_smoothing;
        step.loss.auxiliary_weight = training.aux_weight;
        step.output = training.output.clone();
        step.auxiliary = training.aux_output.clone();
        step.optimizer = self.optimizer()?;
        step.seed = training.seed;
        Ok(step)
    }

    fn optimizer(&self) -> Result<Optimizer> {
        let own = &self.optimizer;
        let mut optimizer = Optimizer::new(own.kind);
        optimizer.weight_decay = own.weight_decay.unwrap_or(optimizer.weight_decay);
        optimizer.momentum = own.momentum.unwrap_or(optimizer.momentum);
        optimizer.nesterov = own.nesterov;
        optimizer.betas = own.betas.unwrap_or(optimizer.betas);
        optimizer.alpha = own.alpha.unwrap_or(optimizer.alpha);
        optimizer.epsilon = own.epsilon.unwrap_or(optimizer.epsilon);
        optimizer.decay_norm_and_bias = own.decay_norm_and_bias;
        optimizer.clip_norm = own.clip_norm;
        optimizer.clip_value = own.clip_value;
        optimizer.ema_decay = own.ema_decay;
        for group in &own.groups {
            let parsed = group.parse().map_err(|error: Error| keyed("optimizer.groups", &error))?;
            optimizer.groups.push(parsed);
        }
        Ok(optimizer)
    }

    /// How the step is run.
    pub(in crate::finetune) fn run_options(&self) -> RunOptions {
        let mut run = RunOptions::default();
        run.session.provider = self.run.device.clone();
        run.session.threads = self.run.threads;
        run.session.deterministic = self.run.deterministic;
        run.portable = self.run.portable;
        run
    }

    /// What may be opened as an image.
    pub(in crate::finetune) fn open_options(&self) -> OpenOptions {
        self.data.drivers.iter().fold(OpenOptions::default(), |open, name| open.with_driver(name))
    }

    /// How training data become validation data, where that is asked for.
    pub(in crate::finetune) fn division(&self, size: [usize; 2]) -> Option<Division> {
        if self.data.val_fraction == 0.0 {
            return None;
        }
        let block = self.data.val_block.unwrap_or(size[0].max(size[1]));
        let unit = match self.data.val_unit {
            ValUnit::Block => Unit::Block(block),
            ValUnit::Image => Unit::Image,
        };
        Some(Division::new(self.data.val_fraction, self.training.seed, unit))
    }

    /// How training data become batches.
    pub(in crate::finetune) fn training_loader(&self, batch: usize, size: [usize; 2]) -> LoaderOptions {
        let own = &self.sampling;
        let mut loader = LoaderOptions::training(batch, size);
        loader.sampling = own.kind;
        loader.stride = own.stride.map(|stride| [stride, stride]);
        loader.class_shares = own.class_shares.clone();
        loader.min_annotated = own.min_annotated;
        loader.shuffle = own.shuffle;
        loader.samples = own.samples.or_else(|| {
            let steps = self.length().steps_per_epoch?;
            // Where that is too much the loader says so.
            let steps = usize::try_from(steps).unwrap_or(usize::MAX);
            Some(steps.saturating_mul(self.training.accumulate).saturating_mul(batch))
        });
        loader.augmentation = self.augmentation.0.clone();
        (loader.threads, loader.ahead) = (self.run.loader_threads, self.run.ahead);
        loader
    }

    /// How data for evaluations become batches; every window of test data is kept.
    pub(in crate::finetune) fn evaluation_loader(
        &self,
        batch: usize,
        size: [usize; 2],
        is_test: bool,
    ) -> LoaderOptions {
        let mut loader = LoaderOptions::evaluation(batch, size);
        if !is_test {
            loader.min_annotated = self.sampling.min_annotated;
        }
        (loader.threads, loader.ahead) = (self.run.loader_threads.min(1), self.run.ahead);
        loader
    }

    /// How the training goes. `names` are those of the classes.
    pub(in crate::finetune) fn fit_options(
        &self,
        out: &Path,
        has_validation: bool,
        names: &[String],
    ) -> Result<FitOptions> {
        let training = &self.training;
        let mut fit = FitOptions::new(self.length().epochs, training.learning_rate);
        fit.max_steps = training.steps;
        fit.accumulate = training.accumulate;
        fit.validate_every = training.validate_every;
        fit.seed = training.seed;
        fit.evaluate_averages = training.averages;
        fit.schedule = self.schedule()?;
        let mut scoring = Scoring::default();
        (scoring.class_names, scoring.form) = (names.to_vec(), training.scores);
        fit.scoring = Some(scoring);
        let mut checkpoints = Checkpoints::new(out.join(CHECKPOINTS));
        checkpoints.keep = self.outputs.keep_checkpoints;
        let best = training.best.clone().or_else(|| has_validation.then(|| "val/Loss".to_owned()));
        if let Some(metric) = best.filter(|metric| metric != "last") {
            if metric.starts_with("val/") && !has_validation {
                let message = format!("training.best: there are no validation data for {metric:?}");
                return Err(Error::invalid(message));
            }
            let mode = mode_of(&metric);
            checkpoints.best = Some((metric, mode));
            fit.reload_best = true;
        }
        fit.checkpoints = Some(checkpoints);
        Ok(fit)
    }

    fn schedule(&self) -> Result<Option<Schedule>> {
        let own = &self.schedule;
        let gamma = |default: f64| own.gamma.unwrap_or(default);
        let decay = match own.kind {
            ScheduleKind::Constant => Decay::Constant,
            ScheduleKind::Polynomial => Decay::Polynomial { gamma: gamma(0.9) },
            ScheduleKind::Cosine => Decay::Cosine,
            ScheduleKind::Exponential => Decay::Exponential { gamma: gamma(0.9) },
            ScheduleKind::Step => {
                let message = "schedule.size: expected the epochs of a step, got none";
                let size = own.size.ok_or_else(|| Error::invalid(message))?;
                Decay::Step { gamma: gamma(0.1), size }
            }
            ScheduleKind::MultiStep => {
                Decay::MultiStep { gamma: gamma(0.1), milestones: own.milestones.clone() }
            }
            ScheduleKind::OneCycle | ScheduleKind::Plateau => {
                if own.warm_up > 0 {
                    return Err(Error::invalid("schedule.warm_up: not for one_cycle and plateau"));
                }
                return Ok(None);
            }
        };
        let mut schedule = Schedule::new(decay);
        (schedule.warm_up, schedule.least) = (own.warm_up, own.least);
        Ok((schedule != Schedule::new(Decay::Constant)).then_some(schedule))
    }

    /// The callbacks that schedules and early stopping are, and those that write the files. `steps` are the updates in all.
    pub(in crate::finetune) fn callbacks(
        &self,
        out: &Path,
        fit: &FitOptions,
        steps: u64,
        has_validation: bool,
    ) -> Result<Callbacks> {
        let mut all = Callbacks::new();
        match self.schedule.kind {
            ScheduleKind::OneCycle => {
                all.add(OneCycle::new(self.training.learning_rate, steps));
            }
            ScheduleKind::Plateau => {
                if !has_validation {
                    return Err(Error::invalid("schedule.kind: plateau needs validation data"));
                }
                let mut plateau = Plateau::new("val/Loss", Mode::Lowest);
                plateau = plateau.factor(self.schedule.gamma.unwrap_or(0.1)).least(self.schedule.least);
                all.add(plateau.patience(self.schedule.patience.unwrap_or(10)));
            }
            _ => {}
        }
        let stop = &self.early_stopping;
        if let Some(patience) = stop.patience {
            if !has_validation {
                return Err(Error::invalid("early_stopping.patience: needs validation data"));
            }
            let own = EarlyStopping::new(&stop.metric, mode_of(&stop.metric));
            all.add(own.patience(patience).min_delta(stop.min_delta));
        }
        all.append(self.outputs(out).callbacks(fit)?);
        Ok(all)
    }

    fn outputs(&self, out: &Path) -> Outputs {
        let own = &self.outputs;
        let mut outputs = Outputs::new(out);
        outputs.epoch_csv = own.epoch_csv;
        outputs.batch_losses = own.batch_losses;
        outputs.clinicadl = own.clinicadl;
        outputs.progress_log = own.progress_log;
        outputs.image_metrics = own.image_metrics;
        outputs.pictures = own.pictures;
        outputs.curves = own.curves;
        outputs.record = own.record;
        outputs.times = true;
        outputs
    }

    /// How the checkpoint to start from is read and matched.
    pub(in crate::finetune) fn load_options(&self) -> Result<LoadOptions> {
        let own = &self.init;
        let mut load = LoadOptions::default();
        load.open.key.clone_from(&own.key);
        load.mapping.partial = own.partial;
        load.mapping.prefix.clone_from(&own.prefix);
        if let Some(filter) = &own.filter {
            load.mapping.filter = filter.parse().map_err(|error: Error| keyed("init.filter", &error))?;
        }
        load.mapping.norm_epsilon = own.norm_epsilon.unwrap_or(load.mapping.norm_epsilon);
        Ok(load)
    }
}

/// Losses shall be low and everything else high.
fn mode_of(metric: &str) -> Mode {
    match metric.rsplit('/').next() {
        Some(name) if name.eq_ignore_ascii_case("loss") => Mode::Lowest,
        _ => Mode::Highest,
    }
}

fn keyed(key: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{key}: {}", error.one_line()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(steps: u64, epochs: Option<u64>) -> (u64, u64) {
        let mut config = Config::default();
        (config.training.steps, config.training.epochs) = (Some(steps), epochs);
        let found = config.length();
        (found.epochs, found.steps_per_epoch.unwrap())
    }

    #[test]
    fn steps_are_divided_among_epochs() {
        assert_eq!(length(200, None), (10, 20));
        assert_eq!(length(7, None), (7, 1));
        assert_eq!(length(25, None), (9, 3));
        assert_eq!(length(25, Some(2)), (2, 13));
        assert_eq!(Config::default().length(), Length { epochs: 10, steps_per_epoch: None });
        let mut config = Config::default();
        (config.training.steps, config.training.accumulate) = (Some(25), 2);
        assert_eq!(config.training_loader(4, [8, 8]).samples, Some(24));
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let cases: [(&[&str], &str); 16] = [
            (&["model="], "model: expected"),
            (&["data.train=[]"], "data.train: expected"),
            (&["data.val=v.csv", "data.val_fraction=0.3"], "expected one of them, got both"),
            (&["training.steps=0"], "expected 1 or more, got 0"),
            (&["training.batch=0"], "training.batch"),
            (&["training.accumulate=0"], "training.accumulate"),
            (&["training.loss=mse"], "labels of rasters are classes"),
            (&["training.averages=true"], "optimizer.ema_decay"),
            (&["sampling.samples=4", "training.steps=3"], "expected one of them"),
            (&["sampling.min_annotated=101"], "sampling.min_annotated: expected 0 to 100 per cent, got 101"),
            (&["schedule.kind=plateau", "schedule.gamma=1"], "schedule.gamma: plateau"),
            (&["schedule.least=-1"], "schedule.least: expected a learning rate of 0 or more, got -1"),
            (&["schedule.kind=one_cycle", "training.learning_rate=0"], "training.learning_rate: one_cycle"),
            (
                &["training.learning_rate=nan"],
                "training.learning_rate: expected a learning rate of 0 or more",
            ),
            (&["training.learning_rate=-1"], "training.learning_rate: expected a learning rate of 0 or more"),
            (&["early_stopping.min_delta=nan"], "early_stopping.min_delta: expected 0 or more, got NaN"),
        ];
        for (settings, said) in cases {
            let mut all = vec!["model=m.onnx", "data.train=t.csv"];
            Config::parse("", &all).unwrap().check().unwrap();
            all.extend(settings);
            let error = Config::parse("", &all).unwrap().check().unwrap_err();
            assert!(error.one_line().contains(said), "{settings:?}: {error}");
        }
        let of = |settings: &[&str]| Config::parse("", settings).unwrap();
        let out = Path::new("out");
        assert!(of(&["schedule.kind=step"]).fit_options(out, true, &[]).is_err());
        assert!(of(&["training.best=val/MeanIoU"]).fit_options(out, false, &[]).is_err());
        let fit = of(&["training.best=val/MeanIoU"]).fit_options(out, true, &[]).unwrap();
        assert_eq!(fit.checkpoints.unwrap().best, Some(("val/MeanIoU".to_owned(), Mode::Highest)));
        for settings in [&["schedule.kind=plateau"][..], &["early_stopping.patience=2"]] {
            let config = of(settings);
            let fit = config.fit_options(out, false, &[]).unwrap();
            assert!(config.callbacks(out, &fit, 10, false).is_err(), "{settings:?}");
            assert!(config.callbacks(out, &fit, 10, true).is_ok(), "{settings:?}");
        }
    }
}
