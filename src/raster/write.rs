//! Writing rasters that appear complete or not at all.

use std::path::Path;

use gdal::raster::{ColorEntry, ColorTable, PaletteInterpretation};
use gdal::{Dataset, DriverManager, Metadata};

use super::messages::{Call, scope};
use super::read::{check_window, is_inside};
use super::spec::{Format, WriteSpec};
use super::{cog, sys, with_type};
use crate::error::{Error, ErrorKind, Result};
use crate::file::StagedFile;
use crate::geometry::{Band, Window};
use crate::tensor::{DataType, Sample, SamplesView, with_samples};

/// A raster in the making.
///
/// Samples go to a temporary beside the output. [`RasterWriter::finish`] makes the output of it, reads it back and
/// gives it its name; dropped before that, or failed, everything is removed. `Send`, not `Sync`.
#[derive(Debug)]
pub struct RasterWriter {
    // Before the files: closed before they are removed.
    dataset: Closing,
    spec: WriteSpec,
    work: StagedFile,
    /// Where a COG is copied to; a plain GeoTIFF is `work` itself.
    output: Option<StagedFile>,
    failed: bool,
}

/// A dataset under construction, closed without a word to stderr.
#[derive(Debug)]
pub(super) struct Closing(Option<Dataset>);

impl Closing {
    /// A GeoTIFF at `file` with the header of `spec`. `path` is the output's name in errors.
    pub(super) fn create(file: &Path, path: &Path, spec: &WriteSpec, staging: bool) -> Result<Closing> {
        // Georeferencing comes from the caller, so what GDAL refuses here is refused in the caller's name.
        let create = Call { kind: ErrorKind::Io, what: "cannot create the output", path };
        let header =
            Call { kind: ErrorKind::InvalidArgument, what: "cannot write the output's header", path };
        let mut closing = Closing(Some(create.run_strictly(|| new_dataset(file, spec, staging))?));
        let dataset = closing.dataset(path)?;
        header.run_strictly(|| write_header(dataset, spec))?;
        Ok(closing)
    }

    /// The dataset, until it is finished.
    pub(super) fn dataset(&mut self, path: &Path) -> Result<&mut Dataset> {
        self.0.as_mut().ok_or_else(|| Error::internal("output is closed already").at_path(path))
    }

    /// Closes it, and says whether all was written.
    pub(super) fn finish(mut self, path: &Path) -> Result<()> {
        let Some(mut dataset) = self.0.take() else { return Ok(()) };
        Call { kind: ErrorKind::Io, what: "cannot write the output", path }.run_strictly(|| {
            // Closed even where flushing fails.
            let flushed = dataset.flush_cache();
            dataset.close().and(flushed)
        })
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(dataset) = self.0.take() {
            scope(|| drop(dataset));
        }
    }
}

impl RasterWriter {
    /// Starts a raster that will appear at `path`.
    ///
    /// Pixels that are never written hold the nodata value, or 0.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a specification that contradicts itself or a path that
    /// cannot be an output; [`NotFound`](ErrorKind::NotFound) if the folder does not exist;
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) without `overwrite`;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied); [`NotSupported`](ErrorKind::NotSupported) if this GDAL lacks
    /// the format or compression; [`Io`](ErrorKind::Io).
    pub fn create(path: impl AsRef<Path>, spec: WriteSpec) -> Result<RasterWriter> {
        let path = path.as_ref();
        spec.check().map_err(|error| error.at_path(path))?;
        if path.to_str().is_none() {
            return Err(Error::invalid("path is not UTF-8, which GDAL needs").at_path(path));
        }
        let work = StagedFile::new(path, spec.overwrite)?;
        let output = match spec.format {
            Format::Cog => {
                cog::check_driver()?;
                Some(StagedFile::new(path, spec.overwrite)?)
            }
            Format::GTiff => None,
        };
        let dataset = Closing::create(work.path(), path, &spec, output.is_some())?;
        Ok(RasterWriter { dataset, spec, work, output, failed: false })
    }

    /// Writes samples, `[C, H, W]` with all bands and the window's height and width, at `window`.
    ///
    /// Windows aligned to blocks cost least: a block that is written in parts is compressed more than once. Whoever
    /// writes a pixel twice keeps the later value.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a window that does not lie on the raster;
    /// [`Mismatch`](ErrorKind::Mismatch) for samples of another type or shape; nothing is written then.
    /// [`Io`](ErrorKind::Io) if writing fails (a full disk); after that [`RasterWriter::finish`] fails too.
    pub fn write(&mut self, window: Window, samples: SamplesView<'_>) -> Result<()> {
        let path = self.work.target();
        let at_path = |error: Error| error.at_path(path);
        check_window(window).map_err(at_path)?;
        if !is_inside(window, self.spec.size) {
            let size = self.spec.size;
            return Err(at_path(Error::invalid(format!("window {window} is not on the output of {size}"))));
        }
        let mismatch = |text: String| Err(at_path(Error::new(ErrorKind::Mismatch, text)));
        if samples.data_type() != self.spec.data_type {
            let (found, expected) = (samples.data_type(), self.spec.data_type);
            return mismatch(format!("window {window}: samples are {found}, the output is {expected}"));
        }
        let (found, expected) = (samples.shape(), [self.spec.bands, window.height, window.width]);
        if found != expected {
            return mismatch(format!("window {window}: samples are {found:?}, expected {expected:?}"));
        }
        let dataset = self.dataset.dataset(path)?;
        let what = format!("cannot write window {window}");
        let call = Call { kind: ErrorKind::Io, what: &what, path };
        let result = with_samples!(SamplesView, samples, block => {
            // A copy: GDAL may swap bytes in the buffer, and the view may have any strides.
            let mut buffer = Vec::new();
            match buffer.try_reserve_exact(block.len()) {
                Ok(()) => {
                    buffer.extend(block.iter().copied());
                    call.run_strictly(|| sys::write(dataset, &Band::first(self.spec.bands), window, &mut buffer))
                }
                Err(_) => Err(at_path(Error::new(ErrorKind::OutOfMemory, format!("window {window}: no memory for a copy")))),
            }
        });
        self.failed |= result.is_err();
        result
    }

    /// What is being written.
    pub fn spec(&self) -> &WriteSpec {
        &self.spec
    }

    /// Completes the raster: closes it, makes the COG, reads it back whole, syncs it and gives it its name.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) with GDAL's message if anything could not be written (a full disk may show only here) or
    /// does not read back as written; [`AlreadyExists`](ErrorKind::AlreadyExists) if another file took the name
    /// meanwhile; [`InvalidState`](ErrorKind::InvalidState) if a write had failed. No output and no temporary remains
    /// then; without `overwrite` nothing that was there is touched.
    pub fn finish(self) -> Result<()> {
        self.finish_with(&mut |_| true)
    }

    /// [`RasterWriter::finish`], telling `progress` the share of the copy done, 0 to 1; `false` from it stops.
    ///
    /// # Errors
    /// As [`RasterWriter::finish`]; [`Cancelled`](ErrorKind::Cancelled) if `progress` stopped it.
    pub fn finish_with(self, progress: &mut dyn FnMut(f64) -> bool) -> Result<()> {
        let RasterWriter { dataset, spec, work, output, failed } = self;
        let path = work.target().to_path_buf();
        if failed {
            return Err(Error::new(ErrorKind::InvalidState, "an earlier write failed").at_path(path));
        }
        dataset.finish(&path)?;
        match output {
            None => {
                cog::verify(work.path(), &path, &spec, None)?;
                if !progress(1.0) {
                    return Err(Error::new(ErrorKind::Cancelled, "stopped before the end").at_path(path));
                }
                work.commit(spec.overwrite)
            }
            Some(output) => {
                cog::copy(work.path(), &output, &spec, progress)?;
                // Gives its space back before the sync.
                drop(work);
                output.commit(spec.overwrite)
            }
        }
    }
}

fn new_dataset(path: &Path, spec: &WriteSpec, staging: bool) -> gdal::errors::Result<Dataset> {
    let driver = DriverManager::get_driver_by_name("GTiff")?;
    let options = spec.gtiff_options(staging);
    let (width, height) = (spec.size.width, spec.size.height);
    with_type!(spec.data_type, T => {
        driver.create_with_band_type_with_options::<T, _>(path, width, height, spec.bands, &options)
    })
}

/// Writes everything of `spec` that is not pixels to a dataset under construction that has its bands. Runs inside a
/// message scope.
pub(super) fn write_header(dataset: &mut Dataset, spec: &WriteSpec) -> gdal::errors::Result<()> {
    spec.georeference.apply(dataset)?;
    for (name, value) in &spec.metadata {
        dataset.set_metadata_item(name, value, "")?;
    }
    for number in 1..=spec.bands {
        let mut band = dataset.rasterband(number)?;
        if let Some(name) = spec.band_names.get(number - 1) {
            band.set_description(name)?;
        }
        match (spec.nodata, spec.data_type) {
            (None, _) => {}
            (Some(value), DataType::U64) => band.set_no_data_value_u64(Some(u64::from_f64(value)))?,
            (Some(value), DataType::I64) => band.set_no_data_value_i64(Some(i64::from_f64(value)))?,
            (value, _) => band.set_no_data_value(value)?,
        }
        if let Some(colors) = &spec.colors {
            let mut table = ColorTable::new(PaletteInterpretation::Rgba);
            for (index, [r, g, b, a]) in (0..).zip(colors) {
                let color = ColorEntry::rgba((*r).into(), (*g).into(), (*b).into(), (*a).into());
                table.set_color_entry(index, &color);
            }
            band.set_color_table(&table);
        }
        for (value, name) in spec.categories.iter().flatten().enumerate() {
            band.set_metadata_item(&format!("class_{value}"), name, "")?;
        }
    }
    Ok(())
}
