//! `glebe export`: model + checkpoint → ONNX.

use std::path::PathBuf;

use clap::Args;
use glebe::finetune::{self, ExportOptions};
use glebe::onnx::Document;
use glebe::weights::checkpoint::Checkpoint;
use glebe::weights::pattern::Filter;
use glebe::{Error, ErrorKind, Result};
use serde_json::json;

use crate::args::Arguments;
use crate::init;
use crate::normalisation::NormalisationArguments;
use crate::out::{self, printable};

/// Weights, and what the file is to say, so that `segment` on it needs no such options.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The ONNX model that the checkpoint fits: for a checkpoint of ours the one that its training began from
    pub(crate) model: PathBuf,

    /// Its weights: Lightning's .ckpt, .pth, .pth.tar, safetensors, last.safetensors or best.safetensors of a training of
    /// ours. Without one the model keeps its own
    pub(crate) checkpoint: Option<PathBuf>,

    /// The file to write
    #[arg(short, long = "out", value_name = "OUT")]
    out: PathBuf,

    /// Loads what fits, though tensors are missing, too many or of another shape
    #[arg(long, requires = "checkpoint", help_heading = "Checkpoint")]
    partial: bool,

    /// Only tensors whose names begin so, by what follows: student. (the dot may be left out)
    #[arg(long, value_name = "PREFIX", requires = "checkpoint", help_heading = "Checkpoint")]
    prefix: Option<String>,

    /// Only tensors of these names, those in the model or in the checkpoint: patterns, with ! to leave out: !head.*
    #[arg(
        long,
        value_name = "NAMES",
        requires = "checkpoint",
        allow_hyphen_values = true,
        help_heading = "Checkpoint"
    )]
    filter: Option<Filter>,

    /// Key of the state dict in the checkpoint, where it is none of the usual: model_ema
    #[arg(long, value_name = "KEY", requires = "checkpoint", help_heading = "Checkpoint")]
    key: Option<String>,

    /// Epsilon of BatchNorm layers that the model's exporter folded and the checkpoint has [default: 1e-5]
    #[arg(
        long,
        value_name = "VALUE",
        requires = "checkpoint",
        allow_negative_numbers = true,
        help_heading = "Checkpoint"
    )]
    norm_epsilon: Option<f64>,

    /// The moving averages of a training of ours, not its weights
    #[arg(long, requires = "checkpoint", help_heading = "Checkpoint")]
    averages: bool,

    /// Alpha of adapters (lora), where the checkpoint does not say what they are scaled by
    #[arg(
        long,
        value_name = "ALPHA",
        requires = "checkpoint",
        allow_negative_numbers = true,
        help_heading = "Checkpoint"
    )]
    lora_alpha: Option<f32>,

    #[command(flatten)]
    normalisation: NormalisationArguments,

    /// Names of the classes, in order
    #[arg(long, value_delimiter = ',', value_name = "LIST", help_heading = "Metadata")]
    class_names: Option<Vec<String>>,

    /// Width and height of a tile
    #[arg(long, value_name = "PIXELS", help_heading = "Metadata")]
    tile: Option<usize>,

    /// The output with the classes, where it is not the first
    #[arg(long, value_name = "NAME", help_heading = "Metadata")]
    output: Option<String>,

    /// Replace an output that exists
    #[arg(long)]
    overwrite: bool,

    /// What was loaded and written as JSON
    #[arg(long)]
    json: bool,
}

/// Writes the file. The checkpoint's message and what was written go to stdout, what went where to stderr.
pub(crate) fn run(own: &ExportArguments, arguments: &Arguments) -> Result<()> {
    let options = options(own);
    let checkpoint = own.checkpoint.as_deref();
    let done = finetune::export_to(&own.out, &own.model, checkpoint, &options, own.overwrite);
    let made = done.inspect_err(|error| {
        if error.kind() == ErrorKind::Mismatch && arguments.verbose > 0 {
            tell_all(own, &options);
        }
    })?;
    if let Some(report) = &made.report {
        init::summary(report, arguments);
    }
    if own.json {
        let cannot = |error| Error::internal("cannot write JSON").caused_by(error);
        let mut value = serde_json::to_value(&made).map_err(cannot)?;
        value["file"] = json!(own.out.display().to_string());
        value["bytes"] = json!(made.bytes.len());
        return out::line(format_args!("{value:#}"));
    }
    if !made.message.is_empty() {
        out::line(printable(&made.message))?;
    }
    if arguments.quiet {
        return Ok(());
    }
    if !made.merged.is_empty() {
        out::message(format_args!("{} adapters merged", made.merged.len()));
    }
    out::line(printable(&format!("wrote {}, {} bytes", own.out.display(), made.bytes.len())))?;
    made.metadata.iter().try_for_each(|(key, value)| out::line(printable(&format!("  {key} = {value}"))))
}

/// All names of a checkpoint that does not fit: the error has the first of each kind.
fn tell_all(own: &ExportArguments, options: &ExportOptions) {
    let survey = || {
        let document = Document::open(&own.model, &options.limits).ok()?;
        let checkpoint = Checkpoint::open_with(own.checkpoint.as_ref()?, &options.load.open).ok()?;
        finetune::survey_export(&document, &checkpoint, options).ok()
    };
    if let Some(report) = survey() {
        init::tell(&report);
    }
}

fn options(own: &ExportArguments) -> ExportOptions {
    let mut options = ExportOptions::default();
    options.load.open.key.clone_from(&own.key);
    options.load.open.averages = own.averages;
    let mapping = &mut options.load.mapping;
    mapping.partial = own.partial;
    mapping.prefix.clone_from(&own.prefix);
    if let Some(filter) = &own.filter {
        mapping.filter = filter.clone();
    }
    mapping.norm_epsilon = own.norm_epsilon.unwrap_or(mapping.norm_epsilon);
    options.lora_alpha = own.lora_alpha;
    options.output.clone_from(&own.output);
    options.tags.bands.clone_from(&own.normalisation.bands);
    options.tags.class_names.clone_from(&own.class_names);
    options.tags.tile = own.tile;
    options.scale.clone_from(&own.normalisation.scale);
    options.mean.clone_from(&own.normalisation.mean);
    options.std.clone_from(&own.normalisation.std);
    options
}
