//! What a callback sees and may ask for.

use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::logged::Logged;
use crate::hooks::state::TrainerState;
use crate::weights::tensors::NamedTensor;

/// What the pixels of a batch are, as the loss sees them.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'a> {
    /// Classes `[N, H, W]`, 0 where a pixel does not count.
    pub classes: &'a [i64],
    /// `[N, H, W]`: 1 where a pixel counts, 0 where it is ignored, nodata, or of an image that fills the batch up.
    pub mask: &'a [f32],
}

/// What a run can give on request. Nothing is computed or copied unless a callback asks.
pub trait Access {
    /// Whether training batches give their logits from the next on; they do not by default, which saves a copy.
    /// Evaluations and predictions always do.
    fn want_logits(&mut self, wanted: bool);

    /// The logits `[N, K, H, W]` of the batch, from its forward pass to its end.
    ///
    /// # Errors
    /// `InvalidState` where there are none.
    fn logits(&mut self) -> Result<&[f32]>;

    /// The batch as the loader gave it, from `batch_start` to `batch_end`.
    ///
    /// # Errors
    /// `InvalidState` where there is none.
    fn batch(&self) -> Result<Batch<'_>>;

    /// The labels of the batch, from the end of its forward pass to its end.
    ///
    /// # Errors
    /// `InvalidState` where there is none, and for a regression.
    fn truth(&self) -> Result<Truth<'_>>;

    /// How many images of the batch count, the first ones; the others fill it up. 0 where there is no batch.
    fn images(&self) -> usize;

    /// Shape `[N, C, H, W]` of the images.
    fn image_shape(&self) -> Vec<usize>;

    /// Shape `[N, K, H, W]` of the logits.
    fn logits_shape(&self) -> Vec<usize>;

    /// The mean of the waiting gradients of a trained tensor, from the end of the backward pass to the update.
    ///
    /// # Errors
    /// `InvalidState` where none wait, `InvalidArgument` for a name that is not trained.
    fn gradient(&mut self, name: &str) -> Result<NamedTensor>;

    /// A trained tensor as it is now.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is not trained.
    fn weight(&mut self, name: &str) -> Result<NamedTensor>;

    /// Names of the trained tensors.
    fn trained(&self) -> Vec<String>;
}

/// An event's surroundings.
pub struct Context<'a> {
    /// Where the run stands. A callback may set `should_stop` and `learning_rate`; the trainer owns the rest.
    pub state: &'a mut TrainerState,
    pub(crate) loss: Option<f64>,
    pub(crate) metrics: &'a [(String, f64)],
    pub(crate) error: Option<&'a Error>,
    pub(crate) access: Option<&'a mut dyn Access>,
    pub(crate) logged: Option<&'a mut Logged>,
    pub(crate) vetoed: bool,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("state", &self.state)
            .field("loss", &self.loss)
            .finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    /// The surroundings of an event that has nothing but the state.
    pub fn new(state: &'a mut TrainerState) -> Context<'a> {
        Context { state, loss: None, metrics: &[], error: None, access: None, logged: None, vetoed: false }
    }

    /// The loss of the batch, from [`BackwardStart`](crate::hooks::Event::BackwardStart) to its end.
    pub fn loss(&self) -> Option<f64> {
        self.loss
    }

    /// Metrics by name: of the batch at `metrics_end`, of the validation at `validation_end`, of the epoch at
    /// `epoch_metrics` and `epoch_end`, in their order.
    pub fn metrics(&self) -> &[(String, f64)] {
        self.metrics
    }

    /// A metric by name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }

    /// A metric that `who` cannot do without.
    ///
    /// # Errors
    /// `InvalidArgument` naming the metrics that there are.
    pub fn needed(&self, who: &str, name: &str) -> Result<f64> {
        self.metric(name).ok_or_else(|| {
            let names: Vec<&str> = self.metrics.iter().map(|(name, _)| name.as_str()).collect();
            Error::invalid(format!("{who}: no metric {name:?} in the validation: {}", names.join(", ")))
        })
    }

    /// The error that ends the run, at [`Exception`](crate::hooks::Event::Exception).
    pub fn error(&self) -> Option<&Error> {
        self.error
    }

    /// Adds a number of your own to the metrics of the epoch or evaluation that is going on, as Lightning's `self.log`:
    /// what is logged with batches is averaged over their images. Metrics of training get `train/` before their name,
    /// those of a validation `val/`. A suffix behind one slash tells variants of a metric apart: `Dice/water`.
    ///
    /// # Errors
    /// `InvalidArgument` for a name with two slashes; `InvalidState` at events that belong to no epoch, and behind
    /// `batches_end` and `evaluation_batches_end`.
    pub fn log(&mut self, name: &str, value: f64) -> Result<()> {
        let weight = self.access.as_ref().map_or(0, |access| access.images()).max(1) as f64;
        match &mut self.logged {
            Some(logged) => logged.add(name, value, weight),
            None => {
                let message =
                    format!("no metrics are collected at this event: {name} comes too late or too early");
                Err(Error::new(ErrorKind::InvalidState, message))
            }
        }
    }

    /// A random number that follows from the seed of the run. Validations begin with the run's seed each time and give
    /// the numbers back as they found them, so that training goes on as if there had been none; checkpoints keep them.
    pub fn random(&mut self) -> u64 {
        self.state.random_number()
    }

    /// At `optimizer_step_start`: the gradients are forgotten and the weights stay as they are.
    pub fn veto(&mut self) {
        self.vetoed = true;
    }

    /// Logits, gradients and weights.
    ///
    /// # Errors
    /// `InvalidState` at events that have none of them.
    pub fn access(&mut self) -> Result<&mut dyn Access> {
        match &mut self.access {
            Some(access) => Ok(&mut **access),
            None => {
                Err(Error::new(ErrorKind::InvalidState, "this event has no logits, gradients or weights"))
            }
        }
    }
}
