//! What a training step is to be.

use std::fmt;
use std::str::FromStr;

use crate::autodiff::{Kernels, Loss, Optimizer, Selection};
use crate::error::{Error, Result};

/// How BatchNormalization behaves in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BatchNorm {
    /// `frozen`: by the running statistics, which stay as they are, like a PyTorch model in `eval` mode. Scale and shift
    /// are trained where the selection has them. The choice for short finetuning with small batches.
    #[default]
    Frozen,
    /// `affine`: as frozen, and scale and shift of every BatchNormalization are trained whatever the selection says.
    Affine,
    /// `train`: by the statistics of the batch; the running statistics follow them, with the unbiased variance, as in
    /// PyTorch.
    Train,
}

impl FromStr for BatchNorm {
    type Err = Error;

    fn from_str(text: &str) -> Result<BatchNorm> {
        match text {
            "frozen" => Ok(BatchNorm::Frozen),
            "affine" => Ok(BatchNorm::Affine),
            "train" => Ok(BatchNorm::Train),
            _ => Err(Error::invalid(format!(
                "unknown BatchNorm mode {text:?}: expected frozen, affine or train"
            ))),
        }
    }
}

impl fmt::Display for BatchNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BatchNorm::Frozen => "frozen",
            BatchNorm::Affine => "affine",
            BatchNorm::Train => "train",
        })
    }
}

/// What a training step is to be: shapes, what is trained, how.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepOptions {
    /// Images of a batch, N.
    pub batch: usize,
    /// Height and width of the images in pixels.
    pub size: [usize; 2],
    /// What is trained.
    pub params: Selection,
    /// How BatchNormalization behaves.
    pub batch_norm: BatchNorm,
    /// The loss.
    pub loss: Loss,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Name of the output with the logits; by default the only one, or the first.
    pub output: Option<String>,
    /// Name of an auxiliary output, whose loss is added with [`Loss::auxiliary_weight`].
    pub auxiliary: Option<String>,
    /// Which operators of our own the step may use, where the provider has them.
    pub kernels: Kernels,
    /// Seed of the adapters' first values.
    pub seed: u64,
}

impl StepOptions {
    /// Defaults for batches of `batch` images of `size` (height, width): all parameters, frozen statistics,
    /// cross-entropy, AdamW.
    pub fn new(batch: usize, size: [usize; 2]) -> StepOptions {
        StepOptions {
            batch,
            size,
            params: Selection::all(),
            batch_norm: BatchNorm::default(),
            loss: Loss::default(),
            optimizer: Optimizer::default(),
            output: None,
            auxiliary: None,
            kernels: Kernels::ALL,
            seed: 0,
        }
    }
}
