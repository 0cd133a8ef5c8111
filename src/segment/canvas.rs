//! From tiles to the output: cropped straight through, or blended.

use ndarray::{Array2, ArrayView2, ArrayView3, ArrayViewMut3, s};

use crate::error::{Error, Result};
use crate::geometry::Window;
use crate::segment::product::Encoding;
use crate::segment::setup::Setup;
use crate::tensor::Samples;
use crate::tiling::{Accumulator, Step, Tile};

/// A tile on its way: in the batch, or skipped for want of a valid pixel.
pub(super) struct Pending {
    pub(super) step: Step,
    /// `[H, W]` on the map's grid, for the part of the tile that lies on the map; `None`: all valid.
    pub(super) valid: Option<Array2<bool>>,
    /// Its place in the batch; `None` where it is skipped.
    pub(super) slot: Option<usize>,
}

/// The part of something `[H, W]` that covers a tile from its first pixel, in a window of the map within the tile.
pub(super) fn part_of<'v, T>(tile: &Tile, window: Window, values: ArrayView2<'v, T>) -> ArrayView2<'v, T> {
    let (y, x) = within(tile, window);
    values.slice_move(s![y..y + window.height, x..x + window.width])
}

fn within(tile: &Tile, window: Window) -> (usize, usize) {
    ((window.y - tile.window.y) as usize, (window.x - tile.window.x) as usize)
}

/// What the model gave for a tile.
pub(super) enum Values<'v> {
    /// Scores `[C, H, W]`.
    Scores(ArrayViewMut3<'v, f32>),
    /// Class numbers `[H, W]`, decided by the model; only where nothing is blended.
    U8(ArrayView2<'v, u8>),
    U16(ArrayView2<'v, u16>),
}

/// What tiles are laid upon.
pub(super) struct Canvas<'a> {
    encoding: &'a Encoding,
    /// `None` when cropping.
    blended: Option<Accumulator>,
    /// The first step whose region is to be written; those before it are laid down for what they share with later ones.
    first: u64,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(setup: &'a Setup, first: u64) -> Result<Canvas<'a>> {
        let Setup { plan, lanes, encoding, blend, .. } = setup;
        let blended = match blend.is_cut() {
            true => None,
            false => Some(Accumulator::new(plan, lanes, encoding.channels, *blend)?),
        };
        Ok(Canvas { encoding, blended, first })
    }

    /// Lays a tile down, and gives the block that is finished with it. Tiles come in the order of their steps; `values` are
    /// the model's, `None` where it was not run.
    pub(super) fn place(
        &mut self,
        pending: &Pending,
        mut values: Option<Values<'_>>,
    ) -> Result<Option<(Window, Samples)>> {
        let Pending { step, valid, .. } = pending;
        let wanted = step.number >= self.first;
        let Some(blended) = &mut self.blended else {
            let window = step.tile.kept;
            if !wanted {
                return Ok(None);
            }
            let valid = valid.as_ref().map(|valid| part_of(&step.tile, window, valid.view()));
            let encoded = match values {
                None => self.encoding.empty(window.height, window.width),
                Some(Values::Scores(mut values)) => {
                    let (y, x) = within(&step.tile, window);
                    let mut part = values.slice_mut(s![.., y..y + window.height, x..x + window.width]);
                    self.encoding.activate(part.view_mut(), false);
                    self.encoding.encode(part.view(), valid)
                }
                Some(Values::U8(codes)) => self.encoding.decided(part_of(&step.tile, window, codes), valid),
                Some(Values::U16(codes)) => self.encoding.decided(part_of(&step.tile, window, codes), valid),
            };
            return Ok(Some((window, encoded)));
        };
        let empty = values.is_none();
        let finished: Option<(Window, ArrayView3<'_, f32>)> = match &mut values {
            Some(Values::Scores(values)) => {
                self.encoding.activate(values.view_mut(), true);
                blended.add(step, values.view())?
            }
            Some(_) => return Err(Error::internal("class numbers cannot be blended")),
            None => blended.skip(step)?,
        };
        let Some((window, values)) = finished.filter(|_| wanted) else { return Ok(None) };
        // A region is part of the tile whose step finishes it.
        let encoded = match valid {
            _ if empty => self.encoding.empty(window.height, window.width),
            Some(valid) => self.encoding.encode(values, Some(part_of(&step.tile, window, valid.view()))),
            None => self.encoding.encode(values, None),
        };
        Ok(Some((window, encoded)))
    }
}
