//! Convolution over images as they are, forwards and backwards.
//!
//! Both are one computation: every element of the result gathers, for each tap of the kernel, an element of the source.
//! Forwards the taps step through the source by the stride; backwards (the gradient by the input) the result consists of
//! interleaved *grids*, one for each remainder by the stride, each of which meets its own subset of the taps, side by
//! side in the source.
//!
//! The rows of a grid are cut into blocks. For a block and some channels the source is copied once into a small buffer,
//! with its padding and, where the taps step by more than 1, split by the remainder of column and row, so that the pixels
//! of every tap lie side by side; a tap is then an offset into the buffer. The products are those of
//! [`outer`](super::outer). Where rows are too short for that, the taps are copied one by one (as `im2col` does, but for
//! a block only), and where there is one tap and nothing to pad nothing is copied at all.
#![allow(unsafe_code, reason = "threads write disjoint elements of one output, and rows overlap in memory")]

mod block;

use std::ops::Range;

use crate::runtime::operators::conv_shape::ConvShape;
use crate::runtime::operators::lanes::Instructions;
use crate::runtime::operators::outer::VECTORS;
use crate::runtime::operators::parallel::Shared;

/// Most elements of a buffer, where a single channel is not larger: a part of a usual second-level cache.
const BUFFER: usize = 48 * 1024;
/// Products of a part, at least: below, handing it to a thread costs more than it saves.
const WORK: usize = 1 << 19;

/// How a block of the source is laid out for the products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// As it is.
    Direct,
    /// Row by row, padded, and split by remainders.
    Rows,
    /// Tap by tap.
    Taps,
}

/// An element of the kernel, for one grid.
#[derive(Debug, Clone, Copy)]
struct Tap {
    /// Its place in the kernel.
    index: usize,
    /// What it meets: source row `row + r · step` for row `r` of the grid, and so for columns.
    place: [isize; 2],
}

/// Rows and columns of the result by steps.
#[derive(Debug)]
struct Grid {
    start: [usize; 2],
    size: [usize; 2],
    taps: Vec<Tap>,
    layout: Layout,
    /// Of each axis, for `Rows`: the remainders of the taps' places by the step that occur, the first quotient, and how
    /// far the quotients reach from there.
    residues: [Vec<usize>; 2],
    low: [isize; 2],
    reach: [usize; 2],
    /// Distance of the buffer's rows, for `Rows`.
    pitch: usize,
    /// Rows of a block, and channels of a buffer.
    rows: usize,
    channels: usize,
    /// Where its weights start among the packed ones.
    packed: usize,
}

/// A piece of work: some rows of an image, for some groups and some of their filters. Grids that share rows are done
/// together, as their columns lie between each other.
#[derive(Debug)]
struct Part {
    grids: Range<usize>,
    image: usize,
    rows: Range<usize>,
    groups: Range<usize>,
    filters: Range<usize>,
}

/// How weights lie in memory: the distances of their axes.
#[derive(Debug, Clone, Copy)]
struct WeightLayout {
    group: usize,
    filter: usize,
    channel: usize,
}

/// What a convolution adds and does after its sums.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Finish<'a> {
    /// A number a filter.
    pub(super) bias: Option<&'a [f32]>,
    /// What the result is cut to.
    pub(super) limits: Option<[f32; 2]>,
}

/// A convolution, planned for sizes.
#[derive(Debug)]
pub(super) struct Gather {
    instructions: Instructions,
    groups: usize,
    /// Of a group.
    channels: usize,
    filters: usize,
    source: [usize; 2],
    result: [usize; 2],
    images: usize,
    /// How the taps step through the source, and the grids through the result.
    step: [usize; 2],
    stride: [usize; 2],
    grids: Vec<Grid>,
    weights: WeightLayout,
    /// Filters of a tile.
    tile: usize,
    packed: usize,
    parts: Vec<Part>,
}

impl Gather {
    /// `[images, channels, input]` by `[filters, channels / groups, kernel]` to `[images, filters, output]`.
    pub(super) fn forwards(shape: &ConvShape, threads: usize, instructions: Instructions) -> Gather {
        let place =
            |axis: usize, tap: usize| (tap * shape.dilations[axis]) as isize - shape.pads[axis] as isize;
        let mut taps = Vec::with_capacity(shape.taps());
        for i in 0..shape.kernel[0] {
            for j in 0..shape.kernel[1] {
                taps.push(Tap { index: taps.len(), place: [place(0, i), place(1, j)] });
            }
        }
        let (channels, filters) = (shape.group_channels(), shape.group_filters());
        let weights = WeightLayout {
            group: filters * channels * shape.taps(),
            filter: channels * shape.taps(),
            channel: shape.taps(),
        };
        let base = Gather {
            instructions,
            groups: shape.groups,
            channels,
            filters,
            source: shape.input,
            result: shape.output,
            images: shape.images,
            step: shape.strides,
            stride: [1, 1],
            grids: Vec::new(),
            weights,
            tile: 1,
            packed: 0,
            parts: Vec::new(),
        };
        base.with_grids(vec![([0, 0], shape.output, taps)], threads)
    }

    /// The gradient by the input: `[images, filters, output]` by `[filters, channels / groups, kernel]` to
    /// `[images, channels, input]`.
    pub(super) fn backwards(shape: &ConvShape, threads: usize, instructions: Instructions) -> Gather {
        let mut grids = Vec::new();
        for y in 0..shape.strides[0].min(shape.input[0]) {
            for x in 0..shape.strides[1].min(shape.input[1]) {
                let start = [y, x];
                let size = [0, 1].map(|axis| (shape.input[axis] - start[axis]).div_ceil(shape.strides[axis]));
                // Input row `y + r s` meets output row `o` by tap `i` where `o s + i d - p = y + r s`.
                let place = |axis: usize, tap: usize| {
                    let from =
                        (start[axis] + shape.pads[axis]) as isize - (tap * shape.dilations[axis]) as isize;
                    let stride = shape.strides[axis] as isize;
                    (from.rem_euclid(stride) == 0).then(|| from.div_euclid(stride))
                };
                let mut taps = Vec::new();
                for i in 0..shape.kernel[0] {
                    for j in 0..shape.kernel[1] {
                        if let (Some(row), Some(column)) = (place(0, i), place(1, j)) {
                            taps.push(Tap { index: i * shape.kernel[1] + j, place: [row, column] });
                        }
                    }
                }
                grids.push((start, size, taps));
            }
        }
        let (channels, filters) = (shape.group_channels(), shape.group_filters());
        let weights = WeightLayout {
            group: filters * channels * shape.taps(),
            filter: shape.taps(),
            channel: channels * shape.taps(),
        };
        let base = Gather {
            instructions,
            groups: shape.groups,
            channels: filters,
            filters: channels,
            source: shape.output,
            result: shape.input,
            images: shape.images,
            step: [1, 1],
            stride: shape.strides,
            grids: Vec::new(),
            weights,
            tile: 1,
            packed: 0,
            parts: Vec::new(),
        };
        base.with_grids(grids, threads)
    }

    fn with_grids(mut self, grids: Vec<([usize; 2], [usize; 2], Vec<Tap>)>, threads: usize) -> Gather {
        self.tile = self.instructions.filters().min(self.filters.max(1));
        let lanes = self.instructions.lanes();
        for (start, size, taps) in grids {
            let mut grid = self.grid(start, size, taps, lanes);
            grid.packed = self.packed;
            let per_group = self.filters.next_multiple_of(self.tile) * self.channels * grid.taps.len();
            self.packed += self.groups * per_group;
            self.grids.push(grid);
        }
        self.parts = self.divided(threads);
        self
    }

    fn grid(&self, start: [usize; 2], size: [usize; 2], taps: Vec<Tap>, lanes: usize) -> Grid {
        let [height, width] = size;
        let plane = self.source[0] * self.source[1];
        let plain = taps.len() == 1
            && taps[0].place == [0, 0]
            && self.step == [1, 1]
            && self.stride == [1, 1]
            && self.source == self.result
            && plane.is_multiple_of(lanes)
            // Planes that lie a power of two apart share few lines of the caches.
            && (self.filters <= 2 * self.tile || self.channels <= 64);
        // Copying tap by tap costs about this many products an element; a row that does not fill its vectors wastes
        // this share of them.
        let waste = width.next_multiple_of(lanes) as f32 / width.max(1) as f32 - 1.0;
        let layout = match () {
            () if plain => Layout::Direct,
            () if waste > 8.0 / self.filters as f32 => Layout::Taps,
            () => Layout::Rows,
        };
        let axis = |axis: usize| {
            let step = self.step[axis] as isize;
            let places = || taps.iter().map(move |tap| tap.place[axis]);
            let mut residues: Vec<usize> = places().map(|place| place.rem_euclid(step) as usize).collect();
            residues.sort_unstable();
            residues.dedup();
            let low = places().map(|place| place.div_euclid(step)).min().unwrap_or(0);
            let high = places().map(|place| place.div_euclid(step)).max().unwrap_or(0);
            (residues, low, (high - low) as usize)
        };
        let ((residues_y, low_y, reach_y), (residues_x, low_x, reach_x)) = (axis(0), axis(1));
        let pitch = width + reach_x;
        let phases = residues_y.len() * residues_x.len();
        // Elements of a channel for so many rows.
        let channel = |rows: usize| match layout {
            Layout::Direct => 0,
            Layout::Rows => phases * (rows + reach_y) * pitch,
            Layout::Taps => taps.len() * (rows * width).next_multiple_of(lanes),
        };
        // As many rows as fit with all channels, but so many that not much more is copied around the block than in it.
        let least = match layout {
            Layout::Rows => (2 * reach_y).max(1),
            _ => (2 * VECTORS * lanes).div_ceil(width.max(1)),
        };
        let most = (4096usize).div_ceil(width.max(1)).max(least);
        let mut rows = least.min(height.max(1));
        while rows < height.min(most) && self.channels * channel(rows + 1) <= BUFFER {
            rows += 1;
        }
        // Blocks of about one size.
        let rows = height.div_ceil(height.div_ceil(rows).max(1)).max(1);
        let channels = match channel(rows) {
            0 => self.channels,
            size => (BUFFER / size).clamp(1, self.channels.max(1)),
        };
        let channels = self.channels.div_ceil(self.channels.div_ceil(channels.max(1)).max(1)).max(1);
        Grid {
            start,
            size,
            taps,
            layout,
            residues: [residues_y, residues_x],
            low: [low_y, low_x],
            reach: [reach_y, reach_x],
            pitch,
            rows,
            channels,
            packed: 0,
        }
    }

    /// The parts of the work; they have no influence on the bits, since every element of the result is summed in the
    /// order of channels and taps.
    fn divided(&self, threads: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut end = 0;
        for together in self.grids.chunk_by(|a, b| a.start[0] == b.start[0]) {
            let grids = end..end + together.len();
            end = grids.end;
            let height = together[0].size[0];
            let rows = together.iter().map(|grid| grid.rows).min().unwrap_or(1);
            let blocks = height.div_ceil(rows);
            let products = together.iter().map(|grid| grid.size[1] * grid.taps.len().max(1)).sum::<usize>();
            let work = rows * products * self.channels * self.filters;
            // Groups together that are little work by themselves; filters apart where there is little else to divide.
            let together = (WORK / work.max(1)).clamp(1, self.groups.max(1));
            let others = blocks * self.images * self.groups.div_ceil(together);
            let wanted = if threads > 1 { 4 * threads } else { 1 };
            let tiles = self.filters.div_ceil(self.tile);
            let apart = wanted.div_ceil(others.max(1)).min((work / WORK).max(1)).clamp(1, tiles.max(1));
            for image in 0..self.images {
                for group in (0..self.groups).step_by(together) {
                    for top in (0..height).step_by(rows) {
                        for share in 0..apart {
                            let filters = tiles * share / apart * self.tile
                                ..(tiles * (share + 1) / apart * self.tile).min(self.filters);
                            parts.push(Part {
                                grids: grids.clone(),
                                image,
                                rows: top..(top + rows).min(height),
                                groups: group..(group + together).min(self.groups),
                                filters,
                            });
                        }
                    }
                }
            }
        }
        parts
    }

    /// How many elements the packed weights have.
    pub(super) fn packed(&self) -> usize {
        self.packed
    }

    /// How many parts there are for [`Gather::pack`].
    pub(super) fn packs(&self) -> usize {
        self.groups * self.filters.div_ceil(self.tile)
    }

    /// Packs the weights of one part of the filters: tiles of filters side by side, for each channel and tap.
    pub(super) fn pack(&self, part: usize, weights: &[f32], packed: &Shared<'_, f32>) {
        let tiles = self.filters.div_ceil(self.tile);
        let (group, tile) = (part / tiles, part % tiles);
        let first = tile * self.tile;
        let count = self.tile.min(self.filters - first);
        for grid in &self.grids {
            let size = self.channels * grid.taps.len() * self.tile;
            if size == 0 {
                continue;
            }
            let start = grid.packed + (group * tiles + tile) * size;
            // SAFETY: this tile's elements are no other part's.
            let to = unsafe { std::slice::from_raw_parts_mut(packed.pointer(start, start + size - 1), size) };
            let mut rows = to.chunks_exact_mut(self.tile);
            for c in 0..self.channels {
                for tap in &grid.taps {
                    let Some(row) = rows.next() else { continue };
                    let at = group * self.weights.group + c * self.weights.channel + tap.index;
                    for (f, to) in row.iter_mut().enumerate() {
                        *to = if f < count { weights[at + (first + f) * self.weights.filter] } else { 0.0 };
                    }
                }
            }
        }
    }

    /// How many parts there are for [`Gather::run`].
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }
}

#[cfg(test)]
mod tests;
