//! A learning rate that falls when a metric no longer gets better.

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{Callback, Context, Mode};
use crate::metrics::number_text::shortest;

/// Lowers the learning rate when a metric of the validation has not become better for a while: PyTorch's
/// `ReduceLROnPlateau`, with its defaults (factor 0.1, patience 10, relative threshold 1e-4).
///
/// The rate of the run's schedule is multiplied by the factor once for every time that the metric was not better more than
/// `patience` times in a row.
#[derive(Debug)]
pub struct Plateau {
    metric: String,
    mode: Mode,
    factor: f64,
    patience: u64,
    threshold: f64,
    cooldown: u64,
    least: f64,
    best: Option<f64>,
    failures: u64,
    cooling: u64,
    scale: f64,
    /// The rate of the epoch before its scaling.
    rate: f64,
}

impl Plateau {
    /// Watches a metric of the validation.
    pub fn new(metric: &str, mode: Mode) -> Plateau {
        Plateau {
            metric: metric.to_owned(),
            mode,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            least: 0.0,
            best: None,
            failures: 0,
            cooling: 0,
            scale: 1.0,
            rate: 0.0,
        }
    }

    /// What the rate is multiplied with, above 0 and below 1.
    pub fn factor(mut self, factor: f64) -> Plateau {
        self.factor = factor;
        self
    }

    /// How many validations without a better value are borne.
    pub fn patience(mut self, patience: u64) -> Plateau {
        self.patience = patience;
        self
    }

    /// By which share of the best value another must be better.
    pub fn threshold(mut self, threshold: f64) -> Plateau {
        self.threshold = threshold;
        self
    }

    /// How many validations after a fall of the rate do not count.
    pub fn cooldown(mut self, cooldown: u64) -> Plateau {
        self.cooldown = cooldown;
        self
    }

    /// The smallest rate.
    pub fn least(mut self, rate: f64) -> Plateau {
        self.least = rate;
        self
    }

    fn scaled(&self, scale: f64) -> f64 {
        (self.rate * scale).max(self.least)
    }

    fn is_better(&self, value: f64) -> bool {
        match (self.best, self.mode) {
            (None, _) => !value.is_nan(),
            (Some(best), Mode::Lowest) => value < best * (1.0 - self.threshold),
            (Some(best), Mode::Highest) => value > best * (1.0 + self.threshold),
        }
    }
}

impl Callback for Plateau {
    fn trainer_init(&mut self, _: &mut Context<'_>) -> Result<()> {
        if self.factor > 0.0 && self.factor < 1.0 {
            return Ok(());
        }
        Err(Error::invalid(format!("plateau: expected a factor above 0 and below 1, got {}", self.factor)))
    }

    fn epoch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.rate = context.state.learning_rate;
        context.state.learning_rate = self.scaled(self.scale);
        Ok(())
    }

    fn validation_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let value = context.needed("plateau", &self.metric)?;
        if self.is_better(value) {
            (self.best, self.failures) = (Some(value), 0);
        } else {
            self.failures += 1;
        }
        if self.cooling > 0 {
            (self.cooling, self.failures) = (self.cooling - 1, 0);
        }
        if self.failures > self.patience {
            (self.cooling, self.failures) = (self.cooldown, 0);
            let scale = self.scale * self.factor;
            // PyTorch's `eps`: a smaller change is none.
            if self.scaled(self.scale) - self.scaled(scale) > 1e-8 {
                self.scale = scale;
            }
        }
        Ok(())
    }

    fn state_dict(&self) -> Option<Value> {
        Some(json!({
            "best": self.best.map(shortest), "failures": self.failures, "cooling": self.cooling, "scale": self.scale,
        }))
    }

    fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        let wrong = || Error::new(ErrorKind::InvalidState, "not the state of a plateau");
        let count = |name: &str| state[name].as_u64().ok_or_else(wrong);
        let (failures, cooling) = (count("failures")?, count("cooling")?);
        let best = state["best"].as_str().and_then(|own| own.parse().ok());
        self.scale = state["scale"].as_f64().ok_or_else(wrong)?;
        (self.best, self.failures, self.cooling) = (best, failures, cooling);
        Ok(())
    }

    fn name(&self) -> &str {
        "plateau"
    }
}
