//! Callbacks that come with the library: files of metrics, pictures, progress.
//!
//! Files of the training side have its names, folders and bytes. What a callback writes is on disk when the event is over;
//! with a checkpoint that a run goes on from, its files are brought back to where they stood.

mod batch_losses;
mod clinicadl_tables;
mod curves;
mod epoch_csv;
mod epoch_times;
mod image_metrics;
#[cfg(feature = "cli")]
mod progress_bar;
mod progress_file;
mod run_record;
mod storing_log;
mod visualisations;

pub use batch_losses::BatchLosses;
pub use clinicadl_tables::ClinicaDlTables;
pub use curves::TrainingCurves;
pub use epoch_csv::EpochCsv;
pub use epoch_times::EpochTimes;
pub use image_metrics::ImageMetrics;
#[cfg(feature = "cli")]
pub use progress_bar::ProgressBar;
pub use progress_file::ProgressFile;
pub use run_record::RunRecord;
pub use storing_log::StoringLog;
pub use visualisations::Visualisations;
