//! glebe scores rasters of any size with ONNX segmentation models, tile by tile, through ONNX Runtime.
//!
//! It is made to be embedded: into Rust through this crate, into C and C++ through `include/glebe.h` and
//! `include/glebe.hpp`, into scripts through the program `glebe`.
//!
//! ```no_run
//! use glebe::model::{Model, ModelOptions};
//! use glebe::runtime::{Runtime, RuntimeOptions};
//! use glebe::segment::{FileOptions, SegmentOptions, Segmenter};
//!
//! # fn main() -> glebe::Result<()> {
//! let runtime = Runtime::load(&RuntimeOptions::default())?;
//! let model = Model::open(&runtime, "model.onnx", &ModelOptions::default())?;
//! let mut options = SegmentOptions::default();
//! options.scale = Some(vec![255.0]);
//! let report = Segmenter::new(&model, options)?.file("scene.tif", "classes.tif", &FileOptions::default())?;
//! println!("{} tiles, {:.1} Mpx/s", report.tiles, report.mpx_per_s);
//! # Ok(())
//! # }
//! ```
//!
//! The same model finetuned, step by step on arrays in memory ([`finetune::TrainStep`]):
//!
//! ```no_run
//! # use glebe::autodiff::StepOptions;
//! # use glebe::finetune::{Batch, Labels, RunOptions, TrainStep};
//! # fn steps(model: &glebe::model::Model, images: &[f32], labels: &[u8]) -> glebe::Result<()> {
//! let mut options = StepOptions::new(4, [256, 256]);
//! options.params = "decoder,!*.bias".parse()?;
//! let mut step = TrainStep::new(model, &options, &RunOptions::default())?;
//! let batch = Batch { images, labels: Labels::U8(labels), mask: None, keys: None };
//! println!("loss {}", step.step(&batch, 1e-4)?.loss);
//! step.export_to("finetuned.onnx", false)?;
//! # Ok(())
//! # }
//! ```
//!
//! # The house
//!
//! The modules stand in one line; each uses only those above it in this table (`tests/architecture.rs`). The outside
//! worlds have one door each.
//!
//! | | module | what lives there |
//! |---|---|---|
//! | ground | [`error`], [`geometry`], [`tensor`], [`file`](mod@file) | the one error; sizes, windows, bands; `[C, H, W]` samples; files that appear complete or not at all |
//! | doors | [`onnx`] | the model file as a graph: guard, facts, builder |
//! | | [`runtime`] | ONNX Runtime: finding it, providers, sessions, cancelling |
//! | | `raster` | GDAL: windows, masks, georeferencing, GeoTIFF and COG (feature `raster`) |
//! | model | [`weights`] | named tensors in safetensors files; checkpoints of the training side, read as data |
//! | | [`model`] | an opened model: contract, normalisation, sessions on demand |
//! | | [`autodiff`] | the training compiler: from a model to loss, gradients and update |
//! | parts | [`tiling`] | plan and blending; pure |
//! | | [`metrics`] | scores, the training side's CSV files, stage times, memory |
//! | | [`picture`] | quicklooks with legend |
//! | | `hooks` | events, callbacks, views of other systems, schedules |
//! | | [`data`] | training samples: lists, labels from rasters and vectors, sampling, augmentation, batches |
//! | jobs | [`segment`] | read → normalise → run → blend → write |
//! | | [`finetune`] | training steps, their state, the finetuned model |
//! | faces | `ffi`, `cli` | the C ABI, the program |
//!
//! # Features
//!
//! `raster` (GDAL), `cli`, `pytorch`, `cuda` and `tensorrt` are on by default; the last two cost nothing where the
//! providers' libraries are absent. Without default features the crate works on arrays in memory and needs no GDAL.

pub mod autodiff;
pub mod data;
pub mod error;
mod ffi;
pub mod file;
pub mod finetune;
pub mod geometry;
pub mod hooks;
pub mod metrics;
pub mod model;
pub mod onnx;
pub mod picture;
mod random;
#[cfg(feature = "raster")]
pub mod raster;
pub mod runtime;
pub mod segment;
pub mod tensor;
pub mod tiling;
pub mod weights;

pub use error::{Error, ErrorKind, Result};
pub use tensor::DataType;
