//! One process at a time has a folder of unfinished work.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// The file in the folder that is locked. It holds nothing, and goes last.
pub(super) const NAME: &str = "lock";

/// The right to everything in a folder; the system gives it back whatever ends the process.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

/// Why a lock was not taken.
enum Missed {
    /// The folder or its lock went meanwhile: whoever had it is done.
    Gone,
    Failed(Error),
}

impl FolderLock {
    /// Makes the folder where it is not there, and takes its lock; whether it was made.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] where another process has it, and where the folder is there though it is to be `new`;
    /// [`ErrorKind::PermissionDenied`], [`ErrorKind::Io`].
    pub(super) fn take(folder: &Path, new: bool) -> Result<(FolderLock, bool)> {
        loop {
            let made = match fs::create_dir(folder) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !new => false,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let message = "another job is writing this output, or has left its work here";
                    return Err(Error::new(ErrorKind::AlreadyExists, message).at_path(folder));
                }
                // Some file systems (procfs) say "not found" where nothing can be created.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let message = "folder of the output cannot be written to";
                    return Err(Error::new(ErrorKind::PermissionDenied, message)
                        .at_path(folder)
                        .caused_by(error));
                }
                Err(error) => return Err(Error::io("create the folder for unfinished work", folder, error)),
            };
            match FolderLock::locked(folder, OpenOptions::new().create(true)) {
                Ok(lock) => return Ok((lock, made)),
                Err(Missed::Gone) => {}
                Err(Missed::Failed(error)) => return Err(error),
            }
        }
    }

    /// Whether another process has the folder, which stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] where one has.
    pub(super) fn check(folder: &Path) -> Result<()> {
        match FolderLock::locked(folder, &mut OpenOptions::new()) {
            Ok(_) | Err(Missed::Gone) => Ok(()),
            Err(Missed::Failed(error)) => Err(error),
        }
    }

    /// The lock of a folder that has one which nobody holds.
    pub(super) fn left_in(folder: &Path) -> Option<FolderLock> {
        FolderLock::locked(folder, &mut OpenOptions::new()).ok()
    }

    fn locked(folder: &Path, options: &mut OpenOptions) -> std::result::Result<FolderLock, Missed> {
        let path = folder.join(NAME);
        let file = match options.read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Missed::Gone),
            Err(error) => return Err(Missed::Failed(Error::io("open the lock", &path, error))),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = "another job is writing this output";
                return Err(Missed::Failed(Error::new(ErrorKind::AlreadyExists, message).at_path(folder)));
            }
            // File systems without locks: two processes at once are the user's own care there.
            Err(TryLockError::Error(_)) => {}
        }
        // Its owner may have removed it between the two calls: what is locked then is nobody's.
        if is_at(&file, &path) { Ok(FolderLock { _file: file }) } else { Err(Missed::Gone) }
    }

    /// Removes the folder and all in it.
    pub(super) fn remove(self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false if entry.file_name() != NAME => fs::remove_file(entry.path())?,
                false => {}
            }
        }
        // From here on another process may have it.
        fs::remove_file(folder.join(NAME))?;
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other,
        }
    }
}

/// Whether the open file is the one of that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Elsewhere an open file's name stays taken.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_nothing_left() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("map.tif.part");
        FolderLock::check(&part).unwrap();
        assert!(!part.exists());
        let (lock, made) = FolderLock::take(&part, true).unwrap();
        assert!(made);
        for refused in [FolderLock::check(&part), FolderLock::take(&part, false).map(|_| ())] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
        drop(lock);
        FolderLock::check(&part).unwrap();
        assert_eq!(FolderLock::take(&part, true).unwrap_err().kind(), ErrorKind::AlreadyExists);
        fs::write(part.join("samples"), b"1").unwrap();
        fs::create_dir(part.join("other")).unwrap();
        let (lock, made) = FolderLock::take(&part, false).unwrap();
        assert!(!made);
        lock.remove(&part).unwrap();
        assert!(!part.exists());
    }

    /// Threads that take the folder and remove it again: never two at once.
    #[test]
    fn many_that_come_and_go() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("map.tif.part");
        let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        match FolderLock::take(&part, false) {
                            Ok((lock, _)) => {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                                taken.fetch_add(1, Ordering::SeqCst);
                                fs::write(part.join("samples"), b"1").unwrap();
                                inside.fetch_sub(1, Ordering::SeqCst);
                                lock.remove(&part).unwrap();
                            }
                            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
                        }
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0 && !part.exists());
    }
}
