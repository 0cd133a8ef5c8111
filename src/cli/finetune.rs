//! `glebe finetune`: labelled rasters and a model in, a better model out.

use std::io::IsTerminal as _;
use std::time::Instant;

use glebe::data::{Found, Sampling};
use glebe::file::StagedFile;
use glebe::finetune::{FinetuneReport, Finetuning, Preflight};
use glebe::hooks::builtin::ProgressBar;
use glebe::hooks::{Callback, Callbacks, Context};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::{Error, ErrorKind, Result};

use crate::args::Arguments;
use crate::finetune_args::FinetuneArguments;
use crate::interrupt;
use crate::out::{self, printable};
use crate::preflight::mib;
use crate::table::Table;

/// Finetunes, and prints what was found, what is trained, and what came of it.
pub(crate) fn run(options: &FinetuneArguments, arguments: &Arguments) -> Result<()> {
    let token = interrupt::token()?;
    let config = options.configuration()?;
    // Told before hours of work, not after.
    config.check_out(options.resume)?;
    let report_file =
        options.report.as_ref().map(|path| StagedFile::new(path, options.resume)).transpose()?;
    let mut runtime_options = RuntimeOptions::default();
    if let Some(path) = &arguments.runtime {
        runtime_options = runtime_options.library(path);
    }
    let runtime = Runtime::load(&runtime_options)?;
    let mut finetuning = Finetuning::new(&runtime, config)?;
    // Looking through the data does not stop for it, but nothing is begun any more.
    token.check()?;
    finetuning.check_metrics()?;
    finetuning.cancel_with(&token)?;
    finetuning.resume(options.resume);
    let is_told = !options.json && !arguments.quiet;
    if is_told {
        show(&finetuning)?;
    }
    let mut callbacks = Callbacks::new();
    if !arguments.quiet {
        if finetuning.found().val.is_none() {
            out::message(
                "note: there are no validation data (--val, --val-fraction): the last weights are kept",
            );
        }
        if std::io::stderr().is_terminal() {
            callbacks.add(ProgressBar::new());
        } else {
            callbacks.add(EpochLines { started: Instant::now() });
        }
    }
    let folder = finetuning.config().out.clone().unwrap_or_default();
    let report = finetuning.run(callbacks).inspect_err(|error| {
        if error.kind() == ErrorKind::Cancelled && !arguments.quiet {
            out::message(format_args!(
                "note: go on with: glebe finetune --resume --out {}",
                folder.display()
            ));
        }
    })?;
    let text = serde_json::to_string_pretty(&report)
        .map_err(|error| Error::internal("cannot write JSON").caused_by(error))?;
    if let Some(staged) = report_file {
        let failed = |error| Error::io("write", staged.target(), error);
        std::fs::write(staged.path(), &text).map_err(failed)?;
        staged.commit(options.resume)?;
    }
    match (options.json, is_told) {
        (true, _) => out::line(text),
        (false, true) => summary(&report),
        (false, false) => Ok(()),
    }
}

/// What was found, then what is trained.
fn show(finetuning: &Finetuning) -> Result<()> {
    let found = finetuning.found();
    let config = finetuning.config();
    let mut table = Table::default();
    let names = &config.data.class_names;
    let [height, width] = finetuning.preflight().size;
    let is_grid = config.sampling.kind == Sampling::Grid;
    table.row("training", described(&found.train, names, [height, width], is_grid));
    for (name, part) in [("validation", &found.val), ("test", &found.test)] {
        let shown = part.as_ref().map(|own| described(own, names, [height, width], true));
        table.row(name, shown.unwrap_or_else(|| "none".to_owned()));
    }
    let Preflight { trained_elements, frozen_elements, params, loss, optimizer, batch_norm, .. } =
        finetuning.preflight();
    let all = trained_elements + frozen_elements;
    table.row("trained", format!("{trained_elements} of {all} numbers ({params}), BatchNorm {batch_norm}"));
    table.row("input", finetuning.input());
    table.row("with", format!("{loss}, {optimizer}, learning rate {}", config.training.learning_rate));
    if let Some(memory) = &finetuning.preflight().memory {
        table.row("memory", format!("{}, predicted for the CPU provider", mib(memory.peak)));
    }
    table.row("length", length(finetuning));
    if let Some(out) = &config.out {
        table.row("folder", out.display());
    }
    if let Some((message, report)) = finetuning.init() {
        if !message.is_empty() {
            table.row("start", printable(message));
        }
        table.row("start", printable(&report.counts()));
    }
    table.print()
}

/// Steps and epochs.
fn length(finetuning: &Finetuning) -> String {
    let (epochs, each) = finetuning.length();
    let steps = finetuning.config().training.steps.unwrap_or(epochs * each);
    let last = if steps < epochs * each { ", the last shorter" } else { "" };
    format!(
        "{} in {} of {each}{last}; {} a batch",
        plural(steps, "step"),
        plural(epochs, "epoch"),
        plural(finetuning.preflight().batch as u64, "image")
    )
}

fn plural(count: impl Into<u64>, word: &str) -> String {
    let count = count.into();
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn described(found: &Found, names: &[String], [height, width]: [usize; 2], is_grid: bool) -> String {
    let mut text = format!(
        "{} an epoch, from {} in {} of {height} x {width} (height x width)",
        plural(found.samples as u64, "sample"),
        plural(found.images as u64, "image"),
        plural(found.windows as u64, if is_grid { "window" } else { "block" }),
    );
    for (count, why) in [(found.without_labels, "without labels"), (found.too_few, "annotated too little")] {
        if count > 0 {
            text.push_str(&format!(", {count} left out {why}"));
        }
    }
    let all: u64 = found.class_pixels.iter().sum();
    let shares: Vec<String> = found
        .class_pixels
        .iter()
        .enumerate()
        .filter(|(_, pixels)| **pixels > 0)
        .take(12)
        .map(|(class, pixels)| {
            let name = names.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
            format!("{name} {:.1} %", 100.0 * *pixels as f64 / all.max(1) as f64)
        })
        .collect();
    text.push('\n');
    text.push_str(&printable(&shares.join(", ")));
    text
}

/// A line an epoch.
#[derive(Debug)]
struct EpochLines {
    started: Instant,
}

impl Callback for EpochLines {
    fn epoch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let mut line = format!("epoch {} of {}:", context.state.epoch, context.state.epochs);
        for (name, shown) in
            [("train/Loss", "loss"), ("val/Loss", "validation loss"), ("val/MeanIoU", "mean IoU")]
        {
            if let Some(value) = context.metric(name) {
                line.push_str(&format!(" {shown} {value:.4},"));
            }
        }
        out::message(format_args!("{line} {:.1} s so far", self.started.elapsed().as_secs_f64()));
        Ok(())
    }
}

fn summary(report: &FinetuneReport) -> Result<()> {
    let mut table = Table::default();
    if !report.checkpoint.is_empty() {
        table.row("weights", printable(&report.checkpoint));
    }
    if let Some((name, value)) = &report.best {
        table.row("best", format!("{name} {value:.4}"));
    }
    if let Some(metrics) = &report.test {
        table.row("test, windows", scores(metrics));
    }
    for (name, metrics) in [("validation, maps", &report.maps.val), ("test, maps", &report.maps.test)] {
        if let Some(metrics) = metrics {
            table.row(name, scores(metrics));
        }
    }
    let share = 100.0 * report.wait_s / report.fit_s.max(1e-9);
    let time = format!(
        "{} in all; this time {:.1} s, {share:.1} % of it waiting for data",
        plural(report.steps, "step"),
        report.fit_s
    );
    table.row("done", time);
    table.row("model", report.model.display());
    table.print()
}

/// Loss, accuracy, mean IoU and the IoU of up to 12 classes.
fn scores(metrics: &[(String, f64)]) -> String {
    let main = metrics.iter().filter(|(name, _)| ["Loss", "Accuracy", "MeanIoU"].contains(&name.as_str()));
    let is_class = |name: &str| name.starts_with("IoU/") && !["IoU/macro", "IoU/micro"].contains(&name);
    let classes = metrics.iter().filter(|(name, value)| is_class(name) && !value.is_nan()).take(12);
    let shown: Vec<String> = main.chain(classes).map(|(name, value)| format!("{name} {value:.4}")).collect();
    printable(&shown.join(", "))
}
