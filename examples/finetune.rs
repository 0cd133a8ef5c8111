//! Finetunes a model on arrays: `cargo run --release --example finetune -- MODEL OUTPUT [PARAMS]`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use glebe::autodiff::StepOptions;
use glebe::finetune::{Batch, Labels, RunOptions, TrainStep, preflight};
use glebe::model::{Model, ModelOptions};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::{Error, Result};

/// Images `[N, C, H, W]` of checks that are brighter in the first band, and their labels `[N, H, W]`.
fn make_up(shape: &[usize], seed: usize) -> (Vec<f32>, Vec<u8>) {
    let inside = |n: usize, y: usize, x: usize| ((x + seed) / 16 + (y + 3 * seed) / 16 + n) % 2 == 1;
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for n in 0..shape[0] {
        for c in 0..shape[1] {
            for y in 0..shape[2] {
                for x in 0..shape[3] {
                    let noise = 0.3 * ((x * 13 + y * 7 + c * 5 + seed) as f32).sin();
                    images.push(noise + if inside(n, y, x) && c == 0 { 1.0 } else { 0.0 });
                    if c == 0 {
                        labels.push(u8::from(inside(n, y, x)));
                    }
                }
            }
        }
    }
    (images, labels)
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err(Error::invalid("usage: finetune MODEL OUTPUT [PARAMS]"));
    };
    let runtime = Runtime::load(&RuntimeOptions::default())?;
    let model = Model::open(&runtime, path, &ModelOptions::default())?;

    let mut options = StepOptions::new(2, [64, 64]);
    options.params = arguments.next().unwrap_or_else(|| "all".into()).parse()?;
    options.loss.ignore_index = Some(255);
    // What stands in the way is known before anything runs.
    let report = preflight(&model, &options)?;
    println!(
        "{} of {} elements are trained",
        report.trained_elements,
        report.trained_elements + report.frozen_elements
    );

    let mut step = TrainStep::new(&model, &options, &RunOptions::default())?;
    for index in 0..30 {
        let (images, labels) = make_up(step.image_shape(), index % 4);
        let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
        println!("step {} loss {:.4}", index + 1, step.step(&batch, 3e-2)?.loss);
    }
    step.export_to(output, true)
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.one_line());
            std::process::ExitCode::from(error.kind().code() as u8)
        }
    }
}
