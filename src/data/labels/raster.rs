//! Labels from a raster.

use std::path::Path;

use ndarray::{Array2, ArrayView2, Axis};

use crate::data::labels::code::Code;
use crate::data::labels::options::{LabelNodata, LabelOptions};
use crate::data::labels::source::IGNORED;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Padding, Window};
use crate::raster::{NodataRule, OpenOptions, Raster, RasterInfo};
use crate::tensor::{Sample, with_samples};

/// A raster whose values are labels, on the grid of the image.
#[derive(Debug)]
pub(super) struct RasterLabels {
    raster: Raster,
    band: Band,
    code: Code,
    /// The class of pixels without data.
    nodata: i32,
}

impl RasterLabels {
    pub(super) fn open(
        path: &Path,
        options: &LabelOptions,
        image: &RasterInfo,
        classes: usize,
    ) -> Result<RasterLabels> {
        let code = Code::new(options, classes, path)?;
        let raster = Raster::open(path, &OpenOptions::default())?;
        let info = raster.info();
        let bands = info.color_bands();
        let [band] = bands[..] else {
            let message = format!("label raster has {} bands, expected 1", bands.len());
            return Err(Error::new(ErrorKind::RasterUnsupported, message).at_path(path));
        };
        info.check_same_grid(image)?;
        let nodata = match options.nodata {
            LabelNodata::Ignore => IGNORED,
            LabelNodata::Background => 0,
        };
        Ok(RasterLabels { raster, band, code, nodata })
    }

    pub(super) fn ignores_nodata(&self) -> bool {
        let has_nodata = self.raster.info().band(self.band).is_ok_and(|info| info.nodata.is_some());
        has_nodata && self.nodata == IGNORED
    }

    pub(super) fn reopen(&self) -> Result<RasterLabels> {
        let raster = self.raster.reopen()?;
        Ok(RasterLabels { raster, band: self.band, code: self.code.clone(), nodata: self.nodata })
    }

    pub(super) fn read(&self, window: Window) -> Result<Array2<i32>> {
        // What stands past the edges is never looked at.
        let (samples, valid) =
            self.raster.read_with_validity(&[self.band], window, Padding::Constant(0.0), NodataRule::All)?;
        with_samples!(Samples, &samples, block => {
            self.classes(block.index_axis(Axis(0), 0), valid.as_ref(), window)
        })
    }

    fn classes<T: Sample>(
        &self,
        samples: ArrayView2<'_, T>,
        valid: Option<&Array2<bool>>,
        window: Window,
    ) -> Result<Array2<i32>> {
        let size = self.raster.size();
        let mut classes = Array2::from_elem(samples.dim(), IGNORED);
        // Labels are large areas of one value, so the value before is a good guess.
        let mut last: Option<(T, i32)> = None;
        for ((row, column), class) in classes.indexed_iter_mut() {
            let (x, y) = (window.x + column as i64, window.y + row as i64);
            if x < 0 || y < 0 || x >= size.width as i64 || y >= size.height as i64 {
                continue;
            }
            let sample = samples[[row, column]];
            let is_valid = valid.is_none_or(|valid| valid[[row, column]]);
            *class = match last {
                Some((value, class)) if is_valid && value == sample => class,
                _ if is_valid => {
                    let class = self.code.of(sample.to_f64()).map_err(|(kind, why)| {
                        let value = sample.to_f64();
                        let message = format!("label {value} at pixel {x},{y} (column,row) {why}");
                        Error::new(kind, message).at_path(&self.raster.info().path)
                    })?;
                    last = Some((sample, class));
                    class
                }
                // A value that is to be ignored stays so, whatever pixels without data are.
                _ if self.code.ignores(sample.to_f64()) => IGNORED,
                _ => self.nodata,
            };
        }
        Ok(classes)
    }
}
