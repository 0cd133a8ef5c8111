//! What runs a step: where weights and state live, and how they change.

use std::collections::BTreeMap;
use std::fmt;

use crate::autodiff::Optimizer;
use crate::error::Result;
use crate::finetune::state::TrainState;
use crate::finetune::targets::Targets;
use crate::finetune::update::Outcome;
use crate::runtime::CancelToken;
use crate::weights::tensors::Tensors;

/// What a run of the graph reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data<'a> {
    /// The elements of every input of the model's part, in order.
    pub(super) inputs: &'a [&'a [f32]],
    pub(super) targets: &'a Targets,
    /// What the loss's gradient is multiplied with.
    pub(super) scale: f32,
    pub(super) wants_logits: bool,
}

/// What a run of the graph gives.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) loss: f32,
    pub(super) logits: Option<Vec<f32>>,
}

/// The numbers of one update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) lr: f32,
    /// Counted from 1.
    pub(super) step: u64,
    /// What the gradients are divided by, beside the number of batches.
    pub(super) scale: f32,
}

/// Whether `name` is asked for.
pub(super) fn is_wanted(name: &str, only: Option<&str>) -> bool {
    only.is_none_or(|only| only == name)
}

/// Weights and state on a device, with what changes them. A call that fails leaves them as they were.
pub(super) trait Engine: fmt::Debug + Send {
    /// Loss and gradients of a batch; the gradients are added to those that wait.
    fn accumulate(&mut self, data: &Data<'_>) -> Result<Forward>;

    /// Updates the weights with the mean of the waiting gradients, which wait no longer.
    fn apply(&mut self, optimizer: &Optimizer, rate: Rate) -> Result<Outcome>;

    /// Both, while nothing waits.
    fn step(&mut self, data: &Data<'_>, optimizer: &Optimizer, rate: Rate) -> Result<(Forward, Outcome)> {
        let forward = self.accumulate(data)?;
        let outcome = self.apply(optimizer, rate);
        if outcome.is_err() {
            self.discard();
        }
        Ok((forward, outcome?))
    }

    /// Forgets the waiting gradients.
    fn discard(&mut self);

    /// Number of batches whose gradients wait.
    fn waiting(&self) -> u32;

    /// The mean of the waiting gradients, divided by `scale`; of one trained tensor where `only` names it.
    fn gradients(&self, scale: f32, only: Option<&str>) -> Result<Tensors>;

    /// Trained tensors, or the one that is named.
    fn weights(&self, only: Option<&str>) -> Result<Tensors>;

    /// Running statistics that the step updates, or the one that is named.
    fn statistics(&self, only: Option<&str>) -> Result<Tensors>;

    /// The optimizer's tensors, by their kind and then by the trained tensor.
    fn optimizer_state(&self) -> Result<BTreeMap<String, Tensors>>;

    /// Moving averages of the trained tensors, or of the one that is named; empty without any.
    fn averages(&self, only: Option<&str>) -> Result<Tensors>;

    /// Takes over a state, which has been checked to have the engine's own names and shapes.
    fn restore(&mut self, state: &TrainState) -> Result<()>;

    /// Lets `token` stop runs.
    fn cancel_with(&mut self, token: &CancelToken) -> Result<()>;
}
