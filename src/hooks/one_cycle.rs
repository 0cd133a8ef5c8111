//! A learning rate that rises and falls once over all updates.

use crate::error::{Error, Result};
use crate::hooks::{Callback, Context, Phase};

/// Sets the learning rate of every update: it rises along a cosine from `most / 25` to `most` in the first 30 % of the
/// updates, and falls to `most / 250000` in the others. PyTorch's `OneCycleLR` with its defaults (Smith and Topin 2018), without
/// its cycle of the momentum.
#[derive(Debug, Clone)]
pub struct OneCycle {
    most: f64,
    total: u64,
    rising: f64,
    start_divisor: f64,
    end_divisor: f64,
}

impl OneCycle {
    /// A cycle of `total` updates up to the rate `most`.
    pub fn new(most: f64, total: u64) -> OneCycle {
        OneCycle { most, total, rising: 0.3, start_divisor: 25.0, end_divisor: 1e4 }
    }

    /// The share of the updates in which the rate rises, above 0 and below 1.
    pub fn rising(mut self, share: f64) -> OneCycle {
        self.rising = share;
        self
    }

    /// By what the largest rate is divided at the start, and the start's at the end; above 0.
    pub fn divisors(mut self, start: f64, end: f64) -> OneCycle {
        (self.start_divisor, self.end_divisor) = (start, end);
        self
    }

    /// The rate of update `step`, from 0. Behind the last it is that of the last.
    pub fn rate(&self, step: u64) -> f64 {
        let start = self.most / self.start_divisor;
        let end = start / self.end_divisor;
        let last = self.total.saturating_sub(1) as f64;
        let top = self.rising * self.total as f64 - 1.0;
        let step = (step as f64).min(last);
        let between = |from: f64, to: f64, share: f64| {
            to + (from - to) / 2.0 * (1.0 + (std::f64::consts::PI * share).cos())
        };
        // A rise that is over with the first update starts at the top.
        if step <= top && top > 0.0 {
            between(start, self.most, step / top)
        } else {
            between(self.most, end, (step - top) / (last - top))
        }
    }
}

impl Callback for OneCycle {
    fn trainer_init(&mut self, _: &mut Context<'_>) -> Result<()> {
        let is_share = self.rising > 0.0 && self.rising < 1.0;
        let rates = [self.most, self.start_divisor, self.end_divisor];
        if self.total > 0 && is_share && rates.iter().all(|own| own.is_finite() && *own > 0.0) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "one cycle: expected updates, rate and divisors above 0 and a rising share between 0 and 1, got {} updates, \
             {}, {} and {}, {}",
            self.total, self.most, self.start_divisor, self.end_divisor, self.rising
        )))
    }

    fn batch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        if context.state.phase == Phase::Train {
            context.state.learning_rate = self.rate(context.state.global_step);
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "one_cycle"
    }
}
