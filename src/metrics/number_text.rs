//! Numbers as the CSV and TSV files of the training side have them: C's `%.6f` and `%.6e`, Python's `repr`.

use crate::weights::message::{python_exponent, python_float};

/// `value` with `digits` decimals, as C's `%.{digits}f`: the exact binary value rounded half to even, all digits of
/// large numbers, the sign of a negative zero; `nan`, `inf`, `-inf`.
///
/// ```
/// use glebe::metrics::number_text::fixed;
/// assert_eq!(fixed(std::f64::consts::PI, 6), "3.141593");
/// assert_eq!(fixed(-1e-7, 6), "-0.000000");
/// ```
pub fn fixed(value: f64, digits: usize) -> String {
    not_finite(value).unwrap_or_else(|| format!("{value:.digits$}"))
}

/// `value` as C's `%.{digits}e`: one digit, `digits` decimals, a sign and at least two digits of exponent.
///
/// ```
/// use glebe::metrics::number_text::scientific;
/// assert_eq!(scientific(1e-5, 6), "1.000000e-05");
/// ```
pub fn scientific(value: f64, digits: usize) -> String {
    not_finite(value).unwrap_or_else(|| {
        let text = format!("{value:.digits$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{mantissa}e{}", python_exponent(exponent.parse().unwrap_or(0)))
    })
}

/// The shortest text that reads back as `value`, as Python's `repr` (and so `str`, and pandas without a float
/// format) lays it out: an exponent below 1e-4 and from 1e16 on, otherwise at least one decimal.
///
/// ```
/// use glebe::metrics::number_text::shortest;
/// assert_eq!(shortest(1e16), "1e+16");
/// assert_eq!(shortest(0.1), "0.1");
/// assert_eq!(shortest(3.0), "3.0");
/// ```
pub fn shortest(value: f64) -> String {
    python_float(value)
}

fn not_finite(value: f64) -> Option<String> {
    let text = if value.is_nan() {
        "nan"
    } else if value == f64::INFINITY {
        "inf"
    } else if value == f64::NEG_INFINITY {
        "-inf"
    } else {
        return None;
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_rounds_the_exact_value_half_to_even() {
        // Written down from Python's '%.6f' % x.
        for (value, text) in [
            (5e-7, "0.000000"),
            (1.5e-6, "0.000002"),
            (2.500_000_5, "2.500001"),
            (0.123_456_5, "0.123456"),
            (1.000_000_5, "1.000001"),
            (1.0 / 128.0, "0.007812"),
            (3.0 / 128.0, "0.023438"),
            (-0.0, "-0.000000"),
            (1e20, "100000000000000000000.000000"),
            (123_456_789.123_456_79, "123456789.123457"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(fixed(value, 6), text);
        }
        assert_eq!(fixed(0.0625, 3), "0.062");
        let big = fixed(1e300, 6);
        assert_eq!(big.len(), 301 + 7);
        assert!(big.starts_with("100000000000000005250476025520442024870446858110815915491585"));
    }

    #[test]
    fn scientific_has_two_digits_of_exponent() {
        for (value, text) in [
            (0.0, "0.000000e+00"),
            (-0.0, "-0.000000e+00"),
            (-1e-3, "-1.000000e-03"),
            (1e-100, "1.000000e-100"),
            (9.999_999_5e-5, "9.999999e-05"),
            (10_000_005.0, "1.000000e+07"),
            (10_000_015.0, "1.000002e+07"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(scientific(value, 6), text);
        }
    }

    #[test]
    fn shortest_is_pythons_repr() {
        for (value, text) in [
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (-0.0, "-0.0"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (100.0, "100.0"),
            (1.234_567_89, "1.23456789"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(shortest(value), text);
        }
    }
}
