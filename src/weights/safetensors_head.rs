//! The head of a safetensors file: names, shapes and places of its tensors, whose elements stay where they are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use safetensors::tensor::Metadata;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;
use crate::weights::checkpoint::{Container, Format, OpenOptions, Parts, TopKey};
use crate::weights::element::StoredType;
use crate::weights::limits::within;
use crate::weights::message::{CheckpointOrigin, Scalar};
use crate::weights::store::{Place, Store, View};

/// Longest head of a safetensors file, as its library has it.
const LONGEST_HEAD: u64 = 100_000_000;

/// Prefixes of the names in a training state.
const PARTS: [&str; 4] = ["weights/", "statistics/", "optimizer/", "averages/"];
/// Which of them are the model's.
const WEIGHTS: [&str; 2] = ["weights/", "statistics/"];
/// Which of them are the model's, where averages are wanted.
const AVERAGES: [&str; 2] = ["averages/", "statistics/"];

/// Reads the head of a safetensors file of `length` bytes, which begins with `head`.
///
/// # Errors
/// `InvalidArgument` for a file that is none or damaged; `NotSupported` for element types without a name here;
/// `LimitExceeded`; `Io`.
pub(super) fn opened(mut file: File, length: u64, head: &[u8], options: &OpenOptions) -> Result<Parts> {
    let limits = &options.limits;
    if options.key.is_some() {
        return Err(Error::invalid("a safetensors file has no keys: its tensors are the state dict"));
    }
    let bytes = head.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let broken = || Error::invalid("not a safetensors file");
    if bytes > LONGEST_HEAD || bytes.saturating_add(8) > length {
        return Err(broken());
    }
    let mut text = Vec::new();
    let io = |error| Error::new(ErrorKind::Io, "cannot read the head").caused_by(error);
    file.seek(SeekFrom::Start(8)).map_err(io)?;
    file.by_ref().take(bytes).read_to_end(&mut text).map_err(io)?;
    let listed: Metadata = serde_json::from_slice(&text).map_err(|error| broken().caused_by(error))?;
    let start = 8 + bytes;
    within("tensors", listed.tensors().len() as u64, limits.tensors)?;
    let metadata = listed.metadata().clone().unwrap_or_default();
    let is_state = metadata.contains_key("glebe.train_state");
    if options.averages && !is_state {
        return Err(Error::invalid("only a training state of glebe holds moving averages"));
    }
    let wanted = if options.averages { AVERAGES } else { WEIGHTS };
    let (mut places, mut tensors) = (HashMap::new(), Vec::new());
    let mut parts = [0usize; PARTS.len()];
    for name in listed.offset_keys() {
        let Some(info) = listed.info(&name) else { continue };
        let element = StoredType::of_safetensors(&info.dtype.to_string()).ok_or_else(|| {
            let message = format!("elements of type {} cannot be read", info.dtype);
            Error::new(ErrorKind::NotSupported, message).at_tensor(short(&name))
        })?;
        let (first, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        if end < first || end > length - start {
            return Err(Error::invalid("the file ends before the tensor does").at_tensor(short(&name)));
        }
        let view = View::whole(&name, element, info.shape.clone());
        places.insert(name.clone(), Place::plain(start + first, end - first));
        let part = PARTS.iter().position(|prefix| is_state && name.starts_with(prefix));
        match part {
            Some(part) => {
                parts[part] += 1;
                if wanted.contains(&PARTS[part]) {
                    tensors.push((name[PARTS[part].len()..].to_owned(), view));
                }
            }
            None => tensors.push((name, view)),
        }
    }
    let has_averages = PARTS.iter().zip(parts).any(|(prefix, count)| *prefix == AVERAGES[0] && count > 0);
    if options.averages && !has_averages {
        return Err(Error::invalid("the training state holds no moving averages: it was trained without"));
    }
    let store = Store::new(file, places);
    let mut all = 0u64;
    for (name, view) in &tensors {
        view.check(&store, limits).map_err(|error| error.at_tensor(short(name)))?;
        all = all.saturating_add(view.elements(limits)?.saturating_mul(view.element.bytes_in_memory()));
    }
    within("bytes of all tensors", all, limits.tensor_bytes)?;
    let text = |key: &str| metadata.get(key).map(|text| written(text));
    let origin = CheckpointOrigin {
        epoch: text("epoch"),
        global_step: text("global_step"),
        lightning_version: text("pytorch-lightning_version"),
        best_loss: text("best_loss"),
    };
    let mut keys: Vec<TopKey> = metadata
        .iter()
        .map(|(key, text)| TopKey { name: key.clone(), summary: format!("{:?}", short(text)) })
        .collect();
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    let others = PARTS.iter().zip(parts).filter(|(prefix, count)| !wanted.contains(prefix) && *count > 0);
    let others = others.map(|(prefix, count)| TopKey {
        name: prefix.trim_end_matches('/').to_owned(),
        summary: format!("{count} tensors"),
    });
    Ok(Parts {
        format: if is_state { Format::TrainState } else { Format::Safetensors },
        container: Container::Safetensors,
        origin,
        keys,
        tensors,
        others: others.collect(),
        metadata: metadata.into_iter().collect(),
        store,
    })
}

/// A text of the metadata as the value that it shows.
fn written(text: &str) -> Scalar {
    match (text, text.parse::<i128>()) {
        ("None", _) => Scalar::None,
        (_, Ok(value)) if value.to_string() == text => Scalar::Int(value),
        _ => Scalar::Text(text.to_owned()),
    }
}
