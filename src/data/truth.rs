//! What the pixels of an image are labelled as, for what is scored against it.

use std::sync::Arc;

use ndarray::Array2;

use crate::data::area::Area;
use crate::data::labels::{IGNORED, LabelSource};
use crate::error::Result;
use crate::geometry::{Band, Window};
use crate::raster::Raster;

/// An image that is open, and its labels.
#[derive(Debug)]
pub(crate) struct LabelledImage {
    pub(crate) raster: Raster,
    /// The bands that the data set reads of it.
    pub(crate) bands: Vec<Band>,
    pub(crate) truth: Truth,
}

/// The labels of an image, as far as its pixels belong to the data set.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(super) labels: LabelSource,
    pub(super) area: Option<Arc<Area>>,
}

impl Truth {
    /// The class of each pixel of a window, `[H, W]`; [`IGNORED`] where the label does not count, outside the image, and
    /// where the pixel belongs to another part of the data. Whether the image has data there is not looked at.
    ///
    /// # Errors
    /// As [`LabelSource::read`].
    pub(crate) fn classes(&self, window: Window) -> Result<Array2<i32>> {
        let mut classes = self.labels.read(window)?;
        if let Some(area) = &self.area {
            area.clear(window, &mut classes, IGNORED);
        }
        Ok(classes)
    }
}
