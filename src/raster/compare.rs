//! Comparing a finished raster with the plain file of samples that it was made of, byte by byte.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::messages::Call;
use super::open::Raster;
use super::samples::SampleFile;
use super::spec::WriteSpec;
use super::units::Units;
use super::{cog, sys, with_type};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Window};
use crate::tensor::Sample;

/// Bytes of decoded samples that all threads together hold.
pub(super) const BUFFERS: usize = 8 << 20;

/// More threads than this only wait for each other.
pub(super) const MOST_THREADS: usize = 8;

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
    let units = Units::new(spec, first.info().bands[0].block, BUFFERS / threads);
    let job = Job { path, raw, spec, next: AtomicUsize::new(0), stop: AtomicBool::new(false), units };
    let count = job.units.count();
    let mut stopped = false;
    let result = thread::scope(|scope| {
        let mut helpers = Vec::new();
        for _ in 1..threads.min(count) {
            let other = first.reopen()?;
            helpers.push(scope.spawn(|| job.run(other, &mut |_| true)));
        }
        let mut result = job.run(first, &mut |begun| {
            stopped |= !progress(begun as f64 / count as f64);
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

/// What all threads share.
struct Job<'a> {
    path: &'a Path,
    raw: &'a Path,
    spec: &'a WriteSpec,
    units: Units,
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
        let mut samples = SampleFile::open(self.raw, self.spec, &self.units)?;
        let mut decoded = Vec::<T>::new();
        let mut line = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.units.count() || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if !go_on(number) {
                self.stop.store(true, Ordering::Relaxed);
                return Ok(());
            }
            let [x, top, width, height] = self.units.unit(number);
            for y in (top..top + height).step_by(self.units.rows) {
                for band in (0..self.spec.bands).step_by(self.units.bands) {
                    let bands = band..(band + self.units.bands).min(self.spec.bands);
                    let rows = self.units.rows.min(top + height - y);
                    let window = Window::new(x as i64, y as i64, width, rows);
                    self.decode(raster, &bands, window, &mut decoded)?;
                    line.resize(width * size_of::<T>(), 0);
                    // In the order of the file.
                    for row in 0..rows {
                        for (plane, band) in bands.clone().enumerate() {
                            let at = (plane * rows + row) * width;
                            samples.read(band, y + row, x, &mut line)?;
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

    fn difference<T: Sample>(&self, found: &[u8], expected: &[u8], [band, y, x]: [usize; 3]) -> Error {
        let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(0) / size_of::<T>();
        cog::differs(self.path, &format!("column {}, row {y} is another value", x + at))
            .at_band(u32::try_from(band + 1).unwrap_or(u32::MAX))
    }
}
