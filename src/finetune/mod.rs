//! Finetuning: the step, the trainer, schedules, the run folder.
//!
//! [`TrainStep`] is the engine: loss, gradients and update of one model on batches in memory. [`preflight`] says
//! beforehand what would be trained, at what cost, and what stands in the way.

mod access;

mod checkpoint;
mod checkpoint_export;
mod checkpoints;
#[cfg(feature = "raster")]
mod config;
mod container;
mod device;
mod device_graph;
mod engine;
mod evaluation;
mod evaluator;
mod export;
mod features;
#[cfg(feature = "raster")]
mod finetuning;
mod fit;
mod fit_options;
mod host;
mod initial;
mod inner_eye;
mod layout;
mod measure;
mod merge;
#[cfg(feature = "raster")]
mod metric_names;
mod outputs;
mod predictions;
mod preflight;
#[cfg(feature = "raster")]
mod run_folder;
mod scoring;
mod state;
mod step;
mod step_export;
mod targets;
mod trainer;
mod trainer_weights;
mod update;
mod whole_run;

pub use crate::data::{ArrayLoader, Batch, Labels, Loader};
pub use checkpoint::{Checkpoint, fingerprint};
pub use checkpoint_export::{ExportOptions, Exported, export, export_to, survey_export};
pub use checkpoints::{BEST, Checkpoints, LAST};
#[cfg(feature = "raster")]
pub use config::{
    AugmentationConfig, Config, DataConfig, EarlyStoppingConfig, InitConfig, OptimizerConfig, OutputsConfig,
    RunConfig, SamplingConfig, ScheduleConfig, ScheduleKind, TrainingConfig, ValUnit, put, put_setting,
    read_table,
};
pub use container::{AfterFit, Container, Loaders, TestMetrics, run_container};
pub use export::NOTE_KEY;
pub use features::{CacheUse, FeatureCache};
#[cfg(feature = "raster")]
pub use finetuning::{FinetuneReport, Finetuning, FoundData, MODEL, Maps, finetune};
pub use fit_options::{FitOptions, Tail};
pub use initial::LoadOptions;
pub use inner_eye::OptimizerParams;
pub use measure::{Measured, measure};
pub use outputs::Outputs;
pub use predictions::Predictions;
pub use preflight::{Memory, NodeSupport, Preflight, Tensor, Unsupported, preflight};
#[cfg(feature = "raster")]
pub use run_folder::CONFIG;
pub use scoring::{ScoreForm, Scoring};
pub use state::TrainState;
pub use step::{Applied, RunOptions, StepOutput, TrainStep};
pub use trainer::{TakeLogits, Trainer};
