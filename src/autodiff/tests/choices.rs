//! Where random cases come from.
//!
//! A case is a function of a list of numbers, which proptest makes and shrinks: 0 always stands for the simplest
//! choice, and a list that has run out gives zeros. So a failing case is reported with few axes, small sizes and
//! default attributes, without a strategy for every operator.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::array::Array;

/// The choices of one case.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    list: Vec<u32>,
    next: usize,
    values: u64,
}

impl Choices {
    pub(super) fn new(list: &[u32], values: u64) -> Choices {
        Choices { list: list.to_vec(), next: 0, values }
    }

    /// One of `0..count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let choice = self.list.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        choice as usize % count
    }

    /// One of `from..=to`.
    pub(super) fn within(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// One of `from..=to`, 0 first where it is in there.
    pub(super) fn int(&mut self, from: i64, to: i64) -> i64 {
        let at = self.below((to - from + 1) as usize) as i64;
        if from <= 0 && 0 <= to { (at - from).rem_euclid(to - from + 1) + from } else { from + at }
    }

    pub(super) fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    pub(super) fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Sizes of `rank` axes, each up to `most`; about one in eight is 1.
    pub(super) fn shape(&mut self, rank: usize, most: usize) -> Vec<usize> {
        (0..rank).map(|_| self.within(1, most)).collect()
    }

    /// A shape of some rank with at most `most` elements.
    pub(super) fn some_shape(&mut self, least_rank: usize, most_rank: usize) -> Vec<usize> {
        let rank = self.within(least_rank, most_rank);
        self.shape(rank, [1, 9, 5, 4, 3, 3][rank.min(5)])
    }

    /// A shape that broadcasts to `shape`: axes left out in front, axes of size 1.
    pub(super) fn narrower(&mut self, shape: &[usize]) -> Vec<usize> {
        let lead = self.below(shape.len() + 1);
        shape[lead..].iter().map(|&dim| if self.below(3) == 2 { 1 } else { dim }).collect()
    }

    /// An axis of `rank`, sometimes counted from the end.
    pub(super) fn axis(&mut self, rank: usize) -> i64 {
        let axis = self.below(rank) as i64;
        if self.flip() { axis - rank as i64 } else { axis }
    }

    /// Distinct axes in any order, at least `least`.
    pub(super) fn axes(&mut self, rank: usize, least: usize) -> Vec<i64> {
        let mut axes: Vec<i64> = (0..rank as i64).collect();
        for at in (1..rank).rev() {
            axes.swap(at, at - self.below(at + 1));
        }
        axes.truncate(self.within(least, rank));
        axes.iter().map(|&axis| if self.flip() { axis - rank as i64 } else { axis }).collect()
    }

    /// A number of [0, 1) that does not take part in shrinking.
    pub(super) fn unit(&mut self) -> f64 {
        // SplitMix64.
        self.values = self.values.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.values;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Numbers of `from..to`.
    pub(super) fn floats(&mut self, shape: &[usize], from: f64, to: f64) -> Array {
        let count = shape.iter().product();
        Array::floats(shape, (0..count).map(|_| from + (to - from) * self.unit()).collect())
    }

    /// Numbers of -2..2 that are at least 0.01 from each of `kinks`, where an operator has no derivative.
    pub(super) fn apart(&mut self, shape: &[usize], kinks: &[f64]) -> Array {
        let mut x = self.floats(shape, -2.0, 2.0);
        for x in x.f_mut() {
            for kink in kinks {
                if (*x - kink).abs() < 0.01 {
                    *x = kink + (*x - kink).signum() * 0.015;
                }
            }
        }
        x
    }

    /// Numbers of about -2..2 of which any two differ by at least 2 / count, so that no order is near to changing.
    pub(super) fn distinct(&mut self, shape: &[usize]) -> Array {
        let count: usize = shape.iter().product();
        let step = 4.0 / count.max(1) as f64;
        let mut values: Vec<f64> =
            (0..count).map(|at| -2.0 + step * (at as f64 + 0.25 + 0.5 * self.unit())).collect();
        for at in (1..count).rev() {
            values.swap(at, (self.unit() * (at + 1) as f64) as usize);
        }
        Array::floats(shape, values)
    }

    /// Integers of `from..to`.
    pub(super) fn indices(&mut self, shape: &[usize], from: i64, to: i64) -> Array {
        let count = shape.iter().product();
        let ints = (0..count).map(|_| from + (self.unit() * (to - from) as f64) as i64);
        Array::ints(shape, ints.collect())
    }

    pub(super) fn bools(&mut self, shape: &[usize]) -> Array {
        let count = shape.iter().product();
        Array::bools(shape, (0..count).map(|_| self.unit() < 0.5).collect())
    }
}

/// Runs `check` on `cases` lists of choices, the same ones every time; a failure is shrunk and reported by `what`.
pub(super) fn for_cases(
    what: &str,
    cases: usize,
    mut check: impl FnMut(Choices) -> Result<(), String>,
) -> Result<(), String> {
    let mut seed = [7u8; 32];
    for (at, byte) in what.bytes().enumerate() {
        seed[at % 32] = seed[at % 32].wrapping_mul(31).wrapping_add(byte);
    }
    let config = Config { failure_persistence: None, max_shrink_iters: 600, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let strategy = (proptest::collection::vec(proptest::num::u32::ANY, 64), proptest::num::u64::ANY);
    for case in 0..cases {
        let mut tree = strategy.new_tree(&mut runner).unwrap();
        let (list, values) = tree.current();
        let Err(first) = check(Choices::new(&list, values)) else { continue };
        // Simplify while it fails.
        let mut least = first;
        let mut steps = 0;
        let mut simpler = tree.simplify();
        while simpler && steps < 600 {
            steps += 1;
            let (list, values) = tree.current();
            simpler = match check(Choices::new(&list, values)) {
                Err(message) => {
                    least = message;
                    tree.simplify()
                }
                Ok(()) => tree.complicate(),
            };
        }
        return Err(format!("{what}, case {case}: {least}"));
    }
    Ok(())
}
