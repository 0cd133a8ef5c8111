//! A plain file of samples as a raster in memory that GDAL can copy.

use std::fmt::Display;
use std::path::Path;

use gdal::cpl::CslStringList;
use gdal::raster::ColorInterpretation;
use gdal::{Dataset, DriverManager, Metadata};

use super::messages::{Call, Settings, scope};
use super::spec::WriteSpec;
use super::sys;
use super::write::write_header;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Window;

/// GDAL's settings while the file of samples is read. Newer versions let raw bands be files beside a VRT file only, and
/// here there is none. Rows are read as far as a window needs them: else a block of a wide raster of many bands reads
/// whole rows, more than the block cache keeps until the next block.
pub(super) const SETTINGS: [(&str, &str); 3] = [
    ("GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE", "ALL"),
    ("GDAL_VRT_ENABLE_RAWRASTERBAND", "YES"),
    ("GDAL_ONE_BIG_READ", "YES"),
];

/// A raster in memory that has the header of the output and the samples of the file.
///
/// The file is one band to GDAL, with all bands of a row side by side; each band of the raster is a window of it. (As
/// raw bands of their own, GDAL 3.6 would take the rows of a band for adjacent where it reads them whole.)
pub(super) struct Source {
    // Before the file, which it refers to.
    raster: Option<Dataset>,
    file: Option<Dataset>,
}

impl Drop for Source {
    fn drop(&mut self) {
        scope(|| {
            drop(self.raster.take());
            drop(self.file.take());
        });
    }
}

impl Source {
    /// Of the samples at `raw`; of none, only to see that the header is possible. `output` is for errors.
    pub(super) fn new(spec: &WriteSpec, raw: Option<&Path>, output: &Path) -> Result<Source> {
        let path = raw.unwrap_or(output);
        let mut source = Source { raster: None, file: None };
        Call { kind: ErrorKind::Io, what: "cannot read the samples", path }.run_strictly(|| {
            let _settings = Settings::of(&SETTINGS);
            source.link(spec, raw)
        })?;
        // Georeferencing comes from the caller, so what GDAL refuses here is refused in the caller's name.
        if let Some(raster) = &mut source.raster {
            Call { kind: ErrorKind::InvalidArgument, what: "cannot write the output's header", path: output }
                .run_strictly(|| write_header(raster, spec))?;
        }
        Ok(source)
    }

    /// The raster.
    pub(super) fn raster(&self) -> Result<&Dataset> {
        self.raster.as_ref().ok_or_else(|| Error::internal("a raster in memory without a dataset"))
    }

    fn link(&mut self, spec: &WriteSpec, raw: Option<&Path>) -> Result<(), String> {
        if let Some(raw) = raw {
            self.file = Some(file(spec, raw)?);
        }
        let raster = self.raster.insert(memory(spec.size.width, spec.size.height)?);
        for number in 1..=spec.bands {
            sys::add_band(raster, spec.data_type, &CslStringList::new()).map_err(text)?;
            let band = raster.rasterband(number).map_err(text)?;
            if let Some(file) = &self.file {
                let left = (number - 1) * spec.size.width;
                let window = Window::new(left as i64, 0, spec.size.width, spec.size.height);
                sys::show_window(&band, &file.rasterband(1).map_err(text)?, window).map_err(text)?;
            }
        }
        // As in a GeoTIFF that holds no picture: what the drivers write follows from it.
        if spec.colors.is_none() {
            let mut first = raster.rasterband(1).map_err(text)?;
            first.set_color_interpretation(ColorInterpretation::GrayIndex).map_err(text)?;
        }
        // A COG is interleaved by pixel; where nothing is compressed GDAL 3.6 takes the order of the source.
        raster.set_metadata_item("INTERLEAVE", "PIXEL", "IMAGE_STRUCTURE").map_err(text)
    }
}

/// A raster in memory, without bands.
fn memory(width: usize, height: usize) -> Result<Dataset, String> {
    let driver = DriverManager::get_driver_by_name("VRT").map_err(text)?;
    driver.create_with_band_type::<u8, _>("", width, height, 0).map_err(text)
}

/// The file of samples as a raster of one band.
fn file(spec: &WriteSpec, raw: &Path) -> Result<Dataset, String> {
    // Checked before: all of it fits 31 bits.
    let width = spec.bands * spec.size.width;
    let bytes = spec.data_type.bytes();
    let mut options = CslStringList::new();
    for (key, value) in [
        ("subclass", "VRTRawRasterBand"),
        ("SourceFilename", raw.to_str().ok_or("path is not UTF-8")?),
        ("relativeToVRT", "false"),
        ("ImageOffset", "0"),
        ("PixelOffset", &bytes.to_string()),
        ("LineOffset", &(width * bytes).to_string()),
        ("ByteOrder", if cfg!(target_endian = "big") { "MSB" } else { "LSB" }),
    ] {
        options.add_name_value(key, value).map_err(text)?;
    }
    let mut dataset = memory(width, spec.size.height)?;
    sys::add_band(&mut dataset, spec.data_type, &options).map_err(text)?;
    Ok(dataset)
}

fn text(error: impl Display) -> String {
    error.to_string()
}
