//! `epoch_metrics.csv`, a row an epoch.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::Result;
use crate::hooks::{Callback, Context};
use crate::metrics::metric_type::{TRAIN_PREFIX, VALIDATION_PREFIX};
use crate::metrics::result_files::ExecutionMode;
use crate::metrics::{EpochRowForm, Layout, Record, RowFile, epoch_row, split_column};

/// Writes `Train/epoch_metrics.csv` and `Val/epoch_metrics.csv`, to the byte as InnerEye does.
///
/// Epochs count from 0 there. A row is written as soon as its metrics are known, before the epoch's checkpoint; the reference
/// writes it at the end of the next epoch, and loses it in a crash. An epoch without a validation has no row in `Val`; in the
/// reference it has an empty one, which as the first takes away the columns of all others
/// ([`empty_rows`](EpochCsv::empty_rows)).
#[derive(Debug)]
pub struct EpochCsv {
    train: RowFile,
    val: RowFile,
    split_index: i64,
    form: EpochRowForm,
    empty_rows: bool,
}

impl EpochCsv {
    /// Files below the folder `outputs`, for a run that is no part of a cross-validation.
    pub fn new(outputs: impl AsRef<Path>) -> EpochCsv {
        EpochCsv::of_split(outputs, -1)
    }

    /// Files of one split of a cross-validation, whose index is in each row.
    pub fn of_split(outputs: impl AsRef<Path>, index: i64) -> EpochCsv {
        // All metrics are floats, so no row changes the bytes of another, and none has to be kept.
        let file = |mode: ExecutionMode| {
            RowFile::new(outputs.as_ref().join(mode.epoch_metrics()), Layout::Csv).durable(true)
        };
        EpochCsv {
            train: file(ExecutionMode::Train),
            val: file(ExecutionMode::Val),
            split_index: index,
            form: EpochRowForm::default(),
            empty_rows: false,
        }
    }

    /// How metrics become columns.
    pub fn form(mut self, form: EpochRowForm) -> EpochCsv {
        self.form = form;
        self
    }

    /// Whether both files get a row of every epoch, as in the reference.
    pub fn empty_rows(mut self, wanted: bool) -> EpochCsv {
        self.empty_rows = wanted;
        self
    }
}

/// The metrics whose names begin so, without it.
fn with_prefix(metrics: &[(String, f64)], prefix: &str) -> Record {
    metrics.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, *value))).collect()
}

impl Callback for EpochCsv {
    fn epoch_metrics(&mut self, context: &mut Context<'_>) -> Result<()> {
        let epoch = i64::try_from(context.state.epoch).unwrap_or(i64::MAX) - 1;
        for (prefix, file) in [(TRAIN_PREFIX, &mut self.train), (VALIDATION_PREFIX, &mut self.val)] {
            let metrics = with_prefix(context.metrics(), prefix);
            if !metrics.is_empty() || self.empty_rows {
                let mut row =
                    epoch_row(&metrics, epoch, self.form).map_err(|error| error.at_path(file.path()))?;
                row.overlay(&split_column(self.split_index));
                file.add(&row)?;
            }
        }
        Ok(())
    }

    fn state_dict(&self) -> Option<Value> {
        Some(json!({ "train": self.train.state(), "val": self.val.state() }))
    }

    fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        // Rows of epochs that come again are taken away now.
        self.train.restore(&state["train"])?;
        self.val.restore(&state["val"])
    }

    fn name(&self) -> &str {
        "epoch_csv"
    }
}
