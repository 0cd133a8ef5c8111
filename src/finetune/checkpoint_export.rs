//! A model with the weights of a checkpoint, as a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::autodiff::adapter::Adapter;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{StagedFile, same_file};
use crate::finetune::checkpoint::fingerprint;
use crate::finetune::export::{NOTE_KEY, with_elements};
use crate::finetune::initial::LoadOptions;
use crate::finetune::layout::{Layout, check_range, no_limits};
use crate::finetune::merge::merged;
use crate::finetune::step_export::write;
use crate::model::{Contract, Normalisation, Tags};
use crate::onnx::{Document, Facts, Limits, with_metadata};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::mapping::{Mapping, Slot};
use crate::weights::report::Report;
use crate::weights::tensors::Tensors;

/// What is exported: which weights of a checkpoint, and what the file is to say.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ExportOptions {
    /// How the checkpoint is read and matched with the model, also whether it is by its moving averages
    /// ([`OpenOptions::averages`](crate::weights::checkpoint::OpenOptions)).
    pub load: LoadOptions,
    /// What the file is to say about the rasters that it wants.
    pub tags: Tags,
    /// Divisor of the samples, in place of the one of `tags` or, without one there, of the model: one value or one a band.
    /// The rest of the normalisation stays, and all of it is written. So with `mean` and `std`.
    pub scale: Option<Vec<f64>>,
    /// Mean, taken off after scaling.
    pub mean: Option<Vec<f64>>,
    /// Standard deviation, divided by last.
    pub std: Option<Vec<f64>>,
    /// Alpha of the adapters (`lora:r=8:alpha=16`), where the checkpoint holds any and does not say what they are scaled
    /// by: files of [`TrainState::write`](crate::finetune::TrainState::write) of older versions, and lists of weights.
    pub lora_alpha: Option<f32>,
    /// The output that [`Tags`] are checked against; by default the first.
    pub output: Option<String>,
    /// What an untrusted model file may ask for.
    pub limits: Limits,
}

/// A model file that was made of a model and a checkpoint.
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Exported {
    /// The file.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// The line that says where the checkpoint comes from; empty where it does not say, and without one.
    pub message: String,
    /// What went where between checkpoint and model; factors of adapters are listed too.
    pub report: Option<Report>,
    /// Weights that have an adapter merged into them.
    pub merged: Vec<String>,
    /// The entries of the metadata that were written, by key.
    pub metadata: BTreeMap<String, String>,
}

impl std::fmt::Debug for Exported {
    /// The size instead of the bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exported")
            .field("bytes", &self.bytes.len())
            .field("message", &self.message)
            .field("merged", &self.merged)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// The model with the weights of a checkpoint, and with what the tags say in its metadata; without a checkpoint the tags
/// only. No runtime is needed. As [`TrainStep::export`](crate::finetune::TrainStep::export) everything else of the file
/// stays byte for byte, and elements in other files come into this one.
///
/// Checkpoints are those of [`Checkpoint`]; of a training of this library what it did not train is the model's own, its
/// adapters are merged, and the file gets the note [`NOTE_KEY`]. Weights from elsewhere take a note that is there away: it
/// would not be true of them.
///
/// ```no_run
/// use glebe::finetune::{ExportOptions, export};
/// use glebe::onnx::{Document, Limits};
/// use glebe::weights::checkpoint::Checkpoint;
///
/// let model = Document::open("unet.onnx", &Limits::default())?;
/// let checkpoint = Checkpoint::open("run/best.safetensors")?;
/// let mut options = ExportOptions::default();
/// options.tags.class_names = Some(vec!["land".into(), "water".into()]);
/// let made = export(&model, Some(&checkpoint), &options)?;
/// std::fs::write("water.onnx", &made.bytes).map_err(|error| glebe::Error::io("write", "water.onnx", error))?;
/// # Ok::<(), glebe::Error>(())
/// ```
///
/// # Errors
/// `InvalidArgument` where there is neither a checkpoint nor anything to write, and for numbers that the model's element
/// type cannot hold; `Mismatch` where checkpoint and model do not fit
/// ([`TrainStep::load_checkpoint`](crate::finetune::TrainStep::load_checkpoint)), and for a training that began from
/// another model file, unless [`MappingOptions::partial`](crate::weights::mapping::MappingOptions) or the checkpoint has
/// all of the weights; [`Tags::check`]; [`Contract::of`]; [`Checkpoint::read`]; `LimitExceeded` from 2 GiB on.
pub fn export(
    document: &Document,
    checkpoint: Option<&Checkpoint>,
    options: &ExportOptions,
) -> Result<Exported> {
    let tags = options.tags_for(document)?;
    tags.check_values()?;
    if checkpoint.is_none() && tags.is_empty() {
        return Err(Error::invalid("nothing to export: expected a checkpoint or something to write"));
    }
    if checkpoint.is_none() && (options.load != LoadOptions::default() || options.lora_alpha.is_some()) {
        return Err(Error::invalid("settings for a checkpoint, and no checkpoint"));
    }
    let mut entries = Vec::new();
    let mut removed = tags.replaced();
    let mut made = match checkpoint {
        None => Exported {
            bytes: with_elements(document, &[], &Tensors::new())?,
            message: String::new(),
            report: None,
            merged: Vec::new(),
            metadata: BTreeMap::new(),
        },
        Some(checkpoint) => {
            removed.push(NOTE_KEY);
            entries.extend(note(checkpoint, options).map(|note| (NOTE_KEY.to_owned(), note)));
            loaded(document, checkpoint, options)?
        }
    };
    entries.extend(tags.entries());
    made.bytes = with_metadata(&made.bytes, &entries, &removed)?;
    made.metadata = entries.into_iter().collect();
    // What others will find when they open it.
    let again = Document::from_bytes(made.bytes, &no_limits())?;
    tags.check(&contract(&again, options)?)?;
    let bytes = again.bytes().clone();
    // The last owner gives them back without a copy.
    drop(again);
    made.bytes = bytes.into();
    Ok(made)
}

/// [`export`] from files to a file, which appears as a whole or not at all.
///
/// # Errors
/// `AlreadyExists` for a file that is there unless `overwrite`; `InvalidArgument` where it is one of those that are read;
/// as [`Document::open`], [`Checkpoint::open_with`] and [`export`]; `Io`.
pub fn export_to(
    path: impl AsRef<Path>,
    model: impl AsRef<Path>,
    checkpoint: Option<&Path>,
    options: &ExportOptions,
    overwrite: bool,
) -> Result<Exported> {
    let (path, model) = (path.as_ref(), model.as_ref());
    if [Some(model), checkpoint].into_iter().flatten().any(|input| same_file(input, path)) {
        return Err(Error::invalid("input and output are the same file").at_path(path));
    }
    let staged = StagedFile::new(path, overwrite)?;
    let document = Document::open(model, &options.limits)?;
    if is_part_of(path, &document) {
        return Err(Error::invalid("the output holds weights of the model").at_path(path));
    }
    let checkpoint = checkpoint.map(|path| Checkpoint::open_with(path, &options.load.open)).transpose()?;
    let located = |error: Error| match error.path() {
        None => error.at_path(model),
        Some(_) => error,
    };
    let made = export(&document, checkpoint.as_ref(), options).map_err(located)?;
    write(staged, &made.bytes, overwrite)?;
    Ok(made)
}

/// What [`export`] would load, in full also where it would be an error that something is missing, too much or of another
/// shape.
///
/// # Errors
/// As [`Mapping::survey`] and [`Contract::of`].
pub fn survey_export(
    document: &Document,
    checkpoint: &Checkpoint,
    options: &ExportOptions,
) -> Result<Report> {
    let layout = Layout::of_any_size(document, &contract(document, options)?)?;
    let slots = with_factors(&layout, checkpoint);
    Ok(Mapping::survey(&slots, checkpoint, &options.load.mapping)?.report().clone())
}

impl ExportOptions {
    /// The tags, their normalisation completed by the model's own.
    fn tags_for(&self, document: &Document) -> Result<Tags> {
        let mut tags = self.tags.clone();
        if self.scale.is_none() && self.mean.is_none() && self.std.is_none() {
            return Ok(tags);
        }
        let own = match (&tags.normalisation, &self.scale, &self.mean, &self.std) {
            (Some(own), ..) => own.clone(),
            // A file whose own cannot be read gets another.
            (None, Some(_), Some(_), Some(_)) => Normalisation::default(),
            _ => contract(document, self)?.normalisation().clone(),
        };
        let pick = |given: &Option<Vec<f64>>, own: &[f64]| given.clone().unwrap_or_else(|| own.to_vec());
        let (scale, mean, std) =
            (pick(&self.scale, own.scale()), pick(&self.mean, own.mean()), pick(&self.std, own.std()));
        tags.normalisation = Some(Normalisation::new(scale, mean, std)?);
        Ok(tags)
    }
}

fn contract(document: &Document, options: &ExportOptions) -> Result<Contract> {
    Contract::of(document, &Facts::of(document), options.output.as_deref())
}

/// Whether a path is one of the files that hold the model's weights.
fn is_part_of(path: &Path, document: &Document) -> bool {
    let Some(folder) = document.folder() else { return false };
    let external = document.graph().initializer.iter().filter(|tensor| tensor.is_external());
    let mut entries = external.flat_map(|tensor| &tensor.external_data);
    entries.any(|entry| entry.key == "location" && same_file(folder.join(&entry.value), path))
}

/// What the file says of the training that its weights are of.
fn note(checkpoint: &Checkpoint, options: &ExportOptions) -> Option<String> {
    let updates = checkpoint.metadata().get(TRAIN_STATE).and(checkpoint.metadata().get("updates"))?;
    let averages = if options.load.open.averages { ", moving averages" } else { "" };
    Some(format!("{updates} updates{averages}"))
}

/// Keys of a training state's metadata.
const TRAIN_STATE: &str = "glebe.train_state";
const ADAPTER_SCALE: &str = "adapter_scale";
const MODEL: &str = "model";

/// Suffixes of an adapter's factors.
const FACTORS: [&str; 2] = [".lora_A", ".lora_B"];

/// The model with the checkpoint's weights, and what went where.
fn loaded(document: &Document, checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Exported> {
    let layout = Layout::of_any_size(document, &contract(document, options)?)?;
    let slots = with_factors(&layout, checkpoint);
    let located = |error: Error| error.at_path(checkpoint.path());
    let mapping = Mapping::new(&slots, checkpoint, &options.load.mapping)?;
    let adapted = adapted(mapping.report());
    let is_whole = mapping.report().kept == 0 && adapted.is_empty();
    if !is_whole && !options.load.mapping.partial {
        check_model(document, checkpoint).map_err(located)?;
    }
    let mut weights = mapping.read(checkpoint)?;
    let scale = adapter_scale(checkpoint, options).map_err(located)?;
    let adapters = adapted.iter().map(|name| adapter(&layout, name, &weights, scale));
    let adapters = adapters.collect::<Result<Vec<_>>>().map_err(located)?;
    // What is loaded is what a factor is beside, where the checkpoint has both.
    let (bases, adapters): (Vec<_>, Vec<_>) =
        adapters.into_iter().map(|own| (own.weight.clone(), own)).unzip();
    if let Some(name) = bases.iter().find(|name| weights.contains_key(*name)) {
        let message =
            "the checkpoint has both the weight and an adapter beside it: which was trained cannot be told";
        return Err(located(Error::new(ErrorKind::Mismatch, message).at_tensor(name)));
    }
    weights = merged(&adapters, weights)?;
    check_range(document, &layout.untied, &weights).map_err(located)?;
    Ok(Exported {
        bytes: with_elements(document, &layout.untied, &weights)?,
        message: checkpoint.origin().message(),
        report: Some(mapping.report().clone()),
        merged: bases,
        metadata: BTreeMap::new(),
    })
}

/// The tensors of the model, and the factors of adapters that the checkpoint has beside them.
fn with_factors(layout: &Layout, checkpoint: &Checkpoint) -> Vec<Slot> {
    let factors = layout.slots.iter().flat_map(|slot| FACTORS.map(|suffix| format!("{}{suffix}", slot.name)));
    let found = factors.filter_map(|name| checkpoint.tensor(&name));
    let found: Vec<Slot> = found.map(|tensor| Slot::new(tensor.name.clone(), &tensor.shape)).collect();
    [&layout.slots[..], &found].concat()
}

/// Names of the weights that factors were found for.
fn adapted(report: &Report) -> BTreeSet<String> {
    let factors = report.loaded.iter().filter_map(|loaded| {
        FACTORS.iter().find_map(|suffix| loaded.slot.strip_suffix(suffix)).map(str::to_owned)
    });
    factors.collect()
}

/// What adapters are scaled by.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// As the checkpoint says.
    Known(f32),
    /// By this alpha over their rank.
    Alpha(f32),
    Unknown,
}

fn adapter_scale(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<Scale> {
    if let Some(alpha) = options.lora_alpha
        && !(alpha.is_finite() && alpha > 0.0)
    {
        return Err(Error::invalid(format!("expected an alpha above 0 for the adapters, got {alpha}")));
    }
    match (checkpoint.metadata().get(ADAPTER_SCALE), options.lora_alpha) {
        (None, None) => Ok(Scale::Unknown),
        (None, Some(alpha)) => Ok(Scale::Alpha(alpha)),
        (Some(_), Some(_)) => Err(Error::invalid(
            "the checkpoint says what its adapters are scaled by: expected no alpha for them",
        )),
        (Some(text), None) => match text.parse() {
            Ok(scale) if f32::is_finite(scale) => Ok(Scale::Known(scale)),
            _ => Err(Error::invalid(format!("the state's {ADAPTER_SCALE:?} is {text:?}"))),
        },
    }
}

/// The adapter beside a weight of the model, by the shapes of its factors `[P, r]` and `[r, Q]`.
fn adapter(layout: &Layout, name: &str, weights: &Tensors, scale: Scale) -> Result<Adapter> {
    let wrong = |message: String| Error::new(ErrorKind::Mismatch, message).at_tensor(name);
    let base = layout.elements(name).ok_or_else(|| Error::internal("a weight without elements"))?.clone();
    let names = FACTORS.map(|suffix| format!("{name}{suffix}"));
    let [Some(a), Some(b)] = names.each_ref().map(|name| weights.get(name).map(|own| &own.shape[..])) else {
        return Err(wrong("the adapter has one of its two factors only".into()));
    };
    let fits = |left: &[usize], right: &[usize]| match (left, right, &base.kind().shape[..]) {
        ([p, rank, left @ ..], [r, q, right @ ..], [rows, columns, rest @ ..]) => {
            (p, q, rank) == (rows, columns, r) && *rank > 0 && left == rest && right == rest
        }
        _ => false,
    };
    let (left, right) = match (fits(a, b), fits(b, a)) {
        (true, false) => (0, 1),
        (false, true) => (1, 0),
        (true, true) => {
            let message =
                "the factors of the adapter are as square as the weight: which comes first cannot be told";
            return Err(wrong(message.into()));
        }
        (false, false) => {
            let shape = &base.kind().shape;
            return Err(wrong(format!("factors {a:?} and {b:?} do not make a weight of shape {shape:?}")));
        }
    };
    let rank = [a, b][left][1];
    let scale = match scale {
        Scale::Known(scale) => scale,
        Scale::Alpha(alpha) => alpha / rank as f32,
        Scale::Unknown => {
            let message = "the checkpoint does not say what its adapters are scaled by: expected their alpha";
            return Err(Error::invalid(message).at_tensor(name));
        }
    };
    let [left, right] = [left, right].map(|at| names[at].clone());
    Ok(Adapter { weight: name.to_owned(), base, left, right, scale })
}

/// That what a training did not change is that of the model it began from, where it says which: its file, or this with
/// another note or other tags.
fn check_model(document: &Document, checkpoint: &Checkpoint) -> Result<()> {
    let metadata = checkpoint.metadata();
    let Some(own) = metadata.get(TRAIN_STATE).and(metadata.get(MODEL)) else { return Ok(()) };
    if *own == fingerprint(document.bytes()) {
        return Ok(());
    }
    let keys = document.model().metadata_props.iter().map(|entry| entry.key.as_str());
    let keys: Vec<&str> = keys.filter(|key| key.starts_with("glebe.")).collect();
    if *own == fingerprint(&with_metadata(document.bytes(), &[], &keys)?) {
        return Ok(());
    }
    let message = "the training began from another model file than this, and the checkpoint holds a part of the \
                   weights only: export to the file that it began from, or load in part";
    Err(Error::new(ErrorKind::Mismatch, message))
}
