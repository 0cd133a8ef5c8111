//! Comparing a finished raster with the plain file of samples that it was made of, byte by byte.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::messages::Call;
use super::open::Raster;
use super::spec::WriteSpec;
use super::{cog, sys, with_type};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Size, Window};
use crate::tensor::Sample;

/// Bytes of decoded samples that all threads together hold.
const BUFFERS: usize = 16 << 20;

/// More threads than this only wait for each other.
const MOST_THREADS: usize = 8;

/// The samples are read in pieces of this many bytes where they follow one another.
const PIECE: usize = 256 << 10;

/// Decodes the closed raster at `file` and compares it with the samples at `raw`, on `spec.threads` threads. `path` is
/// the output's name in errors.
pub(super) fn with_samples(
    file: &Path,
    path: &Path,
    raw: &Path,
    spec: &WriteSpec,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<()> {
    let first = cog::reopen(file, path, spec)?;
    let threads = spec.threads.clamp(1, MOST_THREADS);
    let plan = Plan::new(spec, first.info().bands[0].block, BUFFERS / threads);
    let job = Job { path, raw, spec, next: AtomicUsize::new(0), stop: AtomicBool::new(false), plan };
    let units = job.plan.units();
    let mut stopped = false;
    let result = thread::scope(|scope| {
        let mut helpers = Vec::new();
        for _ in 1..threads.min(units) {
            let other = first.reopen()?;
            helpers.push(scope.spawn(|| job.run(other, &mut |_| true)));
        }
        let mut result = job.run(first, &mut |begun| {
            stopped |= !progress(begun as f64 / units as f64);
            !stopped
        });
        for helper in helpers {
            let other =
                helper.join().unwrap_or_else(|_| Err(Error::internal("a thread that compares panicked")));
            result = result.and(other);
        }
        result
    });
    result?;
    if stopped || !progress(1.0) {
        return Err(Error::new(ErrorKind::Cancelled, "stopped while reading the output back").at_path(path));
    }
    Ok(())
}

/// How the raster is cut into windows: whole blocks where they fit the memory.
struct Plan {
    size: Size,
    /// A unit is this large, or what is left of the raster there.
    unit: Size,
    /// Within a unit that many rows at once, and that many bands.
    rows: usize,
    bands: usize,
}

impl Plan {
    fn new(spec: &WriteSpec, block: Size, budget: usize) -> Plan {
        let height = block.height.min(spec.size.height);
        // Bytes of one row of one block, in one band.
        let row = block.width.saturating_mul(spec.data_type.bytes());
        let blocks = budget / row.saturating_mul(height).saturating_mul(spec.bands).max(1);
        let width = block.width.saturating_mul(blocks.max(1)).min(spec.size.width);
        // Blocks that do not fit are read in parts; GDAL keeps them meanwhile.
        let bands = (budget / row.saturating_mul(height).max(1)).clamp(1, spec.bands);
        let rows = (budget / row.saturating_mul(bands).max(1)).clamp(1, height);
        Plan { size: spec.size, unit: Size::new(width, height), rows, bands }
    }

    fn columns(&self) -> usize {
        self.size.width.div_ceil(self.unit.width)
    }

    fn units(&self) -> usize {
        self.columns() * self.size.height.div_ceil(self.unit.height)
    }

    /// The unit of this number: left, top, width, height.
    fn unit(&self, number: usize) -> [usize; 4] {
        let (x, y) = (number % self.columns() * self.unit.width, number / self.columns() * self.unit.height);
        let (width, height) = (self.size.width - x, self.size.height - y);
        [x, y, width.min(self.unit.width), height.min(self.unit.height)]
    }
}

/// What all threads share.
struct Job<'a> {
    path: &'a Path,
    raw: &'a Path,
    spec: &'a WriteSpec,
    plan: Plan,
    next: AtomicUsize,
    stop: AtomicBool,
}

impl Job<'_> {
    /// Compares units until there is none left. `go_on` gets how many are begun.
    fn run(&self, raster: Raster, go_on: &mut dyn FnMut(usize) -> bool) -> Result<()> {
        let result = with_type!(self.spec.data_type, T => self.compare::<T>(&raster, go_on));
        if result.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        result
    }

    fn compare<T: Sample>(&self, raster: &Raster, go_on: &mut dyn FnMut(usize) -> bool) -> Result<()> {
        let mut samples = self.open()?;
        let mut decoded = Vec::<T>::new();
        let mut line = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.plan.units() || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if !go_on(number) {
                self.stop.store(true, Ordering::Relaxed);
                return Ok(());
            }
            let [x, top, width, height] = self.plan.unit(number);
            for y in (top..top + height).step_by(self.plan.rows) {
                for band in (0..self.spec.bands).step_by(self.plan.bands) {
                    let bands = band..(band + self.plan.bands).min(self.spec.bands);
                    let rows = self.plan.rows.min(top + height - y);
                    let window = Window::new(x as i64, y as i64, width, rows);
                    self.decode(raster, &bands, window, &mut decoded)?;
                    line.resize(width * size_of::<T>(), 0);
                    // In the order of the file.
                    for row in 0..rows {
                        for (plane, band) in bands.clone().enumerate() {
                            let at = (plane * rows + row) * width;
                            self.read(&mut samples, band, y + row, x, &mut line)?;
                            let found = sys::bytes(&decoded[at..at + width]);
                            if found != line {
                                return Err(self.difference::<T>(found, &line, [band, y + row, x]));
                            }
                        }
                    }
                }
            }
            raster.forget();
        }
    }

    fn decode<T: Sample>(
        &self,
        raster: &Raster,
        bands: &std::ops::Range<usize>,
        window: Window,
        decoded: &mut Vec<T>,
    ) -> Result<()> {
        let count = bands.len() * window.width * window.height;
        if decoded.len() < count {
            decoded.try_reserve_exact(count - decoded.len()).map_err(|_| {
                Error::new(ErrorKind::OutOfMemory, "no memory to read the output back").at_path(self.path)
            })?;
            decoded.resize(count, T::default());
        }
        let numbers = &Band::first(bands.end)[bands.start..];
        Call { kind: ErrorKind::Io, what: "output does not read back", path: self.path }
            .run_strictly(|| sys::read(&raster.dataset, numbers, window, &mut decoded[..count]))
    }

    /// The samples; buffered only where they are read one after the other.
    fn open(&self) -> Result<BufReader<File>> {
        let file = File::open(self.raw).map_err(|error| Error::io("open the samples", self.raw, error))?;
        let whole_lines = self.plan.columns() == 1 && self.plan.bands == self.spec.bands;
        Ok(BufReader::with_capacity(if whole_lines { PIECE } else { 0 }, file))
    }

    fn read(
        &self,
        samples: &mut BufReader<File>,
        band: usize,
        y: usize,
        x: usize,
        line: &mut [u8],
    ) -> Result<()> {
        let failed = |error| Error::io("read the samples", self.raw, error);
        let first = (y * self.spec.bands + band) * self.spec.size.width + x;
        let target = (first * self.spec.data_type.bytes()) as u64;
        let now = samples.stream_position().map_err(failed)?;
        // Within the buffer where the target lies in it.
        match i64::try_from(target as i128 - now as i128) {
            Ok(step) => samples.seek_relative(step).map_err(failed)?,
            Err(_) => drop(samples.seek(SeekFrom::Start(target)).map_err(failed)?),
        }
        samples.read_exact(line).map_err(failed)
    }

    fn difference<T: Sample>(&self, found: &[u8], expected: &[u8], [band, y, x]: [usize; 3]) -> Error {
        let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(0) / size_of::<T>();
        cog::differs(self.path, &format!("column {}, row {y} is another value", x + at))
            .at_band(u32::try_from(band + 1).unwrap_or(u32::MAX))
    }
}
