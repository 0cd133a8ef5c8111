//! Measures of a job and of a model: stage times and memory here; the confusion matrix, what follows from it, and
//! the loggers of the training side's CSV files will stand beside them.

mod cpu;
mod memory;
mod stopwatch;

pub use cpu::cpu_time;
pub use memory::{peak_rss_bytes, peak_rss_mib};
pub use stopwatch::Stopwatch;
