//! The gradient of a convolution by its weights: `dW[m, c, i, j] = Σ dY[n, m, r, q] · X[n, c, r·s + i·d - p, …]`.
//!
//! The pixels are cut into blocks of about a thousand. For a block and some channels the input is copied once into a
//! small buffer, with its padding and, where the stride is not 1, split by the remainder of the column and row
//! (*phases*), so that the pixels of every tap lie side by side, as those of `dY` do; a tap is then an offset into
//! the buffer. The products are those of [`dot`](super::dot). Where rows are too short for that the taps are copied
//! one by one (as `im2col` does, but for a block only), and where kernel and stride are 1 nothing is copied at all.
#![allow(unsafe_code, reason = "threads write disjoint elements of one output, and rows overlap in memory")]

use crate::runtime::operators::conv_shape::ConvShape;
use crate::runtime::operators::dot::{A_ROWS, B_ROWS, Runs, Tile};
use crate::runtime::operators::lanes::Instructions;
use crate::runtime::operators::parallel::{Buffers, Shared};

/// Pixels of a block, about: a tile's rows of `dY` stay in the first-level cache.
const PIXELS: usize = 1024;
/// Most elements of a buffer, where a single channel is not larger: half of a usual second-level cache.
const BUFFER: usize = 96 * 1024;

/// How the input is laid out for the products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// As it is.
    Direct,
    /// Padded and split by phases.
    Phases,
    /// Copied tap by tap.
    Taps,
}

/// A weight gradient, planned for sizes.
#[derive(Debug)]
pub(super) struct WeightGrad {
    shape: ConvShape,
    instructions: Instructions,
    layout: Layout,
    /// Rows of `dY` in a block, where an image has more than one block's worth of pixels; else all.
    rows: usize,
    /// Images in a block; 1 unless `rows` is all.
    images: usize,
    /// Of each axis: remainders of the taps' positions by the stride that occur, and how far the taps reach in
    /// units of it.
    residues: [Vec<usize>; 2],
    reach: [usize; 2],
    /// Into how many parts groups, channels of a group and filters of a group are divided.
    parts: [usize; 3],
}

impl WeightGrad {
    /// A plan for a session of so many threads. The number of threads has no influence on the bits.
    pub(super) fn new(shape: ConvShape, threads: usize) -> WeightGrad {
        let instructions = Instructions::detect();
        let [height, width] = shape.output;
        let filters = shape.group_filters();
        let plain = shape.taps() == 1 && shape.strides == [1, 1] && shape.input == shape.output;
        // Copying tap by tap costs about this many products per element; a run that does not fill its vectors
        // wastes this share.
        let waste = width.next_multiple_of(16) as f32 / width.max(1) as f32 - 1.0;
        let layout = match () {
            () if plain => Layout::Direct,
            () if waste > 12.0 / filters as f32 => Layout::Taps,
            () => Layout::Phases,
        };
        let axis = |axis: usize| {
            let steps = (0..shape.kernel[axis]).map(|tap| tap * shape.dilations[axis]);
            let mut residues: Vec<usize> = steps.clone().map(|step| step % shape.strides[axis]).collect();
            residues.sort_unstable();
            residues.dedup();
            (residues, steps.map(|step| step / shape.strides[axis]).max().unwrap_or(0))
        };
        let ((residues_y, reach_y), (residues_x, reach_x)) = (axis(0), axis(1));
        // With few filters there is little of `dY` to keep, and the fixed cost of a tile counts more.
        let pixels = PIXELS * (A_ROWS / filters.clamp(1, A_ROWS));
        let mut rows = pixels.div_ceil(width.max(1));
        if layout == Layout::Phases {
            // Not much more copied around the block than in it.
            rows = rows.max(reach_y);
        }
        let rows = rows.clamp(1, height.max(1));
        let images = if rows < height { 1 } else { (pixels / (width * height).max(1)).max(1) };
        let wanted = if threads > 1 { 4 * threads } else { 1 };
        let by_groups = wanted.min(shape.groups);
        let wanted = wanted.div_ceil(by_groups);
        let by_channels = wanted.min(shape.group_channels().div_ceil(4));
        let by_filters = wanted.div_ceil(by_channels.max(1)).min(filters.div_ceil(16));
        WeightGrad {
            images: images.min(shape.images.max(1)),
            shape,
            instructions,
            layout,
            rows,
            residues: [residues_y, residues_x],
            reach: [reach_y, reach_x],
            parts: [by_groups, by_channels.max(1), by_filters.max(1)],
        }
    }

    /// The shape of the result.
    pub(super) fn weight_shape(&self) -> [usize; 4] {
        let [height, width] = self.shape.kernel;
        [self.shape.filters, self.shape.group_channels(), height, width]
    }

    /// How many parts there are for [`WeightGrad::run`].
    pub(super) fn parts(&self) -> usize {
        self.parts.iter().product()
    }

    /// Computes one part of `dw`, whatever it holds before. `x`, `dy` and `dw` have the shape's sizes.
    pub(super) fn run(&self, part: usize, x: &[f32], dy: &[f32], dw: &Shared<'_, f32>, buffers: &Buffers) {
        let [by_groups, by_channels, by_filters] = self.parts;
        let (group, rest) = (part % by_groups, part / by_groups);
        let (channel, filter) = (rest % by_channels, rest / by_channels);
        let share = |of: usize, part: usize, parts: usize| of * part / parts..of * (part + 1) / parts;
        let channels = share(self.shape.group_channels(), channel, by_channels);
        // Parts of whole tiles, so that no tile is small but the last.
        let tiles = self.shape.group_filters().div_ceil(8);
        let filters = share(tiles, filter, by_filters);
        let filters = filters.start * 8..(filters.end * 8).min(self.shape.group_filters());
        let (taps, plane) = (self.shape.taps(), self.block_size());
        let together = match self.layout {
            Layout::Direct => channels.len(),
            Layout::Phases | Layout::Taps => (BUFFER / plane.max(1)).clamp(1, channels.len().max(1)),
        };
        let size = if self.layout == Layout::Direct { 0 } else { together * plane };
        let mut offsets = Vec::with_capacity(together * taps);
        buffers.with(size, |buffer| {
            for group in share(self.shape.groups, group, by_groups) {
                for first in (0..self.shape.images).step_by(self.images) {
                    let images = self.images.min(self.shape.images - first);
                    for top in (0..self.shape.output[0]).step_by(self.rows) {
                        let rows = self.rows.min(self.shape.output[0] - top);
                        for start in channels.clone().step_by(together.max(1)) {
                            let count = together.min(channels.end - start);
                            let block = Block { group, first, images, top, rows, start, count };
                            let (b, runs) = self.lay_out(&block, x, buffer, &mut offsets);
                            self.products(&block, filters.clone(), dy, b, &offsets, &runs, dw);
                        }
                    }
                }
            }
        });
    }

    /// Elements of the buffer that a channel of a block needs.
    fn block_size(&self) -> usize {
        let [_, width] = self.shape.output;
        match self.layout {
            Layout::Direct => 0,
            Layout::Taps => self.shape.taps() * self.images * self.rows * width,
            Layout::Phases => {
                let phases = self.residues[0].len() * self.residues[1].len();
                self.images * phases * (self.rows + self.reach[0]) * (width + self.reach[1])
            }
        }
    }

    /// Makes the rows of `b` for a block: their common base, where each of them starts, and how they run.
    fn lay_out<'a>(
        &self,
        block: &Block,
        x: &'a [f32],
        buffer: &'a mut [f32],
        offsets: &mut Vec<usize>,
    ) -> (&'a [f32], Runs) {
        offsets.clear();
        let ([height, width], [_, in_width]) = (self.shape.output, self.shape.input);
        let a_image = self.shape.filters * height * width;
        let channel = block.group * self.shape.group_channels() + block.start;
        match self.layout {
            Layout::Direct => {
                let plane = height * width;
                offsets.extend((0..block.count).map(|c| c * plane));
                let base = (block.first * self.shape.channels + channel) * plane + block.top * in_width;
                let b_image = self.shape.channels * plane;
                let len = block.rows * width;
                let runs = Runs { images: block.images, rows: 1, len, a_image, a_row: 0, b_image, b_row: 0 };
                (&x[base..], runs)
            }
            Layout::Taps => {
                let len = block.rows * width;
                let pitch = block.images * len;
                let mut rows = buffer.chunks_exact_mut(width.max(1));
                for c in channel..channel + block.count {
                    for (i, j) in self.taps() {
                        for image in block.first..block.first + block.images {
                            for row in block.top..block.top + block.rows {
                                let Some(target) = rows.next() else { continue };
                                self.copy_row(x, image, c, row, i, j * self.shape.dilations[1], target);
                            }
                        }
                    }
                }
                offsets.extend((0..block.count * self.shape.taps()).map(|k| k * pitch));
                let runs =
                    Runs { images: block.images, rows: 1, len, a_image, a_row: 0, b_image: len, b_row: 0 };
                (buffer, runs)
            }
            Layout::Phases => {
                let [residues_y, residues_x] = &self.residues;
                let pitch = width + self.reach[1];
                let plane = (block.rows + self.reach[0]) * pitch;
                let mut rows = buffer.chunks_exact_mut(pitch);
                for image in block.first..block.first + block.images {
                    for c in channel..channel + block.count {
                        for y in residues_y {
                            for column in residues_x {
                                for row in block.top..block.top + block.rows + self.reach[0] {
                                    let Some(target) = rows.next() else { continue };
                                    self.copy_row_at(
                                        x,
                                        image,
                                        c,
                                        row * self.shape.strides[0] + y,
                                        *column,
                                        target,
                                    );
                                }
                            }
                        }
                    }
                }
                let place = |residues: &[usize], residue: usize| {
                    residues.iter().position(|other| *other == residue).unwrap_or(0)
                };
                for c in 0..block.count {
                    for (i, j) in self.taps() {
                        let (step_y, step_x) = (i * self.shape.dilations[0], j * self.shape.dilations[1]);
                        let [stride_y, stride_x] = self.shape.strides;
                        let phase = (c * residues_y.len() + place(residues_y, step_y % stride_y))
                            * residues_x.len()
                            + place(residues_x, step_x % stride_x);
                        offsets.push(phase * plane + step_y / stride_y * pitch + step_x / stride_x);
                    }
                }
                let b_image = block.count * residues_y.len() * residues_x.len() * plane;
                let runs = Runs {
                    images: block.images,
                    rows: block.rows,
                    len: width,
                    a_image,
                    a_row: width,
                    b_image,
                    b_row: pitch,
                };
                (buffer, runs)
            }
        }
    }

    fn taps(&self) -> impl Iterator<Item = (usize, usize)> {
        let [height, width] = self.shape.kernel;
        (0..height).flat_map(move |i| (0..width).map(move |j| (i, j)))
    }

    /// The input that tap row `i` sees at output row `row`, from padded column `column` in steps of the stride.
    #[expect(clippy::too_many_arguments, reason = "a place in four dimensions")]
    fn copy_row(
        &self,
        x: &[f32],
        image: usize,
        c: usize,
        row: usize,
        i: usize,
        column: usize,
        to: &mut [f32],
    ) {
        let y = row * self.shape.strides[0] + i * self.shape.dilations[0];
        self.copy_row_at(x, image, c, y, column, to);
    }

    /// Copies row `y` of the padded input, from column `column` in steps of the stride; zeros where padding is.
    fn copy_row_at(&self, x: &[f32], image: usize, c: usize, y: usize, column: usize, to: &mut [f32]) {
        let ([height, width], [above, before]) = (self.shape.input, self.shape.pads);
        let stride = self.shape.strides[1];
        if y < above || y - above >= height {
            to.fill(0.0);
            return;
        }
        let start = ((image * self.shape.channels + c) * height + y - above) * width;
        let row = &x[start..start + width];
        // The first and the last column whose `at * stride + column - before` is within the row.
        let from = before.saturating_sub(column).div_ceil(stride).min(to.len());
        let until = (width + before).saturating_sub(column).div_ceil(stride).clamp(from, to.len());
        to[..from].fill(0.0);
        to[until..].fill(0.0);
        if from == until {
            return;
        }
        let row = &row[from * stride + column - before..];
        let to = &mut to[from..until];
        if stride == 1 {
            to.copy_from_slice(&row[..to.len()]);
        } else {
            for (to, from) in to.iter_mut().zip(row.iter().step_by(stride)) {
                *to = *from;
            }
        }
    }

    /// Adds a block's products to `dw`.
    #[expect(clippy::too_many_arguments, reason = "the operands of a product, and where they lie")]
    fn products(
        &self,
        block: &Block,
        filters: std::ops::Range<usize>,
        dy: &[f32],
        b: &[f32],
        offsets: &[usize],
        runs: &Runs,
        dw: &Shared<'_, f32>,
    ) {
        if runs.len == 0 || runs.rows == 0 || runs.images == 0 || offsets.is_empty() {
            return;
        }
        let pixels = self.shape.output[0] * self.shape.output[1];
        let row = self.shape.group_channels() * self.shape.taps();
        let (a_rows, b_rows) = self.instructions.tile();
        let last_row = (runs.images - 1) * runs.b_image + (runs.rows - 1) * runs.b_row + runs.len;
        assert!(offsets.iter().all(|offset| offset + last_row <= b.len()));
        for filter in filters.clone().step_by(a_rows) {
            let a_rows = a_rows.min(filters.end - filter);
            let m = block.group * self.shape.group_filters() + filter;
            let a = &dy[(block.first * self.shape.filters + m) * pixels + block.top * self.shape.output[1]..];
            let last =
                (a_rows - 1) * pixels + (runs.images - 1) * runs.a_image + (runs.rows - 1) * runs.a_row;
            assert!(last + runs.len <= a.len());
            for (index, offsets) in offsets.chunks(b_rows.min(B_ROWS)).enumerate() {
                let column = block.start * self.shape.taps() + index * b_rows;
                let tile = Tile {
                    a: a.as_ptr(),
                    a_pitch: pixels,
                    a_rows,
                    b: b.as_ptr(),
                    offsets,
                    out: dw.pointer(m * row + column, (m + a_rows - 1) * row + column + offsets.len() - 1),
                    out_pitch: row,
                    add: block.first > 0 || block.top > 0,
                };
                // SAFETY: the instructions were detected; the last elements of all runs of both operands were
                // checked above, and no element before them lies outside; filters and channels of this part are no
                // other part's, so neither is the tile of `dw`, whose last element is that of filter and tap.
                unsafe { self.instructions.run(&tile, runs) };
            }
        }
    }
}

/// Some pixels and channels.
#[derive(Debug)]
struct Block {
    group: usize,
    first: usize,
    images: usize,
    top: usize,
    rows: usize,
    /// Channels within the group.
    start: usize,
    count: usize,
}
