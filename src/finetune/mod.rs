//! Finetuning: the step, the trainer, schedules, the run folder.
//!
//! [`TrainStep`] is the engine: loss, gradients and update of one model on batches in memory.

mod batch;
mod device;
mod device_graph;
mod engine;
mod export;
mod features;
mod host;
mod state;
mod step;
mod update;

pub use batch::{Batch, Labels};
pub use export::NOTE_KEY;
pub use features::{CacheUse, FeatureCache};
pub use state::TrainState;
pub use step::{Applied, RunOptions, StepOutput, TrainStep};
