//! The few names of classes and functions that are understood, as data.

use crate::error::Result;
use crate::weights::element::StoredType;
use crate::weights::pickle::value::{Arena, Id, Storage, Tensor, Value};

/// What calling `callable` with `arguments` (a tuple) would give, where that is plain data; else an opaque value.
///
/// Nothing is called. Arguments that do not fit the name make the value opaque too: whether that matters depends on
/// where it stands.
pub(super) fn reduce(arena: &mut Arena, callable: Id, arguments: Id) -> Result<Id> {
    let (Value::Global(name), Value::Tuple(items)) = (arena.get(callable), arena.get(arguments)) else {
        return arena.add(Value::Opaque(callable));
    };
    let (module, own) = name.rsplit_once('.').unwrap_or(("", name));
    let made = match (module, own, items.as_slice()) {
        ("collections", "OrderedDict", []) | ("builtins" | "__builtin__", "dict", []) => {
            Some(Value::Dict(vec![]))
        }
        ("collections", "defaultdict", [] | [_]) => Some(Value::Dict(vec![])),
        ("collections", "OrderedDict", &[pairs]) => dict(arena, pairs),
        ("builtins" | "__builtin__", "list", &[items]) => sequence(arena, items).map(Value::List),
        ("builtins" | "__builtin__", "set" | "frozenset", &[items]) => sequence(arena, items).map(Value::Set),
        ("torch", "Size", &[sizes]) => sequence(arena, sizes).map(Value::Tuple),
        ("torch._utils", "_rebuild_tensor", &[storage, offset, size, stride]) => {
            tensor(arena, [storage, offset, size, stride], None, None)
        }
        ("torch._utils", "_rebuild_tensor_v2", &[storage, offset, size, stride, ref rest @ ..]) => {
            // Behind whether it wants a gradient, and hooks.
            tensor(arena, [storage, offset, size, stride], None, rest.get(2).copied())
        }
        (
            "torch._utils",
            "_rebuild_tensor_v3",
            &[storage, offset, size, stride, _, _, element, ref rest @ ..],
        ) => {
            let metadata = rest.first().copied();
            torch_type(arena, element)
                .and_then(|element| tensor(arena, [storage, offset, size, stride], Some(element), metadata))
        }
        // A parameter is the tensor that it holds; so is a tensor with attributes.
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", &[data, ..])
            if matches!(arena.get(data), Value::Tensor(_)) =>
        {
            return Ok(data);
        }
        ("torch._tensor", "_rebuild_from_type_v2", &[function, _, inner, _]) if matches!(arena.get(function), Value::Global(name) if name.starts_with("torch._utils._rebuild_")) =>
        {
            return reduce(arena, function, inner);
        }
        ("_codecs", "encode", &[text, encoding]) if arena.text(encoding) == Some("latin1") => {
            arena.text(text).and_then(latin1).map(Value::Bytes)
        }
        ("numpy", "dtype", &[code, ..]) => {
            arena.text(code).filter(|code| code.len() <= 8).map(|code| Value::Numpy(code.to_owned()))
        }
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar", &[element, bytes]) => {
            number(arena, element, bytes)
        }
        _ => None,
    };
    // What is copied counts as often as it is.
    if let Some(Value::Bytes(bytes)) = &made {
        arena.charge(bytes.len() / 32)?;
    }
    arena.add(made.unwrap_or(Value::Opaque(callable)))
}

/// What giving `state` to an object does: nothing, for everything that is understood, but for numpy's byte order.
pub(super) fn build(arena: &mut Arena, object: Id, state: Id) {
    let big = match (arena.get(object), arena.get(state)) {
        (Value::Numpy(_), Value::Tuple(items)) => items.get(1).and_then(|id| arena.text(*id)) == Some(">"),
        _ => false,
    };
    if big && let Some(value) = arena.get_mut(object) {
        *value = Value::Numpy("big-endian".into());
    }
}

/// The storage that a persistent id means: `("storage", class, key, device, elements[, part])`.
pub(super) fn persistent(arena: &mut Arena, id: Id) -> Result<Option<Id>> {
    let Value::Tuple(items) = arena.get(id) else { return Ok(None) };
    let found = match (items.first().and_then(|id| arena.text(*id)), items.as_slice()) {
        (Some("storage"), &[_, class, key, _, elements, ref part @ ..]) => {
            storage(arena, class, key, elements, part)
        }
        // Files before the archive format keep a module's source beside it.
        (Some("module"), &[_, module, ..]) => return Ok(Some(module)),
        _ => None,
    };
    found.map(|storage| arena.add(Value::Storage(storage))).transpose()
}

fn storage(arena: &Arena, class: Id, key: Id, elements: Id, part: &[Id]) -> Option<Storage> {
    let Value::Global(class) = arena.get(class) else { return None };
    let (module, class) = class.rsplit_once('.')?;
    if !matches!(module, "torch" | "torch.cuda" | "torch.storage") {
        return None;
    }
    arena.text(key)?;
    let whole = arena.unsigned(elements)?;
    let view = part.first().map(|id| arena.get(*id));
    let start = match view {
        None | Some(Value::None) => 0,
        Some(Value::Tuple(view)) => arena.unsigned(*view.get(1)?)?,
        Some(_) => return None,
    };
    Some(Storage { element: StoredType::of_storage(class)?, key, elements: whole, start })
}

fn tensor(
    arena: &Arena,
    [storage, offset, size, stride]: [Id; 4],
    element: Option<StoredType>,
    metadata: Option<Id>,
) -> Option<Value> {
    let numbers = |id: Id| match arena.get(id) {
        Value::Tuple(items) => items.iter().all(|id| matches!(arena.get(*id), Value::Int(_))),
        _ => false,
    };
    let sound = matches!(arena.get(storage), Value::Storage(_)) && numbers(size) && numbers(stride);
    let offset = arena.unsigned(offset)?;
    sound.then_some(Value::Tensor(Tensor { storage, element, offset, size, stride, metadata }))
}

fn torch_type(arena: &Arena, id: Id) -> Option<StoredType> {
    match arena.get(id) {
        Value::Global(name) => name.strip_prefix("torch.").and_then(StoredType::of_torch),
        _ => None,
    }
}

fn sequence(arena: &Arena, id: Id) -> Option<Vec<Id>> {
    match arena.get(id) {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => Some(items.clone()),
        _ => None,
    }
}

fn dict(arena: &Arena, pairs: Id) -> Option<Value> {
    let pair = |id: &Id| match arena.get(*id) {
        Value::List(pair) | Value::Tuple(pair) => match pair.as_slice() {
            &[key, value] => Some((key, value)),
            _ => None,
        },
        _ => None,
    };
    match arena.get(pairs) {
        Value::Dict(items) => Some(Value::Dict(items.clone())),
        Value::List(items) | Value::Tuple(items) => {
            items.iter().map(pair).collect::<Option<_>>().map(Value::Dict)
        }
        _ => None,
    }
}

fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
}

/// A number of numpy, from its element type and bytes.
fn number(arena: &Arena, element: Id, bytes: Id) -> Option<Value> {
    let (Value::Numpy(code), Value::Bytes(bytes)) = (arena.get(element), arena.get(bytes)) else {
        return None;
    };
    macro_rules! word {
        ($kind:ty) => {
            <$kind>::from_le_bytes(bytes.as_slice().try_into().ok()?)
        };
    }
    Some(match code.trim_start_matches(['<', '=', '|']) {
        "f8" => Value::Float(word!(f64)),
        // By its own digits: 0.1 of 32 bits is shown as 0.1.
        "f4" => Value::Float(word!(f32).to_string().parse().ok()?),
        "f2" => Value::Float(word!(half::f16).to_string().parse().ok()?),
        "i8" => Value::Int(word!(i64).into()),
        "i4" => Value::Int(word!(i32).into()),
        "i2" => Value::Int(word!(i16).into()),
        "i1" => Value::Int(word!(i8).into()),
        "u8" => Value::Int(word!(u64).into()),
        "u4" => Value::Int(word!(u32).into()),
        "u2" => Value::Int(word!(u16).into()),
        "u1" => Value::Int(word!(u8).into()),
        "b1" => Value::Bool(word!(u8) != 0),
        _ => return None,
    })
}
