//! Division into training and validation data.

use crate::error::{Error, Result};
use crate::random::SplitMix64;

/// What is given to one part as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Blocks of so many pixels a side. Small blocks are like drawing windows; neighbours of large ones (spatial blocks)
    /// know less of each other.
    Block(usize),
    /// Whole images.
    Image,
}

/// How much goes to the validation, and how it is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Division {
    /// Share of the units for validation, above 0 and below 1.
    pub fraction: f64,
    /// Decides which units those are.
    pub seed: u64,
    /// What is given to one part as a whole.
    pub unit: Unit,
}

#[cfg_attr(not(feature = "raster"), allow(dead_code, reason = "only rasters are divided"))]
impl Division {
    /// This share for validation.
    pub fn new(fraction: f64, seed: u64, unit: Unit) -> Division {
        Division { fraction, seed, unit }
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(self.fraction > 0.0 && self.fraction < 1.0) {
            let message =
                format!("expected a share above 0 and below 1 for validation, got {}", self.fraction);
            return Err(Error::invalid(message));
        }
        if self.unit == Unit::Block(0) {
            return Err(Error::invalid("expected blocks of 1 pixel a side or more, got 0"));
        }
        Ok(())
    }

    /// Which of `count` units are for validation.
    pub(super) fn choose(&self, count: usize, what: &str) -> Result<Vec<bool>> {
        if count < 2 {
            let message = format!(
                "cannot be divided into training and validation data: expected 2 {what} or more, got {count}"
            );
            return Err(Error::invalid(message));
        }
        let wanted = ((count as f64 * self.fraction).round() as usize).clamp(1, count - 1);
        let mut order: Vec<usize> = (0..count).collect();
        SplitMix64::new(self.seed).shuffle(&mut order);
        let mut chosen = vec![false; count];
        for index in &order[..wanted] {
            chosen[*index] = true;
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept_and_the_seed_decides() {
        let of = |fraction, seed, count| Division::new(fraction, seed, Unit::Image).choose(count, "images");
        let count = |chosen: &[bool]| chosen.iter().filter(|own| **own).count();
        for (fraction, total, expected) in
            [(0.3, 10, 3), (0.01, 10, 1), (0.99, 10, 9), (0.5, 2, 1), (0.25, 6, 2)]
        {
            assert_eq!(count(&of(fraction, 1, total).unwrap()), expected, "{fraction} of {total}");
        }
        assert_eq!(of(0.3, 7, 40).unwrap(), of(0.3, 7, 40).unwrap());
        assert_ne!(of(0.3, 7, 40).unwrap(), of(0.3, 8, 40).unwrap());
        // Each unit has its turn.
        let mut turns = [0; 5];
        for seed in 0..1000 {
            for (turn, own) in turns.iter_mut().zip(of(0.4, seed, 5).unwrap()) {
                *turn += u32::from(own);
            }
        }
        assert!(turns.iter().all(|turn| (340..460).contains(turn)), "{turns:?}");
        assert!(of(0.5, 1, 1).is_err() && of(0.5, 1, 0).is_err());
        for fraction in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(Division::new(fraction, 1, Unit::Image).check().is_err(), "{fraction}");
        }
        assert!(Division::new(0.5, 1, Unit::Block(0)).check().is_err());
    }
}
