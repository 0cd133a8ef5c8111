//! Stopping when nothing gets better.

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{Callback, Context};
use crate::metrics::number_text::shortest;

/// Which values of a metric are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `lowest`, as of a loss.
    Lowest,
    /// `highest`, as of a score.
    Highest,
}

impl Mode {
    /// Whether `new` is better than `old` by more than `delta`. NaN is never better, not even than nothing.
    pub fn is_better(self, new: f64, old: Option<f64>, delta: f64) -> bool {
        match (self, old) {
            (_, None) => !new.is_nan(),
            (Mode::Lowest, Some(old)) => new < old - delta,
            (Mode::Highest, Some(old)) => new > old + delta,
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mode> {
        match text {
            "lowest" | "min" => Ok(Mode::Lowest),
            "highest" | "max" => Ok(Mode::Highest),
            _ => Err(Error::invalid(format!("unknown mode {text:?}: expected lowest or highest"))),
        }
    }
}

/// What one metric has done so far.
#[derive(Debug, Clone)]
struct Watched {
    name: String,
    mode: Mode,
    best: Option<f64>,
    /// Validations without a better value since the last.
    failures: u64,
}

/// Stops training when none of some metrics of the validation has become better for a while.
///
/// It looks at the end of each validation: a metric is exhausted when it has not become better by more than `min_delta`
/// more than `patience` times in a row (0: at the first), is not finite, or is out of [bounds](EarlyStopping::bounds); when all are, training ends after the epoch. As
/// ClinicaDL's, except that several of them do not overrule each other: who wants to stop, stops.
#[derive(Debug)]
pub struct EarlyStopping {
    metrics: Vec<Watched>,
    patience: u64,
    min_delta: f64,
    check_finite: bool,
    bounds: [f64; 2],
    /// Whether there was a validation.
    has_looked: bool,
}

impl EarlyStopping {
    /// Watches one metric with a patience of 3: by its name in the validation, `Loss` or `MeanIoU`, without `val/`.
    pub fn new(metric: &str, mode: Mode) -> EarlyStopping {
        let bounds = [f64::NEG_INFINITY, f64::INFINITY];
        EarlyStopping {
            metrics: Vec::new(),
            patience: 3,
            min_delta: 0.0,
            check_finite: true,
            bounds,
            has_looked: false,
        }
        .and(metric, mode)
    }

    /// Watches another metric too: all of them must be exhausted.
    pub fn and(mut self, metric: &str, mode: Mode) -> EarlyStopping {
        self.metrics.push(Watched { name: metric.to_owned(), mode, best: None, failures: 0 });
        self
    }

    /// How many validations without a better value are borne.
    pub fn patience(mut self, patience: u64) -> EarlyStopping {
        self.patience = patience;
        self
    }

    /// By how much a value must be better, 0 or more.
    pub fn min_delta(mut self, delta: f64) -> EarlyStopping {
        self.min_delta = delta;
        self
    }

    /// A value below the lower or above the upper bound exhausts its metric at once.
    pub fn bounds(mut self, lower: f64, upper: f64) -> EarlyStopping {
        self.bounds = [lower, upper];
        self
    }

    /// Whether a value that is not finite exhausts its metric at once; it does by default.
    pub fn check_finite(mut self, check: bool) -> EarlyStopping {
        self.check_finite = check;
        self
    }
}

impl Callback for EarlyStopping {
    fn trainer_init(&mut self, _: &mut Context<'_>) -> Result<()> {
        let [lower, upper] = self.bounds;
        if self.min_delta >= 0.0 && lower <= upper {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "early stopping: expected a min_delta of 0 or more and rising bounds, got {} and {lower}, {upper}",
            self.min_delta
        )))
    }

    fn train_end(&mut self, _: &mut Context<'_>) -> Result<()> {
        if !self.has_looked {
            tracing::warn!("early stopping has seen no validation");
        }
        Ok(())
    }

    fn validation_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        let mut exhausted = true;
        self.has_looked = true;
        for own in &mut self.metrics {
            let value = context.needed("early stopping", &own.name)?;
            if own.mode.is_better(value, own.best, self.min_delta) {
                (own.best, own.failures) = (Some(value), 0);
            } else {
                own.failures += 1;
            }
            let is_out = value < self.bounds[0] || value > self.bounds[1];
            exhausted &= own.failures > self.patience || is_out || (self.check_finite && !value.is_finite());
        }
        if exhausted && !self.metrics.is_empty() {
            context.state.should_stop = true;
        }
        Ok(())
    }

    fn state_dict(&self) -> Option<Value> {
        Some(
            self.metrics
                .iter()
                .map(|own| json!({ "name": own.name, "best": own.best.map(shortest), "failures": own.failures }))
                .collect(),
        )
    }

    fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        let wrong = || Error::new(ErrorKind::InvalidState, "not the state of this early stopping");
        let all = state.as_array().filter(|all| all.len() == self.metrics.len()).ok_or_else(wrong)?;
        for (own, state) in self.metrics.iter_mut().zip(all) {
            if state["name"].as_str() != Some(&own.name) {
                return Err(wrong());
            }
            own.best = state["best"].as_str().and_then(|own| own.parse().ok());
            own.failures = state["failures"].as_u64().ok_or_else(wrong)?;
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "early_stopping"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::TrainerState;

    /// Feeds values; the number of the one after which it wanted to stop.
    fn stops_at(own: &mut EarlyStopping, values: &[&[f64]]) -> Option<usize> {
        for (index, row) in values.iter().enumerate() {
            let metrics: Vec<(String, f64)> =
                row.iter().enumerate().map(|(at, value)| (format!("m{at}"), *value)).collect();
            let mut state = TrainerState::default();
            let mut context = Context::new(&mut state);
            context.metrics = &metrics;
            own.validation_end(&mut context).unwrap();
            if state.should_stop {
                return Some(index);
            }
        }
        None
    }

    #[test]
    fn it_stops_when_patience_is_over() {
        let rows: Vec<[f64; 1]> = [3.0, 2.0, 2.0, 2.5, 1.9, 1.9, 1.9, 1.9].map(|value| [value]).into();
        let rows: Vec<&[f64]> = rows.iter().map(<[f64; 1]>::as_slice).collect();
        let own = || EarlyStopping::new("m0", Mode::Lowest);
        assert_eq!(stops_at(&mut own().patience(0), &rows), Some(2));
        assert_eq!(stops_at(&mut own().patience(2), &rows), Some(7));
        assert_eq!(stops_at(&mut own().patience(3), &rows), None);
        // 1.9 is no better than 2 by more than 0.2.
        assert_eq!(stops_at(&mut own().patience(2).min_delta(0.2), &rows), Some(4));
        assert_eq!(stops_at(&mut EarlyStopping::new("m0", Mode::Highest).patience(1), &rows), Some(2));
    }

    #[test]
    fn all_metrics_must_be_exhausted_and_nan_is_at_once() {
        let rows: [&[f64]; 4] = [&[1.0, 1.0], &[2.0, 0.5], &[2.0, 0.6], &[2.0, 0.7]];
        let own = || EarlyStopping::new("m0", Mode::Lowest).and("m1", Mode::Lowest);
        assert_eq!(stops_at(&mut own().patience(0), &rows), Some(2));
        assert_eq!(stops_at(&mut own().patience(1), &rows), Some(3));
        assert_eq!(stops_at(&mut EarlyStopping::new("m0", Mode::Lowest), &[&[f64::NAN]]), Some(0));
        assert_eq!(
            stops_at(&mut EarlyStopping::new("m0", Mode::Lowest).check_finite(false), &[&[f64::NAN]]),
            None
        );
    }

    #[test]
    fn a_value_out_of_bounds_ends_it_at_once() {
        let rows: [&[f64]; 3] = [&[0.5], &[0.4], &[0.1]];
        let own = || EarlyStopping::new("m0", Mode::Lowest);
        assert_eq!(stops_at(&mut own().bounds(0.2, 1.0), &rows), Some(2));
        assert_eq!(stops_at(&mut own().bounds(0.0, 0.45), &rows), Some(0));
        assert_eq!(stops_at(&mut own().bounds(0.1, 0.5), &rows), None);
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let rows: [&[f64]; 2] = [&[1.0], &[2.0]];
        let mut first = EarlyStopping::new("m0", Mode::Lowest).patience(2);
        assert_eq!(stops_at(&mut first, &rows), None);
        let mut second = EarlyStopping::new("m0", Mode::Lowest).patience(2);
        second.load_state_dict(&first.state_dict().unwrap()).unwrap();
        assert_eq!(stops_at(&mut second, &[&[1.5], &[1.5]]), Some(1));
        let mut other = EarlyStopping::new("m1", Mode::Lowest);
        assert!(other.load_state_dict(&first.state_dict().unwrap()).is_err());
    }

    #[test]
    fn a_metric_that_is_not_there_is_named() {
        let mut state = TrainerState::default();
        let error = EarlyStopping::new("IoU", Mode::Highest)
            .validation_end(&mut Context::new(&mut state))
            .unwrap_err();
        assert!(error.message().contains("no metric \"IoU\""), "{error}");
    }
}
