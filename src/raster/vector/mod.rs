//! Vector files: features in the place of a raster, and as pixels of it.

mod burn;
mod file;
mod layer;
mod wkb;

pub use layer::{FieldKind, VectorFeature, VectorLayer, VectorOptions};
