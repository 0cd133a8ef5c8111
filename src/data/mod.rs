//! Training samples: batches and where they come from. (Lists, label rasters and vectors, and sampling are still to
//! come.)

mod augmentation;
mod batch;
mod loader;
mod prefetch;

pub use augmentation::{
    Affine, Augmentation, Brightness, Contrast, Drawn, Gamma, Noise, Patch, Photometric, ResizedCrop,
};
pub use batch::{Batch, Labels};
pub use loader::{ArrayLoader, Loader};
pub use prefetch::Prefetch;
