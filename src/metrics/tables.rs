//! ClinicaDL's tables of a run: losses of batches, metrics of validations.

use std::path::Path;

use crate::error::Result;
use crate::metrics::frame::Layout;
use crate::metrics::record::Record;
use crate::metrics::row_file::RowFile;
use crate::metrics::value::Value;

/// The file of the losses, in the folder `logs` of a split.
pub const TRAINING_LOSS: &str = "training_loss.tsv";
/// The folder of the two tables of metrics.
pub const VALIDATION_METRICS: &str = "validation_metrics";
/// The table of metrics over all participants, a row a validation.
pub const AGGREGATED: &str = "aggregated.tsv";
/// The table of metrics of each participant, a row a participant and validation.
pub const DETAILS: &str = "details.tsv";
/// The column of the participant.
pub const PARTICIPANT_ID: &str = "participant_id";
/// The column of the session.
pub const SESSION_ID: &str = "session_id";

/// `training_loss.tsv`: `epoch`, `batch`, `loss`; epochs and batches count from 1.
#[derive(Debug)]
pub struct TrainingLossTable(RowFile);

impl TrainingLossTable {
    /// The table in `folder`.
    pub fn new(folder: impl AsRef<Path>) -> TrainingLossTable {
        TrainingLossTable(tsv(folder.as_ref(), TRAINING_LOSS))
    }

    /// Adds the loss of a batch.
    ///
    /// # Errors
    /// Those of [`RowFile::add`].
    pub fn add(&mut self, epoch: u64, batch: u64, loss: f64) -> Result<()> {
        self.0.add(&Record::new().with("epoch", epoch).with("batch", batch).with("loss", loss))
    }

    /// The file.
    pub fn file(&self) -> &RowFile {
        &self.0
    }

    /// The file, to go on with it.
    pub fn file_mut(&mut self) -> &mut RowFile {
        &mut self.0
    }
}

/// What a validation found for one participant.
#[derive(Debug, Clone, PartialEq)]
pub struct ParticipantMetrics {
    /// The metrics by name.
    pub metrics: Record,
    /// The participant.
    pub participant_id: String,
    /// The session.
    pub session_id: String,
}

/// `validation_metrics/aggregated.tsv` and `details.tsv`.
///
/// Columns are the metrics of the first row, then (in the details) participant and session, then `epoch`.
#[derive(Debug)]
pub struct ValidationTables {
    aggregated: RowFile,
    details: RowFile,
}

impl ValidationTables {
    /// The two tables in `validation_metrics` below `folder`.
    pub fn new(folder: impl AsRef<Path>) -> ValidationTables {
        let folder = folder.as_ref().join(VALIDATION_METRICS);
        ValidationTables { aggregated: tsv(&folder, AGGREGATED), details: tsv(&folder, DETAILS) }
    }

    /// Adds what the validation after `epoch` found. `epoch` is a number, or the name of a checkpoint.
    ///
    /// # Errors
    /// Those of [`RowFile::add`].
    pub fn add(
        &mut self,
        epoch: impl Into<Value>,
        aggregated: &Record,
        details: &[ParticipantMetrics],
    ) -> Result<()> {
        let epoch = epoch.into();
        for row in details {
            let cells = row.metrics.clone().with(PARTICIPANT_ID, row.participant_id.as_str());
            let cells = cells.with(SESSION_ID, row.session_id.as_str());
            self.details.add(&cells.with("epoch", epoch.clone()))?;
        }
        self.aggregated.add(&aggregated.clone().with("epoch", epoch))
    }

    /// What has to be known to go on with the tables.
    pub fn state(&self) -> serde_json::Value {
        serde_json::json!([self.aggregated.state(), self.details.state()])
    }

    /// Goes on where [`state`](ValidationTables::state) was taken.
    ///
    /// # Errors
    /// Those of [`RowFile::restore`].
    pub fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        self.aggregated.restore(&state[0])?;
        self.details.restore(&state[1])
    }

    /// The table over all participants.
    pub fn aggregated(&self) -> &RowFile {
        &self.aggregated
    }

    /// The table of each participant.
    pub fn details(&self) -> &RowFile {
        &self.details
    }
}

fn tsv(folder: &Path, name: &str) -> RowFile {
    RowFile::new(folder.join(name), Layout::Tsv)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(file: &RowFile) -> String {
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn losses() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = TrainingLossTable::new(folder.path().join("logs"));
        for (batch, loss) in [(1, 0.123_456_789_012_345_68), (2, 0.5), (3, f64::NAN), (4, 1e-5)] {
            table.add(1, batch, loss).unwrap();
        }
        assert!(table.file().path().ends_with("logs/training_loss.tsv"));
        assert_eq!(
            text(table.file()),
            "epoch\tbatch\tloss\n1\t1\t0.12345678901234568\n1\t2\t0.5\n1\t3\t\n1\t4\t1e-05\n"
        );
        let mut resumed = TrainingLossTable::new(folder.path().join("logs"));
        resumed.file_mut().restore(&table.file().state()).unwrap();
        resumed.add(2, 1, 0.25).unwrap();
        assert!(text(resumed.file()).ends_with("1e-05\n2\t1\t0.25\n"));
    }

    #[test]
    fn validations() {
        let folder = tempfile::tempdir().unwrap();
        let mut tables = ValidationTables::new(folder.path());
        let participant = |number: u32, loss: f64| ParticipantMetrics {
            metrics: Record::new().with("loss", loss).with("BA", Value::None),
            participant_id: format!("sub-{number:03}"),
            session_id: "ses-M000".to_owned(),
        };
        let mean = Record::new().with("loss", 0.2).with("BA", 0.75);
        tables.add(1, &mean, &[participant(1, 0.1), participant(2, 0.3)]).unwrap();
        tables.add(2, &mean, &[participant(1, 0.05)]).unwrap();
        assert!(tables.details().path().ends_with("validation_metrics/details.tsv"));
        assert_eq!(text(tables.aggregated()), "loss\tBA\tepoch\n0.2\t0.75\t1\n0.2\t0.75\t2\n");
        assert_eq!(
            text(tables.details()),
            "loss\tBA\tparticipant_id\tsession_id\tepoch\n0.1\t\tsub-001\tses-M000\t1\n\
             0.3\t\tsub-002\tses-M000\t1\n0.05\t\tsub-001\tses-M000\t2\n"
        );
        let mut resumed = ValidationTables::new(folder.path());
        resumed.restore(&tables.state()).unwrap();
        resumed.add("final", &mean, &[]).unwrap();
        assert!(text(resumed.aggregated()).ends_with("\t2\n0.2\t0.75\tfinal\n"));
    }
}
