//! Training samples: batches and where they come from. (Lists, label rasters and vectors, sampling and augmentation are
//! still to come.)

mod batch;
#[cfg(feature = "raster")]
mod labels;
mod loader;

pub use batch::{Batch, Labels};
#[cfg(feature = "raster")]
pub use labels::{Class, ClassMap, IGNORED, LabelNodata, LabelOptions, LabelSource, Outside};
pub use loader::{ArrayLoader, Loader};
