//! How a training goes.

use crate::error::{Error, ErrorKind, Result};
use crate::finetune::checkpoints::Checkpoints;
use crate::hooks::Schedule;

/// What becomes of batches at the end of an epoch that are too few for an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Tail {
    /// They make an update of their own, as in Lightning.
    #[default]
    Update,
    /// Their gradients wait for the next epoch, as in ClinicaDL.
    Carry,
}

/// How a training goes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FitOptions {
    /// How many epochs there will be in all.
    pub epochs: u64,
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
}

impl FitOptions {
    /// Defaults: a constant learning rate, an update a batch, a validation an epoch, seed 42.
    pub fn new(epochs: u64, learning_rate: f64) -> FitOptions {
        FitOptions {
            epochs,
            learning_rate,
            schedule: None,
            accumulate: 1,
            tail: Tail::default(),
            validate_every: 1,
            seed: 42,
            split_index: -1,
            splits: 0,
            checkpoints: None,
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
        if self.accumulate == 0 || self.validate_every == 0 {
            return Err(Error::invalid(
                "expected 1 batch an update and 1 epoch a validation, or more; got 0",
            ));
        }
        if let Some(schedule) = &self.schedule {
            schedule.check(self.learning_rate, self.epochs)?;
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
