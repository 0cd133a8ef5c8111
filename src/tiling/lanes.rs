//! The order in which the tiles of a plan are computed.

use std::ops::Range;
use std::sync::Arc;

use crate::geometry::Window;
use crate::tiling::{Blend, Plan, Tile};

/// The order in which the tiles of a plan are computed: lane by lane from left to right, in each lane row by row of
/// tiles from top to bottom, in each row from left to right.
///
/// A lane is a strip of whole tile columns, as high as the raster. What blending holds back from one row of tiles to
/// the next is as wide as a lane, not as wide as the raster. Where tiles blend, a lane also computes the tiles of its left
/// neighbours that reach into it: each of them once more for every lane it reaches into. Where each pixel comes from
/// one tile, each tile is computed once.
///
/// A lane takes a few bytes; tiles take none. Clones share them.
#[derive(Debug, Clone)]
pub struct Lanes {
    plan: Plan,
    cut: bool,
    count: usize,
    /// The first step of each lane, and behind the last one the number of all steps.
    starts: Arc<[u64]>,
    most_width: usize,
    most_pixels: usize,
}

/// One tile's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Its running number, from 0.
    pub number: u64,
    /// The tile that is computed; its own number is that in the plan.
    pub tile: Tile,
    /// The lane it is computed for.
    pub lane: usize,
    /// Whether it is the last of its row of tiles in its lane.
    pub last_of_row: bool,
    /// The part of the map that is final once this step is done; `None` where a lane computes a tile of its left
    /// neighbours. It lies in the tile's window, and where tiles blend in its upper left corner.
    pub region: Option<Window>,
}

impl Lanes {
    /// The order of a plan's tiles in lanes of at most `columns` tile columns of their own; 0 counts as 1, and more than
    /// there are as all: one lane. The columns are spread evenly over as few lanes as that takes.
    pub fn new(plan: &Plan, blend: Blend, columns: usize) -> Lanes {
        let count = plan.x().len().div_ceil(columns.max(1));
        let mut lanes = Lanes {
            plan: plan.clone(),
            cut: blend.is_cut(),
            count,
            starts: Arc::new([]),
            most_width: 0,
            most_pixels: 0,
        };
        let rows = plan.y().len() as u64;
        let (mut starts, mut next) = (Vec::with_capacity(count + 1), 0u64);
        for lane in 0..count {
            starts.push(next);
            let columns = lanes.columns(lane);
            let end = plan.x().covered(columns.end - 1).end;
            lanes.most_width = lanes.most_width.max(end - plan.x().origin(columns.start));
            lanes.most_pixels = lanes.most_pixels.max(lanes.pixels(lane).len());
            next = next.saturating_add(rows.saturating_mul(columns.len() as u64));
        }
        starts.push(next);
        lanes.starts = starts.into();
        lanes
    }

    /// Number of steps.
    #[expect(clippy::len_without_is_empty, reason = "a plan has at least one tile")]
    pub fn len(&self) -> u64 {
        self.starts[self.count]
    }

    /// Tiles that are computed, those that are computed again for another lane included: the number of steps.
    pub fn computed(&self) -> u64 {
        self.len()
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.count
    }

    /// The tile columns that are a lane's own.
    fn own(&self, lane: usize) -> Range<usize> {
        let columns = self.plan.x().len() as u128;
        let first = |lane: usize| (lane as u128 * columns / self.count as u128) as usize;
        first(lane)..first(lane + 1)
    }

    /// The tile columns that are computed for a lane: its own and, where tiles blend, those to the left that reach into
    /// it. `lane` must be below [`Lanes::lanes`].
    pub fn columns(&self, lane: usize) -> Range<usize> {
        let own = self.own(lane);
        match self.cut || lane == 0 {
            true => own,
            false => self.plan.x().first_reaching(self.plan.x().origin(own.start))..own.end,
        }
    }

    /// The pixels along x whose values come out of a lane; those of all lanes partition the map's. `lane` must be below
    /// [`Lanes::lanes`].
    pub fn pixels(&self, lane: usize) -> Range<usize> {
        let (own, x) = (self.own(lane), self.plan.x());
        if self.cut {
            return x.kept(own.start).start..x.kept(own.end - 1).end;
        }
        x.origin(own.start)..self.handed_over(own.end - 1)
    }

    /// Where the final pixels of a tile column end when tiles blend: where the next one starts.
    fn handed_over(&self, column: usize) -> usize {
        let x = self.plan.x();
        if column + 1 < x.len() { x.origin(column + 1) } else { x.extent() }
    }

    /// The most pixels along x that the tiles of one lane cover together.
    pub fn most_width(&self) -> usize {
        self.most_width
    }

    /// The most pixels along x that come out of one lane.
    pub fn most_pixels(&self) -> usize {
        self.most_pixels
    }

    /// Whether tiles are cut, so that each pixel comes from one of them.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// The lane of a step and the columns that it computes.
    fn lane_of(&self, number: u64) -> (usize, Range<usize>) {
        let lane = self.starts[1..self.count].partition_point(|start| *start <= number);
        (lane, self.columns(lane))
    }

    /// The step with this running number, which must be below [`Lanes::len`].
    pub fn step(&self, number: u64) -> Step {
        debug_assert!(number < self.len());
        let (lane, columns) = self.lane_of(number);
        let inside = number - self.starts[lane];
        let row = (inside / columns.len() as u64) as usize;
        let column = columns.start + (inside % columns.len() as u64) as usize;
        let tile = self.plan.tile(row as u64 * self.plan.x().len() as u64 + column as u64);
        Step {
            number,
            tile,
            lane,
            last_of_row: column + 1 == columns.end,
            region: if self.cut { Some(tile.kept) } else { self.blended(&tile, lane) },
        }
    }

    /// What no later tile of a lane touches once this one has been added.
    fn blended(&self, tile: &Tile, lane: usize) -> Option<Window> {
        if tile.column < self.own(lane).start {
            return None;
        }
        let y = self.plan.y();
        let bottom = if tile.row + 1 < y.len() { y.origin(tile.row + 1) } else { y.extent() };
        let (left, top) = (self.plan.x().origin(tile.column), y.origin(tile.row));
        let right = self.handed_over(tile.column);
        Some(Window::new(left as i64, top as i64, right - left, bottom - top))
    }

    /// With the regions of all steps before `number` at hand, the first step that must be computed again so that the
    /// regions of `number` and of all that follow come out as they would have, to the last bit: the step itself where
    /// tiles are cut, else the first of the first row of tiles in its lane that reaches below the top of its own row.
    /// The number of all steps, where nothing is left to do, is its own answer.
    pub fn restart(&self, number: u64) -> u64 {
        if self.cut || number >= self.len() {
            return number;
        }
        let (lane, columns) = self.lane_of(number);
        let row = ((number - self.starts[lane]) / columns.len() as u64) as usize;
        let first = self.plan.y().first_reaching(self.plan.y().origin(row));
        self.starts[lane] + first as u64 * columns.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;
    use proptest::prelude::*;

    /// A plan, the way its tiles become one map, and the columns of a lane.
    fn cases() -> impl Strategy<Value = (Plan, Blend, usize)> {
        ((1usize..80, 1usize..80), (1usize..24, 1usize..24), 0.0f64..0.9, 1usize..4, 0usize..5, 1usize..12)
            .prop_map(|(raster, tile, share, multiple, which, columns)| {
                let overlap = |tile: usize| (tile as f64 * share) as usize;
                let plan = Plan::new(
                    Size::new(raster.0, raster.1),
                    Size::new(tile.0, tile.1),
                    (overlap(tile.0), overlap(tile.1)),
                    multiple.min(tile.0).min(tile.1),
                )
                .unwrap();
                (plan, Blend::ALL[which], columns)
            })
    }

    fn pixels(window: Window) -> impl Iterator<Item = (usize, usize)> {
        let (x, y) = (window.x as usize, window.y as usize);
        (y..y + window.height).flat_map(move |row| (x..x + window.width).map(move |column| (row, column)))
    }

    proptest! {
        #[test]
        fn regions_partition_the_raster_and_are_final((plan, blend, columns) in cases()) {
            let (size, lanes) = (plan.raster(), Lanes::new(&plan, blend, columns));
            let mut writer = vec![None; size.width * size.height];
            let mut computed = vec![0; plan.len() as usize];
            for number in 0..lanes.len() {
                let step = lanes.step(number);
                prop_assert_eq!((step.number, plan.tile(step.tile.number)), (number, step.tile));
                computed[step.tile.number as usize] += 1;
                let Some(region) = step.region else { continue };
                for (row, column) in pixels(region) {
                    let place = row * size.width + column;
                    prop_assert_eq!(writer[place], None);
                    writer[place] = Some(step);
                    // It lies in the tile.
                    prop_assert!(step.tile.window.x as usize <= column && step.tile.window.y as usize <= row);
                    prop_assert!(column < step.tile.window.x as usize + plan.x().tile());
                    prop_assert!(row < step.tile.window.y as usize + plan.y().tile());
                }
            }
            prop_assert!(writer.iter().all(Option::is_some));
            prop_assert!(computed.iter().all(|times| *times >= 1 && (*times == 1 || !blend.is_cut())));
            // Each tile that covers a pixel has its turn before the pixel is final, in the lane that gives it out.
            if !blend.is_cut() {
                let mut turns = vec![Vec::new(); plan.len() as usize];
                for number in 0..lanes.len() {
                    turns[lanes.step(number).tile.number as usize].push((lanes.step(number).lane, number));
                }
                for tile in plan.tiles() {
                    for (row, column) in tile.window.clip(size).into_iter().flat_map(pixels) {
                        let step = writer[row * size.width + column].unwrap();
                        let turn = turns[tile.number as usize].iter().find(|(lane, _)| *lane == step.lane);
                        prop_assert!(turn.is_some_and(|(_, number)| *number <= step.number));
                    }
                }
            }
        }

        #[test]
        fn lanes_are_whole_columns_from_top_to_bottom((plan, blend, columns) in cases()) {
            let lanes = Lanes::new(&plan, blend, columns);
            prop_assert_eq!(lanes.lanes(), plan.x().len().div_ceil(columns));
            let (mut number, mut left, mut own) = (0, 0, 0);
            let mut most = (0, 0);
            for lane in 0..lanes.lanes() {
                let range = lanes.columns(lane);
                prop_assert_eq!((lanes.pixels(lane).start, range.end > own), (left, true));
                prop_assert!(range.end - own <= columns && range.end - own >= plan.x().len() / lanes.lanes());
                // Those to the left are all that reach into it.
                for column in 0..own {
                    let reaches = plan.x().covered(column).end > left && !blend.is_cut();
                    prop_assert_eq!(range.contains(&column), reaches, "column {} lane {}", column, lane);
                }
                (left, own) = (lanes.pixels(lane).end, range.end);
                let covered = plan.x().covered(range.end - 1).end - plan.x().origin(range.start);
                most = (most.0.max(covered), most.1.max(lanes.pixels(lane).len()));
                for row in 0..plan.y().len() {
                    for column in range.clone() {
                        let step = lanes.step(number);
                        let last = column + 1 == range.end;
                        let expected = (lane, row, column, last);
                        prop_assert_eq!((step.lane, step.tile.row, step.tile.column, step.last_of_row), expected);
                        number += 1;
                    }
                }
            }
            prop_assert_eq!((lanes.len(), lanes.computed(), left), (number, number, plan.raster().width));
            prop_assert_eq!((lanes.most_width(), lanes.most_pixels()), most);
        }

        #[test]
        fn restarts_compute_all_that_is_unfinished_and_no_more((plan, blend, columns) in cases()) {
            let lanes = Lanes::new(&plan, blend, columns);
            prop_assert_eq!(lanes.restart(lanes.len()), lanes.len());
            for number in 0..lanes.len() {
                let (restart, step) = (lanes.restart(number), lanes.step(number));
                if blend.is_cut() {
                    prop_assert_eq!(restart, number);
                    continue;
                }
                // Rows of tiles that reach a row of pixels that is not written, by a walk upwards.
                let top = plan.y().origin(step.tile.row);
                let first = (0..=step.tile.row).find(|row| plan.y().covered(*row).end > top).unwrap();
                let again = lanes.step(restart);
                prop_assert_eq!((again.lane, again.tile.row), (step.lane, first));
                prop_assert_eq!(again.tile.column, lanes.columns(step.lane).start);
            }
        }
    }

    #[test]
    fn a_huge_raster_costs_nothing() {
        let (raster, tile) = (Size::new(200_000, 200_000), Size::new(512, 512));
        let plan = Plan::new(raster, tile, (128, 128), 1).unwrap();
        let lanes = Lanes::new(&plan, Blend::Gaussian, 20);
        // 521 columns and rows in 27 lanes of 19 or 20, and in all but the first one column more.
        assert_eq!((plan.x().len(), lanes.lanes()), (521, 27));
        assert_eq!(lanes.len(), (521 + 26) * 521);
        let last = lanes.step(lanes.len() - 1);
        assert_eq!((last.tile.number, last.lane, last.last_of_row), (521 * 521 - 1, 26, true));
        // One lane over all.
        let lanes = Lanes::new(&plan, Blend::Gaussian, usize::MAX);
        assert_eq!((lanes.lanes(), lanes.len(), lanes.most_width()), (1, 521 * 521, 200_000));
        // The longest sides there are, in the narrowest lanes.
        let raster = Size::new(1 << 31, 1 << 31);
        let plan = Plan::new(raster, tile, (384, 384), 1).unwrap();
        let lanes = Lanes::new(&plan, Blend::Hann, 10_000);
        let step = lanes.step(lanes.len() - 1);
        assert_eq!((step.tile.number, step.tile.window.x), (plan.len() - 1, (1 << 31) - 512));
    }
}
