//! Finetunes a model on labelled rasters: `cargo run --release --example finetune_rasters -- MODEL TRAIN VAL OUT`. TRAIN and
//! VAL are lists of images and labels, or one pair `IMAGE;LABELS` each; OUT is the folder of all that is written. Then the
//! model is scored on the whole images of VAL, and the best checkpoint becomes a model: `OUT/best.onnx`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use glebe::data::{LabelOptions, Sampling, Split, read_list};
use glebe::finetune::{Config, ExportOptions, Finetuning, export_to};
use glebe::hooks::{Callback, Callbacks, Context};
use glebe::model::{Model, ModelOptions};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::segment::{FileOptions, SegmentOptions, Segmenter};
use glebe::{Error, Result};

/// Prints a line an epoch.
#[derive(Debug)]
struct Printer;

impl Callback for Printer {
    fn epoch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let loss = context.needed("Printer", "val/Loss")?;
        println!("epoch {} of {}, loss {loss:.4}", context.state.epoch, context.state.epochs);
        Ok(())
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, train, val, out] = &arguments[..] else {
        return Err(Error::invalid("usage: finetune_rasters MODEL TRAIN VAL OUT"));
    };
    // Everything else has a default. Config::read takes a TOML file with the same names.
    let mut config = Config::default();
    config.model = model.into();
    config.out = Some(out.into());
    config.data.train = vec![train.clone()];
    config.data.val = vec![val.clone()];
    config.data.scale = Some(vec![255.0]);
    config.sampling.kind = Sampling::Balanced;
    config.training.epochs = Some(5);
    config.training.learning_rate = 1e-2;
    config.training.size = Some([32, 32]);

    let runtime = Runtime::load(&RuntimeOptions::default())?;
    let finetuning = Finetuning::new(&runtime, config)?;
    println!("{} training windows", finetuning.found().train.windows);
    let mut callbacks = Callbacks::new();
    callbacks.add(Printer);
    let report = finetuning.run(callbacks)?;
    println!("{}", report.model.display());

    let finetuned = Model::open(&runtime, &report.model, &ModelOptions::default())?;
    let mut segmenter = Segmenter::new(&finetuned, SegmentOptions::default())?;
    let items = read_list(val, None, Split::Val)?;
    let data = segmenter.dataset(items, &LabelOptions::default(), &FileOptions::default())?;
    let found = segmenter.evaluate(&data, None)?;
    println!("mean IoU {:.4} on whole images", found.scores.mean_iou);

    let (checkpoint, best) = (report.out.join("checkpoints/best.safetensors"), report.out.join("best.onnx"));
    export_to(&best, model, Some(&checkpoint), &ExportOptions::default(), false)?;
    println!("{}", best.display());
    Ok(())
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
