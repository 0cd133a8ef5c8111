//! The model file as an editable graph.
//!
//! A [`Document`] is an ONNX file that has passed the guard: it is sound protobuf of bounded depth, every value that
//! is used is produced once and not out of itself, every tensor has the bytes that its shape asks for, weights in
//! other files are plain files of the model's folder, and no constant size asks for more memory than [`Limits`] allow.
//! No runtime sees a model before that.
//!
//! [`proto`] has the messages of the format, [`wire`] their places in the file (for edits that leave the rest of the
//! file as it is), [`Facts`] the summary for people, [`GraphBuilder`] the way to write a model.
//!
//! ```
//! use glebe::onnx::{Activation, Dim, Document, ElementType, Facts, GraphBuilder, Limits};
//!
//! // Two classes out of three bands, by a 1 x 1 convolution.
//! let mut graph = GraphBuilder::new("bands");
//! let x = graph.input("x", ElementType::Float32, &[Dim::Fixed(1), Dim::Fixed(3), "height".into(), "width".into()]);
//! let w = graph.initializer_f32("w", &[2, 3, 1, 1], &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
//! let logits = graph.node("Conv", &[&x, &w]).output("logits");
//! let y = graph.node("Softmax", &[&logits]).int("axis", 1).output("y");
//! graph.output(&y, ElementType::Float32, &[Dim::Fixed(1), Dim::Fixed(2), "height".into(), "width".into()]);
//! let bytes = graph.finish()?;
//!
//! let document = Document::from_bytes(bytes, &Limits::default())?;
//! let facts = Facts::of(&document);
//! assert_eq!(facts.parameters, 6);
//! assert_eq!(facts.inputs[0].shape.as_ref().unwrap()[1], Dim::Fixed(3));
//! assert_eq!(document.final_activation("y")?, Activation::Softmax);
//! # Ok::<(), glebe::Error>(())
//! ```

mod activation;
mod build;
mod dim;
mod document;
mod edit;
mod element;
mod external;
mod facts;
mod fold;
mod fused;
pub mod graph;
pub mod guard;
mod half_precision;
mod infer;
mod limits;
mod metadata;
mod names;
mod order;
mod produced;
pub mod proto;
mod receptive_field;
pub(crate) mod resolved;
mod scan;
mod shown;
#[cfg(test)]
mod single_nodes;
mod sniff;
mod specialise;
mod tensors;
pub mod wire;

pub use activation::Activation;
pub use build::{GraphBuilder, NodeBuilder};
pub use dim::Dim;
pub use document::Document;
pub use element::ElementType;
pub use facts::{Facts, Port};
pub use fused::{FusedClasses, Fusion, MOST_FUSED_CLASSES, fused};
pub use half_precision::HalfPrecision;
pub use limits::Limits;
pub use metadata::with_metadata;
pub(crate) use metadata::within_protobuf;
pub use order::{order, uses};
pub use receptive_field::{AxisField, ReceptiveField, WholeTile};
pub(crate) use resolved::axis_of;
pub(crate) use shown::{place, short, shown};
pub use specialise::{InputShapes, specialise};

/// A model that the reference Python package wrote; `tests/golden/onnx/make.py` makes them.
#[cfg(test)]
fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/onnx/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap()
}
