//! Where a job's pixels come from and where they go. Files and arrays are two forms of the same thing, so both are
//! tiled, blended and decided by one job.

use ndarray::Array2;

use crate::error::Result;
use crate::geometry::{Size, Window};
use crate::tensor::{DataType, Samples};

/// Pixels read for one tile.
#[derive(Debug)]
pub(super) struct Block {
    /// `[C, H, W]` in the raster's own units; past the edge the padding rule holds.
    pub(super) samples: Samples,
    /// `[H, W]`: whether each pixel holds data; `None` where all do. Pixels past the raster's edge are `false`.
    pub(super) valid: Option<Array2<bool>>,
}

/// Where pixels come from.
pub(super) trait Source {
    /// The raster's size.
    fn size(&self) -> Size;

    /// Sample type of the bands that are read.
    fn data_type(&self) -> DataType;

    /// Nodata values of the bands that are read.
    fn nodata(&self) -> &[Option<f64>];

    /// Reads a window, which may reach past any edge.
    fn read(&mut self, window: Window) -> Result<Block>;
}

/// The shape of what is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub(super) size: Size,
    pub(super) bands: usize,
    pub(super) data_type: DataType,
    pub(super) nodata: f64,
    /// Output pixels a raster pixel along an axis, as a fraction.
    pub(super) scale: (usize, usize),
    /// Factor from stored integers to probabilities.
    pub(super) unit: Option<f64>,
    /// Whether the one band holds class numbers, and how many classes there are.
    pub(super) classes: Option<usize>,
    /// Channels of the model's output.
    pub(super) channels: usize,
}

/// Where pixels go. Blocks are written on another thread than the one that began.
pub(super) trait Sink: Send {
    /// Called once, before the first write.
    fn begin(&mut self, layout: &Layout) -> Result<()>;

    /// Writes `[bands, H, W]` at a window that lies fully inside. Windows come in no particular order and cover
    /// every pixel exactly once.
    fn write(&mut self, window: Window, samples: Samples) -> Result<()>;
}
