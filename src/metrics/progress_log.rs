//! geo-deep-learning's `progress.log`: a line a batch, for programs that watch a run.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::metrics::number_text::shortest;

/// The name of the file in a run's folder.
pub const PROGRESS_LOG: &str = "progress.log";
/// Its first line.
pub const PROGRESS_HEADER: &str = "ep_idx\tphase\titer\ti_p_ep\ttime\n";

/// What a batch was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressPhase {
    /// Training: `trn`.
    Trn,
    /// Validation: `val`.
    Val,
    /// Test of the best checkpoint: `tst`, with the number of epochs as epoch.
    Tst,
}

impl ProgressPhase {
    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            ProgressPhase::Trn => "trn",
            ProgressPhase::Val => "val",
            ProgressPhase::Tst => "tst",
        }
    }
}

/// The file, open for appending. Lines are not synced to the device: it tells of progress, not of results.
#[derive(Debug)]
pub struct ProgressLog {
    path: PathBuf,
    file: File,
}

impl ProgressLog {
    /// Opens the file at `path`, whose folder exists; a new or empty one gets the header, another is gone on with.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(path: impl Into<PathBuf>) -> Result<ProgressLog> {
        let path = path.into();
        let failed = |error| Error::io("open the progress log", &path, error);
        let mut file = OpenOptions::new().append(true).create(true).open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() == 0 {
            file.write_all(PROGRESS_HEADER.as_bytes()).map_err(failed)?;
        }
        Ok(ProgressLog { path, file })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the line of a batch: `epoch` and `batch` from 0, `batches` in the epoch, `time` in seconds since 1970.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn add(
        &mut self,
        epoch: u64,
        phase: ProgressPhase,
        batch: u64,
        batches: u64,
        time: f64,
    ) -> Result<()> {
        let line = format!("{epoch}\t{}\t{batch}\t{batches}\t{}\n", phase.name(), shortest(time));
        self.file
            .write_all(line.as_bytes())
            .map_err(|error| Error::io("append to the progress log", &self.path, error))
    }

    /// Seconds since 1970, for [`add`](ProgressLog::add).
    pub fn now() -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_batch_and_one_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(PROGRESS_LOG);
        let mut log = ProgressLog::open(&path).unwrap();
        log.add(0, ProgressPhase::Trn, 0, 12, 1_700_000_000.123).unwrap();
        drop(log);
        let mut log = ProgressLog::open(&path).unwrap();
        log.add(0, ProgressPhase::Val, 1, 3, 1_700_000_001.0).unwrap();
        log.add(5, ProgressPhase::Tst, 2, 3, 1_700_000_002.5).unwrap();
        assert_eq!(
            std::fs::read_to_string(log.path()).unwrap(),
            "ep_idx\tphase\titer\ti_p_ep\ttime\n0\ttrn\t0\t12\t1700000000.123\n0\tval\t1\t3\t1700000001.0\n\
             5\ttst\t2\t3\t1700000002.5\n"
        );
        assert!(ProgressLog::now() > 1.6e9);
        assert_eq!(
            ProgressLog::open(folder.path().join("no/progress.log")).unwrap_err().kind(),
            crate::ErrorKind::NotFound
        );
    }
}
