//! What may be typed. Names are fixed: scripts and tests rely on them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use glebe::DataType;
use glebe::autodiff::{BatchNorm, Loss, OptimizerKind, ParameterGroup, Selection};
use glebe::raster::{Compression, Format};
use glebe::runtime::Provider;
use glebe::segment::Product;

use crate::bytes::Bytes;
use crate::evaluate::EvaluateArguments;
use crate::export::ExportArguments;
use crate::finetune_args::FinetuneArguments;
use crate::init::InitArguments;
use crate::scoring::ScoringArguments;
use crate::seams::SeamArguments;

/// Score rasters with ONNX segmentation models, and finetune these.
#[derive(Debug, Parser)]
#[command(name = "glebe", version, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// ONNX Runtime's library; by default ORT_DYLIB_PATH, beside glebe, the Python environment's, the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) runtime: Option<PathBuf>,

    /// No progress and no summary
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// More messages; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Score rasters with a model, tile by tile
    Segment(Box<SegmentArguments>),
    /// Finetune a model on labelled rasters
    Finetune(Box<FinetuneArguments>),
    /// Bare training steps on arrays: parity checks, porting a model
    Step(Box<StepArguments>),
    /// Metrics of a model on labelled rasters
    Evaluate(Box<EvaluateArguments>),
    /// A model with the weights of a checkpoint, and with what it is to say about its rasters
    Export(Box<ExportArguments>),
    /// What a model, checkpoint or raster is, and what it needs
    Inspect(Box<InspectArguments>),
    /// What was found: ONNX Runtime, GDAL, providers, and why one is not usable
    Doctor(DoctorArguments),
}

#[derive(Debug, Args)]
pub(crate) struct StepArguments {
    /// An ONNX model
    pub(crate) model: PathBuf,

    /// Safetensors file with images [S, N, C, H, W] (F32), labels [S, N, H, W] (U8, I32, I64; F32 [S, N, K, H, W] for
    /// regression) and, if wanted, mask [S, N, H, W] (U8)
    #[arg(long, value_name = "FILE")]
    pub(crate) batches: PathBuf,

    /// What is trained: all, head, decoder, norm, bias, lora:r=8 (adapters), patterns over names, ! before what is not
    #[arg(long, default_value = "all", value_name = "LIST")]
    pub(crate) params: Selection,

    /// Loss: ce, bce, dice, jaccard, focal, lovasz, mse, l1, huber ..., or a sum such as 0.5*ce+0.5*dice
    #[arg(long, default_value = "ce")]
    pub(crate) loss: Loss,

    /// Label that does not count
    #[arg(long, value_name = "LABEL", allow_negative_numbers = true)]
    pub(crate) ignore_index: Option<i64>,

    /// Weight of every class
    #[arg(allow_negative_numbers = true, long, value_name = "W,W,...", value_delimiter = ',')]
    pub(crate) class_weights: Vec<f32>,

    /// Share of a label that is spread over all classes
    #[arg(allow_negative_numbers = true, long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) label_smoothing: f32,

    /// sgd, adam, amsgrad, adamw, rmsprop
    #[arg(long, default_value = "adamw")]
    pub(crate) optimizer: OptimizerKind,

    /// Learning rate
    #[arg(allow_negative_numbers = true, long, default_value_t = 1e-4)]
    pub(crate) lr: f32,

    /// By default 0.01 for adamw and 0 for the others
    #[arg(allow_negative_numbers = true, long, value_name = "RATE")]
    pub(crate) weight_decay: Option<f32>,

    /// Momentum of sgd and rmsprop
    #[arg(allow_negative_numbers = true, long, default_value_t = 0.0)]
    pub(crate) momentum: f32,

    /// Nesterov's momentum (sgd)
    #[arg(long)]
    pub(crate) nesterov: bool,

    /// Decay rates of the adam family's averages [default: 0.9,0.999]
    #[arg(long, value_name = "B1,B2", value_parser = pair)]
    pub(crate) betas: Option<[f32; 2]>,

    /// Decay rate of rmsprop's average [default: 0.99]
    #[arg(allow_negative_numbers = true, long, value_name = "RATE")]
    pub(crate) alpha: Option<f32>,

    /// Added to the denominator of the adam family and rmsprop [default: 1e-8]
    #[arg(allow_negative_numbers = true, long, value_name = "VALUE")]
    pub(crate) epsilon: Option<f32>,

    /// Parameters with rates of their own: a pattern over names with lr, a factor, or decay, a weight decay:
    /// encoder.*:lr=0.1:decay=0. May be given several times; the first that matches counts
    #[arg(long = "group", value_name = "PATTERN[:lr=F][:decay=R]")]
    pub(crate) groups: Vec<ParameterGroup>,

    /// No weight decay of biases and of normalisation layers
    #[arg(long)]
    pub(crate) no_norm_decay: bool,

    /// Keeps a moving average of the weights with this decay, 0.999 for instance
    #[arg(allow_negative_numbers = true, long, value_name = "DECAY")]
    pub(crate) ema_decay: Option<f32>,

    /// Multiplies the loss's gradient; a step whose gradients are not finite is skipped
    #[arg(allow_negative_numbers = true, long, value_name = "SCALE")]
    pub(crate) loss_scale: Option<f32>,

    /// Batches a step: their gradients are averaged; where the file's do not come out even, the first come round again
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) accumulate: usize,

    /// Seed of the first values of adapters (lora)
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,

    /// Largest norm of all gradients together
    #[arg(allow_negative_numbers = true, long, value_name = "NORM")]
    pub(crate) clip_norm: Option<f32>,

    /// Largest absolute value of a gradient
    #[arg(allow_negative_numbers = true, long, value_name = "VALUE")]
    pub(crate) clip_value: Option<f32>,

    /// BatchNormalization: frozen, affine or train
    #[arg(long, default_value = "frozen")]
    pub(crate) bn: BatchNorm,

    /// Number of steps; by default as many as there are batches for, and these come round again where it is larger. With
    /// 0 the outputs are written as --init, --init-state or the model has them
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,

    /// Output with the logits; by default the first
    #[arg(long, value_name = "NAME")]
    pub(crate) output: Option<String>,

    /// Auxiliary output
    #[arg(long, value_name = "NAME")]
    pub(crate) aux_output: Option<String>,

    /// Weight of the auxiliary output's loss; 0.4 by default
    #[arg(allow_negative_numbers = true, long, value_name = "WEIGHT", requires = "aux_output")]
    pub(crate) aux_weight: Option<f32>,

    /// Gradients of the first step, as safetensors by initializer name
    #[arg(long, value_name = "FILE")]
    pub(crate) gradients: Option<PathBuf>,

    /// Trained weights at the end, as safetensors by initializer name; adapters as NAME.lora_A and NAME.lora_B
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,

    /// Moving averages of the trained weights at the end, likewise
    #[arg(long, value_name = "FILE", requires = "ema_decay")]
    pub(crate) averages: Option<PathBuf>,

    /// The model with the trained weights
    #[arg(long, value_name = "FILE")]
    pub(crate) export: Option<PathBuf>,

    /// All that steps change, at the end: go on with --init-state
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) init: InitArguments,

    /// Goes on from a file of --state, with the same model and options, bit by bit
    #[arg(long, value_name = "FILE")]
    pub(crate) init_state: Option<PathBuf>,

    /// Keeps in memory what the frozen part gives for every image, up to this size (512MiB)
    #[arg(long, value_name = "SIZE")]
    pub(crate) cache_memory: Option<Bytes>,

    /// Keeps it in a file too, up to this size
    #[arg(long, value_name = "SIZE")]
    pub(crate) cache_file: Option<Bytes>,

    /// Folder of that file, which has no name and vanishes at the end; by default the system's temporary one
    #[arg(long, value_name = "FOLDER", requires = "cache_file")]
    pub(crate) cache_folder: Option<PathBuf>,

    /// Replace output files that are there
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Losses, step time and peak memory as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Threads within an operator; 0 is one a processor
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,

    /// cpu, cuda[:N], tensorrt[:N]
    #[arg(long, default_value = "cpu")]
    pub(crate) device: Provider,

    /// The same bits in every run, also where a device has faster ways
    #[arg(long)]
    pub(crate) deterministic: bool,

    /// Standard operators only, as on any other device
    #[arg(long)]
    pub(crate) portable: bool,

    /// Write the times of all nodes to a file that begins so
    #[arg(long, value_name = "START")]
    pub(crate) profile: Option<PathBuf>,
}

impl StepArguments {
    /// Whether features are to be kept.
    pub(crate) fn has_cache(&self) -> bool {
        self.cache_memory.is_some() || self.cache_file.is_some()
    }
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// An ONNX model, a checkpoint or a raster
    pub(crate) file: PathBuf,

    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// More GDAL drivers that may open the raster (VRT, for example)
    #[arg(long = "driver", value_name = "NAME")]
    pub(crate) drivers: Vec<String>,

    #[command(flatten)]
    pub(crate) seams: SeamArguments,

    #[command(flatten)]
    pub(crate) training: TrainingArguments,
}

/// What `inspect` is to say about training a model.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingArguments {
    /// What training this would mean: all, head, decoder, norm, bias, lora:r=8, patterns over names, ! before what is not
    #[arg(long, value_name = "LIST")]
    pub(crate) params: Option<Selection>,

    /// Images in pixels: 256 or 256x512 (height x width) [default: the model's own, else 256]
    #[arg(long, value_name = "PIXELS", value_parser = image_size, requires = "params")]
    pub(crate) size: Option<[usize; 2]>,

    /// Images a step [default: the model's own, else 4]
    #[arg(long, value_name = "N", requires = "params")]
    pub(crate) batch: Option<usize>,

    /// BatchNormalization: frozen, affine or train
    #[arg(long, default_value = "frozen", value_name = "MODE", requires = "params")]
    pub(crate) bn: BatchNorm,

    /// Loss, as of `step`
    #[arg(long, default_value = "ce", requires = "params")]
    pub(crate) loss: Loss,

    /// sgd, adam, amsgrad, adamw, rmsprop
    #[arg(long, default_value = "adamw", requires = "params")]
    pub(crate) optimizer: OptimizerKind,

    /// Output with the logits [default: the first]
    #[arg(long, value_name = "NAME", requires = "params")]
    pub(crate) output: Option<String>,

    /// Auxiliary output
    #[arg(long, value_name = "NAME", requires = "params")]
    pub(crate) aux_output: Option<String>,

    /// Build the step, run it twice on noise and say how long it takes
    #[arg(long, requires = "params")]
    pub(crate) measure: bool,

    /// Threads of the measurement; 0 is one a processor
    #[arg(long, default_value_t = 0, value_name = "N", requires = "measure")]
    pub(crate) threads: usize,
}

#[derive(Debug, Args)]
pub(crate) struct SegmentArguments {
    /// The ONNX model
    pub(crate) model: PathBuf,

    /// Rasters to score
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,

    /// The file to write; a folder for several inputs
    #[arg(short, long = "out", value_name = "OUT")]
    pub(crate) out: PathBuf,

    #[command(flatten)]
    pub(crate) scoring: ScoringArguments,

    /// What is written: classes, probabilities, logits
    #[arg(long, default_value_t, value_name = "PRODUCT", help_heading = "Output")]
    pub(crate) product: Product,

    /// Sample type written: uint8, uint16, float32 [default: uint8 for classes, float32 else]
    #[arg(long, value_name = "TYPE", help_heading = "Output")]
    pub(crate) dtype: Option<DataType>,

    /// What invalid pixels get [default: 255 or 65535, NaN for float32]
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true, help_heading = "Output")]
    pub(crate) nodata: Option<f64>,

    /// cog (with overviews) or gtiff
    #[arg(long, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) format: Format,

    /// deflate, lzw, zstd, none
    #[arg(long, default_value_t, value_name = "NAME", help_heading = "Output")]
    pub(crate) compress: Compression,

    /// Strength of the compression: deflate 1 to 9, zstd 1 to 22 [default: 3 for deflate]
    #[arg(long, value_name = "N", help_heading = "Output")]
    pub(crate) level: Option<u8>,

    /// Replace outputs that exist, and throw away what interrupted jobs have left beside them
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,

    /// Go on with what interrupted jobs have left beside the outputs (OUT.part); with --overwrite, an output that exists is
    /// replaced by the finished one
    #[arg(long, help_heading = "Output")]
    pub(crate) resume: bool,

    /// Write what was done, and how fast, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
}

fn pair(text: &str) -> Result<[f32; 2], String> {
    let number = |text: &str| text.trim().parse::<f32>().ok();
    let numbers = text.split_once(',').and_then(|(a, b)| Some([number(a)?, number(b)?]));
    numbers.ok_or_else(|| format!("expected two numbers (0.9,0.999), got {text:?}"))
}

fn image_size(text: &str) -> Result<[usize; 2], String> {
    let wrong = || format!("expected pixels (256 or 256x512), got {text:?}");
    let side = |text: &str| text.trim().parse::<usize>().ok().filter(|&side| side > 0).ok_or_else(wrong);
    match text.split_once('x') {
        None => side(text).map(|side| [side, side]),
        Some((height, width)) => Ok([side(height)?, side(width)?]),
    }
}
