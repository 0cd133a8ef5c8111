//! Where in a saved object the state dict is, and what stands beside it.

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;
use crate::weights::checkpoint::{Format, TopKey};
use crate::weights::element::StoredType;
use crate::weights::limits::{Limits, within};
use crate::weights::message::{CheckpointOrigin, Scalar, python_exponent, python_float};
use crate::weights::pickle::{Arena, Id, Value, scalar, summary};
use crate::weights::pytorch::Saved;
use crate::weights::store::{Store, View};
use crate::weights::tensors::Elements;

/// Keys that a state dict is looked for under, the first that has one winning.
const KEYS: [&str; 7] =
    ["state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights"];

/// What makes a tensor without elements.
const META: &str = "torch._utils._rebuild_meta_tensor_no_storage";

/// Bytes that tensors which share storages may have in any case.
const SHARED_BYTES: u64 = 16 << 20;

/// What is in a saved object.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) format: Format,
    pub(super) origin: CheckpointOrigin,
    pub(super) keys: Vec<TopKey>,
    /// Tensors by name, in the order of the file.
    pub(super) tensors: Vec<(String, View)>,
    /// Other entries of the state dict, and what they are.
    pub(super) others: Vec<TopKey>,
}

/// What is in `saved`; `key` names where the state dict is, if it is told.
///
/// # Errors
/// `InvalidArgument` where there is no state dict, or it holds what is no tensor and was made by an unknown name;
/// `LimitExceeded`.
pub(super) fn contents(saved: &Saved, key: Option<&str>, limits: &Limits) -> Result<Contents> {
    let arena = &saved.arena;
    let Value::Dict(items) = arena.get(saved.root) else {
        let what = summary(arena, saved.root);
        return Err(Error::invalid(format!(
            "expected a dictionary of tensors (model.state_dict()), got {what}"
        )));
    };
    let (own_key, dict) = find(arena, saved.root, items, key)?;
    let of_root = |key: &str| arena.item(saved.root, key);
    let text = |key: &str| of_root(key).map(|id| value(arena, id, &saved.store, limits));
    let origin = CheckpointOrigin {
        epoch: text("epoch"),
        global_step: text("global_step"),
        lightning_version: text("pytorch-lightning_version"),
        best_loss: text("best_loss"),
    };
    let has = |keys: &[&str]| keys.iter().all(|key| of_root(key).is_some());
    let format = match own_key {
        None => Format::StateDict,
        Some("state_dict") if has(&["pytorch-lightning_version"]) || has(&["epoch", "global_step"]) => {
            Format::Lightning
        }
        Some("model_state_dict") if has(&["epoch", "best_loss"]) || has(&["epoch", "params"]) => {
            Format::GeoDeepLearning
        }
        Some("model") if has(&["epoch", "optimizer"]) => Format::Delira,
        Some(_) => Format::Training,
    };
    let top =
        |(key, id): &(Id, Id)| TopKey { name: scalar(arena, *key).to_string(), summary: summary(arena, *id) };
    let keys = if own_key.is_some() { items.iter().map(top).collect() } else { Vec::new() };
    let (tensors, others) = entries(saved, dict, limits)?;
    if tensors.is_empty() {
        return Err(Error::invalid("the file holds no tensors"));
    }
    Ok(Contents { format, origin, keys, tensors, others })
}

/// The key of the state dict (`None` where it is the whole) and the state dict.
fn find<'a>(
    arena: &Arena,
    root: Id,
    items: &[(Id, Id)],
    key: Option<&'a str>,
) -> Result<(Option<&'a str>, Id)> {
    let holds_tensors = |id: Id| match arena.get(id) {
        Value::Dict(items) => items.iter().any(|(_, id)| matches!(arena.get(*id), Value::Tensor(_))),
        _ => false,
    };
    let listed = || {
        let names: Vec<String> =
            items.iter().take(20).map(|(key, _)| short(&scalar(arena, *key).to_string())).collect();
        format!("{}{}", names.join(", "), if items.len() > 20 { ", ..." } else { "" })
    };
    if let Some(key) = key {
        let id = arena.item(root, key).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the checkpoint has no key {key:?}: it has {}", listed()))
        })?;
        return match arena.get(id) {
            Value::Dict(_) => Ok((Some(key), id)),
            _ => Err(Error::invalid(format!(
                "{key:?}: expected a dictionary of tensors, got {}",
                summary(arena, id)
            ))),
        };
    }
    let under = |key: &&str| arena.item(root, key).filter(|id| holds_tensors(*id));
    if let Some((key, id)) = KEYS.iter().find_map(|key| Some((*key, under(key)?))) {
        return Ok((Some(key), id));
    }
    if holds_tensors(root) {
        return Ok((None, root));
    }
    let opaque = |key: &&str| arena.item(root, key).filter(|id| matches!(arena.get(*id), Value::Opaque(_)));
    if let Some((key, id)) = KEYS.iter().find_map(|key| Some((*key, opaque(key)?))) {
        return Err(Error::invalid(format!(
            "{key:?} is an object of {}, which is not made from files: expected a dictionary of tensors (state_dict())",
            short(arena.class(id)).escape_debug()
        )));
    }
    if items.is_empty() {
        return Err(Error::invalid("no state dict found: the file holds an empty dictionary"));
    }
    // Beside the state dict proper, or in it.
    let is_meta = |id: Id| arena.class(id) == META && matches!(arena.get(id), Value::Opaque(_));
    let has_meta = |id: Id| match arena.get(id) {
        Value::Dict(items) => items.iter().any(|(_, id)| is_meta(*id)),
        _ => is_meta(id),
    };
    if items.iter().any(|(_, id)| has_meta(*id)) {
        return Err(Error::invalid(
            "the tensors of the file were saved on the device \"meta\": they have no elements",
        ));
    }
    Err(Error::invalid(format!("no state dict found: the file has the keys {}", listed())))
}

type Entries = (Vec<(String, View)>, Vec<TopKey>);

fn entries(saved: &Saved, dict: Id, limits: &Limits) -> Result<Entries> {
    let arena = &saved.arena;
    let Value::Dict(items) = arena.get(dict) else { return Ok(Entries::default()) };
    let mut found = Entries::default();
    let mut seen = HashSet::new();
    let (mut bytes, mut stored) = (0u64, 0u64);
    let mut storages = HashSet::new();
    // Of a key that comes twice the last value counts, as in Python.
    for (key, id) in items.iter().rev() {
        let name = match arena.get(*key) {
            Value::Text(name) => name.clone(),
            _ => scalar(arena, *key).to_string(),
        };
        if !seen.insert(name.clone()) {
            continue;
        }
        match arena.get(*id) {
            Value::Tensor(_) => {
                let view =
                    view(arena, *id, &saved.store, limits).map_err(|error| error.at_tensor(short(&name)))?;
                let width = view.element.bytes_in_memory();
                bytes = bytes.saturating_add(view.elements(limits)?.saturating_mul(width));
                within("bytes of all tensors", bytes, limits.tensor_bytes)?;
                if storages.insert(view.key.clone()) {
                    let elements = saved.store.size(&view.key)? / view.element.bytes();
                    stored = stored.saturating_add(elements.saturating_mul(width));
                }
                found.0.push((name, view));
                within("tensors", found.0.len() as u64, limits.tensors)?;
            }
            // What a module says beside its tensors may be anything.
            Value::Opaque(_) if !name.ends_with("_extra_state") => {
                return Err(Error::invalid(format!(
                    "expected a tensor, got an object of {}, which is not made from files",
                    short(arena.class(*id)).escape_debug()
                ))
                .at_tensor(short(&name)));
            }
            _ => found.1.push(TopKey { name, summary: summary(arena, *id) }),
        }
    }
    let most = stored.saturating_mul(limits.expansion).saturating_add(SHARED_BYTES);
    within("bytes of all tensors, of which many share or repeat few elements", bytes, most)?;
    found.0.reverse();
    found.1.reverse();
    Ok(found)
}

/// The view that a tensor is, checked against its storage.
fn view(arena: &Arena, id: Id, store: &Store, limits: &Limits) -> Result<View> {
    let broken = || Error::invalid("damaged pickle: the tensor has no sound shape");
    let Value::Tensor(tensor) = arena.get(id) else { return Err(broken()) };
    let Value::Storage(storage) = arena.get(tensor.storage) else { return Err(broken()) };
    for (mark, what) in [("neg", "negated"), ("conj", "conjugated")] {
        let marked = tensor.metadata.and_then(|metadata| arena.item(metadata, mark));
        if !matches!(marked.map(|id| arena.get(id)), None | Some(Value::Bool(false))) {
            let message =
                format!("the tensor is a {what} view of its elements: save what resolve_{mark}() gives");
            return Err(Error::new(ErrorKind::NotSupported, message));
        }
    }
    let key = arena.text(storage.key).ok_or_else(broken)?;
    let numbers = |id: Id| match arena.get(id) {
        Value::Tuple(items) => {
            within("dimensions of the tensor", items.len() as u64, limits.rank as u64)?;
            items.iter().map(|id| arena.unsigned(*id).ok_or_else(broken)).collect::<Result<Vec<u64>>>()
        }
        _ => Err(broken()),
    };
    let (sizes, strides) = (numbers(tensor.size)?, numbers(tensor.stride)?);
    if sizes.len() != strides.len() {
        return Err(broken());
    }
    let element = tensor.element.unwrap_or(storage.element);
    if element == StoredType::Other("untyped", 1) {
        return Err(Error::invalid("damaged pickle: the tensor has no element type"));
    }
    let offset = tensor.offset.checked_add(storage.start).ok_or_else(broken)?;
    let shape =
        sizes.iter().map(|size| usize::try_from(*size)).collect::<Result<_, _>>().map_err(|_| broken())?;
    let view = View { key: key.to_owned(), element, offset, shape, strides };
    let stated = storage.elements.checked_mul(storage.element.bytes());
    if stated.is_none_or(|stated| store.size(key).is_ok_and(|size| size < stated)) {
        return Err(Error::invalid(format!("the file has less of storage {:?} than it states", short(key))));
    }
    view.check(store, limits)?;
    Ok(view)
}

/// A value as `str()` shows it; tensors of one element as PyTorch prints them.
fn value(arena: &Arena, id: Id, store: &Store, limits: &Limits) -> Scalar {
    let single = match arena.get(id) {
        Value::Tensor(_) => view(arena, id, store, limits).ok().filter(|view| view.shape.is_empty()),
        _ => None,
    };
    let Some((view, tensor)) = single.and_then(|view| view.read(store).ok().map(|tensor| (view, tensor)))
    else {
        return scalar(arena, id);
    };
    let number = match &tensor.elements {
        Elements::F32(values) => values.first().map(|value| tensor_float(f64::from(*value))),
        Elements::I64(values) => values.first().map(i64::to_string),
        Elements::I32(values) => values.first().map(i32::to_string),
        Elements::U8(values) if view.element == StoredType::Bool => {
            values.first().map(|value| if *value != 0 { "True" } else { "False" }.to_owned())
        }
        Elements::U8(values) => values.first().map(u8::to_string),
    };
    let kind = match view.element {
        StoredType::F32 | StoredType::I64 | StoredType::Bool => String::new(),
        other => format!(", dtype=torch.{other}"),
    };
    Scalar::Other(format!("tensor({}{kind})", number.unwrap_or_default()))
}

/// A float as PyTorch prints it: four digits, none where it is whole, an exponent where it is very large or small.
fn tensor_float(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return python_float(value);
    }
    if size > 1e8 || (size < 1e-4 && size != 0.0) {
        let text = format!("{value:.4e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{digits}e{}", python_exponent(exponent.parse().unwrap_or(0)));
    }
    if value.fract() == 0.0 { format!("{value:.0}.") } else { format!("{value:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PyTorch 2.15 prints.
    #[test]
    fn floats_of_tensors_are_shown_as_pytorch_shows_them() {
        for (value, text) in [
            (0.5f32, "0.5000"),
            (3.0, "3."),
            (0.0, "0."),
            (1e-7, "1.0000e-07"),
            (123_456_789.0, "1.2346e+08"),
            (12345.678, "12345.6777"),
            (1e5, "100000."),
            (1.5e-4, "0.0002"),
            (-0.25, "-0.2500"),
            (f32::NAN, "nan"),
            (f32::INFINITY, "inf"),
        ] {
            assert_eq!(tensor_float(value.into()), text);
        }
    }
}
