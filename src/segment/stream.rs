//! Where a job's pixels come from and where they go. Files and arrays are two forms of the same thing, so both are
//! tiled, blended and decided by one job.

use std::ops::Range;

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

/// Where pixels come from. They are read on another thread than the one that began.
pub(super) trait Source: Send {
    /// The raster's size.
    fn size(&self) -> Size;

    /// Sample type of the bands that are read.
    fn data_type(&self) -> DataType;

    /// Nodata values of the bands that are read.
    fn nodata(&self) -> &[Option<f64>];

    /// The windows that come next lie within these columns, and their rows hardly go back: worth knowing for what reads
    /// more than it is asked for.
    fn enter(&mut self, columns: Range<i64>) {
        let _ = columns;
    }

    /// Reads a window, which may reach past any edge.
    fn read(&mut self, window: Window) -> Result<Block>;

    /// Bytes that it keeps while windows of so many rows are read within so many columns.
    fn strip_bytes(&self, columns: usize, rows: usize) -> u64 {
        let _ = (columns, rows);
        0
    }

    /// Width of what can be read at once, in pixels; 0 where the windows simply lie in memory.
    fn block_width(&self) -> usize {
        0
    }

    /// Bytes of what can be read at once, which are there while it is decoded.
    fn block_bytes(&self) -> u64 {
        0
    }

    /// Pixels decoded so far, where windows do not simply lie in memory.
    fn pixels_read(&self) -> Option<u64> {
        None
    }
}

/// What is written: its shape, and what it depends on.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "raster"), expect(dead_code, reason = "files have more to say than arrays"))]
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
    /// Steps of the job.
    pub(super) steps: u64,
    /// All of model and options that the samples depend on, by name; empty where the sink does not ask for it.
    pub(super) facts: Vec<(&'static str, String)>,
}

/// Where pixels go. Blocks are written on another thread than the one that began.
pub(super) trait Sink: Send {
    /// Whether it must know what the samples depend on; that takes a look at every byte of the model.
    fn asks_for_facts(&self) -> bool {
        false
    }

    /// Bytes that making the output takes when all blocks are there, besides GDAL's cache, for a map of this size, bands and
    /// type; 0 where the blocks are the output.
    fn making_bytes(&self, shape: (Size, usize, DataType)) -> u64 {
        let _ = shape;
        0
    }

    /// Called once, before the first write. Gives the number of steps whose blocks are there from an earlier job that was
    /// interrupted, after showing these blocks to `seen`; they are not written again.
    fn begin(&mut self, layout: &Layout, seen: &mut dyn FnMut(&Samples)) -> Result<u64>;

    /// Writes `[bands, H, W]` at a window that lies fully inside. Windows come in no particular order and cover
    /// every pixel exactly once.
    fn write(&mut self, window: Window, samples: Samples) -> Result<()>;

    /// All blocks of the steps before this number are written.
    fn done(&mut self, steps: u64) -> Result<()> {
        let _ = steps;
        Ok(())
    }
}
