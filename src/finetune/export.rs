//! The finetuned model as a file.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Tags;
use crate::onnx::graph::{Constant, ValueType};
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::wire::{GRAPH_INITIALIZER, GRAPH_NODE};
use crate::onnx::{Document, ElementType, with_metadata, within_protobuf};
use crate::weights::tensors::{Elements, NamedTensor, Tensors};

/// Key of the note in the file's metadata.
pub const NOTE_KEY: &str = "glebe.finetuned";

/// The file with new elements for the named tensors, and in its metadata `note` and what `tags` say; a note and tags of
/// before go.
///
/// # Errors
/// As [`with_elements`].
pub(super) fn export(
    document: &Document,
    untied: &[(String, String)],
    weights: &Tensors,
    note: &str,
    tags: &Tags,
) -> Result<Vec<u8>> {
    let mut entries = vec![(NOTE_KEY.to_owned(), note.to_owned())];
    entries.extend(tags.entries());
    with_metadata(&with_elements(document, untied, weights)?, &entries, &tags.replaced())
}

/// The file with new elements for the named tensors, in their own type.
///
/// Three things change and nothing else: the initializers among `weights`; the nodes of `untied` (see [`Graph::untied`]),
/// Identities of such initializers, each of which becomes an initializer of the name of its output; and initializers
/// that are in other files, which come into this one, so that it can be moved alone.
///
/// [`Graph::untied`]: crate::onnx::graph::Graph::untied
///
/// # Errors
/// `Internal` for a name that the file does not have; `ModelUnsupported` for an initializer of another type than
/// floating point; `LimitExceeded` from 2 GiB on.
pub(super) fn with_elements(
    document: &Document,
    untied: &[(String, String)],
    weights: &Tensors,
) -> Result<Vec<u8>> {
    let (graph, outline) = (document.graph(), document.outline());
    let mut edits: BTreeMap<usize, (u32, Vec<u8>)> = BTreeMap::new();
    let mut left: BTreeSet<&str> = weights.keys().map(String::as_str).collect();
    let mut put = |position: usize, tensor: TensorProto| {
        edits.insert(position, (GRAPH_INITIALIZER, tensor.encode_to_vec()));
    };
    for (tensor, position) in graph.initializer.iter().zip(outline.positions(GRAPH_INITIALIZER)) {
        if let Some(new) = weights.get(&tensor.name) {
            left.remove(tensor.name.as_str());
            put(position, replaced(tensor, new)?);
        } else if tensor.is_external() {
            put(position, inside(document, tensor)?);
        }
    }
    for (node, position) in graph.node.iter().zip(outline.positions(GRAPH_NODE)) {
        let Some((name, initializer)) = untied.iter().find(|(name, _)| gives(node, name)) else { continue };
        let tensor = graph.initializer(initializer).ok_or_else(|| missing(initializer))?;
        let own = match weights.get(name) {
            Some(new) => replaced(tensor, new)?,
            // It stays what it was where the other changes.
            None if weights.contains_key(initializer) => inside(document, tensor)?,
            None => continue,
        };
        left.remove(name.as_str());
        put(position, TensorProto { name: name.clone(), ..own });
    }
    if let Some(name) = left.first() {
        return Err(missing(name));
    }
    within_protobuf(outline.replace(document.bytes(), &edits)?)
}

fn missing(name: &str) -> Error {
    Error::internal(format!("{name:?} is no initializer of the file"))
}

/// Whether the node is the Identity that gives `name`.
fn gives(node: &NodeProto, name: &str) -> bool {
    node.is("Identity") && node.output.first().is_some_and(|output| output == name)
}

/// The tensor with its elements in the file, wherever they are now.
fn inside(document: &Document, tensor: &TensorProto) -> Result<TensorProto> {
    if !tensor.is_external() {
        return Ok(tensor.clone());
    }
    let raw = document.resolve_external(tensor)?;
    let (data_location, external_data) = (0, Vec::new());
    Ok(TensorProto { raw_data: Some(raw), data_location, external_data, ..tensor.clone() })
}

/// The tensor with other elements, which lie in the file now.
fn replaced(tensor: &TensorProto, new: &NamedTensor) -> Result<TensorProto> {
    let NamedTensor { shape, elements: Elements::F32(values) } = new else {
        return Err(Error::internal("a weight that is not float32"));
    };
    let element = tensor.element_type().filter(|element| element.is_float());
    let element = element.ok_or_else(|| {
        Error::new(ErrorKind::ModelUnsupported, "only floating point initializers are trained")
            .at_tensor(&tensor.name)
    })?;
    let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    let constant = match element {
        ElementType::Float32 => Constant::from_f32(shape.as_slice(), values)?,
        _ => Constant::from_f64(ValueType::new(element, shape.as_slice()), &wide)?,
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
