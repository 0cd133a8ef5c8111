//! A metric file that is kept up to date row by row.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::file::StagedFile;
use crate::metrics::column_style::Style;
use crate::metrics::frame::Frame;
use crate::metrics::record::Record;

/// A [`Frame`] with its file.
///
/// Each record is in the file when [`add`](FrameFile::add) returns. As long as the rows that are there keep their
/// bytes, the new one is appended; when a value changes how its column is written (an integer column gets a float),
/// the file is replaced in one step. What stands in the end is what one writing of all records at the end would
/// give, and after a crash at any moment the rows added before are there.
#[derive(Debug)]
pub struct FrameFile {
    path: PathBuf,
    frame: Frame,
    durable: bool,
    on_disk: Option<OnDisk>,
}

/// What this object last put into the file.
#[derive(Debug)]
struct OnDisk {
    header: bool,
    styles: Vec<Style>,
    rows: usize,
    bytes: u64,
}

impl FrameFile {
    /// A file at `path` with no record yet. Nothing is touched before the first record or
    /// [`flush`](FrameFile::flush), which replaces what stands at `path`.
    pub fn new(path: impl Into<PathBuf>, fixed_columns: Record) -> FrameFile {
        FrameFile::of(path, Frame::new(fixed_columns))
    }

    /// Goes on with `frame` (a restored one: [`Frame::from_json`]) at `path`; the next write replaces the file, so
    /// rows that a broken run wrote beyond the frame's are gone.
    pub fn of(path: impl Into<PathBuf>, frame: Frame) -> FrameFile {
        FrameFile { path: path.into(), frame, durable: true, on_disk: None }
    }

    /// Whether each row is synced to the device (the default). Without, a row is safe from a crash of the program
    /// but not from one of the machine: for a row a batch, where syncing would cost more than the batch.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> FrameFile {
        self.durable = durable;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The table behind it.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Adds a record and brings the file up to date.
    ///
    /// # Errors
    /// Those of [`Frame::add`], then those of [`flush`](FrameFile::flush); after the latter the record is kept and
    /// the next successful write contains it.
    pub fn add(&mut self, record: Record) -> Result<()> {
        self.frame.add(record).map_err(|error| error.at_path(&self.path))?;
        self.flush()
    }

    /// Adds several records and brings the file up to date once.
    ///
    /// # Errors
    /// As for [`add`](FrameFile::add); the records before one that is refused are in the file.
    pub fn add_all(&mut self, records: impl IntoIterator<Item = Record>) -> Result<()> {
        let added = records.into_iter().try_for_each(|record| self.frame.add(record));
        self.flush()?;
        added.map_err(|error| error.at_path(&self.path))
    }

    /// Brings the file up to date; creates it, and its folder, if need be. Without records it is one line feed.
    ///
    /// # Errors
    /// What the operating system says about the folder or the file; a file of complete rows stays behind.
    pub fn flush(&mut self) -> Result<()> {
        let styles = self.frame.styles();
        let header = !self.frame.is_empty();
        let appended = match &self.on_disk {
            Some(disk) if disk.header == header && disk.styles == styles && self.is_untouched(disk.bytes) => {
                let mut text = String::new();
                self.frame.write_rows(disk.rows, &mut text);
                self.append(disk.bytes, text.as_bytes())?;
                disk.bytes + text.len() as u64
            }
            _ => {
                let text = self.frame.to_csv();
                self.replace(text.as_bytes())?;
                text.len() as u64
            }
        };
        self.on_disk = Some(OnDisk { header, styles, rows: self.frame.len(), bytes: appended });
        Ok(())
    }

    /// Whether the file is still as long as it was left: someone may have moved or emptied it.
    fn is_untouched(&self, bytes: u64) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.is_file() && meta.len() == bytes)
    }

    fn append(&self, length: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let failed = |error| Error::io("append to the file of metrics", &self.path, error);
        let mut file = OpenOptions::new().append(true).open(&self.path).map_err(failed)?;
        let written =
            file.write_all(bytes).and_then(|()| if self.durable { file.sync_data() } else { Ok(()) });
        written.map_err(|error| {
            // Half a row is worse than none; if this fails too, the length tells and the next write replaces all.
            let _ = file.set_len(length);
            failed(error)
        })
    }

    fn replace(&self, bytes: &[u8]) -> Result<()> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| Error::io("create the folder", folder, error))?;
        }
        let staged = StagedFile::replacing(&self.path)?;
        File::create(staged.path())
            .and_then(|mut file| file.write_all(bytes))
            .map_err(|error| Error::io("write the file of metrics", &self.path, error))?;
        staged.commit(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::value::Value;

    #[cfg(unix)]
    fn inode(path: &Path) -> u64 {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
    }

    #[cfg(unix)]
    #[test]
    fn rows_are_there_at_once_and_appended_while_bytes_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/Train/epoch_metrics.csv");
        let mut file = FrameFile::new(&path, Record::new().with("cv", -1));
        assert!(!path.exists());
        let values: [Value; 6] = [1.into(), 2.into(), 2.5.into(), Value::None, "x".into(), true.into()];
        let mut replaced = Vec::new();
        let mut last = 0;
        for (step, value) in values.into_iter().enumerate() {
            file.add(Record::new().with("a", value)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), file.frame().to_csv());
            if inode(&path) != last {
                replaced.push(step);
            }
            last = inode(&path);
        }
        assert_eq!(replaced, [0, 2, 4], "new, integers to floats, floats to texts");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a,cv\n1,-1\n2,-1\n2.5,-1\n,-1\nx,-1\nTrue,-1\n");
    }

    #[test]
    fn no_record_is_one_line_feed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        fs::write(&path, "old").unwrap();
        let mut file = FrameFile::new(&path, Record::new().with("cv", 1));
        file.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\n");
        file.add(Record::new()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"cv\n1\n");
    }

    #[test]
    fn a_file_that_was_touched_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        let mut file = FrameFile::new(&path, Record::new()).durable(false);
        let mut add = |value: i32| file.add(Record::new().with("a", value)).unwrap();
        add(1);
        fs::write(&path, "a\n").unwrap();
        add(2);
        assert_eq!(fs::read(&path).unwrap(), b"a\n1\n2\n");
        fs::remove_file(&path).unwrap();
        add(3);
        assert_eq!(fs::read(&path).unwrap(), b"a\n1\n2\n3\n");
    }

    #[test]
    fn a_restored_table_goes_on_and_drops_rows_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        let record = |epoch: i32| Record::new().with("loss", 1.0 / 3.0).with("epoch", epoch);
        let mut file = FrameFile::new(&path, Record::new().with("cv", -1));
        file.add(record(0)).unwrap();
        let state = serde_json::to_string(&file.frame().to_json()).unwrap();
        file.add(record(1)).unwrap();
        file.add(record(2)).unwrap();
        let through = fs::read(&path).unwrap();
        let frame = Frame::from_json(&serde_json::from_str(&state).unwrap()).unwrap();
        let mut resumed = FrameFile::of(&path, frame);
        resumed.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"loss,epoch,cv\n0.333333,0,-1\n");
        resumed.add(record(1)).unwrap();
        resumed.add(record(2)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), through);
    }

    #[test]
    fn what_fails_is_said_with_its_place_and_made_up_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub");
        fs::create_dir(&path).unwrap();
        let mut file = FrameFile::new(&path, Record::new());
        let error = file.add(Record::new().with("a", 1)).unwrap_err();
        assert_eq!(error.path(), Some(path.as_path()));
        fs::remove_dir(&path).unwrap();
        file.add(Record::new().with("a", 2)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a\n1\n2\n");
        let error = file.add(Record::new().with("a", Value::None).with("LearningRate", "x"));
        assert!(error.is_ok(), "not a column of this file");
    }
}
