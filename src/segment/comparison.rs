//! A sink that compares the classes with labels and keeps only counts.

use std::borrow::Cow;

use ndarray::Array3;

use crate::data::Truth;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Size, Window};
use crate::metrics::ConfusionMatrix;
use crate::segment::stream::{Layout, Sink};
use crate::tensor::{Sample, Samples};

/// Pixels of labels that are in memory at a time; blended rows of a wide raster would be many more.
const BLOCK: usize = 1 << 20;

/// Counts how often each class was taken for each.
pub(super) struct Comparison {
    truth: Truth,
    size: Size,
    nodata: f64,
    pub(super) matrix: ConfusionMatrix,
    /// Pixels with data whose label does not count.
    pub(super) unlabelled: u64,
    /// Pixels that the map leaves out.
    pub(super) nodata_pixels: u64,
}

impl Comparison {
    /// For an image of this size.
    pub(super) fn new(truth: Truth, size: Size, classes: usize) -> Result<Comparison> {
        let matrix = ConfusionMatrix::new(classes)?;
        Ok(Comparison { truth, size, nodata: f64::NAN, matrix, unlabelled: 0, nodata_pixels: 0 })
    }

    fn count<T: Sample + Into<i64>>(&mut self, window: Window, predicted: &[T]) -> Result<()> {
        let truth = self.truth.classes(window)?;
        let truth = truth.as_slice().ok_or_else(|| Error::internal("labels that are not in order"))?;
        let nodata = T::from_f64(self.nodata);
        let mut valid = Vec::with_capacity(truth.len());
        for (truth, predicted) in truth.iter().zip(predicted) {
            let (has_data, is_labelled) = (*predicted != nodata, *truth >= 0);
            self.nodata_pixels += u64::from(!has_data);
            self.unlabelled += u64::from(has_data && !is_labelled);
            valid.push(has_data && is_labelled);
        }
        self.matrix.add(truth, predicted, Some(&valid))
    }

    /// A block, some rows at a time.
    fn count_rows<T: Sample + Into<i64>>(&mut self, window: Window, samples: &[T]) -> Result<()> {
        let rows = (BLOCK / window.width).max(1);
        for (part, samples) in samples.chunks(rows * window.width).enumerate() {
            let y = window.y + (part * rows) as i64;
            self.count(Window::new(window.x, y, window.width, samples.len() / window.width), samples)?;
        }
        Ok(())
    }
}

impl Sink for Comparison {
    fn begin(&mut self, layout: &Layout, _: &mut dyn FnMut(&Samples)) -> Result<u64> {
        let (output_step, input_step) = layout.scale;
        if output_step != input_step || layout.size != self.size {
            let message = format!(
                "the model's output is at another scale than its input ({output_step} pixels for {input_step}): its map of \
                 {} cannot be compared with labels of {}",
                layout.size, self.size
            );
            return Err(Error::new(ErrorKind::ModelUnsupported, message));
        }
        if layout.classes != Some(self.matrix.classes()) {
            let message = format!(
                "the model gives {} classes, the labels were opened for {}",
                layout.classes.unwrap_or(0),
                self.matrix.classes()
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        self.nodata = layout.nodata;
        Ok(0)
    }

    fn write(&mut self, window: Window, samples: Samples) -> Result<()> {
        match &samples {
            Samples::U8(block) => self.count_rows(window, &in_order(block)),
            Samples::U16(block) => self.count_rows(window, &in_order(block)),
            _ => Err(Error::internal("a map of classes of another type")),
        }
    }
}

/// The samples row by row; copied where they lie otherwise.
fn in_order<T: Sample>(block: &Array3<T>) -> Cow<'_, [T]> {
    block.as_slice().map_or_else(|| block.iter().copied().collect(), Cow::Borrowed)
}
