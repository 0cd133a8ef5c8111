//! How long a step takes, found by taking two.

use std::time::Instant;

use serde::Serialize;

use crate::autodiff::StepOptions;
use crate::error::Result;
use crate::finetune::{Batch, Labels, RunOptions, TrainStep};
use crate::metrics::peak_rss_bytes;
use crate::model::Model;

/// What two steps on made-up images took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Measured {
    /// Milliseconds to build the step.
    pub build_ms: f64,
    /// Milliseconds of the first step, in which the runtime makes its plans.
    pub first_step_ms: f64,
    /// Milliseconds of the second.
    pub step_ms: f64,
    /// Largest resident set of the process so far; `None` where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
}

/// Builds the step and runs it twice, on noise with every class in turn. The learning rate is 0, and nothing of the
/// step is kept.
///
/// # Errors
/// As [`TrainStep::new`] and [`TrainStep::step`].
pub fn measure(model: &Model, options: &StepOptions, run: &RunOptions) -> Result<Measured> {
    let started = Instant::now();
    let mut step = TrainStep::new(model, options, run)?;
    let build_ms = started.elapsed().as_secs_f64() * 1e3;
    let count: usize = step.image_shape().iter().product();
    // Weyl's sequence: even over -1 to 1, and another value at every pixel.
    let noise = |index: usize| ((index as f64 * 0.618_033_988_749_895).fract() * 2.0 - 1.0) as f32;
    let images: Vec<f32> = (0..count).map(noise).collect();
    let shape = step.logits_shape().to_vec();
    let numbers: usize = shape.iter().product();
    let pixels = numbers / shape[1].max(1);
    let targets: Vec<f32> = (0..numbers).map(noise).collect();
    let classes: Vec<i64> = (0..pixels).map(|pixel| (pixel % shape[1].max(2)) as i64).collect();
    let labels = if options.loss.is_regression() { Labels::F32(&targets) } else { Labels::I64(&classes) };
    let batch = Batch { images: &images, labels, mask: None, keys: None };
    let mut times = [0.0; 2];
    for time in &mut times {
        let started = Instant::now();
        step.step(&batch, 0.0)?;
        *time = started.elapsed().as_secs_f64() * 1e3;
    }
    let [first_step_ms, step_ms] = times;
    Ok(Measured { build_ms, first_step_ms, step_ms, peak_rss_bytes: peak_rss_bytes() })
}
