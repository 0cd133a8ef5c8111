//! Measures of a job and of a model, and the files that they go into: stage times and memory; records, tables and
//! the training side's CSV files.

mod cpu;
mod epoch_metrics;
mod epoch_timer;
mod frame;
mod frame_file;
pub mod logging_columns;
mod memory;
pub mod metric_type;
pub mod number_text;
mod record;
pub mod result_files;
mod stopwatch;
mod storing;
mod value;

pub use cpu::cpu_time;
pub use epoch_metrics::{EpochRowForm, epoch_row, split_column, store_epoch_metrics};
pub use epoch_timer::{
    Clock, EpochTimer, EpochTimers, MAX_ITEM_LOAD_TIME_SEC, MAX_LOAD_TIME_EPOCHS, MAX_LOAD_TIME_WARNINGS,
    MonotonicClock, TimerMessage,
};
pub use frame::{Frame, SCIENTIFIC_COLUMN};
pub use frame_file::FrameFile;
pub use memory::{peak_rss_bytes, peak_rss_mib};
pub use record::Record;
pub use stopwatch::Stopwatch;
pub use storing::{EpochResults, StoringLogger};
pub use value::Value;
