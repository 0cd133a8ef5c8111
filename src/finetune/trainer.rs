//! The trainer: epochs of steps, with everyone told who asked to be.

use crate::data::{Batch, Loader};
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::access::{Shown, StepAccess};
use crate::finetune::checkpoint::Checkpoint;
use crate::finetune::checkpoints::Best;
use crate::finetune::fit_options::{FitOptions, Tail};
use crate::finetune::step::TrainStep;
use crate::hooks::{Callbacks, Context, Event, Phase, Split, TrainerState};
use crate::random::SplitMix64;

/// Trains, validates, tests and predicts with a [`TrainStep`], and tells its callbacks of everything.
///
/// An error of a step, a loader or a callback ends the run: every callback hears of it
/// ([`Event::Exception`]), then it goes on to the caller. The weights stay as the last complete update left them.
#[derive(Debug)]
pub struct Trainer {
    pub(super) step: TrainStep,
    callbacks: Callbacks,
    options: FitOptions,
    pub(super) state: TrainerState,
    best: Best,
    /// What the next fit goes on from.
    pub(super) resumed: Option<Checkpoint>,
    /// Whether an epoch has begun and not all of its batches are done.
    is_within_epoch: bool,
}

/// Takes the number of a batch, how many of its images count, and its logits `[N, K, H, W]`.
pub type TakeLogits<'a> = dyn FnMut(usize, usize, &[f32]) -> Result<()> + 'a;

/// Under which name the best metric stands among the callbacks' states.
const BEST_STATE: &str = "checkpoints";

/// Mean of a number over images.
#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, value: f64, count: usize) {
        self.sum += value * count as f64;
        self.count += count as f64;
    }

    fn value(&self) -> f64 {
        self.sum / self.count
    }
}

/// Begins an epoch of a loader; the number of its batches.
fn begin(data: &mut dyn Loader, seed: u64) -> Result<usize> {
    data.begin(seed)?;
    match data.batches() {
        0 => Err(Error::invalid("the loader has no batches")),
        batches => Ok(batches),
    }
}

impl Trainer {
    /// A trainer of `step`.
    ///
    /// # Errors
    /// `InvalidArgument` for settings out of range; a callback's.
    pub fn new(step: TrainStep, options: FitOptions, callbacks: Callbacks) -> Result<Trainer> {
        options.check()?;
        if let Some(checkpoints) = &options.checkpoints {
            checkpoints.make_folder()?;
        }
        let state = TrainerState { epochs: options.epochs, ..TrainerState::default() };
        let best = Best::default();
        let mut trainer =
            Trainer { step, callbacks, options, state, best, resumed: None, is_within_epoch: false };
        trainer.watched(|own| own.tell(Event::TrainerInit))?;
        Ok(trainer)
    }

    /// Where it stands.
    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// The step, with the weights as they are.
    pub fn step(&self) -> &TrainStep {
        &self.step
    }

    /// The step, to be used by itself again.
    pub fn into_step(self) -> TrainStep {
        self.step
    }

    /// Lets the next [`fit`](Trainer::fit) go on from a checkpoint: with the same options, data and callbacks, as if it had
    /// never stopped.
    ///
    /// # Errors
    /// `Mismatch` for a checkpoint of another model, seed or set of trained tensors. Nothing has changed then.
    pub fn resume(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let model = self.step.model_fingerprint();
        if checkpoint.model != model {
            let message = format!(
                "the checkpoint is of another model: expected {}, got {}",
                &model[..16],
                checkpoint.model.get(..16).unwrap_or(&checkpoint.model)
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        if checkpoint.seed != self.options.effective_seed() {
            let (expected, got) = (self.options.effective_seed(), checkpoint.seed);
            let message =
                format!("the checkpoint is of a run with another seed: expected {expected}, got {got}");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        self.step.check_state(&checkpoint.train)?;
        self.resumed = Some(checkpoint);
        Ok(())
    }

    /// Lets the next [`fit`](Trainer::fit) go on from the newest checkpoint of the folder that can be read; whether there
    /// is one.
    ///
    /// # Errors
    /// `InvalidState` where the options have no checkpoints; as [`Trainer::resume`].
    pub fn resume_newest(&mut self) -> Result<bool> {
        let Some(checkpoints) = &self.options.checkpoints else {
            return Err(Error::new(ErrorKind::InvalidState, "the options say nothing of checkpoints"));
        };
        match checkpoints.newest() {
            None => Ok(false),
            Some((path, found)) => {
                self.resume(found).map_err(|error| error.at_path(&path))?;
                Ok(true)
            }
        }
    }

    /// Where it stands, at the end of an epoch.
    ///
    /// # Errors
    /// `InvalidState` within an epoch (as an error has left it) and while gradients wait; the runtime's.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        self.check_whole()?;
        let mut callbacks = self.callbacks.state_dict();
        callbacks.insert(BEST_STATE.to_owned(), self.best.value.into());
        Ok(Checkpoint {
            epoch: self.state.epoch,
            global_step: self.state.global_step,
            should_stop: self.state.should_stop,
            seed: self.options.effective_seed(),
            model: self.step.model_fingerprint(),
            train: self.step.state()?,
            callbacks,
        })
    }

    /// That there is no epoch of which some batches are missing.
    fn check_whole(&self) -> Result<()> {
        if !self.is_within_epoch {
            return Ok(());
        }
        let message = format!("epoch {} was interrupted: go on from a checkpoint", self.state.epoch);
        Err(Error::new(ErrorKind::InvalidState, message))
    }

    /// Trains for the epochs that are left, and validates in between where there are data for it. Ends at once where a
    /// callback wanted to stop before the checkpoint that it goes on from.
    ///
    /// # Errors
    /// `InvalidState` where the fit before was interrupted within an epoch and none is resumed; of a step, a loader or a
    /// callback.
    pub fn fit(&mut self, train: &mut dyn Loader, validation: Option<&mut dyn Loader>) -> Result<()> {
        self.watched(|own| own.fit_all(train, validation))
    }

    /// Validates; gives the metrics.
    ///
    /// # Errors
    /// Of an evaluation, a loader or a callback.
    pub fn validate(&mut self, data: &mut dyn Loader) -> Result<Vec<(String, f64)>> {
        self.watched(|own| own.evaluation(data, Phase::Validate, [Event::ValidateStart, Event::ValidateEnd]))
    }

    /// Tests; gives the metrics.
    ///
    /// # Errors
    /// Of an evaluation, a loader or a callback.
    pub fn test(&mut self, data: &mut dyn Loader) -> Result<Vec<(String, f64)>> {
        self.watched(|own| own.evaluation(data, Phase::Test, [Event::TestStart, Event::TestEnd]))
    }

    /// Predicts; `take` gets the logits of every batch.
    ///
    /// # Errors
    /// Of an evaluation, a loader, a callback or `take`.
    pub fn predict(&mut self, data: &mut dyn Loader, take: &mut TakeLogits<'_>) -> Result<()> {
        self.watched(|own| own.prediction(data, take))
    }

    /// Predicts over parts of the data, in the order given, between
    /// [`InferenceStart`](Event::InferenceStart) and [`InferenceEnd`](Event::InferenceEnd). InnerEye's order is test,
    /// validation, training.
    ///
    /// # Errors
    /// Of an evaluation, a loader or a callback.
    pub fn infer(&mut self, splits: &mut [(Split, &mut dyn Loader)]) -> Result<()> {
        self.watched(|own| {
            own.tell(Event::InferenceStart)?;
            for (split, data) in splits {
                tracing::info!("Starting inference on {} set", split.name());
                own.state.split = Some(*split);
                let done = own.prediction(&mut **data, &mut |_, _, _| Ok(()));
                own.state.split = None;
                done?;
            }
            own.tell(Event::InferenceEnd)
        })
    }

    /// Does something of which every callback hears if it fails.
    pub(super) fn watched<R>(&mut self, work: impl FnOnce(&mut Trainer) -> Result<R>) -> Result<R> {
        let done = work(self);
        if let Err(error) = &done {
            self.step.discard();
            self.callbacks.exception(error, &mut self.state);
            (self.state.phase, self.state.split) = (Phase::Idle, None);
        }
        done
    }

    pub(super) fn tell(&mut self, event: Event) -> Result<()> {
        self.show(event, None, &[], Shown::default()).map(|_| ())
    }

    /// Tells of an event; whether a callback vetoed what comes next.
    fn show(
        &mut self,
        event: Event,
        loss: Option<f64>,
        metrics: &[(String, f64)],
        shown: Shown<'_>,
    ) -> Result<bool> {
        if self.callbacks.is_empty() {
            return Ok(false);
        }
        let mut access = StepAccess { step: &mut self.step, shown };
        let mut context = Context::new(&mut self.state);
        (context.loss, context.metrics) = (loss, metrics);
        context.access = Some(&mut access);
        self.callbacks.call(event, &mut context)?;
        Ok(context.vetoed)
    }

    fn fit_all(&mut self, train: &mut dyn Loader, mut validation: Option<&mut dyn Loader>) -> Result<()> {
        self.state.phase = Phase::Train;
        match self.resumed.take() {
            Some(checkpoint) => {
                self.tell(Event::Resume)?;
                self.load(&checkpoint)?;
            }
            None => {
                self.check_whole()?;
                self.tell(Event::TrainStart)?;
            }
        }
        while self.state.epoch < self.options.epochs && !self.state.should_stop {
            self.is_within_epoch = true;
            self.state.epoch += 1;
            self.state.batch = 0;
            let k = self.state.epoch - 1;
            self.state.learning_rate = match &self.options.schedule {
                Some(schedule) => schedule.rate(self.options.learning_rate, k, self.options.epochs),
                None => self.options.learning_rate,
            };
            self.tell(Event::EpochStart)?;
            let mut metrics = self.train_epoch(train)?;
            self.is_within_epoch = false;
            if let Some(data) = &mut validation
                && self.state.epoch.is_multiple_of(self.options.validate_every)
            {
                let events = [Event::ValidationStart, Event::ValidationEnd];
                let found = self.evaluation(&mut **data, Phase::Validation, events)?;
                self.state.phase = Phase::Train;
                metrics.extend(found.into_iter().map(|(name, value)| (format!("val/{name}"), value)));
            }
            self.show(Event::EpochMetrics, None, &metrics, Shown::default())?;
            self.save(&metrics)?;
            self.show(Event::EpochEnd, None, &metrics, Shown::default())?;
        }
        self.tell(Event::TrainEnd)?;
        self.state.phase = Phase::Idle;
        Ok(())
    }

    /// Applies a checkpoint; its message comes first.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.state.checkpoint_message = checkpoint.message();
        tracing::info!("{}", self.state.checkpoint_message);
        self.tell(Event::CheckpointLoad)?;
        self.step.set_state(&checkpoint.train)?;
        self.callbacks.load_state_dict(&checkpoint.callbacks)?;
        self.best.value = checkpoint.callbacks.get(BEST_STATE).and_then(serde_json::Value::as_f64);
        (self.state.epoch, self.state.global_step) = (checkpoint.epoch, checkpoint.global_step);
        self.state.should_stop = checkpoint.should_stop;
        self.is_within_epoch = false;
        Ok(())
    }

    /// Writes the checkpoints that are due.
    fn save(&mut self, metrics: &[(String, f64)]) -> Result<()> {
        let Some(checkpoints) = self.options.checkpoints.clone() else { return Ok(()) };
        let is_last = self.state.epoch == self.options.epochs || self.state.should_stop;
        let files = checkpoints.due(self.state.epoch, is_last, metrics, &mut self.best)?;
        if files.is_empty() {
            return Ok(());
        }
        for _ in &files {
            self.show(Event::CheckpointSave, None, metrics, Shown::default())?;
        }
        let checkpoint = self.checkpoint()?;
        for path in &files {
            checkpoint.write(path)?;
        }
        checkpoints.rotate(self.state.epoch);
        Ok(())
    }

    /// A batch, and how many of its images count.
    fn given<'d>(&self, data: &'d mut dyn Loader, index: usize) -> Result<(Batch<'d>, usize)> {
        let all = self.step.image_shape()[0];
        let images = data.images(index).unwrap_or(all);
        if images == 0 || images > all {
            let message = format!("expected 1 to {all} images that count in a batch, got {images}");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        Ok((data.batch(index)?, images))
    }

    /// The batches of an epoch; the metrics of training, `train/` before their names.
    fn train_epoch(&mut self, train: &mut dyn Loader) -> Result<Vec<(String, f64)>> {
        // Another order in every epoch; seeds of neighbouring runs are far apart.
        let seed = SplitMix64::new(self.options.effective_seed()).next();
        let batches = begin(train, seed.wrapping_add(self.state.epoch))?;
        let mut losses = Mean::default();
        let mut rates = Mean::default();
        for index in 0..batches {
            self.state.batch = index as u64 + 1;
            let (batch, images) = self.given(train, index)?;
            let shown = Shown { batch: Some((batch, images)), ..Shown::default() };
            self.show(Event::BatchStart, None, &[], shown)?;
            self.show(Event::ForwardStart, None, &[], shown)?;
            let output = self.step.accumulate(&batch)?;
            let loss = f64::from(output.loss);
            losses.add(loss, images);
            rates.add(self.state.learning_rate, 1);
            let shown = Shown { logits: output.logits.as_deref(), has_gradients: true, ..shown };
            self.show(Event::BackwardStart, Some(loss), &[], shown)?;
            self.show(Event::BackwardEnd, Some(loss), &[], shown)?;
            let is_last = index + 1 == batches && self.options.tail == Tail::Update;
            if self.step.waiting() as usize >= self.options.accumulate || is_last {
                let vetoed = self.show(Event::OptimizerStepStart, Some(loss), &[], shown)?;
                if vetoed {
                    self.step.discard();
                } else {
                    self.step.apply(self.state.learning_rate as f32)?;
                    self.state.global_step += 1;
                    let shown = Shown { has_gradients: false, ..shown };
                    self.show(Event::OptimizerStepEnd, Some(loss), &[], shown)?;
                }
            }
            self.show(Event::BatchEnd, Some(loss), &[], Shown { has_gradients: false, ..shown })?;
        }
        let metrics =
            vec![("train/Loss".to_owned(), losses.value()), ("train/LearningRate".to_owned(), rates.value())];
        self.show(Event::BatchesEnd, None, &metrics, Shown::default())?;
        Ok(metrics)
    }

    /// Batches without training, between two events.
    fn evaluation(
        &mut self,
        data: &mut dyn Loader,
        phase: Phase,
        [start, end]: [Event; 2],
    ) -> Result<Vec<(String, f64)>> {
        let (before, trained) = (self.state.phase, self.state.batch);
        self.state.phase = phase;
        self.state.batch = 0;
        self.tell(start)?;
        let mut losses = Mean::default();
        for index in 0..begin(data, self.options.effective_seed())? {
            self.state.batch = index as u64 + 1;
            let (batch, images) = self.given(data, index)?;
            let shown = Shown { batch: Some((batch, images)), ..Shown::default() };
            self.show(Event::BatchStart, None, &[], shown)?;
            self.show(Event::EvaluationStart, None, &[], shown)?;
            let output = self.step.evaluate(&batch)?;
            let loss = f64::from(output.loss);
            losses.add(loss, images);
            let shown = Shown { logits: output.logits.as_deref(), ..shown };
            self.show(Event::MetricsStart, Some(loss), &[], shown)?;
            let metrics = [("Loss".to_owned(), loss)];
            self.show(Event::MetricsEnd, Some(loss), &metrics, shown)?;
            self.show(Event::BatchEnd, Some(loss), &metrics, shown)?;
        }
        let metrics = vec![("Loss".to_owned(), losses.value())];
        self.show(Event::EvaluationBatchesEnd, None, &metrics, Shown::default())?;
        self.show(end, None, &metrics, Shown::default())?;
        (self.state.phase, self.state.batch) = (before, trained);
        Ok(metrics)
    }

    fn prediction(&mut self, data: &mut dyn Loader, take: &mut TakeLogits<'_>) -> Result<()> {
        let before = self.state.phase;
        self.state.phase = Phase::Predict;
        self.tell(Event::PredictStart)?;
        for index in 0..begin(data, self.options.effective_seed())? {
            self.state.batch = index as u64 + 1;
            let (batch, images) = self.given(data, index)?;
            let shown = Shown { batch: Some((batch, images)), ..Shown::default() };
            self.show(Event::BatchStart, None, &[], shown)?;
            self.show(Event::PredictionStart, None, &[], shown)?;
            let output = self.step.evaluate(&batch)?;
            let shown = Shown { logits: output.logits.as_deref(), ..shown };
            self.show(Event::PredictionEnd, None, &[], shown)?;
            take(index, images, output.logits.as_deref().unwrap_or(&[]))?;
            self.show(Event::BatchEnd, None, &[], shown)?;
        }
        self.tell(Event::PredictEnd)?;
        self.state.phase = before;
        Ok(())
    }
}
