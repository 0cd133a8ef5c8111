//! Softmax and sigmoid over rows of pixels.

use super::vectorised::{Loop, vectorised};

/// Pixels that are worked on together. As many as the compiler makes whole vectors of: it unrolls shorter loops into
/// single numbers.
const LANES: usize = 16;

/// Softmax over the classes of each pixel, in place: `rows` has the row of each class, all of one length. The greatest
/// value is taken off first, so that nothing overflows. A NaN makes all classes of its pixel NaN.
pub(crate) fn softmax(rows: &mut [&mut [f32]]) {
    vectorised(Softmax { rows });
}

/// `1 / (1 + exp(-x))` of every value, in place; NaN stays.
pub(crate) fn sigmoid(row: &mut [f32]) {
    vectorised(Sigmoid { row });
}

struct Softmax<'a, 'b> {
    rows: &'a mut [&'b mut [f32]],
}

impl Loop for Softmax<'_, '_> {
    #[inline(always)]
    fn run(self) {
        let width = self.rows.first().map_or(0, |row| row.len());
        let whole = width / LANES;
        for at in 0..whole {
            softmax_at::<LANES>(self.rows, at * LANES);
        }
        for at in whole * LANES..width {
            softmax_at::<1>(self.rows, at);
        }
    }
}

/// The pixels from `at` on.
#[inline(always)]
fn softmax_at<const N: usize>(rows: &mut [&mut [f32]], at: usize) {
    let mut greatest = [f32::NEG_INFINITY; N];
    for row in rows.iter() {
        let Some(values) = row[at..].first_chunk::<N>() else { return };
        for (greatest, value) in greatest.iter_mut().zip(values) {
            *greatest = if *value > *greatest { *value } else { *greatest };
        }
    }
    let mut sums = [0f32; N];
    for row in rows.iter_mut() {
        let Some(values) = row[at..].first_chunk_mut::<N>() else { return };
        let mut powers = *values;
        for (power, greatest) in powers.iter_mut().zip(&greatest) {
            *power = exp(*power - greatest);
        }
        for (sum, power) in sums.iter_mut().zip(&powers) {
            *sum += power;
        }
        *values = powers;
    }
    // A product is a fraction of a division, and half a unit in the last place from it.
    for sum in &mut sums {
        *sum = 1.0 / *sum;
    }
    for row in rows.iter_mut() {
        let Some(values) = row[at..].first_chunk_mut::<N>() else { return };
        for (value, share) in values.iter_mut().zip(&sums) {
            *value *= share;
        }
    }
}

struct Sigmoid<'a> {
    row: &'a mut [f32],
}

impl Loop for Sigmoid<'_> {
    #[inline(always)]
    fn run(self) {
        for value in self.row {
            *value = 1.0 / (1.0 + exp(-*value));
        }
    }
}

/// e to the power of `x`, within one unit in the last place. Infinite from 88.7229 on; 0 where the result would have
/// fewer digits than others (below 2⁻¹²⁶, from -87.3366 down); NaN stays. Without branches and calls, so that a loop over it
/// becomes vector instructions.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// The logarithm of 2 in two parts; a whole number of 8 bits times the first is exact.
    const LN_2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];
    /// The outermost numbers whose powers are finite and have all digits.
    const RANGE: [f32; 2] = [-87.336_54, 88.722_83];
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = (x - whole * LN_2[0]) - whole * LN_2[1];
    // 1 + rest + rest² · q(rest) with the q that makes the greatest relative error least: 4e-9.
    let series = 1.381_459_9e-3;
    let series = series * rest + 8.368_717e-3;
    let series = series * rest + 4.166_839e-2;
    let series = series * rest + 1.666_652_1e-1;
    let series = series * rest + 4.999_999_4e-1;
    let near_one = series * (rest * rest) + rest + 1.0;
    // Times 2 to the power of `whole`, which is added to the exponent; all bits of `ROUND` are shifted out.
    let value = f32::from_bits(near_one.to_bits().wrapping_add(rounded.to_bits() << 23));
    let value = if x < RANGE[0] { 0.0 } else { value };
    // The product is infinite, or NaN for NaN.
    if x <= RANGE[1] { value } else { x * f32::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In units of the last place that `want` has as an `f32`.
    fn error(got: f32, want: f64) -> f64 {
        let exponent = (want.to_bits() >> 52) as i32 - 1023;
        (f64::from(got) - want).abs() / 2f64.powi(exponent - 23)
    }

    #[test]
    fn the_exponential_is_within_one_unit() {
        // Every 97th of the numbers with a finite power of full digits, by their bits.
        for sign in [0, 1u32 << 31] {
            for bits in (0..f32::INFINITY.to_bits()).step_by(97) {
                let x = f32::from_bits(bits | sign);
                if (-87.336_54..=88.722_83).contains(&x) {
                    let (got, want) = (exp(x), f64::from(x).exp());
                    assert!(error(got, want) < 1.0, "{x}: {got:e} for {want:e}");
                }
            }
        }
    }

    #[test]
    fn the_exponential_at_its_ends() {
        assert_eq!((exp(0.0), exp(-0.0), exp(f32::MIN_POSITIVE)), (1.0, 1.0, 1.0));
        let (low, high) = (-87.336_54f32, 88.722_83f32);
        assert!(exp(low) >= f32::MIN_POSITIVE && exp(low.next_down()) == 0.0);
        assert!(exp(high).is_finite() && exp(high.next_up()) == f32::INFINITY);
        assert!(f64::from(high.next_up()).exp() > f64::from(f32::MAX));
        assert!(f64::from(low.next_down()).exp() < f64::from(f32::MIN_POSITIVE));
        for x in [-104.0, -1e3, -1e30, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!((exp(x), exp(-x)), (0.0, f32::INFINITY), "{x}");
        }
        // NaN with any bits below the first.
        for bits in [0x7fc0_0000u32, 0x7fc0_0001, 0x7fff_ffff, 0xffc0_01ff, 0x7f80_0001] {
            assert!(exp(f32::from_bits(bits)).is_nan(), "{bits:x}");
        }
    }

    /// Values from -20 to 20 with a few special ones among them.
    fn samples(count: usize) -> Vec<f32> {
        let special = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0, 1e-40, -90.0, 1e4];
        let mut state = 7u64;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let number = state >> 40;
                if number.is_multiple_of(23) {
                    special[(number / 23 % 8) as usize]
                } else {
                    number as f32 * 2.4e-6 - 20.0
                }
            })
            .collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        // One NaN is as good as another.
        values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }

    #[test]
    fn any_instructions_and_any_cut_give_the_same_bits() {
        const WIDTH: usize = 1009;
        for classes in [2, 5, 21] {
            let values = samples(classes * WIDTH);
            let (mut plain, mut wide, mut single) = (values.clone(), values.clone(), values.clone());
            Softmax { rows: &mut plain.chunks_mut(WIDTH).collect::<Vec<_>>() }.run();
            let mut rows: Vec<_> = wide.chunks_mut(WIDTH).collect();
            let (mut left, mut right): (Vec<_>, Vec<_>) =
                rows.iter_mut().map(|row| row.split_at_mut(333)).unzip();
            softmax(&mut left);
            softmax(&mut right);
            for at in 0..WIDTH {
                softmax_at::<1>(&mut single.chunks_mut(WIDTH).collect::<Vec<_>>(), at);
            }
            assert!(bits(&plain) == bits(&wide) && bits(&plain) == bits(&single));
        }
        let values = samples(WIDTH);
        let (mut plain, mut wide) = (values.clone(), values);
        Sigmoid { row: &mut plain }.run();
        let (left, right) = wide.split_at_mut(333);
        sigmoid(left);
        sigmoid(right);
        assert_eq!(bits(&plain), bits(&wide));
    }

    #[test]
    fn activations_against_f64() {
        const WIDTH: usize = 257;
        let values = samples(3 * WIDTH);
        let mut got = values.clone();
        softmax(&mut got.chunks_mut(WIDTH).collect::<Vec<_>>());
        for at in 0..WIDTH {
            let pixel = [0, 1, 2].map(|class| values[class * WIDTH + at]);
            let greatest = pixel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            // The difference in f32: its rounding is the values' own, not the exponential's.
            let powers = pixel.map(|x| f64::from(x - greatest).exp());
            let sum: f64 = powers.iter().sum();
            for (class, power) in powers.iter().enumerate() {
                let (got, want) = (got[class * WIDTH + at], power / sum);
                assert!(got.is_nan() == want.is_nan(), "{pixel:?}: {got} for {want}");
                assert!(
                    want.is_nan() || want < 1e-37 || error(got, want) < 5.0,
                    "{pixel:?}: {got} for {want}"
                );
            }
        }
        let mut got = values.clone();
        sigmoid(&mut got);
        for (x, got) in values.iter().zip(got) {
            let want = 1.0 / (1.0 + (-f64::from(*x)).exp());
            assert!(x.is_nan() == got.is_nan());
            assert!(want.is_nan() || want < 1e-37 || error(got, want) < 3.0, "{x}: {got} for {want}");
        }
        let mut ends = [f32::INFINITY, f32::NEG_INFINITY, -100.0, 100.0];
        sigmoid(&mut ends);
        assert_eq!(ends, [1.0, 0.0, 0.0, 1.0]);
    }
}
