//! The logger that keeps what a run logs, epoch by epoch, until it goes to the files of epochs.

use crate::error::{Error, ErrorKind, Result};
use crate::metrics::epoch_metrics::{EpochRowForm, store_epoch_metrics};
use crate::metrics::frame_file::FrameFile;
use crate::metrics::logging_columns::EPOCH;
use crate::metrics::metric_type::{TRAIN_PREFIX, VALIDATION_PREFIX};
use crate::metrics::record::Record;
use crate::metrics::value::Value;

/// What became of the results of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EpochResults {
    /// A row went to each of the two files.
    Written,
    /// There is no such epoch yet: its number is negative.
    NoEpoch,
    /// Nothing was logged for it. [`message`](EpochResults::message) is what older releases print.
    Skipped {
        /// The epoch.
        epoch: i64,
    },
}

impl EpochResults {
    /// `Skipping, no results for 3`, if that is what happened.
    pub fn message(&self) -> Option<String> {
        match self {
            EpochResults::Skipped { epoch } => Some(format!("Skipping, no results for {epoch}")),
            _ => None,
        }
    }
}

/// Keeps metrics by epoch in the order in which they came (`StoringLogger`).
///
/// Its name is empty, its version 0 and it has no experiment, as far as a run that lists its loggers is concerned.
#[derive(Debug, Clone, Default)]
pub struct StoringLogger {
    results_per_epoch: Vec<(i64, Record)>,
    results_without_epoch: Vec<Record>,
    hyperparams: Option<Value>,
    /// Whatever a model wants to keep about its training steps.
    pub train_diagnostics: Vec<Value>,
    /// The same about its validation steps.
    pub val_diagnostics: Vec<Value>,
}

impl StoringLogger {
    /// An empty logger.
    pub fn new() -> StoringLogger {
        StoringLogger::default()
    }

    /// Keeps `metrics`: by epoch if they have a key `epoch` (a fraction is cut off), else among those without.
    ///
    /// With an epoch, integers become floats; a name that the epoch has already becomes a list of all its values.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if `epoch` is no finite number; nothing is kept.
    pub fn log_metrics(&mut self, mut metrics: Record) -> Result<()> {
        let Some(epoch) = metrics.remove(EPOCH) else {
            self.results_without_epoch.push(metrics);
            return Ok(());
        };
        let epoch = whole(&epoch)
            .ok_or_else(|| Error::invalid(format!("metrics with the epoch {epoch}: expected a number")))?;
        let metrics = metrics.iter().map(|(name, value)| {
            let value = match value {
                Value::Int(_) | Value::Bool(_) => value.as_f64().map_or(Value::None, Value::Float),
                other => other.clone(),
            };
            (name, value)
        });
        match self.results_per_epoch.iter_mut().find(|(known, _)| *known == epoch) {
            None => self.results_per_epoch.push((epoch, metrics.collect())),
            Some((_, results)) => {
                for (name, value) in metrics {
                    let merged = match results.get(name) {
                        None => value,
                        Some(Value::List(values)) => {
                            Value::List(values.iter().cloned().chain([value]).collect())
                        }
                        Some(old) => Value::List(vec![old.clone(), value]),
                    };
                    results.set(name, merged);
                }
            }
        }
        Ok(())
    }

    /// Keeps the hyperparameters, in place of earlier ones.
    pub fn log_hyperparams(&mut self, params: impl Into<Value>) {
        self.hyperparams = Some(params.into());
    }

    /// The hyperparameters that were logged last.
    pub fn hyperparams(&self) -> Option<&Value> {
        self.hyperparams.as_ref()
    }

    /// The epochs for which something was logged, in the order in which they came.
    pub fn epochs(&self) -> impl Iterator<Item = i64> {
        self.results_per_epoch.iter().map(|(epoch, _)| *epoch)
    }

    /// Everything that was logged for an epoch.
    pub fn results(&self, epoch: i64) -> Option<&Record> {
        self.results_per_epoch.iter().find(|(known, _)| *known == epoch).map(|(_, results)| results)
    }

    /// What was logged without an epoch, one record a call.
    pub fn results_without_epoch(&self) -> &[Record] {
        &self.results_without_epoch
    }

    /// The metrics of an epoch whose names begin with `prefix`, without it, in order; all for an empty prefix.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there are no results for the epoch.
    pub fn extract_by_prefix(&self, epoch: i64, prefix: &str) -> Result<Record> {
        let results = self.results(epoch).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("No results are stored for epoch {epoch}"))
        })?;
        Ok(with_prefix(results, prefix))
    }

    /// [`extract_by_prefix`](StoringLogger::extract_by_prefix) for every epoch.
    pub fn to_metrics_dicts(&self, prefix: &str) -> Vec<(i64, Record)> {
        self.results_per_epoch.iter().map(|(epoch, results)| (*epoch, with_prefix(results, prefix))).collect()
    }

    /// The value of one metric in each epoch: of training data or of validation data, by its name without prefix.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if an epoch lacks it; [`InvalidArgument`](ErrorKind::InvalidArgument) if it
    /// was logged several times for one epoch, or is no number.
    pub fn get_metric(&self, is_training: bool, metric: &str) -> Result<Vec<f64>> {
        let name = format!("{}{metric}", if is_training { TRAIN_PREFIX } else { VALIDATION_PREFIX });
        self.results_per_epoch
            .iter()
            .map(|(epoch, results)| match results.get(&name) {
                Some(Value::Float(value)) => Ok(*value),
                Some(other) => Err(Error::invalid(format!(
                    "Expected a floating point value for metric {name}, but got: {other}"
                ))),
                None => Err(Error::new(ErrorKind::NotFound, format!("epoch {epoch} has no metric {name:?}"))),
            })
            .collect()
    }

    /// Writes the results of an epoch: a row to the file of training data, then one to that of validation data, each
    /// even if there are no metrics of its kind (a row of the epoch and the fixed columns; as the first of a file it
    /// decides that there are no other columns).
    ///
    /// # Errors
    /// Those of [`store_epoch_metrics`].
    pub fn read_epoch_results(
        &self,
        epoch: i64,
        train: &mut FrameFile,
        val: &mut FrameFile,
        form: EpochRowForm,
    ) -> Result<EpochResults> {
        if epoch < 0 {
            return Ok(EpochResults::NoEpoch);
        }
        let Some(results) = self.results(epoch) else {
            return Ok(EpochResults::Skipped { epoch });
        };
        for (prefix, file) in [(TRAIN_PREFIX, train), (VALIDATION_PREFIX, val)] {
            store_epoch_metrics(&with_prefix(results, prefix), epoch, file, form)?;
        }
        Ok(EpochResults::Written)
    }

    /// Everything for a file of state.
    pub fn to_json(&self) -> serde_json::Value {
        let list = |values: &[Value]| values.iter().map(Value::to_json).collect::<serde_json::Value>();
        serde_json::json!({
            "results_per_epoch": self.results_per_epoch.iter()
                .map(|(epoch, results)| serde_json::json!([epoch, results.to_json()]))
                .collect::<Vec<_>>(),
            "results_without_epoch": self.results_without_epoch.iter().map(Record::to_json).collect::<Vec<_>>(),
            "hyperparams": self.hyperparams.as_ref().map(|params| [params.to_json()]),
            "train_diagnostics": list(&self.train_diagnostics),
            "val_diagnostics": list(&self.val_diagnostics),
        })
    }

    /// The logger that [`to_json`](StoringLogger::to_json) wrote.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for anything else.
    pub fn from_json(state: &serde_json::Value) -> Result<StoringLogger> {
        use serde_json::Value as Json;
        let wrong = || Error::invalid("not the state of a logger");
        let list = |name: &str| state.get(name).and_then(Json::as_array).ok_or_else(wrong);
        let values = |name: &str| list(name)?.iter().map(Value::from_json).collect::<Result<Vec<_>>>();
        let mut logger = StoringLogger {
            train_diagnostics: values("train_diagnostics")?,
            val_diagnostics: values("val_diagnostics")?,
            ..StoringLogger::default()
        };
        for entry in list("results_per_epoch")? {
            let epoch = entry.get(0).and_then(Json::as_i64).ok_or_else(wrong)?;
            let results = Record::from_json(entry.get(1).ok_or_else(wrong)?)?;
            logger.results_per_epoch.push((epoch, results));
        }
        for record in list("results_without_epoch")? {
            logger.results_without_epoch.push(Record::from_json(record)?);
        }
        if let Some(params) = state.get("hyperparams").and_then(|params| params.get(0)) {
            logger.hyperparams = Some(Value::from_json(params)?);
        }
        Ok(logger)
    }
}

fn with_prefix(results: &Record, prefix: &str) -> Record {
    results
        .iter()
        .filter_map(|(name, value)| name.strip_prefix(prefix).map(|name| (name, value.clone())))
        .collect()
}

/// The whole number that Python's `int` makes of it.
#[allow(clippy::cast_possible_truncation, reason = "cutting off the fraction is what is asked for")]
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => i64::try_from(*value).ok(),
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Float(value) if value.abs() < 9e18 => Some(*value as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::epoch_metrics::split_column;

    fn logged(records: Vec<Record>) -> StoringLogger {
        let mut logger = StoringLogger::new();
        for record in records {
            logger.log_metrics(record).unwrap();
        }
        let state = serde_json::to_string(&logger.to_json()).unwrap();
        let back = StoringLogger::from_json(&serde_json::from_str(&state).unwrap()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{logger:?}"));
        logger
    }

    #[test]
    fn values_of_one_name_become_a_list() {
        let mut logger = logged(vec![
            Record::new().with("train/Loss", 1).with("epoch", 0.0),
            Record::new().with("train/Loss", 0.5).with("epoch", 0).with("val/Loss", 2.0),
            Record::new().with("train/Loss", 3).with("epoch", 0.9),
            Record::new().with("x", 7),
        ]);
        let expected = Record::new()
            .with("train/Loss", vec![Value::Float(1.0), Value::Float(0.5), Value::Float(3.0)])
            .with("val/Loss", 2.0);
        assert_eq!(logger.results(0), Some(&expected));
        assert_eq!(logger.results_without_epoch(), [Record::new().with("x", 7)]);
        assert_eq!(logger.epochs().collect::<Vec<_>>(), [0]);
        logger.log_hyperparams(1);
        logger.log_hyperparams("a");
        assert_eq!(logger.hyperparams(), Some(&"a".into()));
        for bad in [Value::None, "x".into(), f64::NAN.into(), f64::INFINITY.into()] {
            assert!(logger.log_metrics(Record::new().with("epoch", bad)).is_err());
        }
    }

    #[test]
    fn metrics_by_prefix() {
        let logger = logged(vec![
            Record::new().with("train/b", 1.0).with("val/b", 2.0).with("train/a", 3.0).with("epoch", 4),
            Record::new().with("train/b", 5.0).with("epoch", 2),
        ]);
        let train = logger.extract_by_prefix(4, "train/").unwrap();
        assert_eq!(train, Record::new().with("b", 1.0).with("a", 3.0));
        assert_eq!(logger.extract_by_prefix(4, "").unwrap().len(), 3);
        let error = logger.extract_by_prefix(3, "").unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::NotFound, "No results are stored for epoch 3")
        );
        let all = logger.to_metrics_dicts("val/");
        assert_eq!(all, [(4, Record::new().with("b", 2.0)), (2, Record::new())]);
        assert_eq!(logger.get_metric(true, "b").unwrap(), [1.0, 5.0]);
        assert_eq!(logger.get_metric(false, "b").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_list_is_no_number() {
        let record = || Record::new().with("val/b", 0.5).with("epoch", 1);
        let logger = logged(vec![record(), record()]);
        assert_eq!(
            logger.get_metric(false, "b").unwrap_err().message(),
            "Expected a floating point value for metric val/b, but got: [0.5, 0.5]"
        );
    }

    #[test]
    fn both_files_get_a_row() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| FrameFile::new(folder.path().join(name), split_column(1));
        let (mut train, mut val) = (open("Train/e.csv"), open("Val/e.csv"));
        let mut logger = logged(vec![Record::new().with("train/Loss", 0.5).with("epoch", 0)]);
        let form = EpochRowForm::default();
        let read = |logger: &StoringLogger, epoch, train: &mut _, val: &mut _| {
            logger.read_epoch_results(epoch, train, val, form).unwrap()
        };
        assert_eq!(read(&logger, -1, &mut train, &mut val), EpochResults::NoEpoch);
        let skipped = read(&logger, 3, &mut train, &mut val);
        assert_eq!(skipped.message().unwrap(), "Skipping, no results for 3");
        assert!(!folder.path().join("Train").exists());
        assert_eq!(read(&logger, 0, &mut train, &mut val), EpochResults::Written);
        // A second row of validation metrics comes too late for its columns; two losses of one epoch are a list.
        for loss in [0.25, 0.75] {
            let record = Record::new().with("val/Loss", loss).with("train/Loss", loss).with("epoch", 1);
            logger.log_metrics(record).unwrap();
        }
        read(&logger, 1, &mut train, &mut val);
        let text = |file: &FrameFile| std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text(&train), "loss,epoch,cross_validation_split_index\n0.5,0,1\n\"[0.25, 0.75]\",1,1\n");
        assert_eq!(text(&val), "epoch,cross_validation_split_index\n0,1\n1,1\n");
    }
}
