//! The append-only journal of an unfinished job.
//!
//! A file of records: length (4 bytes, little-endian), CRC-32 (4 bytes), and so many bytes. The first is the fingerprint of
//! the job, the others say which blocks are in the store of samples, with the CRC-32 of what was written. A record that
//! is cut off or does not have its checksum ends the journal: a process that was killed in the middle of a write leaves
//! one, and so does a power failure.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::geometry::Window;

/// What the file begins with: its name and version.
const MAGIC: &[u8; 8] = b"GLEBEJ1\n";

/// Longest record that is taken for one, in bytes: more is damage, not memory to ask for.
const LONGEST: usize = 1 << 24;

/// A block of the map in the store of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) window: Window,
    /// CRC-32 of the samples, `[bands, H, W]`.
    pub(super) sum: u32,
}

/// What one record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// The blocks that came since the record before; with them all steps before this number are done.
    Done { steps: u64, entries: Vec<Entry> },
    /// The finished file, by the identity that it keeps when it gets its name.
    Finished { identity: Vec<u64> },
}

/// A journal with its fingerprint and its records.
pub(super) type Opened = (Journal, Vec<u8>, Vec<Record>);

/// An open journal; what is appended is in the file when the call returns.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    /// Where the next record goes.
    end: u64,
}

impl Journal {
    /// Starts one with the fingerprint of a job.
    pub(super) fn create(path: &Path, head: &[u8]) -> Result<Journal> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(|error| Error::io("create the journal", path, error))?;
        let mut journal = Journal { file, path: path.into(), end: 0 };
        journal.write(MAGIC)?;
        journal.append_bytes(head)?;
        Ok(journal)
    }

    /// Opens one: its fingerprint and its records, up to the first that is damaged. None where it has no fingerprint: the
    /// process ended while it was made.
    pub(super) fn open(path: &Path) -> Result<Option<Opened>> {
        let failed = |error| Error::io("read the journal", path, error);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let mut reader = BufReader::new(&file);
        let mut magic = [0; MAGIC.len()];
        if !filled(&mut reader, &mut magic).map_err(failed)? || magic != *MAGIC {
            return Ok(None);
        }
        let mut end = MAGIC.len() as u64;
        let Some(head) = next(&mut reader).map_err(failed)? else { return Ok(None) };
        end += 8 + head.len() as u64;
        let mut records = Vec::new();
        while let Some(bytes) = next(&mut reader).map_err(failed)? {
            let Some(record) = Record::decode(&bytes) else { break };
            end += 8 + bytes.len() as u64;
            records.push(record);
        }
        drop(reader);
        Ok(Some((Journal { file, path: path.into(), end }, head, records)))
    }

    /// Appends a record.
    pub(super) fn append(&mut self, record: &Record) -> Result<()> {
        self.append_bytes(&record.encode())
    }

    /// Forgets all records but the first `kept`, which follow a head of so many bytes.
    pub(super) fn truncate(&mut self, head: usize, records: &[Record], kept: usize) -> Result<()> {
        let bytes: usize = records.iter().take(kept).map(|record| 8 + record.encode().len()).sum();
        self.end = (MAGIC.len() + 8 + head + bytes) as u64;
        self.file.set_len(self.end).map_err(|error| Error::io("cut the journal", &self.path, error))
    }

    fn append_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let mut record = Vec::with_capacity(8 + bytes.len());
        record.extend((bytes.len() as u32).to_le_bytes());
        record.extend(crc32fast::hash(bytes).to_le_bytes());
        record.extend(bytes);
        self.write(&record)
    }

    /// In one call, at the end of what is whole: a torn record before it is overwritten.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut write = || {
            self.file.seek(SeekFrom::Start(self.end))?;
            self.file.write_all(bytes)
        };
        write().map_err(|error| Error::io("write the journal", &self.path, error))?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

/// The next record's bytes; none at the end, and where it is cut off or damaged.
fn next(reader: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0; 8];
    if !filled(reader, &mut head)? {
        return Ok(None);
    }
    let [a, b, c, d, e, f, g, h] = head;
    let (length, sum) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
    if length > LONGEST {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    let whole = filled(reader, &mut bytes)? && crc32fast::hash(&bytes) == sum;
    Ok(whole.then_some(bytes))
}

/// Whether there was enough to fill the buffer.
fn filled(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

const DONE: u64 = 1;
const FINISHED: u64 = 2;

impl Record {
    /// As 64-bit numbers, little-endian: a tag, and what follows it.
    fn encode(&self) -> Vec<u8> {
        let numbers: Vec<u64> = match self {
            Record::Done { steps, entries } => {
                let blocks = entries.iter().flat_map(|entry| {
                    let Window { x, y, width, height } = entry.window;
                    [x as u64, y as u64, width as u64, height as u64, u64::from(entry.sum)]
                });
                [DONE, *steps].into_iter().chain(blocks).collect()
            }
            Record::Finished { identity } => [FINISHED].iter().chain(identity).copied().collect(),
        };
        numbers.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Record> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return None;
        }
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        match numbers.split_first()? {
            (&DONE, rest) => {
                let (steps, blocks) = rest.split_first()?;
                let (blocks, rest) = blocks.as_chunks::<5>();
                let entry = |[x, y, width, height, sum]: &[u64; 5]| {
                    let window = Window::new(
                        i64::try_from(*x).ok()?,
                        i64::try_from(*y).ok()?,
                        usize::try_from(*width).ok()?,
                        usize::try_from(*height).ok()?,
                    );
                    Some(Entry { window, sum: u32::try_from(*sum).ok()? })
                };
                let entries = blocks.iter().map(entry).collect::<Option<Vec<_>>>()?;
                rest.is_empty().then_some(Record::Done { steps: *steps, entries })
            }
            (&FINISHED, identity) => Some(Record::Finished { identity: identity.to_vec() }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn entry(at: u64) -> Entry {
        Entry { window: Window::new(at as i64 * 7, at as i64, 7, 3), sum: 0xdead_beef ^ at as u32 }
    }

    fn records() -> Vec<Record> {
        let done = |steps: u64| Record::Done { steps, entries: (0..steps % 3).map(entry).collect() };
        (1..9).map(done).chain([Record::Finished { identity: vec![1, u64::MAX] }]).collect()
    }

    fn written(folder: &Path) -> (PathBuf, Vec<Record>) {
        let (path, records) = (folder.join("journal"), records());
        let mut journal = Journal::create(&path, b"what job it is").unwrap();
        records.iter().for_each(|record| journal.append(record).unwrap());
        (path, records)
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, records) = written(folder.path());
        let (mut journal, head, read) = Journal::open(&path).unwrap().unwrap();
        assert_eq!((&head[..], &read), (&b"what job it is"[..], &records));
        journal.truncate(head.len(), &read, 4).unwrap();
        journal.append(&records[7]).unwrap();
        let (_, _, read) = Journal::open(&path).unwrap().unwrap();
        assert_eq!(read, [&records[..4], &records[7..8]].concat());
    }

    #[test]
    fn a_journal_may_end_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let (path, records) = written(folder.path());
        let whole = fs::read(&path).unwrap();
        let mut most = 0;
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            match Journal::open(&path).unwrap() {
                None => assert_eq!(most, 0),
                Some((mut journal, _, read)) => {
                    // Never less with more of the file, and always what was written.
                    assert!(read.len() >= most && read == records[..read.len()]);
                    most = read.len();
                    // What follows takes the place of the torn end.
                    journal.append(&records[0]).unwrap();
                    let (_, _, again) = Journal::open(&path).unwrap().unwrap();
                    assert_eq!(again, [&records[..most], &records[..1]].concat());
                }
            }
        }
        assert_eq!(most, records.len() - 1);
    }

    proptest! {
        #[test]
        fn damage_ends_the_journal_where_it_is(at in 0usize..600, bit in 0u8..8) {
            let folder = tempfile::tempdir().unwrap();
            let (path, records) = written(folder.path());
            let mut bytes = fs::read(&path).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            fs::write(&path, &bytes).unwrap();
            if let Some((_, head, read)) = Journal::open(&path).unwrap() {
                prop_assert_eq!(&head[..], b"what job it is");
                prop_assert!(read.len() < records.len() && read == records[..read.len()]);
            }
        }

        #[test]
        fn arbitrary_bytes_are_no_journal_of_anything(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal");
            fs::write(&path, [&MAGIC[..], &bytes].concat()).unwrap();
            if let Some((_, _, read)) = Journal::open(&path).unwrap() {
                prop_assert!(read.is_empty());
            }
        }
    }
}
