//! The weighted sums that blending keeps while tiles arrive lane by lane.

use std::ops::Range;

use ndarray::{ArrayView3, s};

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Window;
use crate::tiling::{Blend, Lanes, Plan, Step};

/// Adds weighted tiles and gives out each part of the map as soon as it is final.
///
/// Tiles come in the order of [`Lanes`]. What is kept is no larger than what later tiles reach into: a window as large as
/// a tile, which slides along the row of tiles, and below it a strip as wide as a lane of the rows that the next row of
/// tiles reaches into: `C × (tile height × tile width + most shared rows × lane width) × 4` bytes.
///
/// Weights are normalised along each axis, so a tile's values are weighted and summed along x in the window, and those
/// sums are weighted and summed along y in the strip: at each pixel few numbers are added at a time, always in the same
/// order. Values therefore are the same to the last bit for every width of the lanes and after every
/// [restart](Lanes::restart), and a hundred overlapping tiles of one value give that value to within 10⁻⁶ of it in `f32`.
///
/// One thread at a time: all calls change it.
#[derive(Debug)]
pub struct Accumulator {
    plan: Plan,
    lanes: Lanes,
    channels: usize,
    /// `[C, H, W]` of a tile, less what is larger than the map; sums along x of the row of tiles at work. Its first pixel
    /// is that of the tile that came last.
    window: Vec<f32>,
    /// `[C, rows, W]`: sums of the rows of tiles above. Right of the tile at work its first row is the first row of that
    /// tile, left of it that of the next row of tiles. Its first column is the lane's.
    strip: Vec<f32>,
    windows: (Vec<f64>, Vec<f64>),
    /// Normalised weights of the tile at work.
    weights: (Vec<f32>, Vec<f32>),
    /// The step that is due; `None` before the first.
    due: Option<u64>,
    /// The row of tiles with which sums began in this lane: those above it are missing.
    first_row: usize,
}

/// What one tile touches: pixels along x are counted from its first, rows from its first.
struct Reach {
    /// Pixels of the tile on the lane.
    columns: Range<usize>,
    /// Where sums of the tile to the left end; `columns.start` where there are none.
    summed: usize,
    /// How far it lies to the right of the tile before it.
    slide: usize,
    /// Pixels that become final along x, from `columns.start`; 0 where none do.
    final_columns: usize,
    /// Rows of the tile on the map.
    rows: usize,
    /// Rows that become final.
    final_rows: usize,
    /// Rows with sums of the row of tiles above.
    strip_rows: usize,
    /// The column of the strip that is the first of the tile's on the lane.
    strip_column: usize,
}

/// Rows and columns of the window, and rows and columns of the strip.
struct Room {
    window: (usize, usize),
    strip: (usize, usize),
}

impl Room {
    fn of(plan: &Plan, lanes: &Lanes) -> Room {
        let (x, y) = (plan.x(), plan.y());
        Room {
            window: (y.tile().min(y.extent()), x.tile().min(x.extent())),
            strip: (y.most_shared(), lanes.most_pixels()),
        }
    }

    /// Numbers of a channel; `None` where they cannot be counted.
    fn lengths(&self) -> Option<(usize, usize)> {
        Some((self.window.0.checked_mul(self.window.1)?, self.strip.0.checked_mul(self.strip.1)?))
    }
}

impl Accumulator {
    /// An accumulator of `channels` channels for tiles of a plan that come in the order of `lanes`, which must be lanes of
    /// this plan for a way to blend.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`]; [`ErrorKind::Internal`] for a way to make the map that cuts tiles.
    pub fn new(plan: &Plan, lanes: &Lanes, channels: usize, blend: Blend) -> Result<Accumulator> {
        if blend.is_cut() || lanes.is_cut() {
            return Err(Error::internal(format!("blend {blend}: tiles that are cut are not summed")));
        }
        let room = Room::of(plan, lanes);
        let short = || {
            let ((rows, columns), (strip_rows, strip_columns)) = (room.window, room.strip);
            Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "blending {channels} channels needs {columns} x {rows} and {strip_columns} x {strip_rows} pixels in memory"
                ),
            )
        };
        let zeros = |length: usize| {
            let length = length.checked_mul(channels).ok_or_else(short)?;
            let mut numbers = Vec::new();
            numbers.try_reserve_exact(length).map_err(|_| short())?;
            numbers.resize(length, 0.0);
            Ok(numbers)
        };
        let (window, strip) = room.lengths().ok_or_else(short)?;
        Ok(Accumulator {
            window: zeros(window)?,
            strip: zeros(strip)?,
            plan: plan.clone(),
            lanes: lanes.clone(),
            channels,
            windows: (blend.windows(plan.x().tile()), blend.windows(plan.y().tile())),
            weights: (Vec::new(), Vec::new()),
            due: None,
            first_row: 0,
        })
    }

    /// The bytes that an accumulator of these takes; those of its weights, 24 for each pixel along a tile's sides, not
    /// counted.
    pub fn bytes(plan: &Plan, lanes: &Lanes, channels: usize) -> u64 {
        let numbers = Room::of(plan, lanes).lengths().and_then(|(window, strip)| window.checked_add(strip));
        let bytes = numbers.and_then(|numbers| numbers.checked_mul(channels)?.checked_mul(size_of::<f32>()));
        bytes.map_or(u64::MAX, |bytes| bytes as u64)
    }

    /// Adds a tile's values `[C, H, W]` (H and W are the plan's tile size; what reaches past the raster or the lane is left
    /// out) and gives out the step's [region](Step::region), which is final now, with its values `[C, h, w]`. `None` for
    /// steps without one.
    ///
    /// Steps come one after the other. The first may be any with which a row of tiles begins in its lane, such as step 0
    /// and every answer of [`Lanes::restart`]: what tiles before it would have added is missing, so of `restart(n)` the
    /// regions of steps before `n` come out incomplete and must not be used.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for values of another shape and for a step that is not due; nothing has changed then.
    pub fn add(
        &mut self,
        step: &Step,
        values: ArrayView3<'_, f32>,
    ) -> Result<Option<(Window, ArrayView3<'_, f32>)>> {
        let expected = (self.channels, self.plan.y().tile(), self.plan.x().tile());
        if values.dim() != expected {
            return Err(Error::internal(format!(
                "blend: tile values {:?} of step {}: expected {expected:?}",
                values.dim(),
                step.number
            )));
        }
        self.advance(step, Some(values))
    }

    /// The same for a tile that was not computed: it adds nothing, and what it would have added is missing in the sums.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for a step that is not due; nothing has changed then.
    pub fn skip(&mut self, step: &Step) -> Result<Option<(Window, ArrayView3<'_, f32>)>> {
        self.advance(step, None)
    }

    fn advance(
        &mut self,
        step: &Step,
        values: Option<ArrayView3<'_, f32>>,
    ) -> Result<Option<(Window, ArrayView3<'_, f32>)>> {
        if step.number >= self.lanes.len() || self.lanes.step(step.number) != *step {
            return Err(Error::internal(format!("blend: step {} is none of its lanes", step.number)));
        }
        let first_of_row = step.tile.column == self.lanes.columns(step.lane).start;
        if self.due.map_or(!first_of_row, |due| due != step.number) {
            return Err(Error::internal(match self.due {
                Some(due) => format!("blend: step {}: expected step {due}", step.number),
                None => format!("blend: step {}: expected the first of a row of tiles", step.number),
            }));
        }
        if self.due.is_none() || step.tile.row == 0 {
            self.first_row = step.tile.row;
        }
        self.due = Some(step.number + 1);
        self.weigh(step, first_of_row);
        let reach = self.reach(step, first_of_row);
        for channel in 0..self.channels {
            self.sum(channel, &reach, values);
        }
        let (Some(region), Room { window: (rows, columns), .. }) = (step.region, self.room()) else {
            return Ok(None);
        };
        let window = ArrayView3::from_shape((self.channels, rows, columns), &self.window)
            .map_err(|error| Error::internal("accumulator shape").caused_by(error))?;
        Ok(Some((region, window.slice_move(s![.., ..region.height, ..region.width]))))
    }

    fn room(&self) -> Room {
        Room::of(&self.plan, &self.lanes)
    }

    /// Weights of a tile.
    fn weigh(&mut self, step: &Step, first_of_row: bool) {
        let narrow = |weights: Vec<f64>| weights.into_iter().map(|weight| weight as f32).collect();
        self.weights.0 = narrow(self.plan.x().normalised(step.tile.column, &self.windows.0));
        if first_of_row {
            self.weights.1 = narrow(self.plan.y().normalised(step.tile.row, &self.windows.1));
        }
    }

    fn reach(&self, step: &Step, first_of_row: bool) -> Reach {
        let (x, y) = (self.plan.x(), self.plan.y());
        let lane = self.lanes.pixels(step.lane);
        let (covered, rows) = (x.covered(step.tile.column), y.covered(step.tile.row));
        let on_lane = covered.start.max(lane.start)..covered.end.min(lane.end);
        let (mut summed, mut slide) = (on_lane.start, 0);
        if !first_of_row {
            let before = x.covered(step.tile.column - 1);
            summed = before.end.clamp(on_lane.start, on_lane.end);
            slide = covered.start - before.start;
        }
        let strip_rows = match step.tile.row > self.first_row {
            true => y.covered(step.tile.row - 1).end - rows.start,
            false => 0,
        };
        Reach {
            columns: on_lane.start - covered.start..on_lane.end - covered.start,
            summed: summed - covered.start,
            slide,
            final_columns: step.region.map_or(0, |region| region.width),
            rows: rows.len(),
            final_rows: step.region.map_or(0, |region| region.height),
            strip_rows,
            strip_column: on_lane.start - lane.start,
        }
    }

    /// One channel of a tile: row by row it is summed in the window, and what is final along x goes on, either out or into the
    /// strip.
    fn sum(&mut self, channel: usize, reach: &Reach, values: Option<ArrayView3<'_, f32>>) {
        let Room { window: (rows, width), strip: (strip_rows, strip_width) } = self.room();
        let window = &mut self.window[channel * rows * width..][..rows * width];
        let strip = &mut self.strip[channel * strip_rows * strip_width..][..strip_rows * strip_width];
        let Reach { columns, summed, slide, .. } = reach;
        let mut copy = Vec::new();
        for (row, (window, weight)) in
            window.chunks_exact_mut(width).zip(&self.weights.1).take(reach.rows).enumerate()
        {
            if columns.start < *summed {
                window.copy_within(columns.start + slide..summed + slide, columns.start);
            }
            let (old, new) = window[columns.clone()].split_at_mut(summed - columns.start);
            match &values {
                None => new.fill(0.0),
                Some(values) => {
                    let values = values.slice(s![channel, row, columns.clone()]);
                    let values = match values.to_slice() {
                        Some(values) => values,
                        None => {
                            copy.clear();
                            copy.extend(values);
                            &copy
                        }
                    };
                    weigh_into(old, new, values, &self.weights.0[columns.clone()]);
                }
            }
            if reach.final_columns == 0 {
                continue;
            }
            let done = &mut window[columns.start..][..reach.final_columns];
            let at = |row: usize| {
                let start = row * strip_width + reach.strip_column;
                start..start + reach.final_columns
            };
            let above = row < reach.strip_rows;
            match (row.checked_sub(reach.final_rows), above) {
                (None, true) => {
                    for (sum, above) in done.iter_mut().zip(&strip[at(row)]) {
                        *sum = above + *sum * weight;
                    }
                }
                (None, false) => done.iter_mut().for_each(|sum| *sum *= weight),
                // In the strip rows move up by those that are out. They come from the top, so each is read before
                // another takes its place.
                (Some(to), true) => {
                    let (upper, lower) = strip.split_at_mut(row * strip_width);
                    for ((to, above), sum) in upper[at(to)].iter_mut().zip(&lower[at(0)]).zip(done) {
                        *to = above + *sum * weight;
                    }
                }
                (Some(to), false) => {
                    for (to, sum) in strip[at(to)].iter_mut().zip(done) {
                        *to = *sum * weight;
                    }
                }
            }
        }
    }
}

/// Adds weighted values to `old` sums and begins `new` ones with those that follow.
fn weigh_into(old: &mut [f32], new: &mut [f32], values: &[f32], weights: &[f32]) {
    let (old_values, new_values) = values.split_at(old.len());
    let (old_weights, new_weights) = weights.split_at(old.len());
    for ((sum, value), weight) in old.iter_mut().zip(old_values).zip(old_weights) {
        *sum += value * weight;
    }
    for ((sum, value), weight) in new.iter_mut().zip(new_values).zip(new_weights) {
        *sum = value * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;
    use ndarray::Array3;
    use proptest::prelude::*;

    const CHANNELS: usize = 2;

    /// A value of a tile's pixel, at most 1.
    fn value(number: u64, c: usize, i: usize, j: usize) -> f32 {
        let mixed = number.wrapping_mul(31).wrapping_add(c as u64 * 7 + i as u64 * 3 + j as u64);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 24) as f32
    }

    fn values(plan: &Plan, number: u64) -> Array3<f32> {
        let shape = (CHANNELS, plan.y().tile(), plan.x().tile());
        Array3::from_shape_fn(shape, |(c, i, j)| value(number, c, i, j))
    }

    fn skipped(number: u64, one_in: u64) -> bool {
        one_in > 0 && number % one_in == 1
    }

    /// The whole raster at once, in f64, sums and totals kept apart; skipped tiles are in the totals only.
    fn brute_force(plan: &Plan, blend: Blend, one_in: u64) -> Array3<f64> {
        let size = plan.raster();
        let mut sums = Array3::zeros((CHANNELS, size.height, size.width));
        let mut totals = Array3::<f64>::zeros((CHANNELS, size.height, size.width));
        for tile in plan.tiles() {
            let ((height, width), window) = ((plan.y().tile(), plan.x().tile()), tile.window);
            for (c, i, j) in ndarray::indices((CHANNELS, height, width)) {
                let (y, x) = (window.y as usize + i, window.x as usize + j);
                if y < size.height && x < size.width {
                    let weight = blend.window(i, height) * blend.window(j, width);
                    totals[[c, y, x]] += weight;
                    if !skipped(tile.number, one_in) {
                        sums[[c, y, x]] += weight * f64::from(value(tile.number, c, i, j));
                    }
                }
            }
        }
        sums / totals
    }

    /// What comes out of a fresh accumulator from a step on.
    fn run(
        plan: &Plan,
        lanes: &Lanes,
        blend: Blend,
        one_in: u64,
        from: u64,
    ) -> Vec<(u64, Window, Array3<f32>)> {
        let mut accumulator = Accumulator::new(plan, lanes, CHANNELS, blend).unwrap();
        let mut out = Vec::new();
        for number in from..lanes.len() {
            let step = lanes.step(number);
            let given = match skipped(step.tile.number, one_in) {
                true => accumulator.skip(&step),
                false => accumulator.add(&step, values(plan, step.tile.number).view()),
            };
            let given = given.unwrap();
            assert_eq!(given.as_ref().map(|(window, _)| *window), step.region);
            out.extend(given.map(|(window, values)| (number, window, values.to_owned())));
        }
        out
    }

    fn map(plan: &Plan, regions: &[(u64, Window, Array3<f32>)]) -> Array3<f32> {
        let size = plan.raster();
        let mut map = Array3::from_elem((CHANNELS, size.height, size.width), f32::NAN);
        for (_, window, values) in regions {
            let (y, x) = (window.y as usize, window.x as usize);
            map.slice_mut(s![.., y..y + window.height, x..x + window.width]).assign(values);
        }
        map
    }

    fn bits(values: &Array3<f32>) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// A plan, a blend, the columns of a lane, and of how many tiles one is skipped.
    fn cases(longest: usize) -> impl Strategy<Value = (Plan, Blend, usize, u64)> {
        let sizes = ((1..longest, 1..longest), (1usize..30, 1usize..30));
        (sizes, (0.0f64..0.9, 0.0f64..0.9), 1usize..4, 1usize..5, 1usize..8, 0u64..5).prop_map(
            |((raster, tile), shares, multiple, which, columns, one_in)| {
                let overlap = |tile: usize, share: f64| (tile as f64 * share) as usize;
                let plan = Plan::new(
                    Size::new(raster.0, raster.1),
                    Size::new(tile.0, tile.1),
                    (overlap(tile.0, shares.0), overlap(tile.1, shares.1)),
                    multiple.min(tile.0).min(tile.1),
                )
                .unwrap();
                (plan, Blend::ALL[which], columns, one_in)
            },
        )
    }

    proptest! {
        #[test]
        fn what_comes_out_is_the_mean_over_the_whole_raster((plan, blend, columns, one_in) in cases(70)) {
            let lanes = Lanes::new(&plan, blend, columns);
            let regions = run(&plan, &lanes, blend, one_in, 0);
            let expected = brute_force(&plan, blend, one_in);
            for (got, expected) in map(&plan, &regions).iter().zip(&expected) {
                prop_assert!((f64::from(*got) - expected).abs() < 1e-6, "{} instead of {}", got, expected);
            }
        }

        #[test]
        fn the_width_of_lanes_changes_no_bit((plan, blend, columns, one_in) in cases(70)) {
            let regions = |columns| run(&plan, &Lanes::new(&plan, blend, columns), blend, one_in, 0);
            let (some, all) = (regions(columns), regions(usize::MAX));
            prop_assert_eq!(bits(&map(&plan, &some)), bits(&map(&plan, &all)));
        }

        #[test]
        fn a_restart_changes_no_bit((plan, blend, columns, one_in) in cases(40)) {
            let lanes = Lanes::new(&plan, blend, columns);
            let whole = run(&plan, &lanes, blend, one_in, 0);
            // Of many steps some.
            for number in (0..=lanes.len()).step_by(lanes.len() as usize / 40 + 1) {
                let again = run(&plan, &lanes, blend, one_in, lanes.restart(number));
                let later = |regions: &[(u64, Window, Array3<f32>)]| -> Vec<_> {
                    let later = regions.iter().filter(|(step, ..)| *step >= number);
                    later.map(|(step, window, values)| (*step, *window, bits(values))).collect()
                };
                prop_assert_eq!(later(&again), later(&whole), "from {}", number);
            }
        }

        #[test]
        fn memory_is_what_was_foretold((plan, blend, columns, _) in cases(70)) {
            let lanes = Lanes::new(&plan, blend, columns);
            let accumulator = Accumulator::new(&plan, &lanes, 3, blend).unwrap();
            let numbers = accumulator.window.capacity() + accumulator.strip.capacity();
            prop_assert_eq!(Accumulator::bytes(&plan, &lanes, 3), numbers as u64 * 4);
            let (tile, carried) = (plan.tile_size().pixels(), plan.y().most_shared() * lanes.most_width());
            prop_assert!(numbers <= 3 * (tile as usize + carried));
        }
    }

    #[test]
    fn one_value_stays_that_value() {
        // A hundred tiles on each pixel, all of the same value and weight.
        let plan = Plan::new(Size::new(640, 640), Size::new(64, 64), (58, 58), 1).unwrap();
        let lanes = Lanes::new(&plan, Blend::Constant, 30);
        let mut accumulator = Accumulator::new(&plan, &lanes, 1, Blend::Constant).unwrap();
        let ones = Array3::ones((1, 64, 64));
        let mut most = 0f32;
        for number in 0..lanes.len() {
            if let Some((_, values)) = accumulator.add(&lanes.step(number), ones.view()).unwrap() {
                most = values.iter().fold(most, |most, value| most.max((value - 1.0).abs()));
            }
        }
        assert!(most < 1e-6, "{most}");
    }

    #[test]
    fn values_need_not_lie_row_by_row() {
        let plan = Plan::new(Size::new(50, 40), Size::new(16, 12), (5, 4), 1).unwrap();
        let lanes = Lanes::new(&plan, Blend::Hann, 2);
        let [mut plain, mut turned] =
            [(); 2].map(|()| Accumulator::new(&plan, &lanes, CHANNELS, Blend::Hann).unwrap());
        for number in 0..lanes.len() {
            let step = lanes.step(number);
            let values = values(&plan, number);
            let columns_first = values.view().reversed_axes().as_standard_layout().into_owned();
            let given = turned.add(&step, columns_first.view().reversed_axes()).unwrap();
            assert_eq!(given, plain.add(&step, values.view()).unwrap());
        }
    }

    #[test]
    fn wrong_steps_and_shapes_are_refused_and_change_nothing() {
        let plan = Plan::new(Size::new(26, 26), Size::new(8, 8), (2, 2), 1).unwrap();
        let lanes = Lanes::new(&plan, Blend::Hann, 2);
        let mut accumulator = Accumulator::new(&plan, &lanes, CHANNELS, Blend::Hann).unwrap();
        let values = Array3::zeros((CHANNELS, 8, 8));
        let kind = |error: Option<Error>| error.map(|error| error.kind());
        // In the midst of a row.
        assert_eq!(kind(accumulator.skip(&lanes.step(1)).err()), Some(ErrorKind::Internal));
        // From the second row of tiles on.
        accumulator.add(&lanes.step(2), values.view()).unwrap();
        for wrong in [0, 2, 4] {
            let error = accumulator.add(&lanes.step(wrong), values.view()).err();
            assert_eq!(kind(error), Some(ErrorKind::Internal), "step {wrong}");
        }
        let error = accumulator.add(&lanes.step(3), Array3::zeros((CHANNELS, 8, 9)).view()).err();
        assert_eq!(kind(error), Some(ErrorKind::Internal));
        // A step of other lanes.
        let other = Lanes::new(&plan, Blend::Hann, 1).step(3);
        assert_eq!(kind(accumulator.skip(&other).err()), Some(ErrorKind::Internal));
        accumulator.add(&lanes.step(3), values.view()).unwrap();
        assert!(Accumulator::new(&plan, &lanes, 1, Blend::Crop).is_err());
        let error = Accumulator::new(&plan, &lanes, usize::MAX / 8, Blend::Hann).err();
        assert_eq!(kind(error), Some(ErrorKind::OutOfMemory));
        assert_eq!(Accumulator::bytes(&plan, &lanes, usize::MAX / 8), u64::MAX);
    }
}
