//! Epochs of training.

use std::path::PathBuf;

use crate::data::Loader;
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::access::Shown;
use crate::finetune::checkpoint::Checkpoint;
use crate::finetune::checkpoints::{BEST, Checkpoints};
use crate::finetune::evaluation::{Mean, begin};
use crate::finetune::fit_options::Tail;
use crate::finetune::trainer::Trainer;
use crate::hooks::{Event, Phase, TrainerState};
use crate::metrics::metric_type::{TRAIN_PREFIX, VALIDATION_PREFIX};
use crate::metrics::number_text::shortest;
use crate::random::SplitMix64;

impl Trainer {
    pub(super) fn fit_all(
        &mut self,
        train: &mut dyn Loader,
        mut validation: Option<&mut dyn Loader>,
    ) -> Result<()> {
        self.state.phase = Phase::Train;
        self.begin_fit(validation.is_some())?;
        while !self.is_done() && !self.state.should_stop {
            self.is_within_epoch = true;
            self.is_collecting = true;
            self.logged.take();
            self.state.epoch += 1;
            self.state.batch = 0;
            let k = self.state.epoch - 1;
            self.state.learning_rate = match &self.options.schedule {
                Some(schedule) => schedule.rate(self.options.learning_rate, k, self.options.epochs),
                None => self.options.learning_rate,
            };
            self.tell(Event::EpochStart)?;
            let mut metrics = self.train_epoch(train)?;
            self.is_collecting = false;
            if let Some(data) = &mut validation
                && self.state.epoch.is_multiple_of(self.options.validate_every)
            {
                let events = [Event::ValidationStart, Event::ValidationEnd];
                let found = self.evaluation(&mut **data, Phase::Validation, events)?;
                self.state.phase = Phase::Train;
                metrics.extend(
                    found.into_iter().map(|(name, value)| (format!("{VALIDATION_PREFIX}{name}"), value)),
                );
            }
            self.show(Event::EpochMetrics, None, &metrics, Shown::default())?;
            self.note_history(&metrics);
            if let Some(checkpoints) = &self.options.checkpoints {
                checkpoints.judge(&metrics, &mut self.best)?;
            }
            self.save(&metrics)?;
            self.is_within_epoch = false;
            let was_stopping = self.state.should_stop;
            self.show(Event::EpochEnd, None, &metrics, Shown::default())?;
            if self.state.should_stop && !was_stopping {
                // The wish came behind the checkpoints, which have to know of it.
                self.save(&metrics)?;
            }
        }
        if self.options.reload_best {
            self.reload_best()?;
        }
        self.tell(Event::TrainEnd)?;
        self.state.phase = Phase::Idle;
        Ok(())
    }

    /// Begins, or goes on from a checkpoint. After an error the next fit tries that again.
    fn begin_fit(&mut self, has_validation: bool) -> Result<()> {
        match self.resumed.take() {
            Some(checkpoint) => {
                // Until all of it is loaded there is nothing to go on from.
                self.is_within_epoch = true;
                let done = self.tell(Event::Resume).and_then(|()| self.load(&checkpoint));
                if done.is_err() {
                    self.resumed = Some(checkpoint);
                    return done;
                }
                self.is_within_epoch = false;
            }
            None => {
                self.check_whole()?;
                self.tell(Event::TrainStart)?;
            }
        }
        let TrainerState { epoch, should_stop, .. } = self.state;
        if self.is_done() || should_stop {
            let why = if should_stop { ", and a callback has wished to stop" } else { "" };
            tracing::info!(
                "Nothing is left to train: {epoch} of {} epochs are done{why}",
                self.options.epochs
            );
        } else if let (Some((name, _)), false) =
            (self.options.checkpoints.as_ref().and_then(|own| own.best.as_ref()), has_validation)
            && name.starts_with(VALIDATION_PREFIX)
        {
            let message = format!("the best checkpoint goes by {name:?}, but there are no validation data");
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    /// Whether all epochs or steps are done.
    fn is_done(&self) -> bool {
        let has_all_steps = self.options.max_steps.is_some_and(|most| self.state.global_step >= most);
        self.state.epoch >= self.options.epochs || has_all_steps
    }

    /// Adds an epoch to what tells runs apart.
    fn note_history(&mut self, metrics: &[(String, f64)]) {
        let seed = self.options.effective_seed();
        let before = self.history.last().copied().unwrap_or(seed);
        // By its name: some forms of scores put other numbers first.
        let loss = metrics.iter().find(|(name, _)| name == "train/Loss");
        let loss = loss.map_or(0, |(_, value)| value.to_bits());
        let facts = [loss, self.state.learning_rate.to_bits(), self.state.global_step];
        let mixed = facts.iter().fold(before, |mixed, fact| SplitMix64::new(mixed ^ fact).next());
        self.history.push(mixed);
    }

    /// Goes back to the best weights of this run, where there are any; the counters stay.
    pub(super) fn reload_best(&mut self) -> Result<()> {
        let (Some(checkpoints), Some(_)) = (&self.options.checkpoints, self.best.value) else {
            tracing::warn!("no checkpoint is the best one: the weights stay those of the last epoch");
            return Ok(());
        };
        let path = checkpoints.folder.join(BEST);
        let checkpoint = Checkpoint::read(&path)?;
        self.step.check_state(&checkpoint.train).map_err(|error| error.at_path(&path))?;
        self.announce(checkpoint.message())?;
        self.step.set_state(&checkpoint.train)
    }

    /// Tells everyone that a checkpoint has been read and is about to be applied.
    pub(super) fn announce(&mut self, message: String) -> Result<()> {
        if !message.is_empty() {
            tracing::info!("{message}");
        }
        self.state.checkpoint_message = message;
        self.tell(Event::CheckpointLoad)
    }

    /// Applies a checkpoint; its message comes first.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.announce(checkpoint.message())?;
        self.step.set_state(&checkpoint.train)?;
        self.callbacks.load_state_dict(&checkpoint.callbacks)?;
        self.best = checkpoint.best;
        self.history.clone_from(&checkpoint.history);
        (self.state.epoch, self.state.global_step) = (checkpoint.epoch, checkpoint.global_step);
        self.state.should_stop = checkpoint.should_stop;
        self.state.random = checkpoint.random;
        if let Some(checkpoints) = &self.options.checkpoints {
            checkpoints.complete(&self.due(checkpoints), checkpoint)?;
        }
        Ok(())
    }

    /// The checkpoints that are due after this epoch.
    fn due(&self, checkpoints: &Checkpoints) -> Vec<PathBuf> {
        let is_last = self.is_done() || self.state.should_stop;
        checkpoints.due(self.state.epoch, is_last, self.best.is_now)
    }

    /// Writes the checkpoints that are due.
    fn save(&mut self, metrics: &[(String, f64)]) -> Result<()> {
        let Some(checkpoints) = self.options.checkpoints.clone() else { return Ok(()) };
        let files = self.due(&checkpoints);
        if files.is_empty() {
            return Ok(());
        }
        for _ in &files {
            self.show(Event::CheckpointSave, None, metrics, Shown::default())?;
        }
        let checkpoint = self.snapshot()?;
        if !self.options.allow_non_finite
            && let Some(name) = checkpoint.train.first_not_finite()
        {
            let message = format!(
                "the weights are not finite after epoch {}: expected numbers in {name}; the checkpoints stay as they \
                 were",
                self.state.epoch
            );
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        for path in &files {
            checkpoint.write(path)?;
        }
        checkpoints.rotate(self.state.epoch);
        Ok(())
    }

    /// The batches of an epoch; the metrics of training, `train/` before their names.
    fn train_epoch(&mut self, train: &mut dyn Loader) -> Result<Vec<(String, f64)>> {
        // Another order in every epoch; seeds of neighbouring runs are far apart.
        let seed = SplitMix64::new(self.options.effective_seed()).next();
        let mut batches = begin(train, seed.wrapping_add(self.state.epoch))?;
        if let Some(limit) = self.options.limit_train_batches {
            batches = batches.min(limit);
        }
        if let Some(most) = self.options.max_steps {
            let left = most.saturating_sub(self.state.global_step);
            let left = usize::try_from(left).unwrap_or(usize::MAX).saturating_mul(self.options.accumulate);
            batches = batches.min(left.saturating_sub(self.step.waiting() as usize).max(1));
        }
        self.state.batches = batches as u64;
        let scores_it = self.options.scoring.as_ref().is_some_and(|own| own.on_training);
        if let (true, Some(scores)) = (scores_it, &mut self.scores) {
            scores.clear()?;
            self.step.want_logits(true);
        }
        let mut losses = Mean::default();
        let mut rates = Mean::default();
        for index in 0..batches {
            self.state.batch = index as u64 + 1;
            let (batch, images) = self.given(train, index)?;
            let shown = Shown { batch: Some((batch, images)), ..Shown::default() };
            self.show(Event::BatchStart, None, &[], shown)?;
            self.show(Event::ForwardStart, None, &[], shown)?;
            self.step.counting = Some(images);
            let output = self.step.accumulate(&batch).map_err(|error| self.at_batch(error))?;
            let loss = f64::from(output.loss);
            self.check_finite(loss)?;
            losses.add(loss, self.step.targets.counted());
            rates.add(self.state.learning_rate, 1);
            if let (true, Some(logits)) = (scores_it, &output.logits) {
                self.score(logits, images)?;
            }
            let logits = output.logits.as_deref();
            let shown = Shown { logits, has_gradients: true, has_truth: true, ..shown };
            self.show(Event::BackwardStart, Some(loss), &[], shown)?;
            self.show(Event::BackwardEnd, Some(loss), &[], shown)?;
            let is_last = index + 1 == batches && self.options.tail == Tail::Update;
            if self.step.waiting() as usize >= self.options.accumulate || is_last {
                self.update(loss, shown)?;
            }
            self.show(Event::BatchEnd, Some(loss), &[], Shown { has_gradients: false, ..shown })?;
        }
        let mut metrics =
            vec![("Loss".to_owned(), losses.value()), ("LearningRate".to_owned(), rates.value())];
        if let (true, Some(scores)) = (scores_it, &self.scores) {
            metrics = scores.metrics(metrics)?;
        }
        let prefixed = |(name, value)| (format!("{TRAIN_PREFIX}{name}"), value);
        let mut metrics: Vec<(String, f64)> = metrics.into_iter().map(prefixed).collect();
        self.show(Event::BatchesEnd, None, &metrics, Shown::default())?;
        self.merge_logged(&mut metrics, TRAIN_PREFIX)?;
        Ok(metrics)
    }

    /// Changes the weights, unless a callback objects.
    fn update(&mut self, loss: f64, shown: Shown<'_>) -> Result<()> {
        if self.show(Event::OptimizerStepStart, Some(loss), &[], shown)? {
            self.step.discard();
            return Ok(());
        }
        self.step.apply(self.state.learning_rate as f32)?;
        self.state.global_step += 1;
        self.show(Event::OptimizerStepEnd, Some(loss), &[], Shown { has_gradients: false, ..shown })?;
        Ok(())
    }

    /// That a loss does not spoil the weights.
    fn check_finite(&self, loss: f64) -> Result<()> {
        if loss.is_finite() || self.options.allow_non_finite {
            return Ok(());
        }
        let TrainerState { epoch, batch, learning_rate, .. } = &self.state;
        let rate = shortest(*learning_rate);
        let message = format!(
            "the loss is {loss} at epoch {epoch}, batch {batch}, with a learning rate of {rate}: expected a \
             number; the weights are those of before this batch"
        );
        Err(Error::new(ErrorKind::InvalidState, message))
    }
}
