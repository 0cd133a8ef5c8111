//! From values to the whole numbers that maps are stored as: classes and steps of a probability.

use super::vectorised::{Loop, vectorised};

/// Pixels that are worked on together. As many as the compiler makes whole vectors of: it unrolls shorter loops into
/// single numbers, and calls longer ones too costly.
const LANES: usize = 16;

/// A whole number that classes and steps are stored as.
pub(crate) trait Code: Copy + Into<u32> {
    /// `number`, which fits.
    fn from_number(number: u32) -> Self;
}

impl Code for u8 {
    #[inline(always)]
    fn from_number(number: u32) -> u8 {
        number as u8
    }
}

impl Code for u16 {
    #[inline(always)]
    fn from_number(number: u32) -> u16 {
        number as u16
    }
}

/// The class with the greatest value at each pixel: `rows` has the row of each class, all as long as `out`. The lowest
/// class wins ties. A NaN never wins; where all are NaN there is `nodata`.
pub(crate) fn argmax<T: Code>(rows: &[&[f32]], nodata: T, out: &mut [T]) {
    vectorised(Argmax { rows, nodata, out });
}

/// 1 where a value is greater than `threshold`, else 0; `nodata` for NaN. `row` is as long as `out`.
pub(crate) fn exceeds<T: Code>(row: &[f32], threshold: f32, nodata: T, out: &mut [T]) {
    vectorised(Exceeds { row, threshold, nodata, out });
}

/// Probabilities as steps from 0 to `steps`: rounded to nearest, half away from zero; values outside `[0, 1]` as the
/// nearer end; `nodata` for NaN. `row` is as long as `out`, `steps` at most 65,535.
pub(crate) fn quantise<T: Code>(row: &[f32], steps: u32, nodata: T, out: &mut [T]) {
    vectorised(Quantise { row, steps, nodata, out });
}

struct Argmax<'a, T> {
    rows: &'a [&'a [f32]],
    nodata: T,
    out: &'a mut [T],
}

impl<T: Code> Loop for Argmax<'_, T> {
    #[inline(always)]
    fn run(self) {
        let nodata = self.nodata.into();
        let (whole, rest) = self.out.as_chunks_mut::<LANES>();
        let first_of_rest = whole.len() * LANES;
        for (at, out) in whole.iter_mut().enumerate() {
            argmax_at(self.rows, at * LANES, nodata, out);
        }
        for (at, out) in rest.iter_mut().enumerate() {
            argmax_at(self.rows, first_of_rest + at, nodata, std::array::from_mut(out));
        }
    }
}

/// The pixels from `at` on.
#[inline(always)]
fn argmax_at<T: Code, const N: usize>(rows: &[&[f32]], at: usize, nodata: u32, out: &mut [T; N]) {
    let mut best = [f32::NAN; N];
    let mut classes = [0u32; N];
    for (class, row) in rows.iter().enumerate() {
        let Some(values) = row[at..].first_chunk::<N>() else { return };
        for lane in 0..N {
            let value = values[lane];
            // A comparison with a best of NaN is false: the first number wins.
            let loses = value <= best[lane];
            let wins = !loses & !value.is_nan();
            best[lane] = if wins { value } else { best[lane] };
            classes[lane] = if wins { class as u32 } else { classes[lane] };
        }
    }
    for lane in 0..N {
        out[lane] = T::from_number(if best[lane].is_nan() { nodata } else { classes[lane] });
    }
}

struct Exceeds<'a, T> {
    row: &'a [f32],
    threshold: f32,
    nodata: T,
    out: &'a mut [T],
}

impl<T: Code> Loop for Exceeds<'_, T> {
    #[inline(always)]
    fn run(self) {
        let nodata = self.nodata.into();
        for (out, value) in self.out.iter_mut().zip(self.row) {
            let class = u32::from(*value > self.threshold);
            *out = T::from_number(if value.is_nan() { nodata } else { class });
        }
    }
}

struct Quantise<'a, T> {
    row: &'a [f32],
    steps: u32,
    nodata: T,
    out: &'a mut [T],
}

impl<T: Code> Loop for Quantise<'_, T> {
    #[inline(always)]
    fn run(self) {
        /// Adding it rounds to a whole number, half to even, which then stands in the low bits.
        const ROUND: f64 = 4_503_599_627_370_496.0;
        /// Lifts what lies half way just above it, so that it is rounded up. A product of 24 and 16 bits that is not
        /// half way is further from it than this.
        const LIFT: f64 = 1.0 + 4.0 * f64::EPSILON;
        let (steps, nodata) = (f64::from(self.steps) * LIFT, self.nodata.into());
        for (out, value) in self.out.iter_mut().zip(self.row) {
            let share = if *value > 0.0 { *value } else { 0.0 };
            let share = if share < 1.0 { share } else { 1.0 };
            let number = (f64::from(share) * steps + ROUND).to_bits() as u32;
            *out = T::from_number(if value.is_nan() { nodata } else { number });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few different numbers, so that there are ties, and some that are none.
    fn samples(count: usize) -> Vec<f32> {
        let values =
            [0.0, -0.0, 1.0, 1.5, -3.0, f32::NAN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0, 0.25];
        let mut state = 3u64;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                values[(state >> 40) as usize % values.len()]
            })
            .collect()
    }

    /// By sorting: numbers before NaN, greater before smaller, then lower classes first.
    fn by_sorting(rows: &[&[f32]], at: usize, nodata: u32) -> u32 {
        let mut order: Vec<(usize, f32)> =
            rows.iter().map(|row| row[at]).enumerate().filter(|(_, value)| !value.is_nan()).collect();
        order.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
        order.first().map_or(nodata, |(class, _)| *class as u32)
    }

    #[test]
    fn the_class_is_that_of_a_sorted_pixel() {
        const WIDTH: usize = 1009;
        for classes in [2, 3, 7, 300] {
            let values = samples(classes * WIDTH);
            let rows: Vec<&[f32]> = values.chunks(WIDTH).collect();
            let expected: Vec<u32> = (0..WIDTH).map(|at| by_sorting(&rows, at, 65_535)).collect();
            let (mut wide, mut plain) = (vec![7u16; WIDTH], vec![7u16; WIDTH]);
            argmax(&rows, 65_535, &mut wide);
            Argmax { rows: &rows, nodata: 65_535u16, out: &mut plain }.run();
            for at in 0..WIDTH {
                assert_eq!((u32::from(wide[at]), u32::from(plain[at])), (expected[at], expected[at]), "{at}");
            }
            if classes < 255 {
                let mut bytes = vec![7u8; WIDTH];
                argmax(&rows, 255, &mut bytes);
                for (got, expected) in bytes.iter().zip(&expected) {
                    assert_eq!(u32::from(*got), (*expected).min(255));
                }
            }
        }
    }

    #[test]
    fn the_threshold_is_strict_and_nan_is_nodata() {
        let row = [0.5, 0.500_000_1, f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
        let mut out = [9u8; 5];
        exceeds(&row, 0.5, 255, &mut out);
        assert_eq!(out, [0, 1, 255, 0, 1]);
    }

    #[test]
    fn steps_are_those_of_f64_rounding() {
        let by_f64 = |p: f32, steps: u32| (f64::from(p).clamp(0.0, 1.0) * f64::from(steps)).round() as u32;
        let mut row: Vec<f32> = (0..=1f32.to_bits()).step_by(1021).map(f32::from_bits).collect();
        row.extend([-1.0, -0.0, 1.5, f32::INFINITY, f32::NEG_INFINITY, 0.25, 0.75, 0.5]);
        for steps in [254, 65_534] {
            // Around every border between two steps.
            let mut row = row.clone();
            for step in 0..steps {
                let border = ((f64::from(step) + 0.5) / f64::from(steps)) as f32;
                row.extend([border, border.next_down(), border.next_up()]);
            }
            let (mut wide, mut plain) = (vec![0u16; row.len()], vec![0u16; row.len()]);
            quantise(&row, steps, 65_535, &mut wide);
            Quantise { row: &row, steps, nodata: 65_535, out: &mut plain }.run();
            for (at, p) in row.iter().enumerate() {
                let expected = by_f64(*p, steps);
                assert_eq!((u32::from(wide[at]), u32::from(plain[at])), (expected, expected), "{p}, {steps}");
            }
        }
        let mut out = [0u8; 3];
        quantise(&[f32::NAN, 1.0, 0.0], 254, 255, &mut out);
        assert_eq!(out, [255, 254, 0]);
    }
}
