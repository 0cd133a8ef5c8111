//! Epochs of training.

use crate::data::Loader;
use crate::error::Result;
use crate::finetune::access::Shown;
use crate::finetune::checkpoint::Checkpoint;
use crate::finetune::evaluation::{Mean, begin};
use crate::finetune::fit_options::Tail;
use crate::finetune::trainer::{BEST_STATE, Trainer};
use crate::hooks::{Event, Phase};
use crate::random::SplitMix64;

impl Trainer {
    pub(super) fn fit_all(
        &mut self,
        train: &mut dyn Loader,
        mut validation: Option<&mut dyn Loader>,
    ) -> Result<()> {
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
}
