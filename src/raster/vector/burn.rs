//! Features as pixels.

use gdal::DriverManager;
use gdal::raster::{MergeAlgorithm, OptimizeMode, RasterizeOptions, rasterize};
use gdal::vector::Geometry;
use ndarray::{Array2, s};

use super::super::messages::Call;
use super::super::read::{check_window, filled};
use super::super::sys;
use super::layer::VectorLayer;
use super::wkb::{Envelope, move_points};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Window};

/// Side of the squares that are burned, in pixels.
///
/// Every window is put together from squares of one grid over the raster. A pixel is thus always burned with the same
/// numbers, and windows that overlap agree to the last pixel, where the same edge seen from another origin could be
/// rounded to the other side.
const SQUARE: usize = 256;

impl VectorLayer {
    /// The features in `window` of the raster as pixels, `[H, W]`: `values` (one a feature) in the order of the layer,
    /// later over earlier, `background` elsewhere.
    ///
    /// Without `all_touched` a polygon takes the pixels whose middle lies in it, a line those along it; with it both
    /// take every pixel that they touch. A point takes its pixel. The window may reach past the raster, where only
    /// features are burned that reach onto it too. Memory: the window, and a square of 256 x 256 pixels.
    ///
    /// Threads may burn side by side.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a window without pixels; [`Mismatch`](ErrorKind::Mismatch)
    /// if there are not as many values as features; [`OutOfMemory`](ErrorKind::OutOfMemory);
    /// [`NotSupported`](ErrorKind::NotSupported) if GDAL cannot rasterise.
    pub fn burn(
        &self,
        window: Window,
        values: &[i32],
        background: i32,
        all_touched: bool,
    ) -> Result<Array2<i32>> {
        check_window(window).map_err(|error| error.at_path(&self.path))?;
        if values.len() != self.features.len() {
            let (expected, found) = (self.features.len(), values.len());
            let message = format!("expected a value for each of {expected} features, got {found}");
            return Err(Error::new(ErrorKind::Mismatch, message).at_path(&self.path));
        }
        let shape = [1, window.height, window.width];
        let mut pixels = Array2::from_shape_vec((window.height, window.width), filled(shape, background)?)
            .map_err(|error| Error::internal("a window does not have its shape").caused_by(error))?;
        let side = SQUARE as i64;
        let first = |start: i64| start.div_euclid(side);
        let last = |start: i64, length: usize| (start + length as i64 - 1).div_euclid(side);
        for down in first(window.y)..=last(window.y, window.height) {
            for across in first(window.x)..=last(window.x, window.width) {
                let (x, y) = (across * side, down * side);
                let Some(square) = self.square(x, y, values, background, all_touched)? else { continue };
                // Both windows hold the part that they share, so no difference is negative.
                let (left, top) = (x.max(window.x), y.max(window.y));
                let right = (x + side).min(window.x + window.width as i64);
                let bottom = (y + side).min(window.y + window.height as i64);
                let part = |from_x: i64, from_y: i64| {
                    let columns = (left - from_x) as usize..(right - from_x) as usize;
                    let rows = (top - from_y) as usize..(bottom - from_y) as usize;
                    s![rows, columns]
                };
                pixels.slice_mut(part(window.x, window.y)).assign(&square.slice(part(x, y)));
            }
        }
        Ok(pixels)
    }

    /// The square whose upper left pixel is (`x`, `y`); `None` where no feature is near.
    fn square(
        &self,
        x: i64,
        y: i64,
        values: &[i32],
        background: i32,
        all_touched: bool,
    ) -> Result<Option<Array2<i32>>> {
        let (left, top) = (x as f64, y as f64);
        let place = Envelope { min: [left, top], max: [left + SQUARE as f64, top + SQUARE as f64] };
        let mut near = Vec::new();
        for (feature, value) in self.features.iter().zip(values) {
            if place.meets(&feature.envelope, 1.0) {
                let mut wkb = feature.wkb.clone();
                move_points(&mut wkb, |column, row| (column - left, row - top))?;
                near.push((wkb, f64::from(*value)));
            }
        }
        if near.is_empty() {
            return Ok(None);
        }
        let mut buffer = filled([1, SQUARE, SQUARE], background)?;
        let what = format!("cannot burn the features at pixel {x},{y}");
        Call { kind: ErrorKind::NotSupported, what: &what, path: &self.path }.run(|| {
            let failed = |error: gdal::errors::GdalError| error.to_string();
            let mut geometries = Vec::with_capacity(near.len());
            let mut values = Vec::with_capacity(near.len());
            for (wkb, value) in &near {
                geometries.push(Geometry::from_wkb(wkb).map_err(failed)?);
                values.push(*value);
            }
            let driver = DriverManager::get_driver_by_name("MEM").map_err(failed)?;
            // Without a transform GDAL takes coordinates for pixels.
            let mut dataset =
                driver.create_with_band_type::<i32, _>("", SQUARE, SQUARE, 1).map_err(failed)?;
            dataset
                .rasterband(1)
                .and_then(|mut band| band.fill(f64::from(background), None))
                .map_err(failed)?;
            let options = RasterizeOptions {
                all_touched,
                merge_algorithm: MergeAlgorithm::Replace,
                optimize: OptimizeMode::Raster,
                ..RasterizeOptions::default()
            };
            rasterize(&mut dataset, &[1], &geometries, &values, Some(options)).map_err(failed)?;
            let whole = Window::new(0, 0, SQUARE, SQUARE);
            sys::read(&dataset, &Band::first(1), whole, &mut buffer).map_err(|error| error.to_string())
        })?;
        Array2::from_shape_vec((SQUARE, SQUARE), buffer)
            .map(Some)
            .map_err(|error| Error::internal("a square does not have its shape").caused_by(error))
    }
}
