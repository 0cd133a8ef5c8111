//! What a callback sees and may ask for.

use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::state::TrainerState;
use crate::weights::tensors::NamedTensor;

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
        Context { state, loss: None, metrics: &[], error: None, access: None, vetoed: false }
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

    /// The error that ends the run, at [`Exception`](crate::hooks::Event::Exception).
    pub fn error(&self) -> Option<&Error> {
        self.error
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
