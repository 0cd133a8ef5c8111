//! One row an epoch: from the metrics of a finished epoch to a row of `epoch_metrics.csv`.

use crate::error::{Error, Result};
use crate::metrics::frame_file::FrameFile;
use crate::metrics::logging_columns::{
    CROSS_VALIDATION_SPLIT_INDEX, EPOCH, SECONDS_PER_BATCH, SECONDS_PER_EPOCH, column_of,
};
use crate::metrics::metric_type;
use crate::metrics::record::Record;

/// How names of metrics become columns; the rules changed over the releases of the training side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EpochRowForm {
    /// A name may have one hue behind a slash; what measures run time is left out (release 0.3).
    #[default]
    WithoutRunTimes,
    /// The same, but nothing is left out (later releases, which have no such metrics).
    All,
    /// The whole name is looked up, hue and all: `Dice/x` and `Loss/x` stay as they are, run times get their
    /// columns, any number of slashes will do (before hues existed).
    Oldest,
}

/// The fixed column of the files of epochs: which fold, −1 outside of a cross validation.
pub fn split_column(cross_validation_split_index: i64) -> Record {
    Record::new().with(CROSS_VALIDATION_SPLIT_INDEX, cross_validation_split_index)
}

/// The row of an epoch: each metric under its column ([`column_of`], or its own name) with its hue, `epoch` last.
///
/// The names come without `train/` or `val/`. Two names with one column: the later value, at the place of the first.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a name with two or more slashes, unless the form is
/// [`Oldest`](EpochRowForm::Oldest).
pub fn epoch_row(metrics: &Record, epoch: i64, form: EpochRowForm) -> Result<Record> {
    let mut row = Record::new();
    for (key, value) in metrics {
        if form == EpochRowForm::Oldest {
            let column = match key {
                metric_type::SECONDS_PER_BATCH => Some(SECONDS_PER_BATCH),
                metric_type::SECONDS_PER_EPOCH => Some(SECONDS_PER_EPOCH),
                key => column_of(key),
            };
            row.set(column.unwrap_or(key), value.clone());
            continue;
        }
        let (name, hue) = key.split_at(key.find('/').unwrap_or(key.len()));
        if hue.matches('/').count() > 1 {
            return Err(Error::invalid(format!(
                "Expected key to have format 'metric_name[/optional_suffix_for_hue]', got {key}"
            )));
        }
        let is_run_time = matches!(name, metric_type::SECONDS_PER_BATCH | metric_type::SECONDS_PER_EPOCH);
        if is_run_time && form == EpochRowForm::WithoutRunTimes {
            continue;
        }
        row.set(format!("{}{hue}", column_of(name).unwrap_or(name)), value.clone());
    }
    row.set(EPOCH, epoch);
    Ok(row)
}

/// Adds the row of an epoch to `file`, which is up to date when this returns.
///
/// # Errors
/// Those of [`epoch_row`] and [`FrameFile::add`].
pub fn store_epoch_metrics(
    metrics: &Record,
    epoch: i64,
    file: &mut FrameFile,
    form: EpochRowForm,
) -> Result<()> {
    let row = epoch_row(metrics, epoch, form).map_err(|error| error.at_path(file.path()))?;
    file.add(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::result_files::ExecutionMode;

    fn names(metrics: &Record, form: EpochRowForm) -> Vec<String> {
        epoch_row(metrics, 3, form).unwrap().iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn names_become_columns() {
        let metrics: Record = [
            ("Loss", 0.5),
            ("SecondsPerBatch", 0.1),
            ("LearningRate", 1e-5),
            ("Dice/lung_l", 0.25),
            ("AreaUnderRocCurve/Seq_pos 01", 0.75),
            ("SecondsPerEpoch/x", 3.0),
            ("Loss/", 1.0),
            ("/Loss", 2.0),
            ("other", 4.0),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            names(&metrics, EpochRowForm::WithoutRunTimes),
            [
                "loss",
                "learning_rate",
                "Dice/lung_l",
                "area_under_roc_curve/Seq_pos 01",
                "loss/",
                "/Loss",
                "other",
                "epoch"
            ]
        );
        assert_eq!(names(&metrics, EpochRowForm::All).len(), 10);
        assert!(names(&metrics, EpochRowForm::All).contains(&"SecondsPerBatch".to_owned()));
        let oldest = names(&metrics, EpochRowForm::Oldest);
        assert_eq!(oldest[..3], ["loss", "seconds_per_batch", "learning_rate"]);
        assert_eq!(oldest[4..7], ["AreaUnderRocCurve/Seq_pos 01", "SecondsPerEpoch/x", "Loss/"]);
    }

    #[test]
    fn an_epoch_among_the_metrics_keeps_its_place() {
        let metrics = Record::new().with("epoch", 9.0).with("Loss", 1.0).with("loss", 2.0);
        let row = epoch_row(&metrics, 3, EpochRowForm::default()).unwrap();
        assert_eq!(row, Record::new().with("epoch", 3).with("loss", 2.0));
    }

    #[test]
    fn two_slashes_are_refused() {
        let metrics = Record::new().with("foo/bar/baz", 1.0);
        let error = epoch_row(&metrics, 0, EpochRowForm::All).unwrap_err();
        assert_eq!(
            error.message(),
            "Expected key to have format 'metric_name[/optional_suffix_for_hue]', got foo/bar/baz"
        );
        assert_eq!(names(&metrics, EpochRowForm::Oldest), ["foo/bar/baz", "epoch"]);
    }

    #[test]
    fn the_file_of_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ExecutionMode::Train.epoch_metrics());
        let mut file = FrameFile::new(&path, split_column(-1));
        for (epoch, rate) in [(0, 1e-5), (1, 1e-7)] {
            let metrics =
                Record::new().with("SubjectCount", 2.0).with("Loss", 0.5).with("LearningRate", rate);
            store_epoch_metrics(&metrics, epoch, &mut file, EpochRowForm::default()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "subject_count,loss,learning_rate,epoch,cross_validation_split_index\n\
             2.000000,0.500000,0.000010,0,-1\n2.000000,0.500000,0.000000,1,-1\n"
        );
        let bad = Record::new().with("a/b/c", 1.0);
        let error = store_epoch_metrics(&bad, 2, &mut file, EpochRowForm::default()).unwrap_err();
        assert_eq!((error.path(), file.frame().len()), (Some(path.as_path()), 2));
    }
}
