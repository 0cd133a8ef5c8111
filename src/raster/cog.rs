//! The last step of an output: the Cloud-Optimized copy, and reading back what was written.

use std::path::Path;

use gdal::{Dataset, DriverManager};

use super::messages::{Call, Settings, scope};
use super::open::Raster;
use super::options::OpenOptions;
use super::spec::WriteSpec;
use super::sys;
use crate::error::{Error, ErrorKind, Result};
use crate::file::StagedFile;

/// Checks before the work that its end is possible.
pub(super) fn check_driver() -> Result<()> {
    scope(|| DriverManager::get_driver_by_name("COG")).0.map(drop).map_err(|error| {
        Error::new(ErrorKind::NotSupported, "this GDAL cannot write COG (version 3.1 or later is needed)")
            .caused_by(error.to_string())
    })
}

/// Copies the closed GeoTIFF at `from` as a COG to `output`, and verifies the copy.
pub(super) fn copy(
    from: &Path,
    output: &StagedFile,
    spec: &WriteSpec,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<()> {
    let path = output.target();
    let source = open(from, path)?;
    write_copy(&source.dataset, output.path(), path, spec, &[], progress)?;
    let sum = checksum(&source, 1, path)?;
    verify(output.path(), path, spec, Some(sum))
}

/// Copies `source`, which has the header and samples of `spec`, as a COG to `file`, and closes that. `path` is the output's name in errors, `settings` are GDAL's for the copy.
pub(super) fn write_copy(
    source: &Dataset,
    file: &Path,
    path: &Path,
    spec: &WriteSpec,
    settings: &[(&'static str, &str)],
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<()> {
    let mut stopped = false;
    let mut report = |done: f64| {
        stopped |= !progress(done);
        !stopped
    };
    let options = spec.cog_options();
    let result = Call { kind: ErrorKind::Io, what: "cannot make the COG", path }.run_strictly(|| {
        let _settings = (Settings::of(settings), Settings::of(&[temporary_compression(spec)]));
        let driver = DriverManager::get_driver_by_name("COG").map_err(|error| error.to_string())?;
        let copy = sys::create_copy(&driver, file, source, &options, &mut report)
            .map_err(|error| error.to_string())?;
        copy.close().map_err(|error| error.to_string())
    });
    if stopped {
        return Err(Error::new(ErrorKind::Cancelled, "stopped while making the COG").at_path(path));
    }
    result
}

/// How GDAL's COG driver compresses its overviews in the making, which it reads once, a moment later. By itself it takes
/// Zstd at its usual level, which is a third of the whole time; scores hardly get smaller by anything as fast as that.
fn temporary_compression(spec: &WriteSpec) -> (&'static str, &'static str) {
    ("COG_TMP_COMPRESSION", if spec.data_type.is_integer() { "LZW" } else { "NONE" })
}

/// Opens the closed file at `file`, decodes it whole, and compares it with what was to be written. `path` is the
/// output's name in errors, `sum` the checksum of its first band.
pub(super) fn verify(file: &Path, path: &Path, spec: &WriteSpec, sum: Option<u16>) -> Result<()> {
    let raster = reopen(file, path, spec)?;
    let info = raster.info();
    // Bands that are interleaved are decoded together, so the first stands for all.
    let bands = if info.pixel_interleaved { 1 } else { info.bands.len() };
    for band in 1..=bands {
        let found = checksum(&raster, band, path)?;
        if let Some(sum) = sum
            && band == 1
            && sum != found
        {
            return Err(differs(path, &format!("checksum {found}, expected {sum}")));
        }
    }
    Ok(())
}

/// The error of an output that is not what was written.
pub(super) fn differs(path: &Path, text: &str) -> Error {
    Error::new(ErrorKind::Io, format!("output does not read back as written: {text}")).at_path(path)
}

/// Opens the closed file at `file`, and compares its size, bands and type with those of `spec`.
pub(super) fn reopen(file: &Path, path: &Path, spec: &WriteSpec) -> Result<Raster> {
    let raster = open(file, path)?;
    let info = raster.info();
    if (info.size, info.bands.len()) != (spec.size, spec.bands) {
        let (size, bands) = (info.size, info.bands.len());
        let text = format!("{size} of {bands} bands, expected {} of {}", spec.size, spec.bands);
        return Err(differs(path, &text));
    }
    if let Some(band) = info.bands.iter().find(|band| band.data_type != spec.data_type) {
        return Err(differs(path, &format!("{}, expected {}", band.data_type, spec.data_type)));
    }
    Ok(raster)
}

/// Opens a file of our own making: no limits.
fn open(file: &Path, path: &Path) -> Result<Raster> {
    let options =
        OpenOptions { drivers: vec!["GTiff".to_owned()], max_bands: usize::MAX, max_block_bytes: u64::MAX };
    Raster::open(file, &options).map_err(|error| {
        Error::new(ErrorKind::Io, "output does not read back")
            .at_path(path)
            .caused_by(error.message().to_owned())
    })
}

/// GDAL's checksum of a band, which decodes all of it.
fn checksum(raster: &Raster, band: usize, path: &Path) -> Result<u16> {
    let size = raster.size();
    let dataset: &Dataset = &raster.dataset;
    Call { kind: ErrorKind::Io, what: "output does not read back", path }
        .run_strictly(|| dataset.rasterband(band)?.checksum((0, 0), (size.width, size.height)))
}
