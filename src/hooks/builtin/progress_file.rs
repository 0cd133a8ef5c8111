//! geo-deep-learning's `progress.log`.

use std::fs;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::hooks::{Callback, Context, Phase};
use crate::metrics::{PROGRESS_LOG, ProgressLog, ProgressPhase};

/// Writes `progress.log`: a line for every batch, as it begins, for programs that watch a run.
///
/// Epochs count from 0; a test has the number of epochs.
#[derive(Debug)]
pub struct ProgressFile {
    folder: PathBuf,
    log: Option<ProgressLog>,
}

impl ProgressFile {
    /// In `folder`, which is made where it is not there; a file that is there is gone on with.
    pub fn new(folder: impl Into<PathBuf>) -> ProgressFile {
        ProgressFile { folder: folder.into(), log: None }
    }
}

impl Callback for ProgressFile {
    fn batch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        let state = &context.state;
        let (phase, epoch) = match state.phase {
            Phase::Train => (ProgressPhase::Trn, state.epoch.saturating_sub(1)),
            Phase::Validation => (ProgressPhase::Val, state.epoch.saturating_sub(1)),
            Phase::Test => (ProgressPhase::Tst, state.epochs),
            _ => return Ok(()),
        };
        if self.log.is_none() {
            fs::create_dir_all(&self.folder).map_err(|error| Error::io("make", &self.folder, error))?;
            self.log = Some(ProgressLog::open(self.folder.join(PROGRESS_LOG))?);
        }
        let batch = state.batch.saturating_sub(1);
        match &mut self.log {
            Some(log) => log.add(epoch, phase, batch, state.batches, ProgressLog::now()),
            None => Ok(()),
        }
    }

    fn name(&self) -> &str {
        "progress_file"
    }
}
