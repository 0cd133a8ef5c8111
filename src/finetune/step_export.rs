//! The finetuned model of a training step.

use std::io::Write as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::StagedFile;
use crate::finetune::export;
use crate::finetune::merge::merged;
use crate::finetune::step::TrainStep;
use crate::model::{Contract, Tags};
use crate::onnx::Facts;
use crate::weights::tensors::Tensors;

impl TrainStep {
    /// Writes [`TrainStep::export`] to a file, as a whole or not at all.
    ///
    /// # Errors
    /// `AlreadyExists` for a file that is there unless `overwrite`; `Io`; as [`TrainStep::export`].
    pub fn export_to(&self, path: impl AsRef<Path>, overwrite: bool) -> Result<()> {
        write(StagedFile::new(path.as_ref(), overwrite)?, &self.export()?, overwrite)
    }

    /// Writes [`TrainStep::export_averages`] to a file, as a whole or not at all.
    ///
    /// # Errors
    /// As [`TrainStep::export_to`] and [`TrainStep::export_averages`].
    pub fn export_averages_to(&self, path: impl AsRef<Path>, overwrite: bool) -> Result<()> {
        write(StagedFile::new(path.as_ref(), overwrite)?, &self.export_averages()?, overwrite)
    }

    /// The finetuned model: the original file with the trained tensors' new elements and a note of what was trained in
    /// its metadata, in the place of an earlier one; every other byte is the file's. A trained tensor that the file gives as the Identity of an equal one
    /// gets elements of its own in that node's place, and elements in other files come into this one. Adapters are merged
    /// into the weights that they are beside.
    ///
    /// # Errors
    /// `LimitExceeded` from 2 GiB on; the runtime's.
    pub fn export(&self) -> Result<Vec<u8>> {
        self.export_tagged(&Tags::default())
    }

    /// As [`TrainStep::export`], with the moving averages in place of the weights.
    ///
    /// # Errors
    /// As [`TrainStep::export`] and [`TrainStep::averages`].
    pub fn export_averages(&self) -> Result<Vec<u8>> {
        self.export_averages_tagged(&Tags::default())
    }

    /// As [`TrainStep::export`], with tags in the metadata, so that scoring with the file needs no such options.
    ///
    /// # Errors
    /// As [`TrainStep::export`] and [`Tags::check`].
    pub fn export_tagged(&self, tags: &Tags) -> Result<Vec<u8>> {
        self.check_tags(tags)?;
        self.file(self.weights()?, &self.note(), tags)
    }

    /// As [`TrainStep::export_averages`], with tags in the metadata.
    ///
    /// # Errors
    /// As [`TrainStep::export_averages`] and [`Tags::check`].
    pub fn export_averages_tagged(&self, tags: &Tags) -> Result<Vec<u8>> {
        self.check_tags(tags)?;
        self.file(self.averages()?, &format!("{}, moving averages", self.note()), tags)
    }

    fn check_tags(&self, tags: &Tags) -> Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        let facts = Facts::of(&self.document);
        tags.check(&Contract::of(&self.document, &facts, self.options.output.as_deref())?)
    }

    fn file(&self, trained: Tensors, note: &str, tags: &Tags) -> Result<Vec<u8>> {
        export::export(&self.document, &self.untied, &merged(&self.adapters, trained)?, note, tags)
    }

    fn note(&self) -> String {
        format!("{} updates of {} with {}", self.updates, self.options.params, self.options.optimizer.kind)
    }
}

/// Writes a file that is staged, and puts it into its place.
///
/// # Errors
/// `AlreadyExists` for a file that is there unless `overwrite`; `Io`.
pub(super) fn write(staged: StagedFile, bytes: &[u8], overwrite: bool) -> Result<()> {
    let io = |error| Error::io("write", staged.target(), error);
    let mut file = std::fs::File::create(staged.path()).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    drop(file);
    staged.commit(overwrite)
}
