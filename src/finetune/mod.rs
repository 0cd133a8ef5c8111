//! Finetuning: the step, the trainer, schedules, the run folder.
//!
//! [`TrainStep`] is the engine: loss, gradients and update of one model on batches in memory.

mod batch;
mod export;
mod host;
mod step;
mod update;

pub use batch::{Batch, Labels};
pub use export::NOTE_KEY;
pub use step::{Applied, RunOptions, StepOutput, TrainStep};
