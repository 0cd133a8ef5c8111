//! InnerEye's storing logger.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::error::Result;
use crate::hooks::{Callback, Context};
use crate::metrics::{Record, StoringLogger};

/// Keeps the metrics of every epoch in a [`StoringLogger`], for whoever asks later. Epochs count from 0, as there.
#[derive(Debug, Clone, Default)]
pub struct StoringLog(Arc<Mutex<StoringLogger>>);

impl StoringLog {
    /// Of a run that begins.
    pub fn new() -> StoringLog {
        StoringLog::default()
    }

    /// Reads the logger. A clone of this callback, taken before it was given away, reads the same one.
    pub fn read<R>(&self, work: impl FnOnce(&StoringLogger) -> R) -> R {
        work(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Callback for StoringLog {
    fn epoch_metrics(&mut self, context: &mut Context<'_>) -> Result<()> {
        let metrics = context.metrics().iter().map(|(name, value)| (name.as_str(), *value));
        let epoch = i64::try_from(context.state.epoch).unwrap_or(i64::MAX) - 1;
        let record = metrics.collect::<Record>().with("epoch", epoch);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).log_metrics(record)
    }

    fn state_dict(&self) -> Option<Value> {
        Some(self.read(StoringLogger::to_json))
    }

    fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = StoringLogger::from_json(state)?;
        Ok(())
    }

    fn name(&self) -> &str {
        "storing_log"
    }
}
