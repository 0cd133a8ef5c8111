//! `glebe step`: bare training steps on arrays, for parity checks and for porting a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use glebe::autodiff::{Optimizer, OptimizerKind, StepOptions};
use glebe::finetune::{Batch, FeatureCache, Labels, RunOptions, TrainState, TrainStep};
use glebe::metrics::{cpu_time, peak_rss_mib};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::Facts;
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::weights::tensors::{self, Elements, NamedTensor};
use glebe::{Error, ErrorKind, Result};
use serde_json::json;

use crate::args::{Arguments, StepArguments};
use crate::interrupt;
use crate::preflight::warn_without_batch_norm;

/// Runs the steps and prints the loss of each.
pub(crate) fn run(options: &StepArguments, arguments: &Arguments) -> Result<()> {
    let token = interrupt::token()?;
    check_outputs(options)?;
    check_optimizer(options)?;
    let batches = Batches::read(options)?;
    let mut runtime_options = RuntimeOptions::default();
    if let Some(path) = &arguments.runtime {
        runtime_options = runtime_options.library(path);
    }
    let runtime = Runtime::load(&runtime_options)?;
    let model = Model::open(&runtime, &options.model, &ModelOptions::default())?;
    warn_without_batch_norm(&Facts::of(model.document()), options.bn);
    let step_options = step_options(options, &batches)?;
    let mut run = RunOptions::default();
    run.session.threads = options.threads;
    run.session.provider = options.device.clone();
    run.session.deterministic = options.deterministic;
    run.session.profile = options.profile.clone();
    run.portable = options.portable;
    run.features = feature_cache(options);
    if options.accumulate == 0 {
        return Err(Error::invalid("expected 1 batch a step or more, got 0"));
    }
    let started = Instant::now();
    let mut step = TrainStep::new(&model, &step_options, &run)?;
    step.cancel_with(&token)?;
    let build_ms = started.elapsed().as_secs_f64() * 1e3;
    let init = options.init.load(&mut step, options.json, arguments)?;
    if let Some(path) = &options.init_state {
        step.set_state(&TrainState::read(path)?).map_err(|error| error.at_path(path))?;
    }
    if let Some(scale) = options.loss_scale {
        step.set_loss_scale(scale)?;
    }
    let (mut losses, mut times) = (Vec::new(), Vec::new());
    let mut first_gradients = None;
    // The first step warms up.
    let mut warm = None;
    let each = options.accumulate;
    for index in 0..options.steps.unwrap_or(batches.steps.div_ceil(each)) {
        let started = Instant::now();
        let wants_gradients = index == 0 && options.gradients.is_some();
        let loss = if each == 1 && !wants_gradients {
            batches.with(index, |batch| step.step(batch, options.lr))?.loss
        } else {
            let mut sum = 0.0;
            for part in 0..each {
                sum += f64::from(batches.with(index * each + part, |batch| step.accumulate(batch))?.loss);
            }
            if wants_gradients {
                first_gradients = Some(step.gradients()?);
            }
            step.apply(options.lr)?;
            (sum / each as f64) as f32
        };
        times.push(started.elapsed().as_secs_f64() * 1e3);
        warm = warm.or_else(cpu_time);
        losses.push(loss);
        if !options.json {
            crate::out::line(format_args!("step {} loss {}", index + 1, loss))?;
        }
    }
    if let Some(index) = losses.iter().position(|loss: &f32| !loss.is_finite()) {
        crate::out::message(format!("warning: the loss is {} from step {} on", losses[index], index + 1));
    }
    let cpu = warm.zip(cpu_time()).filter(|_| times.len() > 1);
    let cpu_ms = cpu.map(|(warm, now)| (now - warm).as_secs_f64() * 1e3 / (times.len() - 1) as f64);
    if let (Some(path), Some(gradients)) = (&options.gradients, first_gradients) {
        tensors::write(path, &gradients, &BTreeMap::new(), options.overwrite)?;
    }
    if let Some(path) = &options.weights {
        tensors::write(path, &step.weights()?, &BTreeMap::new(), options.overwrite)?;
    }
    if let Some(path) = &options.averages {
        tensors::write(path, &step.averages()?, &BTreeMap::new(), options.overwrite)?;
    }
    if let Some(path) = &options.export {
        step.export_to(path, options.overwrite)?;
    }
    if let Some(path) = &options.state {
        step.state()?.write(path, options.overwrite)?;
    }
    let peak = peak_rss_mib();
    if options.json {
        let report = json!({
            "init": init,
            "losses": losses,
            "step_ms": median(&times),
            "step_ms_all": times,
            "step_cpu_ms": cpu_ms,
            "build_ms": build_ms,
            "peak_rss_mib": peak,
            "trained": step.trained_elements(),
            "features": options.has_cache().then(|| {
                let used = step.cache_use();
                json!({ "found": used.found, "computed": used.computed, "bytes_per_image": used.bytes_per_image })
            }),
        });
        return crate::out::line(report);
    }
    if !arguments.quiet {
        let peak = peak.map_or(String::new(), |peak| format!(", peak memory {peak:.0} MiB"));
        let message = format!("built in {build_ms:.0} ms, {:.1} ms a step (median){peak}", median(&times));
        crate::out::message(message);
    }
    Ok(())
}

/// That nothing is lost in the end for an output that cannot be written, and no input overwritten.
fn check_outputs(options: &StepArguments) -> Result<()> {
    let outputs = [
        ("--gradients", &options.gradients),
        ("--weights", &options.weights),
        ("--averages", &options.averages),
        ("--export", &options.export),
        ("--state", &options.state),
    ];
    let inputs = [
        Some(&options.model),
        Some(&options.batches),
        options.init.checkpoint.as_ref(),
        options.init_state.as_ref(),
    ];
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for (name, output) in outputs {
        let Some(output) = output else { continue };
        let folder = match output.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // The place, whatever links lead there.
        let folder = folder.canonicalize().map_err(|error| Error::io("write in", folder, error))?;
        let place = folder.join(output.file_name().unwrap_or_default());
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == place) {
            return Err(Error::invalid(format!("{other} and {name} name one file")).at_path(output));
        }
        let is_input = |input: &PathBuf| input.canonicalize().is_ok_and(|input| input == place);
        // Going on from a state and keeping the new one in its place is what one wants.
        let inputs = inputs.iter().take(if name == "--state" { 3 } else { 4 });
        if inputs.flatten().any(|input| is_input(input)) {
            return Err(Error::invalid(format!("{name} would replace an input")).at_path(output));
        }
        if output.exists() && !options.overwrite {
            let error =
                Error::new(ErrorKind::AlreadyExists, "the file exists: give --overwrite to replace it");
            return Err(error.at_path(output));
        }
        seen.push((name, place));
    }
    Ok(())
}

/// That every setting of the optimizer that was given has an effect.
fn check_optimizer(options: &StepArguments) -> Result<()> {
    use OptimizerKind::{Adam, AdamW, AmsGrad, RmsProp, Sgd};
    let adam: &[OptimizerKind] = &[Adam, AmsGrad, AdamW];
    let given = [
        ("--betas", options.betas.is_some(), adam),
        ("--alpha", options.alpha.is_some(), &[RmsProp]),
        ("--epsilon", options.epsilon.is_some(), &[Adam, AmsGrad, AdamW, RmsProp]),
        ("--momentum", options.momentum != 0.0, &[Sgd, RmsProp]),
    ];
    for (name, is_given, kinds) in given {
        if is_given && !kinds.contains(&options.optimizer) {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let message =
                format!("{name} has no effect with {}: it is for {}", options.optimizer, names.join(", "));
            return Err(Error::invalid(message));
        }
    }
    Ok(())
}

fn feature_cache(options: &StepArguments) -> Option<FeatureCache> {
    if !options.has_cache() {
        return None;
    }
    let mut cache = FeatureCache::in_memory(options.cache_memory.map_or(0, |size| size.0));
    let folder = || options.cache_folder.clone().unwrap_or_else(std::env::temp_dir);
    cache.spill = options.cache_file.map(|size| (folder(), size.0));
    Some(cache)
}

/// The median of all but the first, which warms up.
fn median(times: &[f64]) -> f64 {
    let mut sorted = times.get(1..).filter(|rest| !rest.is_empty()).unwrap_or(times).to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

fn step_options(options: &StepArguments, batches: &Batches) -> Result<StepOptions> {
    let mut step = StepOptions::new(batches.image[0], [batches.image[2], batches.image[3]]);
    step.params = options.params.clone();
    step.batch_norm = options.bn;
    step.loss = options.loss.clone();
    step.loss.ignore_index = options.ignore_index;
    step.loss.class_weights = options.class_weights.clone();
    step.loss.label_smoothing = options.label_smoothing;
    step.output = options.output.clone();
    step.auxiliary = options.aux_output.clone();
    if let Some(weight) = options.aux_weight {
        step.loss.auxiliary_weight = weight;
    }
    let mut optimizer = Optimizer::new(options.optimizer);
    if let Some(decay) = options.weight_decay {
        optimizer.weight_decay = decay;
    }
    optimizer.momentum = options.momentum;
    optimizer.nesterov = options.nesterov;
    optimizer.betas = options.betas.unwrap_or(optimizer.betas);
    optimizer.alpha = options.alpha.unwrap_or(optimizer.alpha);
    optimizer.epsilon = options.epsilon.unwrap_or(optimizer.epsilon);
    optimizer.groups = options.groups.clone();
    optimizer.decay_norm_and_bias = !options.no_norm_decay;
    optimizer.ema_decay = options.ema_decay;
    optimizer.loss_scale = options.loss_scale.is_some();
    optimizer.clip_norm = options.clip_norm;
    optimizer.clip_value = options.clip_value;
    step.optimizer = optimizer;
    step.seed = options.seed;
    Ok(step)
}

/// The file's `images` and `labels`.
struct Batches {
    steps: usize,
    /// N, C, H, W.
    image: [usize; 4],
    images: Vec<f32>,
    labels: Elements,
    mask: Option<Vec<u8>>,
}

impl Batches {
    fn read(options: &StepArguments) -> Result<Batches> {
        let path = &options.batches;
        let mut file = tensors::read(path)?;
        let mut take = |name: &str| {
            file.remove(name)
                .ok_or_else(|| Error::invalid(format!("expected a tensor called {name:?}")).at_path(path))
        };
        let (images, labels) = (take("images")?, take("labels")?);
        let mask = take("mask").ok();
        let wrong = |name: &str, what: String| {
            Err(Error::new(ErrorKind::Mismatch, what).at_tensor(name).at_path(path))
        };
        let &[steps, n, c, h, w] = &images.shape[..] else {
            return wrong("images", format!("expected shape [S, N, C, H, W], got {:?}", images.shape));
        };
        let Elements::F32(values) = images.elements else {
            return wrong("images", "expected elements of type F32".into());
        };
        if steps == 0 || values.is_empty() {
            return wrong("images", format!("shape {:?} has no elements", images.shape));
        }
        if labels.shape.len() < 2 || labels.shape[..2] != [steps, n] {
            let what = format!("expected shape [{steps}, {n}, ...], got {:?}", labels.shape);
            return wrong("labels", what);
        }
        let mask = match mask {
            None => None,
            Some(NamedTensor { shape, elements: Elements::U8(mask) }) if shape.first() == Some(&steps) => {
                Some(mask)
            }
            Some(_) => return wrong("mask", format!("expected U8 elements of shape [{steps}, {n}, H, W]")),
        };
        Ok(Batches { steps, image: [n, c, h, w], images: values, labels: labels.elements, mask })
    }

    /// Does something with batch `index`, counted round and round; its images are known by their places in the file.
    fn with<R>(&self, index: usize, run: impl FnOnce(&Batch<'_>) -> R) -> R {
        let index = index % self.steps;
        let first = (index * self.image[0]) as u64;
        let keys: Vec<u64> = (first..first + self.image[0] as u64).collect();
        run(&Batch { keys: Some(&keys), ..self.get(index) })
    }

    fn get(&self, index: usize) -> Batch<'_> {
        fn part<T>(all: &[T], index: usize, steps: usize) -> &[T] {
            let length = all.len() / steps;
            &all[index * length..(index + 1) * length]
        }
        Batch {
            images: part(&self.images, index, self.steps),
            labels: match &self.labels {
                Elements::U8(labels) => Labels::U8(part(labels, index, self.steps)),
                Elements::I32(labels) => Labels::I32(part(labels, index, self.steps)),
                Elements::I64(labels) => Labels::I64(part(labels, index, self.steps)),
                Elements::F32(labels) => Labels::F32(part(labels, index, self.steps)),
                // The type is open for types to come; none is read today.
                _ => Labels::U8(&[]),
            },
            keys: None,
            mask: self.mask.as_ref().map(|mask| part(mask, index, self.steps)),
        }
    }
}
