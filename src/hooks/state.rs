//! Where a run stands.

use serde::{Deserialize, Serialize};

use crate::data::Split;
use crate::random::SplitMix64;

/// What the trainer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// Training batches.
    Train,
    /// A validation within training.
    Validation,
    /// A validation by itself.
    Validate,
    /// A test.
    Test,
    /// A prediction.
    Predict,
}

/// Where a run stands; callbacks read it at every event.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrainerState {
    /// What is being done.
    pub phase: Phase,
    /// The epoch, from 1; 0 before the first.
    pub epoch: u64,
    /// How many epochs there will be.
    pub epochs: u64,
    /// The batch of the epoch or of the evaluation, from 1; 0 before the first.
    pub batch: u64,
    /// How many batches the epoch or the evaluation has; 0 before the first.
    pub batches: u64,
    /// Which part of the data predictions are made of, between `inference_start` and `inference_end`.
    pub split: Option<Split>,
    /// Updates of the weights since the beginning, over all epochs.
    pub global_step: u64,
    /// Learning rate of the epoch or step. What a callback sets lasts until the end of the epoch.
    pub learning_rate: f64,
    /// Whether training ends after this epoch.
    pub should_stop: bool,
    /// The message of the checkpoint that was loaded last; empty without any.
    pub checkpoint_message: String,
    /// Where the random numbers of the run stand.
    pub(crate) random: u64,
}

impl TrainerState {
    pub(crate) fn random_number(&mut self) -> u64 {
        let mut numbers = SplitMix64::new(self.random);
        let number = numbers.next();
        self.random = numbers.state();
        number
    }
}
