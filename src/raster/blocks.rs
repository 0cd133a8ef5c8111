//! Writing a plain GeoTIFF from a plain file of samples, block after block in one order.
//!
//! The blocks go past GDAL's block cache. From there they would come in an order that depends on what else it holds, and
//! those at the right and lower edge would be filled up with what happened to be in memory.

use std::path::Path;

use super::messages::Call;
use super::read::filled;
use super::samples::SampleFile;
use super::spec::WriteSpec;
use super::units::Units;
use super::write::Closing;
use super::{sys, with_type};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Size, Window};
use crate::tensor::Sample;

/// Bytes of samples that are read at once; at least one block of one band is. The order of the blocks in the file follows
/// from it.
pub(super) const BUFFER: usize = 8 << 20;

/// Writes the samples at `raw` as the GeoTIFF of `spec` to `file`, and closes that. `path` is the output's name in
/// errors.
pub(super) fn write(
    file: &Path,
    path: &Path,
    raw: &Path,
    spec: &WriteSpec,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<()> {
    let mut output = Closing::create(file, path, spec, false)?;
    with_type!(spec.data_type, T => fill::<T>(&mut output, path, raw, spec, progress))?;
    output.finish(path)
}

fn fill<T: Sample>(
    output: &mut Closing,
    path: &Path,
    raw: &Path,
    spec: &WriteSpec,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<()> {
    let block = Size::new(spec.block, spec.block);
    let units = Units::new(spec, block, BUFFER.max(spec.block * spec.block * spec.data_type.bytes()));
    let mut samples = SampleFile::open(raw, spec, &units)?;
    let mut buffer = Vec::<T>::new();
    let mut whole = filled([1, spec.block, spec.block], T::default()).map_err(|error| error.at_path(path))?;
    for number in 0..units.count() {
        if !progress(number as f64 / units.count() as f64) {
            return Err(Error::new(ErrorKind::Cancelled, "stopped while making the GeoTIFF").at_path(path));
        }
        let [x, y, width, height] = units.unit(number);
        let window = Window::new(x as i64, y as i64, width, height);
        for first in (0..spec.bands).step_by(units.bands) {
            let bands = first..(first + units.bands).min(spec.bands);
            let count = bands.len() * height * width;
            if buffer.len() < count {
                buffer.try_reserve_exact(count - buffer.len()).map_err(|_| {
                    Error::new(ErrorKind::OutOfMemory, "no memory for the samples of a block").at_path(path)
                })?;
                buffer.resize(count, T::default());
            }
            // In the order of the file.
            for row in 0..height {
                for (plane, band) in bands.clone().enumerate() {
                    let at = (plane * height + row) * width;
                    samples.read(band, y + row, x, sys::bytes_mut(&mut buffer[at..at + width]))?;
                }
            }
            let what = format!("cannot write window {window}");
            let call = Call { kind: ErrorKind::Io, what: &what, path };
            let dataset = output.dataset(path)?;
            for (plane, band) in bands.enumerate() {
                let plane = &buffer[plane * height * width..][..height * width];
                call.run_strictly(|| {
                    let band = dataset.rasterband(band + 1).map_err(|error| error.to_string())?;
                    for left in (0..width).step_by(spec.block) {
                        cut(plane, width, left, &mut whole, spec.block);
                        let at = [(x + left) / spec.block, y / spec.block];
                        sys::write_block(&band, at, &mut whole).map_err(|error| error.to_string())?;
                    }
                    Ok::<(), String>(())
                })?;
            }
        }
    }
    Ok(())
}

/// Copies the block that begins at column `left` of rows of `width` samples into `whole`, a square of `side` samples.
/// What lies past the raster is 0.
fn cut<T: Sample>(plane: &[T], width: usize, left: usize, whole: &mut [T], side: usize) {
    let right = (left + side).min(width);
    whole.fill(T::default());
    for (row, line) in plane.chunks_exact(width).zip(whole.chunks_exact_mut(side)) {
        line[..right - left].copy_from_slice(&row[left..right]);
    }
}
