//! The check of every constant tensor of a model: sizes that fit the bytes, and the limits.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ElementType;
use crate::onnx::external::External;
use crate::onnx::limits::Limits;
use crate::onnx::proto::{
    AttributeProto, DataLocation, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
};
use crate::onnx::scan::exceeded;
use crate::onnx::short;

/// Something that holds tensors.
enum Holder<'a> {
    Graph(&'a GraphProto),
    Nodes(&'a [NodeProto]),
    Attributes(&'a str, &'a [AttributeProto]),
}

/// Checks all tensors of all graphs, functions and attributes; `folder` is where files with weights may be.
pub(crate) fn check(model: &ModelProto, limits: &Limits, folder: Option<&Path>) -> Result<()> {
    let mut check = Check { limits, folder, bytes: 0 };
    let mut todo = Vec::new();
    todo.extend(model.graph.as_deref().map(Holder::Graph));
    for training in &model.training_info {
        todo.extend(
            [&training.initialization, &training.algorithm].into_iter().flatten().map(|g| Holder::Graph(g)),
        );
    }
    for function in &model.functions {
        todo.push(Holder::Nodes(&function.node));
        todo.push(Holder::Attributes(&function.name, &function.attribute_proto));
    }
    while let Some(holder) = todo.pop() {
        match holder {
            Holder::Graph(graph) => {
                for tensor in &graph.initializer {
                    check.tensor(tensor).map_err(|error| error.at_tensor(short(&tensor.name)))?;
                }
                for sparse in &graph.sparse_initializer {
                    check.sparse(sparse).map_err(|error| error.at_tensor("sparse initializer"))?;
                }
                todo.push(Holder::Nodes(&graph.node));
            }
            Holder::Nodes(nodes) => {
                todo.extend(nodes.iter().map(|node| {
                    let name = if node.name.is_empty() { &node.op_type } else { &node.name };
                    Holder::Attributes(name, &node.attribute)
                }));
            }
            Holder::Attributes(owner, attributes) => {
                for attribute in attributes {
                    let place = |error: Error| {
                        error.at_tensor(format!("{}.{}", short(owner), short(&attribute.name)))
                    };
                    for tensor in attribute.t.as_deref().into_iter().chain(&attribute.tensors) {
                        check.tensor(tensor).map_err(place)?;
                    }
                    for sparse in
                        attribute.sparse_tensor.as_deref().into_iter().chain(&attribute.sparse_tensors)
                    {
                        check.sparse(sparse).map_err(place)?;
                    }
                    todo.extend(attribute.subgraphs().map(Holder::Graph));
                }
            }
        }
    }
    Ok(())
}

/// The known type of a tensor.
pub(crate) fn element_type(tensor: &TensorProto) -> Result<ElementType> {
    tensor.element_type().ok_or_else(|| match tensor.data_type {
        ..=0 => invalid(format!("data type {} does not exist", tensor.data_type)),
        number => Error::new(
            ErrorKind::ModelUnsupported,
            format!("data type {number} is not known, expected 1 to {}", ElementType::ALL.len()),
        ),
    })
}

struct Check<'a> {
    limits: &'a Limits,
    folder: Option<&'a Path>,
    bytes: u64,
}

impl Check<'_> {
    fn tensor(&mut self, tensor: &TensorProto) -> Result<()> {
        let element = element_type(tensor)?;
        let elements = self.elements(&tensor.dims)?;
        self.count(element, elements)?;
        if tensor.segment.is_some() {
            return Err(Error::new(ErrorKind::ModelUnsupported, "a tensor in pieces cannot be read"));
        }
        match DataLocation::try_from(tensor.data_location) {
            Ok(DataLocation::Default) if tensor.external_data.is_empty() => {
                elements_inside(tensor, element, elements)
            }
            // Readers differ in what makes a tensor external, so it has to be clear.
            Ok(DataLocation::Default) => {
                Err(invalid("external data is given for a tensor not marked as external"))
            }
            Ok(DataLocation::External) => self.elements_outside(tensor, element, elements),
            Err(_) => Err(invalid(format!("data location {} does not exist", tensor.data_location))),
        }
    }

    fn elements_outside(&self, tensor: &TensorProto, element: ElementType, elements: u64) -> Result<()> {
        if !self.limits.external_data {
            return Err(Error::new(ErrorKind::LimitExceeded, "external data is not allowed here"));
        }
        if tensor.raw_data.as_ref().is_some_and(|raw| !raw.is_empty())
            || lists(tensor).iter().any(|&(_, len)| len > 0)
        {
            return Err(invalid("a tensor with external data has elements in the model file too"));
        }
        let Some(needed) = element.packed_bytes(elements) else {
            return Err(invalid("strings cannot be external data"));
        };
        let external = External::of(tensor, needed)?;
        let Some(folder) = self.folder else {
            return Err(Error::new(
                ErrorKind::ModelUnsupported,
                "weights in another file need the model to be opened by its path, not from bytes",
            ));
        };
        external.open(folder).map(drop)
    }

    fn sparse(&mut self, sparse: &SparseTensorProto) -> Result<()> {
        let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
            return Err(invalid("a sparse tensor without values or indices"));
        };
        self.tensor(values)?;
        self.tensor(indices)?;
        let elements = self.elements(&sparse.dims)?;
        self.count(element_type(values)?, elements)?;
        let rank = sparse.dims.len();
        let wide = match (&values.dims[..], &indices.dims[..]) {
            ([values], [indices]) if values == indices => false,
            ([values], [indices, width]) if values == indices && *width == rank as i64 => true,
            _ => return Err(invalid("the shapes of values and indices of a sparse tensor do not fit")),
        };
        let positions = match element_type(indices)? {
            ElementType::Int64 => indices.to_i64(),
            other => return Err(invalid(format!("expected int64 indices of a sparse tensor, got {other}"))),
        };
        let Some(positions) = positions else {
            return Err(Error::new(
                ErrorKind::ModelUnsupported,
                "indices of a sparse tensor in another file",
            ));
        };
        let inside = |(index, &position): (usize, &i64)| {
            let limit = if wide { sparse.dims[index % rank.max(1)] } else { elements as i64 };
            (0..limit).contains(&position)
        };
        match positions.iter().enumerate().all(inside) {
            true => Ok(()),
            false => Err(invalid("an index of a sparse tensor is outside of its shape")),
        }
    }

    /// Number of elements, within the limit. Zeros do not excuse the other dimensions.
    fn elements(&self, dims: &[i64]) -> Result<u64> {
        let mut product = 1u64;
        for (axis, &dim) in dims.iter().enumerate() {
            let Ok(dim) = u64::try_from(dim) else {
                return Err(invalid(format!("dimension {axis} is {dim}, expected 0 or more")));
            };
            product = product.saturating_mul(dim.max(1));
        }
        exceeded("number of elements", product, self.limits.tensor_elements)?;
        Ok(if dims.contains(&0) { 0 } else { product })
    }

    fn count(&mut self, element: ElementType, elements: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_add(element.packed_bytes(elements).unwrap_or(0));
        exceeded("bytes of all tensors", self.bytes, self.limits.tensor_bytes)
    }
}

/// Checks that a tensor's own elements are as many as its shape says.
fn elements_inside(tensor: &TensorProto, element: ElementType, elements: u64) -> Result<()> {
    let (list, entries) = typed_list(element, elements);
    for (name, len) in lists(tensor) {
        if len > 0 && name != list {
            return Err(invalid(format!(
                "elements of type {element} in {name}, expected raw_data or {list}"
            )));
        }
        if name == list && len > 0 && tensor.raw_data.is_some() {
            return Err(invalid(format!("elements in raw_data and in {list}, expected one of them")));
        }
        if name == list && tensor.raw_data.is_none() && len as u64 != entries {
            let shape = &tensor.dims;
            return Err(invalid(format!(
                "expected {entries} entries for shape {shape:?}, got {len} in {list}"
            )));
        }
    }
    let Some(raw) = &tensor.raw_data else { return Ok(()) };
    match element.packed_bytes(elements) {
        None => Err(invalid("strings in raw_data, expected string_data")),
        Some(needed) if needed != raw.len() as u64 => Err(invalid(format!(
            "expected {needed} bytes for {element} of shape {:?}, got {} in raw_data",
            tensor.dims,
            raw.len()
        ))),
        Some(_) => Ok(()),
    }
}

/// The lists of typed elements and their lengths.
fn lists(tensor: &TensorProto) -> [(&'static str, usize); 6] {
    [
        ("float_data", tensor.float_data.len()),
        ("int32_data", tensor.int32_data.len()),
        ("string_data", tensor.string_data.len()),
        ("int64_data", tensor.int64_data.len()),
        ("double_data", tensor.double_data.len()),
        ("uint64_data", tensor.uint64_data.len()),
    ]
}

/// The list for elements of a type, and how many entries it has.
fn typed_list(element: ElementType, elements: u64) -> (&'static str, u64) {
    match element {
        ElementType::Float32 => ("float_data", elements),
        ElementType::Complex64 => ("float_data", elements.saturating_mul(2)),
        ElementType::Float64 => ("double_data", elements),
        ElementType::Complex128 => ("double_data", elements.saturating_mul(2)),
        ElementType::Int64 => ("int64_data", elements),
        ElementType::Uint32 | ElementType::Uint64 => ("uint64_data", elements),
        ElementType::String => ("string_data", elements),
        // Two or four elements share an entry.
        ElementType::Uint4 | ElementType::Int4 | ElementType::Float4E2M1 => {
            ("int32_data", elements.div_ceil(2))
        }
        ElementType::Uint2 | ElementType::Int2 => ("int32_data", elements.div_ceil(4)),
        _ => ("int32_data", elements),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ModelInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tensor: &TensorProto) -> Result<()> {
        Check { limits: &Limits::default(), folder: None, bytes: 0 }.tensor(tensor)
    }

    fn raw(element: ElementType, dims: &[i64], bytes: usize) -> TensorProto {
        TensorProto::raw("w", element, dims, vec![0; bytes])
    }

    #[test]
    fn bytes_must_fit_the_shape() {
        assert!(check(&raw(ElementType::Float32, &[2, 3], 24)).is_ok());
        assert!(check(&raw(ElementType::Float32, &[], 4)).is_ok());
        assert!(check(&raw(ElementType::Float32, &[0, 5], 0)).is_ok());
        assert!(check(&raw(ElementType::Int4, &[5], 3)).is_ok());
        let error = check(&raw(ElementType::Float32, &[2, 3], 20)).unwrap_err();
        assert_eq!(error.message(), "expected 24 bytes for float32 of shape [2, 3], got 20 in raw_data");
        let missing = TensorProto { raw_data: None, ..raw(ElementType::Float32, &[2, 3], 0) };
        assert!(
            check(&missing).unwrap_err().message().contains("expected 6 entries for shape [2, 3], got 0")
        );
    }

    #[test]
    fn typed_lists_must_be_the_right_ones() {
        let base = TensorProto { dims: vec![2], data_type: 1, ..TensorProto::default() };
        assert!(check(&TensorProto { float_data: vec![1.0; 2], ..base.clone() }).is_ok());
        assert!(check(&TensorProto { float_data: vec![1.0; 3], ..base.clone() }).is_err());
        assert!(check(&TensorProto { int64_data: vec![1; 2], ..base.clone() }).is_err());
        let both =
            TensorProto { float_data: vec![1.0; 2], raw_data: Some(vec![0; 8].into()), ..base.clone() };
        assert!(check(&both).unwrap_err().message().contains("expected one of them"));
        assert!(check(&TensorProto { data_type: 14, float_data: vec![1.0; 4], ..base.clone() }).is_ok());
        assert!(check(&TensorProto { data_type: 10, int32_data: vec![1; 2], ..base.clone() }).is_ok());
        assert!(check(&TensorProto { data_type: 21, int32_data: vec![1; 1], ..base.clone() }).is_ok());
        assert!(check(&TensorProto { data_type: 8, raw_data: Some(vec![0; 2].into()), ..base }).is_err());
    }

    #[test]
    fn sizes_are_counted_without_wrapping() {
        for dims in
            [&[i64::MAX, 2][..], &[1 << 32, 1 << 32], &[1 << 62, 4, 0], &[0, i64::MAX, 3], &[(1 << 30) + 1]]
        {
            assert_eq!(
                check(&raw(ElementType::Float32, dims, 0)).unwrap_err().kind(),
                ErrorKind::LimitExceeded
            );
        }
        let error = check(&raw(ElementType::Float32, &[2, -1], 0)).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::ModelInvalid, "dimension 1 is -1, expected 0 or more")
        );
    }

    #[test]
    fn every_type_of_the_reference_package_is_understood() {
        use prost::Message;
        let model = ModelProto::decode(&crate::onnx::golden("every_type")[..]).unwrap();
        let graph = model.graph.as_ref().unwrap();
        for (number, &element) in (1..).zip(ElementType::ALL) {
            let tensors = graph.initializer.iter().filter(|tensor| tensor.data_type == number);
            let expected = if element == ElementType::String { 1 } else { 2 };
            assert_eq!(tensors.clone().count(), expected, "{element}");
            for tensor in tensors {
                let name = tensor.name.to_lowercase().replace("double", "float64");
                let name = if number == 1 { name.replace("float", "float32") } else { name };
                assert_eq!(name.split('_').next(), Some(element.name()));
                check(tensor).unwrap();
                let mut short = tensor.clone();
                short.dims = vec![10];
                assert!(check(&short).is_err(), "{}", tensor.name);
            }
        }
        super::check(&model, &Limits::default(), None).unwrap();
    }

    #[test]
    fn tensors_are_found_wherever_they_are() {
        use crate::onnx::proto::{FunctionProto, TrainingInfoProto};
        let bad = || raw(ElementType::Float32, &[2], 4);
        let attribute = || AttributeProto::tensor("value", bad());
        let with = |attribute| NodeProto { attribute: vec![attribute], ..NodeProto::default() };
        let body = |node| GraphProto { node: vec![node], ..GraphProto::default() };
        let nested = body(with(AttributeProto::graph("body", body(with(attribute())))));
        let listed = AttributeProto { tensors: vec![bad()], ..AttributeProto::default() };
        let sparse = SparseTensorProto { values: Some(Box::new(bad())), ..SparseTensorProto::default() };
        let graphs = [
            GraphProto { initializer: vec![bad()], ..GraphProto::default() },
            GraphProto { sparse_initializer: vec![sparse.clone()], ..GraphProto::default() },
            body(with(attribute())),
            body(with(listed)),
            body(with(AttributeProto { sparse_tensors: vec![sparse], ..AttributeProto::default() })),
            nested.clone(),
            body(with(AttributeProto { graphs: vec![nested], ..AttributeProto::default() })),
        ];
        let check = |model: ModelProto| super::check(&model, &Limits::default(), None);
        for graph in graphs {
            let training =
                TrainingInfoProto { algorithm: Some(Box::new(graph.clone())), ..Default::default() };
            assert!(check(ModelProto { training_info: vec![training], ..Default::default() }).is_err());
            assert!(check(ModelProto { graph: Some(Box::new(graph)), ..Default::default() }).is_err());
        }
        for function in [
            FunctionProto { node: vec![with(attribute())], ..Default::default() },
            FunctionProto { attribute_proto: vec![attribute()], ..Default::default() },
        ] {
            assert!(check(ModelProto { functions: vec![function], ..Default::default() }).is_err());
        }
    }

    #[test]
    fn unknown_types_and_places_are_told_apart() {
        let typed = |data_type| TensorProto { data_type, ..raw(ElementType::Float32, &[1], 4) };
        assert_eq!(check(&typed(0)).unwrap_err().kind(), ErrorKind::ModelInvalid);
        assert_eq!(check(&typed(-1)).unwrap_err().kind(), ErrorKind::ModelInvalid);
        assert_eq!(check(&typed(29)).unwrap_err().kind(), ErrorKind::ModelUnsupported);
        let nowhere = TensorProto { data_location: 2, ..raw(ElementType::Float32, &[1], 4) };
        assert_eq!(check(&nowhere).unwrap_err().kind(), ErrorKind::ModelInvalid);
        let piece = TensorProto { segment: Some(Default::default()), ..raw(ElementType::Float32, &[1], 4) };
        assert_eq!(check(&piece).unwrap_err().kind(), ErrorKind::ModelUnsupported);
    }

    #[test]
    fn sparse_tensors_point_into_their_shape() {
        let sparse = |indices: &[i64], index_dims: &[i64], dims: &[i64]| {
            let sparse = SparseTensorProto {
                values: Some(Box::new(TensorProto::from_f32("s", &[2], &[1.0, 2.0]))),
                indices: Some(Box::new(TensorProto::from_i64("", index_dims, indices))),
                dims: dims.to_vec(),
            };
            Check { limits: &Limits::default(), folder: None, bytes: 0 }.sparse(&sparse)
        };
        assert!(sparse(&[0, 11], &[2], &[3, 4]).is_ok());
        assert!(sparse(&[0, 12], &[2], &[3, 4]).is_err());
        assert!(sparse(&[0, -1], &[2], &[3, 4]).is_err());
        assert!(sparse(&[0, 0, 2, 3], &[2, 2], &[3, 4]).is_ok());
        assert!(sparse(&[0, 0, 3, 3], &[2, 2], &[3, 4]).is_err());
        assert!(sparse(&[0, 0, 3], &[3], &[3, 4]).is_err());
        let error = sparse(&[0, 1], &[2], &[1 << 40, 1 << 40]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    }
}
