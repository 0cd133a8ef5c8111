//! An open raster.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use gdal::{Dataset, DatasetOptions, GdalOpenFlags};

use super::info::RasterInfo;
use super::messages::Call;
use super::options::{OpenOptions, drivers, local_file};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Size};

/// Extensions of world files, which hold the transform of formats that have no place for one.
const WORLD_FILES: [&str; 10] = ["wld", "tfw", "tifw", "tiffw", "pgw", "pngw", "jgw", "jpgw", "jpegw", "j2w"];

/// An open raster, to be read in windows.
///
/// `Send`, not `Sync`: GDAL lets one thread at a time use a dataset. Threads that read side by side take one each, by
/// [`Raster::reopen`]. GDAL's block cache is shared by all of them.
#[derive(Debug)]
pub struct Raster {
    pub(super) dataset: Dataset,
    pub(super) info: RasterInfo,
    options: OpenOptions,
    /// The absolute path, for reopening wherever the working directory is by then.
    file: PathBuf,
}

impl Raster {
    /// Opens the raster at `path`.
    ///
    /// Only a regular local file is taken, only by the drivers that `options` allow, and nothing beside it is read but
    /// a mask (`NAME.msk`, if it is a TIFF) and a world file. Limits are checked before any pixel is read.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if `path` is a folder, a URL, a GDAL virtual path or connection
    /// string; [`NotFound`](ErrorKind::NotFound); [`PermissionDenied`](ErrorKind::PermissionDenied);
    /// [`RasterInvalid`](ErrorKind::RasterInvalid) if no allowed driver can read it;
    /// [`RasterUnsupported`](ErrorKind::RasterUnsupported) for a VRT that is not allowed and for complex or signed
    /// 8-bit samples; [`LimitExceeded`](ErrorKind::LimitExceeded) for too many bands or too large blocks;
    /// [`NotSupported`](ErrorKind::NotSupported) if this GDAL has none of the allowed drivers.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Raster> {
        let path = path.as_ref();
        let file = local_file(path)?;
        let head = head(&file).map_err(|error| Error::io("read", path, error))?;
        if !options.allows("VRT") && head.trim_ascii_start().starts_with(b"<VRTDataset") {
            return Err(Error::new(ErrorKind::RasterUnsupported, "is a VRT, and that driver is not allowed")
                .at_path(path));
        }
        let available = drivers(options);
        if available.is_empty() {
            let wanted = options.drivers.join(", ");
            return Err(Error::new(
                ErrorKind::NotSupported,
                format!("this GDAL has none of the allowed drivers ({wanted})"),
            ));
        }
        let usual = OpenOptions::default();
        let unknown = |name: &&String| {
            !usual.allows(name) && !available.iter().any(|have| have.eq_ignore_ascii_case(name))
        };
        if let Some(name) = options.drivers.iter().find(unknown) {
            return Err(Error::invalid(format!("this GDAL has no driver {name:?}")));
        }
        let what = format!("not a readable raster of an allowed format ({})", available.join(", "));
        let call = Call { kind: ErrorKind::RasterInvalid, what: &what, path };
        let siblings = siblings(&file);
        let dataset = call.run(|| {
            Dataset::open_ex(
                &file,
                DatasetOptions {
                    open_flags: GdalOpenFlags::GDAL_OF_RASTER | GdalOpenFlags::GDAL_OF_VERBOSE_ERROR,
                    allowed_drivers: Some(&available.iter().map(String::as_str).collect::<Vec<_>>()),
                    open_options: None,
                    sibling_files: Some(&siblings.iter().map(String::as_str).collect::<Vec<_>>()),
                },
            )
        })?;
        let (info, _) = super::messages::scope(|| RasterInfo::of(&dataset, path, options.max_bands));
        let info = info.map_err(|error| error.at_path(path))?;
        for (band, number) in info.bands.iter().zip(1..) {
            let bytes = info.block_bytes(band);
            if bytes > options.max_block_bytes {
                let limit = options.max_block_bytes;
                return Err(Error::new(
                    ErrorKind::LimitExceeded,
                    format!("one block of {} decodes to {bytes} bytes, the limit is {limit}", band.block),
                )
                .at_band(number)
                .at_path(path));
            }
        }
        Ok(Raster { dataset, info, options: options.clone(), file })
    }

    /// Opens the same file once more, for another thread.
    ///
    /// # Errors
    /// As [`Raster::open`]; [`RasterInvalid`](ErrorKind::RasterInvalid) if the file is another one by now.
    pub fn reopen(&self) -> Result<Raster> {
        let mut other = Raster::open(&self.file, &self.options)?;
        other.info.path.clone_from(&self.info.path);
        let same = |a: &RasterInfo, b: &RasterInfo| {
            (a.size, a.bands.len(), &a.driver) == (b.size, b.bands.len(), &b.driver)
                && a.bands.iter().zip(&b.bands).all(|(a, b)| (a.data_type, a.block) == (b.data_type, b.block))
        };
        if !same(&self.info, &other.info) {
            return Err(Error::new(ErrorKind::RasterInvalid, "file was replaced while it was open")
                .at_path(&self.info.path));
        }
        Ok(other)
    }

    /// What the raster is.
    pub fn info(&self) -> &RasterInfo {
        &self.info
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        self.info.size
    }

    /// All bands that are not alpha, in order: what is read where nobody chose bands.
    pub fn color_bands(&self) -> Vec<Band> {
        self.info.color_bands()
    }

    /// The options that it was opened with.
    pub fn options(&self) -> &OpenOptions {
        &self.options
    }
}

/// The first bytes of a file.
fn head(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(file)?.take(256).read_to_end(&mut head)?;
    Ok(head)
}

/// The only names that GDAL may see in the folder of `file`: itself, its mask and its world files.
///
/// GDAL opens a mask with any driver, so one that is no TIFF (a VRT, say) is not shown to it. The list is never
/// empty: an empty one means "not known" to GDAL.
fn siblings(file: &Path) -> Vec<String> {
    let name = |path: &Path| path.file_name().and_then(OsStr::to_str).map(str::to_owned);
    let mut names: Vec<String> = name(file).into_iter().collect();
    let mut mask = file.as_os_str().to_owned();
    mask.push(".msk");
    let mask = Path::new(&mask);
    if mask.is_file() {
        if head(mask).is_ok_and(|head| is_tiff(&head)) {
            names.extend(name(mask));
        } else {
            tracing::warn!(path = %mask.display(), "mask beside the raster is not a TIFF and is ignored");
        }
    }
    for extension in WORLD_FILES {
        for extension in [extension.to_owned(), extension.to_uppercase()] {
            let world = file.with_extension(extension);
            if world.is_file() {
                names.extend(name(&world));
            }
        }
    }
    names
}

fn is_tiff(head: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| head.starts_with(*magic))
}
