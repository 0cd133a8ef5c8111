//! The two containers that `torch.save` writes: an archive (since PyTorch 1.6), and before that a stream of pickles with
//! the storages behind them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read as _, Seek as _, SeekFrom};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;
use crate::weights::archive;
use crate::weights::element::StoredType;
use crate::weights::limits::{Limits, within};
use crate::weights::pickle::{self, Arena, Id, Input, Value};
use crate::weights::store::{Place, Store, unpacked};

/// The object of a file, and where the elements of its tensors are.
#[derive(Debug)]
pub(super) struct Saved {
    /// All values.
    pub(super) arena: Arena,
    /// What was saved.
    pub(super) root: Id,
    /// The storages.
    pub(super) store: Store,
}

/// What the older format begins with: a pickle of this number.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// The only version of the older format there is.
const VERSION: i128 = 1001;

/// Longest small text of an archive.
const TEXT_BYTES: u64 = 64;

/// Reads an archive.
///
/// # Errors
/// `InvalidArgument` for a damaged one and for zip archives of other kinds; `NotSupported`; `LimitExceeded`; `Io`.
pub(super) fn archived(mut file: File, limits: &Limits) -> Result<Saved> {
    let places = archive::directory(&mut file, limits)?;
    let name = |name: &&String| name.as_str() == "data.pkl" || name.ends_with("/data.pkl");
    // The one that is least deep; an archive of PyTorch's has one alone.
    let Some(main) = places.keys().filter(name).min_by_key(|name| (name.matches('/').count(), name.len()))
    else {
        return Err(Error::invalid("a zip archive that PyTorch did not write: it has no data.pkl"));
    };
    let root = main.strip_suffix("data.pkl").unwrap_or_default().to_owned();
    let inside = |name: &str| places.get(&format!("{root}{name}")).copied();
    if inside("constants.pkl").is_some() {
        let message =
            "a TorchScript archive holds a program: expected a checkpoint of torch.save(state_dict)";
        return Err(Error::new(ErrorKind::NotSupported, message));
    }
    if let Some(order) = inside("byteorder") {
        within("bytes of the archive's byte order", order.bytes, TEXT_BYTES)?;
        if unpacked(&mut file, order)? != b"little" {
            return Err(big_endian());
        }
    }
    let main = inside("data.pkl").ok_or_else(|| Error::internal("an archive without its pickle"))?;
    within("bytes of the pickle", main.bytes, limits.pickle_bytes)?;
    let bytes = unpacked(&mut file, main)?;
    let mut arena = Arena::new(limits.values);
    let root_id = pickle::run(&mut Input::new(Cursor::new(bytes), limits.pickle_bytes), &mut arena, limits)?;
    let start = format!("{root}data/");
    let storages =
        places.iter().filter_map(|(name, place)| Some((name.strip_prefix(&start)?.to_owned(), *place)));
    Ok(Saved { arena, root: root_id, store: Store::new(file, storages.collect()) })
}

fn big_endian() -> Error {
    Error::new(ErrorKind::NotSupported, "the file is of a big-endian machine: expected little-endian numbers")
}

/// Reads the older format.
///
/// # Errors
/// As [`archived`].
pub(super) fn streamed(mut file: File, limits: &Limits) -> Result<Saved> {
    let io = |error| Error::new(ErrorKind::Io, "cannot read the storages").caused_by(error);
    let length = file.seek(SeekFrom::End(0)).map_err(io)?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut arena = Arena::new(limits.values);
    let mut input = Input::new(BufReader::new(file), limits.pickle_bytes);
    let mut next = |arena: &mut Arena| pickle::run(&mut input, arena, limits);
    let (magic, version) = (next(&mut arena)?, next(&mut arena)?);
    if arena.get(magic) != &Value::Int(MAGIC) {
        return Err(Error::invalid("a pickle that PyTorch did not write"));
    }
    if arena.get(version) != &Value::Int(VERSION) {
        return Err(Error::new(
            ErrorKind::NotSupported,
            "the file has an unknown version of PyTorch's older format",
        ));
    }
    let system = next(&mut arena)?;
    if arena.item(system, "little_endian").map(|id| arena.get(id)) == Some(&Value::Bool(false)) {
        return Err(big_endian());
    }
    let (root, keys) = (next(&mut arena)?, next(&mut arena)?);
    let Value::List(keys) = arena.get(keys) else {
        return Err(Error::invalid("damaged file: expected a list of storages behind the pickle"));
    };
    within("storages of the file", keys.len() as u64, limits.entries)?;
    // How long a storage is follows from its type, which those who use it know.
    let mut types: HashMap<&str, StoredType> = HashMap::new();
    for value in arena.values() {
        if let Value::Storage(storage) = value
            && let Some(key) = arena.text(storage.key)
            && types
                .insert(key, storage.element)
                .is_some_and(|known| known.bytes() != storage.element.bytes())
        {
            return Err(Error::invalid(format!("damaged file: storage {:?} has two types", short(key))));
        }
    }
    let mut places = HashMap::new();
    let mut at = input.position();
    let mut file = input.into_reader();
    for key in keys {
        let Some(key) = arena.text(*key) else {
            return Err(Error::invalid("damaged file: the name of a storage is no text"));
        };
        let Some(element) = types.get(key) else {
            return Err(Error::invalid(format!("damaged file: storage {:?} is used nowhere", short(key))));
        };
        file.seek(SeekFrom::Start(at)).map_err(io)?;
        let mut count = [0; 8];
        file.read_exact(&mut count)
            .map_err(|error| Error::invalid("the file ends before its storages do").caused_by(error))?;
        let bytes = u64::from_le_bytes(count).checked_mul(element.bytes());
        let start = at + 8;
        let Some(end) = bytes.and_then(|bytes| start.checked_add(bytes)).filter(|end| *end <= length) else {
            return Err(Error::invalid(format!("the file ends before storage {:?} does", short(key))));
        };
        if places.insert(key.to_owned(), Place::plain(start, end - start)).is_some() {
            return Err(Error::invalid(format!("damaged file: storage {:?} is there twice", short(key))));
        }
        at = end;
    }
    let store = Store::new(file.into_inner(), places);
    Ok(Saved { arena, root, store })
}
