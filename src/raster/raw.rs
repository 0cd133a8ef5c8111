//! The finished raster, made of a plain file of samples in one go.
//!
//! The bytes of the output depend on the samples and the specification alone, however often the work that produced the
//! samples was interrupted. For a COG the file is shown to GDAL as a raster in memory, which its driver copies; that
//! writes block after block. A plain GeoTIFF is written by ourselves (see `blocks.rs` for why).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use gdal::vsi;

use super::messages::scope;
use super::options::local;
use super::source::Source;
use super::spec::{Format, WriteSpec};
use super::{blocks, cog, compare, source};
use crate::error::{Error, ErrorKind, Result};
use crate::file::same_file;
use crate::geometry::Size;
use crate::runtime::return_freed_memory;
use crate::tensor::DataType;

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
/// cache (see [`CacheLimit`](super::CacheLimit)): up to 30 MiB and ten blocks, and 5 MiB and five blocks more for each
/// further thread (a block of a COG is that of all bands); levels of Zstd from 7 on need more. Disk: the output, and for
/// a COG a third of it once more while it is made.
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
    let mut report = |done| progress(done * WRITTEN);
    match spec.format {
        Format::Cog => {
            let source = Source::new(spec, Some(&samples), output)?;
            cog::write_copy(source.raster()?, &file, output, spec, &source::SETTINGS, &mut report)?;
        }
        Format::GTiff => blocks::write(&file, output, &samples, spec, &mut report)?,
    }
    // What the threads that compressed have freed would stay beside what those that decode take.
    return_freed_memory();
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
