//! The first stages of a job: windows are read, normalised and put together to batches, on a thread of their own.

use std::sync::mpsc::{Receiver, SyncSender};

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::geometry::{Size, Window};
use crate::metrics::Stopwatch;
use crate::model::Normalisation;
use crate::runtime::CancelToken;
use crate::segment::canvas::{Pending, part_of};
use crate::segment::feed::Feed;
use crate::segment::setup::Setup;
use crate::segment::stream::{Block, Source};
use crate::tiling::Tile;

/// Tiles without data that may wait for a batch to fill up.
const MOST_SKIPPED: usize = 64;

/// Batches between reading and the model beside those at the model: one that is read, and one that waits.
pub(super) const BATCHES: usize = 2;

/// Tiles that go to the model together.
pub(super) struct Batch {
    /// In the order of their steps.
    pub(super) tiles: Vec<Pending>,
    /// Tiles among them that are run.
    pub(super) filled: usize,
    /// `[N, C, H, W]`; what is not filled is 0.
    pub(super) input: Feed,
    /// The step after the last.
    pub(super) end: u64,
}

/// What was measured on the way.
#[derive(Debug, Default)]
pub(super) struct ReadMeasures {
    /// Time in the source.
    pub(super) read: Stopwatch,
    /// Time preparing what was read.
    pub(super) prepare: Stopwatch,
    pub(super) skipped: u64,
}

/// Reads what the model is to see.
pub(super) struct Reader<'a> {
    pub(super) setup: &'a Setup,
    pub(super) normalisation: &'a Normalisation,
    pub(super) cancel: &'a CancelToken,
}

impl Reader<'_> {
    /// Reads all tiles from step `first` on. `spare` gives back the buffers of batches that were run.
    ///
    /// A batch ends where it is full; under blending also with its row of tiles, so that a job that is taken up at the
    /// beginning of a row has the same batches from there on.
    ///
    /// # Errors
    /// Of the source. Ends without an error where nobody takes the batches any more: whoever stopped has one.
    pub(super) fn run(
        &self,
        source: &mut dyn Source,
        first: u64,
        batches: &SyncSender<Batch>,
        spare: &Receiver<Feed>,
    ) -> Result<ReadMeasures> {
        let setup = self.setup;
        let mut measures = ReadMeasures::default();
        let tile_len = setup.channels * setup.tile.width * setup.tile.height;
        let mut buffers = 0;
        let mut batch: Option<Batch> = None;
        let mut lane = None;
        for number in first..setup.lanes.len() {
            if self.cancel.is_cancelled() {
                return Ok(measures);
            }
            let step = setup.lanes.step(number);
            if lane != Some(step.lane) {
                lane = Some(step.lane);
                source.enter(setup.columns_of(step.lane));
            }
            let own = match &mut batch {
                Some(own) => own,
                None => {
                    let input = match spare.try_recv() {
                        Ok(input) => input,
                        Err(_) if buffers < BATCHES + setup.in_flight => {
                            buffers += 1;
                            Feed::new(setup.raw(), setup.batch * tile_len)?
                        }
                        Err(_) => match spare.recv() {
                            Ok(input) => input,
                            Err(_) => return Ok(measures),
                        },
                    };
                    batch.insert(Batch { tiles: Vec::new(), filled: 0, input, end: number })
                }
            };
            let tile = step.tile;
            let place = |error: Error| error.at_tile(tile.number);
            let window = setup.placement.input_window(tile.window);
            let block = setup.permits.with(|| measures.read.time(|| source.read(window))).map_err(place)?;
            let prepare = || {
                let valid = map_validity(setup, &tile, window, &block, source.size());
                let wanted = valid.as_ref().is_none_or(|valid| match setup.blend.is_cut() {
                    true => part_of(&tile, tile.kept, valid.view()).iter().any(|valid| *valid),
                    false => valid.iter().any(|valid| *valid),
                });
                let slot = wanted.then_some(own.filled);
                if let Some(slot) = slot {
                    let into = slot * tile_len..(slot + 1) * tile_len;
                    let put = own.input.put(into, &block.samples, self.normalisation, source.nodata());
                    put.map_err(place)?;
                    own.filled += 1;
                }
                own.tiles.push(Pending { step, valid, slot });
                Ok::<_, Error>(slot)
            };
            let slot = setup.permits.with(|| measures.prepare.time(prepare))?;
            measures.skipped += u64::from(slot.is_none());
            own.end = number + 1;

            // A long stretch of skipped tiles must not pile up behind a batch that is not full.
            let full = own.filled == setup.batch
                || own.filled == 0
                || own.tiles.len() >= setup.batch + MOST_SKIPPED
                || own.end == setup.lanes.len()
                || (step.last_of_row && !setup.blend.is_cut());
            if full && let Some(mut own) = batch.take() {
                own.input.blank(own.filled * tile_len);
                if batches.send(own).is_err() {
                    return Ok(measures);
                }
            }
        }
        Ok(measures)
    }
}

/// The validity of the part of a tile that lies on the map, on the map's grid.
fn map_validity(
    setup: &Setup,
    tile: &Tile,
    window: Window,
    block: &Block,
    raster: Size,
) -> Option<Array2<bool>> {
    let valid = block.valid.as_ref()?;
    let (rows, columns) = (setup.plan.y().covered(tile.row), setup.plan.x().covered(tile.column));
    // The centre of the last map pixel may lie past the raster's edge where the scale does not divide its size.
    let inside = |at: usize, start: i64, extent: usize| {
        (setup.placement.source_of(at).min(extent - 1) as i64 - start) as usize
    };
    Some(Array2::from_shape_fn((rows.len(), columns.len()), |(i, j)| {
        valid[[
            inside(rows.start + i, window.y, raster.height),
            inside(columns.start + j, window.x, raster.width),
        ]]
    }))
}
