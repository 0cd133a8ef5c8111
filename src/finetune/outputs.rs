//! The files of a run in one folder.

use std::path::PathBuf;

use crate::error::Result;
use crate::finetune::fit_options::FitOptions;
use crate::hooks::Callbacks;
use crate::hooks::builtin::{
    BatchLosses, ClinicaDlTables, EpochCsv, EpochTimes, ImageMetrics, ProgressFile, RunRecord,
    TrainingCurves, Visualisations,
};

/// Which files of a run are written into one folder, by the callbacks of [`glebe::hooks::builtin`](crate::hooks::builtin).
/// All are off, except the metrics of epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outputs {
    /// The folder; it is made where it is not there.
    pub folder: PathBuf,
    /// `Train/epoch_metrics.csv` and `Val/epoch_metrics.csv`.
    pub epoch_csv: bool,
    /// `batch_losses.csv`.
    pub batch_losses: bool,
    /// `logs/training_loss.tsv`, `validation_metrics/{aggregated,details}.tsv`.
    pub clinicadl: bool,
    /// `progress.log`.
    pub progress_log: bool,
    /// `best_validation_epoch/Test/metrics.csv` and `metrics_aggregates.csv` of tests and inferences.
    pub image_metrics: bool,
    /// `pictures/`, of the first batch of every evaluation.
    pub pictures: bool,
    /// `curves.svg`.
    pub curves: bool,
    /// `run.toml`.
    pub record: bool,
    /// Times of epochs, and warnings of slow loading, in the log.
    pub times: bool,
}

impl Outputs {
    /// The metrics of epochs, in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Outputs {
        Outputs {
            folder: folder.into(),
            epoch_csv: true,
            batch_losses: false,
            clinicadl: false,
            progress_log: false,
            image_metrics: false,
            pictures: false,
            curves: false,
            record: false,
            times: false,
        }
    }

    /// All of them.
    pub fn all(folder: impl Into<PathBuf>) -> Outputs {
        Outputs {
            batch_losses: true,
            clinicadl: true,
            progress_log: true,
            image_metrics: true,
            pictures: true,
            curves: true,
            record: true,
            times: true,
            ..Outputs::new(folder)
        }
    }

    /// The callbacks that write them in a run with these options.
    ///
    /// # Errors
    /// Those of [`RunRecord::section`].
    pub fn callbacks(&self, options: &FitOptions) -> Result<Callbacks> {
        let names = options.scoring.as_ref().map(|own| own.class_names.clone()).unwrap_or_default();
        let within = |name: &str| self.folder.join(name);
        let mut all = Callbacks::new();
        if self.times {
            all.add(EpochTimes::new());
        }
        if self.progress_log {
            all.add(ProgressFile::new(&self.folder));
        }
        if self.epoch_csv {
            let split = if options.splits > 1 { options.split_index } else { -1 };
            all.add(EpochCsv::of_split(&self.folder, split));
        }
        if self.batch_losses {
            all.add(BatchLosses::new(within("batch_losses.csv")));
        }
        if self.clinicadl {
            all.add(ClinicaDlTables::new(&self.folder));
        }
        if self.image_metrics {
            all.add(ImageMetrics::new(&self.folder).class_names(&names));
        }
        if self.pictures {
            all.add(Visualisations::new(within("pictures")).class_names(&names));
        }
        if self.curves {
            all.add(TrainingCurves::new(within("curves.svg")));
        }
        if self.record {
            all.add(RunRecord::new(within("run.toml")).section("fit", options)?);
        }
        Ok(all)
    }
}
