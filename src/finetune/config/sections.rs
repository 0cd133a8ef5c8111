//! The sections of a configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::autodiff::{BatchNorm, Loss, OptimizerKind, Selection};
use crate::data::Sampling;
use crate::finetune::config::text;
use crate::finetune::scoring::ScoreForm;
use crate::raster::NodataRule;
use crate::runtime::Provider;

/// Images, labels, and what the samples become before the model sees them. Lists are what
/// [`read_list`](crate::data::read_list) reads: `IMAGE;LABELS` or the path of a list; one or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DataConfig {
    /// Training data.
    #[serde(deserialize_with = "text::one_or_many")]
    pub train: Vec<String>,
    /// Validation data. Default: the lines of `train` for validation, where it is a list of areas that has some.
    #[serde(deserialize_with = "text::one_or_many")]
    pub val: Vec<String>,
    /// Test data. Default: the lines of `train` for tests, where it is a list of areas that has some.
    #[serde(deserialize_with = "text::one_or_many")]
    pub test: Vec<String>,
    /// Folder that paths are relative to. Default: each list's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Share of the training data that becomes validation data, above 0 and below 1, where there are no others. 0: none.
    pub val_fraction: f64,
    /// What is given to one of the two as a whole: blocks, or images.
    pub val_unit: ValUnit,
    /// Side of these blocks in pixels. Default: that of a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_block: Option<usize>,
    /// Bands in the order of the model's channels, from 1. Default: the model's metadata, else all that are not alpha.
    #[serde(deserialize_with = "text::some_or_many", skip_serializing_if = "Option::is_none")]
    pub bands: Option<Vec<u32>>,
    /// Divisor of the samples, one value or one a band. Default: the model's metadata, else 1.
    #[serde(deserialize_with = "text::some_or_many", skip_serializing_if = "Option::is_none")]
    pub scale: Option<Vec<f64>>,
    /// Mean in scaled units, likewise. Default: the model's metadata, else 0.
    #[serde(deserialize_with = "text::some_or_many", skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    /// Standard deviation in scaled units, likewise. Default: the model's metadata, else 1.
    #[serde(deserialize_with = "text::some_or_many", skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f64>>,
    /// When nodata values make a pixel of an image invalid: `all` or `any` of the bands.
    #[serde(with = "text::as_text")]
    pub nodata_rule: NodataRule,
    /// Names of the classes, in order. Default: the model's metadata, else numbers.
    #[serde(deserialize_with = "text::one_or_many")]
    pub class_names: Vec<String>,
    /// More GDAL drivers that may open images.
    #[serde(deserialize_with = "text::one_or_many")]
    pub drivers: Vec<String>,
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig {
            train: Vec::new(),
            val: Vec::new(),
            test: Vec::new(),
            root: None,
            val_fraction: 0.0,
            val_unit: ValUnit::Block,
            val_block: None,
            bands: None,
            scale: None,
            mean: None,
            std: None,
            nodata_rule: NodataRule::default(),
            class_names: Vec::new(),
            drivers: Vec::new(),
        }
    }
}

/// What is given to training or validation as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ValUnit {
    /// Blocks of an image.
    #[default]
    Block,
    /// Images.
    Image,
}

/// Which windows of the training images become samples; those of validation and tests lie side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SamplingConfig {
    /// `grid`, `random` or `balanced`.
    pub kind: Sampling,
    /// Pixels from one window of the grid to the next. Default: the size of a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// Shares of the classes in a balanced sampling. Default: all the same.
    #[serde(deserialize_with = "text::one_or_many")]
    pub class_shares: Vec<f64>,
    /// Images of an epoch. Default: as many as the steps ask for, else the windows of the grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Windows of training and validation with a smaller annotated share, in per cent, are left out
    /// ([`LoaderOptions::min_annotated`](crate::data::LoaderOptions)).
    pub min_annotated: f64,
    /// Whether windows of the grid come in another order in every epoch.
    pub shuffle: bool,
}

impl Default for SamplingConfig {
    fn default() -> SamplingConfig {
        SamplingConfig {
            kind: Sampling::Grid,
            stride: None,
            class_shares: Vec::new(),
            samples: None,
            min_annotated: 0.0,
            shuffle: true,
        }
    }
}

/// How long, with what, what is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainingConfig {
    /// Epochs. Default: 10, or fewer where there are fewer steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Updates in all, divided evenly among the epochs. Default: every epoch has all its samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Images of a batch. Default: the model's own, else 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Side of the images in pixels, or height and width. Default: the model's own, else 256.
    #[serde(deserialize_with = "text::side_or_sides", skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// Batches of an update.
    pub accumulate: usize,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// What is trained: `all`, `head`, `decoder`, `norm`, `bias`, `lora:r=8`, patterns over names.
    #[serde(with = "text::as_text")]
    pub params: Selection,
    /// BatchNormalization: `frozen`, `affine` or `train`.
    #[serde(with = "text::as_text")]
    pub bn: BatchNorm,
    /// The loss: `ce`, `dice`, `0.5*ce+0.5*dice` ...
    #[serde(with = "text::as_text")]
    pub loss: Loss,
    /// Weight of every class in the loss. Default: 1 each.
    #[serde(deserialize_with = "text::one_or_many")]
    pub class_weights: Vec<f32>,
    /// Share of a label that is spread over all classes.
    pub label_smoothing: f32,
    /// The model's output with the logits. Default: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// An auxiliary output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux_output: Option<String>,
    /// Weight of its loss.
    pub aux_weight: f32,
    /// Decides the order and the choice of windows, augmentation, division, adapters.
    pub seed: u64,
    /// Validates after every so many epochs.
    pub validate_every: u64,
    /// The metric that decides which weights are the best: lower is better of a `Loss`, higher of all others; `last`: none
    /// does, the last weights are kept. Default: `val/Loss` where there are validation data, else `last`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<String>,
    /// Which scores: `epoch`, `inner_eye` or `geo_deep_learning`.
    pub scores: ScoreForm,
    /// Evaluates and exports moving averages of the weights; needs `optimizer.ema_decay`.
    pub averages: bool,
}

impl Default for TrainingConfig {
    fn default() -> TrainingConfig {
        let loss = Loss::default();
        TrainingConfig {
            epochs: None,
            steps: None,
            batch: None,
            size: None,
            accumulate: 1,
            learning_rate: 1e-4,
            params: Selection::all(),
            bn: BatchNorm::default(),
            class_weights: Vec::new(),
            label_smoothing: 0.0,
            output: None,
            aux_output: None,
            aux_weight: loss.auxiliary_weight,
            loss,
            seed: 42,
            validate_every: 1,
            best: None,
            scores: ScoreForm::default(),
            averages: false,
        }
    }
}

/// The optimizer; fields without a value have PyTorch's defaults
/// ([`Optimizer::new`](crate::autodiff::Optimizer::new)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OptimizerConfig {
    /// `sgd`, `adam`, `amsgrad`, `adamw` or `rmsprop`.
    #[serde(with = "text::as_text")]
    pub kind: OptimizerKind,
    /// Weight decay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f32>,
    /// Momentum of sgd and rmsprop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f32>,
    /// Nesterov's form of it.
    pub nesterov: bool,
    /// Decay rates of the adam family's averages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f32; 2]>,
    /// Decay rate of rmsprop's average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f32>,
    /// Added to the denominator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f32>,
    /// Parameters with rates of their own: `encoder.*:lr=0.1:decay=0`.
    #[serde(deserialize_with = "text::one_or_many")]
    pub groups: Vec<String>,
    /// Whether biases and normalisation layers are decayed, too.
    pub decay_norm_and_bias: bool,
    /// Largest norm of all gradients together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f32>,
    /// Largest absolute value of a gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f32>,
    /// Decay of a moving average of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f32>,
}

impl Default for OptimizerConfig {
    fn default() -> OptimizerConfig {
        OptimizerConfig {
            kind: OptimizerKind::AdamW,
            weight_decay: None,
            momentum: None,
            nesterov: false,
            betas: None,
            alpha: None,
            epsilon: None,
            groups: Vec::new(),
            decay_norm_and_bias: true,
            clip_norm: None,
            clip_value: None,
            ema_decay: None,
        }
    }
}

/// How the learning rate goes on ([`Decay`](crate::hooks::Decay)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScheduleKind {
    /// Stays.
    #[default]
    Constant,
    /// A polynomial of exponent `gamma` (0.9).
    Polynomial,
    /// Half a cosine.
    Cosine,
    /// Times `gamma` (0.9) every epoch.
    Exponential,
    /// Times `gamma` (0.1) every `size` epochs.
    Step,
    /// Times `gamma` (0.1) at every one of the `milestones`.
    MultiStep,
    /// Smith's one cycle, by steps: up from a 25th in the first 30 %, then down.
    OneCycle,
    /// Times `gamma` (0.1) when the loss of the validation has not become lower for more than `patience` (10) epochs.
    Plateau,
}

/// The learning rate from epoch to epoch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ScheduleConfig {
    /// How it goes on.
    pub kind: ScheduleKind,
    /// Epochs in which it rises first.
    pub warm_up: u64,
    /// The smallest rate, of `polynomial`, `cosine` and `plateau`.
    pub least: f64,
    /// Exponent or factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Epochs of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Epochs, from the end of the warm-up, after which the rate falls.
    #[serde(deserialize_with = "text::one_or_many")]
    pub milestones: Vec<u64>,
    /// Epochs that `plateau` waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
}

/// When training ends early: never without a patience.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EarlyStoppingConfig {
    /// Validations without a better value that are borne.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// The metric of the validation, without `val/`.
    pub metric: String,
    /// By how much a value must be better.
    pub min_delta: f64,
}

impl Default for EarlyStoppingConfig {
    fn default() -> EarlyStoppingConfig {
        EarlyStoppingConfig { patience: None, metric: "Loss".to_owned(), min_delta: 0.0 }
    }
}

/// Weights to start from: a checkpoint of another program or run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InitConfig {
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<PathBuf>,
    /// Loads what fits.
    pub partial: bool,
    /// Only tensors whose names begin so, by what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only tensors of these names: patterns, with ! to leave out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Key of the state dict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Epsilon of BatchNorm layers that are folded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_epsilon: Option<f64>,
}

/// Where and with how many threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RunConfig {
    /// `cpu`, `cuda[:N]`, `tensorrt[:N]`; no fallback.
    #[serde(with = "text::as_text")]
    pub device: Provider,
    /// Threads of the model; 0: one a processor.
    pub threads: usize,
    /// Threads that make samples ahead of time; 0: none.
    pub loader_threads: usize,
    /// Batches that are made ahead of time at most.
    pub ahead: usize,
    /// The same bits in every run, also where a device has faster ways.
    pub deterministic: bool,
    /// Standard operators only, as on any other device.
    pub portable: bool,
}

impl Default for RunConfig {
    fn default() -> RunConfig {
        RunConfig {
            device: Provider::default(),
            threads: 0,
            loader_threads: 2,
            ahead: 3,
            deterministic: false,
            portable: false,
        }
    }
}

/// Which files are written beside checkpoints, `config.toml` and the model: all by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OutputsConfig {
    /// `Train/epoch_metrics.csv`, `Val/epoch_metrics.csv`.
    pub epoch_csv: bool,
    /// `batch_losses.csv`.
    pub batch_losses: bool,
    /// ClinicaDL's tables.
    pub clinicadl: bool,
    /// `progress.log`.
    pub progress_log: bool,
    /// `best_validation_epoch/Test/metrics.csv` and its aggregates.
    pub image_metrics: bool,
    /// `pictures/`.
    pub pictures: bool,
    /// `curves.svg`.
    pub curves: bool,
    /// `run.toml`.
    pub record: bool,
    /// Whether the finetuned model is scored on the whole images of validation and test data in the end.
    pub maps: bool,
    /// How many of `epoch-N.safetensors` are kept beside the last and the best checkpoint.
    pub keep_checkpoints: usize,
}

impl Default for OutputsConfig {
    fn default() -> OutputsConfig {
        OutputsConfig {
            epoch_csv: true,
            batch_losses: true,
            clinicadl: true,
            progress_log: true,
            image_metrics: true,
            pictures: true,
            curves: true,
            record: true,
            maps: true,
            keep_checkpoints: 0,
        }
    }
}
