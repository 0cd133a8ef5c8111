//! The band of weighted sums that blending keeps while tiles arrive row by row.

use std::ops::Range;

use ndarray::{Array3, ArrayView3, Axis as Dimension, s};

use crate::error::{Error, ErrorKind, Result};
use crate::tiling::{Blend, Plan, Tile};

/// Adds weighted tiles into a band of rows that rolls down the raster: as tall as a tile, as wide as the raster.
///
/// Tiles come in the plan's order. When a row of tiles is complete, the raster rows above the next tile row are
/// final and are taken out; memory is `C × tile height × raster width × 8` bytes. Sums are `f64`, so that a hundred overlapping tiles
/// of one value still give that value.
#[derive(Debug)]
pub struct Accumulator {
    blend: Blend,
    /// `[C, rows, W]`; row 0 is raster row `top`.
    sums: Array3<f64>,
    top: usize,
    /// Normalised vertical weights of the tile row at work.
    vertical: (usize, Vec<f64>),
    /// Normalised horizontal weights: first, last and all others differ, so they are kept by column.
    horizontal: Vec<Vec<f64>>,
}

impl Accumulator {
    /// An accumulator of `channels` channels for a plan.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`].
    pub fn new(plan: &Plan, channels: usize, blend: Blend) -> Result<Accumulator> {
        let rows = plan.y().tile().min(plan.y().extent());
        let width = plan.x().extent();
        let short = || {
            Error::new(
                ErrorKind::OutOfMemory,
                format!("blending {channels} channels needs a band of {rows} x {width} pixels in memory"),
            )
        };
        let length = channels.checked_mul(rows).and_then(|n| n.checked_mul(width)).ok_or_else(short)?;
        let mut sums = Vec::new();
        sums.try_reserve_exact(length).map_err(|_| short())?;
        sums.resize(length, 0.0);
        let sums = Array3::from_shape_vec((channels, rows, width), sums)
            .map_err(|error| Error::internal("accumulator shape").caused_by(error))?;
        let horizontal = (0..plan.x().len()).map(|column| plan.x().weights(column, blend)).collect();
        Ok(Accumulator { blend, sums, top: 0, vertical: (usize::MAX, Vec::new()), horizontal })
    }

    /// Adds a tile's values `[C, H, W]` (H and W are the plan's tile size); what reaches past the raster is left
    /// out.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for another shape or a tile whose rows have been taken already.
    pub fn add(&mut self, plan: &Plan, tile: &Tile, values: ArrayView3<'_, f32>) -> Result<()> {
        let rows = plan.y().covered(tile.row);
        let columns = plan.x().covered(tile.column);
        let expected = (self.sums.dim().0, plan.y().tile(), plan.x().tile());
        if values.dim() != expected || rows.start < self.top {
            return Err(Error::internal(format!(
                "blend: tile values {:?} at row {}: expected {expected:?} from row {}",
                values.dim(),
                rows.start,
                self.top
            )));
        }
        if self.vertical.0 != tile.row {
            self.vertical = (tile.row, plan.y().weights(tile.row, self.blend));
        }
        let horizontal = &self.horizontal[tile.column];
        let band = rows.start - self.top..rows.end - self.top;
        let mut target = self.sums.slice_mut(s![.., band, columns.clone()]);
        for (mut target, values) in target.axis_iter_mut(Dimension(0)).zip(values.axis_iter(Dimension(0))) {
            for ((mut sums, values), wy) in
                target.rows_mut().into_iter().zip(values.rows()).zip(&self.vertical.1)
            {
                for ((sum, value), wx) in sums.iter_mut().zip(values).zip(horizontal) {
                    *sum += f64::from(*value) * (wx * wy);
                }
            }
        }
        Ok(())
    }

    /// After the last tile of tile row `row`: the raster rows that no later tile touches, and their values
    /// `[C, rows, W]`. [`Accumulator::advance`] must follow.
    pub fn finished(&self, plan: &Plan, row: usize) -> (Range<usize>, Array3<f32>) {
        let end = if row + 1 == plan.y().len() { plan.y().extent() } else { plan.y().origin(row + 1) };
        let rows = self.top..end;
        (rows.clone(), self.sums.slice(s![.., ..rows.len(), ..]).mapv(|sum| sum as f32))
    }

    /// Drops the rows given by [`Accumulator::finished`] and moves the band down.
    pub fn advance(&mut self, rows: &Range<usize>) {
        let (_, height, _) = self.sums.dim();
        let gone = rows.len();
        for mut channel in self.sums.axis_iter_mut(Dimension(0)) {
            for row in gone..height {
                let (mut to, from) = channel.multi_slice_mut((s![row - gone, ..], s![row, ..]));
                to.assign(&from);
            }
            channel.slice_mut(s![height - gone.., ..]).fill(0.0);
        }
        self.top = rows.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;
    use proptest::prelude::*;

    /// The whole raster at once, in f64, weights and totals kept apart.
    fn brute_force(
        plan: &Plan,
        blend: Blend,
        value: impl Fn(u64, usize, usize, usize) -> f64,
    ) -> Array3<f64> {
        let size = plan.raster();
        let mut sums = Array3::zeros((2, size.height, size.width));
        let mut totals = Array3::<f64>::zeros((2, size.height, size.width));
        for tile in plan.tiles() {
            for c in 0..2 {
                for i in 0..plan.y().tile() {
                    for j in 0..plan.x().tile() {
                        let (y, x) = (tile.window.y as usize + i, tile.window.x as usize + j);
                        if y >= size.height || x >= size.width {
                            continue;
                        }
                        let weight = blend.window(i, plan.y().tile()) * blend.window(j, plan.x().tile());
                        sums[[c, y, x]] += weight * value(tile.number, c, i, j);
                        totals[[c, y, x]] += weight;
                    }
                }
            }
        }
        sums / totals
    }

    fn rolled(plan: &Plan, blend: Blend, value: impl Fn(u64, usize, usize, usize) -> f64) -> Array3<f32> {
        let size = plan.raster();
        let mut out = Array3::from_elem((2, size.height, size.width), f32::NAN);
        let mut accumulator = Accumulator::new(plan, 2, blend).unwrap();
        for tile in plan.tiles() {
            let values = Array3::from_shape_fn((2, plan.y().tile(), plan.x().tile()), |(c, i, j)| {
                value(tile.number, c, i, j) as f32
            });
            accumulator.add(plan, &tile, values.view()).unwrap();
            if tile.column + 1 == plan.x().len() {
                let (rows, values) = accumulator.finished(plan, tile.row);
                out.slice_mut(s![.., rows.clone(), ..]).assign(&values);
                accumulator.advance(&rows);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn the_rolling_band_equals_the_whole_raster(
            (width, height) in (1usize..70, 1usize..70),
            (tile_w, tile_h) in (1usize..30, 1usize..30),
            share in 0.0f64..0.9,
            which in 1usize..5,
        ) {
            let blend = Blend::ALL[which];
            let overlap = |tile: usize| ((tile as f64 * share) as usize).min(tile - 1);
            let plan = Plan::new(
                Size::new(width, height), Size::new(tile_w, tile_h), (overlap(tile_w), overlap(tile_h)), 1,
            ).unwrap();
            let value = |number: u64, c: usize, i: usize, j: usize| {
                ((number * 31 + c as u64 * 7 + i as u64 * 3 + j as u64) % 17) as f64 / 17.0
            };
            let expected = brute_force(&plan, blend, value);
            for (got, expected) in rolled(&plan, blend, value).iter().zip(&expected) {
                prop_assert!((f64::from(*got) - expected).abs() < 1e-6, "{} instead of {}", got, expected);
            }
        }
    }

    #[test]
    fn tiles_of_another_shape_are_refused() {
        let plan = Plan::new(Size::new(8, 8), Size::new(4, 4), (0, 0), 1).unwrap();
        let mut accumulator = Accumulator::new(&plan, 2, Blend::Hann).unwrap();
        let values = Array3::zeros((2, 4, 5));
        assert!(accumulator.add(&plan, &plan.tile(0), values.view()).is_err());
    }
}
