//! From tiles to the output: cropped straight through, or blended in the rolling band.

use ndarray::{Array2, Array4, ArrayView2, Axis, s};

use crate::error::{Error, Result};
use crate::geometry::Window;
use crate::segment::product::Encoding;
use crate::segment::writing::Output;
use crate::tiling::{Accumulator, Blend, Plan, Tile};

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
    /// `None` when cropping.
    band: Option<Band>,
}

/// The rows at work when blending.
struct Band {
    accumulator: Accumulator,
    /// `[rows, W]`; rolls with the accumulator.
    valid: Array2<bool>,
    top: usize,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(plan: &Plan, encoding: &'a Encoding, blend: Blend) -> Result<Canvas<'a>> {
        let band = match blend {
            blend if blend.is_cut() => None,
            blend => {
                let rows = plan.y().tile().min(plan.y().extent());
                Some(Band {
                    accumulator: Accumulator::new(plan, encoding.channels, blend)?,
                    valid: Array2::from_elem((rows, plan.x().extent()), true),
                    top: 0,
                })
            }
        };
        Ok(Canvas { encoding, band })
    }

    /// Lays the pending tiles down in their order and empties the list. `values` are those of the batch.
    pub(super) fn place(
        &mut self,
        plan: &Plan,
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
            let Some(band) = &mut self.band else {
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
            if let Some(mut values) = values {
                self.encoding.activate(values.view_mut(), true);
                band.accumulator.add(plan, &tile, values.view())?;
            }
            if let Some(valid) = valid {
                let (rows, columns) = (plan.y().covered(tile.row), plan.x().covered(tile.column));
                band.valid.slice_mut(s![rows.start - band.top..rows.end - band.top, columns]).assign(&valid);
            }
            if tile.column + 1 == plan.x().len() {
                band.finish_row(plan, tile.row, self.encoding, output)?;
            }
        }
        Ok(())
    }
}

impl Band {
    /// Writes the rows that no later tile touches and moves down.
    fn finish_row(&mut self, plan: &Plan, row: usize, encoding: &Encoding, output: &Output) -> Result<()> {
        let (rows, values) = self.accumulator.finished(plan, row);
        let done = rows.len();
        let valid = self.valid.slice(s![..done, ..]);
        let all = valid.iter().all(|valid| *valid);
        let encoded = encoding.encode(values.view(), (!all).then_some(valid));
        output.write(Window::new(0, rows.start as i64, plan.x().extent(), done), encoded)?;
        self.accumulator.advance(&rows);
        let height = self.valid.nrows();
        for row in done..height {
            let (mut to, from) = self.valid.multi_slice_mut((s![row - done, ..], s![row, ..]));
            to.assign(&from);
        }
        self.valid.slice_mut(s![height - done.., ..]).fill(true);
        self.top = rows.end;
        Ok(())
    }
}
