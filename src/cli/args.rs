//! What may be typed. Names are fixed: scripts and tests rely on them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use glebe::DataType;
use glebe::geometry::{Band, Padding, Size};
use glebe::raster::{Compression, Format, NodataRule};
use glebe::runtime::Provider;
use glebe::segment::{Activation, Product};
use glebe::tiling::{Blend, Overlap};

/// Score rasters with ONNX segmentation models.
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
    /// What a model or raster is, and what it needs
    Inspect(InspectArguments),
    /// What was found: ONNX Runtime, GDAL, providers, and why one is not usable
    Doctor(DoctorArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// An ONNX model or a raster
    pub(crate) file: PathBuf,

    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// More GDAL drivers that may open the raster (VRT, for example)
    #[arg(long = "driver", value_name = "NAME")]
    pub(crate) drivers: Vec<String>,
}

/// Options that the model's metadata does not give, or that shall win over it.
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

    /// Bands in the order of the model's channels, from 1: 1,2,3 [default: all but alpha]
    #[arg(long, value_delimiter = ',', value_name = "LIST", help_heading = "Input")]
    pub(crate) bands: Option<Vec<Band>>,

    /// Divisor of the samples: one value or one a band [default: 1]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        allow_hyphen_values = true,
        help_heading = "Input"
    )]
    pub(crate) scale: Option<Vec<f64>>,

    /// Mean, taken off after scaling: one value or one a band [default: 0]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        allow_hyphen_values = true,
        help_heading = "Input"
    )]
    pub(crate) mean: Option<Vec<f64>>,

    /// Standard deviation, divided by last: one value or one a band [default: 1]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        allow_hyphen_values = true,
        help_heading = "Input"
    )]
    pub(crate) std: Option<Vec<f64>>,

    /// A pixel is invalid where all of the bands read are nodata, or any of them: all, any
    #[arg(long, default_value_t, value_name = "RULE", help_heading = "Input")]
    pub(crate) nodata_rule: NodataRule,

    /// Past the raster's edge: reflect, edge, constant:VALUE
    #[arg(long, default_value_t, value_name = "RULE", help_heading = "Input")]
    pub(crate) padding: Padding,

    /// More GDAL drivers that may open the input (VRT, for example)
    #[arg(long = "driver", value_name = "NAME", help_heading = "Input")]
    pub(crate) drivers: Vec<String>,

    /// Tile in pixels: 512 or 512x256 (width x height) [default: the model's own, else up to 512]
    #[arg(long, value_name = "PIXELS", value_parser = tile, help_heading = "Tiling")]
    pub(crate) tile: Option<Size>,

    /// What neighbouring tiles share, in pixels or per cent of the tile
    #[arg(long, default_value = "25%", value_name = "PIXELS", help_heading = "Tiling")]
    pub(crate) overlap: Overlap,

    /// How overlapping tiles become one map: crop, gaussian, hann, linear, constant
    #[arg(long, default_value_t, value_name = "MODE", help_heading = "Tiling")]
    pub(crate) blend: Blend,

    /// Tiles a run [default: the model's own, else 1 on the processor, 4 on a device]
    #[arg(long, value_name = "N", help_heading = "Running")]
    pub(crate) batch: Option<usize>,

    /// Where the model runs: cpu, cuda[:N], tensorrt[:N]; no fallback
    #[arg(
        long,
        visible_alias = "provider",
        default_value_t,
        value_name = "PROVIDER",
        help_heading = "Running"
    )]
    pub(crate) device: Provider,

    /// An option of the provider, by ONNX Runtime's name: gpu_mem_limit=2000000000
    #[arg(long = "provider-option", value_name = "KEY=VALUE", value_parser = key_value, help_heading = "Running")]
    pub(crate) provider_options: Vec<(String, String)>,

    /// Threads of the model; 0 is one a processor
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Running")]
    pub(crate) threads: usize,

    /// What is written: classes, probabilities, logits
    #[arg(long, default_value_t, value_name = "PRODUCT", help_heading = "Output")]
    pub(crate) product: Product,

    /// Sample type written: uint8, uint16, float32 [default: uint8 for classes, float32 else]
    #[arg(long, value_name = "TYPE", help_heading = "Output")]
    pub(crate) dtype: Option<DataType>,

    /// The model's output to take [default: the first]
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub(crate) output_tensor: Option<String>,

    /// How the output becomes probabilities: auto, softmax, sigmoid, none
    #[arg(long, default_value_t, value_name = "NAME", help_heading = "Output")]
    pub(crate) activation: Activation,

    /// Class 1 of a one-channel model begins above this probability
    #[arg(
        long,
        default_value_t = 0.5,
        value_name = "P",
        allow_hyphen_values = true,
        help_heading = "Output"
    )]
    pub(crate) threshold: f64,

    /// What invalid pixels get [default: 255 or 65535, NaN for float32]
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true, help_heading = "Output")]
    pub(crate) nodata: Option<f64>,

    /// Names of the classes, in order [default: the model's metadata]
    #[arg(long, value_delimiter = ',', value_name = "LIST", help_heading = "Output")]
    pub(crate) class_names: Option<Vec<String>>,

    /// cog (with overviews) or gtiff
    #[arg(long, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) format: Format,

    /// deflate, lzw, zstd, none
    #[arg(long, default_value_t, value_name = "NAME", help_heading = "Output")]
    pub(crate) compress: Compression,

    /// Replace outputs that exist
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,

    /// Write what was done, and how fast, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
}

fn tile(text: &str) -> Result<Size, String> {
    let side = |text: &str| {
        text.trim().parse::<usize>().map_err(|_| format!("expected pixels (512 or 512x256), got {text:?}"))
    };
    match text.split_once('x') {
        None => side(text).map(|side| Size::new(side, side)),
        Some((width, height)) => Ok(Size::new(side(width)?, side(height)?)),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.into(), value.into()))
        .ok_or_else(|| format!("expected KEY=VALUE, got {text:?}"))
}
