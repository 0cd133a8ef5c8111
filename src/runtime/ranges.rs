//! Which parts of a range of addresses are taken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// Of blocks and of their sizes: a line of the cache, and what vector instructions want.
pub(super) const ALIGNMENT: usize = 64;

/// Which parts of a range of addresses are taken. Offsets and sizes in bytes.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    len: usize,
    /// Behind the last block.
    top: usize,
    /// Blocks in use, by where they start.
    used: HashMap<usize, usize>,
    /// Gaps below the top: by where they start, and by size.
    gaps: BTreeMap<usize, usize>,
    by_size: BTreeSet<(usize, usize)>,
    in_use: usize,
    /// Most that was in use at a time.
    peak: usize,
}

impl Ranges {
    pub(super) fn new(len: usize) -> Ranges {
        Ranges { len, ..Ranges::default() }
    }

    /// Where a block of `size` may lie; `None` where there is no room.
    pub(super) fn take(&mut self, size: usize) -> Option<usize> {
        let size = size.max(1).checked_next_multiple_of(ALIGNMENT)?;
        let start = match self.by_size.range((size, 0)..).next().copied() {
            Some((gap, start)) => {
                self.remove(start, gap);
                if gap > size {
                    self.insert(start + size, gap - size);
                }
                start
            }
            None => {
                // A gap at the end grows.
                let last = self.gaps.iter().next_back().map(|(start, gap)| (*start, *gap));
                let start = match last {
                    Some((start, gap)) if start + gap == self.top => start,
                    _ => self.top,
                };
                let end = start.checked_add(size).filter(|end| *end <= self.len)?;
                if start < self.top {
                    self.remove(start, self.top - start);
                }
                self.top = end;
                start
            }
        };
        self.used.insert(start, size);
        self.in_use += size;
        self.peak = self.peak.max(self.in_use);
        Some(start)
    }

    /// Gives the block at `start` back; whether there was one.
    pub(super) fn give(&mut self, start: usize) -> bool {
        let Some(mut size) = self.used.remove(&start) else { return false };
        self.in_use -= size;
        let mut start = start;
        if let Some((&before, &gap)) = self.gaps.range(..start).next_back()
            && before + gap == start
        {
            self.remove(before, gap);
            (start, size) = (before, size + gap);
        }
        if let Some(&gap) = self.gaps.get(&(start + size)) {
            self.remove(start + size, gap);
            size += gap;
        }
        self.insert(start, size);
        true
    }

    fn insert(&mut self, start: usize, size: usize) {
        self.gaps.insert(start, size);
        self.by_size.insert((size, start));
    }

    fn remove(&mut self, start: usize, size: usize) {
        self.gaps.remove(&start);
        self.by_size.remove(&(size, start));
    }

    /// Forgets the gaps and the peak if nothing is in use; whether that is so.
    pub(super) fn reset(&mut self) -> bool {
        let is_free = self.used.is_empty();
        if is_free {
            self.gaps.clear();
            self.by_size.clear();
            self.top = 0;
            self.peak = 0;
        }
        is_free
    }

    /// Most bytes that were in use at a time since the last [`forget_peak`](Ranges::forget_peak).
    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    /// Takes what is in use now for the peak.
    #[cfg(any(feature = "raster", test))]
    pub(super) fn forget_peak(&mut self) {
        self.peak = self.in_use;
    }

    /// The gaps, the largest first.
    pub(super) fn gaps(&self) -> impl Iterator<Item = Range<usize>> {
        self.by_size.iter().rev().map(|(size, start)| *start..start + size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_used_again_and_grow_together() {
        let mut ranges = Ranges::new(1 << 20);
        let blocks: Vec<usize> = (0..4).map(|_| ranges.take(1000).unwrap()).collect();
        assert_eq!(blocks, [0, 1024, 2048, 3072]);
        assert!(ranges.give(1024) && ranges.give(2048));
        // The two are one gap.
        assert_eq!(ranges.take(2000), Some(1024));
        assert!(ranges.give(1024));
        // The smallest gap that holds it, not the first.
        let far = ranges.take(500).unwrap();
        assert_eq!(far, 1024);
        assert_eq!(ranges.take(4096), Some(4096));
        // A gap at the end grows.
        assert!(ranges.give(4096));
        assert_eq!(ranges.take(8192), Some(4096));
        assert!(!ranges.give(7), "no block");
    }

    #[test]
    fn random_blocks_never_overlap() {
        let mut ranges = Ranges::new(1 << 22);
        let mut state = 88_172_645_463_325_252u64;
        let mut next = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as usize % end
        };
        let mut blocks: Vec<(usize, usize)> = Vec::new();
        for _ in 0..20_000 {
            if next(5) < 3 {
                let size = 1 + next(1 << 16);
                if let Some(start) = ranges.take(size) {
                    assert!(start.is_multiple_of(ALIGNMENT) && start + size <= 1 << 22);
                    assert!(blocks.iter().all(|(other, len)| start + size <= *other || other + len <= start));
                    blocks.push((start, size));
                }
            } else if !blocks.is_empty() {
                let (start, _) = blocks.swap_remove(next(blocks.len()));
                assert!(ranges.give(start));
            }
        }
        for (start, _) in blocks.drain(..) {
            assert!(ranges.give(start));
        }
        assert_eq!(ranges.gaps.len(), 1, "all gaps have become one");
        assert_eq!(ranges.in_use, 0);
        assert!(ranges.peak() > 1 << 20 && ranges.peak() <= ranges.top);
        assert!(ranges.reset());
        assert_eq!((ranges.top, ranges.gaps.len(), ranges.by_size.len(), ranges.peak()), (0, 0, 0, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut ranges = Ranges::new(4096);
        assert_eq!(ranges.take(usize::MAX), None);
        assert_eq!(ranges.take(4097), None);
        assert_eq!(ranges.take(4096), Some(0));
        assert_eq!(ranges.take(1), None);
    }
}
