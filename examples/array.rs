//! Scores an image in memory, without files and without GDAL: `cargo run --example array -- MODEL`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use glebe::geometry::Size;
use glebe::model::{Model, ModelOptions};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::segment::{SegmentOptions, Segmenter};
use glebe::tensor::Samples;
use glebe::{Error, Result};
use ndarray::Array3;

fn run() -> Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| Error::invalid("usage: array MODEL"))?;
    let runtime = Runtime::load(&RuntimeOptions::default())?;
    let model = Model::open(&runtime, path, &ModelOptions::default())?;

    // An image as cameras and most libraries have it, rows of interleaved pixels, seen as [C, H, W].
    let channels = model.contract().channels().unwrap_or(3);
    let interleaved =
        Array3::from_shape_fn((300, 400, channels), |(y, x, c)| ((x + 2 * y + 80 * c) % 256) as u8);
    let image = interleaved.view().permuted_axes([2, 0, 1]);

    let mut options = SegmentOptions::default();
    options.scale = Some(vec![255.0]);
    if model.contract().tile() == (None, None) {
        options.tile = Some(Size::new(256, 256));
    }
    let prediction = Segmenter::new(&model, options)?.array(image.into(), None)?;
    let [bands, height, width] = prediction.samples.shape();
    println!(
        "{bands} band of {width} x {height} pixels: {}",
        prediction.report.class_shares(&[]).unwrap_or_default()
    );
    if let Samples::U8(classes) = &prediction.samples {
        println!("class of the first pixel: {}", classes[[0, 0, 0]]);
    }
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
