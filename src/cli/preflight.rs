//! `glebe inspect MODEL --params LIST`: what training it would mean.

use std::collections::BTreeMap;
use std::path::Path;

use glebe::autodiff::{BatchNorm, Optimizer, StepOptions, Support};
use glebe::finetune::{self, Measured, Memory, Preflight, RunOptions, Tensor};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::{Document, Facts};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::{Error, Result};
use serde_json::Value;

use crate::args::{Arguments, TrainingArguments};
use crate::table::Table;

/// Lines of a list without `-v`.
const SHOWN: usize = 12;

/// What was found, and what was measured if asked for.
pub(crate) struct Report {
    preflight: Preflight,
    measured: Option<Measured>,
}

impl Report {
    pub(crate) fn of(
        path: &Path,
        document: &Document,
        facts: &Facts,
        training: &TrainingArguments,
        arguments: &Arguments,
    ) -> Result<Report> {
        let options = step_options(facts, training);
        warn_without_batch_norm(facts, training.bn);
        let preflight = Preflight::of(document, &options).map_err(|error| error.at_path(path))?;
        let mut measured = None;
        if training.measure && preflight.problems.is_empty() {
            let mut runtime = RuntimeOptions::default();
            if let Some(path) = &arguments.runtime {
                runtime = runtime.library(path);
            }
            let model = Model::open(&Runtime::load(&runtime)?, path, &ModelOptions::default())?;
            let mut run = RunOptions::default();
            run.session.threads = training.threads;
            measured = Some(finetune::measure(&model, &options, &run)?);
        }
        Ok(Report { preflight, measured })
    }

    /// The refusal of a model that cannot be trained so.
    pub(crate) fn checked(&self, path: &Path) -> Result<()> {
        self.preflight.refusal().map_or(Ok(()), |error| Err(error.at_path(path)))
    }

    /// The object `training`.
    pub(crate) fn json(&self) -> Result<Value> {
        let cannot = |error| Error::internal("cannot write JSON").caused_by(error);
        let mut value = serde_json::to_value(&self.preflight).map_err(cannot)?;
        if let (Some(object), Some(measured)) = (value.as_object_mut(), &self.measured) {
            object.insert("measured".into(), serde_json::to_value(measured).map_err(cannot)?);
        }
        Ok(value)
    }

    /// The summary, and the lists: all of them in full where `verbose`.
    pub(crate) fn print(&self, path: &Path, verbose: bool) -> Result<()> {
        let Preflight { problems, trained, frozen, unsupported, .. } = &self.preflight;
        self.summary(path)?;
        list("problems", problems.iter().map(String::clone).collect(), verbose)?;
        let nodes = unsupported.iter().map(|own| format!("{} {}  ({})", own.op, own.node, own.path));
        list("no gradient through", nodes.collect(), verbose)?;
        list("trained", trained.iter().map(tensor).collect(), verbose)?;
        if !verbose {
            return Ok(());
        }
        list("frozen", frozen.iter().map(tensor).collect(), true)?;
        let nodes = self.preflight.nodes.iter();
        list(
            "nodes",
            nodes.map(|own| format!("{:11}  {} {}", own.support.name(), own.op, own.name)).collect(),
            true,
        )
    }

    fn summary(&self, path: &Path) -> Result<()> {
        let own = &self.preflight;
        let mut table = Table::default();
        table.row("file", path.display());
        table.row("can be trained", if own.problems.is_empty() { "yes" } else { "no" });
        let [height, width] = own.size;
        let with = format!("{}, {}, batch norm {}", own.loss, own.optimizer, own.batch_norm);
        table.row("asked for", format!("{}; {} x {height} x {width}; {with}", own.params, own.batch));
        let all = (own.trained_elements + own.frozen_elements).max(1);
        let share = 100.0 * own.trained_elements as f64 / all as f64;
        let numbers = |elements: usize, tensors: usize| {
            format!("{elements} numbers in {tensors} tensor{}", if tensors == 1 { "" } else { "s" })
        };
        table.row("trained", format!("{} ({share:.2} %)", numbers(own.trained_elements, own.trained.len())));
        table.row("frozen", numbers(own.frozen_elements, own.frozen.len()));
        if !own.nodes.is_empty() {
            let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
            for node in own.nodes.iter().filter(|node| node.support != Support::Frozen) {
                *kinds.entry(node.support.name()).or_default() += 1;
            }
            let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
            let (all, path) = (own.nodes.len(), own.backward_nodes);
            table.row("nodes", format!("{all}, of which {path} on the backward path{kinds}"));
        }
        if let Some(memory) = &own.memory {
            memory_rows(&mut table, memory);
        }
        if let Some(measured) = &self.measured {
            let Measured { build_ms, first_step_ms, step_ms, .. } = measured;
            let text = format!("{step_ms:.1} ms (the first {first_step_ms:.1}, building {build_ms:.0})");
            table.row("step, measured", text);
            if let Some(peak) = measured.peak_rss_bytes {
                table.row("peak, measured", mib(peak));
            }
        }
        table.print()
    }
}

/// Says so where a mode of BatchNormalization is asked for and the model has none of it.
pub(crate) fn warn_without_batch_norm(facts: &Facts, mode: BatchNorm) {
    if mode != BatchNorm::Frozen && !facts.operators.contains_key("BatchNormalization") {
        crate::out::message(format!(
            "warning: --bn {mode} changes nothing: the model has no BatchNormalization (exporters fold it into \
             convolutions unless told otherwise)"
        ));
    }
}

fn memory_rows(table: &mut Table, memory: &Memory) {
    let text = format!("{}, predicted for the CPU provider", mib(memory.peak));
    table.row("peak memory", text);
    table.row("weights", mib(memory.weights));
    table.row("gradients", mib(memory.gradients));
    table.row("optimizer", mib(memory.optimizer));
    let text = format!("{}, kept for the backward pass", mib(memory.activations));
    table.row("activations", text);
}

pub(crate) fn mib(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        small if small < 0.1 => format!("{:.1} KiB", small * 1024.0),
        large => format!("{large:.1} MiB"),
    }
}

fn tensor(own: &Tensor) -> String {
    let alias = if own.alias == own.name { String::new() } else { format!(" ({})", own.alias) };
    format!("{:10}  {}{alias} {:?}", own.role, own.name, own.shape)
}

fn list(title: &str, lines: Vec<String>, all: bool) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let count = if all { lines.len() } else { SHOWN.min(lines.len()) };
    crate::out::line(format_args!("\n{title}:"))?;
    for line in &lines[..count] {
        crate::out::line(format_args!("  {line}"))?;
    }
    match lines.len() - count {
        0 => Ok(()),
        more => crate::out::line(format_args!("  and {more} more (-v lists all)")),
    }
}

/// Sizes that the command line leaves open are the file's own, else 4 images of 256 x 256.
fn step_options(facts: &Facts, training: &TrainingArguments) -> StepOptions {
    let own = |axis: usize| {
        let shape = facts.inputs.first().and_then(|port| port.shape.as_ref())?;
        shape.get(axis)?.fixed().and_then(|size| usize::try_from(size).ok())
    };
    let size = training.size.unwrap_or_else(|| [own(2).unwrap_or(256), own(3).unwrap_or(256)]);
    let batch = training.batch.unwrap_or_else(|| own(0).unwrap_or(4));
    let mut options = StepOptions::new(batch, size);
    if let Some(params) = &training.params {
        options.params = params.clone();
    }
    options.batch_norm = training.bn;
    options.loss = training.loss.clone();
    options.optimizer = Optimizer::new(training.optimizer);
    options.output = training.output.clone();
    options.auxiliary = training.aux_output.clone();
    options
}
