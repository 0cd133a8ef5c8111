//! The bytes of a pickle, as they are read.

use std::io::{BufRead, Read};

use crate::error::{Error, ErrorKind, Result};
use crate::weights::limits::within;

/// Longest line of the text instructions.
const LONGEST_LINE: u64 = 1 << 20;

/// Reads the bytes of a pickle, counts them, and stops at a limit.
pub(crate) struct Input<R> {
    reader: R,
    read: u64,
    most: u64,
}

impl<R: BufRead> Input<R> {
    /// Reads from `reader`, at most `most` bytes.
    pub(crate) fn new(reader: R, most: u64) -> Input<R> {
        Input { reader, read: 0, most }
    }

    /// How many bytes were read so far.
    pub(crate) fn position(&self) -> u64 {
        self.read
    }

    /// The reader, behind what was read.
    pub(crate) fn into_reader(self) -> R {
        self.reader
    }

    /// An error that says where in the pickle.
    pub(crate) fn damaged(&self, message: &str) -> Error {
        Error::invalid(format!("damaged pickle, byte {}: {message}", self.read))
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.read = self.read.saturating_add(bytes);
        within("bytes of the pickle", self.read, self.most)
    }

    fn failed(&self, error: std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("the file ends within it"),
            _ => Error::new(ErrorKind::Io, "cannot read the pickle").caused_by(error),
        }
    }

    /// The next bytes, as many as `N`.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        self.advance(N as u64)?;
        Ok(bytes)
    }

    /// The next `count` bytes. Memory grows with what is really there, whatever the count says.
    pub(crate) fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        self.advance(count)?;
        let mut bytes = Vec::new();
        let found = self.reader.by_ref().take(count).read_to_end(&mut bytes);
        let found = found.map_err(|error| self.failed(error))?;
        if (found as u64) < count {
            return Err(self.damaged("the file ends within a text or bytes"));
        }
        Ok(bytes)
    }

    /// The next `count` bytes as text.
    pub(crate) fn text(&mut self, count: u64) -> Result<String> {
        let bytes = self.bytes(count)?;
        // Python's surrogates (file names) are no UTF-8; such a text matters to nobody here.
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The rest of the line, without its end.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let found = self.reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        let found = found.map_err(|error| self.failed(error))?;
        self.advance(found as u64)?;
        if line.pop() != Some(b'\n') {
            return Err(self.damaged("a line without an end"));
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}
