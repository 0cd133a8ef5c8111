//! Labels: rasters and vector files, read window by window as classes.

mod class_map;
mod code;
mod options;
mod raster;
mod source;
#[cfg(test)]
mod tests;
mod vector;

pub use class_map::{Class, ClassMap};
pub use options::{LabelNodata, LabelOptions, Outside};
pub use source::{IGNORED, LabelSource};
