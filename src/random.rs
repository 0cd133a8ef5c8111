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

    /// The next number as one in `0..1`, of 53 bits.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Two independent numbers of the standard normal distribution (Box and Muller 1958).
    pub(crate) fn normals(&mut self) -> [f64; 2] {
        // The logarithm of 0 does not exist: 1 − 0..1 has no 0.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        [radius * cos, radius * sin]
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

    #[test]
    fn uniform_numbers_fill_their_range_evenly() {
        let mut numbers = SplitMix64::new(7);
        let mut bins = [0u32; 10];
        let mut sum = 0.0;
        for _ in 0..100_000 {
            let number = numbers.uniform();
            assert!((0.0..1.0).contains(&number));
            bins[(number * 10.0) as usize] += 1;
            sum += number;
        }
        // Standard deviations: 95 of a bin, 0.0009 of the mean; five of them.
        assert!(bins.iter().all(|count| count.abs_diff(10_000) < 475), "{bins:?}");
        assert!((sum / 1e5 - 0.5).abs() < 0.0046);
    }

    #[test]
    fn normal_numbers_have_the_moments_and_the_tails_of_the_distribution() {
        let mut numbers = SplitMix64::new(11);
        let drawn: Vec<[f64; 2]> = (0..100_000).map(|_| numbers.normals()).collect();
        let all: Vec<f64> = drawn.iter().flatten().copied().collect();
        let count = all.len() as f64;
        let moment = |power: i32| all.iter().map(|value| value.powi(power)).sum::<f64>() / count;
        // Five standard deviations of each estimate: sqrt(1, 2, 15, 96 / count).
        for (power, wanted, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0f64)] {
            assert!((moment(power) - wanted).abs() < 5.0 * (variance / count).sqrt(), "moment {power}");
        }
        let beyond = all.iter().filter(|value| value.abs() > 1.959_964).count() as f64;
        assert!((beyond / count - 0.05).abs() < 5.0 * (0.05 * 0.95 / count).sqrt());
        // The two of a pair have nothing to do with each other.
        let product = drawn.iter().map(|[a, b]| a * b).sum::<f64>() / drawn.len() as f64;
        assert!(product.abs() < 5.0 / (drawn.len() as f64).sqrt());
    }
}
