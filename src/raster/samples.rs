//! Reading a plain file of samples: row by row, within a row band by band.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::spec::WriteSpec;
use super::units::Units;
use crate::error::{Error, Result};

/// The file is read in pieces of this many bytes where what is needed follows one another.
const PIECE: usize = 256 << 10;

/// The open file.
pub(super) struct SampleFile<'a> {
    file: BufReader<File>,
    path: &'a Path,
    spec: &'a WriteSpec,
}

impl<'a> SampleFile<'a> {
    /// Opens the samples of `spec` at `path`, to be read in `units`.
    pub(super) fn open(path: &'a Path, spec: &'a WriteSpec, units: &Units) -> Result<SampleFile<'a>> {
        let file = File::open(path).map_err(|error| Error::io("open the samples", path, error))?;
        let in_order = units.columns() == 1 && units.bands == spec.bands;
        let file = BufReader::with_capacity(if in_order { PIECE } else { 0 }, file);
        Ok(SampleFile { file, path, spec })
    }

    /// Reads the samples of a row of a band from column `x` on, as many as `line` holds.
    pub(super) fn read(&mut self, band: usize, y: usize, x: usize, line: &mut [u8]) -> Result<()> {
        let failed = |error| Error::io("read the samples", self.path, error);
        let first = (y * self.spec.bands + band) * self.spec.size.width + x;
        let target = (first * self.spec.data_type.bytes()) as u64;
        let now = self.file.stream_position().map_err(failed)?;
        // Stays in the buffer where the target lies in it.
        match i64::try_from(i128::from(target) - i128::from(now)) {
            Ok(step) => self.file.seek_relative(step).map_err(failed)?,
            Err(_) => drop(self.file.seek(SeekFrom::Start(target)).map_err(failed)?),
        }
        self.file.read_exact(line).map_err(failed)
    }
}
