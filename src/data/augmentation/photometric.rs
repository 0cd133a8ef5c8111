//! What normalised values mean, so that colour can be changed in shares of the full range.

use crate::error::{Error, ErrorKind, Result};

/// How normalised values `y` become shares `u` of the full range: `u = (y std + mean) / full`.
///
/// `mean` and `std` are those of the model's normalisation, in scaled units, one for all bands or one a band; `full` is
/// the largest value in scaled units, 1 for images scaled to 0..1.
#[derive(Debug, Clone, PartialEq)]
pub struct Photometric {
    mean: Vec<f64>,
    std: Vec<f64>,
    full: f64,
}

impl Default for Photometric {
    /// Values that are shares already.
    fn default() -> Self {
        Photometric { mean: vec![0.0], std: vec![1.0], full: 1.0 }
    }
}

impl Photometric {
    /// From the lists of a normalisation and the full range in scaled units.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument): an empty list, a value that is not finite, a std of 0, a full
    /// range that is not above 0.
    pub fn new(mean: Vec<f64>, std: Vec<f64>, full: f64) -> Result<Photometric> {
        for (name, values) in [("mean", &mean), ("std", &std)] {
            if values.is_empty() {
                return Err(Error::invalid(format!("{name}: expected one value or one a band, got none")));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::invalid(format!("{name}: expected finite numbers, got {value}")));
            }
        }
        if std.contains(&0.0) {
            return Err(Error::invalid("std: expected numbers other than 0, got 0"));
        }
        if !(full.is_finite() && full > 0.0) {
            return Err(Error::invalid(format!("full: expected a finite number above 0, got {full}")));
        }
        Ok(Photometric { mean, std, full })
    }

    /// Checks that the lists have one value or one for each of `bands` bands.
    ///
    /// # Errors
    /// [`Mismatch`](ErrorKind::Mismatch).
    pub fn check_bands(&self, bands: usize) -> Result<()> {
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != 1 && values.len() != bands {
                let got = values.len();
                let message = format!("{name}: expected 1 value or one for each of {bands} bands, got {got}");
                return Err(Error::new(ErrorKind::Mismatch, message));
            }
        }
        Ok(())
    }

    /// `u = y factor + offset` of a band (from 0) that [`check_bands`](Photometric::check_bands) let through.
    pub(crate) fn share(&self, band: usize) -> [f64; 2] {
        let of = |values: &[f64]| values[if values.len() == 1 { 0 } else { band }];
        [of(&self.std) / self.full, of(&self.mean) / self.full]
    }
}
