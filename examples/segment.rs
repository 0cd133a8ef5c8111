//! Scores a raster: `cargo run --release --example segment -- MODEL INPUT OUTPUT [SCALE]`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::ops::ControlFlow;

use glebe::model::{Model, ModelOptions};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::segment::{FileOptions, SegmentOptions, Segmenter};
use glebe::{Error, Result};

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, input, output, scale @ ..] = &arguments[..] else {
        return Err(Error::invalid("usage: segment MODEL INPUT OUTPUT [SCALE]"));
    };
    let mut options = SegmentOptions::default();
    if let Some(scale) = scale.first() {
        options.scale = Some(vec![scale.parse().map_err(|_| Error::invalid("SCALE is not a number"))?]);
    }

    let runtime = Runtime::load(&RuntimeOptions::default())?;
    let model = Model::open(&runtime, model, &ModelOptions::default())?;
    let report = Segmenter::new(&model, options)?
        .on_progress(|progress| {
            eprint!("\r{} of {} tiles", progress.done, progress.total);
            ControlFlow::Continue(())
        })
        .file(input, output, &FileOptions::default())?;
    eprintln!();
    println!("{} classes, {:.2} Mpx/s", report.classes, report.mpx_per_s);
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
