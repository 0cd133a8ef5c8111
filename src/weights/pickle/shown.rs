//! Values in words.

use crate::onnx::short;
use crate::weights::message::{Scalar, python_float};
use crate::weights::pickle::value::{Arena, Id, Value};

/// How deep and how many values are written out.
const DEEPEST: usize = 4;
const MOST: usize = 100;

/// A value as Python's `str()` shows it, where it is a plain one; tensors and objects in words.
pub(crate) fn scalar(arena: &Arena, id: Id) -> Scalar {
    match arena.get(id) {
        Value::None => Scalar::None,
        Value::Bool(value) => Scalar::Bool(*value),
        Value::Int(value) => Scalar::Int(*value),
        Value::Float(value) => Scalar::Float(*value),
        Value::Text(text) => Scalar::Text(text.clone()),
        _ => {
            let mut left = MOST;
            Scalar::Other(written(arena, id, 0, &mut left))
        }
    }
}

/// What is in a value, in a few words: for lists of contents.
pub(crate) fn summary(arena: &Arena, id: Id) -> String {
    match arena.get(id) {
        Value::Text(text) => format!("{:?}", short(text)),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::List(items) => format!("list of {}", items.len()),
        Value::Tuple(items) => format!("tuple of {}", items.len()),
        Value::Set(items) => format!("set of {}", items.len()),
        Value::Dict(items) => {
            let tensors = items.iter().filter(|(_, id)| matches!(arena.get(*id), Value::Tensor(_))).count();
            match tensors {
                0 => format!("dictionary of {}", items.len()),
                _ => format!("dictionary of {}, {tensors} of them tensors", items.len()),
            }
        }
        Value::Global(name) => short(name).escape_debug().to_string(),
        Value::Opaque(_) => format!("object of {}, not made", short(arena.class(id)).escape_debug()),
        _ => scalar(arena, id).to_string(),
    }
}

/// Python's `repr()`, as far as there is one. Depth and number of values are bounded, since a list may hold itself.
fn written(arena: &Arena, id: Id, depth: usize, left: &mut usize) -> String {
    if depth > DEEPEST || *left == 0 {
        return "...".into();
    }
    *left -= 1;
    let mut list = |items: &[Id]| {
        let items: Vec<String> =
            items.iter().take(MOST).map(|id| written(arena, *id, depth + 1, left)).collect();
        items.join(", ")
    };
    match arena.get(id) {
        Value::None => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Int(value) => value.to_string(),
        Value::Huge => "an integer of more than 128 bits".into(),
        Value::Float(value) => python_float(*value),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Text(text) => quoted(short(text).as_str()),
        Value::List(items) => format!("[{}]", list(items)),
        Value::Tuple(items) if items.len() == 1 => format!("({},)", list(items)),
        Value::Tuple(items) => format!("({})", list(items)),
        Value::Set(items) if items.is_empty() => "set()".into(),
        Value::Set(items) => format!("{{{}}}", list(items)),
        Value::Dict(items) => {
            let items: Vec<String> = items
                .iter()
                .take(MOST)
                .map(|(key, value)| {
                    let key = written(arena, *key, depth + 1, left);
                    format!("{key}: {}", written(arena, *value, depth + 1, left))
                })
                .collect();
            format!("{{{}}}", items.join(", "))
        }
        Value::Global(name) => short(name).escape_debug().to_string(),
        Value::Opaque(_) => format!("<{}>", short(arena.class(id)).escape_debug()),
        Value::Numpy(code) => code.clone(),
        Value::Storage(_) => "a storage".into(),
        Value::Tensor(tensor) => match arena.get(tensor.size) {
            Value::Tuple(sizes) => format!("tensor of shape ({})", list(sizes)),
            _ => "tensor".into(),
        },
    }
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    match text.contains('\'') && !text.contains('"') {
        true => format!("\"{text}\""),
        false => format!("'{}'", text.replace('\'', "\\'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::limits::Limits;
    use crate::weights::pickle::{Input, run};

    fn shown(pickle: &[u8]) -> String {
        let limits = Limits::default();
        let mut arena = Arena::new(limits.values);
        let id = run(&mut Input::new(pickle, limits.pickle_bytes), &mut arena, &limits).unwrap();
        let _ = summary(&arena, id);
        scalar(&arena, id).to_string()
    }

    #[test]
    fn values_are_shown_as_python_shows_them() {
        assert_eq!(shown(b"N."), "None");
        assert_eq!(shown(b"X\x02\x00\x00\x00it."), "it");
        assert_eq!(
            shown(b"(K\x01X\x04\x00\x00\x00it'sNG@\x00\x00\x00\x00\x00\x00\x00l."),
            r#"[1, "it's", None, 2.0]"#
        );
        assert_eq!(shown(b"K\x01\x85."), "(1,)");
        assert_eq!(shown(b")."), "()");
        assert_eq!(shown(b"}X\x01\x00\x00\x00aK\x01s."), "{'a': 1}");
        assert_eq!(shown(b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00i8\x85RC\x08\x03\x00\x00\x00\x00\x00\x00\x00\x86R."), "3");
        assert_eq!(shown(b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00f4\x85RC\x04\xcd\xcc\xcc=\x86R."), "0.1");
    }

    #[test]
    fn a_list_in_itself_comes_to_an_end() {
        assert_eq!(shown(b"]q\x00h\x00a."), "[[[[[...]]]]]");
        let ten = b"]q\x00(h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00e.";
        assert!(shown(ten).len() < 10_000);
    }
}
