//! The finetuned model of a training step.

use std::io::Write as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::StagedFile;
use crate::finetune::export;
use crate::finetune::merge::merged;
use crate::finetune::step::TrainStep;
use crate::weights::tensors::Tensors;

impl TrainStep {
    /// Writes [`TrainStep::export`] to a file, as a whole or not at all.
    ///
    /// # Errors
    /// `AlreadyExists` for a file that is there unless `overwrite`; `Io`; as [`TrainStep::export`].
    pub fn export_to(&self, path: impl AsRef<Path>, overwrite: bool) -> Result<()> {
        write(path.as_ref(), &self.export()?, overwrite)
    }

    /// Writes [`TrainStep::export_averages`] to a file, as a whole or not at all.
    ///
    /// # Errors
    /// As [`TrainStep::export_to`] and [`TrainStep::export_averages`].
    pub fn export_averages_to(&self, path: impl AsRef<Path>, overwrite: bool) -> Result<()> {
        write(path.as_ref(), &self.export_averages()?, overwrite)
    }

    /// The finetuned model: the original file with the trained tensors' new elements and a note of what was trained in
    /// its metadata; every other byte is the file's. A trained tensor that the file gives as the Identity of an equal one
    /// gets elements of its own in that node's place, and elements in other files come into this one. Adapters are merged
    /// into the weights that they are beside.
    ///
    /// # Errors
    /// `LimitExceeded` from 2 GiB on; the runtime's.
    pub fn export(&self) -> Result<Vec<u8>> {
        self.file(self.weights()?, &self.note())
    }

    /// As [`TrainStep::export`], with the moving averages in place of the weights.
    ///
    /// # Errors
    /// As [`TrainStep::export`] and [`TrainStep::averages`].
    pub fn export_averages(&self) -> Result<Vec<u8>> {
        self.file(self.averages()?, &format!("{}, moving averages", self.note()))
    }

    fn file(&self, trained: Tensors, note: &str) -> Result<Vec<u8>> {
        export::export(&self.document, &self.untied, &merged(&self.adapters, trained)?, note)
    }

    fn note(&self) -> String {
        format!("{} updates of {} with {}", self.updates, self.options.params, self.options.optimizer.kind)
    }
}

fn write(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    let staged = StagedFile::new(path, overwrite)?;
    let io = |error| Error::io("write", path, error);
    let mut file = std::fs::File::create(staged.path()).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    drop(file);
    staged.commit(overwrite)
}
