//! Files that appear complete or not at all.
//!
//! A [`StagedFile`] is a temporary beside the final path. What is written to it becomes visible under the final
//! name in one step ([`StagedFile::commit`]: sync, place, sync the folder); in every other case it is removed.
//! After a `kill -9` a hidden `.NAME.glebe-PID-N.tmp*` may remain; it is never mistaken for an output.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Numbers the temporaries of this process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// What libraries that write a file may leave beside it; removed together with the temporary.
const SIDE_FILES: [&str; 6] = [".aux.xml", ".ovr", ".msk", ".ovr.tmp", ".msk.tmp", ".msk.ovr.tmp"];

/// A file that is being written under a temporary name in the folder of its final path.
///
/// Dropping it without [`commit`](StagedFile::commit) removes the temporary. `Send`; a second job with the same
/// final path is safe, the one that commits first wins unless it may be overwritten.
#[derive(Debug)]
pub struct StagedFile {
    target: PathBuf,
    temporary: PathBuf,
}

impl StagedFile {
    /// Checks that an output can be placed at `target` and reserves an empty temporary beside it.
    ///
    /// The temporary ends in the extension of `target`, since some libraries choose the format by it.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if `target` is empty, a folder or a symbolic link (an output
    /// goes where its path says); [`NotFound`](ErrorKind::NotFound) if its folder does not exist;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) if the folder cannot be written to;
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if `target` exists and `overwrite` is false.
    pub fn new(target: impl Into<PathBuf>, overwrite: bool) -> Result<StagedFile> {
        let target: PathBuf = target.into();
        StagedFile::check(&target, overwrite)?;
        let folder = folder_of(&target);
        let name = target.file_name().unwrap_or_default().to_owned();
        let temporary = reserve(folder, &name).map_err(|error| match error.kind() {
            // Some file systems (procfs) say "not found" where nothing can be created.
            io::ErrorKind::NotFound => {
                Error::new(ErrorKind::PermissionDenied, "folder of the output cannot be written to")
                    .at_path(folder)
                    .caused_by(error)
            }
            _ => Error::io("create a temporary file", folder, error),
        })?;
        Ok(StagedFile { target, temporary })
    }

    /// Checks that an output could be placed at `target`, and touches nothing: whether the folder can be written to shows
    /// when something is.
    ///
    /// # Errors
    /// As [`StagedFile::new`], but for [`PermissionDenied`](ErrorKind::PermissionDenied).
    pub fn check(target: &Path, overwrite: bool) -> Result<()> {
        match target.file_name() {
            Some(_) if !ends_in_separator(target) => {}
            _ if target.is_dir() => return Err(Error::invalid("output is a folder").at_path(target)),
            _ => return Err(Error::invalid("output path names no file").at_path(target)),
        }
        let folder = folder_of(target);
        match fs::metadata(folder) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(Error::invalid("folder of the output is not a folder").at_path(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::new(ErrorKind::NotFound, "folder of the output does not exist")
                    .at_path(target)
                    .caused_by(error));
            }
            Err(error) => return Err(Error::io("look at the folder", folder, error)),
        }
        check_target(target, overwrite)
    }

    /// For a file in a folder of one's own that replaces the one that is there: what killed processes left of it goes.
    ///
    /// # Errors
    /// As [`StagedFile::new`].
    pub fn replacing(target: impl Into<PathBuf>) -> Result<StagedFile> {
        let target = target.into();
        remove_leftovers(&target);
        StagedFile::new(target, true)
    }

    /// For a file that is whole already, on the same file system: [`commit`](StagedFile::commit) gives it its name, and
    /// dropping it removes it.
    #[cfg(feature = "raster")]
    pub(crate) fn around(target: impl Into<PathBuf>, made: impl Into<PathBuf>) -> StagedFile {
        StagedFile { target: target.into(), temporary: made.into() }
    }

    /// Where to write. The file exists and is empty; it may be truncated, replaced or grown.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// The final path.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Syncs the temporary, places it at the final path, and syncs the folder.
    ///
    /// Without `overwrite` a file that has appeared at the final path meanwhile is left alone: the temporary is
    /// linked there, which the file system refuses if the name is taken. (File systems without hard links get a
    /// check and a rename; there a file that appears between the two is replaced.)
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if the final path is taken and `overwrite` is false; otherwise
    /// the kind that fits what the operating system says. The temporary is gone in any case.
    pub fn commit(self, overwrite: bool) -> Result<()> {
        File::open(&self.temporary).and_then(|file| file.sync_all()).map_err(|error| {
            Error::io("sync the finished file", &self.temporary, error).at_path(&self.target)
        })?;
        check_target(&self.target, overwrite)?;
        if overwrite { fs::rename(&self.temporary, &self.target) } else { self.place_new() }
            .map_err(|error| Error::io("place the finished file", &self.target, error))?;
        sync_folder(folder_of(&self.target))
            .map_err(|error| Error::io("sync the folder", &self.target, error))
    }

    fn place_new(&self) -> io::Result<()> {
        match fs::hard_link(&self.temporary, &self.target) {
            // The name stands; a temporary that cannot be unlinked now is tried again on drop.
            Ok(()) => {
                let _ = fs::remove_file(&self.temporary);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            Err(_) if fs::symlink_metadata(&self.target).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(&self.temporary, &self.target),
        }
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // Nothing to report to: what is left has a hidden name that says what it is.
        if let Err(error) = fs::remove_file(&self.temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.temporary.display(), %error, "temporary file left behind");
        }
        for suffix in SIDE_FILES {
            let _ = fs::remove_file(with_suffix(&self.temporary, suffix));
        }
    }
}

/// Whether two paths lead to one existing file (the same path, a link to it, another spelling of it).
///
/// Paths that do not exist are never the same file.
pub fn same_file(a: impl AsRef<Path>, b: impl AsRef<Path>) -> bool {
    let (Ok(a), Ok(b)) = (fs::canonicalize(a), fs::canonicalize(b)) else { return false };
    a == b || same_inode(&a, &b)
}

#[cfg(unix)]
fn same_inode(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_inode(_: &Path, _: &Path) -> bool {
    false
}

fn check_target(target: &Path, overwrite: bool) -> Result<()> {
    match fs::symlink_metadata(target) {
        Ok(meta) if meta.is_symlink() => {
            Err(Error::invalid("output is a symbolic link; give the path of the file itself").at_path(target))
        }
        Ok(meta) if meta.is_dir() => Err(Error::invalid("output is a folder").at_path(target)),
        Ok(meta) if !meta.is_file() => Err(Error::invalid("output is not a regular file").at_path(target)),
        Ok(_) if !overwrite => {
            Err(Error::new(ErrorKind::AlreadyExists, "output exists already").at_path(target))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("look at the output", target, error)),
    }
}

/// Takes away what killed processes of this machine left of earlier attempts at `target`. For folders of one's own, such
/// as that of a run: it reads the whole folder. What cannot be taken away stays.
pub fn remove_leftovers(target: &Path) {
    let Some(name) = target.file_name().and_then(OsStr::to_str) else { return };
    let Ok(entries) = fs::read_dir(folder_of(target)) else { return };
    let prefix = format!(".{name}.glebe-");
    for entry in entries.flatten() {
        let file = entry.file_name();
        let Some(rest) = file.to_str().and_then(|own| own.strip_prefix(&prefix)) else { continue };
        let process = rest.split('-').next().and_then(|own| own.parse::<u32>().ok());
        // Where there is no list of processes nothing is known, and nothing is removed.
        let lives = |id: u32| !Path::new("/proc/self").exists() || Path::new(&format!("/proc/{id}")).exists();
        if rest.contains(".tmp") && process.is_some_and(|id| !lives(id)) {
            // Another process may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Creates the temporary, empty, under a name that no one else has.
fn reserve(folder: &Path, name: &OsStr) -> io::Result<PathBuf> {
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut hidden = OsString::from(".");
        // Names have a limit of 255 bytes.
        if name.len() <= 180 {
            hidden.push(name);
        }
        hidden.push(format!(".glebe-{}-{number}.tmp", std::process::id()));
        if let Some(extension) = Path::new(name).extension() {
            hidden.push(".");
            hidden.push(extension);
        }
        let path = folder.join(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => return Ok(path),
            // Left by a killed process that had this number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn ends_in_separator(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last().is_some_and(|&byte| std::path::is_separator(char::from(byte)))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes the new name durable. File systems that cannot sync a folder say so with "invalid" or "unsupported".
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn appears_complete_under_its_name_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.tif");
        let staged = StagedFile::new(&target, false).unwrap();
        assert_eq!(staged.path().extension().unwrap(), "tif");
        assert!(names(folder.path())[0].starts_with(".out.tif.glebe-"));
        fs::write(staged.path(), b"abc").unwrap();
        assert!(!target.exists());
        staged.commit(false).unwrap();
        assert_eq!(names(folder.path()), ["out.tif"]);
        assert_eq!(fs::read(&target).unwrap(), b"abc");
    }

    #[test]
    fn names_may_be_as_long_as_the_file_system_allows() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join(format!("{}.tif", "x".repeat(251)));
        StagedFile::new(&target, false).unwrap().commit(false).unwrap();
        assert!(target.is_file());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn leftovers_of_dead_processes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.csv");
        // No process has the largest number.
        let dead = folder.path().join(format!(".a.csv.glebe-{}-7.tmp.csv", u32::MAX));
        let other = folder.path().join(format!(".b.csv.glebe-{}-7.tmp.csv", u32::MAX));
        let own = StagedFile::new(&target, true).unwrap();
        fs::write(&dead, "x").unwrap();
        fs::write(&other, "x").unwrap();
        remove_leftovers(&target);
        assert!(!dead.exists() && other.exists() && own.path().exists());
    }

    #[test]
    fn dropping_removes_the_temporary_and_what_stands_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let staged = StagedFile::new(folder.path().join("out.tif"), false).unwrap();
        for suffix in SIDE_FILES {
            fs::write(with_suffix(staged.path(), suffix), b"x").unwrap();
        }
        assert_eq!(names(folder.path()).len(), 7);
        drop(staged);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.csv");
        let first = StagedFile::new(&target, false).unwrap();
        let second = StagedFile::new(&target, false).unwrap();
        fs::write(first.path(), b"first").unwrap();
        fs::write(second.path(), b"second").unwrap();
        first.commit(false).unwrap();
        // Past the check, at the link itself.
        assert_eq!(second.place_new().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(second.commit(false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["out.csv"]);
    }

    #[test]
    fn overwriting_replaces_only_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        fs::write(&target, b"old").unwrap();
        assert_eq!(StagedFile::new(&target, false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let staged = StagedFile::new(&target, true).unwrap();
        fs::write(staged.path(), b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        staged.commit(true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn what_cannot_become_an_output_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let kind = |path: &Path, overwrite| StagedFile::new(path, overwrite).unwrap_err().kind();
        assert_eq!(kind(&folder.path().join("no/out.tif"), false), ErrorKind::NotFound);
        assert_eq!(kind(folder.path(), true), ErrorKind::InvalidArgument);
        assert_eq!(kind(&folder.path().join("new/"), true), ErrorKind::InvalidArgument);
        assert_eq!(kind(Path::new(""), true), ErrorKind::InvalidArgument);
        assert!(names(folder.path()).is_empty());
        #[cfg(target_os = "linux")]
        assert_eq!(kind(Path::new("/proc/out.tif"), false), ErrorKind::PermissionDenied);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_refused_and_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let link = folder.path().join("link");
        fs::write(&real, b"x").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(StagedFile::new(&link, true).unwrap_err().kind(), ErrorKind::InvalidArgument);
        let hard = folder.path().join("hard");
        fs::hard_link(&real, &hard).unwrap();
        assert!(same_file(&real, &link) && same_file(&real, &hard));
        assert!(same_file(&real, folder.path().join(".").join("real")));
        fs::write(folder.path().join("other"), b"x").unwrap();
        assert!(!same_file(&real, folder.path().join("other")));
        assert!(!same_file(folder.path().join("none"), folder.path().join("none")));
    }
}
