//! The work on one block of rows.
#![allow(unsafe_code, reason = "threads write disjoint elements of one output, and rows overlap in memory")]

use crate::runtime::operators::gather::{Finish, Gather, Grid, Layout, Part, Tap};
use crate::runtime::operators::outer::{Run, Tile, VECTORS};
use crate::runtime::operators::parallel::{Buffers, Shared};

/// Products that are added up one after the other, about. Sums of them are added up in turn, so that rounding does not
/// grow with the number of channels.
const SUMMED: usize = 160;

impl Gather {
    /// Computes one part of `result`, whatever it holds before.
    pub(in crate::runtime::operators) fn run(
        &self,
        part: usize,
        source: &[f32],
        packed: &[f32],
        finish: Finish<'_>,
        result: &Shared<'_, f32>,
        buffers: &Buffers,
    ) {
        let part = &self.parts[part];
        let grids = &self.grids[part.grids.clone()];
        let lanes = self.instructions.lanes();
        if part.rows.is_empty() || part.filters.is_empty() {
            return;
        }
        // A result by steps is collected first, and put together at the end.
        let apart = self.stride != [1, 1];
        let pixels = |grid: &Grid| part.rows.len() * grid.size[1];
        let copied = grids.iter().map(|grid| self.copied(grid, part, lanes)).max().unwrap_or(0);
        let collected = if apart { part.filters.len() * grids.iter().map(pixels).sum::<usize>() } else { 0 };
        let plans: Vec<(Vec<usize>, Vec<Run>)> = grids
            .iter()
            .map(|grid| {
                let runs = self.runs(grid, part, lanes, apart);
                (self.tap_offsets(grid, part.rows.len(), lanes), runs)
            })
            .collect();
        buffers.with(copied + collected, |buffer| {
            let (buffer, collected) = buffer.split_at_mut(copied);
            for group in part.groups.clone() {
                let mut rest = &mut *collected;
                for (grid, (taps, runs)) in grids.iter().zip(&plans) {
                    let own = if apart { part.filters.len() * pixels(grid) } else { 0 };
                    let (own, others) = std::mem::take(&mut rest).split_at_mut(own);
                    rest = others;
                    if runs.is_empty() {
                        continue;
                    }
                    let out = apart.then(|| Shared::new(own));
                    let work = GridWork { grid, part, group, taps, runs, lanes };
                    self.fill(&work, source, packed, finish, buffer, out.as_ref(), result);
                }
                if apart {
                    self.put_together(part, group, collected, result);
                }
            }
        });
    }

    /// Distance of the channels in a block's source.
    fn channel_pitch(&self, grid: &Grid, part: &Part, lanes: usize) -> usize {
        let rows = part.rows.len();
        match grid.layout {
            Layout::Direct => self.source[0] * self.source[1],
            Layout::Rows => {
                grid.residues[0].len() * grid.residues[1].len() * (rows + grid.reach[0]) * grid.pitch
            }
            Layout::Taps => grid.taps.len() * (rows * grid.size[1]).next_multiple_of(lanes),
        }
    }

    /// Elements of the buffer for a block.
    fn copied(&self, grid: &Grid, part: &Part, lanes: usize) -> usize {
        match grid.layout {
            Layout::Direct => 0,
            _ => grid.channels * self.channel_pitch(grid, part, lanes) + lanes,
        }
    }

    /// Computes a grid's rows of one group.
    #[expect(clippy::too_many_arguments, reason = "the operands of a product, and where they lie")]
    fn fill(
        &self,
        work: &GridWork<'_>,
        source: &[f32],
        packed: &[f32],
        finish: Finish<'_>,
        buffer: &mut [f32],
        collected: Option<&Shared<'_, f32>>,
        result: &Shared<'_, f32>,
    ) {
        let GridWork { grid, part, group, taps, runs, lanes } = *work;
        let plane = self.source[0] * self.source[1];
        for start in (0..self.channels.max(1)).step_by(grid.channels) {
            let count = grid.channels.min(self.channels - start.min(self.channels));
            let first = (part.image * self.groups + group) * self.channels + start;
            let base = match grid.layout {
                Layout::Direct => &source[first * plane + part.rows.start * grid.size[1]..],
                Layout::Rows => {
                    self.lay_rows(grid, part, source, first, count, buffer);
                    &*buffer
                }
                Layout::Taps => {
                    self.lay_taps(grid, part, source, first, count, buffer, lanes);
                    &*buffer
                }
            };
            let channel = self.channel_pitch(grid, part, lanes);
            let last = start + count >= self.channels;
            let block = Block { group, start, count, channel, last, taps, runs };
            self.products(grid, part, &block, base, packed, finish, collected, result);
        }
    }

    /// Where each tap starts in a channel of the buffer.
    fn tap_offsets(&self, grid: &Grid, rows: usize, lanes: usize) -> Vec<usize> {
        let plane = (rows + grid.reach[0]) * grid.pitch;
        let offset = |(index, tap): (usize, &Tap)| match grid.layout {
            Layout::Direct => 0,
            Layout::Taps => index * (rows * grid.size[1]).next_multiple_of(lanes),
            Layout::Rows => {
                let [(phase_y, y), (phase_x, x)] = [0, 1].map(|axis| {
                    let step = self.step[axis] as isize;
                    let residue = tap.place[axis].rem_euclid(step) as usize;
                    let phase = grid.residues[axis].iter().position(|other| *other == residue);
                    (phase.unwrap_or(0), (tap.place[axis].div_euclid(step) - grid.low[axis]) as usize)
                });
                (phase_y * grid.residues[1].len() + phase_x) * plane + y * grid.pitch + x
            }
        };
        grid.taps.iter().enumerate().map(offset).collect()
    }

    /// The vectors of a block.
    fn runs(&self, grid: &Grid, part: &Part, lanes: usize, apart: bool) -> Vec<Run> {
        let (rows, width) = (part.rows.len(), grid.size[1]);
        let first = if apart { 0 } else { part.rows.start * width };
        match grid.layout {
            Layout::Direct | Layout::Taps => {
                let pixels = rows * width;
                let run = |at: usize| Run { from: at, to: first + at, count: lanes.min(pixels - at) };
                (0..pixels).step_by(lanes).map(run).collect()
            }
            Layout::Rows => {
                let mut runs = Vec::with_capacity(rows * width.div_ceil(lanes));
                for row in 0..rows {
                    for x in (0..width).step_by(lanes) {
                        runs.push(Run {
                            from: row * grid.pitch + x,
                            to: first + row * width + x,
                            count: lanes.min(width - x),
                        });
                    }
                }
                runs
            }
        }
    }

    fn lay_rows(&self, grid: &Grid, part: &Part, source: &[f32], first: usize, count: usize, to: &mut [f32]) {
        let [height, width] = self.source;
        let mut rows = to.chunks_exact_mut(grid.pitch);
        for channel in source[first * height * width..].chunks_exact(height * width).take(count) {
            for &residue_y in &grid.residues[0] {
                for &residue_x in &grid.residues[1] {
                    let column = grid.low[1] * self.step[1] as isize + residue_x as isize;
                    for row in 0..part.rows.len() + grid.reach[0] {
                        let Some(to) = rows.next() else { continue };
                        let row = (part.rows.start + row) as isize + grid.low[0];
                        let y = row * self.step[0] as isize + residue_y as isize;
                        copy_row(row_of(channel, y, height, width), column, self.step[1], to);
                    }
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a place in four dimensions")]
    fn lay_taps(
        &self,
        grid: &Grid,
        part: &Part,
        source: &[f32],
        first: usize,
        count: usize,
        to: &mut [f32],
        lanes: usize,
    ) {
        let ([height, width], columns) = (self.source, grid.size[1]);
        let pitch = (part.rows.len() * columns).next_multiple_of(lanes);
        let mut taps = to.chunks_exact_mut(pitch);
        for channel in source[first * height * width..].chunks_exact(height * width).take(count) {
            for tap in &grid.taps {
                let Some(to) = taps.next() else { continue };
                for (row, to) in part.rows.clone().zip(to.chunks_exact_mut(columns)) {
                    let y = (row * self.step[0]) as isize + tap.place[0];
                    copy_row(row_of(channel, y, height, width), tap.place[1], self.step[1], to);
                }
                // What fills the last vector is multiplied, if not kept.
                to[part.rows.len() * columns..].fill(0.0);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the operands of a product, and where they lie")]
    fn products(
        &self,
        grid: &Grid,
        part: &Part,
        block: &Block<'_>,
        source: &[f32],
        packed: &[f32],
        finish: Finish<'_>,
        collected: Option<&Shared<'_, f32>>,
        result: &Shared<'_, f32>,
    ) {
        let plane = self.result[0] * self.result[1];
        let tiles = self.filters.div_ceil(self.tile);
        let per_tile = self.channels * grid.taps.len() * self.tile;
        let lanes = self.instructions.lanes();
        let reach = block.taps.iter().max().map_or(0, |tap| tap + lanes)
            + block.runs.iter().map(|run| run.from).max().unwrap_or(0)
            + block.count.saturating_sub(1) * block.channel;
        assert!(block.count == 0 || block.taps.is_empty() || reach <= source.len());
        let together = (SUMMED / grid.taps.len().max(1)).max(1);
        for filter in part.filters.clone().step_by(self.tile) {
            let filters = self.tile.min(part.filters.end - filter);
            let at = grid.packed + (block.group * tiles + filter / self.tile) * per_tile;
            let weights = &packed[at + block.start * grid.taps.len() * self.tile..at + per_tile];
            let own = block.group * self.filters + filter;
            let (out, out_pitch) = match collected {
                Some(collected) => {
                    let pitch = part.rows.len() * grid.size[1];
                    let first = (filter - part.filters.start) * pitch;
                    (collected.pointer(first, first + filters * pitch - 1), pitch)
                }
                None => {
                    let first = (part.image * self.groups * self.filters + own) * plane;
                    (result.pointer(first, first + filters * plane - 1), plane)
                }
            };
            // With one filter there is nothing to share between tiles, and all runs go in one call.
            let most = if self.tile == 1 { block.runs.len().max(1) } else { VECTORS };
            for (runs, from) in block.runs.chunks(most).flat_map(|runs| {
                let firsts = (0..block.count.max(1)).step_by(together);
                firsts.map(move |from| (runs, from))
            }) {
                let count = together.min(block.count - from.min(block.count));
                let tile = Tile {
                    weights: weights[from * grid.taps.len() * self.tile..].as_ptr(),
                    weight_pitch: self.tile,
                    filters,
                    source: source[from * block.channel..].as_ptr(),
                    channels: if block.taps.is_empty() { 0 } else { count },
                    channel_pitch: block.channel,
                    taps: block.taps,
                    runs,
                    out,
                    out_pitch,
                    add: block.start + from > 0,
                    bias: finish.bias.map(|bias| bias[own..own + filters].as_ptr()),
                    limits: finish.limits.filter(|_| block.last && from + count >= block.count),
                };
                // SAFETY: the instructions were detected; the last vector that a tap of a channel reads was checked
                // above; the weights of all channels of the block are in the slice; rows and filters of this part are
                // no other part's.
                unsafe {
                    if self.tile == 1 {
                        self.instructions.single(&tile);
                    } else {
                        self.instructions.outer(&tile);
                    }
                }
            }
        }
    }

    /// Puts the collected rows of grids where they belong: their columns by turns.
    fn put_together(&self, part: &Part, group: usize, collected: &[f32], result: &Shared<'_, f32>) {
        let [height, width] = self.result;
        let grids = &self.grids[part.grids.clone()];
        let rows = part.rows.len();
        let mut starts = Vec::with_capacity(grids.len());
        let mut end = 0;
        for grid in grids {
            starts.push(end);
            end += part.filters.len() * rows * grid.size[1];
        }
        for (index, filter) in part.filters.clone().enumerate() {
            let plane =
                (part.image * self.groups * self.filters + group * self.filters + filter) * height * width;
            for (at, row) in part.rows.clone().enumerate() {
                let first = plane + (grids[0].start[0] + row * self.stride[0]) * width;
                let to = result.pointer(first, first + width - 1);
                // SAFETY: a whole row of the result, which is no other part's.
                let to = unsafe { std::slice::from_raw_parts_mut(to, width) };
                let from = |grid: usize| {
                    let columns = grids[grid].size[1];
                    &collected[starts[grid] + (index * rows + at) * columns..][..columns]
                };
                if self.stride[1] == 2 && grids.len() == 2 {
                    // In a form that becomes vector instructions.
                    let (even, odd) = (from(0), from(1));
                    let (pairs, rest) = to.as_chunks_mut::<2>();
                    for ((to, even), odd) in pairs.iter_mut().zip(even).zip(odd) {
                        *to = [*even, *odd];
                    }
                    if let (Some(to), Some(last)) = (rest.first_mut(), even.last()) {
                        *to = *last;
                    }
                    continue;
                }
                for (index, grid) in grids.iter().enumerate() {
                    for (to, value) in to[grid.start[1]..].iter_mut().step_by(self.stride[1]).zip(from(index))
                    {
                        *to = *value;
                    }
                }
            }
        }
    }
}

/// A grid's rows of one group, and how they are read.
#[derive(Debug, Clone, Copy)]
struct GridWork<'a> {
    grid: &'a Grid,
    part: &'a Part,
    group: usize,
    taps: &'a [usize],
    runs: &'a [Run],
    lanes: usize,
}

/// Channels of a group in a buffer.
#[derive(Debug)]
struct Block<'a> {
    group: usize,
    start: usize,
    count: usize,
    /// Distance of the channels.
    channel: usize,
    /// Whether these are the last.
    last: bool,
    taps: &'a [usize],
    runs: &'a [Run],
}

fn row_of(channel: &[f32], y: isize, height: usize, width: usize) -> Option<&[f32]> {
    let y = usize::try_from(y).ok().filter(|y| *y < height)?;
    channel.get(y * width..(y + 1) * width)
}

/// Copies a row from `column` on in steps; zeros where it has no elements.
fn copy_row(row: Option<&[f32]>, column: isize, step: usize, to: &mut [f32]) {
    let Some(row) = row else {
        to.fill(0.0);
        return;
    };
    // The first and the last element whose `at * step + column` is within the row.
    let from = column.min(0).unsigned_abs().div_ceil(step).min(to.len());
    let end = row.len() as isize - column;
    let until = (end.max(0) as usize).div_ceil(step).clamp(from, to.len());
    to[..from].fill(0.0);
    to[until..].fill(0.0);
    if from == until {
        return;
    }
    let row = &row[((from * step) as isize + column) as usize..];
    let to = &mut to[from..until];
    if step == 1 {
        to.copy_from_slice(&row[..to.len()]);
    } else if step == 2 {
        // In a form that becomes vector instructions; the last may have no neighbour.
        let (pairs, rest) = row.as_chunks::<2>();
        for (to, from) in to.iter_mut().zip(pairs) {
            *to = from[0];
        }
        if let (Some(to), Some(from)) = (to.get_mut(pairs.len()), rest.first()) {
            *to = *from;
        }
    } else {
        for (to, from) in to.iter_mut().zip(row.iter().step_by(step)) {
            *to = *from;
        }
    }
}
