//! Training samples: batches and where they come from.
//!
//! A list ([`read_list`]) names images and their labels, a `Dataset` opens them, and a `RasterLoader` cuts them into batches,
//! window by window, straight from the files (feature `raster`). [`ArrayLoader`] has arrays in memory instead, and a
//! [`Loader`] of your own anything else.

#[cfg(feature = "raster")]
mod area;
mod augmentation;
mod batch;
#[cfg(feature = "raster")]
mod counts;
#[cfg(feature = "raster")]
mod dataset;
mod division;
#[cfg(feature = "raster")]
mod grid;
#[cfg(feature = "raster")]
mod labels;
mod list;
mod loader;
#[cfg(feature = "raster")]
mod loader_options;
#[cfg(feature = "raster")]
mod maker;
mod prefetch;
#[cfg(feature = "raster")]
mod raster_loader;
#[cfg(feature = "raster")]
mod sampling;
#[cfg(feature = "raster")]
mod scene;
mod split;
#[cfg(feature = "raster")]
mod survey;
#[cfg(all(test, feature = "raster"))]
mod tests;
#[cfg(feature = "raster")]
mod truth;

pub use augmentation::{
    Affine, Augmentation, Brightness, Contrast, Drawn, Gamma, Noise, Patch, Photometric, ResizedCrop,
};
pub use batch::{Batch, Labels};
#[cfg(feature = "raster")]
pub use dataset::{Dataset, DatasetOptions};
pub use division::{Division, Unit};
#[cfg(feature = "raster")]
pub use labels::{Class, ClassMap, IGNORED, LabelNodata, LabelOptions, LabelSource, Outside};
pub use list::{ListItem, Use, is_missing, read_all, read_list, shared_image};
pub use loader::{ArrayLoader, Loader};
#[cfg(feature = "raster")]
pub use loader_options::LoaderOptions;
pub use prefetch::Prefetch;
#[cfg(feature = "raster")]
pub use raster_loader::{Found, LoaderWindow, RasterLoader};
#[cfg(feature = "raster")]
pub use sampling::Sampling;
pub use split::Split;
#[cfg(feature = "raster")]
pub(crate) use truth::{LabelledImage, Truth};
