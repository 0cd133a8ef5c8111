//! Options of scoring, for all commands that score rasters.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use glebe::Result;
use glebe::geometry::{Padding, Size};
use glebe::model::ModelOptions;
use glebe::raster::{NodataRule, OpenOptions};
use glebe::runtime::Provider;
use glebe::segment::{Activation, FileOptions, Precision, SegmentOptions};
use glebe::tiling::{Blend, Overlap};

use crate::bytes::Bytes;
use crate::normalisation::NormalisationArguments;

/// When the work around the model becomes part of its graph.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Fuse {
    Auto,
    On,
    Off,
}

/// Options that the model's metadata does not give, or that shall win over it.
#[derive(Debug, Args)]
pub(crate) struct ScoringArguments {
    #[command(flatten)]
    pub(crate) normalisation: NormalisationArguments,

    /// A pixel is invalid where all of the bands read are nodata, or any of them: all, any
    #[arg(long, default_value_t, value_name = "RULE", help_heading = "Input")]
    pub(crate) nodata_rule: NodataRule,

    /// Past the raster's edge: reflect, edge, constant:VALUE
    #[arg(long, default_value_t, value_name = "RULE", help_heading = "Input")]
    pub(crate) padding: Padding,

    /// More GDAL drivers that may open the input (VRT, for example)
    #[arg(long = "driver", value_name = "NAME", help_heading = "Input")]
    pub(crate) drivers: Vec<String>,

    /// Tile in pixels: 512 or 512x256 (width x height); auto: the model's own, else the best for exact tiles, else up to 512
    #[arg(long, value_name = "PIXELS", default_value = "auto", value_parser = tile, help_heading = "Tiling")]
    pub(crate) tile: Tile,

    /// What neighbouring tiles share, in pixels or per cent of the tile
    #[arg(long, default_value = "25%", value_name = "PIXELS", help_heading = "Tiling")]
    pub(crate) overlap: Overlap,

    /// How tiles become one map: exact (as in one run over the whole raster), auto (exact where the network allows it, else
    /// gaussian), crop, gaussian, hann, linear, constant
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

    /// How precisely the model computes: model, fp16; the report says how far the labels agree
    #[arg(long, default_value_t, value_name = "PRECISION", help_heading = "Running")]
    pub(crate) precision: Precision,

    /// Normalisation, and classes where nothing is blended, as part of the model's graph: tiles go to the device as they are in
    /// the raster. auto: on devices, where it can be done
    #[arg(long, default_value = "auto", value_name = "WHEN", help_heading = "Running")]
    pub(crate) fuse: Fuse,

    /// Batches at the model at the same time [default: 2 on a device and for very small models, else 1]
    #[arg(long, value_name = "N", help_heading = "Running")]
    pub(crate) in_flight: Option<usize>,

    /// TensorRT only: a folder that keeps engines and timings for later jobs
    #[arg(long, value_name = "FOLDER", help_heading = "Running")]
    pub(crate) engine_cache: Option<PathBuf>,

    /// What tiles, the model's tensors, sums, queues and GDAL's blocks may take (512MiB) [default: a quarter of what is free, at
    /// most 2 GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Running")]
    pub(crate) memory: Option<Bytes>,

    /// The model's output to take [default: the first]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub(crate) output_tensor: Option<String>,

    /// How the output becomes probabilities: auto, softmax, sigmoid, none
    #[arg(long, default_value_t, value_name = "NAME", help_heading = "Model")]
    pub(crate) activation: Activation,

    /// Class 1 of a one-channel model begins above this probability
    #[arg(long, default_value_t = 0.5, value_name = "P", allow_hyphen_values = true, help_heading = "Model")]
    pub(crate) threshold: f64,

    /// Names of the classes, in order [default: the model's metadata]
    #[arg(long, value_delimiter = ',', value_name = "LIST", help_heading = "Model")]
    pub(crate) class_names: Option<Vec<String>>,
}

impl ScoringArguments {
    /// For the library.
    pub(crate) fn options(&self) -> Result<SegmentOptions> {
        let mut provider = self.device.clone();
        for (key, value) in &self.provider_options {
            provider = provider.with_option(key, value)?;
        }
        if let Some(folder) = &self.engine_cache {
            provider = provider.with_engine_cache(folder)?;
        }
        let mut options = SegmentOptions::default();
        options.bands.clone_from(&self.normalisation.bands);
        options.scale.clone_from(&self.normalisation.scale);
        options.mean.clone_from(&self.normalisation.mean);
        options.std.clone_from(&self.normalisation.std);
        options.tile = self.tile.0;
        options.overlap = self.overlap;
        options.blend = self.blend;
        options.padding = self.padding;
        options.batch = self.batch;
        options.provider = provider;
        options.threads = self.threads;
        options.precision = self.precision;
        options.fuse = match self.fuse {
            Fuse::Auto => None,
            Fuse::On => Some(true),
            Fuse::Off => Some(false),
        };
        options.in_flight = self.in_flight;
        options.memory = self.memory.map(|bytes| bytes.0);
        options.activation = self.activation;
        options.threshold = self.threshold;
        Ok(options)
    }

    /// How rasters are read, and what classes are called.
    pub(crate) fn files(&self) -> FileOptions {
        let mut files = FileOptions::default();
        files.open =
            self.drivers.iter().fold(OpenOptions::default(), |open, driver| open.with_driver(driver));
        files.nodata_rule = self.nodata_rule;
        files.class_names = self.class_names.clone();
        files
    }

    /// How the model is opened.
    pub(crate) fn model(&self) -> ModelOptions {
        match &self.output_tensor {
            Some(name) => ModelOptions::default().output(name),
            None => ModelOptions::default(),
        }
    }
}

/// A tile's size; none where the library chooses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile(pub(crate) Option<Size>);

pub(crate) fn tile(text: &str) -> Result<Tile, String> {
    if text == "auto" {
        return Ok(Tile(None));
    }
    let side = |text: &str| {
        text.trim()
            .parse::<usize>()
            .map_err(|_| format!("expected pixels (512 or 512x256) or auto, got {text:?}"))
    };
    match text.split_once('x') {
        None => side(text).map(|side| Tile(Some(Size::new(side, side)))),
        Some((width, height)) => Ok(Tile(Some(Size::new(side(width)?, side(height)?)))),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.into(), value.into()))
        .ok_or_else(|| format!("expected KEY=VALUE, got {text:?}"))
}
