//! The messages of an ONNX file.
//!
//! Written by hand from the field numbers of the ONNX specification (IR version 14 and before), so that building the
//! crate needs no protobuf compiler. Names are the specification's, but for fields that are Rust keywords.
//!
//! * Fields that a file may lack are `Option` where absence means something (an attribute's value, a tensor's
//!   bytes); elsewhere absence is the empty string, list or zero, and such a value is not written.
//! * Numbers of enumerations stay `i32` in the fields: a file may hold numbers that this version does not know.
//! * Bytes of tensors are [`Bytes`]: decoding out of a `Bytes` shares its memory and copies nothing.
//! * Unknown fields are dropped by decoding. To change a file and keep everything else, splice it
//!   ([`crate::onnx::wire`]) rather than encode it anew.
//!
//! Placement on several devices (`device_configurations` of a node, `configuration` of a model) is not represented.

mod attribute;
mod tensor;
mod types;

pub use attribute::{AttributeProto, AttributeType};
pub use prost::bytes::Bytes;
pub use tensor::{DataLocation, Segment, SparseTensorProto, TensorProto};
pub use types::{
    Dimension, DimensionValue, MapType, OpaqueType, OptionalType, SequenceType, SparseTensorType,
    TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};

/// A whole file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelProto {
    /// Version of the file format (not of the operators).
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// The tool that wrote the file.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Version of that tool.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// Reverse domain name of the model's owner.
    #[prost(string, tag = "4")]
    pub domain: String,
    /// Version of the model itself.
    #[prost(int64, tag = "5")]
    pub model_version: i64,
    /// Text for people.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The network.
    #[prost(message, optional, boxed, tag = "7")]
    pub graph: Option<Box<GraphProto>>,
    /// The operator sets that the nodes are written in.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Key and value pairs of the producer.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// Training graphs (not used by this library).
    #[prost(message, repeated, tag = "20")]
    pub training_info: Vec<TrainingInfoProto>,
    /// Functions that nodes of the graph may call.
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<FunctionProto>,
}

impl ModelProto {
    /// Version of the operator set of `domain`; the standard operators' domain is the empty one, also written
    /// `ai.onnx`.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        opset(&self.opset_import, domain)
    }
}

/// One operator set and its version.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct OperatorSetIdProto {
    /// Domain; empty for the standard operators.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Version within the domain.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A key and its value.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct StringStringEntryProto {
    /// Key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A network or the body of a control-flow node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GraphProto {
    /// The computations; the specification wants every one after those whose results it uses.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// Name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Constants by name: the weights.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Text for people.
    #[prost(string, tag = "10")]
    pub doc_string: String,
    /// What the caller gives; before IR version 4 it lists the initializers as well.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// What the caller gets.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Types and shapes of values in between, as far as the producer wrote them.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfoProto>,
    /// Quantization parameters of values.
    #[prost(message, repeated, tag = "14")]
    pub quantization_annotation: Vec<TensorAnnotation>,
    /// Constants in sparse form.
    #[prost(message, repeated, tag = "15")]
    pub sparse_initializer: Vec<SparseTensorProto>,
    /// Key and value pairs of the producer.
    #[prost(message, repeated, tag = "16")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

impl GraphProto {
    /// The (dense) initializer of this name.
    pub fn initializer(&self, name: &str) -> Option<&TensorProto> {
        self.initializer.iter().find(|tensor| tensor.name == name)
    }

    /// The node that produces the value of this name; O(nodes).
    pub fn producer(&self, value: &str) -> Option<&NodeProto> {
        self.node.iter().find(|node| node.output.iter().any(|output| output == value))
    }

    /// What the file says about the type of a value of this name.
    pub fn value_info(&self, name: &str) -> Option<&ValueInfoProto> {
        self.value_info.iter().chain(&self.input).chain(&self.output).find(|value| value.name == name)
    }
}

/// One computation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeProto {
    /// Names of the values used; an empty name stands for an optional input left out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values produced; an empty name stands for an output nobody wants.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Name; may be empty and need not be unique.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Named constants of the operator.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// Text for people.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The operator's domain; empty for the standard operators.
    #[prost(string, tag = "7")]
    pub domain: String,
    /// Which of several functions of one name is meant.
    #[prost(string, tag = "8")]
    pub overload: String,
    /// Key and value pairs of the producer.
    #[prost(message, repeated, tag = "9")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

impl NodeProto {
    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// The whole-number attribute of this name.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).and_then(|attribute| attribute.i)
    }

    /// Whether this is the standard operator `op_type`.
    pub fn is(&self, op_type: &str) -> bool {
        self.op_type == op_type && is_default_domain(&self.domain)
    }

    /// The name of the `index`-th input, unless it is left out.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// A function: a named body of nodes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FunctionProto {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Names of the parameters.
    #[prost(string, repeated, tag = "4")]
    pub input: Vec<String>,
    /// Names of the results.
    #[prost(string, repeated, tag = "5")]
    pub output: Vec<String>,
    /// Names of attributes without default.
    #[prost(string, repeated, tag = "6")]
    pub attribute: Vec<String>,
    /// The body.
    #[prost(message, repeated, tag = "7")]
    pub node: Vec<NodeProto>,
    /// Text for people.
    #[prost(string, tag = "8")]
    pub doc_string: String,
    /// The operator sets that the body is written in.
    #[prost(message, repeated, tag = "9")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// The function's domain.
    #[prost(string, tag = "10")]
    pub domain: String,
    /// Attributes with their default.
    #[prost(message, repeated, tag = "11")]
    pub attribute_proto: Vec<AttributeProto>,
    /// Types and shapes of values of the body.
    #[prost(message, repeated, tag = "12")]
    pub value_info: Vec<ValueInfoProto>,
    /// Which of several functions of one name this is.
    #[prost(string, tag = "13")]
    pub overload: String,
    /// Key and value pairs of the producer.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

/// Graphs for training (a preview feature of the specification).
#[derive(Clone, PartialEq, prost::Message)]
pub struct TrainingInfoProto {
    /// Sets the initial values.
    #[prost(message, optional, boxed, tag = "1")]
    pub initialization: Option<Box<GraphProto>>,
    /// One step.
    #[prost(message, optional, boxed, tag = "2")]
    pub algorithm: Option<Box<GraphProto>>,
    /// Which initializer gets which result of the initialization.
    #[prost(message, repeated, tag = "3")]
    pub initialization_binding: Vec<StringStringEntryProto>,
    /// Which initializer gets which result of a step.
    #[prost(message, repeated, tag = "4")]
    pub update_binding: Vec<StringStringEntryProto>,
}

/// Quantization parameters of one value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorAnnotation {
    /// The value.
    #[prost(string, tag = "1")]
    pub tensor_name: String,
    /// Role (`SCALE_TENSOR`) and name of the tensor that plays it.
    #[prost(message, repeated, tag = "2")]
    pub quant_parameter_tensor_names: Vec<StringStringEntryProto>,
}

/// Whether `domain` is that of the standard operators, which has two spellings.
pub fn is_default_domain(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// The version of `domain` in a list of operator sets.
pub fn opset(imports: &[OperatorSetIdProto], domain: &str) -> Option<i64> {
    let same = |other: &str| other == domain || (is_default_domain(other) && is_default_domain(domain));
    imports.iter().find(|import| same(&import.domain)).map(|import| import.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::golden;
    use prost::Message;

    /// A field with a wrong number would be dropped or refused, so the bytes would differ.
    #[test]
    fn files_of_the_reference_package_come_out_as_they_went_in() {
        for name in ["every_field", "every_type"] {
            let bytes = golden(name);
            let model = ModelProto::decode(&bytes[..]).unwrap();
            // An operator set of the empty domain is written there with the empty text and here without.
            let explicit = model.opset_import.iter().filter(|import| import.domain.is_empty()).count();
            assert_eq!(model.encoded_len() + 2 * explicit, bytes.len(), "{name}");
            if explicit == 0 {
                assert_eq!(model.encode_to_vec(), bytes, "{name}");
            }
        }
    }

    /// Two fields with swapped numbers would come out as they went in, so their values are looked at too.
    #[test]
    fn every_field_has_its_own_number() {
        let model = ModelProto::decode(&golden("every_field")[..]).unwrap();
        assert_eq!((model.ir_version, model.model_version), (1, 5));
        assert_eq!(model.producer_name, "Model.producer_name");
        assert_eq!(model.producer_version, "Model.producer_version");
        assert_eq!(model.domain, "Model.domain");
        assert_eq!(model.doc_string, "Model.doc_string");
        assert_eq!(model.opset_import[0].domain, "OperatorSetId.domain");
        assert_eq!((model.metadata_props.len(), model.training_info.len(), model.functions.len()), (1, 1, 1));
        let function = &model.functions[0];
        assert_eq!(function.name, "Function.name");
        assert_eq!(function.input, ["Function.input"; 2]);
        assert_eq!(function.output, ["Function.output"; 2]);
        assert_eq!(function.attribute, ["Function.attribute"; 2]);
        assert_eq!(function.doc_string, "Function.doc_string");
        assert_eq!(function.domain, "Function.domain");
        assert_eq!(function.overload, "Function.overload");

        let graph = model.graph.unwrap();
        assert_eq!((graph.name.as_str(), graph.doc_string.as_str()), ("Graph.name", "Graph.doc_string"));
        // Only the first of the three lists of values is filled.
        assert_eq!(graph.input[0].name, "ValueInfo.name");
        assert_eq!(graph.input[0].doc_string, "ValueInfo.doc_string");
        assert_eq!(graph.quantization_annotation[0].tensor_name, "TensorAnnotation.tensor_name");

        let node = &graph.node[0];
        assert_eq!(node.input, ["Node.input"; 2]);
        assert_eq!(node.output, ["Node.output"; 2]);
        assert_eq!((node.name.as_str(), node.op_type.as_str()), ("Node.name", "Node.op_type"));
        assert_eq!((node.domain.as_str(), node.overload.as_str()), ("Node.domain", "Node.overload"));
        assert_eq!(node.doc_string, "Node.doc_string");

        let attribute = &node.attribute[0];
        assert_eq!((attribute.f, attribute.i, attribute.text()), (Some(2.0), Some(3), Some("Attribute.s")));
        assert_eq!((&attribute.floats[..], &attribute.ints[..]), (&[7.0; 2][..], &[8; 2][..]));
        assert_eq!(attribute.strings, ["Attribute.strings"; 2]);
        assert_eq!(attribute.name, "Attribute.name");
        assert_eq!(attribute.doc_string, "Attribute.doc_string");
        assert_eq!(attribute.ref_attr_name, "Attribute.ref_attr_name");
        assert_eq!(attribute.kind, AttributeType::Float as i32);
        assert_eq!(
            (attribute.tensors.len(), attribute.graphs.len(), attribute.sparse_tensors.len()),
            (1, 1, 1)
        );
        assert_eq!(attribute.tp.as_ref().unwrap().denotation, "Type.denotation");
        assert_eq!(attribute.sparse_tensor.as_ref().unwrap().dims, [3; 2]);

        let tensor = attribute.t.as_ref().unwrap();
        assert_eq!((&tensor.dims[..], tensor.data_type), (&[1; 2][..], 2));
        assert_eq!(tensor.segment, Some(Segment { begin: 1, end: 2 }));
        assert_eq!((&tensor.float_data[..], &tensor.int32_data[..]), (&[4.0; 2][..], &[5; 2][..]));
        assert_eq!((&tensor.int64_data[..], &tensor.uint64_data[..]), (&[7; 2][..], &[11; 2][..]));
        assert_eq!((&tensor.double_data[..], tensor.string_data.len()), (&[10.0; 2][..], 2));
        assert_eq!((tensor.name.as_str(), tensor.doc_string.as_str()), ("Tensor.name", "Tensor.doc_string"));
        assert_eq!(tensor.raw_data.as_deref(), Some(&b"Tensor.raw_data"[..]));
        assert_eq!(tensor.external_data[0].key, "StringStringEntry.key");
        assert_eq!(tensor.external_data[0].value, "StringStringEntry.value");
        assert!(tensor.is_external());
    }

    #[test]
    fn every_kind_of_type_is_read() {
        let model = ModelProto::decode(&golden("every_field")[..]).unwrap();
        let types = &model.graph.unwrap().node[0].attribute[0].type_protos;
        let found: Vec<&TypeValue> = types.iter().filter_map(|kind| kind.value.as_ref()).collect();
        let [
            TypeValue::Tensor(tensor),
            TypeValue::Sequence(sequence),
            TypeValue::Map(map),
            TypeValue::Opaque(opaque),
            TypeValue::SparseTensor(sparse),
            TypeValue::Optional(optional),
        ] = found[..]
        else {
            panic!("{found:?}")
        };
        let element = |kind: &Option<Box<TypeProto>>| match kind.as_ref().and_then(|kind| kind.value.clone())
        {
            Some(TypeValue::Tensor(tensor)) => tensor.elem_type,
            other => panic!("{other:?}"),
        };
        assert_eq!((tensor.elem_type, sparse.elem_type), (1, 4));
        assert_eq!((element(&sequence.elem_type), element(&optional.elem_type)), (2, 5));
        assert_eq!((map.key_type, element(&map.value_type)), (7, 3));
        assert_eq!((opaque.domain.as_str(), opaque.name.as_str()), ("Opaque.domain", "Opaque.name"));
        let dims = &tensor.shape.as_ref().unwrap().dim;
        assert_eq!(dims[0].value, Some(DimensionValue::Value(3)));
        assert_eq!(dims[1].value, Some(DimensionValue::Param("Dimension.dim_param".into())));
        assert_eq!((&dims[2].value, dims[2].denotation.as_str()), (&None, "Dimension.denotation"));
    }
}
