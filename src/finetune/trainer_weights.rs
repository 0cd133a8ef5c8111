//! Weights from elsewhere for a trainer to start from.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::finetune::initial::LoadOptions;
use crate::finetune::trainer::Trainer;
use crate::hooks::Event;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::report::Report;

impl Trainer {
    /// Takes over the weights of a checkpoint that another program or an earlier run has written
    /// ([`TrainStep::load_checkpoint`](crate::finetune::TrainStep::load_checkpoint)); epoch, optimizer and callbacks of the
    /// checkpoint do not count, which is what [`Trainer::resume`] is for. Load before you resume.
    ///
    /// The file is read; what it says of itself is logged and stands in
    /// [`checkpoint_message`](crate::hooks::TrainerState::checkpoint_message), empty where it has neither epoch nor step;
    /// [`Event::CheckpointLoad`] fires while the weights are still the old ones; then they are applied.
    ///
    /// # Errors
    /// `InvalidState` while gradients wait and behind [`Trainer::resume`]; as [`Checkpoint::open_with`] and
    /// [`TrainStep::load_checkpoint`](crate::finetune::TrainStep::load_checkpoint); a callback's. The weights stay as they
    /// were.
    pub fn load_checkpoint(&mut self, path: impl AsRef<Path>, options: &LoadOptions) -> Result<Report> {
        // Asked too early, not a failure of the run: what waits goes on waiting.
        self.step.check_nothing_waits()?;
        if self.resumed.is_some() {
            let message = "a checkpoint to go on from waits: load weights before it is given";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        self.watched(|own| {
            let checkpoint = Checkpoint::open_with(path, &options.open)?;
            own.state.checkpoint_message = checkpoint.origin().message();
            if !own.state.checkpoint_message.is_empty() {
                tracing::info!("{}", own.state.checkpoint_message);
            }
            own.tell(Event::CheckpointLoad)?;
            own.step.load_checkpoint(&checkpoint, &options.mapping)
        })
    }
}
