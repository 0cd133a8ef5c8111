//! Scoring: a model over a raster of any size, tile by tile.
//!
//! A [`Segmenter`] takes a [`Model`](crate::model::Model) and [`SegmentOptions`] and scores files
//! (`Segmenter::file`, with the feature `raster`) or arrays in memory ([`Segmenter::array`]). Both go through the same job:
//! read → normalise → batch → run → crop or blend → decide → write. `Segmenter::evaluate` compares what would be written
//! with labels instead (an `Evaluation`).
//!
//! **Which pixels are valid.** A pixel is written as nodata where the input has none: by its mask band, its alpha
//! band, its nodata values, or samples that are not finite. Tiles without a valid pixel are not run.
//!
//! **Work in progress** of a file is in a folder beside the output ([`work_folder`]) until all of it is done; a job that was
//! interrupted is taken up again with [`FileOptions::resume`].
//!
//! **Sizes.** A raster smaller than a tile is padded on the right and below ([`Padding`](crate::geometry::Padding)).
//! Outputs smaller than the input by an even margin are placed in its centre, and the raster is padded by the
//! margin; outputs at another scale give a map of that resolution, georeferenced accordingly.

mod agreement;
mod array;
mod canvas;
#[cfg(feature = "raster")]
mod comparison;
#[cfg(feature = "raster")]
mod evaluate;
#[cfg(feature = "raster")]
mod evaluation;
#[cfg(feature = "raster")]
mod evaluation_json;
mod exactness;
mod facts;
mod feed;
#[cfg(feature = "raster")]
mod file;
mod fitting;
mod fusing;
mod job;
mod memory;
mod options;
mod permits;
mod pipeline;
mod placement;
mod product;
mod reading;
mod report;
mod row;
mod runner;
#[cfg(feature = "raster")]
mod seams;
mod segmenter;
mod setup;
#[cfg(feature = "raster")]
mod sink;
#[cfg(feature = "raster")]
mod source;
#[cfg(feature = "raster")]
mod staging;
mod stream;
#[cfg(feature = "raster")]
mod strip;
mod writing;

pub use array::Prediction;
#[cfg(feature = "raster")]
pub use evaluation::{Evaluation, ImageEvaluation};
#[cfg(feature = "raster")]
pub use file::FileOptions;
pub use job::Progress;
pub use options::{Activation, Precision, Product, SegmentOptions};
pub use placement::Placement;
pub use report::{Busyness, Report};
#[cfg(feature = "raster")]
pub use seams::{Differences, Seams, Tiling};
pub use segmenter::Segmenter;
#[cfg(feature = "raster")]
pub use staging::work_folder;
