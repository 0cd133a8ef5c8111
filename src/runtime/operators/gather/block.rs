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
        let grid = &self.grids[part.grid];
        let lanes = self.instructions.lanes();
        let (rows, width) = (part.rows.len(), grid.size[1]);
        if rows == 0 || width == 0 || part.filters.is_empty() {
            return;
        }
        let pixels = rows * width;
        let phases = grid.residues[0].len() * grid.residues[1].len();
        let (plane, pitch) = (self.source[0] * self.source[1], grid.pitch);
        let channel = match grid.layout {
            Layout::Direct => plane,
            Layout::Rows => phases * (rows + grid.reach[0]) * pitch,
            Layout::Taps => grid.taps.len() * pixels.next_multiple_of(lanes),
        };
        // A result by steps is collected first, and taken apart at the end.
        let apart = self.stride != [1, 1];
        let collected = if apart { part.filters.len() * pixels } else { 0 };
        let copied = if grid.layout == Layout::Direct { 0 } else { grid.channels * channel + lanes };
        let taps = self.tap_offsets(grid, rows, lanes);
        let runs = self.runs(grid, part, lanes, apart);
        buffers.with(copied + collected, |buffer| {
            let (buffer, collected) = buffer.split_at_mut(copied);
            for group in part.groups.clone() {
                for start in (0..self.channels.max(1)).step_by(grid.channels) {
                    let count = grid.channels.min(self.channels - start.min(self.channels));
                    let first = (part.image * self.groups + group) * self.channels + start;
                    let base = match grid.layout {
                        Layout::Direct => &source[first * plane + part.rows.start * width..],
                        Layout::Rows => {
                            self.lay_rows(grid, part, source, first, count, buffer);
                            &*buffer
                        }
                        Layout::Taps => {
                            self.lay_taps(grid, part, source, first, count, buffer, lanes);
                            &*buffer
                        }
                    };
                    let block = Block {
                        group,
                        start,
                        count,
                        channel,
                        last: start + count >= self.channels,
                        taps: &taps,
                        runs: &runs,
                    };
                    let out = if apart { Some(Shared::new(&mut *collected)) } else { None };
                    self.products(grid, part, &block, base, packed, finish, out.as_ref(), result);
                }
                if apart {
                    self.scatter(grid, part, group, collected, result);
                }
            }
        });
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
            for (runs, from) in block.runs.chunks(VECTORS).flat_map(|runs| {
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
                unsafe { self.instructions.outer(&tile) };
            }
        }
    }

    /// Puts collected rows where they belong.
    fn scatter(&self, grid: &Grid, part: &Part, group: usize, collected: &[f32], result: &Shared<'_, f32>) {
        let [height, width] = self.result;
        let mut rows = collected.chunks_exact(grid.size[1]);
        for filter in part.filters.clone() {
            let plane =
                (part.image * self.groups * self.filters + group * self.filters + filter) * height * width;
            for row in part.rows.clone() {
                let Some(from) = rows.next() else { continue };
                let first = plane + (grid.start[0] + row * self.stride[0]) * width + grid.start[1];
                let to = result.pointer(first, first + (from.len() - 1) * self.stride[1]);
                for (at, value) in from.iter().enumerate() {
                    // SAFETY: up to the last column, which was checked; the elements of a grid are no other's.
                    unsafe { *to.add(at * self.stride[1]) = *value };
                }
            }
        }
    }
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
    } else {
        for (to, from) in to.iter_mut().zip(row.iter().step_by(step)) {
            *to = *from;
        }
    }
}
