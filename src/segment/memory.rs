//! How much memory a job takes, settled before it begins.
//!
//! What grows with tiles and with the width of the raster is bounded: the raster is gone through in lanes of tile columns
//! that are as wide as the budget allows, so that neither a band of the source nor sums that wait for the next row of tiles
//! ever span more than a lane. What grows with the height is on disk.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::autodiff::blocked::Layout;
use crate::autodiff::liveness::liveness;
use crate::geometry::Size;
use crate::metrics::available_memory_bytes;
use crate::onnx::{InputShapes, specialise};
use crate::runtime::{Optimization, ProviderKind, heap_bytes};
use crate::segment::fitting::Shortage;
use crate::segment::job::Job;
use crate::segment::options::SegmentOptions;
use crate::segment::placement::Placement;
use crate::segment::product::Encoding;
use crate::segment::reading::BATCHES;
use crate::segment::row::JOINED;
use crate::segment::stream::Source;
use crate::segment::writing::QUEUE;
use crate::tiling::{Accumulator, Blend, Lanes, Plan};

/// Most memory where nobody says how much.
const MOST: u64 = 2 << 30;

/// Most memory for the tensors of a run where nobody says how much in all. Not a part of what is free: the same job would
/// have other tiles from day to day, and with them other last bits.
const MOST_TENSORS: u64 = 1 << 30;

/// A lane need not be wider than what takes so much: wider ones would save few tiles, and the memory would grow with the
/// raster up to the budget.
const WIDE_ENOUGH: u64 = 29 << 20;

/// So many columns of tiles are wide enough whatever they take, where there is room: a column more that is computed twice
/// is a twelfth.
const MANY_COLUMNS: usize = 12;

/// Most of GDAL's cache of decoded blocks: what it needs beside the strips that a job keeps itself.
const MOST_CACHE: u64 = 8 << 20;

/// Least of it.
const LEAST_CACHE: u64 = 1 << 20;

/// The name of GDAL's share.
const GDAL: &str = "GDAL";

/// A run with so few bytes of tensors is over before several threads have shared its work well: two runs on half of the
/// threads each are faster (a sixth, for two convolutions of 8 channels and for deeplab_mnv2 on tiles of 512; a transformer of
/// 170 MiB is slower).
const SMALL_RUN: u64 = 64 << 20;

/// Outputs of the model beside those that it makes: one that waits, one that is laid down.
const OUTPUTS: u64 = 2;

/// A part of the memory.
pub(super) type Item = (&'static str, u64);

/// The memory of a job.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Bytes that all of it must fit into.
    pub(super) budget: u64,
    /// What is needed at most while tiles are scored, in bytes, by what it is for.
    pub(super) items: Vec<Item>,
    /// The same for making the file, which comes when all that is gone.
    pub(super) making: Vec<Item>,
}

impl Memory {
    /// Bytes that the job takes at most, beside program, libraries and the model's weights.
    pub(super) fn predicted(&self) -> u64 {
        self.scoring().max(sum(&self.making))
    }

    /// The same until all tiles are scored.
    pub(super) fn scoring(&self) -> u64 {
        sum(&self.items)
    }

    /// GDAL's share.
    pub(super) fn cache(budget: u64) -> u64 {
        (budget / 8).clamp(LEAST_CACHE, MOST_CACHE)
    }

    /// The least budget, in whole MiB, that all this fits into: GDAL's share of a larger one is larger.
    pub(super) fn least(&self) -> u64 {
        let least = |items: &[Item]| {
            let cache: u64 = items.iter().filter(|(name, _)| *name == GDAL).map(|(_, bytes)| bytes).sum();
            let other = sum(items) - cache;
            // Its share is an eighth: a seventh of the rest.
            if cache > 0 { other + other.div_ceil(7).clamp(LEAST_CACHE, MOST_CACHE) } else { other }
        };
        least(&self.items).max(least(&self.making)).next_multiple_of(1 << 20)
    }

    /// "tiles 12 MiB, strip of the raster 30 MiB; then making of the file 18 MiB, GDAL 8 MiB".
    pub(super) fn shares(&self) -> String {
        let shares = |items: &[Item]| {
            let large = items.iter().filter(|(_, bytes)| *bytes >= 1 << 19);
            large.map(|(name, bytes)| format!("{name} {} MiB", mib(*bytes))).collect::<Vec<_>>().join(", ")
        };
        match shares(&self.making) {
            making if making.is_empty() => shares(&self.items),
            making => format!("{}; then {making}", shares(&self.items)),
        }
    }
}

/// Bytes of all of them.
fn sum(items: &[Item]) -> u64 {
    items.iter().map(|(_, bytes)| bytes).sum()
}

/// Whole MiB that so many bytes fit into.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// A run of the model, as its graph tells.
#[derive(Debug, Clone)]
struct Run {
    /// Most bytes of tensors alive.
    bytes: u64,
    /// Shape of the output.
    output: Vec<usize>,
    /// How images lie in it.
    layout: Layout,
}

/// What is known of runs of a model, by channels, tile and batch: the graph need not be followed anew for every raster.
#[derive(Debug, Default)]
pub(super) struct Runs(RefCell<HashMap<(usize, Size, usize), Option<Run>>>);

/// What the memory of a job depends on.
pub(super) struct Needs<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) plan: &'a Plan,
    pub(super) placement: Placement,
    pub(super) encoding: &'a Encoding,
    pub(super) blend: Blend,
    pub(super) tile: Size,
    pub(super) batch: usize,
    /// Bytes that making the output of all blocks takes.
    pub(super) making: u64,
}

impl Needs<'_> {
    /// Number of batches where no lanes are and no tile is skipped; blending has rows of tiles of their own.
    pub(super) fn batches(&self) -> u64 {
        let batch = self.batch as u64;
        match self.blend.is_cut() {
            true => self.plan.len().div_ceil(batch),
            false => self.plan.y().len() as u64 * (self.plan.x().len() as u64).div_ceil(batch),
        }
    }

    /// No more batches than this: in the worst case each tile is one, and lanes compute tiles twice.
    fn most_batches(&self) -> u64 {
        if self.plan.len() == 1 { 1 } else { 2 * self.plan.len() }
    }
}

impl SegmentOptions {
    /// Bytes that a job may take: what was asked for, else a quarter of what is free, at most 2 GiB.
    pub(super) fn budget(&self) -> u64 {
        self.memory.unwrap_or_else(|| available_memory_bytes().map_or(MOST, |free| (free / 4).min(MOST)))
    }
}

impl Job<'_, '_> {
    /// Bytes that the tensors of a run may take where the tile is free: half of the budget for those at the same time.
    pub(super) fn tensor_budget(&self) -> u64 {
        let all = match self.options.memory {
            Some(asked) => asked / 2,
            None => (self.options.budget() / 2).min(MOST_TENSORS),
        };
        all / self.in_flight(u64::MAX) as u64
    }

    /// Batches at the model at the same time, of so many in all: a session that none comes to need not be prepared.
    pub(super) fn in_flight(&self, batches: u64) -> usize {
        if let Some(asked) = self.options.in_flight {
            return asked;
        }
        let small = || {
            let tile = self.tile_size().ok()?;
            let bytes = self.tensor_bytes(tile, self.model.contract().batch().unwrap_or(1))?;
            Some(bytes.max(self.model.document().bytes().len() as u64) <= SMALL_RUN)
        };
        match self.options.provider.kind() {
            _ if batches < 2 => 1,
            ProviderKind::Cpu if self.options.threads() < 2 || small() != Some(true) => 1,
            _ => 2,
        }
    }

    /// Cuts the raster into lanes that fit, and says what all takes.
    ///
    /// # Errors
    /// What is missing, where the narrowest lanes do not fit into what was asked for, or into all that is free.
    pub(super) fn lanes(&self, needs: &Needs<'_>) -> std::result::Result<(Lanes, Memory), Shortage> {
        let budget = self.options.budget();
        let fixed = self.fixed(needs, budget);
        let rest = budget.saturating_sub(sum(&fixed));
        let columns = needs.plan.x().len();
        let of = |columns: usize| {
            let lanes = Lanes::new(needs.plan, needs.blend, columns);
            let items = lane_items(needs, &lanes);
            (lanes, items)
        };
        let fits = |columns: usize, most: u64| sum(&of(columns).1) <= most;
        // A file whose blocks are as wide as the raster is decoded whole for every lane.
        let whole = needs.source.block_width() >= needs.plan.raster().width.min(needs.source.size().width);
        let enough = sum(&of(MANY_COLUMNS.min(columns)).1).max(WIDE_ENOUGH);
        let most = if whole { rest } else { rest.min(enough) };
        let (mut low, mut high) = (1, columns);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(middle, most) { low = middle } else { high = middle - 1 }
        }
        let (lanes, items) = of(low);
        let making = match needs.making {
            0 => Vec::new(),
            making => vec![("making of the file", making), (GDAL, Memory::cache(budget))],
        };
        let memory = Memory { budget, items: fixed.into_iter().chain(items).collect(), making };
        let limit = match self.options.memory {
            Some(asked) => asked,
            None => available_memory_bytes().unwrap_or(u64::MAX),
        };
        if memory.predicted() <= limit {
            return Ok((lanes, memory));
        }
        Err(Shortage { memory, limit })
    }

    /// What does not depend on the lanes.
    fn fixed(&self, needs: &Needs<'_>, budget: u64) -> Vec<Item> {
        let batch = needs.batch as u64;
        let input = batch * needs.tile.pixels() * self.channels as u64;
        let map = needs.plan.tile_size().pixels();
        let output = batch * map * needs.encoding.channels as u64;
        let tiles = needs.plan.len();
        let sample = needs.source.data_type().bytes() as u64;
        let block = map * (needs.encoding.bands() * needs.encoding.data_type.bytes()) as u64;
        let batches = needs.most_batches();
        let at_once = self.in_flight(needs.batches()) as u64;
        let ends = 4 * (input + output);
        let run = self.tensor_bytes(needs.tile, needs.batch).unwrap_or(ends).saturating_sub(ends);
        // A short job has fewer on their way than there would be room for.
        let inputs = (BATCHES as u64 + at_once).min(batches);
        let outputs = (OUTPUTS + at_once).min(batches);
        let blocks = (QUEUE as u64 + 3).min(tiles + 1);
        vec![
            ("model", self.with_gaps(at_once * run)),
            ("tiles", 4 * (inputs * input + outputs * output) + (sample + 1) * input),
            // Those in the queue, one at each end, and the bytes of one on their way to the disk; small ones come together.
            ("blocks", blocks * block + if block < JOINED as u64 { 2 * JOINED as u64 } else { 0 }),
            // As it lies in the file, which may be hardly less, and decoded.
            ("decoding", 2 * needs.source.block_bytes()),
            (GDAL, if needs.source.block_width() > 0 { Memory::cache(budget) } else { 0 }),
        ]
    }

    /// With what lies between tensors in the heap.
    fn with_gaps(&self, run: u64) -> u64 {
        match self.options.provider.kind() {
            ProviderKind::Cpu => heap_bytes(run),
            _ => run,
        }
    }

    /// Most bytes of tensors alive in a run of a batch of tiles; none where the graph cannot be followed.
    pub(super) fn tensor_bytes(&self, tile: Size, batch: usize) -> Option<u64> {
        self.foreseen(tile, batch).map(|run| run.bytes)
    }

    /// The shape of what a run of a batch of tiles gives; none where the graph cannot be followed.
    pub(super) fn output_shape(&self, tile: Size, batch: usize) -> Option<Vec<usize>> {
        self.foreseen(tile, batch).map(|run| run.output)
    }

    /// How far the runtime is to rewrite the graph for runs of a batch of tiles: it always takes images in blocks of channels
    /// where it may.
    pub(super) fn optimization(&self, tile: Size, batch: usize) -> Optimization {
        match (self.options.provider.kind(), self.foreseen(tile, batch)) {
            (ProviderKind::Cpu, Some(Run { layout: Layout::Plain, .. })) => Optimization::Extended,
            _ => Optimization::All,
        }
    }

    fn foreseen(&self, tile: Size, batch: usize) -> Option<Run> {
        let known = self.runs.0.borrow().get(&(self.channels, tile, batch)).cloned();
        known.unwrap_or_else(|| {
            let run = self.followed(tile, batch);
            self.runs.0.borrow_mut().insert((self.channels, tile, batch), run.clone());
            run
        })
    }

    fn followed(&self, tile: Size, batch: usize) -> Option<Run> {
        let contract = self.model.contract();
        let shape = vec![batch, self.channels, tile.height, tile.width];
        let shapes = InputShapes::from([(contract.input().to_owned(), shape)]);
        let graph = specialise(self.model.document(), &shapes, Some(&[contract.output()])).ok()?;
        let ends: u64 = graph.inputs().iter().chain(graph.outputs()).map(|id| graph.kind(*id).bytes()).sum();
        let layout = match self.options.provider.kind() {
            ProviderKind::Cpu => Layout::faster(&graph),
            _ => Layout::Plain,
        };
        let live = liveness(&graph, graph.outputs(), graph.nodes().len(), layout);
        let output = graph.shape(*graph.outputs().first()?).to_vec();
        Some(Run { bytes: live.peak + ends, output, layout })
    }
}

/// What depends on the lanes.
fn lane_items(needs: &Needs<'_>, lanes: &Lanes) -> Vec<Item> {
    let on_raster = |pixels: usize| pixels * needs.placement.input_step / needs.placement.output_step;
    let margins = 2 * needs.placement.margin.0;
    let strip = needs.source.strip_bytes(on_raster(lanes.most_width()) + margins, needs.tile.height);
    let sums = match needs.blend.is_cut() {
        true => 0,
        false => Accumulator::bytes(needs.plan, lanes, needs.encoding.channels),
    };
    vec![("strip of the raster", strip), ("sums", sums)]
}
