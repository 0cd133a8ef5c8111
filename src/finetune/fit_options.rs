//! How a training goes.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::finetune::checkpoints::Checkpoints;
use crate::finetune::scoring::Scoring;
use crate::hooks::Schedule;

/// What becomes of batches at the end of an epoch that are too few for an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// They make an update of their own, by the mean of their gradients. (Lightning divides by the number of batches of a
    /// whole update.)
    #[default]
    Update,
    /// Their gradients wait for the next epoch, as in ClinicaDL.
    Carry,
}

/// How a training goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FitOptions {
    /// How many epochs there will be in all.
    pub epochs: u64,
    /// Ends the training after so many updates in all, within an epoch where they come to that: its validation and
    /// checkpoints follow as after a whole one.
    pub max_steps: Option<u64>,
    /// The learning rate, 0 or more: the largest of the schedule.
    pub learning_rate: f64,
    /// How it changes from epoch to epoch.
    pub schedule: Option<Schedule>,
    /// Batches of an update, 1 or more.
    pub accumulate: usize,
    /// What becomes of too few batches at the end of an epoch.
    pub tail: Tail,
    /// Validates after every so many epochs, 1 or more.
    pub validate_every: u64,
    /// Decides the order of the data.
    pub seed: u64,
    /// Which of several divisions of the data this is, added to the seed where there are more than one.
    pub split_index: i64,
    /// How many divisions there are; 0 or 1: no cross-validation.
    pub splits: u64,
    /// What is kept at the end of epochs.
    pub checkpoints: Option<Checkpoints>,
    /// Goes back to the weights of `best.safetensors` when training has ended, as delira and geo-deep-learning do; counters
    /// stay those of the end. Needs [`Checkpoints::best`].
    pub reload_best: bool,
    /// What is measured of predictions; `None`, and always for regressions: the loss only.
    pub scoring: Option<Scoring>,
    /// Evaluates with the moving averages of the weights. Needs
    /// [`Optimizer::ema_decay`](crate::autodiff::Optimizer).
    pub evaluate_averages: bool,
    /// Goes on with a loss that is not finite. By default it ends the run before it spoils the weights.
    pub allow_non_finite: bool,
    /// Ends every epoch after so many training batches, for trials.
    pub limit_train_batches: Option<usize>,
}

impl FitOptions {
    /// Defaults: a constant learning rate, an update a batch, a validation an epoch, seed 42.
    pub fn new(epochs: u64, learning_rate: f64) -> FitOptions {
        FitOptions {
            epochs,
            max_steps: None,
            learning_rate,
            schedule: None,
            accumulate: 1,
            tail: Tail::default(),
            validate_every: 1,
            seed: 42,
            split_index: -1,
            splits: 0,
            checkpoints: None,
            reload_best: false,
            scoring: Some(Scoring::default()),
            evaluate_averages: false,
            allow_non_finite: false,
            limit_train_batches: None,
        }
    }

    /// The seed, and the index of the division added to it where there are several (InnerEye's rule).
    pub fn effective_seed(&self) -> u64 {
        if self.splits > 1 { self.seed.wrapping_add_signed(self.split_index) } else { self.seed }
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(self.learning_rate.is_finite() && self.learning_rate >= 0.0) {
            let message = format!("expected a learning rate of 0 or more, got {}", self.learning_rate);
            return Err(Error::invalid(message));
        }
        if self.splits > 1 && !(0..i64::try_from(self.splits).unwrap_or(i64::MAX)).contains(&self.split_index)
        {
            let message = format!("expected a split from 0 to {}, got {}", self.splits - 1, self.split_index);
            return Err(Error::invalid(message));
        }
        if self.accumulate == 0 || self.validate_every == 0 {
            return Err(Error::invalid(
                "expected 1 batch an update and 1 epoch a validation, or more; got 0",
            ));
        }
        if let Some(schedule) = &self.schedule {
            schedule.check(self.learning_rate, self.epochs)?;
        }
        if self.max_steps == Some(0) {
            return Err(Error::invalid("expected 1 training step or more, got 0"));
        }
        if self.limit_train_batches == Some(0) {
            return Err(Error::invalid("expected a limit of 1 training batch or more, got 0"));
        }
        if self.reload_best && self.checkpoints.as_ref().is_none_or(|own| own.best.is_none()) {
            let message = "the best weights are asked for, but no metric says which those are: set the checkpoints' best";
            return Err(Error::invalid(message));
        }
        if let Some(checkpoints) = &self.checkpoints {
            if self.tail == Tail::Carry && self.accumulate > 1 {
                let message =
                    "checkpoints hold no gradients that wait: let the tail of an epoch be an update";
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
            checkpoints.check()?;
        }
        Ok(())
    }
}
