//! The loss of every batch in a CSV file.

use std::path::PathBuf;

use serde_json::Value;

use crate::error::Result;
use crate::hooks::{Callback, Context, Phase};
use crate::metrics::{Layout, Record, RowFile};

/// Writes `epoch,batch,loss` of every training batch, both from 1.
#[derive(Debug)]
pub struct BatchLosses(RowFile);

impl BatchLosses {
    /// The file.
    pub fn new(path: impl Into<PathBuf>) -> BatchLosses {
        BatchLosses(RowFile::new(path, Layout::Csv))
    }
}

impl Callback for BatchLosses {
    fn batch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let state = &context.state;
        if let (Phase::Train, Some(loss)) = (state.phase, context.loss()) {
            let (epoch, batch) = (state.epoch, state.batch);
            self.0.add(&Record::new().with("epoch", epoch).with("batch", batch).with("loss", loss))?;
        }
        Ok(())
    }

    fn state_dict(&self) -> Option<Value> {
        Some(self.0.state())
    }

    fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        self.0.restore(state)
    }

    fn name(&self) -> &str {
        "batch_losses"
    }
}
