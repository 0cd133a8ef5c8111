//! `glebe segment`: rasters in, maps out.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use glebe::file::StagedFile;
use glebe::model::Model;
use glebe::runtime::{CancelToken, Runtime, RuntimeOptions};
use glebe::segment::{FileOptions, Report, SegmentOptions, Segmenter, work_folder};
use glebe::{Error, ErrorKind, Result};

use crate::args::{Arguments, SegmentArguments};
use crate::interrupt;
use crate::output_file::{self, same_place};
use crate::progress::Display;
use crate::table::Table;

/// Scores every input. With several, one that fails does not stop the others; the first error is the result.
pub(crate) fn run(arguments: &SegmentArguments, global: &Arguments) -> Result<()> {
    let token = interrupt::token()?;
    let options = options(arguments)?;
    options.check()?;
    let jobs = jobs(arguments)?;
    check_places(arguments, &jobs)?;
    let report_file = match &arguments.report {
        Some(path) => Some(StagedFile::new(path, arguments.overwrite)?),
        None => None,
    };
    let files = file_options(arguments);

    let mut runtime_options = RuntimeOptions::default();
    if let Some(path) = &global.runtime {
        runtime_options = runtime_options.library(path);
    }
    let runtime = Runtime::load(&runtime_options)?;
    let model = Model::open(&runtime, &arguments.model, &arguments.scoring.model())?;

    let names =
        arguments.scoring.class_names.as_deref().or(model.contract().class_names()).unwrap_or_default();
    let mut reports = Vec::new();
    let mut first_error = None;
    let mut done = 0;
    for (input, output) in &jobs {
        if jobs.len() > 1 && is_done(arguments, output) {
            crate::out::message(format_args!("{}: is there already", output.display()));
            done += 1;
            continue;
        }
        match score(&model, &options, &files, &token, input, output, global.quiet) {
            Ok(report) => {
                if !global.quiet {
                    summary(&report, names);
                }
                reports.push(report);
            }
            Err(error) if jobs.len() == 1 || error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => {
                crate::report(&error);
                first_error.get_or_insert(error);
            }
        }
    }
    if let Some(file) = report_file {
        write_reports(file, &reports, jobs.len() > 1, arguments.overwrite)?;
    }
    match first_error {
        None => Ok(()),
        // Each error has had its line; the last one sums up.
        Some(error) => Err(Error::new(
            error.kind(),
            format!("{} of {} rasters failed", jobs.len() - reports.len() - done, jobs.len()),
        )),
    }
}

/// Whether an earlier call that is resumed has brought this output to its end.
fn is_done(arguments: &SegmentArguments, output: &Path) -> bool {
    arguments.resume && !arguments.overwrite && output.is_file() && !work_folder(output).exists()
}

fn score(
    model: &Model,
    options: &SegmentOptions,
    files: &FileOptions,
    token: &CancelToken,
    input: &Path,
    output: &Path,
    quiet: bool,
) -> Result<Report> {
    let name = input.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut display = Display::new(&name, quiet);
    let report = Segmenter::new(model, options.clone())?
        .cancel_with(token)
        .on_progress(|progress| {
            display.update(progress);
            ControlFlow::Continue(())
        })
        .file(input, output, files);
    display.finish();
    report
}

/// Input and output of each job.
fn jobs(arguments: &SegmentArguments) -> Result<Vec<(PathBuf, PathBuf)>> {
    let out = &arguments.out;
    let names_folder = out.as_os_str().to_string_lossy().ends_with(std::path::MAIN_SEPARATOR);
    if let [input] = &arguments.inputs[..]
        && !out.is_dir()
        && !names_folder
    {
        return Ok(vec![(input.clone(), out.clone())]);
    }
    if !out.is_dir() {
        let end = out.extension().unwrap_or_default();
        let a_file = end.eq_ignore_ascii_case("tif") || end.eq_ignore_ascii_case("tiff");
        if out.exists() || (a_file && !names_folder) {
            return Err(Error::invalid("several inputs need a folder as output").at_path(out));
        }
        std::fs::create_dir_all(out).map_err(|error| Error::io("create the folder", out, error))?;
    }
    let mut seen = HashSet::new();
    let mut jobs = Vec::new();
    for input in &arguments.inputs {
        let stem = input.file_stem().map_or_else(|| "raster".into(), |stem| stem.to_string_lossy());
        let output = out.join(format!("{stem}.{}.tif", arguments.product));
        if !seen.insert(output.clone()) {
            return Err(
                Error::invalid("two inputs would have this output: score them in two calls").at_path(output)
            );
        }
        jobs.push((input.clone(), output));
    }
    Ok(jobs)
}

/// Nothing that is written may be something that is read, or written twice.
fn check_places(arguments: &SegmentArguments, jobs: &[(PathBuf, PathBuf)]) -> Result<()> {
    for output in jobs.iter().map(|(_, output)| output).chain(&arguments.report) {
        let mut read = arguments.inputs.iter().chain([&arguments.model]);
        if read.any(|file| same_place(file, output)) {
            return Err(Error::invalid("input and output are the same file").at_path(output));
        }
    }
    if let Some(report) = &arguments.report
        && jobs.iter().any(|(_, output)| same_place(report, output))
    {
        return Err(Error::invalid("output and report are the same file").at_path(report));
    }
    Ok(())
}

fn options(arguments: &SegmentArguments) -> Result<SegmentOptions> {
    let mut options = arguments.scoring.options()?;
    options.product = arguments.product;
    options.data_type = arguments.dtype;
    options.nodata = arguments.nodata;
    Ok(options)
}

fn file_options(arguments: &SegmentArguments) -> FileOptions {
    let mut files = arguments.scoring.files();
    files.format = arguments.format;
    files.compression = arguments.compress;
    files.level = arguments.level;
    files.overwrite = arguments.overwrite;
    files.resume = arguments.resume;
    files
}

/// A single job gives an object, several a list.
fn write_reports(file: StagedFile, reports: &[Report], list: bool, overwrite: bool) -> Result<()> {
    let text = match reports {
        [report] if !list => report.to_json(),
        reports => format!("[{}]", reports.iter().map(Report::to_json).collect::<Vec<_>>().join(",\n")),
    };
    output_file::write(file, &text, overwrite)
}

fn summary(report: &Report, names: &[String]) {
    let mut table = Table::default();
    if let Some(output) = &report.output {
        table.row("output", output.display());
    }
    let [width, height] = report.map_size;
    table.row("map", format!("{width} x {height}, {} {}", report.product, report.data_type));
    if let Some(shares) = report.class_shares(names) {
        table.row("classes", shares);
    }
    let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    table.row(
        "normalised",
        format!("(x / {} - {}) / {}", list(&report.scale), list(&report.mean), list(&report.std)),
    );
    table.row(
        "tiles",
        format!(
            "{} of {} x {}, overlap {}, blend {}{}",
            report.tiles,
            report.tile,
            report.tile_height,
            report.overlap,
            report.blend,
            [(report.tiles_skipped, "without data skipped"), (report.tiles_resumed, "done before")]
                .into_iter()
                .filter(|(tiles, _)| *tiles > 0)
                .map(|(tiles, what)| format!(", {tiles} {what}"))
                .collect::<String>()
        ),
    );
    table.row(
        "time",
        format!(
            "{:.2} s ({:.2} Mpx/s): setup {:.2}, model {:.2}, reading {:.2}, placing {:.2}, file {:.2}; busiest: {}",
            report.wall_s,
            report.mpx_per_s,
            report.setup_s,
            report.model_s,
            report.read_s + report.prepare_s,
            report.place_s + report.write_s,
            report.finish_s,
            report.bottleneck
        ),
    );
    if let Some(peak) = report.peak_rss_mib {
        table.row(
            "memory",
            format!(
                "peak {peak:.0} MiB; data: expected at most {:.0} of {:.0} MiB",
                report.memory_predicted_mib, report.memory_budget_mib
            ),
        );
    }
    if let Some(share) = report.label_agreement {
        let pixels = report.label_pixels as f64 / 1e6;
        table.row(
            "precision",
            format!("{}: {:.3} % of {pixels:.2} Mpx get the same label", report.precision, 100.0 * share),
        );
    }
    if report.product != "logits" {
        table.row("activation", &report.activation);
    }
    for note in &report.notes {
        table.row("note", note);
    }
    // The map is there, whatever becomes of these lines.
    if let Err(error) = table.print() {
        crate::report(&error);
    }
}
