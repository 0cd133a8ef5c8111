//! Weights in other files: where they may lie, and reading them.
//!
//! A model file names these files itself, so a hostile one could have any file of the machine read into a tensor.
//! A file is read only where its name is relative and stays below the model's folder, where no component of the name
//! is a symbolic link, and where it is a regular file with one name (no further hard link).

use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::proto::{Bytes, TensorProto};
use crate::onnx::shown;

/// The part of a file that holds a tensor's elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    location: PathBuf,
    offset: u64,
    length: u64,
}

impl External {
    /// What the tensor says about itself; `needed` is the number of bytes that its shape and type ask for.
    pub(crate) fn of(tensor: &TensorProto, needed: u64) -> Result<External> {
        let location =
            value(tensor, "location")?.ok_or_else(|| invalid("external data without a location"))?;
        let location = contained(location)?;
        let number = |key: &str| -> Result<Option<u64>> {
            let Some(text) = value(tensor, key)? else { return Ok(None) };
            let number = text.parse().map_err(|_| {
                invalid(format!("external data: expected {key} to be a number of bytes, got {}", shown(text)))
            })?;
            Ok(Some(number))
        };
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(needed);
        if length != needed {
            return Err(invalid(format!(
                "external data: expected {needed} bytes by shape and type, got {length}"
            )));
        }
        Ok(External { location, offset, length })
    }

    /// Opens the file, placed at the first byte, after all checks.
    pub(crate) fn open(&self, folder: &Path) -> Result<File> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let root = folder.canonicalize().map_err(|error| Error::io("read", folder, error))?;
        let (path, before) = self.look(&root)?;
        let outside = || unsupported("external data outside of the model's folder").at_path(&path);
        if !path.canonicalize().map_err(|error| Error::io("read", &path, error))?.starts_with(&root) {
            return Err(outside());
        }
        let mut file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
        let opened = file.metadata().map_err(|error| Error::io("read", &path, error))?;
        if !same_file(&before, &opened) {
            return Err(outside());
        }
        match self.offset.checked_add(self.length) {
            Some(end) if end <= opened.len() => {}
            _ => {
                let message = format!(
                    "external data: expected {} bytes at offset {}, got a file of {} bytes",
                    self.length,
                    self.offset,
                    opened.len()
                );
                return Err(invalid(message).at_path(path));
            }
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(|error| Error::io("read", &path, error))?;
        Ok(file)
    }

    /// Reads the elements.
    pub(crate) fn read(&self, folder: &Path) -> Result<Bytes> {
        let file = self.open(folder)?;
        let path = folder.join(&self.location);
        let bytes = read_bytes(file.take(self.length), self.length, &path)?;
        if bytes.len() as u64 != self.length {
            let message = format!("external data: expected {} bytes, got {}", self.length, bytes.len());
            return Err(invalid(message).at_path(path));
        }
        Ok(bytes.into())
    }

    /// The path below `root`, and what is there; every component is looked at without following links.
    fn look(&self, root: &Path) -> Result<(PathBuf, Metadata)> {
        let mut path = root.to_owned();
        let mut components = self.location.components().peekable();
        while let Some(component) = components.next() {
            path.push(component);
            let found =
                path.symlink_metadata().map_err(|error| Error::io("read external data", &path, error))?;
            if found.is_symlink() {
                let message =
                    "external data through a symbolic link is refused; copy the file beside the model";
                return Err(unsupported(message).at_path(path));
            }
            if components.peek().is_some() {
                continue;
            }
            if !found.is_file() {
                return Err(unsupported("external data: expected a regular file").at_path(path));
            }
            if links(&found) != 1 {
                let message = "external data: the file has several hard links, expected one; copy it";
                return Err(unsupported(message).at_path(path));
            }
            return Ok((path, found));
        }
        Err(invalid("external data without a location"))
    }
}

/// Reads at most `expected` bytes or what comes of them into memory that was asked for politely.
pub(crate) fn read_bytes(mut from: impl Read, expected: u64, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let size = usize::try_from(expected).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(size).map_err(|error| {
        Error::new(ErrorKind::OutOfMemory, format!("no memory for {expected} bytes"))
            .at_path(path)
            .caused_by(error)
    })?;
    from.read_to_end(&mut bytes).map_err(|error| Error::io("read", path, error))?;
    Ok(bytes)
}

/// The location as a path, if by its text it cannot lead out of a folder.
fn contained(location: &str) -> Result<PathBuf> {
    // onnxruntime#28709: such a location is an address in the process's memory.
    if location.contains("_ORT_MEM_ADDR_") || location.starts_with('*') {
        return Err(invalid("external data at an address in memory is refused"));
    }
    if location.contains(['\\', ':', '\0']) {
        return Err(invalid(format!(
            "external data: expected a relative path with '/', got {}",
            shown(location)
        )));
    }
    let mut path = PathBuf::new();
    for component in Path::new(location).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => {
                return Err(invalid(format!(
                    "external data outside of the model's folder is refused: {}",
                    shown(location)
                )));
            }
        }
    }
    if path.as_os_str().is_empty() || location.ends_with('/') {
        return Err(invalid(format!("external data: expected the name of a file, got {}", shown(location))));
    }
    Ok(path)
}

/// The value of `key` among the entries of external data. Twice the same key is refused: readers differ in which
/// one they take.
fn value<'a>(tensor: &'a TensorProto, key: &str) -> Result<Option<&'a str>> {
    let mut values = tensor.external_data.iter().filter(|entry| entry.key == key);
    let first = values.next().map(|entry| entry.value.as_str());
    match values.next() {
        Some(_) => Err(invalid(format!("external data: {key} is given twice"))),
        None => Ok(first),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ModelInvalid, message)
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ModelUnsupported, message)
}

#[cfg(unix)]
fn same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino()) && links(b) == 1
}

#[cfg(unix)]
fn links(found: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(found)
}

#[cfg(not(unix))]
fn same_file(a: &Metadata, b: &Metadata) -> bool {
    a.len() == b.len() && a.modified().ok() == b.modified().ok()
}

#[cfg(not(unix))]
fn links(_: &Metadata) -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{DataLocation, StringStringEntryProto};

    fn tensor(entries: &[(&str, &str)]) -> TensorProto {
        let entry =
            |&(key, value): &(&str, &str)| StringStringEntryProto { key: key.into(), value: value.into() };
        TensorProto {
            data_location: DataLocation::External as i32,
            external_data: entries.iter().map(entry).collect(),
            ..TensorProto::default()
        }
    }

    fn at(location: &str) -> Result<External> {
        External::of(&tensor(&[("location", location)]), 8)
    }

    /// A folder with `model/w.bin` (24 bytes) and `secret.bin` beside the folder.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("model");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("w.bin"), (0..24).collect::<Vec<u8>>()).unwrap();
        std::fs::write(outer.path().join("secret.bin"), [7; 24]).unwrap();
        (outer, folder)
    }

    #[test]
    fn locations_that_lead_out_are_refused_by_their_text() {
        for location in [
            "/etc/passwd",
            "../secret.bin",
            "a/../../secret.bin",
            "a/..",
            "",
            ".",
            "./",
            "w.bin/",
            "..\\secret.bin",
            "C:/secret.bin",
            "file:///etc/passwd",
            "a\0b",
            "*/_ORT_MEM_ADDR_/*",
            "x/_ORT_MEM_ADDR_/x",
        ] {
            let error = at(location).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelInvalid, "{location:?}");
        }
        assert!(at("w.bin").is_ok() && at("./sub/w.bin").is_ok() && at("..w").is_ok());
    }

    #[test]
    fn the_part_asked_for_is_read() {
        let (_outer, folder) = folder();
        let external =
            External::of(&tensor(&[("location", "w.bin"), ("offset", "16"), ("length", "8")]), 8).unwrap();
        assert_eq!(external.read(&folder).unwrap(), (16..24).collect::<Vec<u8>>());
        assert_eq!(at("./w.bin").unwrap().read(&folder).unwrap(), (0..8).collect::<Vec<u8>>());
    }

    #[test]
    fn lengths_are_checked() {
        let (_outer, folder) = folder();
        let of = |offset: &str, length: &str| {
            External::of(&tensor(&[("location", "w.bin"), ("offset", offset), ("length", length)]), 8)
        };
        assert!(of("0", "9").unwrap_err().message().contains("expected 8 bytes by shape and type, got 9"));
        assert!(of("-1", "8").is_err() && of("0", "8 ").is_err() && of("99999999999999999999", "8").is_err());
        for offset in ["17", "24", "18446744073709551615"] {
            let error = of(offset, "8").unwrap().open(&folder).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelInvalid);
            assert!(error.message().contains("got a file of 24 bytes"), "{error}");
        }
        assert!(of("16", "8").unwrap().open(&folder).is_ok());
        let twice = tensor(&[("location", "w.bin"), ("location", "../secret.bin")]);
        assert!(External::of(&twice, 8).is_err());
        assert!(External::of(&tensor(&[]), 8).is_err());
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        let (_outer, folder) = folder();
        assert_eq!(at("missing.bin").unwrap().open(&folder).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::create_dir(folder.join("sub")).unwrap();
        assert!(at("sub").unwrap().open(&folder).unwrap_err().message().contains("expected a regular file"));
        assert!(at("w.bin/x").unwrap().open(&folder).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_refused() {
        use std::os::unix::fs::symlink;
        let (outer, folder) = folder();
        symlink(outer.path().join("secret.bin"), folder.join("link.bin")).unwrap();
        symlink("w.bin", folder.join("inner.bin")).unwrap();
        symlink(outer.path(), folder.join("out")).unwrap();
        for location in ["link.bin", "inner.bin", "out/secret.bin"] {
            let error = at(location).unwrap().open(&folder).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelUnsupported);
            assert!(error.message().contains("symbolic link"), "{error}");
        }
        std::fs::hard_link(outer.path().join("secret.bin"), folder.join("hard.bin")).unwrap();
        let error = at("hard.bin").unwrap().open(&folder).unwrap_err();
        assert!(error.message().contains("hard links"), "{error}");
        // The way to the folder itself is the caller's and may have links.
        symlink(&folder, outer.path().join("way")).unwrap();
        assert!(at("w.bin").unwrap().open(&outer.path().join("way")).is_ok());
    }
}
