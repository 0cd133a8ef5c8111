//! Measures of a job and of a model, and the files that they go into: stage times and memory; records, tables and
//! the training side's CSV files.

mod batch_means;
mod column_style;
mod confusion;
mod cpu;
mod csv_line;
mod decision;
mod distance_transform;
mod epoch_metrics;
mod epoch_timer;
mod frame;
mod frame_file;
mod image_scores;
pub mod logging_columns;
mod memory;
pub mod metric_type;
pub mod number_text;
mod per_image;
mod progress_log;
mod record;
pub mod result_files;
mod row_file;
mod scores;
mod stopwatch;
mod storing;
mod surface;
pub mod tables;
mod value;

pub use batch_means::{BatchMeans, batch_metrics, is_foreground};
pub use confusion::{ConfusionMatrix, StrayLabels};
pub use cpu::cpu_time;
pub use decision::decide;
pub use epoch_metrics::{EpochRowForm, epoch_row, split_column, store_epoch_metrics};
pub use epoch_timer::{
    Clock, EpochTimer, EpochTimers, MAX_ITEM_LOAD_TIME_SEC, MAX_LOAD_TIME_EPOCHS, MAX_LOAD_TIME_WARNINGS,
    MonotonicClock, TimerMessage,
};
pub use frame::{Frame, Layout, SCIENTIFIC_COLUMN};
pub use frame_file::FrameFile;
pub use image_scores::{ImageScores, average_dice, image_scores, mean_dice, mean_dice_message};
pub use memory::{available_memory_bytes, peak_rss_bytes, peak_rss_mib};
pub use per_image::{AggregateRows, PerImageMetrics};
pub use progress_log::{PROGRESS_HEADER, PROGRESS_LOG, ProgressLog, ProgressPhase};
pub use record::Record;
pub use row_file::RowFile;
pub(crate) use scores::nan_mean;
pub use scores::{ClassScores, Scores, pooled, training_dice};
pub use stopwatch::Stopwatch;
pub use storing::{EpochResults, StoringLogger};
pub use surface::{SurfaceDistances, surface_distances};
pub use value::Value;
