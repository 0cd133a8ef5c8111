//! From tiles to the sink: cropped straight through, or blended in the rolling band; and the count of what was written.

use ndarray::{Array2, Array4, ArrayView2, Axis, s};

use crate::error::{Error, Result};
use crate::geometry::Window;
use crate::metrics::Stopwatch;
use crate::segment::options::Product;
use crate::segment::product::Encoding;
use crate::segment::stream::Sink;
use crate::tensor::Samples;
use crate::tiling::{Accumulator, Blend, Plan, Tile};

/// A tile on its way: in the batch, or skipped for want of a valid pixel.
pub(super) struct Pending {
    pub(super) tile: Tile,
    /// `[H, W]` on the map's grid, for the part of the tile that lies on the map; `None`: all valid.
    pub(super) valid: Option<Array2<bool>>,
    /// Its place in the batch; `None` where it is skipped.
    pub(super) slot: Option<usize>,
}

/// The sink, with a clock and a count of the classes.
pub(super) struct Output<'a> {
    sink: &'a mut dyn Sink,
    clock: Stopwatch,
    nodata: f64,
    /// Pixels of each class; `None` where no classes are written.
    class_pixels: Option<Vec<u64>>,
    nodata_pixels: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(sink: &'a mut dyn Sink, encoding: &Encoding) -> Output<'a> {
        let class_pixels = (encoding.product == Product::Classes).then(|| vec![0; encoding.classes()]);
        Output { sink, clock: Stopwatch::default(), nodata: encoding.nodata, class_pixels, nodata_pixels: 0 }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.clock.seconds()
    }

    pub(super) fn class_pixels(&self) -> Option<&[u64]> {
        self.class_pixels.as_deref()
    }

    /// Pixels written as nodata; `None` where no classes are written.
    pub(super) fn nodata_pixels(&self) -> Option<u64> {
        self.class_pixels.as_ref().map(|_| self.nodata_pixels)
    }

    fn write(&mut self, window: Window, samples: Samples) -> Result<()> {
        match &samples {
            Samples::U8(block) => self.count(block.iter().map(|class| usize::from(*class))),
            Samples::U16(block) => self.count(block.iter().map(|class| usize::from(*class))),
            _ => {}
        }
        let sink = &mut self.sink;
        self.clock.time(|| sink.write(window, samples))
    }

    fn count(&mut self, samples: impl Iterator<Item = usize>) {
        let Some(counts) = &mut self.class_pixels else { return };
        for class in samples {
            match counts.get_mut(class) {
                Some(count) => *count += 1,
                None => {
                    debug_assert!(class as f64 == self.nodata);
                    self.nodata_pixels += 1;
                }
            }
        }
    }
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
        output: &mut Output<'_>,
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
    fn finish_row(
        &mut self,
        plan: &Plan,
        row: usize,
        encoding: &Encoding,
        output: &mut Output<'_>,
    ) -> Result<()> {
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
