//! An open image with its labels.

use ndarray::Array2;

use crate::data::area::Area;
use crate::data::labels::{IGNORED, LabelSource};
use crate::error::Result;
use crate::geometry::{Band, Padding, Window};
use crate::model::Normalisation;
use crate::raster::{NodataRule, Raster};

/// An open image with its labels, for one thread.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) raster: Raster,
    pub(super) labels: LabelSource,
    pub(super) bands: Vec<Band>,
    /// Nodata values of the bands.
    pub(super) nodata: Vec<Option<f64>>,
    pub(super) rule: NodataRule,
    /// What of it belongs to the part of the data, where not all does.
    pub(super) area: Option<std::sync::Arc<Area>>,
}

impl Scene {
    /// Classes of a window: [`IGNORED`] where the label or the image has no data, outside the raster, and for pixels that
    /// belong to another part of the data. Reads the image only where its samples say which pixels have data.
    pub(super) fn classes(&self, window: Window) -> Result<Array2<i32>> {
        let mut labels = self.labels.read(window)?;
        self.leave_out(window, &mut labels);
        if labels.iter().all(|label| *label < 0) {
            return Ok(labels);
        }
        if let Some(valid) = self.raster.read_validity(&self.bands, window, self.rule)? {
            mask(&mut labels, &valid);
        }
        Ok(labels)
    }

    /// The image of a window, normalised, `[C, H, W]`, with 0 where it has no data; and its classes. Past the raster's edge
    /// the image goes on mirrored.
    pub(super) fn sample(
        &self,
        window: Window,
        normalisation: &Normalisation,
        image: &mut Vec<f32>,
    ) -> Result<(Array2<i32>, Option<Array2<bool>>)> {
        let (samples, valid) =
            self.raster.read_with_validity(&self.bands, window, Padding::Reflect, self.rule)?;
        image.clear();
        image.resize(self.bands.len() * window.width * window.height, 0.0);
        normalisation.apply(&samples.view(), &self.nodata, image)?;
        let mut labels = self.labels.read(window)?;
        self.leave_out(window, &mut labels);
        if let Some(valid) = &valid {
            mask(&mut labels, valid);
        }
        Ok((labels, valid))
    }

    fn leave_out(&self, window: Window, labels: &mut Array2<i32>) {
        if let Some(area) = &self.area {
            area.clear(window, labels, IGNORED);
        }
    }
}

fn mask(labels: &mut Array2<i32>, valid: &Array2<bool>) {
    for (label, valid) in labels.iter_mut().zip(valid) {
        if !valid {
            *label = IGNORED;
        }
    }
}
