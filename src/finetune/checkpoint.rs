//! Where a training stood, in a file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};
use crate::file::remove_leftovers;
use crate::finetune::checkpoints::Best;
use crate::finetune::state::TrainState;
use crate::weights::message::{CheckpointOrigin, Scalar};
use crate::weights::tensors;

/// Everything that a training needs to go on as if it had never stopped, at the end of an epoch.
///
/// The file is safetensors: the tensors of [`TrainState::write`], and in the metadata `epoch`, `global_step`, `should_stop`, `seed`,
/// `random`, `best`, `history`, `model` and `callbacks`. It can be read as a [`TrainState`] too.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Epochs that are done.
    pub epoch: u64,
    /// Updates that are done.
    pub global_step: u64,
    /// Whether training was to end after this epoch.
    pub should_stop: bool,
    /// The seed of the run, which decides the order of the data.
    pub seed: u64,
    /// Where the random numbers of callbacks stood.
    pub random: u64,
    /// Fingerprint of the model that is trained, see [`fingerprint`].
    pub model: String,
    /// What the step changes.
    pub train: TrainState,
    /// The states of callbacks, by name.
    pub callbacks: BTreeMap<String, Value>,
    /// What is known of the best metric.
    pub(super) best: Best,
    /// A number an epoch: those of two checkpoints of one run agree as far as the shorter goes.
    pub(super) history: Vec<u64>,
}

const FORMAT: &str = "glebe.checkpoint";
const EPOCH: &str = "epoch";
const GLOBAL_STEP: &str = "global_step";
const SHOULD_STOP: &str = "should_stop";
const SEED: &str = "seed";
const RANDOM: &str = "random";
const MODEL: &str = "model";
const CALLBACKS: &str = "callbacks";
const BEST: &str = "best";
const HISTORY: &str = "history";

/// What tells one model file from another: the SHA-256 of its bytes, in hexadecimal digits.
pub fn fingerprint(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Checkpoint {
    /// What is said when it is loaded, to the letter as the training side says it.
    pub fn message(&self) -> String {
        let number = |value: u64| Some(Scalar::Int(value.into()));
        CheckpointOrigin::new(number(self.epoch), number(self.global_step)).message()
    }

    /// Whether `self` is `other`, or what became of it in later epochs.
    pub(super) fn continues(&self, other: &Checkpoint) -> bool {
        self.model == other.model && self.seed == other.seed && self.history.starts_with(&other.history)
    }

    /// Writes it, as a whole or not at all, in the place of a file that is there.
    ///
    /// # Errors
    /// `Io`.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let (all, mut metadata) = self.train.flat();
        let callbacks = serde_json::to_string(&self.callbacks)
            .map_err(|error| Error::internal("cannot write the callbacks' states").caused_by(error))?;
        let history: Vec<String> = self.history.iter().map(|own| format!("{own:016x}")).collect();
        metadata.extend([
            (FORMAT.to_owned(), "1".to_owned()),
            (EPOCH.to_owned(), self.epoch.to_string()),
            (GLOBAL_STEP.to_owned(), self.global_step.to_string()),
            (SHOULD_STOP.to_owned(), self.should_stop.to_string()),
            (SEED.to_owned(), self.seed.to_string()),
            (RANDOM.to_owned(), self.random.to_string()),
            (MODEL.to_owned(), self.model.clone()),
            (CALLBACKS.to_owned(), callbacks),
            (BEST.to_owned(), self.best.to_text()),
            (HISTORY.to_owned(), history.join(",")),
        ]);
        remove_leftovers(path.as_ref());
        tensors::write(path.as_ref(), &all, &metadata, true)
    }

    /// Reads what [`Checkpoint::write`] wrote.
    ///
    /// # Errors
    /// `NotFound`, `Io`; `InvalidArgument` for a file that is none; `NotSupported` for one of a later version.
    pub fn read(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        Checkpoint::parse(path).map_err(|error| error.at_path(path))
    }

    fn parse(path: &Path) -> Result<Checkpoint> {
        let (all, metadata) = tensors::read_with_metadata(path)?;
        match metadata.get(FORMAT).map(String::as_str) {
            Some("1") => {}
            Some(other) => {
                let message = format!("the checkpoint has format {other}, this version reads 1");
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
            None => return Err(Error::invalid("the file is no checkpoint of a training")),
        }
        let text = |key: &str| {
            let missing = || Error::invalid(format!("the checkpoint has no {key:?}"));
            metadata.get(key).map(String::as_str).ok_or_else(missing)
        };
        let number = |key: &str| -> Result<u64> {
            let text = text(key)?;
            text.parse().map_err(|_| Error::invalid(format!("the checkpoint's {key:?} is {text:?}")))
        };
        let wrong = |key: &str| Error::invalid(format!("the checkpoint's {key:?} is damaged"));
        let callbacks = serde_json::from_str(text(CALLBACKS)?)
            .map_err(|error| Error::invalid("the checkpoint's callbacks are no JSON").caused_by(error))?;
        Ok(Checkpoint {
            epoch: number(EPOCH)?,
            global_step: number(GLOBAL_STEP)?,
            should_stop: text(SHOULD_STOP)? == "true",
            seed: number(SEED)?,
            random: number(RANDOM)?,
            model: text(MODEL)?.to_owned(),
            callbacks,
            best: Best::from_text(text(BEST)?).ok_or_else(|| wrong(BEST))?,
            history: history(text(HISTORY)?).ok_or_else(|| wrong(HISTORY))?,
            train: TrainState::from_file(all, &metadata)?,
        })
    }
}

/// The numbers of a history.
fn history(text: &str) -> Option<Vec<u64>> {
    text.split(',').filter(|own| !own.is_empty()).map(|own| u64::from_str_radix(own, 16).ok()).collect()
}
