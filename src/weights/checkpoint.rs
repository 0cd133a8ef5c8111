//! Checkpoints of any kind, opened for reading.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;
use crate::weights::element::StoredType;
use crate::weights::limits::{Limits, within};
use crate::weights::message::CheckpointOrigin;
use crate::weights::safetensors_head;
use crate::weights::store::{Store, View};
use crate::weights::tensors::{NamedTensor, Tensors};

/// What a checkpoint holds besides tensors, by the program that writes such files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// PyTorch Lightning: `state_dict`, `epoch`, `global_step` and others.
    Lightning,
    /// geo-deep-learning: `model_state_dict`, `params`, `epoch`, `best_loss`.
    GeoDeepLearning,
    /// delira: `model`, `optimizer`, `epoch`.
    Delira,
    /// A dictionary with a state dict under one of its keys.
    Training,
    /// A state dict alone.
    StateDict,
    /// A safetensors file.
    Safetensors,
    /// The state of a training step, written by this library.
    TrainState,
}

impl Format {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Lightning => "PyTorch Lightning",
            Format::GeoDeepLearning => "geo-deep-learning",
            Format::Delira => "delira",
            Format::Training => "training checkpoint",
            Format::StateDict => "state dict",
            Format::Safetensors => "safetensors",
            Format::TrainState => "glebe training state",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the bytes of a checkpoint are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Container {
    /// The archive that PyTorch writes since version 1.6.
    Archive,
    /// The stream of pickles that PyTorch wrote before.
    Stream,
    /// safetensors.
    Safetensors,
}

impl Container {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Container::Archive => "PyTorch archive",
            Container::Stream => "PyTorch before 1.6",
            Container::Safetensors => "safetensors",
        }
    }
}

impl Container {
    /// What a file is by its first bytes (16 at least), if it may be a checkpoint.
    pub fn of_head(head: &[u8]) -> Option<Container> {
        // The length of safetensors' head is far below 4 GiB, and the head is JSON.
        match head {
            _ if head.starts_with(b"PK\x03\x04") => Some(Container::Archive),
            _ if is_stream(head) => Some(Container::Stream),
            [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Some(Container::Safetensors),
            _ => None,
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key of a checkpoint, with what stands there in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopKey {
    /// The key.
    pub name: String,
    /// What stands there: a value, `dictionary of 3`, `object of argparse.Namespace, not made`.
    pub summary: String,
}

/// A tensor of the state dict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// Name in the state dict.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Type of the elements in the file.
    pub element: StoredType,
}

/// How a checkpoint is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// How much the file may ask for.
    pub limits: Limits,
    /// Key of the state dict, where it is none of the usual ones: `model_ema`.
    pub key: Option<String>,
    /// Takes the moving averages of a training state in the place of its weights.
    pub averages: bool,
}

/// An opened checkpoint: names, shapes and origin are read, elements when they are asked for.
///
/// Read are what `torch.save` writes (Lightning's `.ckpt`, `.pth`, `.pth.tar`, in the archive format and the one before
/// PyTorch 1.6), safetensors, and this library's own training states; the content decides, not the name of the file. The
/// file is data: nothing that a pickle names is called, and nothing is written. Files of PyTorch need feature `pytorch`.
///
/// `Send + Sync`; the file stays open.
///
/// ```no_run
/// use glebe::weights::checkpoint::Checkpoint;
/// let checkpoint = Checkpoint::open("last.ckpt")?;
/// println!("{}", checkpoint.origin().message());
/// let weight = checkpoint.read("head.weight")?;
/// # Ok::<(), glebe::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    format: Format,
    container: Container,
    origin: CheckpointOrigin,
    keys: Vec<TopKey>,
    tensors: Vec<StoredTensor>,
    others: Vec<TopKey>,
    metadata: BTreeMap<String, String>,
    views: Vec<View>,
    index: HashMap<String, usize>,
    store: Store,
}

/// What the readers of the containers give.
pub(super) struct Parts {
    pub(super) format: Format,
    pub(super) container: Container,
    pub(super) origin: CheckpointOrigin,
    pub(super) keys: Vec<TopKey>,
    pub(super) tensors: Vec<(String, View)>,
    pub(super) others: Vec<TopKey>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) store: Store,
}

impl Checkpoint {
    /// Opens a checkpoint within the default limits.
    ///
    /// # Errors
    /// As [`Checkpoint::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        Checkpoint::open_with(path, &OpenOptions::default())
    }

    /// Opens a checkpoint.
    ///
    /// # Errors
    /// `NotFound` (also for a key that is not there), `PermissionDenied`, `Io`; `InvalidArgument` for a file that is
    /// damaged or none of these, and where averages are wanted of one that has none; `NotSupported` for TorchScript, tar files of PyTorch before 0.1.10, big-endian files, and
    /// files of PyTorch in a build without feature `pytorch`; `LimitExceeded`.
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Checkpoint> {
        let path = path.as_ref();
        let parts = open(path, options).map_err(|error| error.at_path(path))?;
        let stored = |(name, view): &(String, View)| StoredTensor {
            name: name.clone(),
            shape: view.shape.clone(),
            element: view.element,
        };
        Ok(Checkpoint {
            path: path.to_owned(),
            format: parts.format,
            container: parts.container,
            origin: parts.origin,
            keys: parts.keys,
            tensors: parts.tensors.iter().map(stored).collect(),
            others: parts.others,
            metadata: parts.metadata,
            index: parts.tensors.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect(),
            views: parts.tensors.into_iter().map(|(_, view)| view).collect(),
            store: parts.store,
        })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds besides tensors.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How its bytes are laid out.
    pub fn container(&self) -> Container {
        self.container
    }

    /// Where it comes from; [`CheckpointOrigin::message`] is the line that is logged when it is loaded.
    pub fn origin(&self) -> &CheckpointOrigin {
        &self.origin
    }

    /// The keys of the file, where the state dict is one of several.
    pub fn keys(&self) -> &[TopKey] {
        &self.keys
    }

    /// The tensors of the state dict, in the order of the file.
    pub fn tensors(&self) -> &[StoredTensor] {
        &self.tensors
    }

    /// Entries of the state dict that are no tensors, and parts of a training state that are no weights.
    pub fn others(&self) -> &[TopKey] {
        &self.others
    }

    /// What a safetensors file says beside its tensors, text by key; empty for other files.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The tensor of a name.
    pub fn tensor(&self, name: &str) -> Option<&StoredTensor> {
        self.index.get(name).and_then(|at| self.tensors.get(*at))
    }

    /// Reads the elements of a tensor: floats as f32, integers as they are or wider.
    ///
    /// # Errors
    /// `NotFound` for a name that is not there; `InvalidArgument` where the file is damaged; `NotSupported` for element
    /// types without a reading; `OutOfMemory`, `Io`.
    pub fn read(&self, name: &str) -> Result<NamedTensor> {
        let view = self.index.get(name).and_then(|at| self.views.get(*at));
        let missing = || Error::new(ErrorKind::NotFound, "the checkpoint has no such tensor");
        view.ok_or_else(missing)
            .and_then(|view| view.read(&self.store))
            .map_err(|error| error.at_tensor(short(name)).at_path(&self.path))
    }

    /// Reads all tensors.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read_all(&self) -> Result<Tensors> {
        self.tensors.iter().map(|tensor| Ok((tensor.name.clone(), self.read(&tensor.name)?))).collect()
    }
}

/// Bytes that tell the containers apart.
const HEAD_BYTES: u64 = 512;
/// Where a tar archive says that it is one.
const TAR_AT: usize = 257;

fn open(path: &Path, options: &OpenOptions) -> Result<Parts> {
    let found = std::fs::metadata(path).map_err(|error| Error::io("read", path, error))?;
    if !found.is_file() {
        return Err(Error::invalid("is not a regular file, expected a checkpoint"));
    }
    within("bytes of the checkpoint", found.len(), options.limits.file_bytes)?;
    let mut file = File::open(path).map_err(|error| Error::io("read", path, error))?;
    let io = |error| Error::io("read", path, error);
    let length = file.seek(SeekFrom::End(0)).map_err(io)?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(io)?;
    match Container::of_head(&head) {
        Some(Container::Archive) => return archive(file, options),
        Some(Container::Stream) => return stream(file, options),
        Some(Container::Safetensors) => return safetensors_head::opened(file, length, &head, options),
        None => {}
    }
    let what = match &head[..] {
        [] => "the file is empty".to_owned(),
        _ if head.starts_with(b"version https://git-lfs") => {
            "the file is a pointer of Git LFS: fetch its content".into()
        }
        _ if head.get(TAR_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) => {
            let message = "a tar archive, as PyTorch wrote them before 0.1.10: save it anew";
            return Err(Error::new(ErrorKind::NotSupported, message));
        }
        _ if head.first() == Some(&0x80) => "a pickle that torch.save did not write".into(),
        _ => "expected a checkpoint of PyTorch or a safetensors file".into(),
    };
    Err(Error::invalid(what))
}

/// How a file of PyTorch before 1.6 begins: a pickle of a number that nothing else begins with.
const STREAM_HEAD: &[u8] = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";

/// Whether that follows, with or without the frame that pickles of protocol 4 and 5 are in.
fn is_stream(head: &[u8]) -> bool {
    match head {
        // The 16 bytes that there are at least do not hold the whole number.
        [0x80, 4 | 5, 0x95, 13, 0, 0, 0, 0, 0, 0, 0, rest @ ..] => {
            rest.len() >= 5 && rest.iter().zip(STREAM_HEAD).all(|(own, other)| own == other)
        }
        [0x80, 2..=5, rest @ ..] => rest.starts_with(STREAM_HEAD),
        _ => false,
    }
}

#[cfg(feature = "pytorch")]
fn archive(file: File, options: &OpenOptions) -> Result<Parts> {
    from_saved(crate::weights::pytorch::archived(file, &options.limits)?, Container::Archive, options)
}

#[cfg(feature = "pytorch")]
fn stream(file: File, options: &OpenOptions) -> Result<Parts> {
    from_saved(crate::weights::pytorch::streamed(file, &options.limits)?, Container::Stream, options)
}

#[cfg(feature = "pytorch")]
fn from_saved(
    saved: crate::weights::pytorch::Saved,
    container: Container,
    options: &OpenOptions,
) -> Result<Parts> {
    if options.averages {
        return Err(Error::invalid("only a training state of glebe holds moving averages"));
    }
    let found = crate::weights::state_dict::contents(&saved, options.key.as_deref(), &options.limits)?;
    Ok(Parts {
        format: found.format,
        container,
        origin: found.origin,
        keys: found.keys,
        tensors: found.tensors,
        others: found.others,
        metadata: BTreeMap::new(),
        store: saved.store,
    })
}

#[cfg(not(feature = "pytorch"))]
fn archive(_: File, _: &OpenOptions) -> Result<Parts> {
    Err(Error::new(ErrorKind::NotSupported, "a checkpoint of PyTorch: this build lacks feature pytorch"))
}

#[cfg(not(feature = "pytorch"))]
use self::archive as stream;

#[cfg(test)]
#[cfg(feature = "pytorch")]
#[path = "checkpoint_tests.rs"]
mod tests;
