//! Learning rates over epochs.

use serde::Serialize;

use crate::error::{Error, Result};

/// How the learning rate goes on after the warm-up. Formulas: InnerEye's `SchedulerWithWarmUp`, over PyTorch's schedulers.
///
/// With L the learning rate given, m the smallest, W epochs of warm-up, T epochs after it, and j counted from 0 after
/// it:
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// L.
    Constant,
    /// L ((1 - m/L) (1 - j/T)^γ + m/L).
    Polynomial {
        /// γ, above 0.
        gamma: f64,
    },
    /// m + (L - m) (1 + cos(π j/T)) / 2.
    Cosine,
    /// L γ^j.
    Exponential {
        /// γ, above 0.
        gamma: f64,
    },
    /// L γ^⌊j/size⌋.
    Step {
        /// γ, above 0.
        gamma: f64,
        /// Epochs of a step, 1 or more.
        size: u64,
    },
    /// L γ^(number of milestones ≤ j): they count from the end of the warm-up.
    MultiStep {
        /// γ, above 0.
        gamma: f64,
        /// Rising epochs above 0.
        milestones: Vec<u64>,
    },
}

/// Learning rates over epochs: a warm-up that rises evenly, L (k+1) / (W+1) for k < W, and what comes after.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Schedule {
    /// What comes after the warm-up.
    pub decay: Decay,
    /// W, epochs of the warm-up.
    pub warm_up: u64,
    /// m, for [`Decay::Polynomial`] and [`Decay::Cosine`].
    pub least: f64,
}

impl Schedule {
    /// A schedule without a warm-up that may fall to 0.
    pub fn new(decay: Decay) -> Schedule {
        Schedule { decay, warm_up: 0, least: 0.0 }
    }

    /// Checks the settings for a run of `epochs` at `rate`.
    ///
    /// # Errors
    /// `InvalidArgument` naming the setting.
    pub fn check(&self, rate: f64, epochs: u64) -> Result<()> {
        let fail = |what: String| Err(Error::invalid(format!("schedule: {what}")));
        if !(0.0..=rate).contains(&self.least) {
            return fail(format!("expected a smallest rate from 0 to {rate}, got {}", self.least));
        }
        if self.warm_up >= epochs.max(1) {
            return fail(format!("a warm-up of {} epochs leaves nothing of {epochs}", self.warm_up));
        }
        let gamma = match &self.decay {
            Decay::Polynomial { gamma }
            | Decay::Exponential { gamma }
            | Decay::Step { gamma, .. }
            | Decay::MultiStep { gamma, .. } => *gamma,
            Decay::Constant | Decay::Cosine => 1.0,
        };
        if !(gamma.is_finite() && gamma > 0.0) {
            return fail(format!("expected a gamma above 0, got {gamma}"));
        }
        match &self.decay {
            Decay::Step { size: 0, .. } => fail("expected steps of 1 epoch or more, got 0".to_owned()),
            Decay::MultiStep { milestones, .. }
                if milestones.first() == Some(&0) || milestones.windows(2).any(|pair| pair[0] >= pair[1]) =>
            {
                fail(format!("expected rising milestones above 0, got {milestones:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The rate of epoch `k`, from 0, of `epochs` at most `rate`.
    pub fn rate(&self, rate: f64, k: u64, epochs: u64) -> f64 {
        if k < self.warm_up {
            return rate * (k + 1) as f64 / (self.warm_up + 1) as f64;
        }
        let j = k - self.warm_up;
        let share = j as f64 / epochs.saturating_sub(self.warm_up).max(1) as f64;
        match &self.decay {
            Decay::Constant => rate,
            Decay::Polynomial { gamma } => {
                let least = if rate > 0.0 { self.least / rate } else { 0.0 };
                rate * ((1.0 - least) * (1.0 - share).max(0.0).powf(*gamma) + least)
            }
            Decay::Cosine => {
                self.least + (rate - self.least) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
            }
            Decay::Exponential { gamma } => rate * gamma.powf(j as f64),
            Decay::Step { gamma, size } => rate * gamma.powf((j / (*size).max(1)) as f64),
            Decay::MultiStep { gamma, milestones } => {
                rate * gamma.powf(milestones.iter().filter(|own| **own <= j).count() as f64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference's rates, measured there with 7 epochs, 1e-3 at most and 1e-5 at least.
    #[test]
    fn the_rates_are_the_references() {
        // As C prints it: an exponent of two digits.
        let text = |rate: f64| format!("{rate:.6e}").replace("e-", "e-0");
        let of = |schedule: &Schedule| -> Vec<String> {
            schedule.check(1e-3, 7).unwrap();
            (0..7).map(|k| text(schedule.rate(1e-3, k, 7))).collect()
        };
        let polynomial = Schedule { least: 1e-5, ..Schedule::new(Decay::Polynomial { gamma: 0.9 }) };
        assert_eq!(
            of(&polynomial).join(" "),
            "1.000000e-03 8.717536e-04 7.413411e-04 6.082751e-04 4.718023e-04 3.306077e-04 1.818094e-04"
        );
        assert_eq!(
            of(&Schedule { warm_up: 2, ..polynomial }).join(" "),
            "3.333333e-04 6.666667e-04 1.000000e-03 8.198716e-04 6.351314e-04 4.439995e-04 2.425746e-04"
        );
        assert_eq!(
            of(&Schedule { least: 1e-5, ..Schedule::new(Decay::Cosine) }).join(" "),
            "1.000000e-03 9.509796e-04 8.136275e-04 6.151479e-04 3.948521e-04 1.963725e-04 5.902041e-05"
        );
        assert_eq!(
            of(&Schedule::new(Decay::Step { gamma: 0.5, size: 2 })).join(" "),
            "1.000000e-03 1.000000e-03 5.000000e-04 5.000000e-04 2.500000e-04 2.500000e-04 1.250000e-04"
        );
        let milestones = Decay::MultiStep { gamma: 0.1, milestones: vec![2, 4] };
        assert_eq!(
            of(&Schedule { warm_up: 2, ..Schedule::new(milestones) }).join(" "),
            "3.333333e-04 6.666667e-04 1.000000e-03 1.000000e-03 1.000000e-04 1.000000e-04 1.000000e-05"
        );
        // InnerEye's defaults: all but constant.
        let defaults = Schedule::new(Decay::Polynomial { gamma: 1e-4 });
        let found: Vec<f64> = (0..4).map(|k| defaults.rate(1e-4, k, 4)).collect();
        for (found, expected) in found.iter().zip([1e-4, 9.999712e-5, 9.999307e-5, 9.998614e-5]) {
            assert!((found / expected - 1.0).abs() < 1e-7);
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let wrong = |schedule: Schedule, said: &str| {
            let error = schedule.check(1e-3, 4).unwrap_err();
            assert!(error.message().contains(said), "{error}");
        };
        wrong(Schedule { least: 1.0, ..Schedule::new(Decay::Cosine) }, "smallest rate");
        wrong(Schedule { warm_up: 4, ..Schedule::new(Decay::Cosine) }, "leaves nothing");
        wrong(Schedule::new(Decay::Exponential { gamma: 0.0 }), "gamma");
        wrong(Schedule::new(Decay::Step { gamma: 0.1, size: 0 }), "1 epoch or more");
        wrong(Schedule::new(Decay::MultiStep { gamma: 0.1, milestones: vec![3, 3] }), "rising");
        wrong(Schedule::new(Decay::MultiStep { gamma: 0.1, milestones: vec![0] }), "rising");
    }
}
