//! The bytes of an ONNX file, field by field.
//!
//! A protobuf message is a row of fields, each a key (number and wire type) and a payload; a nested message is a
//! payload. [`Reader`] walks one row without descending, so that nothing here recurses. [`Outline`] notes where every
//! field of the file and of its graph lies. With it a weight can be replaced while every other byte of the file,
//! unknown fields included, stays what it was.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};

/// Number of the field of a model that holds the graph.
pub const MODEL_GRAPH: u32 = 7;
/// Number of the field of a model that holds an entry of its metadata.
pub const MODEL_METADATA: u32 = 14;
/// Number of the field of a graph that holds a node.
pub const GRAPH_NODE: u32 = 1;
/// Number of the field of a graph that holds an initializer.
pub const GRAPH_INITIALIZER: u32 = 5;

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WireType {
    /// A variable-length whole number.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A length and that many bytes: text, bytes, a message, a packed list.
    Bytes,
    /// Four bytes.
    Fixed32,
}

/// One field: where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    /// Field number.
    pub number: u32,
    /// How the payload is written.
    pub wire: WireType,
    /// The whole field, key and length included; bytes from the start of the file.
    pub range: Range<usize>,
    /// The payload alone (of a varint: its bytes).
    pub payload: Range<usize>,
}

/// Walks the fields of one message.
///
/// After an error it ends.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// A reader of the message that is the whole of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, end: bytes.len() }
    }

    /// A reader of the message in `range` of `bytes`; a range past the end is cut to it.
    pub fn within(bytes: &'a [u8], range: Range<usize>) -> Reader<'a> {
        let end = range.end.min(bytes.len());
        Reader { bytes, at: range.start.min(end), end }
    }

    /// The byte where the next field starts.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next field, `None` at the end of the message.
    ///
    /// # Errors
    ///
    /// `ModelInvalid` where the bytes are no protobuf: a number of more than 64 bits, a length past the end of the
    /// message, field number 0, an unknown wire type, a group (protobuf's outdated way to nest, which ONNX never
    /// uses).
    pub fn read(&mut self) -> Result<Option<Field>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let field = self.field();
        match &field {
            Ok(field) => self.at = field.range.end,
            Err(_) => self.at = self.end,
        }
        field.map(Some)
    }

    fn field(&self) -> Result<Field> {
        let start = self.at;
        let (key, at) = self.varint(start)?;
        let number = match u32::try_from(key >> 3) {
            Ok(number @ 1..=0x1fff_ffff) => number,
            _ => return Err(damaged(start, &format!("field number {} is out of range", key >> 3))),
        };
        let (wire, payload) = match key & 7 {
            0 => (WireType::Varint, at..self.varint(at)?.1),
            1 => (WireType::Fixed64, at..self.advance(at, 8)?),
            2 => {
                let (length, at) = self.varint(at)?;
                (WireType::Bytes, at..self.advance(at, length)?)
            }
            5 => (WireType::Fixed32, at..self.advance(at, 4)?),
            3 | 4 => return Err(damaged(start, "it has a group, which ONNX does not use")),
            other => return Err(damaged(start, &format!("wire type {other} does not exist"))),
        };
        Ok(Field { number, wire, range: start..payload.end, payload })
    }

    fn varint(&self, start: usize) -> Result<(u64, usize)> {
        let rest = &self.bytes[start..self.end];
        let mut value = 0u64;
        for (index, &byte) in rest.iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok((value, start + index + 1));
            }
        }
        if rest.len() < 10 {
            return Err(damaged(start, "it ends within a number"));
        }
        Err(damaged(start, "a number has more than 64 bits"))
    }

    fn advance(&self, at: usize, length: u64) -> Result<usize> {
        let left = (self.end - at) as u64;
        if length > left {
            return Err(damaged(at, &format!("a field of {length} bytes where {left} are left")));
        }
        Ok(at + length as usize)
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Field>;

    fn next(&mut self) -> Option<Result<Field>> {
        self.read().transpose()
    }
}

/// Where the fields of a file and of its graph are.
///
/// Fields are in the order of the file, so the n-th field with number [`GRAPH_NODE`] is the n-th node of the decoded
/// graph, and so on for every list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    model: Vec<Field>,
    graph: Vec<Field>,
    graph_index: usize,
}

impl Outline {
    /// Reads the outline of a file; O(fields of the model and of its graph).
    ///
    /// # Errors
    ///
    /// `ModelInvalid` where the bytes are no protobuf, or hold no graph or several.
    pub fn read(bytes: &[u8]) -> Result<Outline> {
        let model = Reader::new(bytes).collect::<Result<Vec<Field>>>()?;
        let mut graphs = model.iter().enumerate().filter(|(_, field)| field.number == MODEL_GRAPH);
        let Some((graph_index, field)) = graphs.next() else {
            return Err(Error::new(ErrorKind::ModelInvalid, "not an ONNX model: it has no graph"));
        };
        if graphs.next().is_some() {
            return Err(Error::new(ErrorKind::ModelInvalid, "it has several graphs, expected one"));
        }
        if field.wire != WireType::Bytes {
            return Err(damaged(field.range.start, "the graph is not a message"));
        }
        let graph = Reader::within(bytes, field.payload.clone()).collect::<Result<Vec<Field>>>()?;
        Ok(Outline { model, graph, graph_index })
    }

    /// The fields of the model, without gaps from the first byte to the last.
    pub fn model(&self) -> &[Field] {
        &self.model
    }

    /// The fields of the graph, without gaps.
    pub fn graph(&self) -> &[Field] {
        &self.graph
    }

    /// Indices into [`Outline::graph`] of the fields with this number: the n-th is the n-th element of that list of
    /// the decoded graph.
    pub fn positions(&self, number: u32) -> impl Iterator<Item = usize> + '_ {
        self.graph.iter().enumerate().filter(move |(_, field)| field.number == number).map(|(index, _)| index)
    }

    /// A copy of the file in which the payloads of some of the graph's fields are replaced.
    ///
    /// `edits` maps an index into [`Outline::graph`] to the new payload (an encoded message). Everything else keeps
    /// its bytes, but for the length of the graph. Without edits the result equals `bytes`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` where an index is past the end, a field has no length to change, or `bytes` is not the file
    /// of this outline.
    pub fn splice(&self, bytes: &[u8], edits: &BTreeMap<usize, Vec<u8>>) -> Result<Vec<u8>> {
        let number = |index: usize| self.graph.get(index).map_or(0, |field| field.number);
        let edits = edits.iter().map(|(&index, payload)| (index, (number(index), payload.clone())));
        self.replace(bytes, &edits.collect())
    }

    /// As [`Outline::splice`], with a new number too: a node's field may become an initializer's, as the order of fields
    /// of different numbers means nothing.
    ///
    /// # Errors
    ///
    /// As [`Outline::splice`].
    pub fn replace(&self, bytes: &[u8], edits: &BTreeMap<usize, (u32, Vec<u8>)>) -> Result<Vec<u8>> {
        let graph_field =
            self.model.get(self.graph_index).ok_or_else(|| Error::internal("outline without graph"))?;
        if self.model.last().map_or(0, |field| field.range.end) != bytes.len() {
            return Err(Error::invalid(format!(
                "the outline is not that of this file of {} bytes",
                bytes.len()
            )));
        }
        let mut graph = Vec::with_capacity(graph_field.payload.len());
        let mut copied = graph_field.payload.start;
        for (&index, (number, payload)) in edits {
            let field = match self.graph.get(index) {
                Some(field) if field.wire == WireType::Bytes => field,
                _ => return Err(Error::invalid(format!("field {index} of the graph cannot be replaced"))),
            };
            graph.extend_from_slice(&bytes[copied..field.range.start]);
            append(&mut graph, bytes, field, *number, payload);
            copied = field.range.end;
        }
        graph.extend_from_slice(&bytes[copied..graph_field.payload.end]);
        let mut file = Vec::with_capacity(bytes.len() - graph_field.payload.len() + graph.len() + 10);
        file.extend_from_slice(&bytes[..graph_field.range.start]);
        append(&mut file, bytes, graph_field, graph_field.number, &graph);
        file.extend_from_slice(&bytes[graph_field.range.end..]);
        Ok(file)
    }
}

/// An error about the byte `at` of a file that is no sound protobuf.
pub(crate) fn damaged(at: usize, what: &str) -> Error {
    Error::new(ErrorKind::ModelInvalid, format!("damaged, or not an ONNX model: at byte {at} {what}"))
}

/// Appends `field` with another payload; where number and length are the same, its (perhaps unusual) spelling is kept.
fn append(to: &mut Vec<u8>, bytes: &[u8], field: &Field, number: u32, payload: &[u8]) {
    if number == field.number && payload.len() == field.payload.len() {
        to.extend_from_slice(&bytes[field.range.start..field.payload.start]);
    } else {
        prost::encoding::encode_varint(u64::from(number) << 3 | 2, to);
        prost::encoding::encode_varint(payload.len() as u64, to);
    }
    to.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Field>> {
        Reader::new(bytes).collect()
    }

    fn message(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn fields_of_every_wire_type_have_their_ranges() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'o', b'k', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let fields = read(&bytes).unwrap();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(
            fields.iter().map(|field| field.range.clone()).collect::<Vec<_>>(),
            [0..3, 3..7, 7..12, 12..21]
        );
        assert_eq!(&bytes[fields[1].payload.clone()], b"ok");
        assert_eq!(fields[2].payload, 8..12);
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        assert!(message(&[0x08]).contains("ends within a number"));
        assert!(message(&[0x08, 0x80]).contains("ends within a number"));
        assert!(message(&[&[0x08][..], &[0xff; 9], &[0x02]].concat()).contains("more than 64 bits"));
        assert!(read(&[&[0x08][..], &[0xff; 9], &[0x01]].concat()).is_ok());
        assert!(message(&[&[0x08][..], &[0x80; 10], &[0x01]].concat()).contains("more than 64 bits"));
        assert!(message(&[0x12, 3, 1, 2]).contains("a field of 3 bytes where 2 are left"));
        assert!(message(&[&[0x12][..], &[0xff; 9], &[0x01]].concat()).contains("where 0 are left"));
        assert!(message(&[0x02, 0]).contains("field number 0"));
        assert!(message(&[0x13]).contains("group"));
        assert!(message(&[0x14]).contains("group"));
        assert!(message(&[0x16]).contains("wire type 6"));
        assert!(message(&[0x1d, 1, 2]).contains("4 bytes where 2"));
    }

    #[test]
    fn a_reader_ends_after_an_error_and_stays_within_its_message() {
        let mut reader = Reader::new(&[0x13, 0x08, 0x01]);
        assert!(reader.next().unwrap().is_err());
        assert!(reader.next().is_none());
        // The length 4 fits the file but not the message of 3 bytes around it.
        let bytes = [0x0a, 3, 0x12, 4, 0, 0, 0, 0];
        assert!(Reader::within(&bytes, 2..5).collect::<Result<Vec<_>>>().is_err());
    }

    /// ir_version, then a graph with a node, an initializer, an unknown field and an oddly spelled length.
    const FILE: &[u8] = &[
        0x08, 8, 0x3a, 0x90, 0x00, 0x0a, 2, 0x22, 0, 0x2a, 0x84, 0x80, 0x00, 0x42, 2, b'w', b'0', 0xfa, 0x06,
        1, b'?', 0x28, 1, 0x42, 0,
    ];

    #[test]
    fn ranges_cover_the_file_and_splicing_nothing_reproduces_it() {
        let outline = Outline::read(FILE).unwrap();
        let mut copy = Vec::new();
        for field in outline.model() {
            assert_eq!(field.range.start, copy.len());
            copy.extend_from_slice(&FILE[field.range.clone()]);
        }
        assert_eq!(copy, FILE);
        assert_eq!(outline.splice(FILE, &BTreeMap::new()).unwrap(), FILE);
        let index = outline.positions(GRAPH_INITIALIZER).next().unwrap();
        let same = FILE[outline.graph()[index].payload.clone()].to_vec();
        assert_eq!(outline.splice(FILE, &BTreeMap::from([(index, same)])).unwrap(), FILE);
    }

    #[test]
    fn splicing_changes_only_the_field_and_the_lengths_around_it() {
        let outline = Outline::read(FILE).unwrap();
        let index = outline.positions(GRAPH_INITIALIZER).next().unwrap();
        let longer = vec![0x42, 5, b'w', b'0', b'0', b'0', b'0'];
        let file = outline.splice(FILE, &BTreeMap::from([(index, longer.clone())])).unwrap();
        let again = Outline::read(&file).unwrap();
        assert_eq!(&file[again.graph()[index].payload.clone()], longer);
        for (old, new) in outline.graph().iter().zip(again.graph()) {
            assert_eq!(old.number, new.number);
            if old.number != GRAPH_INITIALIZER {
                assert_eq!(FILE[old.range.clone()], file[new.range.clone()]);
            }
        }
        assert_eq!(file[file.len() - 2..], FILE[FILE.len() - 2..]);
        assert!(outline.splice(&FILE[1..], &BTreeMap::new()).is_err());
        assert!(outline.splice(FILE, &BTreeMap::from([(99, Vec::new())])).is_err());
    }

    #[test]
    fn a_node_becomes_an_initializer_in_its_place() {
        let outline = Outline::read(FILE).unwrap();
        let index = outline.positions(GRAPH_NODE).next().unwrap();
        let tensor = vec![0x42, 1, b'v'];
        let edits = BTreeMap::from([(index, (GRAPH_INITIALIZER, tensor.clone()))]);
        let file = outline.replace(FILE, &edits).unwrap();
        let again = Outline::read(&file).unwrap();
        assert_eq!(again.positions(GRAPH_NODE).count(), 0);
        assert_eq!(&file[again.graph()[index].payload.clone()], tensor);
        assert_eq!(again.graph()[index + 1..].len(), outline.graph()[index + 1..].len());
        assert_eq!(file[file.len() - 2..], FILE[FILE.len() - 2..]);
    }

    #[test]
    fn a_file_has_one_graph() {
        assert!(Outline::read(&[0x08, 8]).unwrap_err().to_string().contains("no graph"));
        assert!(Outline::read(&[]).is_err());
        assert!(Outline::read(&[0x3a, 0, 0x3a, 0]).unwrap_err().to_string().contains("several graphs"));
        assert!(Outline::read(&[0x38, 1]).is_err());
    }
}
