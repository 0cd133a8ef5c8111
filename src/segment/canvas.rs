//! From tiles to the output: cropped straight through, or blended.

use ndarray::{Array2, Array4, ArrayView2, Axis, s};

use crate::error::{Error, Result};
use crate::segment::product::Encoding;
use crate::segment::writing::Output;
use crate::tiling::{Accumulator, Blend, Lanes, Plan, Tile};

/// A tile on its way: in the batch, or skipped for want of a valid pixel.
pub(super) struct Pending {
    pub(super) tile: Tile,
    /// `[H, W]` on the map's grid, for the part of the tile that lies on the map; `None`: all valid.
    pub(super) valid: Option<Array2<bool>>,
    /// Its place in the batch; `None` where it is skipped.
    pub(super) slot: Option<usize>,
}

/// The kept part of something `[H, W]` that covers a tile from its first pixel.
pub(super) fn kept_part<'v, T>(tile: &Tile, values: ArrayView2<'v, T>) -> ArrayView2<'v, T> {
    let (y, x) = ((tile.kept.y - tile.window.y) as usize, (tile.kept.x - tile.window.x) as usize);
    values.slice_move(s![y..y + tile.kept.height, x..x + tile.kept.width])
}

/// What tiles are laid upon.
pub(super) struct Canvas<'a> {
    encoding: &'a Encoding,
    /// One lane over the whole map, and its sums; `None` when cropping.
    blended: Option<(Lanes, Accumulator)>,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(plan: &Plan, encoding: &'a Encoding, blend: Blend) -> Result<Canvas<'a>> {
        if blend.is_cut() {
            return Ok(Canvas { encoding, blended: None });
        }
        let lanes = Lanes::new(plan, blend, usize::MAX);
        let accumulator = Accumulator::new(plan, &lanes, encoding.channels, blend)?;
        Ok(Canvas { encoding, blended: Some((lanes, accumulator)) })
    }

    /// Lays the pending tiles down in their order and empties the list. `values` are those of the batch.
    pub(super) fn place(
        &mut self,
        _: &Plan,
        pending: &mut Vec<Pending>,
        mut values: Option<&mut Array4<f32>>,
        output: &Output,
    ) -> Result<()> {
        for Pending { tile, valid, slot } in pending.drain(..) {
            let values = match (&mut values, slot) {
                (Some(values), Some(slot)) => Some(values.index_axis_mut(Axis(0), slot)),
                (_, None) => None,
                (None, Some(_)) => return Err(Error::internal("a tile without values")),
            };
            let Some((lanes, accumulator)) = &mut self.blended else {
                let encoded = match values {
                    None => self.encoding.empty(tile.kept.height, tile.kept.width),
                    Some(mut values) => {
                        let (y, x) =
                            ((tile.kept.y - tile.window.y) as usize, (tile.kept.x - tile.window.x) as usize);
                        let mut part =
                            values.slice_mut(s![.., y..y + tile.kept.height, x..x + tile.kept.width]);
                        self.encoding.activate(part.view_mut(), false);
                        let valid = valid.as_ref().map(|valid| kept_part(&tile, valid.view()));
                        self.encoding.encode(part.view(), valid)
                    }
                };
                output.write(tile.kept, encoded)?;
                continue;
            };
            // In one lane tiles have their turns in the plan's order.
            let step = lanes.step(tile.number);
            let region = match values {
                None => accumulator.skip(&step)?,
                Some(mut values) => {
                    self.encoding.activate(values.view_mut(), true);
                    accumulator.add(&step, values.view())?
                }
            };
            if let Some((region, values)) = region {
                // The region is the upper left corner of its tile.
                let valid = valid.as_ref().map(|valid| valid.slice(s![..region.height, ..region.width]));
                let valid = valid.filter(|valid| valid.iter().any(|valid| !valid));
                output.write(region, self.encoding.encode(values, valid))?;
            }
        }
        Ok(())
    }
}
