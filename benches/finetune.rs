//! What loop, hooks, metrics and files cost beside the step that they are for.
//!
//! ```text
//! cargo bench --bench finetune -- MODEL.onnx [PARAMS] [STEPS] [ROUNDS]
//! ```
//!
//! Trains `PARAMS` (`all`) with batches of 4 x 3 x 256 x 256 random samples for `STEPS` (10) steps in each of `ROUNDS` (5)
//! rounds of three runs: bare steps, the trainer with nothing, and the trainer with scores of training batches and all the
//! files that are written during an epoch (`epoch_metrics.csv`, `batch_losses.csv`, `training_loss.tsv`, `progress.log`,
//! times). Prints the least time of a step of each, and its ratio to the bare step. The least, since anything else on the
//! machine only adds. Checkpoints and pictures are not in it.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used, reason = "a program of its own")]

use std::time::Instant;

use glebe::autodiff::{Optimizer, OptimizerKind, StepOptions};
use glebe::finetune::{
    ArrayLoader, Batch, FitOptions, Labels, Loader, Outputs, RunOptions, Scoring, TrainStep, Trainer,
};
use glebe::hooks::Callbacks;
use glebe::model::{Model, ModelOptions};
use glebe::runtime::{Runtime, RuntimeOptions};

const BATCH: usize = 4;
const SIZE: usize = 256;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let Some(path) = arguments.first() else {
        println!("usage: cargo bench --bench finetune -- MODEL.onnx [PARAMS] [STEPS] [ROUNDS]");
        return;
    };
    let params = arguments.get(1).map_or("all", String::as_str);
    let number = |at: usize, default| arguments.get(at).map_or(default, |own| own.parse().unwrap());
    let (steps, rounds): (usize, usize) = (number(2, 10), number(3, 5));
    let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
    let model = Model::open(&runtime, path, &ModelOptions::default()).unwrap();
    let mut options = StepOptions::new(BATCH, [SIZE, SIZE]);
    options.params = params.parse().unwrap();
    options.optimizer = Optimizer::new(OptimizerKind::AdamW);
    let step = || TrainStep::new(&model, &options, &RunOptions::default()).unwrap();
    let mut bare = step();
    let pixels = bare.logits_shape()[2..].iter().product::<usize>();
    let classes = bare.logits_shape()[1].max(2) as u64;
    let mut data = loader(steps, pixels, classes);

    let folder = tempfile::tempdir().unwrap();
    let mut fit_options = FitOptions::new(0, 1e-4);
    fit_options.scoring = None;
    let mut plain = Trainer::new(step(), fit_options.clone(), Callbacks::new()).unwrap();
    let mut scoring = Scoring::default();
    scoring.on_training = true;
    fit_options.scoring = Some(scoring);
    let mut outputs = Outputs::new(folder.path());
    (outputs.batch_losses, outputs.clinicadl, outputs.progress_log, outputs.times) = (true, true, true, true);
    let callbacks = outputs.callbacks(&fit_options).unwrap();
    let mut full = Trainer::new(step(), fit_options, callbacks).unwrap();

    // Bare steps get their batches ready made.
    let owned: Vec<(Vec<f32>, Vec<u8>)> = (0..steps)
        .map(|index| match data.batch(index).unwrap() {
            Batch { images, labels: Labels::U8(labels), .. } => (images.to_vec(), labels.to_vec()),
            _ => unreachable!("an array loader gives bytes"),
        })
        .collect();
    let mut least = [f64::INFINITY; 3];
    for round in 0..=rounds {
        let times = [
            timed(|| {
                for (images, labels) in &owned {
                    let batch = Batch { images, labels: Labels::U8(labels), mask: None, keys: None };
                    bare.step(&batch, 1e-4).unwrap();
                }
            }),
            epoch(&mut plain, &mut data),
            epoch(&mut full, &mut data),
        ];
        // The first round warms up.
        if round > 0 {
            least.iter_mut().zip(times).for_each(|(least, time)| *least = least.min(time / steps as f64));
        }
    }
    println!("{path}, {params}: {steps} steps, {rounds} rounds");
    for (name, time) in ["bare step", "trainer", "trainer, scores and files"].into_iter().zip(least) {
        println!("{name:<26} {time:9.2} ms   {:6.3}", time / least[0]);
    }
}

/// Random images and labels for so many batches.
fn loader(steps: usize, pixels: usize, classes: u64) -> ArrayLoader {
    let mut state = 1u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    };
    let image_len = 3 * SIZE * SIZE;
    let images =
        (0..steps * BATCH * image_len).map(|_| number() as f32 / (1u64 << 23) as f32 - 1.0).collect();
    let labels = (0..steps * BATCH * pixels).map(|_| (number() % classes) as u8).collect();
    ArrayLoader::new(images, labels, BATCH, image_len, pixels).unwrap()
}

/// Milliseconds that something takes.
fn timed(work: impl FnOnce()) -> f64 {
    let from = Instant::now();
    work();
    from.elapsed().as_secs_f64() * 1e3
}

/// One epoch more.
fn epoch(trainer: &mut Trainer, data: &mut ArrayLoader) -> f64 {
    let mut options = trainer.options().clone();
    options.epochs += 1;
    trainer.set_options(options).unwrap();
    timed(|| trainer.fit(data, None).unwrap())
}
