//! Every small network in every exported form, against five steps of PyTorch.

use std::path::{Path, PathBuf};

use glebe::autodiff::{BatchNorm, Optimizer, OptimizerKind, StepOptions};
use glebe::finetune::{Batch, Labels, RunOptions, TrainStep};
use glebe::weights::tensors::Elements;

use crate::golden::{Array, Golden, folder, gradient_errors, open};

/// The models that have a golden.
fn models() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")).collect();
    found.sort();
    assert!(found.len() >= 40, "{} models", found.len());
    found
}

/// The targets of one step of a regression: the images' second and first band.
pub(crate) fn bands(images: &Array) -> Vec<f32> {
    let (n, c) = (images.shape[0], images.shape[1]);
    let pixels = images.values.len() / (n * c);
    let band = |image: usize, band: usize| &images.values[(image * c + band) * pixels..][..pixels];
    (0..n).flat_map(|image| [band(image, 1), band(image, 0)]).flatten().map(|&value| value as f32).collect()
}

pub(crate) fn options(golden: &Golden, norms: BatchNorm) -> StepOptions {
    let mut options = StepOptions::new(2, [32, 32]);
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

pub(crate) fn run_options(portable: bool) -> RunOptions {
    let mut run = RunOptions::default();
    run.session.threads = 1;
    run.portable = portable;
    run
}

/// Statistics of the golden after the first step, and after the last. Of the last only the deviations can be compared: the
/// bias of a layer before BatchNormalization by the batch has a gradient of zero but for rounding, Adam divides by its
/// size, and so rounding moves that bias, in float32 by about the learning rate each step, and with it the running mean.
const FIRST: &str = "train.first_running.";
const LAST: &str = "train.running.";

/// What does not agree with the golden, for people.
fn complaints(path: &Path, norms: BatchNorm, portable: bool) -> Vec<String> {
    let golden = Golden::read(&path.with_extension("safetensors"));
    let prefix = if norms == BatchNorm::Train { "train." } else { "" };
    let Some(losses) = golden.arrays.get(&format!("{prefix}losses")) else { return Vec::new() };
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let lr = golden.note("lr").parse().unwrap();
    let mut step = match TrainStep::new(&open(path), &options(&golden, norms), &run_options(portable)) {
        Ok(step) => step,
        Err(error) => return vec![format!("{name}: {error}")],
    };
    let batches = Golden::read(&folder().join("batches.safetensors"));
    let mut found = Vec::new();
    for (index, wanted) in losses.values.iter().enumerate() {
        let images = batches.array("images").part(index);
        let labels = batches.array("labels").part(index).u8();
        let (pixels, targets) = (images.f32(), bands(&images));
        let labels = if golden.note("loss") == "mse" { Labels::F32(&targets) } else { Labels::U8(&labels) };
        let output = match step.accumulate(&Batch { images: &pixels, labels, mask: None, keys: None }) {
            Ok(output) => output,
            Err(error) => return vec![format!("{name}: {error}")],
        };
        if index == 0 {
            let gradients = step.gradients().unwrap();
            let wanted = golden.starting(&format!("{prefix}gradient."));
            // Written so that what is no number is found too.
            let errors = gradient_errors(&gradients, &wanted);
            let bad = errors.iter().filter(|(_, error)| !matches!(error, 0.0..=1e-4));
            found.extend(
                bad.map(|(parameter, error)| format!("{name}: {prefix}gradient of {parameter} {error:.1e}")),
            );
            if norms == BatchNorm::Train {
                found.extend(statistics(&name, &step, &golden, FIRST, 1e-5));
            }
            let extra = gradients.keys().filter(|name| !wanted.contains_key(*name));
            found.extend(
                extra.map(|parameter| format!("{name}: {parameter} is trained, PyTorch has no such")),
            );
        }
        let error = (f64::from(output.loss) - wanted).abs() / wanted.abs();
        if !matches!(error, 0.0..=1e-3) {
            found.push(format!("{name}: {prefix}loss {} at step {index}, expected {wanted}", output.loss));
        }
        step.apply(lr).unwrap();
    }
    if norms == BatchNorm::Train {
        found.extend(statistics(&name, &step, &golden, LAST, 1e-3));
    }
    found
}

/// Running statistics: means (but for the last step's) and deviations, in units of the channel's deviation, root mean
/// square over the channels. `prefix` says which of the golden.
fn statistics(name: &str, step: &TrainStep, golden: &Golden, prefix: &str, allowed: f64) -> Vec<String> {
    let (wanted, weights) = (golden.starting(prefix), step.weights().unwrap());
    let mut found = Vec::new();
    assert!(!wanted.is_empty(), "{name}: no statistics in the golden");
    for (own, array) in &wanted {
        let layer = own.rsplit_once('.').unwrap().0;
        let variance = &wanted[&format!("{layer}.running_var")].values;
        let Some(Elements::F32(values)) = weights.get(own).map(|tensor| &tensor.elements) else {
            found.push(format!("{name}: {own} is not updated"));
            continue;
        };
        let is_variance = own.ends_with("var");
        if !is_variance && prefix == LAST {
            continue;
        }
        let errors = values.iter().zip(&array.values).zip(variance).map(|((a, b), variance)| {
            let deviation = |value: f64| (value.max(0.0) + 1e-5).sqrt();
            let apart = match is_variance {
                true => deviation(f64::from(*a)) - deviation(*b),
                false => f64::from(*a) - b,
            };
            (apart / deviation(*variance)).powi(2)
        });
        let error = (errors.sum::<f64>() / values.len() as f64).sqrt();
        if !(0.0..=allowed).contains(&error) {
            found.push(format!("{name}: {prefix}{own} {error:.1e}"));
        }
    }
    found
}

fn check(norms: BatchNorm, portable: bool) {
    let failures: Vec<String> = models().iter().flat_map(|path| complaints(path, norms, portable)).collect();
    assert!(failures.is_empty(), "{} complaints:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn steps_are_those_of_pytorch() {
    check(BatchNorm::Frozen, false);
}

#[test]
fn steps_in_standard_operators_are_those_of_pytorch() {
    check(BatchNorm::Frozen, true);
}

#[test]
fn steps_with_batch_statistics_are_those_of_pytorch() {
    check(BatchNorm::Train, false);
}

#[test]
fn steps_with_batch_statistics_in_standard_operators_are_those_of_pytorch() {
    check(BatchNorm::Train, true);
}
