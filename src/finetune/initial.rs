//! The weights that training starts from, taken from a checkpoint of another program or run.

use crate::error::{Error, ErrorKind, Result};
use crate::finetune::export::with_elements;
use crate::finetune::layout::{Layout, check_range, no_limits};
use crate::finetune::step::TrainStep;
use crate::onnx::Document;
use crate::weights::checkpoint::{Checkpoint, OpenOptions};
use crate::weights::mapping::{Mapping, MappingOptions};
use crate::weights::report::Report;

/// How a checkpoint is read and matched with the model.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// How the file is opened.
    pub open: OpenOptions,
    /// Which of its tensors go where.
    pub mapping: MappingOptions,
}

impl TrainStep {
    /// Takes over the weights of a checkpoint, trained and frozen ones, as if the model file had held them: the optimizer
    /// begins anew, [`TrainStep::updates`] counts from 0, moving averages and adapters start from what is loaded. What the
    /// feature cache kept is forgotten; loss scale and cancel token stay.
    ///
    /// The step is built anew, which takes as long as the first time and for a moment twice the memory. An error leaves the
    /// step as it was.
    ///
    /// ```no_run
    /// use glebe::weights::checkpoint::Checkpoint;
    /// use glebe::weights::mapping::MappingOptions;
    /// # fn load(step: &mut glebe::finetune::TrainStep) -> glebe::Result<()> {
    /// let checkpoint = Checkpoint::open("last.ckpt")?;
    /// let mut options = MappingOptions::default();
    /// options.filter = "!head.*".parse()?;
    /// let report = step.load_checkpoint(&checkpoint, &options)?;
    /// println!("{report}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidState` while gradients wait; `Mismatch` where tensors are missing, too many or of another shape (unless
    /// [`MappingOptions::partial`]; [`TrainStep::survey_checkpoint`] lists them all), where nothing fits, and where a
    /// BatchNorm of the checkpoint is neither in the model nor can be folded; `InvalidArgument` for numbers that the
    /// model's element type cannot hold; as [`Checkpoint::read`]; the runtime's.
    pub fn load_checkpoint(&mut self, checkpoint: &Checkpoint, options: &MappingOptions) -> Result<Report> {
        self.check_nothing_waits()?;
        let Layout { slots, untied, .. } = Layout::of(&self.document, &self.options)?;
        let mapping = Mapping::new(&slots, checkpoint, options)?;
        let weights = mapping.read(checkpoint)?;
        check_range(&self.document, &untied, &weights).map_err(|error| error.at_path(checkpoint.path()))?;
        let bytes = with_elements(&self.document, &untied, &weights)?;
        drop(weights);
        let document = Document::from_bytes(bytes, &no_limits())?;
        let mut new = TrainStep::build(&self.runtime, &document, &self.options, &self.run)?;
        (new.scale, new.wants_logits) = (self.scale, self.wants_logits);
        new.evaluates_averages = self.evaluates_averages;
        if let Some(token) = &self.token {
            new.cancel_with(token)?;
        }
        *self = new;
        Ok(mapping.report().clone())
    }

    /// What [`TrainStep::load_checkpoint`] would do, in full also where it would be an error that something is missing, too
    /// much or of another shape. Changes nothing.
    ///
    /// # Errors
    /// `Mismatch` where a BatchNorm of the checkpoint is neither in the model nor can be folded.
    pub fn survey_checkpoint(&self, checkpoint: &Checkpoint, options: &MappingOptions) -> Result<Report> {
        Ok(Mapping::survey(&Layout::of(&self.document, &self.options)?.slots, checkpoint, options)?
            .report()
            .clone())
    }

    /// That no gradients would be lost.
    pub(super) fn check_nothing_waits(&self) -> Result<()> {
        if self.waiting() == 0 {
            return Ok(());
        }
        let message = "gradients wait: apply or discard them before weights are loaded";
        Err(Error::new(ErrorKind::InvalidState, message))
    }
}
