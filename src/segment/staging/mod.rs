//! Where the blocks of a map are until all are there.
//!
//! Beside the output `map.tif` stands the folder `map.tif.part` while a job is at work: `samples` holds what is done, and
//! `journal` says which steps that is, of which job, with checksums. When all is done the raster is made of it, as `map.tif` in
//! the folder, synced, and put in its place; the folder goes. `lock` keeps other processes out. So the finished file depends on the samples alone, not on
//! when and in how many goes they came, and a process that ends at any moment leaves either no output or a whole one.
//!
//! Samples are written before the journal says so. Neither is synced block by block: after a power failure the checksums
//! tell how far the file system got.

mod fingerprint;
mod journal;
mod lock;
mod samples;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(super) use fingerprint::Fingerprint;
use journal::{Entry, Journal, Record};
use lock::FolderLock;
use samples::Store;

use crate::error::{Error, ErrorKind, Result};
use crate::file::StagedFile;
use crate::geometry::{Size, Window};
use crate::raster::{WriteSpec, encode};
use crate::segment::file::Leftovers;
use crate::tensor::{DataType, Samples};

/// A job's unfinished map. One process at a time has it.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    output: PathBuf,
    /// `None` once the folder goes.
    open: Option<Open>,
    /// Blocks that the journal does not know yet.
    fresh: Vec<Entry>,
    /// Steps that the journal knows.
    steps: u64,
    /// The finished file, where an earlier process got so far.
    finished: Option<Vec<u64>>,
}

/// Size, bands and type of a map.
type Shape = (Size, usize, DataType);

#[derive(Debug)]
struct Open {
    store: Store,
    journal: Journal,
    lock: FolderLock,
}

impl Staging {
    /// Says before any work whether the job can go on to this output: it must be free, or free to be replaced, or what the
    /// leftovers are of.
    pub(super) fn check(output: &Path, leftovers: Leftovers, overwrite: bool) -> Result<()> {
        let folder = work_folder(output);
        let there = match fs::symlink_metadata(&folder) {
            Ok(about) if about.is_dir() => true,
            Ok(_) => {
                let message = "the place for unfinished work is taken by something that is no folder";
                return Err(Error::new(ErrorKind::AlreadyExists, message).at_path(folder));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::io("look at", &folder, error)),
        };
        if there {
            Staging::check_own(&folder)?;
        }
        let placed = there && leftovers == Leftovers::Resume && Staging::is_placed(&folder, output);
        if !placed {
            StagedFile::check(output, overwrite)?;
        }
        if there && leftovers == Leftovers::Refuse {
            FolderLock::check(&folder)?;
            let message = "an interrupted job has left its work here: go on with resume (--resume), or begin afresh with overwrite (--overwrite)";
            return Err(Error::new(ErrorKind::AlreadyExists, message).at_path(folder));
        }
        Ok(())
    }

    /// That there is nothing in the folder but what jobs leave: it is going to be removed.
    fn check_own(folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder).map_err(|error| Error::io("look into", folder, error))? {
            let name = entry.map_err(|error| Error::io("look into", folder, error))?.file_name();
            let own = name.to_string_lossy();
            if own != lock::NAME && !["journal", "samples", "map.tif"].iter().any(|kind| own.contains(kind)) {
                let message = format!("the place for unfinished work is taken by a folder with {own} in it");
                return Err(Error::new(ErrorKind::AlreadyExists, message).at_path(folder));
            }
        }
        Ok(())
    }

    /// Whether the journal in the folder says that the output is its own finished file.
    fn is_placed(folder: &Path, output: &Path) -> bool {
        let Ok(Some((_, _, records))) = Journal::open(&folder.join("journal")) else { return false };
        // The last: one that was made again has another identity.
        let finished = records.into_iter().rev().find_map(|record| match record {
            Record::Finished { identity } => Some(identity),
            Record::Done { .. } => None,
        });
        finished.is_some_and(|finished| identity(output).is_some_and(|own| own == finished))
    }

    /// Opens the staging of a job, or goes on with what there is of it. `seen` is shown each block that is there already.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] where another process is at work here, and for leftovers that are to be left alone;
    /// [`ErrorKind::Mismatch`] for leftovers of another job, with what differs; [`ErrorKind::Io`].
    pub(super) fn open(
        output: &Path,
        leftovers: Leftovers,
        fingerprint: &Fingerprint,
        shape: Shape,
        seen: &mut dyn FnMut(&Samples),
    ) -> Result<Staging> {
        let folder = work_folder(output);
        Staging::clear(&going(&folder));
        let mut staging = Staging {
            folder: folder.clone(),
            output: output.into(),
            open: None,
            fresh: Vec::new(),
            steps: 0,
            finished: None,
        };
        let (lock, made) = FolderLock::take(&folder, leftovers == Leftovers::Refuse)?;
        staging.open = Some(match (made, leftovers) {
            (false, Leftovers::Resume) => match staging.resume(lock, fingerprint, shape, seen)? {
                Ok(open) => open,
                Err(lock) => staging.begin(lock, fingerprint, shape)?,
            },
            _ => staging.begin(lock, fingerprint, shape)?,
        });
        Ok(staging)
    }

    /// Starts afresh: nothing of what may be there is of use.
    fn begin(
        &self,
        lock: FolderLock,
        fingerprint: &Fingerprint,
        (size, bands, data_type): Shape,
    ) -> Result<Open> {
        let clear = |name: &str| match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove what an earlier job has left", self.folder.join(name), error))
            }
            _ => Ok(()),
        };
        let begin = || {
            clear("journal")?;
            clear("samples")?;
            let journal = Journal::create(&self.folder.join("journal"), &fingerprint.encode())?;
            Ok((journal, Store::open(&self.folder.join("samples"), size, bands, data_type)?))
        };
        match begin() {
            Ok((journal, store)) => Ok(Open { store, journal, lock }),
            Err(error) => {
                removed(lock, &self.folder);
                Err(error)
            }
        }
    }

    /// Takes up what is there; gives the lock back where it is nothing.
    fn resume(
        &mut self,
        lock: FolderLock,
        fingerprint: &Fingerprint,
        (size, bands, data_type): Shape,
        seen: &mut dyn FnMut(&Samples),
    ) -> Result<std::result::Result<Open, FolderLock>> {
        let path = self.folder.join("journal");
        if !path.try_exists().map_err(|error| Error::io("look at", &path, error))? {
            return Ok(Err(lock));
        }
        let Some((mut journal, head, records)) = Journal::open(&path)? else { return Ok(Err(lock)) };
        let differences = match Fingerprint::decode(&head) {
            Some(then) => fingerprint.differences(&then),
            None => vec!["it was begun by another version".to_owned()],
        };
        if !differences.is_empty() {
            let message = format!("what was left here is of another job: {}", differences.join("; "));
            return Err(Error::new(ErrorKind::Mismatch, message).at_path(&self.folder));
        }
        let store = Store::open(&self.folder.join("samples"), size, bands, data_type)?;
        let mut kept = 0;
        for record in &records {
            match record {
                Record::Done { steps, entries } => {
                    if !entries.iter().try_fold(true, |sound, own| {
                        Ok::<_, Error>(sound && Staging::is_sound(&store, size, own, seen)?)
                    })? {
                        break;
                    }
                    self.steps = *steps;
                }
                Record::Finished { identity } => self.finished = Some(identity.clone()),
            }
            kept += 1;
        }
        if kept < records.len() {
            tracing::warn!(folder = %self.folder.display(), steps = self.steps, "later blocks are damaged and are made anew");
            journal.truncate(head.len(), &records, kept)?;
            self.finished = None;
        }
        Ok(Ok(Open { store, journal, lock }))
    }

    fn is_sound(store: &Store, size: Size, entry: &Entry, seen: &mut dyn FnMut(&Samples)) -> Result<bool> {
        if entry.window.clip(size) != Some(entry.window) {
            return Ok(false);
        }
        Ok(match store.read(entry.window)? {
            Some((samples, sum)) if sum == entry.sum => {
                seen(&samples);
                true
            }
            _ => false,
        })
    }

    fn parts(&mut self) -> Result<&mut Open> {
        self.open.as_mut().ok_or_else(|| Error::internal("staging that is closed"))
    }

    /// Steps that are done, of an earlier process or this one.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Writes a block.
    pub(super) fn write(&mut self, window: Window, samples: &Samples) -> Result<()> {
        let sum = self.parts()?.store.write(window, samples)?;
        self.fresh.push(Entry { window, sum });
        Ok(())
    }

    /// All blocks of the steps before this number are written.
    pub(super) fn done(&mut self, steps: u64) -> Result<()> {
        let entries = std::mem::take(&mut self.fresh);
        self.parts()?.journal.append(&Record::Done { steps, entries })?;
        self.steps = steps;
        Ok(())
    }

    /// Makes the raster and puts it in its place; the folder goes.
    ///
    /// # Errors
    /// As [`encode`]; [`ErrorKind::AlreadyExists`] where the output's name was taken meanwhile.
    pub(super) fn finish(
        &mut self,
        spec: &WriteSpec,
        overwrite: bool,
        progress: &mut dyn FnMut(f64) -> bool,
    ) -> Result<()> {
        let placed =
            self.finished.as_ref().is_some_and(|finished| identity(&self.output).as_ref() == Some(finished));
        if !placed {
            let made = self.folder.join("map.tif");
            encode(&self.folder.join("samples"), spec, &made, progress)
                .map_err(|error| error.at_path(&self.output))?;
            let file = StagedFile::around(&self.output, &made);
            if let Some(identity) = identity(&made) {
                self.parts()?.journal.append(&Record::Finished { identity })?;
            }
            file.commit(overwrite)?;
        }
        self.remove();
        Ok(())
    }

    /// Removes the folder. What cannot be removed is in nobody's way.
    pub(super) fn remove(&mut self) {
        let Some(open) = self.open.take() else { return };
        // All of it goes at once, whenever this ends: half of a folder would be taken for the work of a job.
        let going = going(&self.folder);
        Staging::clear(&going);
        if fs::rename(&self.folder, &going).is_ok() {
            removed(open.lock, &going);
        } else {
            // Where open files cannot be renamed. Without its journal the rest is nothing.
            let _ = fs::remove_file(self.folder.join("journal"));
            removed(open.lock, &self.folder);
        }
    }

    /// Removes what a process that was killed had begun to remove. Its lock goes last: what has none, and is not empty, is
    /// somebody else's, and what another process has locked is just being removed.
    fn clear(going: &Path) {
        let is_folder = fs::symlink_metadata(going).is_ok_and(|about| about.is_dir());
        if !is_folder || Staging::check_own(going).is_err() {
            return;
        }
        match FolderLock::left_in(going) {
            Some(lock) => removed(lock, going),
            None => drop(fs::remove_dir(going)),
        }
    }

    /// After a failure: keeps what is worth going on with, and says so in the error.
    pub(super) fn abandon(mut self, error: Error, total: u64) -> Error {
        if self.steps == 0 {
            self.remove();
            return error;
        }
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        error.and(format!("{} of {total} tiles are kept in {name}: go on with resume (--resume)", self.steps))
    }
}

/// The folder in which a job keeps its work until the output is whole: `map.tif.part` beside `map.tif`. It may be removed
/// when no job is at work; what was done is lost then.
pub fn work_folder(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    output.with_file_name(name)
}

/// The name of a folder of work while it is removed.
fn going(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".done");
    folder.with_file_name(name)
}

/// Removes a folder of work; one that stays is in nobody's way.
fn removed(lock: FolderLock, folder: &Path) {
    if let Err(error) = lock.remove(folder) {
        tracing::warn!(folder = %folder.display(), %error, "unfinished work left behind");
    }
}

/// What a file keeps when it gets another name: device, number, length, time of its last change.
#[cfg(unix)]
fn identity(path: &Path) -> Option<Vec<u64>> {
    use std::os::unix::fs::MetadataExt;
    let about = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    let (seconds, nanoseconds) = (about.mtime() as u64, about.mtime_nsec() as u64);
    Some(vec![about.dev(), about.ino(), about.len(), seconds, nanoseconds])
}

/// Elsewhere a finished file is made once more.
#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Vec<u64>> {
    None
}
