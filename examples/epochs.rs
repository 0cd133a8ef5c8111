//! Finetunes a model on arrays in epochs, with a callback, files and checkpoints:
//! `cargo run --release --example epochs -- MODEL FOLDER`. Run again, it goes on with what is left.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use glebe::autodiff::StepOptions;
use glebe::finetune::{ArrayLoader, Checkpoints, FitOptions, Outputs, RunOptions, TrainStep, Trainer};
use glebe::hooks::{Callback, Context, EarlyStopping, Mode};
use glebe::model::{Model, ModelOptions};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::weights::tensors::Elements;
use glebe::{Error, Result};

/// Says how every epoch went, and keeps an eye on a gradient.
#[derive(Debug)]
struct Reporter;

impl Callback for Reporter {
    fn optimizer_step_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        let name = context.access()?.trained()[0].clone();
        let Elements::F32(gradient) = context.access()?.gradient(&name)?.elements else { return Ok(()) };
        let largest = gradient.iter().fold(0f32, |most, own| most.max(own.abs()));
        // A mean over the epoch's batches, with a column of its own in the CSV file.
        context.log("largest_gradient", f64::from(largest))
    }

    fn epoch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let [loss, score] =
            ["train/Loss", "val/MeanIoU"].map(|name| context.metric(name).unwrap_or(f64::NAN));
        println!(
            "epoch {} of {}: loss {loss:.4}, mean IoU {score:.4}",
            context.state.epoch, context.state.epochs
        );
        Ok(())
    }
}

/// Images `[count, C, H, W]` of checks that are brighter in the first band, and their labels `[count, H, W]`.
fn make_up(step: &TrainStep, count: usize, seed: usize) -> Result<ArrayLoader> {
    let shape = step.image_shape();
    let [batch, bands, height, width] = [shape[0], shape[1], shape[2], shape[3]];
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for n in seed..seed + count {
        let inside = |y: usize, x: usize| (x + 5 * n) / 16 % 2 == (y + 3 * n) / 16 % 2;
        for c in 0..bands {
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let noise = 0.3 * ((x * 13 + y * 7 + c * 5 + n) as f32).sin();
                images.push(noise + if inside(y, x) && c == 0 { 1.0 } else { 0.0 });
            }
        }
        labels.extend(
            (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| u8::from(inside(y, x))),
        );
    }
    ArrayLoader::new(images, labels, batch, bands * height * width, height * width)
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err(Error::invalid("usage: epochs MODEL FOLDER"));
    };
    let folder = std::path::PathBuf::from(folder);
    let runtime = Runtime::load(&RuntimeOptions::default())?;
    let model = Model::open(&runtime, path, &ModelOptions::default())?;
    let step = TrainStep::new(&model, &StepOptions::new(2, [64, 64]), &RunOptions::default())?;
    let mut train = make_up(&step, 8, 0)?.shuffled();
    let mut validation = make_up(&step, 3, 100)?;

    let mut options = FitOptions::new(5, 3e-2);
    let mut checkpoints = Checkpoints::new(folder.join("checkpoints"));
    checkpoints.best = Some(("val/MeanIoU".to_owned(), Mode::Highest));
    options.checkpoints = Some(checkpoints);
    options.reload_best = true;
    let mut callbacks = Outputs::all(&folder).callbacks(&options)?;
    callbacks.add(EarlyStopping::new("MeanIoU", Mode::Highest)).add(Reporter);

    let mut trainer = Trainer::new(step, options, callbacks)?;
    if trainer.resume_newest()? {
        println!("going on from {}", folder.join("checkpoints").display());
    }
    trainer.fit(&mut train, Some(&mut validation))?;
    if !trainer.state().checkpoint_message.is_empty() {
        println!("{}", trainer.state().checkpoint_message);
    }
    trainer.step().export_to(folder.join("finetuned.onnx"), true)
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
