//! The finished raster, made of a plain file of samples in one go.
//!
//! The file is shown to GDAL as a raster in memory (a VRT) that has the header of the output, and copied by the driver
//! of its format. So the bytes of the output depend on the samples and the specification alone, however often the work
//! that produced the samples was interrupted.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use gdal::cpl::CslStringList;
use gdal::raster::ColorInterpretation;
use gdal::{Dataset, DriverManager, Metadata, vsi};

use super::messages::{Call, Settings, scope};
use super::options::local;
use super::spec::{Format, WriteSpec};
use super::write::write_header;
use super::{cog, compare, sys};
use crate::error::{Error, ErrorKind, Result};
use crate::file::same_file;
use crate::geometry::{Size, Window};
use crate::tensor::DataType;

/// GDAL's settings while the file of samples is read. Newer versions let raw bands be files beside a VRT file only, and
/// here there is none. Rows are read as far as a window needs them: else a block of a wide raster of many bands reads
/// whole rows, more than the block cache keeps until the next block.
const SETTINGS: [(&str, &str); 3] = [
    ("GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE", "ALL"),
    ("GDAL_VRT_ENABLE_RAWRASTERBAND", "YES"),
    ("GDAL_ONE_BIG_READ", "YES"),
];

/// What GDAL's COG driver leaves beside an output if the process is killed: its overviews in the making, and those of a
/// mask (which no output has so far).
const SIDE_FILES: [&str; 2] = [".ovr.tmp", ".msk.ovr.tmp"];

/// The share of [`encode`] that is over when reading back begins.
const WRITTEN: f64 = 0.9;

/// Makes the raster of `spec` at `output` from the samples in the file `raw`, and reads it back.
///
/// `raw` holds the samples and nothing else, in the byte order of the machine, row by row and within a row band by
/// band: the sample of band `b`, row `y` and column `x` (all from 0) of a raster of `B` bands and width `W` is number
/// `(y B + b) W + x`. That is [`WriteSpec::raw_bytes`] bytes. It is only read, and must not change meanwhile.
///
/// `output` is overwritten where it is, whatever `spec.overwrite` says: it is meant to be a temporary, to be given its
/// name by the caller once this has succeeded; it is not synced. After an error it may hold a part, or be gone. If the
/// process is killed, `OUTPUT.ovr.tmp` may be left beside it (where the host has told GDAL to use another folder, by its
/// option `CPL_TMPDIR`, newer versions put it there); the next `encode` to the same path removes it. The bytes of the
/// output depend on `raw` and `spec` alone, not on `spec.threads`.
///
/// `progress` gets the share done, 0 to 1, on the calling thread; `false` from it stops. Memory, besides GDAL's block
/// cache (see [`CacheLimit`](super::CacheLimit)): some 16 MiB, and some blocks a thread. Disk: the output, and for a
/// COG a third of it once more while it is made.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for a specification that contradicts itself, or paths that cannot
/// be; [`Io`](ErrorKind::Io) if `raw` is missing or not as long as it must be (nothing is written then), if writing
/// fails (with GDAL's message), or if what was written does not read back byte by byte as the samples;
/// [`NotSupported`](ErrorKind::NotSupported) if this GDAL lacks the format or compression;
/// [`Cancelled`](ErrorKind::Cancelled) if `progress` stopped it; [`OutOfMemory`](ErrorKind::OutOfMemory).
pub fn encode(
    raw: &Path,
    spec: &WriteSpec,
    output: &Path,
    progress: &mut dyn FnMut(f64) -> bool,
) -> Result<()> {
    check_encode(spec, output)?;
    let samples = samples(raw, spec)?;
    if same_file(raw, output) {
        return Err(Error::invalid("output is the file of the samples").at_path(output));
    }
    let file = clear(output)?;
    let source = Source::new(spec, Some(&samples), output)?;
    if let Some(raster) = &source.raster {
        let mut report = |done| progress(done * WRITTEN);
        cog::write_copy(raster, &file, output, spec, &SETTINGS, &mut report)?;
    }
    drop(source);
    compare::with_samples(&file, output, &samples, spec, &mut |done| {
        progress(WRITTEN + done * (1.0 - WRITTEN))
    })
}

/// Checks all of `spec` that [`encode`] would refuse, for whoever produces the samples first. `output` is for errors.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for a specification that contradicts itself, georeferencing that GDAL
/// does not take, and rows that hold 2 GiB or more in all bands; [`NotSupported`](ErrorKind::NotSupported) if this GDAL
/// lacks the format, the compression or the reading of plain samples.
pub fn check_encode(spec: &WriteSpec, output: &Path) -> Result<()> {
    check(spec).map_err(|error| error.at_path(output))?;
    Source::new(spec, None, output).map(drop)
}

fn check(spec: &WriteSpec) -> Result<()> {
    spec.check()?;
    if spec.format == Format::Cog {
        cog::check_driver()?;
    }
    // GDAL counts the bytes of a row in 31 bits, and those of a file in 63.
    let row = WriteSpec { size: Size::new(spec.size.width, 1), ..spec.clone() }.raw_bytes();
    if row.is_none_or(|bytes| i32::try_from(bytes).is_err())
        || spec.raw_bytes().is_none_or(|bytes| i64::try_from(bytes).is_err())
    {
        let WriteSpec { size, bands, data_type, .. } = spec;
        return Err(Error::invalid(format!(
            "output of {size} and {bands} bands of {data_type}: a row of all bands must be below 2 GiB"
        )));
    }
    check_reading()
}

/// Whether this GDAL can read a plain file of samples, which a build of it may leave out: tried with one byte.
fn check_reading() -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!("/vsimem/glebe-{}-{number}.raw", std::process::id());
    let name = Path::new(&name);
    let spec = WriteSpec::new(Size::new(1, 1), 1, DataType::U8);
    let made = scope(|| vsi::create_mem_file(name, vec![0])).0.map_err(|error| error.to_string());
    let read = made.and_then(|()| match Source::new(&spec, Some(name), name) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.one_line()),
    });
    let _ = scope(|| vsi::unlink_mem_file(name));
    read.map_err(|cause| {
        Error::new(ErrorKind::NotSupported, "this GDAL cannot read plain files of samples").caused_by(cause)
    })
}

/// The absolute path of the file of samples, which has the right length.
fn samples(raw: &Path, spec: &WriteSpec) -> Result<PathBuf> {
    let file = local(raw, "file of samples").map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::Io, "file of samples is missing").at_path(raw),
        _ => error,
    })?;
    let found = fs::metadata(&file).map_err(|error| Error::io("look at the samples", raw, error))?.len();
    let expected = spec.raw_bytes().unwrap_or(u64::MAX);
    if found != expected {
        let text = format!("file of samples has {found} bytes, expected {expected}");
        return Err(Error::new(ErrorKind::Io, text).at_path(raw));
    }
    Ok(file)
}

/// Empties the output and takes away what a killed process left beside it. Returns its absolute path.
fn clear(output: &Path) -> Result<PathBuf> {
    File::create(output).map_err(|error| Error::io("create the output", output, error))?;
    // Past this GDAL cannot take the path for anything but a file.
    let file = local(output, "output")?;
    for suffix in SIDE_FILES {
        let mut side = file.clone().into_os_string();
        side.push(suffix);
        match fs::remove_file(&side) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove an old temporary", Path::new(&side), error));
            }
            _ => {}
        }
    }
    Ok(file)
}

/// The raster in memory that has the header of the output and the samples of the file.
///
/// The file is one band to GDAL, with all bands of a row side by side; each band of the raster is a window of it. (As
/// raw bands of their own, GDAL 3.6 would take the rows of a band for adjacent where it reads them whole.)
struct Source {
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
    fn new(spec: &WriteSpec, raw: Option<&Path>, output: &Path) -> Result<Source> {
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
        if spec.format == Format::Cog {
            raster.set_metadata_item("INTERLEAVE", "PIXEL", "IMAGE_STRUCTURE").map_err(text)?;
        }
        Ok(())
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
