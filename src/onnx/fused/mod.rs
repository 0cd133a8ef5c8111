//! A model that takes samples as they are in the raster, and gives class numbers.
//!
//! What is done before and after the network becomes nodes of its graph. A tile then goes to the device with one or two
//! bytes a sample and comes back with one or two bytes a pixel.

mod classes;
mod samples;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::edit::Edit;
use crate::onnx::proto::{
    AttributeProto, Dimension, DimensionValue, NodeProto, TensorProto, TypeValue, ValueInfoProto,
};
use crate::onnx::{Document, ElementType};
use crate::tensor::DataType;

/// Most channels that [`fused`] decides between: it adds three nodes a channel.
pub const MOST_FUSED_CLASSES: usize = 1024;

/// What [`fused`] moves into the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Fusion {
    /// The type of the samples fed: `uint8`, `uint16` or `int16`.
    pub samples: DataType,
    /// Divisors, one for all bands or one a band.
    pub scale: Vec<f64>,
    /// Means in scaled units, one for all bands or one a band.
    pub mean: Vec<f64>,
    /// Standard deviations in scaled units, one for all bands or one a band.
    pub std: Vec<f64>,
    /// How classes are decided; `None` leaves the output as it is.
    pub classes: Option<FusedClasses>,
}

/// How [`fused`] decides on classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FusedClasses {
    /// Channels of the output: with several the greatest score decides, the lowest class where scores are equal; with
    /// one it is class 1 where the probability is greater than the threshold, else 0.
    pub channels: usize,
    /// `uint8` or `uint16`.
    pub data_type: DataType,
    /// What marks pixels whose scores are all NaN, which never wins otherwise; no class has this number.
    pub nodata: u16,
    /// For one channel; others do not look at it.
    pub threshold: f32,
    /// For one channel: whether it holds raw scores, of which a sigmoid makes probabilities.
    pub sigmoid: bool,
}

/// The model with work around it moved into its graph.
///
/// Its input keeps name and dimensions `[N, C, H, W]`, and its elements become raw samples, of which the graph makes
/// `(x / scale − mean) / std`: the same bits as [`Normalisation`](crate::model::Normalisation) gives for samples of these
/// types. What a half-precision model cannot hold becomes its largest value, as in
/// [`Session::score`](crate::runtime::Session::score).
///
/// With [`Fusion::classes`], `output` keeps its name and becomes class numbers `[N, 1, H, W]`, or `[N, H, W]` where the
/// model has no axis of channels. They are the classes that scoring without blending decides on. Only plain comparisons
/// and choices are added, no ArgMax: that lets a NaN in the first channel win, and providers differ in it.
///
/// The other outputs and what only they need are removed. Metadata stays as it is, the normalisation in it included: the
/// result is for a session, not for a file that is opened as a model again.
///
/// ```
/// use glebe::onnx::{Dim, Document, ElementType, Facts, FusedClasses, Fusion, GraphBuilder, Limits, fused};
/// use glebe::tensor::DataType;
///
/// let shape = [Dim::Fixed(1), Dim::Fixed(3), "height".into(), "width".into()];
/// let mut graph = GraphBuilder::new("identity");
/// let x = graph.input("x", ElementType::Float32, &shape);
/// let y = graph.node("Identity", &[&x]).output("y");
/// graph.output(&y, ElementType::Float32, &shape);
/// let document = Document::from_bytes(graph.finish()?, &Limits::default())?;
///
/// let classes =
///     FusedClasses { channels: 3, data_type: DataType::U8, nodata: 255, threshold: 0.5, sigmoid: false };
/// let fusion = Fusion {
///     samples: DataType::U8,
///     scale: vec![255.0],
///     mean: vec![0.5, 0.4, 0.3],
///     std: vec![0.25],
///     classes: Some(classes),
/// };
/// let facts = Facts::of(&Document::from_bytes(fused(&document, "y", &fusion)?, &Limits::default())?);
/// assert_eq!((facts.inputs[0].r#type.as_str(), facts.outputs[0].r#type.as_str()), ("uint8", "uint8"));
/// assert_eq!(facts.outputs[0].shape.as_ref().unwrap()[1], Dim::Fixed(1));
/// # Ok::<(), glebe::Error>(())
/// ```
///
/// # Errors
/// * `InvalidArgument` for an unknown output, a type that is not one of those named, lists of other lengths than 1 or the
///   number of bands, values that are not finite or divide by 0 in `f32`, a nodata value that is a class or does not fit;
/// * `Mismatch` where the model's input or output has other channels;
/// * `ModelUnsupported` where it has not one input of `float32` or `float16`, an output of another type, more channels
///   than [`MOST_FUSED_CLASSES`], or operators older than set 11 (set 12 with classes);
/// * `LimitExceeded` from 2 GiB on; errors of weights in other files.
pub fn fused(document: &Document, output: &str, fusion: &Fusion) -> Result<Vec<u8>> {
    let mut edit = Edit::of(document)?;
    edit.output(output)?;
    samples::feed(&mut edit, output, fusion)?;
    if let Some(classes) = &fusion.classes {
        classes::decide(&mut edit, output, classes)?;
    }
    edit.keep_only(output);
    edit.finish()
}

/// The element type of a float32 or float16 port.
fn float(port: &ValueInfoProto) -> Result<ElementType> {
    let element = port.tensor_type().and_then(|tensor| ElementType::from_number(tensor.elem_type));
    match element {
        Some(found @ (ElementType::Float32 | ElementType::Float16)) => Ok(found),
        _ => {
            let found = element.map_or("an unknown type", ElementType::name);
            let message = format!("expected float32 or float16, got {found}");
            Err(Error::new(ErrorKind::ModelUnsupported, message).at_tensor(&port.name))
        }
    }
}

/// The dimensions of a port, where the file tells them.
fn dims(port: &mut ValueInfoProto) -> Option<&mut Vec<Dimension>> {
    match port.r#type.as_mut()?.value.as_mut()? {
        TypeValue::Tensor(tensor) => tensor.shape.as_mut().map(|shape| &mut shape.dim),
        _ => None,
    }
}

fn fixed(dim: &Dimension) -> Option<i64> {
    match dim.value {
        Some(DimensionValue::Value(size)) => Some(size),
        _ => None,
    }
}

fn set_element(port: &mut ValueInfoProto, element: ElementType) {
    if let Some(TypeValue::Tensor(tensor)) = port.r#type.as_mut().and_then(|kind| kind.value.as_mut()) {
        tensor.elem_type = element.number();
    }
}

fn element(data_type: DataType) -> ElementType {
    match data_type {
        DataType::U16 => ElementType::Uint16,
        DataType::I16 => ElementType::Int16,
        _ => ElementType::Uint8,
    }
}

/// Nodes on their way into a graph, one after the other.
struct Chain<'a> {
    edit: &'a mut Edit,
    nodes: Vec<NodeProto>,
}

impl Chain<'_> {
    fn constant(&mut self, like: &str, mut tensor: TensorProto) -> String {
        tensor.name = self.edit.fresh(like);
        let name = tensor.name.clone();
        self.edit.graph.initializer.push(tensor);
        name
    }

    fn node(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        like: &str,
    ) -> String {
        let name = self.edit.fresh(like);
        self.node_to(op_type, inputs, attributes, &[&name]);
        name
    }

    /// A node whose outputs have these names already.
    fn node_to(&mut self, op_type: &str, inputs: &[&str], attribute: Vec<AttributeProto>, outputs: &[&str]) {
        self.nodes.push(NodeProto {
            op_type: op_type.to_owned(),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: outputs.iter().map(|&name| name.to_owned()).collect(),
            attribute,
            ..NodeProto::default()
        });
    }

    fn cast(&mut self, input: &str, to: ElementType, like: &str) -> String {
        self.node("Cast", &[input], vec![cast_to(to)], like)
    }

    /// Attributes of a Split into one part. It keeps ONNX Runtime, which computes `float16` in `float32` on the CPU, from
    /// leaving out the rounding at the border: it drops a conversion that follows its opposite at once.
    fn one_part(opset: i64) -> Vec<AttributeProto> {
        if opset < 18 { Vec::new() } else { vec![AttributeProto::int("num_outputs", 1)] }
    }
}

fn cast_to(element: ElementType) -> AttributeProto {
    AttributeProto::int("to", i64::from(element.number()))
}
