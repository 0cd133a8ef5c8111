//! Text that a command writes to a file of its own.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use glebe::file::{StagedFile, same_file};
use glebe::{Error, Result};

/// Whether two paths name one file, also one that does not exist yet.
pub(crate) fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some((folder.canonicalize().ok()?, path.file_name()?.to_owned()))
    };
    same_file(a, b) || place(a).is_some_and(|a| Some(a) == place(b))
}

/// Writes the text, with a line feed at its end, and puts the file in its place.
pub(crate) fn write(file: StagedFile, text: &str, overwrite: bool) -> Result<()> {
    let write = || {
        let mut open = OpenOptions::new().write(true).truncate(true).open(file.path())?;
        open.write_all(text.trim_end_matches('\n').as_bytes())?;
        open.write_all(b"\n")
    };
    write().map_err(|error| Error::io("write", file.target(), error))?;
    file.commit(overwrite)
}
