//! The finetuned model as a file.

use std::collections::BTreeMap;

use prost::Message;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Constant, ValueType};
use crate::onnx::proto::{StringStringEntryProto, TensorProto};
use crate::onnx::wire::GRAPH_INITIALIZER;
use crate::onnx::{Document, ElementType};
use crate::weights::tensors::{Elements, NamedTensor, Tensors};

/// Key of the note in the file's metadata.
pub const NOTE_KEY: &str = "glebe.finetuned";

/// Number of the field of a model that holds an entry of its metadata.
const MODEL_METADATA: u32 = 14;

/// The file with new elements for the named initializers (in their own type) and `note` in its metadata. Everything else
/// keeps its bytes.
///
/// # Errors
/// `Internal` for a name that the file does not have; `ModelUnsupported` for an initializer of another type than
/// floating point.
pub(super) fn export(document: &Document, weights: &Tensors, note: &str) -> Result<Vec<u8>> {
    let positions: Vec<usize> = document.outline().positions(GRAPH_INITIALIZER).collect();
    let mut edits: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut left: Vec<&String> = weights.keys().collect();
    for (tensor, position) in document.graph().initializer.iter().zip(positions) {
        let Some(NamedTensor { shape, elements: Elements::F32(values) }) = weights.get(&tensor.name) else {
            continue;
        };
        left.retain(|name| **name != tensor.name);
        edits.insert(position, replaced(tensor, shape, values)?.encode_to_vec());
    }
    if let Some(name) = left.first() {
        return Err(Error::internal(format!("{name:?} is no initializer of the file")));
    }
    let mut bytes = document.outline().splice(document.bytes(), &edits)?;
    // An entry at the end of the message is one more of the list.
    let entry = StringStringEntryProto { key: NOTE_KEY.to_owned(), value: note.to_owned() };
    prost::encoding::message::encode(MODEL_METADATA, &entry, &mut bytes);
    Ok(bytes)
}

/// The tensor with other elements, which lie in the file now.
fn replaced(tensor: &TensorProto, shape: &[usize], values: &[f32]) -> Result<TensorProto> {
    let element = tensor.element_type().filter(|element| element.is_float());
    let element = element.ok_or_else(|| {
        Error::new(ErrorKind::ModelUnsupported, "only floating point initializers are trained")
            .at_tensor(&tensor.name)
    })?;
    let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    let constant = match element {
        ElementType::Float32 => Constant::from_f32(shape, values)?,
        _ => Constant::from_f64(ValueType::new(element, shape), &wide)?,
    };
    let mut new = tensor.clone();
    new.float_data.clear();
    new.int32_data.clear();
    new.double_data.clear();
    new.external_data.clear();
    new.data_location = 0;
    new.raw_data = Some(constant.bytes().clone());
    Ok(new)
}
