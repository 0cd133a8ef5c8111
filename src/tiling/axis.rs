//! Tiles along one axis.

use std::ops::Range;

use crate::tiling::Blend;

/// Tiles along one axis: where each starts, what is kept of it, how it is weighted.
///
/// Invariants: there is at least one tile; origins rise strictly from 0; neighbours touch or overlap; unless the
/// extent is shorter than a tile, the last tile ends where the extent ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    extent: usize,
    tile: usize,
    origins: Origins,
    /// Pixels at the beginning and at the end of a tile that are kept of the first and the last tile only.
    margin: (usize, usize),
}

/// Origins are arithmetic but for the last, so the plan of a huge raster needs no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origins {
    step: usize,
    count: usize,
    last: usize,
}

impl Axis {
    /// Plans an axis of `extent` pixels with tiles of `tile` pixels that start every `step` pixels; the last one is
    /// shifted back so that it ends with the extent.
    ///
    /// All three are at least 1 and `step` is at most `tile`; [`Plan::new`](crate::tiling::Plan::new) sees to it.
    pub(super) fn new(extent: usize, tile: usize, step: usize) -> Axis {
        debug_assert!(extent > 0 && tile > 0 && step > 0 && step <= tile);
        let last = extent.saturating_sub(tile);
        let count = last.div_ceil(step) + 1;
        Axis { extent, tile, origins: Origins { step, count, last }, margin: (0, 0) }
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
        Some(Axis { extent, tile, origins: Origins { step, count: last.div_ceil(step) + 1, last }, margin })
    }

    /// Pixels along the axis.
    pub fn extent(&self) -> usize {
        self.extent
    }

    /// Pixels of a tile.
    pub fn tile(&self) -> usize {
        self.tile
    }

    /// Pixels that neighbouring tiles share; the last two may share more.
    pub fn overlap(&self) -> usize {
        self.tile - self.origins.step
    }

    /// Number of tiles.
    #[expect(clippy::len_without_is_empty, reason = "an axis has at least one tile")]
    pub fn len(&self) -> usize {
        self.origins.count
    }

    /// First pixel of tile `index`. The tile may reach past the end only where the extent is shorter than a tile.
    pub fn origin(&self, index: usize) -> usize {
        debug_assert!(index < self.len());
        (index * self.origins.step).min(self.origins.last)
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

    /// The first tile whose pixels reach `at` or beyond, counted by its end: tiles before it end at or before `at`.
    fn first_reaching(&self, at: usize) -> usize {
        // origin + tile > at; origins are index * step but for the last, which reaches the end.
        let index = (at + 1).saturating_sub(self.tile).div_ceil(self.origins.step);
        index.min(self.len() - 1)
    }

    /// Weights of tile `index` at each of its pixels that lie on the axis ([`Axis::covered`]), normalised: at each
    /// pixel of the axis the weights of all tiles that cover it sum to 1.
    pub fn weights(&self, index: usize, blend: Blend) -> Vec<f64> {
        let origin = self.origin(index);
        self.covered(index)
            .map(|at| {
                if blend.is_cut() {
                    return if self.kept(index).contains(&at) { 1.0 } else { 0.0 };
                }
                let total: f64 = (self.first_reaching(at)..self.len())
                    .take_while(|&other| self.origin(other) <= at)
                    .filter(|&other| self.covered(other).contains(&at))
                    .map(|other| blend.window(at - self.origin(other), self.tile))
                    .sum();
                blend.window(at - origin, self.tile) / total
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Brute force: origins by walking.
    fn walked(extent: usize, tile: usize, step: usize) -> Vec<usize> {
        let mut origins = vec![0];
        while origins[origins.len() - 1] + tile < extent {
            let next = origins[origins.len() - 1] + step;
            origins.push(next.min(extent - tile));
        }
        origins
    }

    fn axes() -> impl Strategy<Value = (usize, usize, usize)> {
        (1usize..600, 1usize..130).prop_flat_map(|(extent, tile)| (Just(extent), Just(tile), 1..=tile))
    }

    proptest! {
        #[test]
        fn origins_are_those_of_a_walk((extent, tile, step) in axes()) {
            let axis = Axis::new(extent, tile, step);
            let origins: Vec<_> = (0..axis.len()).map(|index| axis.origin(index)).collect();
            prop_assert_eq!(origins, walked(extent, tile, step));
        }

        #[test]
        fn kept_ranges_partition_the_axis_and_lie_in_their_tiles((extent, tile, step) in axes()) {
            let axis = Axis::new(extent, tile, step);
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
        fn crop_gives_each_pixel_a_tile_that_sees_it_furthest_from_its_inner_borders((extent, tile, step) in axes()) {
            let axis = Axis::new(extent, tile, step);
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
            // The last one ends where the extent ends, rounded up.
            let end = axis.origin(axis.len() - 1) + tile;
            prop_assert!(end >= extent && (axis.len() == 1 || end < extent + stride));
        }

        #[test]
        fn weights_sum_to_one_everywhere((extent, tile, step) in axes(), which in 0usize..5) {
            let blend = Blend::ALL[which];
            let axis = Axis::new(extent, tile, step);
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
        fn weights_are_the_normalised_windows((extent, tile, step) in axes(), which in 1usize..5) {
            let blend = Blend::ALL[which];
            let axis = Axis::new(extent, tile, step);
            let origins = walked(extent, tile, step);
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
        let axis = Axis::new(1, 512, 384);
        assert_eq!((axis.len(), axis.origin(0), axis.kept(0), axis.covered(0)), (1, 0, 0..1, 0..1));
    }

    #[test]
    fn a_huge_axis_costs_nothing() {
        let axis = Axis::new(2_000_000_000, 512, 1);
        assert_eq!(axis.len(), 2_000_000_000 - 512 + 1);
        assert_eq!(axis.origin(axis.len() - 1), 2_000_000_000 - 512);
    }
}
