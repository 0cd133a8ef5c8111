//! What the tiling does to a map: a sample of a raster, scored with two tilings.

use std::path::Path;

use ndarray::{ArrayView2, ArrayView3};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::geometry::{Size, Window};
use crate::raster::Raster;
use crate::segment::array::Prediction;
use crate::segment::file::{FileOptions, at_raster};
use crate::segment::options::{Product, SegmentOptions};
use crate::segment::report::Report;
use crate::segment::segmenter::Segmenter;
use crate::tensor::{Samples, SamplesView};
use crate::tiling::{Blend, Overlap};

/// Side of the sample, from the middle of the raster.
const SIDE: usize = 1536;

/// Sides of tiles that networks of free size are most likely to take.
const EVEN: usize = 32;

/// How much a map depends on its tiles: the same sample, scored with two tilings.
///
/// A network whose tiles are exact gives differences of the size of rounding. Of all others the tiling is part of the
/// result: this says how large a part.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Seams {
    /// First column, first row, width and height of the sample, in pixels of the raster.
    pub sample: [usize; 4],
    /// The two tilings.
    pub tilings: [Tiling; 2],
    /// How far the two maps are apart.
    #[serde(flatten)]
    pub differences: Differences,
}

/// How far two maps of probabilities are apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Differences {
    /// Pixels of the map that were compared.
    pub pixels: u64,
    /// Largest difference of a class's probability.
    pub max_difference: f64,
    /// Mean of these differences over pixels and classes.
    pub mean_difference: f64,
    /// Share of the pixels that have another class, 0 to 1.
    pub disagreement: f64,
}

/// A tiling that a sample was scored with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tiling {
    /// Width and height of a tile in pixels of the model's input.
    pub tile: [usize; 2],
    /// What neighbours share along x and y.
    pub overlap: [usize; 2],
    /// How tiles became a map.
    pub blend: String,
    /// Number of tiles.
    pub tiles: u64,
}

impl Tiling {
    fn of(report: &Report) -> Tiling {
        Tiling {
            tile: [report.tile, report.tile_height],
            overlap: [report.overlap, report.overlap_height],
            blend: report.blend.clone(),
            tiles: report.tiles,
        }
    }
}

impl Segmenter<'_> {
    /// Scores the middle of a raster (1536 x 1536 pixels at most) twice, with the tiling that the options ask for and with
    /// another one, and compares the probabilities. The second has tiles of three quarters of the side; where the model's
    /// size is fixed they overlap by a quarter more instead, and where tiles of it are exact the second are cropped.
    /// Nothing is written.
    ///
    /// # Errors
    /// As [`Segmenter::file`] gives for input and model.
    pub fn seams(&mut self, input: impl AsRef<Path>, files: &FileOptions) -> Result<Seams> {
        let input = input.as_ref();
        let raster = Raster::open(input, &files.open)?;
        let bands = self.bands().unwrap_or_else(|| raster.color_bands());
        let size = raster.size();
        let (width, height) = (size.width.min(SIDE), size.height.min(SIDE));
        let (x, y) = ((size.width - width) / 2, (size.height - height) / 2);
        let window = Window::new(x as i64, y as i64, width, height);
        let read = raster.read_with_validity(&bands, window, self.options.padding, files.nodata_rule);
        let (samples, valid) = read.map_err(|error| error.at_path(input))?;
        let valid = valid.as_ref().map(|valid| valid.view());
        let asked = SegmentOptions {
            bands: None,
            product: Product::Probabilities,
            data_type: None,
            nodata: None,
            ..self.options.clone()
        };
        let first =
            self.once(asked.clone(), samples.view(), valid).map_err(|error| at_raster(error, input))?;
        let other = self.another_tiling(asked, &first.report)?;
        let second = self.once(other, samples.view(), valid).map_err(|error| at_raster(error, input))?;
        let (Samples::F32(one), Samples::F32(two)) = (&first.samples, &second.samples) else {
            return Err(Error::internal("probabilities of another type"));
        };
        let found = Differences::of(one.view(), two.view(), self.options.threshold as f32);
        Ok(Seams {
            sample: [x, y, width, height],
            tilings: [Tiling::of(&first.report), Tiling::of(&second.report)],
            differences: found,
        })
    }

    fn once(
        &self,
        options: SegmentOptions,
        samples: SamplesView<'_>,
        valid: Option<ArrayView2<'_, bool>>,
    ) -> Result<Prediction> {
        Segmenter::new(self.model, options)?.cancel_with(self.cancel_token()).array(samples, valid)
    }

    fn another_tiling(&self, asked: SegmentOptions, first: &Report) -> Result<SegmentOptions> {
        let (height, width) = self.model.contract().tile();
        let blend: Blend = first.blend.parse()?;
        if width.is_none() && height.is_none() {
            let side = |side: usize| match side * 3 / 4 / EVEN * EVEN {
                0 => side + side.div_ceil(2),
                other => other,
            };
            let tile = Size::new(side(first.tile), side(first.tile_height));
            let overlap = match asked.overlap {
                // What was asked for may be more than such a tile has.
                Overlap::Pixels(pixels) => Overlap::Pixels(pixels.min(tile.width.min(tile.height) / 2)),
                share => share,
            };
            return Ok(SegmentOptions { tile: Some(tile), blend, overlap, ..asked });
        }
        let side = first.tile.min(first.tile_height);
        let overlap = (first.overlap.max(first.overlap_height) + side.div_ceil(4)).min(side - 1);
        let blend = if blend == Blend::Exact { Blend::Crop } else { blend };
        Ok(SegmentOptions { blend, overlap: Overlap::Pixels(overlap), ..asked })
    }
}

impl Differences {
    /// Of two maps `[K, H, W]`; pixels that are NaN in either do not count. The class of one channel begins above the
    /// threshold.
    fn of(one: ArrayView3<'_, f32>, two: ArrayView3<'_, f32>, threshold: f32) -> Differences {
        let (classes, height, width) = one.dim();
        let class = |map: &ArrayView3<'_, f32>, y: usize, x: usize| match classes {
            1 => usize::from(map[[0, y, x]] > threshold),
            _ => (1..classes)
                .fold(0, |best, own| if map[[own, y, x]] > map[[best, y, x]] { own } else { best }),
        };
        let (mut pixels, mut different, mut most, mut sum) = (0u64, 0u64, 0f64, 0f64);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            if one[[0, y, x]].is_nan() || two[[0, y, x]].is_nan() {
                continue;
            }
            pixels += 1;
            different += u64::from(class(&one, y, x) != class(&two, y, x));
            for own in 0..classes {
                let difference = f64::from((one[[own, y, x]] - two[[own, y, x]]).abs());
                most = most.max(difference);
                sum += difference;
            }
        }
        Differences {
            pixels,
            max_difference: most,
            mean_difference: sum / (pixels * classes as u64).max(1) as f64,
            disagreement: different as f64 / pixels.max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    #[test]
    fn differences_are_those_of_the_pixels_that_both_have() {
        let one = array![[[0.9f32, 0.2, f32::NAN]], [[0.1, 0.8, f32::NAN]]];
        let two = array![[[0.4f32, 0.3, 0.5]], [[0.6, 0.7, 0.5]]];
        let found = Differences::of(one.view(), two.view(), 0.5);
        assert_eq!((found.pixels, found.disagreement), (2, 0.5));
        assert!((found.max_difference - 0.5).abs() < 1e-6, "{found:?}");
        assert!((found.mean_difference - 0.3).abs() < 1e-6, "{found:?}");
        // One channel: the class begins above the threshold.
        let one: Array3<f32> = array![[[0.9, 0.2]]];
        let two: Array3<f32> = array![[[0.8, 0.3]]];
        assert_eq!(Differences::of(one.view(), two.view(), 0.85).disagreement, 0.5);
        assert_eq!(Differences::of(one.view(), two.view(), 0.5).disagreement, 0.0);
        assert_eq!(Differences::of(one.view(), one.view(), 0.5).max_difference, 0.0);
    }
}
