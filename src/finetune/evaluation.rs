//! Batches without training.

use crate::data::{Batch, Loader};
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::access::Shown;
use crate::finetune::scoring::Scored;
use crate::finetune::targets::Targets;
use crate::finetune::trainer::Trainer;
use crate::hooks::{Event, Phase, TrainerState};

/// Takes the labels of a batch, its number, how many of its images count, and its logits `[N, K, H, W]`.
pub(super) type TakeAll<'a> = dyn FnMut(&Targets, usize, usize, &[f32]) -> Result<()> + 'a;

/// Mean of a number by weights.
#[derive(Debug, Default)]
pub(super) struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64, count: usize) {
        self.sum += value * count as f64;
        self.count += count as f64;
    }

    pub(super) fn value(&self) -> f64 {
        self.sum / self.count
    }
}

/// Begins an epoch of a loader; the number of its batches.
pub(super) fn begin(data: &mut dyn Loader, seed: u64) -> Result<usize> {
    data.begin(seed)?;
    match data.batches() {
        0 => Err(Error::invalid("the loader has no batches")),
        batches => Ok(batches),
    }
}

impl Trainer {
    /// A batch, and how many of its images count.
    pub(super) fn given<'d>(&self, data: &'d mut dyn Loader, index: usize) -> Result<(Batch<'d>, usize)> {
        let all = self.step.image_shape()[0];
        let images = data.images(index).unwrap_or(all);
        if images == 0 || images > all {
            let message = format!("expected 1 to {all} images that count in a batch, got {images}");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        Ok((data.batch(index)?, images))
    }

    /// Batches without training, between two events. Random numbers go on as if it had not been, also after an error.
    pub(super) fn evaluation(
        &mut self,
        data: &mut dyn Loader,
        phase: Phase,
        events: [Event; 2],
    ) -> Result<Vec<(String, f64)>> {
        let random = self.state.random;
        let found = self.evaluate_batches(data, phase, events, random);
        if found.is_err() {
            self.state.random = random;
        }
        found
    }

    fn evaluate_batches(
        &mut self,
        data: &mut dyn Loader,
        phase: Phase,
        [start, end]: [Event; 2],
        random: u64,
    ) -> Result<Vec<(String, f64)>> {
        let before = (self.state.phase, self.state.batch, self.state.batches);
        let seed = self.options.effective_seed();
        (self.state.phase, self.state.batch, self.state.random) = (phase, 0, seed);
        tracing::debug!("Validation: Random seed set to: {seed}");
        self.is_collecting = true;
        self.logged.take();
        self.tell(start)?;
        if let Some(scores) = &mut self.scores {
            scores.clear()?;
        }
        let mut losses = Mean::default();
        let batches = begin(data, seed)?;
        self.state.batches = batches as u64;
        for index in 0..batches {
            self.state.batch = index as u64 + 1;
            let (batch, images) = self.given(data, index)?;
            let shown = Shown { batch: Some((batch, images)), ..Shown::default() };
            self.show(Event::BatchStart, None, &[], shown)?;
            self.show(Event::EvaluationStart, None, &[], shown)?;
            self.step.counting = Some(images);
            let output = self.step.evaluate(&batch).map_err(|error| self.at_batch(error))?;
            let loss = f64::from(output.loss);
            losses.add(loss, self.step.targets.counted());
            let shown = Shown { logits: output.logits.as_deref(), has_truth: true, ..shown };
            self.show(Event::MetricsStart, Some(loss), &[], shown)?;
            if let Some(logits) = &output.logits {
                self.score(logits, images)?;
            }
            let metrics = [("Loss".to_owned(), loss)];
            self.show(Event::MetricsEnd, Some(loss), &metrics, shown)?;
            self.show(Event::BatchEnd, Some(loss), &metrics, shown)?;
        }
        let mut metrics = vec![("Loss".to_owned(), losses.value())];
        if let Some(scores) = &self.scores {
            metrics = scores.metrics(metrics)?;
        }
        self.state.random = random;
        self.show(Event::EvaluationBatchesEnd, None, &metrics, Shown::default())?;
        self.merge_logged(&mut metrics, "")?;
        self.is_collecting = false;
        self.show(end, None, &metrics, Shown::default())?;
        (self.state.phase, self.state.batch, self.state.batches) = before;
        Ok(metrics)
    }

    /// Says which batch an error is about.
    pub(super) fn at_batch(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::InvalidArgument | ErrorKind::Mismatch => {
                let TrainerState { epoch, batch, .. } = &self.state;
                Error::new(error.kind(), format!("batch {batch} of epoch {epoch}")).caused_by(error)
            }
            _ => error,
        }
    }

    /// Adds what callbacks have logged, `prefix` before the names.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that there is already: which of the two counts could not be told.
    pub(super) fn merge_logged(&mut self, metrics: &mut Vec<(String, f64)>, prefix: &str) -> Result<()> {
        for (name, value) in self.logged.take() {
            let name = format!("{prefix}{name}");
            if metrics.iter().any(|(own, _)| *own == name) {
                return Err(Error::invalid(format!(
                    "a callback logs {name:?}, which the trainer measures itself"
                )));
            }
            metrics.push((name, value));
        }
        Ok(())
    }

    /// Counts the predictions of the batch that the step has seen last.
    pub(super) fn score(&mut self, logits: &[f32], images: usize) -> Result<()> {
        let Some(scores) = &mut self.scores else { return Ok(()) };
        scores.add(&Scored {
            truth: &self.step.targets.classes,
            mask: &self.step.targets.mask,
            logits,
            shape: &self.step.logits_shape,
            images,
        })
    }

    /// Predicts; `take` gets the labels too.
    pub(super) fn prediction(&mut self, data: &mut dyn Loader, take: &mut TakeAll<'_>) -> Result<()> {
        let before = self.state.phase;
        self.state.phase = Phase::Predict;
        self.tell(Event::PredictStart)?;
        let batches = begin(data, self.options.effective_seed())?;
        self.state.batches = batches as u64;
        for index in 0..batches {
            self.state.batch = index as u64 + 1;
            let (batch, images) = self.given(data, index)?;
            let shown = Shown { batch: Some((batch, images)), ..Shown::default() };
            self.show(Event::BatchStart, None, &[], shown)?;
            self.show(Event::PredictionStart, None, &[], shown)?;
            self.step.counting = Some(images);
            let output = self.step.evaluate(&batch).map_err(|error| self.at_batch(error))?;
            let shown = Shown { logits: output.logits.as_deref(), has_truth: true, ..shown };
            self.show(Event::PredictionEnd, None, &[], shown)?;
            take(&self.step.targets, index, images, output.logits.as_deref().unwrap_or(&[]))?;
            self.show(Event::BatchEnd, None, &[], shown)?;
        }
        self.tell(Event::PredictEnd)?;
        self.state.phase = before;
        Ok(())
    }
}
