//! Full-size networks against three steps of PyTorch, with BatchNorm frozen and in training.
//!
//! `tests/golden/parity` has no weights but what calibrates a network: most are generated here as its script generates
//! them ([`crate::generated`]), and so are images and labels. Of PyTorch's gradients, hundreds of megabytes, it has of
//! every parameter the norm, projections on four vectors of random signs, and some entries. The root mean square of the
//! projections of a difference estimates its L2 norm, whatever the difference is like. What is what in the files:
//! `tests/golden/parity/make.py`. The batches are such that float32's rounding decides nothing, so no error is allowed
//! for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use glebe::autodiff::{BatchNorm, Optimizer, OptimizerKind, StepOptions};
use glebe::finetune::{Batch, Labels, TrainStep};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::proto::ModelProto;
use glebe::weights::tensors::{Elements, Tensors};
use prost::Message as _;

use crate::generated::{PLACES, Recipe, batch, checksum, places, projections};
use crate::golden::{Array, Golden, runtime};
use crate::networks::{bands, run_options};

/// Error of a gradient, by its projections and of its norm.
const GRADIENT: f64 = 1e-4;
/// Error of an entry, in root mean squares of the gradient: rounding is not spread evenly over a gradient's entries.
const ENTRY: f64 = 1e-3;
/// Relative error of a loss.
const LOSS: f64 = 1e-4;
/// Error of running means and deviations after a step, in the channels' deviations.
const STATISTICS: f64 = 1e-5;

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parity");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")).collect();
    found.sort();
    found
}

fn short(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// The model of a skeleton, and the checksum of what was generated: an initializer's text says how.
fn filled(path: &Path) -> (ModelProto, u64) {
    let mut model = ModelProto::decode(&*std::fs::read(path).unwrap()).unwrap();
    let mut sum = 0u64;
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        let Some(recipe) = Recipe::read(&tensor.doc_string) else { continue };
        let count = tensor.dims.iter().product::<i64>() as usize;
        let values = recipe.weights(&tensor.name, count);
        sum = sum.wrapping_add(checksum(&values));
        tensor.raw_data = Some(values.iter().flat_map(|value| value.to_le_bytes()).collect());
        tensor.doc_string.clear();
    }
    (model, sum)
}

/// Number of images and pixels of a side.
fn extent(golden: &Golden) -> (usize, usize) {
    (golden.note("count").parse().unwrap(), golden.note("size").parse().unwrap())
}

fn options(golden: &Golden, norms: BatchNorm) -> StepOptions {
    let (count, size) = extent(golden);
    let mut options = StepOptions::new(count, [size, size]);
    options.params = golden.note("params").parse().unwrap();
    options.batch_norm = norms;
    options.loss = golden.note("loss").parse().unwrap();
    if !options.loss.is_regression() {
        options.loss.ignore_index = Some(255);
    }
    options.optimizer = Optimizer::new(OptimizerKind::AdamW);
    options.optimizer.weight_decay = golden.note("weight_decay").parse().unwrap();
    options
}

/// Rows of a golden's table by the names that a note lists.
fn rows(golden: &Golden, names: &str, table: &str) -> BTreeMap<String, Vec<f64>> {
    let names: Vec<String> = serde_json::from_str(golden.note(names)).unwrap();
    let table = golden.array(table);
    assert_eq!(table.shape[0], names.len());
    let row = |(index, name)| (name, table.part(index).values);
    names.into_iter().enumerate().map(row).collect()
}

fn values<'a>(tensors: &'a Tensors, name: &str) -> Option<&'a [f32]> {
    match tensors.get(name).map(|tensor| &tensor.elements) {
        Some(Elements::F32(values)) => Some(values),
        _ => None,
    }
}

fn root_mean_square(errors: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = errors.len() as f64;
    (errors.map(|error| error * error).sum::<f64>() / count).sqrt()
}

/// How far the projections of `found` are from `wanted`.
fn projected(name: &str, found: impl Iterator<Item = f64>, wanted: &[f64]) -> f64 {
    root_mean_square(projections(name, found).iter().zip(wanted).map(|(a, b)| a - b))
}

/// What went how far, and the largest errors.
#[derive(Debug, Default)]
struct Verdict {
    complaints: Vec<String>,
    largest: BTreeMap<&'static str, f64>,
}

impl Verdict {
    /// Written so that what is no number is found too.
    fn note(&mut self, kind: &'static str, what: &str, error: f64, allowed: f64) {
        let largest = self.largest.entry(kind).or_default();
        *largest = largest.max(error);
        if !(0.0..=allowed).contains(&error) {
            self.complaints.push(format!("{kind} {what}: {error:.1e} > {allowed:.0e}"));
        }
    }
}

/// Small gradients are measured by a part of the norm of all together, as in `golden::gradient_errors`.
fn check_gradients(found: &Tensors, golden: &Golden, prefix: &str, verdict: &mut Verdict) {
    let wanted = rows(golden, "gradients", &format!("{prefix}gradients"));
    let whole = wanted.values().map(|row| row[0] * row[0]).sum::<f64>().sqrt();
    for (name, row) in &wanted {
        let Some(own) = values(found, name) else {
            verdict.complaints.push(format!("no gradient of {name}"));
            continue;
        };
        let exact = || own.iter().map(|&value| f64::from(value));
        let size = if row[0] < 1e-6 * whole { 1e-2 * whole } else { row[0].max(1e-3 * whole) };
        let norm = exact().map(|value| value * value).sum::<f64>().sqrt();
        verdict.note("norm", name, (norm - row[0]).abs() / size, GRADIENT);
        verdict.note("gradient", name, projected(name, exact(), &row[1..5]) / size, GRADIENT);
        let apart = places(name, own.len()).into_iter().zip(&row[5..5 + PLACES]);
        let apart = apart.map(|(at, wanted)| (f64::from(own[at]) - wanted).abs());
        let mean = size / (own.len() as f64).sqrt();
        verdict.note("entry", name, apart.fold(0.0, f64::max) / mean, ENTRY);
    }
    let extra = found.keys().filter(|name| !wanted.contains_key(*name));
    verdict.complaints.extend(extra.map(|name| format!("{name} is trained, PyTorch has no such")));
}

fn check_statistics(found: &Tensors, golden: &Golden, verdict: &mut Verdict) {
    for (name, row) in rows(golden, "train.statistics", "train.statistics") {
        let Some(own) = values(found, &name) else {
            verdict.complaints.push(format!("{name} is not updated"));
            continue;
        };
        let is_variance = name.ends_with("var");
        let taken = own.iter().map(|&value| {
            let value = f64::from(value);
            if is_variance { (value.max(0.0) + 1e-5).sqrt() } else { value }
        });
        verdict.note("statistics", &name, projected(&name, taken, &row[1..5]) / row[0], STATISTICS);
    }
}

fn check_network(path: &Path, norms: BatchNorm) -> Option<Verdict> {
    let golden = Golden::read(&path.with_extension("safetensors"));
    let prefix = if norms == BatchNorm::Train { "train." } else { "" };
    let losses = golden.arrays.get(&format!("{prefix}losses"))?;
    let bytes = filled(path).0.encode_to_vec();
    let model = Model::from_bytes(runtime(), bytes, &ModelOptions::default()).unwrap();
    let mut step = TrainStep::new(&model, &options(&golden, norms), &run_options(false)).unwrap();
    let (count, size) = extent(&golden);
    let first: u64 = golden.note(&format!("{prefix}batch")).parse().unwrap();
    let lr = golden.note(&format!("{prefix}lr")).parse().unwrap();
    let mut verdict = Verdict::default();
    for (number, wanted) in (first..).zip(&losses.values) {
        let (images, labels) = batch(number, count, size);
        let shaped = Array { shape: vec![count, 3], values: images.iter().map(|&x| f64::from(x)).collect() };
        let targets = bands(&shaped);
        let labels = if golden.note("loss") == "mse" { Labels::F32(&targets) } else { Labels::U8(&labels) };
        let output = step.accumulate(&Batch { images: &images, labels, mask: None, keys: None }).unwrap();
        if number == first {
            check_gradients(&step.gradients().unwrap(), &golden, prefix, &mut verdict);
        }
        let error = (f64::from(output.loss) - wanted).abs() / wanted.abs();
        verdict.note("loss", &format!("of batch {number}"), error, LOSS);
        step.apply(lr).unwrap();
        if number == first && norms == BatchNorm::Train {
            check_statistics(&step.weights().unwrap(), &golden, &mut verdict);
        }
    }
    Some(verdict)
}

/// Checks every network that has a golden of this mode.
fn check(norms: BatchNorm, at_least: usize) {
    let (mut checked, mut failures) = (0, Vec::new());
    for path in models() {
        let Some(verdict) = check_network(&path, norms) else { continue };
        checked += 1;
        let figures = verdict.largest.iter().map(|(kind, error)| format!("{kind} {error:.1e}"));
        eprintln!("{} {norms:?}: {}", short(&path), figures.collect::<Vec<_>>().join(", "));
        failures.extend(verdict.complaints.iter().map(|complaint| format!("{}: {complaint}", short(&path))));
    }
    assert!(checked >= at_least, "{checked} networks");
    assert!(failures.is_empty(), "{} complaints:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn full_networks_step_as_in_pytorch() {
    check(BatchNorm::Frozen, 16);
}

#[test]
fn full_networks_with_batch_statistics_step_as_in_pytorch() {
    check(BatchNorm::Train, 12);
}

#[test]
fn what_is_generated_is_what_the_goldens_were_made_with() {
    // The first weights that Python generates of this name, by their bits.
    let recipe = Recipe { offset: 1.0, scale: 0.1, period: 2 };
    let first: Vec<u32> =
        recipe.weights("encoder.conv1.weight", 3).iter().map(|value| value.to_bits()).collect();
    assert_eq!(first, [0x3F8B_F3BB, 0xBF87_45A4, 0x3F7C_4CE1]);
    for path in models() {
        let golden = Golden::read(&path.with_extension("safetensors"));
        assert_eq!(filled(&path).1.to_string(), golden.note("weights"), "{}: weights", short(&path));
        let (count, size) = extent(&golden);
        let images = batch(golden.note("batch").parse().unwrap(), count, size).0;
        assert_eq!(checksum(&images).to_string(), golden.note("images"), "{}: images", short(&path));
    }
}
