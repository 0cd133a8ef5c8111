//! The look at a file before it is decoded: is it protobuf throughout, how deep, how much memory will decoding take.
//!
//! One pass over the bytes with a stack of its own, so that no nesting can exhaust the thread's.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::limits::Limits;
use crate::onnx::wire::{Field, Reader, WireType, damaged};

/// Estimated memory of one decoded message, of one other field, and of one number of a packed list.
const MESSAGE_BYTES: u64 = 512;
const FIELD_BYTES: u64 = 64;
const NUMBER_BYTES: u64 = 8;

/// The messages that can hold messages; everything else is `Leaf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Training,
    Graph,
    Node,
    Function,
    Attribute,
    Tensor,
    SparseTensor,
    Annotation,
    ValueInfo,
    Type,
    TensorType,
    SequenceType,
    MapType,
    Shape,
    Leaf,
}

impl Kind {
    /// The kind of message in field `number`, `None` where it holds no message (or is unknown).
    fn child(self, number: u32) -> Option<Kind> {
        Some(match (self, number) {
            (Kind::Model, 7) => Kind::Graph,
            (Kind::Model, 8 | 14) => Kind::Leaf,
            (Kind::Model, 20) => Kind::Training,
            (Kind::Model, 25) => Kind::Function,
            (Kind::Training, 1 | 2) => Kind::Graph,
            (Kind::Training, 3 | 4) => Kind::Leaf,
            (Kind::Graph, 1) => Kind::Node,
            (Kind::Graph, 5) => Kind::Tensor,
            (Kind::Graph, 11..=13) => Kind::ValueInfo,
            (Kind::Graph, 14) => Kind::Annotation,
            (Kind::Graph, 15) => Kind::SparseTensor,
            (Kind::Graph, 16) => Kind::Leaf,
            (Kind::Node, 5) => Kind::Attribute,
            (Kind::Node, 9) => Kind::Leaf,
            (Kind::Function, 7) => Kind::Node,
            (Kind::Function, 9 | 14) => Kind::Leaf,
            (Kind::Function, 11) => Kind::Attribute,
            (Kind::Function, 12) => Kind::ValueInfo,
            (Kind::Attribute, 5 | 10) => Kind::Tensor,
            (Kind::Attribute, 6 | 11) => Kind::Graph,
            (Kind::Attribute, 14 | 15) => Kind::Type,
            (Kind::Attribute, 22 | 23) => Kind::SparseTensor,
            (Kind::Tensor, 3 | 13 | 16) => Kind::Leaf,
            (Kind::SparseTensor, 1 | 2) => Kind::Tensor,
            (Kind::Annotation, 2) => Kind::Leaf,
            (Kind::ValueInfo, 2) => Kind::Type,
            (Kind::ValueInfo, 4) => Kind::Leaf,
            (Kind::Type, 1 | 8) => Kind::TensorType,
            (Kind::Type, 4 | 9) => Kind::SequenceType,
            (Kind::Type, 5) => Kind::MapType,
            (Kind::Type, 7) => Kind::Leaf,
            (Kind::TensorType, 2) => Kind::Shape,
            (Kind::SequenceType, 1) | (Kind::MapType, 2) => Kind::Type,
            (Kind::Shape, 1) => Kind::Leaf,
            _ => return None,
        })
    }

    /// Memory that a field without messages takes once decoded.
    fn cost(self, field: &Field, bytes: &[u8]) -> u64 {
        let packed = field.wire == WireType::Bytes;
        let payload = field.payload.len() as u64;
        match (self, field.number) {
            (Kind::Tensor, 4 | 10) | (Kind::Attribute, 7) if packed => FIELD_BYTES + payload,
            (Kind::Tensor, 1 | 5 | 7 | 11) | (Kind::Attribute, 8) | (Kind::SparseTensor, 3) if packed => {
                FIELD_BYTES + NUMBER_BYTES * numbers(bytes, field.payload.clone())
            }
            // Tensors and texts of attributes share the file's memory.
            (Kind::Tensor, 6 | 9) | (Kind::Attribute, 4 | 9) => FIELD_BYTES,
            _ if packed => FIELD_BYTES + payload,
            _ => FIELD_BYTES,
        }
    }
}

/// Checks that `bytes` are protobuf as far as ONNX's messages go, and within the limits.
///
/// Returns the number of messages. O(bytes), less the tensors' contents.
pub(crate) fn scan(bytes: &[u8], limits: &Limits) -> Result<u64> {
    let mut stack = vec![(Kind::Model, Reader::new(bytes))];
    let (mut messages, mut nodes, mut decoded) = (1u64, 0u64, MESSAGE_BYTES);
    while let Some((kind, reader)) = stack.last_mut() {
        let kind = *kind;
        let Some(field) = reader.read()? else {
            stack.pop();
            continue;
        };
        let child = kind.child(field.number);
        decoded += match child {
            Some(_) => MESSAGE_BYTES,
            None => kind.cost(&field, bytes),
        };
        counted("memory of the decoded model in bytes", decoded, limits.decoded_bytes)?;
        let Some(child) = child else { continue };
        if field.wire != WireType::Bytes {
            return Err(damaged(field.range.start, &format!("field {} is not a message", field.number)));
        }
        messages += 1;
        if child == Kind::Node {
            nodes += 1;
            counted("number of nodes", nodes, limits.nodes)?;
        }
        counted("depth of messages", stack.len() as u64 + 1, limits.depth as u64)?;
        stack.push((child, Reader::within(bytes, field.payload)));
    }
    Ok(messages)
}

/// `LimitExceeded` where `found` is more than `limit`.
pub(crate) fn exceeded(what: &str, found: u64, limit: u64) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LimitExceeded, format!("{what}: expected at most {limit}, got {found}")))
}

/// The same for a count that stops here, so that nobody knows how far it would have gone.
fn counted(what: &str, found: u64, limit: u64) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LimitExceeded, format!("{what}: expected at most {limit}, got more")))
}

/// How many variable-length numbers are in a packed list.
fn numbers(bytes: &[u8], range: Range<usize>) -> u64 {
    bytes[range].iter().filter(|&&byte| byte < 0x80).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of one field: `number` with this payload.
    fn wrap(number: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(u64::from(number) << 3 | 2, &mut bytes);
        prost::encoding::encode_varint(payload.len() as u64, &mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    /// A model whose graph holds a node with a graph, and so on, `times` deep.
    fn nested(times: usize) -> Vec<u8> {
        let mut graph = Vec::new();
        for _ in 0..times {
            graph = wrap(1, &wrap(5, &wrap(6, &graph)));
        }
        wrap(7, &graph)
    }

    #[test]
    fn depth_is_limited_before_decoding() {
        let limits = Limits::default();
        assert!(scan(&nested(20), &limits).is_ok());
        for times in [21, 1000] {
            let error = scan(&nested(times), &limits).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded);
            assert_eq!(error.message(), "depth of messages: expected at most 64, got more");
        }
        // Types nest as well: a sequence of a sequence of ...
        let mut kind = Vec::new();
        for _ in 0..100 {
            kind = wrap(4, &wrap(1, &kind));
        }
        let error = scan(&wrap(7, &wrap(11, &wrap(2, &kind))), &limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    }

    /// A message that the scan does not know to be one could hide any depth from it.
    #[test]
    fn every_message_is_looked_into() {
        // Number and depth as the reference package counts them in the file with every field.
        let file = crate::onnx::golden("every_field");
        let scan = |depth| super::scan(&file, &Limits { depth, ..Limits::default() });
        assert_eq!(scan(8).unwrap(), 66);
        assert!(scan(7).is_err());
    }

    #[test]
    fn small_files_cannot_ask_for_much_memory() {
        let mut limits = Limits { decoded_bytes: 1 << 20, ..Limits::default() };
        let empty_attributes = wrap(7, &wrap(1, &wrap(5, &[]).repeat(3000)));
        assert_eq!(scan(&empty_attributes, &limits).unwrap_err().kind(), ErrorKind::LimitExceeded);
        let packed = wrap(7, &wrap(5, &wrap(7, &vec![0; 200_000])));
        assert_eq!(scan(&packed, &limits).unwrap_err().kind(), ErrorKind::LimitExceeded);
        let raw = wrap(7, &wrap(5, &wrap(9, &vec![0; 2 << 20])));
        assert!(scan(&raw, &limits).is_ok());
        limits.nodes = 10;
        let error = scan(&wrap(7, &wrap(1, &[]).repeat(11)), &limits).unwrap_err();
        assert_eq!(error.message(), "number of nodes: expected at most 10, got more");
    }

    #[test]
    fn nested_messages_must_be_protobuf_too() {
        let error = scan(&wrap(7, &wrap(1, &[0x0b])), &Limits::default()).unwrap_err();
        assert!(error.message().contains("at byte 4 it has a group"), "{error}");
        assert!(scan(&wrap(7, &[0x08, 1]), &Limits::default()).is_err());
        // An unknown field of a graph is not looked into.
        assert!(scan(&wrap(7, &wrap(99, &[0x0b])), &Limits::default()).is_ok());
    }
}
