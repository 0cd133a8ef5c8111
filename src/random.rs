//! Random numbers that follow from a seed, the same on every machine.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// Begins at a seed.
    pub(crate) fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// Where it stands: a generator that begins there goes on with the same numbers.
    pub(crate) fn state(&self) -> u64 {
        self.state
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is 1 or more.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Puts `order` into another order (Fisher and Yates).
    pub(crate) fn shuffle(&mut self, order: &mut [usize]) {
        for at in (1..order.len()).rev() {
            let other = self.below(at as u64 + 1) as usize;
            order.swap(at, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the authors' `splitmix64.c` for the seed 1234567.
    #[test]
    fn the_numbers_are_the_authors() {
        let mut numbers = SplitMix64::new(1_234_567);
        let found = [numbers.next(), numbers.next(), numbers.next()];
        assert_eq!(found, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
