//! `glebe evaluate`: labelled rasters in, metrics out.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use glebe::data::{Dataset, ListItem, Split, read_list};
use glebe::file::StagedFile;
use glebe::model::Model;
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::segment::{Evaluation, Progress, Segmenter};
use glebe::{Error, Result};

use crate::args::Arguments;
use crate::interrupt;
use crate::labels::LabelArguments;
use crate::out::{self, printable};
use crate::output_file::{self, same_place};
use crate::progress::Display;
use crate::score_table;
use crate::scoring::ScoringArguments;

/// What is compared with what, and where the numbers go.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    /// The ONNX model
    model: PathBuf,

    /// "IMAGE;LABELS", or a list: a file of lines image;labels or raster,vector,split. May be given several times
    #[arg(long, required = true, value_name = "LIST", help_heading = "Data")]
    data: Vec<String>,

    /// Folder that paths of the data are relative to [default: each list's own]
    #[arg(long, value_name = "FOLDER", help_heading = "Data")]
    root: Option<PathBuf>,

    /// Part of the data, in lists that say which a line is for: train, val, test
    #[arg(long, value_name = "PART", default_value = "test", help_heading = "Data")]
    split: Split,

    #[command(flatten)]
    labels: LabelArguments,

    #[command(flatten)]
    scoring: ScoringArguments,

    /// Write a table with a row for each image and class
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    csv: Option<PathBuf>,

    /// Write counts and scores, what was done, and how fast, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    report: Option<PathBuf>,

    /// Print counts and scores as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Replace files that exist
    #[arg(long, help_heading = "Output")]
    overwrite: bool,
}

/// Scores all images, prints the table, then writes the files.
pub(crate) fn run(own: &EvaluateArguments, global: &Arguments) -> Result<()> {
    let token = interrupt::token()?;
    let options = own.scoring.options()?;
    options.check()?;
    let items = items(own)?;
    check_places(own, &items)?;
    let reserve =
        |path: &Option<PathBuf>| path.as_ref().map(|path| StagedFile::new(path, own.overwrite)).transpose();
    let (csv, report) = (reserve(&own.csv)?, reserve(&own.report)?);

    let mut runtime_options = RuntimeOptions::default();
    if let Some(path) = &global.runtime {
        runtime_options = runtime_options.library(path);
    }
    let runtime = Runtime::load(&runtime_options)?;
    let model = Model::open(&runtime, &own.model, &own.scoring.model())?;

    let names: Vec<String> = items.iter().map(|item| file_name(&item.image)).collect();
    let mut watch = Watch { names: &names, quiet: global.quiet, shown: None };
    let mut segmenter = Segmenter::new(&model, options)?.cancel_with(&token).on_progress(move |progress| {
        watch.update(progress);
        ControlFlow::Continue(())
    });
    let dataset = segmenter.dataset(items, &own.labels.options(), &own.scoring.files())?;
    if !own.json {
        out::line(format_args!("images  {}", dataset.images()))?;
    }
    let evaluation = segmenter.evaluate(&dataset, own.scoring.class_names.as_deref())?;
    drop(segmenter);

    if own.json {
        out::line(evaluation.to_json())?;
    } else {
        score_table::print(&evaluation)?;
    }
    if !global.quiet {
        hints(&evaluation, &dataset);
    }
    if let Some(file) = csv {
        output_file::write(file, &evaluation.to_csv()?, own.overwrite)?;
    }
    if let Some(file) = report {
        output_file::write(file, &evaluation.to_json_with_reports(), own.overwrite)?;
    }
    Ok(())
}

fn items(own: &EvaluateArguments) -> Result<Vec<ListItem>> {
    let lists = own.data.iter().map(|text| read_list(text, own.root.as_deref(), own.split));
    Ok(lists.collect::<Result<Vec<_>>>()?.concat())
}

/// Nothing that is written may be something that is read, or written twice.
fn check_places(own: &EvaluateArguments, items: &[ListItem]) -> Result<()> {
    for output in own.csv.iter().chain(&own.report) {
        let lists = own.data.iter().map(Path::new);
        let images = items.iter().flat_map(|item| [item.image.as_path(), item.labels.as_path()]);
        if lists.chain(images).chain([own.model.as_path()]).any(|input| same_place(input, output)) {
            return Err(Error::invalid("input and output are the same file").at_path(output));
        }
    }
    match (&own.csv, &own.report) {
        (Some(csv), Some(report)) if same_place(csv, report) => {
            Err(Error::invalid("table and report are the same file").at_path(report))
        }
        _ => Ok(()),
    }
}

/// What makes scores look other than they are.
fn hints(evaluation: &Evaluation, dataset: &Dataset) {
    let (counted, unlabelled) = (evaluation.pixels(), evaluation.unlabelled());
    if dataset.ignores_label_nodata() && unlabelled > counted {
        let share = 100.0 * unlabelled as f64 / (unlabelled + counted) as f64;
        out::message(format_args!(
            "hint: {share:.1} % of the pixels with data do not count: labels that are their file's nodata value are \
             ignored; where they are background, give --label-nodata background"
        ));
    }
    let mut told: Vec<&str> = Vec::new();
    for note in evaluation.images.iter().flat_map(|image| &image.report.notes) {
        if !told.contains(&note.as_str()) {
            told.push(note);
            out::message(format_args!("note: {note}"));
        }
    }
}

fn file_name(path: &Path) -> String {
    printable(&path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()))
}

/// The progress of the image at work.
struct Watch<'a> {
    names: &'a [String],
    quiet: bool,
    shown: Option<(usize, Display)>,
}

impl Watch<'_> {
    fn update(&mut self, progress: &Progress) {
        if self.shown.as_ref().is_none_or(|(image, _)| *image != progress.image) {
            self.finish();
            let name = self.names.get(progress.image).map_or("", String::as_str);
            self.shown = Some((progress.image, Display::new(name, self.quiet)));
        }
        if let Some((_, display)) = &mut self.shown {
            display.update(progress);
        }
    }

    fn finish(&self) {
        if let Some((_, display)) = &self.shown {
            display.finish();
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}
