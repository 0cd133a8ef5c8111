//! Whether two rasters have their pixels in the same places.

use gdal::spatial_ref::SpatialRef;

use super::georeference::crs;
use super::info::RasterInfo;
use super::messages::scope;
use crate::error::{Error, ErrorKind, Result};

/// Farthest that a corner of the one may lie from that of the other, in pixels.
const TOLERANCE: f64 = 0.5;

impl RasterInfo {
    /// Checks that this raster's pixels lie where those of `other` do: the same size, and, of what both have, the same
    /// CRS and a transform whose corners are within half a pixel.
    ///
    /// # Errors
    /// [`Mismatch`](ErrorKind::Mismatch) with what was expected and found; it names both files.
    pub fn check_same_grid(&self, other: &RasterInfo) -> Result<()> {
        let mismatch = |what: String| {
            let other = other.path.display();
            let message = format!(
                "{what} of {other}: bring it to the grid of the image first (gdalwarp -t_srs, -te, -ts, -r near)"
            );
            Err(Error::new(ErrorKind::Mismatch, message).at_path(&self.path))
        };
        if self.size != other.size {
            return mismatch(format!("is {} pixels, expected {}, the size", self.size, other.size));
        }
        let (own, theirs) = (&self.georeference, &other.georeference);
        if let (Some(own), Some(theirs)) = (&own.crs_wkt, &theirs.crs_wkt)
            && !is_same_crs(own, theirs)
        {
            return mismatch(format!("CRS is {}, expected {}, that", crs_name(own), crs_name(theirs)));
        }
        if let (Some(own), Some(theirs)) = (own.transform, theirs.transform) {
            let (width, height) = (self.size.width as f64, self.size.height as f64);
            let corners = [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)];
            let Some(inverse) = Affine(theirs).inverse() else {
                return mismatch("has a transform, expected one that cannot be inverted, that".to_owned());
            };
            let far = |(column, row): (f64, f64)| {
                let (x, y) = Affine(own).at(column, row);
                let (other_column, other_row) = inverse.at(x, y);
                let distance = (other_column - column).abs().max((other_row - row).abs());
                // Anything but small: NaN is far as well.
                if distance <= TOLERANCE {
                    None
                } else {
                    Some(((x, y), Affine(theirs).at(column, row), distance))
                }
            };
            if let Some(((x, y), (other_x, other_y), distance)) = corners.into_iter().find_map(far) {
                return mismatch(format!(
                    "has a corner at {x}, {y}, {distance:.1} pixels from {other_x}, {other_y}, that"
                ));
            }
        }
        Ok(())
    }
}

/// GDAL's affine transform, (column, row) to (x, y).
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine(pub(super) [f64; 6]);

impl Affine {
    pub(super) fn at(self, column: f64, row: f64) -> (f64, f64) {
        let t = self.0;
        (t[0] + column * t[1] + row * t[2], t[3] + column * t[4] + row * t[5])
    }

    /// From (x, y) to (column, row); `None` for a transform that puts all pixels on one line.
    pub(super) fn inverse(self) -> Option<Inverse> {
        let [x, a, b, y, c, d] = self.0;
        let determinant = a * d - b * c;
        if !determinant.is_finite() || determinant.abs() <= 1e-15 * (a * d).abs().max((b * c).abs()) {
            return None;
        }
        Some(Inverse { origin: (x, y), rows: [[d, -b], [-c, a]], determinant })
    }
}

/// The way back. The origin is taken off first, so that little is lost where coordinates are large and pixels small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inverse {
    origin: (f64, f64),
    rows: [[f64; 2]; 2],
    determinant: f64,
}

impl Inverse {
    pub(super) fn at(self, x: f64, y: f64) -> (f64, f64) {
        let (x, y) = (x - self.origin.0, y - self.origin.1);
        let [[a, b], [c, d]] = self.rows;
        ((a * x + b * y) / self.determinant, (c * x + d * y) / self.determinant)
    }
}

fn is_same_crs(a: &str, b: &str) -> bool {
    let same = || {
        let (Ok(a), Ok(b)) = (crs(a), crs(b)) else { return false };
        let code = |crs: &SpatialRef| crs.authority().ok();
        a == b || code(&a).is_some_and(|code_of_a| Some(code_of_a) == code(&b))
    };
    a == b || scope(same).0
}

/// A CRS in few words: `EPSG:32633`, or its name.
pub(super) fn crs_name(wkt: &str) -> String {
    let name = || {
        let crs = crs(wkt).ok()?;
        crs.authority().ok().or_else(|| crs.name().map(|name| format!("{name:?}")))
    };
    scope(name).0.unwrap_or_else(|| "unreadable".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_back() {
        for transform in [
            [500_000.0, 0.3, 0.0, 5_000_000.0, 0.0, -0.3],
            [10.0, 1e-5, 2e-6, 50.0, 3e-6, -1e-5],
            [0.0, 0.0, 2.0, 0.0, 3.0, 0.0],
        ] {
            let (x, y) = Affine(transform).at(1234.5, 77.25);
            let (column, row) = Affine(transform).inverse().unwrap().at(x, y);
            assert!((column - 1234.5).abs() < 1e-5 && (row - 77.25).abs() < 1e-5, "{transform:?}");
        }
        assert!(Affine([0.0, 1.0, 2.0, 0.0, 2.0, 4.0]).inverse().is_none());
        assert!(Affine([0.0; 6]).inverse().is_none());
    }
}
