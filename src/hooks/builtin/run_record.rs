//! What was done in a run, for people and programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::file::StagedFile;
use crate::hooks::{Callback, Context};

/// Keeps a record of the run in a file, up to date after every epoch: version, settings, where it stands, the metrics of
/// every epoch, how it ended. TOML where the name ends in `.toml`, else JSON. It has times in it, so it is never the same
/// twice.
#[derive(Debug)]
pub struct RunRecord {
    path: PathBuf,
    sections: Map<String, Value>,
    epochs: Vec<Value>,
    started: Instant,
    /// Whether a training has begun: else there is nothing to write, and what an earlier part has written stays.
    has_begun: bool,
}

impl RunRecord {
    /// In the file `path`.
    pub fn new(path: impl Into<PathBuf>) -> RunRecord {
        RunRecord {
            path: path.into(),
            sections: Map::new(),
            epochs: Vec::new(),
            started: Instant::now(),
            has_begun: false,
        }
    }

    /// Adds settings under a name, such as `fit` and the
    /// [`FitOptions`](crate::finetune::FitOptions).
    ///
    /// # Errors
    /// `InvalidArgument` for what has no form in JSON.
    pub fn section(mut self, name: &str, settings: &impl Serialize) -> Result<RunRecord> {
        let settings = serde_json::to_value(settings)
            .map_err(|error| Error::invalid(format!("section {name:?} of the record")).caused_by(error))?;
        self.sections.insert(name.to_owned(), settings);
        Ok(self)
    }

    /// The metrics of epochs that the file has.
    fn rows_of_file(&self) -> Option<Vec<Value>> {
        let text = fs::read_to_string(&self.path).ok()?;
        let record: Value = match self.is_toml() {
            true => serde_json::to_value(toml::from_str::<toml::Value>(&text).ok()?).ok()?,
            false => serde_json::from_str(&text).ok()?,
        };
        record["metrics"].as_array().cloned()
    }

    fn is_toml(&self) -> bool {
        self.path.extension().is_some_and(|own| own == "toml")
    }

    fn write(&self, context: &Context<'_>, status: &str) -> Result<()> {
        let state = &context.state;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut record = json!({
            "glebe": env!("CARGO_PKG_VERSION"),
            "status": status,
            "written_unix_s": since,
            "seconds": self.started.elapsed().as_secs_f64(),
            "epoch": state.epoch,
            "epochs": state.epochs,
            "global_step": state.global_step,
        });
        if let Value::Object(record) = &mut record {
            if !state.checkpoint_message.is_empty() {
                record.insert("checkpoint_message".to_owned(), state.checkpoint_message.as_str().into());
            }
            if let Some(error) = context.error() {
                record.insert("error".to_owned(), error.one_line().into());
            }
            record.insert("settings".to_owned(), Value::Object(self.sections.clone()));
            record.insert("metrics".to_owned(), Value::Array(self.epochs.clone()));
        }
        let text = if self.is_toml() {
            toml::to_string_pretty(&without_null(record))
                .map_err(|error| Error::internal("cannot write TOML").caused_by(error))?
        } else {
            format!("{record:#}\n")
        };
        write(&self.path, &text)
    }
}

/// TOML has no null, and no integer above those of `i64`: such a one becomes text.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(own) => own
            .into_iter()
            .filter(|(_, own)| !own.is_null())
            .map(|(name, own)| (name, without_null(own)))
            .collect(),
        Value::Array(own) => own.into_iter().filter(|own| !own.is_null()).map(without_null).collect(),
        Value::Number(own) if own.is_u64() && !own.is_i64() => Value::String(own.to_string()),
        other => other,
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Error::io("make", folder, error))?;
    }
    let staged = StagedFile::replacing(path)?;
    fs::write(staged.path(), text).map_err(|error| Error::io("write", path, error))?;
    staged.commit(true)
}

impl Callback for RunRecord {
    fn train_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.has_begun = true;
        self.write(context, "running")
    }

    fn epoch_metrics(&mut self, context: &mut Context<'_>) -> Result<()> {
        let mut row = Map::new();
        row.insert("epoch".to_owned(), context.state.epoch.into());
        for (name, value) in context.metrics() {
            row.insert(name.clone(), (*value).into());
        }
        self.epochs.push(Value::Object(row));
        self.write(context, "running")
    }

    fn train_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.write(context, "done")
    }

    fn exception(&mut self, context: &mut Context<'_>) -> Result<()> {
        if self.has_begun { self.write(context, "failed") } else { Ok(()) }
    }

    fn state_dict(&self) -> Option<Value> {
        // The rows are in the file.
        Some(json!({ "rows": self.epochs.len() }))
    }

    fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        let wrong = || Error::new(ErrorKind::InvalidState, "not the state of a record");
        let rows = state["rows"].as_u64().ok_or_else(wrong)?;
        self.has_begun = true;
        self.epochs = self.rows_of_file().unwrap_or_default();
        self.epochs.truncate(usize::try_from(rows).unwrap_or(usize::MAX));
        if (self.epochs.len() as u64) < rows {
            tracing::warn!("{}: metrics of earlier epochs are missing", self.path.display());
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "run_record"
    }
}
