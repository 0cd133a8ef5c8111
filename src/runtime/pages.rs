//! Which pages of a range of addresses have memory behind them.

use std::ops::Range;

/// Bytes of a page: a huge one.
pub(super) const PAGE: usize = 2 << 20;

/// Pages from address 0 on, and whether each was touched since it was last given back.
#[derive(Debug, Default)]
pub(super) struct Pages {
    touched: Vec<bool>,
    count: usize,
}

impl Pages {
    /// Notes that these bytes are written to.
    pub(super) fn touch(&mut self, bytes: Range<usize>) {
        let pages = bytes.start / PAGE..bytes.end.div_ceil(PAGE);
        if self.touched.len() < pages.end {
            self.touched.resize(pages.end, false);
        }
        for page in &mut self.touched[pages] {
            self.count += usize::from(!std::mem::replace(page, true));
        }
    }

    /// Bytes of all that are touched.
    pub(super) fn bytes(&self) -> usize {
        self.count * PAGE
    }

    /// Notes that touched pages that lie wholly within these bytes are given back, the last first and no more than `most` bytes
    /// take, and says where they are.
    pub(super) fn give_back(&mut self, bytes: Range<usize>, most: usize) -> Vec<Range<usize>> {
        let end = (bytes.end / PAGE).min(self.touched.len());
        let pages = bytes.start.div_ceil(PAGE)..end;
        let mut given: Vec<Range<usize>> = Vec::new();
        let touched = pages.rev().filter(|page| self.touched[*page]).take(most.div_ceil(PAGE));
        for page in touched.collect::<Vec<_>>() {
            self.touched[page] = false;
            self.count -= 1;
            let own = page * PAGE..(page + 1) * PAGE;
            match given.last_mut() {
                Some(last) if last.start == own.end => last.start = own.start,
                _ => given.push(own),
            }
        }
        given
    }

    /// Notes that all are given back, and says how many bytes they span.
    pub(super) fn reset(&mut self) -> usize {
        self.count = 0;
        std::mem::take(&mut self.touched).len() * PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_and_touched_pages_go() {
        let mut pages = Pages::default();
        pages.touch(0..1);
        pages.touch(PAGE - 1..PAGE + 1);
        pages.touch(3 * PAGE..6 * PAGE);
        assert_eq!(pages.bytes(), 5 * PAGE);
        // The first and the last only in part, the third was never touched.
        // What was given back at the end is passed over the next time.
        let last = 4 * PAGE..5 * PAGE;
        assert_eq!(pages.give_back(1..6 * PAGE - 1, 1), vec![last]);
        assert_eq!(pages.give_back(1..6 * PAGE - 1, usize::MAX), [3 * PAGE..4 * PAGE, PAGE..2 * PAGE]);
        assert_eq!(pages.give_back(1..6 * PAGE - 1, usize::MAX), []);
        assert_eq!(pages.bytes(), 2 * PAGE);
        assert_eq!(pages.give_back(0..100 * PAGE, 2 * PAGE), [5 * PAGE..6 * PAGE, 0..PAGE]);
        pages.touch(PAGE..2 * PAGE);
        assert_eq!((pages.reset(), pages.bytes()), (6 * PAGE, 0));
    }
}
