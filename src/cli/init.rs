//! `--init`: weights of a checkpoint to start from.

use std::path::PathBuf;

use clap::Args;
use glebe::finetune::TrainStep;
use glebe::weights::checkpoint::{Checkpoint, OpenOptions};
use glebe::weights::mapping::MappingOptions;
use glebe::weights::pattern::Filter;
use glebe::weights::report::Report;
use glebe::{ErrorKind, Result};
use serde_json::{Value, json};

use crate::args::Arguments;
use crate::out::{self, printable};

/// Which checkpoint is loaded, and how.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Starts from the weights of a checkpoint, trained and frozen ones: Lightning's .ckpt, .pth, .pth.tar, safetensors, a
    /// state of ours. Names count without the wrappers' prefixes (model., module.)
    #[arg(long = "init", value_name = "CHECKPOINT")]
    pub(crate) checkpoint: Option<PathBuf>,

    /// Loads what fits, though tensors are missing, too many or of another shape: another head
    #[arg(long = "init-partial", requires = "checkpoint")]
    partial: bool,

    /// Only tensors whose names begin so, by what follows: student. (the dot may be left out)
    #[arg(long = "init-prefix", value_name = "PREFIX", requires = "checkpoint")]
    prefix: Option<String>,

    /// Only tensors of these names, those in the model or in the checkpoint: patterns, with ! to leave out: !head.*
    #[arg(long = "init-filter", value_name = "NAMES", requires = "checkpoint", allow_hyphen_values = true)]
    filter: Option<Filter>,

    /// Key of the state dict in the checkpoint, where it is none of the usual: model_ema
    #[arg(long = "init-key", value_name = "KEY", requires = "checkpoint")]
    key: Option<String>,

    /// Epsilon of BatchNorm layers that the model's exporter folded and the checkpoint has [default: 1e-5]
    #[arg(
        long = "init-norm-epsilon",
        value_name = "VALUE",
        requires = "checkpoint",
        allow_negative_numbers = true
    )]
    norm_epsilon: Option<f64>,
}

impl InitArguments {
    /// Loads the checkpoint that was given, if any: its message goes to stdout before the weights are applied, what went
    /// where to stderr. Gives both for a report in JSON, instead of the line on stdout.
    pub(crate) fn load(
        &self,
        step: &mut TrainStep,
        as_json: bool,
        arguments: &Arguments,
    ) -> Result<Option<Value>> {
        let Some(path) = &self.checkpoint else { return Ok(None) };
        let mut open = OpenOptions::default();
        open.key.clone_from(&self.key);
        let checkpoint = Checkpoint::open_with(path, &open)?;
        let message = checkpoint.origin().message();
        if !message.is_empty() && !as_json {
            out::line(printable(&message))?;
        }
        let options = self.options();
        let report = step.load_checkpoint(&checkpoint, &options).inspect_err(|error| {
            // The error has the first names of each kind.
            if error.kind() == ErrorKind::Mismatch
                && arguments.verbose > 0
                && let Ok(report) = step.survey_checkpoint(&checkpoint, &options)
            {
                tell(&report);
            }
        })?;
        summary(&report, arguments);
        Ok(Some(json!({ "message": message, "report": report })))
    }

    fn options(&self) -> MappingOptions {
        let mut options = MappingOptions::default();
        options.partial = self.partial;
        options.prefix.clone_from(&self.prefix);
        if let Some(filter) = &self.filter {
            options.filter = filter.clone();
        }
        options.norm_epsilon = self.norm_epsilon.unwrap_or(options.norm_epsilon);
        options
    }
}

/// What went where on stderr: counts and the first names of each kind that fits nowhere, all of them with -v.
pub(crate) fn summary(report: &Report, arguments: &Arguments) {
    match arguments.verbose {
        _ if arguments.quiet => {}
        0 => {
            out::message(printable(&report.counts()));
            if !report.is_complete() {
                out::message(printable(&report.unfit()));
            }
        }
        _ => tell(report),
    }
}

/// All names of a report on stderr.
pub(crate) fn tell(report: &Report) {
    report.to_string().lines().for_each(|line| out::message(printable(line)));
}
