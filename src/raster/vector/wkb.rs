//! Geometries as bytes, whose coordinates are moved in place.

use crate::error::{Error, Result};

/// Deepest nesting of collections; GDAL's own limit is 32.
const MAX_DEPTH: usize = 40;

/// Smallest and largest coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Envelope {
    pub(super) min: [f64; 2],
    pub(super) max: [f64; 2],
}

impl Envelope {
    /// That of nothing.
    pub(super) const EMPTY: Envelope = Envelope { min: [f64::INFINITY; 2], max: [f64::NEG_INFINITY; 2] };

    pub(super) fn add(&mut self, x: f64, y: f64) {
        self.min = [self.min[0].min(x), self.min[1].min(y)];
        self.max = [self.max[0].max(x), self.max[1].max(y)];
    }

    /// Whether they share a point, where `self` is widened by `margin` on all sides.
    pub(super) fn meets(&self, other: &Envelope, margin: f64) -> bool {
        (0..2).all(|axis| {
            self.min[axis] - margin <= other.max[axis] && other.min[axis] <= self.max[axis] + margin
        })
    }
}

/// Replaces every coordinate pair of `wkb` (ISO WKB in the plane, little-endian, without curves) by what `to` makes of
/// it. Surfaces of patches become multipolygons, which are rasterised in the same way.
///
/// # Errors
/// [`Internal`](crate::ErrorKind::Internal) for bytes that are none of these.
pub(super) fn move_points(wkb: &mut [u8], mut to: impl FnMut(f64, f64) -> (f64, f64)) -> Result<()> {
    let mut cursor = Cursor { bytes: wkb, at: 0 };
    cursor
        .geometry(&mut to, 0)
        .ok_or_else(|| Error::internal("geometry is not the WKB that GDAL was asked for"))
}

struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    /// `None` for anything unexpected.
    fn geometry(&mut self, to: &mut dyn FnMut(f64, f64) -> (f64, f64), depth: usize) -> Option<()> {
        const LITTLE_ENDIAN: u8 = 1;
        if depth > MAX_DEPTH || *self.bytes.get(self.at)? != LITTLE_ENDIAN {
            return None;
        }
        self.at += 1;
        let kind_at = self.at;
        let kind = match self.number()? {
            // A polyhedral surface or a triangulated one, and their triangles.
            15 | 16 => 6,
            17 => 3,
            kind => kind,
        };
        self.bytes.get_mut(kind_at..kind_at + 4)?.copy_from_slice(&u32::to_le_bytes(kind));
        match kind {
            1 => self.points(1, to),
            2 => {
                let points = self.number()?;
                self.points(points, to)
            }
            3 => {
                for _ in 0..self.number()? {
                    let points = self.number()?;
                    self.points(points, to)?;
                }
                Some(())
            }
            4..=7 => {
                for _ in 0..self.number()? {
                    self.geometry(to, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u32> {
        let bytes = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn points(&mut self, count: u32, to: &mut dyn FnMut(f64, f64) -> (f64, f64)) -> Option<()> {
        for _ in 0..count {
            let pair = self.bytes.get_mut(self.at..self.at + 16)?;
            let (x, y) = pair.split_at_mut(8);
            let (new_x, new_y) =
                to(f64::from_le_bytes((&*x).try_into().ok()?), f64::from_le_bytes((&*y).try_into().ok()?));
            x.copy_from_slice(&new_x.to_le_bytes());
            y.copy_from_slice(&new_y.to_le_bytes());
            self.at += 16;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gdal::vector::Geometry;

    #[test]
    fn every_point_of_every_kind_is_moved_once() {
        for (before, after) in [
            ("POINT (1 2)", "POINT (11 4)"),
            ("LINESTRING (1 2,3 4)", "LINESTRING (11 4,13 8)"),
            (
                "POLYGON ((0 0,9 0,9 9,0 0),(1 1,2 1,2 2,1 1))",
                "POLYGON ((10 0,19 0,19 18,10 0),(11 2,12 2,12 4,11 2))",
            ),
            ("MULTIPOINT ((1 2),(3 4))", "MULTIPOINT ((11 4),(13 8))"),
            ("MULTILINESTRING ((1 2,3 4),(5 6,7 8))", "MULTILINESTRING ((11 4,13 8),(15 12,17 16))"),
            (
                "MULTIPOLYGON (((0 0,9 0,9 9,0 0)),((1 1,2 1,2 2,1 1)))",
                "MULTIPOLYGON (((10 0,19 0,19 18,10 0)),((11 2,12 2,12 4,11 2)))",
            ),
            (
                "GEOMETRYCOLLECTION (POINT (1 2),GEOMETRYCOLLECTION (LINESTRING (1 2,3 4)))",
                "GEOMETRYCOLLECTION (POINT (11 4),GEOMETRYCOLLECTION (LINESTRING (11 4,13 8)))",
            ),
            ("TIN (((0 0,9 0,9 9,0 0)))", "MULTIPOLYGON (((10 0,19 0,19 18,10 0)))"),
        ] {
            let mut wkb = Geometry::from_wkt(before).unwrap().iso_wkb().unwrap();
            move_points(&mut wkb, |x, y| (x + 10.0, 2.0 * y)).unwrap();
            assert_eq!(Geometry::from_wkb(&wkb).unwrap().iso_wkt().unwrap(), after);
            for length in 0..wkb.len() {
                assert!(move_points(&mut wkb[..length], |x, y| (x, y)).is_err(), "{before} cut at {length}");
            }
        }
        let mut curve = Geometry::from_wkt("CIRCULARSTRING (0 0,1 1,2 0)").unwrap().iso_wkb().unwrap();
        assert!(move_points(&mut curve, |x, y| (x, y)).is_err());
    }

    #[test]
    fn envelopes_meet_where_they_touch() {
        let unit = Envelope { min: [0.0; 2], max: [1.0; 2] };
        let other = Envelope { min: [1.0, 0.5], max: [2.0, 3.0] };
        assert!(unit.meets(&other, 0.0) && other.meets(&unit, 0.0));
        let far = Envelope { min: [1.5, 0.5], max: [2.0, 3.0] };
        assert!(!unit.meets(&far, 0.0) && unit.meets(&far, 1.0));
        assert!(!unit.meets(&Envelope::EMPTY, 1.0) && !Envelope::EMPTY.meets(&unit, 1.0));
    }
}
