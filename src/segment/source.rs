//! A raster file as a source of windows.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Padding, Size, Window};
use crate::raster::{NodataRule, Raster};
use crate::segment::stream::{Block, Source};
use crate::segment::strip::{Strip, block, block_bytes, rows_at_once};
use crate::tensor::DataType;

/// A raster that is scored.
pub(super) struct FileSource {
    pub(super) raster: Raster,
    pub(super) bands: Vec<Band>,
    data_type: DataType,
    nodata: Vec<Option<f64>>,
    strip: Strip,
    version: Option<Version>,
}

/// What a file has while nobody changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    bytes: u64,
    changed: Option<SystemTime>,
}

impl Version {
    fn of(path: &Path) -> Option<Version> {
        let about = std::fs::metadata(path).ok()?;
        Some(Version { bytes: about.len(), changed: about.modified().ok() })
    }
}

impl FileSource {
    /// For these bands of the raster.
    ///
    /// # Errors
    /// `InvalidArgument` for a band that is not there; of [`Raster::common_type`].
    pub(super) fn new(
        raster: Raster,
        bands: Vec<Band>,
        padding: Padding,
        rule: NodataRule,
    ) -> Result<FileSource> {
        let data_type = raster.common_type(&bands)?;
        let nodata = bands.iter().map(|band| raster.info().band(*band).map(|info| info.nodata));
        let nodata = nodata.collect::<Result<Vec<_>>>()?;
        let strip = Strip::new(&raster, &bands, padding, rule);
        let version = Version::of(&raster.info().path);
        Ok(FileSource { raster, bands, data_type, nodata, strip, version })
    }

    /// Gives back what is in memory of the raster, when all of it is read.
    pub(super) fn clear(&mut self) {
        self.strip.clear();
        self.raster.forget();
    }

    /// What the samples of a map depend on, of the raster: its file, as far as can be told without reading it, and what is
    /// read of it.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let path: &Path = &self.raster.info().path;
        let file = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
        let (bytes, changed) = match self.version {
            Some(Version { bytes, changed }) => (bytes, changed),
            None => (0, None),
        };
        let changed = changed.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let bands: Vec<String> = self.bands.iter().map(ToString::to_string).collect();
        vec![
            ("raster", file.to_string_lossy().into_owned()),
            ("raster size", self.raster.size().to_string()),
            ("raster bytes", bytes.to_string()),
            ("raster changed", changed.map_or_else(String::new, |time| format!("{:.6}", time.as_secs_f64()))),
            ("bands", bands.join(",")),
        ]
    }

    /// That the file is what it was when it was opened.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`].
    pub(super) fn check_unchanged(&self) -> Result<()> {
        let path = &self.raster.info().path;
        if Version::of(path) == self.version {
            return Ok(());
        }
        let message = "the raster was changed or replaced while it was scored";
        Err(Error::new(ErrorKind::Mismatch, message).at_path(path))
    }
}

impl Source for FileSource {
    fn size(&self) -> Size {
        self.raster.size()
    }

    fn data_type(&self) -> DataType {
        self.data_type
    }

    fn nodata(&self) -> &[Option<f64>] {
        &self.nodata
    }

    fn enter(&mut self, columns: Range<i64>) {
        self.strip.enter(&self.raster, columns);
    }

    fn read(&mut self, window: Window) -> Result<Block> {
        // Of a damaged file and of one that was exchanged GDAL says the same.
        self.strip.read(&self.raster, window).map_err(|error| self.check_unchanged().err().unwrap_or(error))
    }

    fn strip_bytes(&self, columns: usize, rows: usize) -> u64 {
        let block = block(&self.raster);
        let size = self.raster.size();
        // A lane may begin and end within a block, and a window in the midst of a piece.
        let columns = (columns + 2 * block.width).min(size.width) as u64;
        let piece = rows_at_once(block.height);
        let rows = ((rows + piece - 2) / piece + 1) * piece;
        let rows = rows.min(size.height.next_multiple_of(piece)) as u64;
        // Samples, and a byte of validity where there is something to say.
        let bytes = self.bands.len() * self.data_type.bytes() + usize::from(self.strip.has_invalid());
        // A part of the next piece before it is put into its place.
        let part = columns.min(self.strip.at_once() as u64) * piece as u64;
        (columns * rows + part) * bytes as u64
    }

    fn block_width(&self) -> usize {
        block(&self.raster).width
    }

    fn block_bytes(&self) -> u64 {
        block_bytes(&self.raster)
    }

    fn pixels_read(&self) -> Option<u64> {
        Some(self.strip.pixels_read())
    }
}
