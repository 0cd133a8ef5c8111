//! Sequences of tensors, which exist between a split and the choice of its parts only.

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::graph::{Node, ValueId};
use crate::onnx::proto::{AttributeProto, NodeProto};
use crate::onnx::specialise::Import;

/// Takes a node that makes or reads a sequence; false for any other. `SplitToSequence` becomes a Split, `SequenceAt` one
/// of its parts.
///
/// # Errors
/// `ModelUnsupported` where sizes or places depend on data; `ModelInvalid` for a part that is not there.
pub(super) fn take(import: &mut Import<'_>, node: &NodeProto) -> Result<bool> {
    let Some(name) = node.output.first().filter(|name| !name.is_empty()) else { return Ok(false) };
    if node.is("SplitToSequence") {
        let parts = split(import, node)?;
        import.sequences.insert(name.clone(), parts);
    } else if node.is("SequenceConstruct") {
        let parts =
            node.input.iter().map(|input| import.operand(input)).collect::<Result<Option<Vec<_>>>>()?;
        import.sequences.insert(name.clone(), parts.ok_or_else(|| invalid("an input is left out"))?);
    } else if node.is("SequenceAt") {
        let part = at(import, node)?;
        import.bind(name, Some(part));
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ModelInvalid, message.into())
}

fn known(import: &mut Import<'_>, name: &str, what: &str) -> Result<Option<Vec<i64>>> {
    let Some(id) = import.operand(name)? else { return Ok(None) };
    let known = import.graph.known(id).and_then(|constant| constant.to_ints());
    let unknown = || Error::new(ErrorKind::ModelUnsupported, format!("{what} depends on data"));
    known.map(Some).ok_or_else(unknown)
}

fn split(import: &mut Import<'_>, node: &NodeProto) -> Result<Vec<ValueId>> {
    let first = node.input.first().map(String::as_str).unwrap_or_default();
    let x = import.operand(first)?.ok_or_else(|| invalid("the input is left out"))?;
    let shape = import.graph.shape(x).to_vec();
    let number =
        |name: &str, default: i64| node.attribute(name).and_then(|attribute| attribute.i).unwrap_or(default);
    let axis = number("axis", 0);
    let place = if axis < 0 { axis + shape.len() as i64 } else { axis };
    let length = usize::try_from(place).ok().and_then(|place| shape.get(place)).copied();
    let length = length.ok_or_else(|| invalid(format!("axis {axis} of shape {shape:?}")))? as i64;
    let given = node.input.get(1).cloned().unwrap_or_default();
    let sizes_known = known(import, &given, "the sizes of the parts")?;
    let is_list = match import.operand(&given)? {
        Some(id) => !import.graph.shape(id).is_empty(),
        None => false,
    };
    let squeezed = sizes_known.is_none() && number("keepdims", 1) == 0;
    let sizes = match sizes_known {
        Some(sizes) if is_list => sizes,
        // One number: parts of that size, the last of what is left.
        other => {
            let each = other.and_then(|sizes| sizes.first().copied()).unwrap_or(1);
            if each < 1 {
                return Err(invalid(format!("parts of size {each}")));
            }
            (0..length).step_by(each as usize).map(|start| each.min(length - start)).collect()
        }
    };
    let lengths = import.graph.ints(&sizes)?;
    let mut made = Node::new("Split");
    made.inputs = vec![Some(x), Some(lengths)];
    made.attributes = vec![AttributeProto::int("axis", place)];
    let parts = import.graph.add(made, &vec![Some(""); sizes.len()])?;
    let mut found = Vec::with_capacity(parts.len());
    for part in parts.into_iter().flatten() {
        found.push(match squeezed {
            true => {
                let axes = import.graph.ints(&[place])?;
                import.graph.op("Squeeze", &[part, axes], &[])?
            }
            false => part,
        });
    }
    Ok(found)
}

fn at(import: &mut Import<'_>, node: &NodeProto) -> Result<ValueId> {
    let [sequence, index] = &node.input[..] else { return Err(invalid("expected a sequence and a place")) };
    let index = known(import, index, "the place in the sequence")?;
    let Some(&[index]) = index.as_deref() else { return Err(invalid("expected one place")) };
    let parts = import.sequences.get(sequence).ok_or_else(|| {
        Error::new(ErrorKind::ModelUnsupported, "this sequence is not one that a split of the graph makes")
    })?;
    let place = if index < 0 { index + parts.len() as i64 } else { index };
    let part = usize::try_from(place).ok().and_then(|place| parts.get(place));
    part.copied().ok_or_else(|| invalid(format!("part {index} of {}", parts.len())))
}

#[cfg(test)]
mod tests {
    use crate::onnx::{Document, ElementType, GraphBuilder, Limits, specialise};

    /// `x [7, 2]` split into 3, 4; 2, 2, 2, 1; or rows, of which part -1 is taken.
    fn last(split: Option<(&[i64], &[i64])>, keep: i64) -> Vec<usize> {
        let mut graph = GraphBuilder::new("parts");
        let x = graph.input("x", ElementType::Float32, &[7.into(), 2.into()]);
        let sizes = split.map(|(dims, sizes)| graph.initializer_i64("sizes", dims, sizes));
        let index = graph.initializer_i64("index", &[], &[-1]);
        let inputs: Vec<&str> = std::iter::once(x.as_str()).chain(sizes.as_deref()).collect();
        let parts =
            graph.node("SplitToSequence", &inputs).int("axis", 0).int("keepdims", keep).output("parts");
        let part = graph.node("SequenceAt", &[&parts, &index]).output("part");
        let y = graph.node("Relu", &[&part]).output("y");
        graph.output(&y, ElementType::Float32, &[]);
        let document = Document::from_bytes(graph.finish().unwrap(), &Limits::default()).unwrap();
        let made = specialise(&document, &Default::default(), None).unwrap();
        made.shape(made.outputs()[0]).to_vec()
    }

    #[test]
    fn parts_of_splits_are_found() {
        assert_eq!(last(Some((&[2], &[3, 4])), 1), [4, 2]);
        assert_eq!(last(Some((&[], &[2])), 1), [1, 2]);
        assert_eq!(last(None, 1), [1, 2]);
        assert_eq!(last(None, 0), [2]);
    }
}
