//! What callbacks may ask of a step.

use crate::error::{Error, ErrorKind, Result};
use crate::finetune::step::TrainStep;
use crate::hooks::Access;
use crate::weights::tensors::NamedTensor;

/// What there is at an event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    pub(super) logits: Option<&'a [f32]>,
    pub(super) has_gradients: bool,
}

/// A step, and what there is of it at an event.
pub(super) struct StepAccess<'a> {
    pub(super) step: &'a mut TrainStep,
    pub(super) shown: Shown<'a>,
}

impl Access for StepAccess<'_> {
    fn want_logits(&mut self, wanted: bool) {
        self.step.want_logits(wanted);
    }

    fn logits(&mut self) -> Result<&[f32]> {
        self.shown.logits.ok_or_else(|| {
            let message = "no logits at this event: training gives them where they were asked for before";
            Error::new(ErrorKind::InvalidState, message)
        })
    }

    fn logits_shape(&self) -> Vec<usize> {
        self.step.logits_shape().to_vec()
    }

    fn gradient(&mut self, name: &str) -> Result<NamedTensor> {
        if !self.shown.has_gradients {
            return Err(Error::new(ErrorKind::InvalidState, "no gradients wait at this event"));
        }
        self.step.gradient(name)
    }

    fn weight(&mut self, name: &str) -> Result<NamedTensor> {
        self.step.weight(name)
    }

    fn trained(&self) -> Vec<String> {
        self.step.trained_names().to_vec()
    }
}
