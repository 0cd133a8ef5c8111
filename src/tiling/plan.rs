//! The grid of tiles over a raster.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::geometry::{Size, Window};
use crate::tiling::Axis;

/// How much neighbouring tiles share.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Overlap {
    /// Pixels of the model's input.
    Pixels(usize),
    /// A share of the tile, 0 up to but not including 1.
    Share(f64),
}

impl Default for Overlap {
    /// A quarter of the tile.
    fn default() -> Self {
        Overlap::Share(0.25)
    }
}

impl Overlap {
    /// The overlap of tiles of `tile` pixels, in pixels (a share is rounded to the nearest).
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) unless it is smaller than the tile.
    pub fn pixels(self, tile: usize) -> Result<usize> {
        match self {
            Overlap::Pixels(pixels) if pixels < tile => Ok(pixels),
            Overlap::Pixels(pixels) => {
                Err(Error::invalid(format!("overlap {pixels} is not smaller than the tile of {tile} pixels")))
            }
            Overlap::Share(share) if (0.0..1.0).contains(&share) => {
                Ok(((tile as f64 * share).round() as usize).min(tile - 1))
            }
            Overlap::Share(share) => Err(Error::invalid(format!(
                "overlap {share} of the tile: expected a share from 0 to below 1"
            ))),
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Overlap::Pixels(pixels) => write!(f, "{pixels}"),
            Overlap::Share(share) => write!(f, "{}%", share * 100.0),
        }
    }
}

impl FromStr for Overlap {
    type Err = Error;

    /// Pixels (`128`) or per cent of the tile (`25%`).
    fn from_str(text: &str) -> Result<Overlap> {
        let wrong =
            || Error::invalid(format!("expected an overlap in pixels or per cent (128, 25%), got {text:?}"));
        match text.strip_suffix('%') {
            Some(number) => {
                let percent: f64 = number.trim().parse().map_err(|_| wrong())?;
                if !(0.0..100.0).contains(&percent) {
                    return Err(Error::invalid(format!("overlap {text}: expected from 0% to below 100%")));
                }
                Ok(Overlap::Share(percent / 100.0))
            }
            None => text.trim().parse().map(Overlap::Pixels).map_err(|_| wrong()),
        }
    }
}

/// A tile of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Its running number, from 0, row by row.
    pub number: u64,
    /// Its column in the grid.
    pub column: usize,
    /// Its row in the grid.
    pub row: usize,
    /// All of its pixels. On a raster smaller than a tile the window reaches past the right or lower edge.
    pub window: Window,
    /// The pixels that it keeps under [`Blend::Crop`](crate::tiling::Blend::Crop).
    pub kept: Window,
}

/// The grid of tiles over a raster: the product of a horizontal and a vertical [`Axis`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    x: Axis,
    y: Axis,
}

impl Plan {
    /// Covers a raster of `raster` pixels with as few tiles of `tile` pixels as overlap by at least `overlap` (x, y)
    /// pixels, spread evenly. Steps from tile to tile are at most what the overlap leaves, rounded down to a multiple of
    /// `multiple` (at least one multiple), and all origins but the last of a row and of a column are multiples of it.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): an empty raster or tile, an overlap not smaller than
    /// the tile, a tile smaller than `multiple`.
    pub fn new(raster: Size, tile: Size, overlap: (usize, usize), multiple: usize) -> Result<Plan> {
        let axis = |extent: usize, tile: usize, overlap: usize, name: &str| {
            if extent == 0 || tile == 0 || multiple == 0 {
                return Err(Error::invalid(format!(
                    "{name} of 0 pixels: raster {raster}, tile {tile}, multiple {multiple}"
                )));
            }
            if overlap >= tile {
                return Err(Error::invalid(format!(
                    "overlap {overlap} is not smaller than the tile of {tile} pixels ({name})"
                )));
            }
            let step = (tile - overlap) / multiple * multiple;
            if tile < multiple {
                return Err(Error::invalid(format!(
                    "tile {name} {tile} is smaller than a step of {multiple}"
                )));
            }
            Ok(Axis::new(extent, tile, step.max(multiple), multiple))
        };
        Ok(Plan {
            x: axis(raster.width, tile.width, overlap.0, "width")?,
            y: axis(raster.height, tile.height, overlap.1, "height")?,
        })
    }

    /// Covers a raster so that each pixel can be kept from a tile that has it right: along x and along y `margins` are the
    /// pixels at the beginning and at the end of a tile that have not, and `strides` what origins are multiples of. Tiles
    /// are spread evenly and may reach past the right and the lower edge by less than a stride.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): an empty raster, tile or stride, and a tile that leaves nothing
    /// between its margins on a raster that is larger.
    pub fn exact(
        raster: Size,
        tile: Size,
        margins: [(usize, usize); 2],
        strides: [usize; 2],
    ) -> Result<Plan> {
        let axis = |extent: usize, tile: usize, index: usize, name: &str| {
            let (margin, stride) = (margins[index], strides[index]);
            if extent == 0 || tile == 0 || stride == 0 {
                return Err(Error::invalid(format!(
                    "{name} of 0 pixels: raster {raster}, tile {tile}, stride {stride}"
                )));
            }
            Axis::exact(extent, tile, margin, stride).ok_or_else(|| {
                let (before, behind) = margin;
                let least = (before + behind + stride).next_multiple_of(stride);
                Error::invalid(format!(
                    "tile {name} {tile}: {before} pixels before and {behind} behind what is kept leave too little: expected at least {least}"
                ))
            })
        };
        Ok(Plan {
            x: axis(raster.width, tile.width, 0, "width")?,
            y: axis(raster.height, tile.height, 1, "height")?,
        })
    }

    /// Pixels that all tiles have together, over those of the raster: 1 where none is computed twice.
    pub fn recomputed(&self) -> f64 {
        self.len() as f64 * self.tile_size().pixels() as f64 / self.raster().pixels() as f64
    }

    /// Pixels computed for one where tiles lie as they do in the midst of a large raster: what their overlap costs.
    pub fn overlap_factor(&self) -> f64 {
        let factor = |axis: &Axis| match axis.len() {
            1 => 1.0,
            _ => axis.tile() as f64 / (axis.tile() - axis.overlap()) as f64,
        };
        factor(&self.x) * factor(&self.y)
    }

    /// The raster's size.
    pub fn raster(&self) -> Size {
        Size::new(self.x.extent(), self.y.extent())
    }

    /// A tile's size.
    pub fn tile_size(&self) -> Size {
        Size::new(self.x.tile(), self.y.tile())
    }

    /// Tiles along x.
    pub fn x(&self) -> &Axis {
        &self.x
    }

    /// Tiles along y.
    pub fn y(&self) -> &Axis {
        &self.y
    }

    /// Number of tiles.
    #[expect(clippy::len_without_is_empty, reason = "a plan has at least one tile")]
    pub fn len(&self) -> u64 {
        self.x.len() as u64 * self.y.len() as u64
    }

    /// The tile with this running number (row by row); `number` must be below [`Plan::len`].
    pub fn tile(&self, number: u64) -> Tile {
        debug_assert!(number < self.len());
        let columns = self.x.len() as u64;
        let (row, column) = ((number / columns) as usize, (number % columns) as usize);
        let (kept_x, kept_y) = (self.x.kept(column), self.y.kept(row));
        Tile {
            number,
            column,
            row,
            window: Window::new(
                self.x.origin(column) as i64,
                self.y.origin(row) as i64,
                self.x.tile(),
                self.y.tile(),
            ),
            kept: Window::new(kept_x.start as i64, kept_y.start as i64, kept_x.len(), kept_y.len()),
        }
    }

    /// All tiles, row by row.
    pub fn tiles(&self) -> impl ExactSizeIterator<Item = Tile> + '_ {
        // Rasters have at most 2³¹ pixels a side; a plan whose tiles do not fit usize could not be run anyway.
        (0..usize::try_from(self.len()).unwrap_or(usize::MAX)).map(|number| self.tile(number as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn kept_windows_cover_every_pixel_once(
            (width, height) in (1usize..90, 1usize..90),
            (tile_w, tile_h) in (1usize..40, 1usize..40),
            share in 0.0f64..0.99,
        ) {
            let overlap = |tile: usize| Overlap::Share(share).pixels(tile).unwrap();
            let plan = Plan::new(
                Size::new(width, height), Size::new(tile_w, tile_h), (overlap(tile_w), overlap(tile_h)), 1,
            ).unwrap();
            let mut seen = vec![0u32; width * height];
            for (number, tile) in plan.tiles().enumerate() {
                prop_assert_eq!(tile.number, number as u64);
                for y in tile.kept.y..tile.kept.y + tile.kept.height as i64 {
                    for x in tile.kept.x..tile.kept.x + tile.kept.width as i64 {
                        seen[y as usize * width + x as usize] += 1;
                        prop_assert!(x >= tile.window.x && x < tile.window.x + tile_w as i64);
                        prop_assert!(y >= tile.window.y && y < tile.window.y + tile_h as i64);
                    }
                }
                if width >= tile_w {
                    prop_assert!(tile.window.x + tile_w as i64 <= width as i64);
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
        }

        #[test]
        fn origins_are_multiples_where_the_raster_is(
            tiles in 1usize..6, multiple in 1usize..9, in_tile in 1usize..9, overlap in 0usize..30,
        ) {
            let tile = multiple * in_tile;
            prop_assume!(overlap < tile);
            let plan = Plan::new(
                Size::new(tile * tiles, tile * tiles), Size::new(tile, tile), (overlap, overlap), multiple,
            ).unwrap();
            for tile in plan.tiles() {
                prop_assert_eq!(tile.window.x as usize % multiple, 0);
            }
        }
    }

    #[test]
    fn wrong_plans_are_refused() {
        let size = Size::new(10, 10);
        assert!(Plan::new(Size::new(0, 10), size, (0, 0), 1).is_err());
        assert!(Plan::new(size, Size::new(10, 0), (0, 0), 1).is_err());
        assert!(Plan::new(size, size, (10, 0), 1).is_err());
        assert!(Plan::new(size, size, (0, 0), 0).is_err());
        assert!(Plan::new(size, Size::new(2, 2), (0, 0), 4).is_err());
    }

    #[test]
    fn overlap_parses() {
        assert_eq!("128".parse::<Overlap>().unwrap(), Overlap::Pixels(128));
        assert_eq!("25%".parse::<Overlap>().unwrap(), Overlap::Share(0.25));
        assert_eq!("50%".parse::<Overlap>().unwrap().pixels(64).unwrap(), 32);
        for wrong in ["", "x", "-1", "100%", "-5%", "nan%", "1.5"] {
            assert!(wrong.parse::<Overlap>().is_err(), "{wrong}");
        }
        assert!(Overlap::Pixels(64).pixels(64).is_err());
        assert!(Overlap::Share(f64::NAN).pixels(64).is_err());
    }
}
