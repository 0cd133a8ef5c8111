//! Everything that a finetuning is told: the same names in a TOML file, in Rust, in C and on the command line.

mod build;
pub(super) mod data;
mod read;
mod sections;
mod text;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{Augmentation, LabelOptions};

pub use read::{put, put_setting, read_table};
pub use sections::{
    DataConfig, EarlyStoppingConfig, InitConfig, OptimizerConfig, OutputsConfig, RunConfig, SamplingConfig,
    ScheduleConfig, ScheduleKind, TrainingConfig, ValUnit,
};

/// Everything that a finetuning is told.
///
/// In a TOML file each field of a section is a key of a table with the section's name:
///
/// ```
/// use glebe::finetune::Config;
///
/// let config = Config::parse(
///     r#"
///     model = "unet.onnx"
///     [data]
///     train = "train.csv"
///     val = "image.tif;buildings.gpkg"
///     scale = 255
///     [labels]
///     classes = { building = 1, "*" = 0 }
///     [training]
///     steps = 200
///     learning_rate = 1e-3
///     "#,
///     &["training.batch=8"],
/// )?;
/// assert_eq!((config.training.steps, config.training.batch), (Some(200), Some(8)));
/// assert!(Config::parse("[training]\nlearning_rat = 1", &[]).is_err());
/// # Ok::<(), glebe::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The ONNX model.
    pub model: PathBuf,
    /// Folder of all that is written. Default: `glebe-` with date and time, in the working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Images, labels, and what the samples become.
    pub data: DataConfig,
    /// How labels become classes.
    pub labels: LabelOptions,
    /// Which windows of the images become samples.
    pub sampling: SamplingConfig,
    /// What happens to samples of the training; by default `d4`: the eight symmetries, equally likely. A preset's name, or a
    /// table of operations that are put over a preset (key `preset`, by default `d4`).
    #[serde(with = "text::preset_or_table")]
    pub augmentation: AugmentationConfig,
    /// How long, with what, what is trained.
    pub training: TrainingConfig,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate from epoch to epoch.
    pub schedule: ScheduleConfig,
    /// When it ends early.
    pub early_stopping: EarlyStoppingConfig,
    /// Weights to start from.
    pub init: InitConfig,
    /// Where and with how many threads.
    pub run: RunConfig,
    /// Which files are written.
    pub outputs: OutputsConfig,
}

/// What happens to samples of the training.
#[derive(Debug, Clone, PartialEq)]
pub struct AugmentationConfig(pub Augmentation);

impl Default for AugmentationConfig {
    fn default() -> AugmentationConfig {
        AugmentationConfig("d4".parse().unwrap_or_default())
    }
}
