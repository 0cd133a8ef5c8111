//! A table that only grows, a row at a time.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::metrics::frame::{Frame, Layout};
use crate::metrics::record::Record;

/// A table in a file of which nothing is kept in memory, for rows of batches and images: a
/// [`FrameFile`](crate::metrics::FrameFile) would keep all of them.
///
/// The columns are those of the first record, and every column has values of one type, so that the bytes of a row do not
/// depend on the others. A row is in the file when [`add`](RowFile::add) returns; it is not synced to the device.
#[derive(Debug)]
pub struct RowFile {
    path: PathBuf,
    layout: Layout,
    columns: Vec<String>,
    /// How long the file is; what stands behind is not ours.
    bytes: u64,
    file: Option<File>,
    durable: bool,
}

impl RowFile {
    /// A table at `path`, whose folder is made with the first row. A file that is there is replaced then.
    pub fn new(path: impl Into<PathBuf>, layout: Layout) -> RowFile {
        RowFile { path: path.into(), layout, columns: Vec::new(), bytes: 0, file: None, durable: false }
    }

    /// Whether each row is synced to the device; it is not by default, but with every [`state`](RowFile::state).
    #[must_use]
    pub fn durable(mut self, durable: bool) -> RowFile {
        self.durable = durable;
        self
    }

    /// Whether there is no row yet.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a row: the cells of the table's columns, empty where the record has none.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn add(&mut self, record: &Record) -> Result<()> {
        let mut frame = Frame::with_layout(self.layout, Record::new());
        if self.bytes == 0 {
            frame.add(record.clone())?;
            self.columns = frame.columns().to_vec();
        } else {
            let mut row = Record::new();
            for column in &self.columns {
                row.set(column, record.get(column).cloned().unwrap_or(crate::metrics::Value::None));
            }
            frame.add(row)?;
        }
        let text = frame.to_csv();
        let text = match (self.bytes, text.find('\n')) {
            // Names of columns hold no line feeds: the first ends the header.
            (1.., Some(end)) => &text[end + 1..],
            _ => &text,
        };
        let durable = self.durable;
        let written = self.open().and_then(|file| {
            file.write_all(text.as_bytes())?;
            if durable { file.sync_data() } else { Ok(()) }
        });
        if let Err(error) = written {
            // A part of the row may be there: the next one starts where this one did.
            self.file = None;
            return Err(Error::io("write", &self.path, error));
        }
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// The file, ended where the last row does.
    fn open(&mut self) -> std::io::Result<&mut File> {
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            file.set_len(self.bytes)?;
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| std::io::Error::other("the file was not opened"))
    }

    /// What has to be known to go on with the file, whose rows are synced to the device.
    pub fn state(&self) -> serde_json::Value {
        if let Some(file) = &self.file
            && let Err(error) = file.sync_data()
        {
            tracing::warn!("Unable to sync {}: {error}", self.path.display());
        }
        serde_json::json!({ "columns": self.columns, "bytes": self.bytes })
    }

    /// Goes on where [`state`](RowFile::state) was taken: rows behind it are cut off.
    ///
    /// # Errors
    /// `InvalidState` for a state of another kind; what the operating system says. A file that is shorter than it was (it was
    /// taken away or lost its end in a power cut) is gone on with behind its last whole row, with a warning.
    pub fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        let wrong = || Error::new(ErrorKind::InvalidState, "not the state of a table").at_path(&self.path);
        let bytes = state["bytes"].as_u64().ok_or_else(wrong)?;
        let columns = serde_json::from_value(state["columns"].clone()).map_err(|_| wrong())?;
        let there = fs::metadata(&self.path).map_or(0, |own| own.len());
        let path = self.path.clone();
        let mut kept = bytes;
        if there < bytes {
            tracing::warn!(
                "{}: expected the {bytes} bytes that the checkpoint knows of, got {there}: rows are missing",
                path.display()
            );
            let text = if there == 0 {
                Vec::new()
            } else {
                fs::read(&path).map_err(|error| Error::io("read", &path, error))?
            };
            kept = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1);
        }
        (self.bytes, self.columns, self.file) = (kept, columns, None);
        if there > kept {
            self.open().map_err(|error| Error::io("write", &path, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(batch: i64, loss: f64) -> Record {
        Record::new().with("batch", batch).with("loss", loss)
    }

    #[test]
    fn rows_are_those_of_a_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.csv");
        for layout in [Layout::Csv, Layout::Tsv] {
            let (mut own, mut frame) =
                (RowFile::new(&path, layout), Frame::with_layout(layout, Record::new()));
            for (batch, loss) in [(1, 0.5), (2, f64::NAN), (3, 1e-9), (4, f64::INFINITY)] {
                own.add(&row(batch, loss)).unwrap();
                frame.add(row(batch, loss)).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), frame.to_csv());
            }
        }
    }

    #[test]
    fn a_table_goes_on_where_its_state_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.csv");
        let mut whole = RowFile::new(&path, Layout::Csv);
        for batch in 0..3 {
            whole.add(&row(batch, 0.5)).unwrap();
        }
        let state = whole.state();
        whole.add(&row(3, 0.25)).unwrap();
        let expected = fs::read(&path).unwrap();
        // The run went on, and was cut off within a row.
        whole.add(&row(4, 0.125)).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(expected.len() as u64 + 5).unwrap();
        let mut again = RowFile::new(&path, Layout::Csv);
        again.restore(&state).unwrap();
        assert!(fs::read(&path).unwrap().ends_with(b"2,0.500000\n"));
        again.add(&row(3, 0.25)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), expected);
        // A file that lost its end goes on behind its last whole row, one that is gone begins anew.
        fs::write(&path, "batch,loss\n0,0.500000\n1,0.5").unwrap();
        again.restore(&state).unwrap();
        again.add(&row(7, 0.25)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "batch,loss\n0,0.500000\n7,0.250000\n");
        fs::remove_file(&path).unwrap();
        again.restore(&state).unwrap();
        again.add(&row(7, 0.25)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "batch,loss\n7,0.250000\n");
        assert_eq!(again.restore(&serde_json::json!(3)).unwrap_err().kind(), ErrorKind::InvalidState);
    }
}
