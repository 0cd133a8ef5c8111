//! What is settled before the first tile: sizes, the plan, how tiles become a map.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Size, Window};
use crate::model::Form;
use crate::onnx::Fusion;
use crate::runtime::{Optimization, ProviderKind};
use crate::segment::exactness::{Exact, MOST_RECOMPUTED};
use crate::segment::feed::reserve;
use crate::segment::fitting::Fitting;
use crate::segment::job::Job;
use crate::segment::memory::Memory;
use crate::segment::options::{LARGEST_BATCH, LARGEST_TILE};
use crate::segment::permits::Permits;
use crate::segment::placement::Placement;
use crate::segment::product::Encoding;
use crate::segment::runner::Probe;
use crate::segment::stream::{Sink, Source};
use crate::tensor::DataType;
use crate::tiling::{Blend, Lanes, Plan};

/// All that is settled before the first tile.
pub(super) struct Setup {
    pub(super) tile: Size,
    pub(super) overlap: (usize, usize),
    pub(super) batch: usize,
    /// Whether runs must always have `batch` tiles.
    pub(super) fixed_batch: bool,
    pub(super) placement: Placement,
    pub(super) plan: Plan,
    pub(super) encoding: Encoding,
    /// How tiles become a map; never [`Blend::Auto`].
    pub(super) blend: Blend,
    /// Why so.
    pub(super) reason: String,
    /// The order of the tiles.
    pub(super) lanes: Lanes,
    pub(super) memory: Memory,
    /// Channels of a tile.
    pub(super) channels: usize,
    /// How far the runtime rewrites its graph.
    pub(super) optimization: Optimization,
    /// In which form the model runs.
    pub(super) form: Form,
    /// Batches at the model at the same time.
    pub(super) in_flight: usize,
    /// Stages at work at the same time.
    pub(super) permits: Permits,
}

impl Setup {
    /// The type of the samples that go to the model as they are; none where normalised ones do.
    pub(super) fn raw(&self) -> Option<DataType> {
        self.form.fusion.as_ref().map(|fusion| fusion.samples)
    }

    /// Channels of what the model gives: one where it decides on classes itself.
    pub(super) fn scored_channels(&self) -> usize {
        match &self.form.fusion {
            Some(Fusion { classes: Some(_), .. }) => 1,
            _ => self.encoding.channels,
        }
    }

    /// What the model's graph does of the work around it.
    pub(super) fn fused(&self) -> &'static str {
        match &self.form.fusion {
            None => "nothing",
            Some(Fusion { classes: None, .. }) => "samples",
            Some(_) => "samples and classes",
        }
    }

    /// Columns of the raster that the tiles of a lane see; they may reach past its edges.
    pub(super) fn columns_of(&self, lane: usize) -> Range<i64> {
        let columns = self.lanes.columns(lane);
        let window = |column: usize| {
            let x = self.plan.x();
            self.placement.input_window(Window::new(
                x.origin(column) as i64,
                0,
                x.tile(),
                self.plan.y().tile(),
            ))
        };
        let (first, last) = (window(columns.start), window(columns.end - 1));
        first.x..last.x + last.width as i64
    }
}

/// How tiles lie and become a map.
pub(super) struct Tiled {
    pub(super) tile: Size,
    pub(super) overlap: (usize, usize),
    pub(super) placement: Placement,
    pub(super) plan: Plan,
    pub(super) encoding: Encoding,
    pub(super) blend: Blend,
    pub(super) reason: String,
}

/// Tile side of models of free size.
const DEFAULT_TILE: usize = 512;

/// Most samples of a batch, in or out: 2 GiB of `f32`. A few bytes of a hostile model can ask for any size.
const MOST_SAMPLES: usize = 1 << 29;
/// Most channels of an output: what a GeoTIFF has bands for.
const MOST_CHANNELS: usize = 65_535;

impl Job<'_, '_> {
    /// Refuses batches that only a hostile or mistaken model asks for.
    pub(super) fn check_batch(&self, tiles: usize, channels: usize, size: Size) -> Result<()> {
        let samples = [tiles, channels, size.width, size.height]
            .into_iter()
            .try_fold(1usize, |product, factor| product.checked_mul(factor))
            .filter(|samples| *samples <= MOST_SAMPLES);
        if samples.is_none() || channels > MOST_CHANNELS {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!(
                    "a batch of {tiles} tiles of {channels} x {size} samples: expected at most {MOST_SAMPLES} samples and {MOST_CHANNELS} channels"
                ),
            ));
        }
        Ok(())
    }

    /// The tile: the model's own, or asked for, or a default.
    pub(super) fn tile_size(&self) -> Result<Size> {
        let (height, width) = self.model.contract().tile();
        let side = |fixed: Option<usize>, asked: Option<usize>, name: &str| match (fixed, asked) {
            (Some(fixed), Some(asked)) if fixed != asked => Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "the model's input has a fixed {name} of {fixed} pixels, a tile of {asked} was asked for"
                ),
            )),
            (Some(fixed), _) if fixed > LARGEST_TILE || fixed == 0 => Err(Error::new(
                ErrorKind::LimitExceeded,
                format!(
                    "the model's input has a fixed {name} of {fixed} pixels: expected 1 to {LARGEST_TILE}"
                ),
            )),
            (Some(fixed), _) => Ok(fixed),
            (None, Some(asked)) => Ok(asked),
            (None, None) => Ok(self.model.contract().suggested_tile().unwrap_or(DEFAULT_TILE)),
        };
        Ok(Size::new(
            side(width, self.options.tile.map(|tile| tile.width), "width")?,
            side(height, self.options.tile.map(|tile| tile.height), "height")?,
        ))
    }

    /// Smaller tiles to try where the raster is smaller than `tile` and the model's size is free: the raster's own
    /// size, so that the network's zero padding falls on the raster's edge; else, since most networks halve their
    /// input up to five times, the next multiple of 32.
    fn shrunk_tiles(&self, raster: Size, tile: Size) -> Vec<Size> {
        let (height, width) = self.model.contract().tile();
        let shrink = |fixed: Option<usize>, tile: usize, raster: usize| match fixed {
            Some(_) => tile,
            None => tile.min(raster),
        };
        let own =
            Size::new(shrink(width, tile.width, raster.width), shrink(height, tile.height, raster.height));
        let even = Size::new(
            shrink(width, tile.width, raster.width.next_multiple_of(32)),
            shrink(height, tile.height, raster.height.next_multiple_of(32)),
        );
        let mut tiles = vec![own, even];
        tiles.dedup();
        tiles.retain(|shrunk| *shrunk != tile);
        tiles
    }

    /// Settles everything.
    ///
    /// # Errors
    /// As [`Job::fit`].
    pub(super) fn set_up(
        &self,
        probe: &mut Probe<'_>,
        source: &dyn Source,
        sink: &dyn Sink,
    ) -> Result<Setup> {
        let Fitting { tiled, lanes, memory, in_flight, batch, fixed_batch } =
            self.fit(probe, source, sink)?;
        let Tiled { tile, overlap, placement, plan, encoding, blend, reason } = tiled;
        tracing::info!(
            "memory: at most {} MiB expected of {} MiB ({}), {} lanes",
            memory.predicted().div_ceil(1 << 20),
            memory.budget >> 20,
            memory.shares(),
            lanes.lanes()
        );
        let form = self.form(&encoding, blend, source.data_type())?;
        Ok(Setup {
            tile,
            overlap,
            batch,
            fixed_batch,
            placement,
            plan,
            encoding,
            blend,
            reason,
            lanes,
            memory,
            channels: self.channels,
            optimization: self.optimization(tile, batch),
            form,
            in_flight,
            permits: Permits::new(self.options.threads(), in_flight),
        })
    }

    /// How a raster is tiled where the tensors of a run may take `most` bytes.
    pub(super) fn tiled(
        &self,
        probe: &mut Probe<'_>,
        raster: Size,
        batch: usize,
        most: u64,
    ) -> Result<Tiled> {
        let (blend, reason) = match self.options.blend {
            Blend::Exact => {
                return self.exact_setup(probe, self.exact(raster, batch, most)?, batch, "asked for");
            }
            Blend::Auto => match self.exact(raster, batch, most) {
                Ok(exact) if exact.plan.overlap_factor() <= MOST_RECOMPUTED => {
                    let computed = exact.plan.overlap_factor();
                    let reason =
                        format!("the network is local, and margins cost {computed:.2} pixels for one");
                    return self.exact_setup(probe, exact, batch, &reason);
                }
                Ok(exact) => {
                    let computed = exact.plan.overlap_factor();
                    let larger = self.exact(raster, batch, u64::MAX).is_ok_and(|own| own.tile != exact.tile);
                    let room =
                        if larger { ", and there is no room for the tensors of larger ones" } else { "" };
                    let reason = format!(
                        "margins of exact tiles of {} would cost {computed:.2} pixels for one: more than {MOST_RECOMPUTED}{room}",
                        exact.tile
                    );
                    (Blend::Gaussian, reason)
                }
                Err(error) => (Blend::Gaussian, error.one_line()),
            },
            asked => (asked, "asked for".to_owned()),
        };
        self.shared_setup(probe, raster, batch, blend, reason)
    }

    /// Tiles a run.
    pub(super) fn batch(&self) -> Result<usize> {
        let batch = match (self.model.contract().batch(), self.options.batch) {
            (Some(fixed), Some(asked)) if fixed != asked => {
                return Err(Error::new(
                    ErrorKind::Mismatch,
                    format!("the model has a fixed batch of {fixed}, {asked} was asked for"),
                ));
            }
            (Some(fixed), _) => fixed,
            (None, Some(asked)) => asked,
            (None, None) if self.options.provider.kind() == ProviderKind::Cpu => 1,
            (None, None) => 4,
        };
        if batch > LARGEST_BATCH {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("the model has a fixed batch of {batch}: expected 1 to {LARGEST_BATCH}"),
            ));
        }
        Ok(batch)
    }

    /// With tiles of which only what is right is kept.
    fn exact_setup(&self, probe: &mut Probe<'_>, exact: Exact, batch: usize, reason: &str) -> Result<Tiled> {
        let Exact { tile, placement, plan } = exact;
        self.check_batch(batch, self.channels, tile)?;
        let contract = self.model.contract();
        let channels = match contract.output_channels() {
            Some(channels) => channels,
            None => self.probe(probe, tile, contract.batch().unwrap_or(1))?.0,
        };
        self.check_batch(batch, channels, plan.tile_size())?;
        let encoding = Encoding::settle(self.options, channels, contract.has_activation())?;
        let on_raster = |pixels: usize| pixels * placement.input_step / placement.output_step;
        let overlap = (on_raster(plan.x().overlap()), on_raster(plan.y().overlap()));
        let (blend, reason) = (Blend::Exact, reason.to_owned());
        Ok(Tiled { tile, overlap, placement, plan, encoding, blend, reason })
    }

    /// With tiles that share what the options say.
    fn shared_setup(
        &self,
        probe: &mut Probe<'_>,
        raster: Size,
        batch: usize,
        blend: Blend,
        reason: String,
    ) -> Result<Tiled> {
        let contract = self.model.contract();
        let tile = self.tile_size()?;
        self.check_batch(batch, self.channels, tile)?;
        let overlap = (self.options.overlap.pixels(tile.width)?, self.options.overlap.pixels(tile.height)?);
        let tiles = if contract.batch().is_some() { batch } else { 1 };
        let fits = self.shrunk_tiles(raster, tile).into_iter().find_map(|shrunk| {
            let (channels, placement) = self.observe(probe, shrunk, tiles).ok()?;
            (placement == Placement::SAME).then_some((shrunk, channels))
        });
        self.cancel.check()?;
        let (tile, channels, placement) = match fits {
            Some((shrunk, channels)) => (shrunk, channels, Placement::SAME),
            None => {
                let (channels, placement) = self.observe(probe, tile, tiles)?;
                (tile, channels, placement)
            }
        };
        let overlap = (overlap.0.min(tile.width - 1), overlap.1.min(tile.height - 1));
        self.check_batch(batch, channels, placement.output_size(tile)?)?;
        let encoding = Encoding::settle(self.options, channels, contract.has_activation())?;

        // The plan lies on the map's grid; steps are whole pixels of the raster.
        let map_tile = placement.output_size(tile)?;
        // Rounded up: at least the overlap that was asked for.
        let on_map = |pixels: usize| (pixels * placement.output_step).div_ceil(placement.input_step);
        let plan = Plan::new(
            placement.map_size(raster),
            map_tile,
            (on_map(overlap.0).min(map_tile.width - 1), on_map(overlap.1).min(map_tile.height - 1)),
            placement.output_step,
        )?;
        // Steps are whole multiples of the scale, so the tiles may share more than was asked for.
        let on_raster = |pixels: usize| pixels * placement.input_step / placement.output_step;
        let overlap = (on_raster(plan.x().overlap()), on_raster(plan.y().overlap()));
        Ok(Tiled { tile, overlap, placement, plan, encoding, blend, reason })
    }

    /// Channels and size of the output for a tile: as the graph tells, else by a run on zeros.
    fn probe(&self, probe: &mut Probe<'_>, tile: Size, batch: usize) -> Result<(usize, Size)> {
        if let Some(shape) = self.output_shape(tile, batch) {
            return output_shape(&shape, batch);
        }
        let shape = [batch, self.channels, tile.height, tile.width];
        self.check_batch(batch, self.channels, tile)?;
        let zeros = reserve(shape.iter().product(), "a tile")?;
        probe
            .session()?
            .run(&zeros, shape, self.model.contract().output(), |shape, _| output_shape(shape, batch))
    }

    /// Output channels and placement: as the model declares them, as its graph tells, or by running it on zeros.
    pub(super) fn observe(
        &self,
        probe: &mut Probe<'_>,
        tile: Size,
        batch: usize,
    ) -> Result<(usize, Placement)> {
        if let Some((channels, map)) = self.model.contract().declared_output() {
            self.check_batch(batch, channels, map)?;
            return Ok((channels, Placement::observe(tile, map, None)?));
        }
        let (channels, map) = self.probe(probe, tile, batch)?;
        let (fixed_height, fixed_width) = self.model.contract().tile();
        let second = if map != tile && fixed_height.is_none() && fixed_width.is_none() {
            let larger = Size::new(tile.width + 64, tile.height + 64);
            // Not every network takes every size; then the first observation has to do.
            self.probe(probe, larger, batch).ok().map(|(_, map)| (larger, map))
        } else {
            None
        };
        Ok((channels, Placement::observe(tile, map, second)?))
    }
}

/// Channels and size of an output `[N, C, H, W]` or `[N, H, W]` for `batch` tiles.
pub(super) fn output_shape(shape: &[usize], batch: usize) -> Result<(usize, Size)> {
    match *shape {
        [n, c, h, w] if n == batch && c > 0 => Ok((c, Size::new(w, h))),
        [n, h, w] if n == batch => Ok((1, Size::new(w, h))),
        _ => Err(Error::new(
            ErrorKind::ModelUnsupported,
            format!("expected an output [N, C, H, W] or [N, H, W] with N = {batch}, got {shape:?}"),
        )),
    }
}
