//! Which checkpoints a training writes, and which it goes on from.

use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::finetune::checkpoint::Checkpoint;
use crate::hooks::Mode;

/// Name of the newest checkpoint.
pub const LAST: &str = "last.safetensors";
/// Name of the best one.
pub const BEST: &str = "best.safetensors";

/// The checkpoints of a training: a folder, and what is written there at the end of epochs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Checkpoints {
    /// The folder; it is made where it is not there.
    pub folder: PathBuf,
    /// `last.safetensors` after every so many epochs, and after the last.
    pub every: u64,
    /// How many of `epoch-N.safetensors` are kept beside it, the newest; none by default.
    pub keep: usize,
    /// Metric that decides about `best.safetensors`, with the values that are better: `val/Loss`, for example.
    pub best: Option<(String, Mode)>,
}

/// What is known of the best metric, kept in checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Best {
    /// The best value so far.
    pub(super) value: Option<f64>,
    /// Whether it is that of the last epoch.
    pub(super) is_now: bool,
}

impl Best {
    /// Value and whether it is that of the last epoch, as text that has every number.
    pub(super) fn to_text(self) -> String {
        let value = self.value.map_or(String::new(), |value| value.to_string());
        format!("{value} {}", self.is_now)
    }

    pub(super) fn from_text(text: &str) -> Option<Best> {
        let (value, is_now) = text.split_once(' ')?;
        let value = if value.is_empty() { None } else { Some(value.parse().ok()?) };
        Some(Best { value, is_now: is_now.parse().ok()? })
    }
}

impl Checkpoints {
    /// `last.safetensors` after every epoch.
    pub fn new(folder: impl Into<PathBuf>) -> Checkpoints {
        Checkpoints { folder: folder.into(), every: 1, keep: 0, best: None }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.folder.as_os_str().is_empty() {
            return Err(Error::invalid("checkpoints: the name of their folder is empty"));
        }
        if self.every == 0 {
            return Err(Error::invalid("checkpoints: expected 1 epoch or more between them, got 0"));
        }
        Ok(())
    }

    pub(super) fn make_folder(&self) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|error| Error::io("make", &self.folder, error))
    }

    /// Takes note of the metrics of an epoch.
    ///
    /// # Errors
    /// `InvalidArgument` for a best metric that is none of `metrics`, though there was a validation.
    pub(super) fn judge(&self, metrics: &[(String, f64)], best: &mut Best) -> Result<()> {
        best.is_now = false;
        let Some((name, mode)) = &self.best else { return Ok(()) };
        match metrics.iter().find(|(own, _)| own == name) {
            Some((_, value)) if mode.is_better(*value, best.value, 0.0) => {
                *best = Best { value: Some(*value), is_now: true };
                Ok(())
            }
            Some(_) => Ok(()),
            // An epoch without validation.
            None if name.starts_with("val/") && !metrics.iter().any(|(own, _)| own.starts_with("val/")) => {
                Ok(())
            }
            None => {
                let names: Vec<&str> = metrics.iter().map(|(own, _)| own.as_str()).collect();
                let message =
                    format!("checkpoints: no metric {name:?} to choose the best by: {}", names.join(", "));
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
        }
    }

    /// The files that are due after an epoch.
    pub(super) fn due(&self, epoch: u64, is_last: bool, is_best: bool) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if is_best {
            files.push(self.folder.join(BEST));
        }
        if epoch.is_multiple_of(self.every) || is_last {
            if self.keep > 0 {
                files.push(self.folder.join(format!("epoch-{epoch}.safetensors")));
            }
            files.push(self.folder.join(LAST));
        }
        files
    }

    /// Writes those of the files that a run which was killed had not come to. Files of this epoch of the run and of its
    /// later ones stay.
    ///
    /// # Errors
    /// As [`Checkpoint::write`].
    pub(super) fn complete(&self, files: &[PathBuf], checkpoint: &Checkpoint) -> Result<()> {
        for path in files {
            if !Checkpoint::read(path).is_ok_and(|own| own.continues(checkpoint)) {
                checkpoint.write(path)?;
            }
        }
        self.rotate(checkpoint.epoch);
        Ok(())
    }

    /// Takes the checkpoints of earlier epochs away that are more than is kept; what cannot be taken away is warned of.
    /// Those of later epochs are another run's, and where none is kept all are.
    pub(super) fn rotate(&self, epoch: u64) {
        if self.keep == 0 {
            return;
        }
        let mut epochs = numbered(&self.folder);
        epochs.retain(|(own, _)| *own <= epoch);
        epochs.sort_unstable();
        let surplus = epochs.len().saturating_sub(self.keep);
        for (_, path) in &epochs[..surplus] {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!("Unable to remove checkpoint file {}: {error}", path.display());
            }
        }
    }

    /// The newest checkpoint of the folder that can be read, with its path: `last`, or one of a later epoch of the same run
    /// (a run that was killed may not have come to `last`); without a `last` that can be read the one of the highest epoch.
    /// Warns of each that cannot be read and of later ones of other runs. `None` where there is none.
    pub fn newest(&self) -> Option<(PathBuf, Checkpoint)> {
        let mut candidates = vec![self.folder.join(LAST)];
        candidates.extend(numbered(&self.folder).into_iter().map(|(_, path)| path));
        candidates.push(self.folder.join(BEST));
        let mut newest: Option<(PathBuf, Checkpoint)> = None;
        let mut has_last = false;
        for (index, path) in candidates.into_iter().enumerate().filter(|(_, path)| path.exists()) {
            match Checkpoint::read(&path) {
                Ok(found) => {
                    tracing::info!("Checkpoint for epoch {} in {}", found.epoch, path.display());
                    has_last |= index == 0;
                    match &newest {
                        Some((_, own)) if found.epoch <= own.epoch => {}
                        Some((_, own)) if has_last && !found.continues(own) => tracing::warn!(
                            "Checkpoint file {} is of another run than {LAST} and passed over",
                            path.display()
                        ),
                        _ => newest = Some((path, found)),
                    }
                }
                Err(error) => {
                    tracing::warn!("Unable to load checkpoint file {}: {}", path.display(), error.one_line());
                }
            }
        }
        newest
    }
}

/// The checkpoints of epochs in a folder.
fn numbered(folder: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let number = |path: &Path| {
        let stem = path.file_name()?.to_str()?.strip_prefix("epoch-")?.strip_suffix(".safetensors")?;
        stem.parse::<u64>().ok()
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter_map(|path| Some((number(&path)?, path))).collect()
}
