//! Small rational numbers: how many pixels of the image one element of a tensor is.

use std::cmp::Ordering;

/// A rational number in lowest terms, its denominator above 0. Sums and products beyond 64 bits are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ratio {
    numerator: i64,
    denominator: i64,
}

impl Ratio {
    pub(super) const ZERO: Ratio = Ratio { numerator: 0, denominator: 1 };
    pub(super) const ONE: Ratio = Ratio { numerator: 1, denominator: 1 };

    /// `numerator / denominator`; none for a denominator of 0.
    pub(super) fn new(numerator: i64, denominator: i64) -> Option<Ratio> {
        Ratio::reduced(i128::from(numerator), i128::from(denominator))
    }

    fn reduced(numerator: i128, denominator: i128) -> Option<Ratio> {
        if denominator == 0 {
            return None;
        }
        let divisor =
            gcd(numerator.unsigned_abs(), denominator.unsigned_abs()) as i128 * denominator.signum();
        let narrow = |value: i128| i64::try_from(value / divisor).ok();
        Some(Ratio { numerator: narrow(numerator)?, denominator: narrow(denominator)? })
    }

    /// The fraction with a denominator up to `most` that `value` is up to the precision of `f32`.
    pub(super) fn near(value: f32, most: i64) -> Option<Ratio> {
        if !value.is_finite() {
            return None;
        }
        (1..=most).find_map(|denominator| {
            let product = f64::from(value) * denominator as f64;
            let is_near = (product - product.round()).abs() <= product.abs().max(1.0) * 2e-7;
            (is_near && product.abs() < 1e12).then(|| Ratio::new(product.round() as i64, denominator))?
        })
    }

    pub(super) fn numerator(self) -> i64 {
        self.numerator
    }

    pub(super) fn denominator(self) -> i64 {
        self.denominator
    }

    pub(super) fn plus(self, other: Ratio) -> Option<Ratio> {
        let (a, b) = (i128::from(self.numerator), i128::from(self.denominator));
        let (c, d) = (i128::from(other.numerator), i128::from(other.denominator));
        Ratio::reduced(a * d + c * b, b * d)
    }

    pub(super) fn minus(self, other: Ratio) -> Option<Ratio> {
        self.plus(Ratio { numerator: other.numerator.checked_neg()?, ..other })
    }

    pub(super) fn times(self, other: Ratio) -> Option<Ratio> {
        let (a, b) = (i128::from(self.numerator), i128::from(self.denominator));
        Ratio::reduced(a * i128::from(other.numerator), b * i128::from(other.denominator))
    }

    pub(super) fn over(self, other: Ratio) -> Option<Ratio> {
        self.times(Ratio::new(other.denominator, other.numerator)?)
    }

    pub(super) fn of(value: i64) -> Ratio {
        Ratio { numerator: value, denominator: 1 }
    }

    /// The largest whole number that is not larger.
    pub(super) fn floor(self) -> i64 {
        self.numerator.div_euclid(self.denominator)
    }

    /// The smallest whole number that is not smaller.
    pub(super) fn ceil(self) -> i64 {
        -(-self.numerator).div_euclid(self.denominator)
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Ratio) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Ratio) -> Ordering {
        let left = i128::from(self.numerator) * i128::from(other.denominator);
        left.cmp(&(i128::from(other.numerator) * i128::from(self.denominator)))
    }
}

/// The smallest number that both divide; none beyond 32 bits, which no raster has.
pub(super) fn common_multiple(a: u64, b: u64) -> Option<u64> {
    let divisor = gcd(u128::from(a), u128::from(b)) as u64;
    if divisor == 0 {
        return None;
    }
    (a / divisor).checked_mul(b).filter(|own| *own <= u64::from(u32::MAX))
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_reduced_and_ordered() {
        let ratio = |a, b| Ratio::new(a, b).unwrap();
        assert_eq!(ratio(6, -4), ratio(-3, 2));
        assert_eq!((ratio(-3, 2).floor(), ratio(-3, 2).ceil()), (-2, -1));
        assert_eq!((ratio(4, 2).floor(), ratio(4, 2).ceil()), (2, 2));
        assert!(ratio(1, 3) < ratio(1, 2) && ratio(-1, 2) < ratio(-1, 3));
        assert_eq!(ratio(1, 2).plus(ratio(1, 3)), Some(ratio(5, 6)));
        assert_eq!(ratio(1, 2).minus(ratio(1, 3)), Some(ratio(1, 6)));
        assert_eq!(ratio(2, 3).over(ratio(4, 9)), Some(ratio(3, 2)));
        assert_eq!(Ratio::new(1, 0), None);
        assert_eq!(Ratio::ONE.over(Ratio::ZERO), None);
        assert_eq!(Ratio::of(i64::MAX).plus(Ratio::ONE), None);
    }

    #[test]
    fn scales_are_recognised() {
        for (value, expected) in
            [(2.0, (2, 1)), (0.5, (1, 2)), (1.5, (3, 2)), (4.0 / 3.0, (4, 3)), (0.1, (1, 10))]
        {
            assert_eq!(Ratio::near(value, 64), Ratio::new(expected.0, expected.1), "{value}");
        }
        assert_eq!(Ratio::near(std::f32::consts::SQRT_2, 64), None);
        assert_eq!(Ratio::near(65.0 / 33.0, 32), None);
        assert_eq!(Ratio::near(f32::NAN, 64), None);
    }

    #[test]
    fn multiples_are_common() {
        assert_eq!(common_multiple(4, 6), Some(12));
        assert_eq!(common_multiple(1, 1), Some(1));
        assert_eq!(common_multiple(1 << 20, (1 << 20) + 1), None);
    }
}
