//! Where the training side keeps its results: names of files and folders below a run's output folder.

use std::fmt;
use std::path::PathBuf;

/// Metrics of each epoch, a row an epoch.
pub const EPOCH_METRICS: &str = "epoch_metrics.csv";
/// Metrics of each subject (image).
pub const SUBJECT_METRICS: &str = "metrics.csv";
/// Metrics of each structure over all images.
pub const METRICS_AGGREGATES: &str = "metrics_aggregates.csv";
/// What a scalar model said for each subject.
pub const MODEL_OUTPUTS: &str = "model_outputs.csv";
/// Dice of each structure as a picture.
pub const BOXPLOT: &str = "metrics_boxplot.png";
/// The identifier of the data set.
pub const DATASET_ID: &str = "dataset_id.txt";
/// The names of the structures.
pub const GROUND_TRUTH_IDS: &str = "ground_truth_ids.txt";
/// The names of the image channels.
pub const IMAGE_CHANNEL_IDS: &str = "image_channel_ids.txt";
/// Folder of small pictures.
pub const THUMBNAILS: &str = "thumbnails";
/// Folder of the results of the best epoch; also the text in the epoch column of inference files.
pub const BEST_EPOCH_FOLDER: &str = "best_validation_epoch";
/// Folder of runs other than the main one.
pub const OTHER_RUNS: &str = "OTHER_RUNS";
/// Folder of the ensemble among them.
pub const ENSEMBLE: &str = "ENSEMBLE";
/// Folder of the results over all folds of a cross validation.
pub const CROSS_VALIDATION_RESULTS: &str = "CrossValResults";
/// Metrics of all runs of a cross validation.
pub const METRICS_ACROSS_ALL_RUNS: &str = "MetricsAcrossAllRuns.csv";

/// Which part of the data a result is about; the order of [`ALL`](ExecutionMode::ALL) is the order of iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionMode {
    /// Training data.
    Train,
    /// Test data.
    Test,
    /// Validation data.
    Val,
}

impl ExecutionMode {
    /// All parts, in the order in which they are gone through.
    pub const ALL: [ExecutionMode; 3] = [ExecutionMode::Train, ExecutionMode::Test, ExecutionMode::Val];

    /// `Train`, `Test` or `Val`: the name in files, and the folder.
    pub const fn name(self) -> &'static str {
        match self {
            ExecutionMode::Train => "Train",
            ExecutionMode::Test => "Test",
            ExecutionMode::Val => "Val",
        }
    }

    /// The file with the rows of this part's data set: `train_dataset.csv`.
    pub const fn dataset_file(self) -> &'static str {
        match self {
            ExecutionMode::Train => "train_dataset.csv",
            ExecutionMode::Test => "test_dataset.csv",
            ExecutionMode::Val => "val_dataset.csv",
        }
    }

    /// `Train/epoch_metrics.csv` below the output folder.
    pub fn epoch_metrics(self) -> PathBuf {
        [self.name(), EPOCH_METRICS].iter().collect()
    }

    /// `Train/metrics.csv` below the output folder: the subjects during training.
    pub fn subject_metrics(self) -> PathBuf {
        [self.name(), SUBJECT_METRICS].iter().collect()
    }
}

impl fmt::Display for ExecutionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether results come from one model or from an ensemble of the folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ModelProcessing {
    /// One model.
    #[default]
    Single,
    /// An ensemble.
    EnsembleCreation,
}

impl ModelProcessing {
    /// `default` or `ensemble_creation`.
    pub const fn name(self) -> &'static str {
        match self {
            ModelProcessing::Single => "default",
            ModelProcessing::EnsembleCreation => "ensemble_creation",
        }
    }
}

/// The folder of the best epoch's results below the output folder: `best_validation_epoch/Test`, or
/// `OTHER_RUNS/ENSEMBLE/best_validation_epoch/Test` for an ensemble.
pub fn best_epoch_results(mode: ExecutionMode, processing: ModelProcessing) -> PathBuf {
    let below: PathBuf = [BEST_EPOCH_FOLDER, mode.name()].iter().collect();
    match processing {
        ModelProcessing::Single => below,
        ModelProcessing::EnsembleCreation => [OTHER_RUNS, ENSEMBLE].iter().collect::<PathBuf>().join(below),
    }
}

/// The folder of an image's results: its number with three digits.
pub fn image_folder(number: u64) -> String {
    format!("{number:03}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn folders_of_results() {
        let best = |mode, processing| best_epoch_results(mode, processing);
        assert_eq!(
            best(ExecutionMode::Test, ModelProcessing::Single),
            Path::new("best_validation_epoch/Test")
        );
        assert_eq!(
            best(ExecutionMode::Val, ModelProcessing::EnsembleCreation),
            Path::new("OTHER_RUNS/ENSEMBLE/best_validation_epoch/Val")
        );
        assert_eq!(ExecutionMode::ALL.map(|mode| mode.to_string()), ["Train", "Test", "Val"]);
        assert_eq!(ExecutionMode::Train.epoch_metrics(), Path::new("Train/epoch_metrics.csv"));
        assert_eq!(ExecutionMode::Val.subject_metrics(), Path::new("Val/metrics.csv"));
        assert_eq!((image_folder(7), image_folder(1234)), ("007".to_owned(), "1234".to_owned()));
    }
}
