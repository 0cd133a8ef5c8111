//! Training samples: batches and where they come from. (Lists, label rasters and vectors, sampling and augmentation are
//! still to come.)

mod batch;
#[cfg(feature = "raster")]
mod labels;
mod list;
mod loader;
mod split;

pub use batch::{Batch, Labels};
#[cfg(feature = "raster")]
pub use labels::{Class, ClassMap, IGNORED, LabelNodata, LabelOptions, LabelSource, Outside};
pub use loader::{ArrayLoader, Loader};
pub use list::{ListItem, Use, is_missing, read_all, read_list, shared_image};
pub use split::Split;
