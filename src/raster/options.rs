//! What may be opened: drivers, paths, limits.

use std::fs;
use std::path::{Path, PathBuf};

use gdal::DriverManager;

use super::messages::scope;
use crate::error::{Error, ErrorKind, Result};

/// How rasters are opened.
///
/// A raster is an untrusted file. By default only drivers of self-contained imaging formats may look at it: GeoTIFF
/// (which reads Cloud-Optimized GeoTIFF as well), PNG, JPEG and JPEG 2000. Not among them: HFA (`.img`), whose
/// files name other files to read from, and VRT, whose files are lists of other sources of any driver. Whoever trusts
/// a VRT adds `"VRT"`; its sources are then opened by GDAL itself, with any driver, and network paths in them are
/// followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// GDAL's short names of the drivers that may be used, in any order.
    pub drivers: Vec<String>,
    /// Most bands a raster may have.
    pub max_bands: usize,
    /// Most bytes that one block of a raster may decode to, over all bands where they are interleaved. GDAL decodes
    /// whole blocks, so a small file that declares a huge block costs this much memory.
    pub max_block_bytes: u64,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            drivers: ["GTiff", "COG", "PNG", "JPEG", "JP2OpenJPEG"].map(str::to_owned).into(),
            max_bands: 1024,
            max_block_bytes: 1 << 30,
        }
    }
}

impl OpenOptions {
    /// The same with one more driver.
    #[must_use]
    pub fn with_driver(mut self, name: impl Into<String>) -> OpenOptions {
        let name = name.into();
        if !self.drivers.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            self.drivers.push(name);
        }
        self
    }

    /// Whether the driver of this name may be used.
    pub fn allows(&self, name: &str) -> bool {
        self.drivers.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Version of the GDAL in use: `3.6.2`.
pub fn gdal_version() -> String {
    gdal::version::VersionInfo::release_name()
}

/// The drivers that `options` allow and this GDAL has, by their short names and in the order of `options`.
pub fn drivers(options: &OpenOptions) -> Vec<String> {
    let available = |name: &&String| DriverManager::get_driver_by_name(name).is_ok();
    scope(|| options.drivers.iter().filter(available).cloned().collect()).0
}

/// The absolute path of a regular local file, as GDAL gets it.
///
/// GDAL takes far more than paths: `/vsicurl/...`, `MEM:::`, inline XML, `GTIFF_DIR:1:...`. An absolute path of an
/// existing regular file can be none of these.
pub(super) fn local_file(path: &Path) -> Result<PathBuf> {
    local(path, "raster")
}

/// The same for a file that is to be `what`.
pub(super) fn local(path: &Path, what: &str) -> Result<PathBuf> {
    let Some(text) = path.to_str() else {
        return Err(Error::invalid("path is not UTF-8, which GDAL needs").at_path(path));
    };
    if text.is_empty() {
        return Err(Error::invalid(format!("path of the {what} is empty")));
    }
    if text.contains('\0') {
        return Err(Error::invalid("path contains a NUL"));
    }
    let not_local = |found: &str| {
        Err(Error::invalid(format!("{found} where the path of a local file is expected")).at_path(path))
    };
    if text.trim_start().starts_with('<') {
        return not_local("inline XML");
    }
    let absolute = std::path::absolute(path).map_err(|error| Error::io("resolve the path", path, error))?;
    if text.starts_with("/vsi") || absolute.to_str().is_none_or(|text| text.starts_with("/vsi")) {
        return not_local("GDAL virtual file system");
    }
    match fs::metadata(&absolute) {
        Ok(meta) if meta.is_dir() => Err(Error::invalid(format!("is a folder, not a {what}")).at_path(path)),
        Ok(meta) if !meta.is_file() => Err(Error::invalid("is not a regular file").at_path(path)),
        Ok(_) => Ok(absolute),
        Err(_) if has_prefix(text) => not_local("URL or GDAL connection string"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(ErrorKind::NotFound, format!("{what} does not exist"))
                .at_path(path)
                .caused_by(error))
        }
        Err(error) => Err(Error::io("open", path, error)),
    }
}

/// `scheme:` of two characters at least (one is a drive of Windows).
fn has_prefix(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() >= 2 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-_.".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_local_files_pass() {
        for text in [
            "/vsimem/a.tif",
            "/vsicurl/http://localhost/a.tif",
            "/vsizip/a.zip/a.tif",
            "/vsi/../vsimem/a.tif",
            "/vsistdin/",
            "MEM:::DATAPOINTER=1,PIXELS=1,LINES=1",
            "<VRTDataset rasterXSize=\"1\" rasterYSize=\"1\"></VRTDataset>",
            "  <GDAL_WMS></GDAL_WMS>",
            "vrt://a.tif",
            "http://localhost/a.tif",
            "https://localhost/a.tif",
            "GTIFF_DIR:1:a.tif",
            "GTIFF_RAW:a.tif",
            "NETCDF:a.nc:x",
            "PG:host=localhost",
            "",
            "a\0.tif",
        ] {
            let error = local_file(Path::new(text)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text:?}: {error:?}");
        }
        assert_eq!(local_file(Path::new("nowhere.tif")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(local_file(Path::new(".")).unwrap_err().kind(), ErrorKind::InvalidArgument);
        #[cfg(unix)]
        assert_eq!(local_file(Path::new("/dev/null")).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_local_file_with_a_colon_in_its_name_is_a_local_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("GTIFF_DIR:1:a.tif");
        fs::write(&path, b"x").unwrap();
        assert_eq!(local_file(&path).unwrap(), path);
    }

    #[test]
    fn drivers_are_those_allowed_and_present() {
        let options = OpenOptions::default().with_driver("no such driver").with_driver("gtiff");
        assert_eq!(options.drivers.iter().filter(|name| name.eq_ignore_ascii_case("GTiff")).count(), 1);
        let found = drivers(&options);
        assert!(found.contains(&"GTiff".to_owned()) && !found.contains(&"no such driver".to_owned()));
        assert!(!options.allows("VRT") && options.with_driver("VRT").allows("vrt"));
        assert!(gdal_version().split('.').all(|part| part.parse::<u32>().is_ok()), "{}", gdal_version());
    }
}
