//! Tiles along one axis.

use std::ops::Range;

use crate::tiling::Blend;

/// Tiles along one axis: where each starts, what is kept of it, how it is weighted.
///
/// Invariants: there is at least one tile; origins rise strictly from 0; neighbours touch or overlap; unless the
/// extent is shorter than a tile, the last tile ends where the extent ends (or, in an exact plan, past it by less than a
/// stride). Tiles are spread evenly: the distances of neighbours differ by less than two multiples of what origins are
/// multiples of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    extent: usize,
    tile: usize,
    origins: Origins,
    /// Pixels at the beginning and at the end of a tile that are kept of the first and the last tile only.
    margin: (usize, usize),
}

/// Origins follow from their number, so the plan of a huge raster needs no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origins {
    /// The farthest that neighbours may lie apart; a multiple of `multiple`.
    step: usize,
    count: usize,
    /// Where the last tile starts.
    last: usize,
    /// What all origins but the last are multiples of.
    multiple: usize,
}

impl Origins {
    /// As few as reach `last` in steps of at most `step`.
    fn new(last: usize, step: usize, multiple: usize) -> Origins {
        debug_assert!(step > 0 && multiple > 0 && (last == 0 || step.is_multiple_of(multiple)));
        Origins { step, count: last.div_ceil(step) + 1, last, multiple }
    }

    /// `last` in multiples, rounded up. Counted from the rounded one, no two origins are the same and none is farther
    /// from the next than the step.
    fn units(&self) -> usize {
        self.last.div_ceil(self.multiple)
    }

    /// An equal share of the way for each, rounded down to the multiple.
    fn at(&self, index: usize) -> usize {
        debug_assert!(index < self.count);
        if index + 1 >= self.count {
            return self.last;
        }
        let units = index as u128 * self.units() as u128 / (self.count - 1) as u128;
        units as usize * self.multiple
    }

    /// The first that is `at` or beyond; the last one where none is.
    fn first_from(&self, at: usize) -> usize {
        if self.count == 1 {
            return 0;
        }
        let units = at.div_ceil(self.multiple) as u128;
        let index = (units * (self.count - 1) as u128).div_ceil(self.units() as u128);
        index.min((self.count - 1) as u128) as usize
    }

    /// The least distance of two neighbours; `None` where there is one.
    fn least_gap(&self) -> Option<usize> {
        // Rounding down leaves the least to the first of those that are alike; the last one may be cut short by `last`.
        (self.count > 1).then(|| self.at(1).min(self.last - self.at(self.count - 2)))
    }
}

impl Axis {
    /// Plans an axis of `extent` pixels with as few tiles of `tile` pixels as cover it in steps of at most `step`
    /// pixels, spread evenly: the first starts with the extent, the last ends with it, all others start at multiples of
    /// `multiple`.
    ///
    /// All four are at least 1, `step` is at most `tile` and a multiple of `multiple`;
    /// [`Plan::new`](crate::tiling::Plan::new) sees to it.
    pub(super) fn new(extent: usize, tile: usize, step: usize, multiple: usize) -> Axis {
        debug_assert!(extent > 0 && tile > 0 && step <= tile);
        let origins = Origins::new(extent.saturating_sub(tile), step, multiple);
        Axis { extent, tile, origins, margin: (0, 0) }
    }

    /// Plans an axis of which every tile but the first keeps nothing of its first `margin.0` pixels, every tile but the last
    /// nothing of its last `margin.1`, and all origins are multiples of `stride`: the last tile may reach past the extent by
    /// less than that. None where a tile has no `stride` pixels between its margins and the extent is longer than a tile.
    pub(super) fn exact(extent: usize, tile: usize, margin: (usize, usize), stride: usize) -> Option<Axis> {
        let last = extent.saturating_sub(tile).next_multiple_of(stride);
        let room = tile.saturating_sub(margin.0).saturating_sub(margin.1);
        let step = match last {
            0 => tile,
            _ => Some(room / stride * stride).filter(|step| *step > 0)?,
        };
        Some(Axis { extent, tile, origins: Origins::new(last, step, stride), margin })
    }

    /// Pixels along the axis.
    pub fn extent(&self) -> usize {
        self.extent
    }

    /// Pixels of a tile.
    pub fn tile(&self) -> usize {
        self.tile
    }

    /// Pixels that neighbouring tiles share at least: what the plan was made for. As tiles are spread evenly, they may
    /// share more.
    pub fn overlap(&self) -> usize {
        self.tile - self.origins.step
    }

    /// The most pixels that two neighbouring tiles share in this plan: exactly so many, 0 where there is one tile.
    pub fn most_shared(&self) -> usize {
        self.origins.least_gap().map_or(0, |gap| self.tile - gap)
    }

    /// Number of tiles.
    #[expect(clippy::len_without_is_empty, reason = "an axis has at least one tile")]
    pub fn len(&self) -> usize {
        self.origins.count
    }

    /// First pixel of tile `index`. The tile may reach past the end only where the extent is shorter than a tile.
    pub fn origin(&self, index: usize) -> usize {
        self.origins.at(index)
    }

    /// The pixels of the axis that tile `index` keeps under [`Blend::Crop`] and [`Blend::Exact`]: its overlap with each
    /// neighbour, less the margins of an exact plan, is cut in the middle (the smaller half goes to the earlier tile), its
    /// outer side at the raster's edge is kept whole. The kept ranges of all tiles partition the axis.
    pub fn kept(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.cut(index - 1) };
        let end = if index + 1 == self.len() { self.extent } else { self.cut(index) };
        start..end
    }

    /// Where tile `index` hands over to the next one: the middle of what both have right.
    fn cut(&self, index: usize) -> usize {
        let next = self.origin(index + 1);
        let overlap = (self.origin(index) + self.tile).saturating_sub(next);
        let (left, right) = self.margin;
        next + left + overlap.saturating_sub(left + right) / 2
    }

    /// Pixels of tile `index` that lie on the axis.
    pub fn covered(&self, index: usize) -> Range<usize> {
        let origin = self.origin(index);
        origin..(origin + self.tile).min(self.extent)
    }

    /// The first tile whose pixels reach `at`, counted by its end: tiles before it end at or before `at`.
    pub(super) fn first_reaching(&self, at: usize) -> usize {
        self.origins.first_from((at + 1).saturating_sub(self.tile))
    }

    /// Weights of tile `index` at each of its pixels that lie on the axis ([`Axis::covered`]), normalised: at each
    /// pixel of the axis the weights of all tiles that cover it sum to 1.
    pub fn weights(&self, index: usize, blend: Blend) -> Vec<f64> {
        if blend.is_cut() {
            let kept = self.kept(index);
            return self.covered(index).map(|at| if kept.contains(&at) { 1.0 } else { 0.0 }).collect();
        }
        self.normalised(index, &blend.windows(self.tile))
    }

    /// The weights of tile `index` where each tile counts with `windows`, one a pixel of a tile.
    pub(super) fn normalised(&self, index: usize, windows: &[f64]) -> Vec<f64> {
        let own = self.covered(index);
        let mut weights = vec![0.0; own.len()];
        for other in self.first_reaching(own.start)..self.len() {
            let covered = self.covered(other);
            if covered.start >= own.end {
                break;
            }
            let shared = covered.start.max(own.start)..covered.end.min(own.end);
            let windows = &windows[shared.start - covered.start..shared.end - covered.start];
            for (total, window) in weights[shared.start - own.start..].iter_mut().zip(windows) {
                *total += window;
            }
        }
        for (weight, window) in weights.iter_mut().zip(windows) {
            *weight = window / *weight;
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Brute force: tiles counted by a walk in whole steps, then each walked to the last multiple that is not past its equal
    /// share of the way, which ends at the first multiple from which a tile reaches the end.
    fn walked(extent: usize, tile: usize, step: usize, multiple: usize) -> Vec<usize> {
        let (mut count, mut end) = (1, tile);
        while end < extent {
            (count, end) = (count + 1, end + step);
        }
        let mut way = 0;
        while way + tile < extent {
            way += multiple;
        }
        let mut origins = vec![0];
        for index in 1..count {
            let mut origin = origins[index - 1];
            while (origin + multiple) * (count - 1) <= index * way {
                origin += multiple;
            }
            origins.push(if index + 1 == count { extent - tile } else { origin });
        }
        origins
    }

    /// Extent, tile, step, multiple.
    fn axes() -> impl Strategy<Value = (usize, usize, usize, usize)> {
        (1usize..600, 1usize..130, 1usize..20)
            .prop_flat_map(|(extent, tile, multiple)| {
                let multiple = multiple.min(tile);
                (Just(extent), Just(tile), 1..=tile / multiple, Just(multiple))
            })
            .prop_map(|(extent, tile, steps, multiple)| (extent, tile, steps * multiple, multiple))
    }

    proptest! {
        #[test]
        fn origins_are_those_of_a_walk((extent, tile, step, multiple) in axes()) {
            let axis = Axis::new(extent, tile, step, multiple);
            let origins: Vec<_> = (0..axis.len()).map(|index| axis.origin(index)).collect();
            let expected = walked(extent, tile, step, multiple);
            prop_assert_eq!(&origins, &expected);
            let gaps: Vec<_> = expected.windows(2).map(|pair| pair[1] - pair[0]).collect();
            prop_assert!(gaps.iter().all(|gap| (1..=step).contains(gap)), "{:?} of {}", gaps, step);
            // All but the last, which the raster's end may shorten, differ by one multiple at most.
            let inner = &gaps[..gaps.len().saturating_sub(1)];
            let spread = inner.iter().max().unwrap_or(&0) - inner.iter().min().unwrap_or(&0);
            prop_assert!(spread == 0 || spread == multiple, "{:?}", gaps);
            prop_assert_eq!(axis.most_shared(), gaps.iter().min().map_or(0, |gap| tile - gap));
            prop_assert_eq!(axis.overlap(), tile - step);
        }

        #[test]
        fn the_first_tile_that_reaches_a_pixel_is_that_of_a_walk((extent, tile, step, multiple) in axes()) {
            let axis = Axis::new(extent, tile, step, multiple);
            let origins = walked(extent, tile, step, multiple);
            for at in 0..extent {
                let expected = origins.iter().position(|origin| origin + tile > at).unwrap();
                prop_assert_eq!(axis.first_reaching(at), expected, "pixel {}", at);
            }
        }

        #[test]
        fn kept_ranges_partition_the_axis_and_lie_in_their_tiles((extent, tile, step, multiple) in axes()) {
            let axis = Axis::new(extent, tile, step, multiple);
            let mut at = 0;
            for index in 0..axis.len() {
                let kept = axis.kept(index);
                prop_assert_eq!(kept.start, at);
                prop_assert!(kept.end > kept.start);
                let covered = axis.covered(index);
                prop_assert!(covered.start <= kept.start && kept.end <= covered.end);
                at = kept.end;
            }
            prop_assert_eq!(at, extent);
        }

        #[test]
        fn crop_gives_each_pixel_a_tile_that_sees_it_furthest_from_its_inner_borders((extent, tile, step, multiple) in axes()) {
            let axis = Axis::new(extent, tile, step, multiple);
            // Distance to the nearest border of the tile that is not the raster's edge.
            let depth = |index: usize, at: usize| {
                let covered = axis.covered(index);
                let left = if index == 0 { usize::MAX } else { at - covered.start };
                let right = if index + 1 == axis.len() { usize::MAX } else { covered.end - 1 - at };
                left.min(right)
            };
            for index in 0..axis.len() {
                for at in axis.kept(index) {
                    let best = (0..axis.len())
                        .filter(|&other| axis.covered(other).contains(&at))
                        .map(|other| depth(other, at))
                        .max()
                        .unwrap();
                    // Half a pixel is lost where an overlap is odd; at a raster edge any covering tile is good.
                    prop_assert!(
                        depth(index, at).saturating_add(1) >= best.min(tile / 2),
                        "pixel {} in tile {}: depth {} of {}", at, index, depth(index, at), best
                    );
                }
            }
        }

        #[test]
        fn exact_axes_keep_what_both_margins_leave(
            (extent, stride) in (1usize..600, 1usize..20), (tile, left, right) in (1usize..12, 0usize..70, 0usize..70),
        ) {
            let tile = tile * stride;
            let Some(axis) = Axis::exact(extent, tile, (left, right), stride) else {
                prop_assert!(extent > tile && tile < left + right + stride);
                return Ok(());
            };
            let mut at = 0;
            for index in 0..axis.len() {
                let (origin, kept) = (axis.origin(index), axis.kept(index));
                prop_assert_eq!((origin % stride, kept.start), (0, at));
                prop_assert!(kept.end > kept.start && kept.end <= origin + tile);
                prop_assert!(index == 0 || kept.start >= origin + left);
                prop_assert!(index + 1 == axis.len() || kept.end + right <= origin + tile);
                at = kept.end;
            }
            prop_assert_eq!(at, extent);
            let gaps: Vec<_> =
                (1..axis.len()).map(|index| axis.origin(index) - axis.origin(index - 1)).collect();
            prop_assert_eq!(axis.most_shared(), gaps.iter().min().map_or(0, |gap| tile - gap));
            prop_assert!(gaps.iter().all(|gap| gap + left + right <= tile), "{:?}", gaps);
            // The last one ends where the extent ends, rounded up.
            let end = axis.origin(axis.len() - 1) + tile;
            prop_assert!(end >= extent && (axis.len() == 1 || end < extent + stride));
        }

        #[test]
        fn weights_sum_to_one_everywhere((extent, tile, step, multiple) in axes(), which in 0usize..5) {
            let blend = Blend::ALL[which];
            let axis = Axis::new(extent, tile, step, multiple);
            let mut sums = vec![0f64; extent];
            for index in 0..axis.len() {
                let weights = axis.weights(index, blend);
                prop_assert_eq!(weights.len(), axis.covered(index).len());
                for (at, weight) in axis.covered(index).zip(weights) {
                    prop_assert!(weight >= 0.0);
                    sums[at] += weight;
                }
            }
            for sum in sums {
                prop_assert!((sum - 1.0).abs() < 1e-12, "{}", sum);
            }
        }

        #[test]
        fn weights_are_the_normalised_windows((extent, tile, step, multiple) in axes(), which in 1usize..5) {
            let blend = Blend::ALL[which];
            let axis = Axis::new(extent, tile, step, multiple);
            let origins = walked(extent, tile, step, multiple);
            for index in 0..axis.len() {
                for (at, weight) in axis.covered(index).zip(axis.weights(index, blend)) {
                    let total: f64 = origins.iter()
                        .filter(|&&origin| origin <= at && at < origin + tile)
                        .map(|&origin| blend.window(at - origin, tile))
                        .sum();
                    let expected = blend.window(at - origins[index], tile) / total;
                    prop_assert!((weight - expected).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn an_axis_shorter_than_a_tile_has_one_tile() {
        let axis = Axis::new(1, 512, 384, 1);
        assert_eq!((axis.len(), axis.origin(0), axis.kept(0), axis.covered(0)), (1, 0, 0..1, 0..1));
    }

    #[test]
    fn a_huge_axis_costs_nothing() {
        let axis = Axis::new(1 << 31, 512, 1, 1);
        assert_eq!(axis.len(), (1 << 31) - 512 + 1);
        assert_eq!((axis.origin(axis.len() - 1), axis.most_shared()), ((1 << 31) - 512, 511));
        assert_eq!(axis.first_reaching(2_000_000_000), 2_000_000_000 - 511);
        let axis = Axis::new((1 << 31) - 1, 512, 384, 32);
        let (middle, last) = (axis.len() / 2, axis.len() - 1);
        assert_eq!((axis.len(), axis.origin(last)), (5_592_405, (1 << 31) - 513));
        for index in [1, middle, last] {
            assert!((352..=384).contains(&(axis.origin(index) - axis.origin(index - 1))));
        }
        assert_eq!(axis.first_reaching(axis.origin(middle) + 511), middle);
    }

    #[test]
    fn tiles_are_spread_evenly() {
        let origins = |axis: &Axis| (0..axis.len()).map(|index| axis.origin(index)).collect::<Vec<_>>();
        // One more pixel than two steps reach: three gaps of a third.
        let axis = Axis::new(512 + 2 * 384 + 1, 512, 384, 1);
        assert_eq!((origins(&axis), axis.most_shared()), (vec![0, 256, 512, 769], 256));
        // In multiples of 32; the end is none.
        let axis = Axis::new(512 + 2 * 384 + 1, 512, 384, 32);
        assert_eq!((origins(&axis), axis.most_shared()), (vec![0, 256, 512, 769], 256));
        // The origins of an exact plan are all multiples: its last tile reaches past the end.
        let axis = Axis::exact(512 + 2 * 384 + 1, 512, (64, 64), 32).unwrap();
        assert_eq!((origins(&axis), axis.most_shared()), (vec![0, 256, 512, 800], 256));
    }
}
