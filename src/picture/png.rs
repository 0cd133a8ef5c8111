//! PNG files, complete or not there.

use std::fs;
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::error::{Error, ErrorKind, Result};
use crate::file::StagedFile;
use crate::picture::canvas::Canvas;

/// Encodes a page: 8-bit RGB.
pub(super) fn encode(canvas: &Canvas) -> Result<Vec<u8>> {
    let too_large = |_| Error::new(ErrorKind::LimitExceeded, "picture is too large for a PNG file");
    let width = u32::try_from(canvas.width()).map_err(too_large)?;
    let height = u32::try_from(canvas.height()).map_err(too_large)?;
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive)
        .write_image(canvas.pixels(), width, height, ExtendedColorType::Rgb8)
        .map_err(|error| Error::new(ErrorKind::Io, "cannot encode PNG").caused_by(error))?;
    Ok(bytes)
}

/// Writes a file that appears complete or not at all; see [`StagedFile`].
pub(super) fn write(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    let staged = StagedFile::new(path, overwrite)?;
    fs::write(staged.path(), bytes).map_err(|error| Error::io("write", path, error))?;
    staged.commit(overwrite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_kept_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        write(&path, b"one", false).unwrap();
        let error = write(&path, b"two", false).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::AlreadyExists, Some(&*path)));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"two", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let missing = write(&folder.path().join("no/a.png"), b"x", false).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let taken = folder.path().join("folder");
        fs::create_dir(&taken).unwrap();
        assert!(write(&taken, b"x", true).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(write(Path::new("/"), b"x", true).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
