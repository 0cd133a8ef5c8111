//! Measures of a job and of a model, and the files that they go into: stage times and memory; records, tables and
//! the training side's CSV files.

mod cpu;
mod frame;
mod frame_file;
mod memory;
pub mod number_text;
mod record;
mod stopwatch;
mod value;

pub use cpu::cpu_time;
pub use frame::{Frame, SCIENTIFIC_COLUMN};
pub use frame_file::FrameFile;
pub use memory::{peak_rss_bytes, peak_rss_mib};
pub use record::Record;
pub use stopwatch::Stopwatch;
pub use value::Value;
