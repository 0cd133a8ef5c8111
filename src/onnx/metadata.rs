//! The metadata of a model file, changed in place.

use prost::Message;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::proto::StringStringEntryProto;
use crate::onnx::wire::{MODEL_METADATA, Reader, WireType, damaged};

/// The file with other entries in its metadata: those of the keys in `removed` and of `entries` go, and `entries` come
/// in their order at the end of the file. Every other byte stays, those of other entries too; the same file and
/// entries give the same bytes, also where the result is changed so once more.
///
/// ```
/// use glebe::onnx::{Document, ElementType, GraphBuilder, Limits, with_metadata};
///
/// let mut graph = GraphBuilder::new("identity");
/// let x = graph.input("x", ElementType::Float32, &[2u64.into()]);
/// let y = graph.node("Identity", &[&x]).output("y");
/// graph.output(&y, ElementType::Float32, &[2u64.into()]);
/// graph.metadata("author", "A. N. Other");
/// let bytes = graph.finish()?;
///
/// let bytes = with_metadata(&bytes, &[("licence".into(), "MIT".into())], &["author"])?;
/// let document = Document::from_bytes(bytes, &Limits::default())?;
/// assert_eq!(document.metadata().into_iter().collect::<Vec<_>>(), [("licence", "MIT")]);
/// # Ok::<(), glebe::Error>(())
/// ```
///
/// # Errors
/// `ModelInvalid` where the bytes are no protobuf or an entry is no pair of texts; `InvalidArgument` for a key that is
/// empty or twice among `entries`; `LimitExceeded` from 2 GiB on.
pub fn with_metadata(bytes: &[u8], entries: &[(String, String)], removed: &[&str]) -> Result<Vec<u8>> {
    for (at, (key, _)) in entries.iter().enumerate() {
        if key.is_empty() || entries[..at].iter().any(|(other, _)| other == key) {
            return Err(Error::invalid(format!("metadata: expected keys that differ, got {key:?}")));
        }
    }
    let mut file = Vec::with_capacity(bytes.len());
    let mut kept = 0;
    for field in Reader::new(bytes) {
        let field = field?;
        if field.number != MODEL_METADATA {
            continue;
        }
        if field.wire != WireType::Bytes {
            return Err(damaged(field.range.start, "an entry of the metadata is not a message"));
        }
        let entry = StringStringEntryProto::decode(&bytes[field.payload.clone()]).map_err(|error| {
            damaged(field.range.start, "an entry of the metadata is no pair of texts").caused_by(error)
        })?;
        if removed.contains(&entry.key.as_str()) || entries.iter().any(|(key, _)| *key == entry.key) {
            file.extend_from_slice(&bytes[kept..field.range.start]);
            kept = field.range.end;
        }
    }
    file.extend_from_slice(&bytes[kept..]);
    for (key, value) in entries {
        let entry = StringStringEntryProto { key: key.clone(), value: value.clone() };
        prost::encoding::message::encode(MODEL_METADATA, &entry, &mut file);
    }
    within_protobuf(file)
}

/// The bytes, where they are fewer than protobuf's limit.
///
/// # Errors
/// `LimitExceeded` from 2 GiB on.
pub(crate) fn within_protobuf(bytes: Vec<u8>) -> Result<Vec<u8>> {
    if bytes.len() < i32::MAX as usize {
        return Ok(bytes);
    }
    let message = format!("model and weights have {} bytes: expected less than 2 GiB", bytes.len());
    Err(Error::new(ErrorKind::LimitExceeded, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let entry = StringStringEntryProto { key: key.into(), value: value.into() };
        prost::encoding::message::encode(MODEL_METADATA, &entry, &mut bytes);
        bytes
    }

    fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// An unknown field, entries between others, an oddly spelled length.
    fn file() -> Vec<u8> {
        let odd = [0x72, 0x87, 0x00, 0x0a, 1, b'o', 0x12, 2, b'd', b'd'];
        [
            &[0x08, 8][..],
            &entry("a", "1"),
            &[0xfa, 0x06, 1, b'?'],
            &odd,
            &entry("b", "2"),
            &[0x3a, 0],
            &entry("a", "3"),
        ]
        .concat()
    }

    #[test]
    fn only_the_entries_of_the_keys_change() {
        let bytes = file();
        let odd = [0x72, 0x87, 0x00, 0x0a, 1, b'o', 0x12, 2, b'd', b'd'];
        let rest = [&[0x08, 8, 0xfa, 0x06, 1, b'?'][..], &odd].concat();
        let changed = with_metadata(&bytes, &pairs(&[("z", ""), ("a", "ä")]), &[]).unwrap();
        let expected = [&rest[..], &entry("b", "2"), &[0x3a, 0], &entry("z", ""), &entry("a", "ä")].concat();
        assert_eq!(changed, expected);
        assert_eq!(with_metadata(&changed, &pairs(&[("z", ""), ("a", "ä")]), &[]).unwrap(), changed);
        let removed = with_metadata(&bytes, &[], &["b", "a", "none"]).unwrap();
        assert_eq!(removed, [&rest[..], &[0x3a, 0]].concat());
        assert_eq!(with_metadata(&bytes, &[], &[]).unwrap(), bytes);
        assert_eq!(with_metadata(&[], &pairs(&[("k", "v")]), &[]).unwrap(), entry("k", "v"));
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        let kind = |bytes: &[u8], entries: &[(&str, &str)]| {
            with_metadata(bytes, &pairs(entries), &[]).unwrap_err().kind()
        };
        assert_eq!(kind(&file(), &[("a", "1"), ("a", "2")]), ErrorKind::InvalidArgument);
        assert_eq!(kind(&file(), &[("", "1")]), ErrorKind::InvalidArgument);
        assert_eq!(kind(&[0x72, 9, 0], &[]), ErrorKind::ModelInvalid);
        assert_eq!(kind(&[0x70, 9], &[]), ErrorKind::ModelInvalid);
        // A key that is no UTF-8.
        assert_eq!(kind(&[0x72, 3, 0x0a, 1, 0xff], &[]), ErrorKind::ModelInvalid);
    }
}
