//! Training samples: batches and where they come from. (Lists, label rasters and vectors, sampling and augmentation are
//! still to come.)

mod batch;
mod loader;

pub use batch::{Batch, Labels};
pub use loader::{ArrayLoader, Loader};
