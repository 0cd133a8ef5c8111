//! Finetuning: the step, the trainer, schedules, the run folder.
//!
//! [`TrainStep`] is the engine: loss, gradients and update of one model on batches in memory. [`preflight`] says
//! beforehand what would be trained, at what cost, and what stands in the way.

mod batch;
mod export;
mod host;
mod measure;
mod preflight;
mod step;
mod update;

pub use batch::{Batch, Labels};
pub use export::NOTE_KEY;
pub use measure::{Measured, measure};
pub use preflight::{Memory, NodeSupport, Preflight, Tensor, Unsupported, preflight};
pub use step::{Applied, RunOptions, StepOutput, TrainStep};
