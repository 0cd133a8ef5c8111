//! What callbacks may ask of a step.

use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::finetune::step::TrainStep;
use crate::hooks::{Access, Truth};
use crate::weights::tensors::NamedTensor;

/// What there is at an event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    /// The batch, and how many of its images count.
    pub(super) batch: Option<(Batch<'a>, usize)>,
    pub(super) logits: Option<&'a [f32]>,
    pub(super) has_gradients: bool,
    /// Whether the labels of the batch have been taken over.
    pub(super) has_truth: bool,
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

    fn batch(&self) -> Result<Batch<'_>> {
        let missing = || Error::new(ErrorKind::InvalidState, "no batch at this event");
        self.shown.batch.map(|(batch, _)| batch).ok_or_else(missing)
    }

    fn truth(&self) -> Result<Truth<'_>> {
        let targets = &self.step.targets;
        if !self.shown.has_truth || targets.classes.len() != targets.mask.len() {
            return Err(Error::new(ErrorKind::InvalidState, "no classes are labelled at this event"));
        }
        Ok(Truth { classes: &targets.classes, mask: &targets.mask })
    }

    fn images(&self) -> usize {
        self.shown.batch.map_or(0, |(_, images)| images)
    }

    fn image_shape(&self) -> Vec<usize> {
        self.step.image_shape().to_vec()
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
