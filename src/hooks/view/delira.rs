//! delira's callbacks of epochs.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{Callback, Context};
use crate::metrics::Record;

/// What delira passes to a callback.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct DeliraArguments<'a> {
    /// Metrics of the last validation: at the beginning of an epoch those of the epoch before, none before the first.
    pub val_metrics: &'a [(String, f64)],
    /// Which of them decides about the best model.
    pub val_score_key: Option<&'a str>,
    /// The epoch, from 1.
    pub curr_epoch: u64,
}

/// delira's `AbstractCallback` (v0.3.2): two methods that give back what is to be set of the trainer.
///
/// What is understood: `stop_training` (true or false) and `learning_rate` (a number). Keys that begin and end with two
/// underscores are passed over; `use_gpu`, `input_device`, `output_device` and `_callbacks` cannot be set twice, which is
/// logged as an error and not raised; everything else is kept in [`Delira::attributes`].
pub trait DeliraHooks: fmt::Debug + Send {
    /// An epoch begins.
    ///
    /// # Errors
    /// Of your own: they end the run.
    fn at_epoch_begin(&mut self, arguments: &DeliraArguments<'_>) -> Result<Map<String, Value>> {
        let _ = arguments;
        Ok(Map::new())
    }

    /// An epoch is done, and nothing of it is saved yet.
    ///
    /// # Errors
    /// Of your own: they end the run.
    fn at_epoch_end(&mut self, arguments: &DeliraArguments<'_>) -> Result<Map<String, Value>> {
        let _ = arguments;
        Ok(Map::new())
    }
}

const SET_ONCE: [&str; 4] = ["use_gpu", "input_device", "output_device", "_callbacks"];

/// Calls delira's hooks and does what they give back.
#[derive(Debug)]
pub struct Delira<H> {
    hooks: H,
    val_score_key: Option<String>,
    val_metrics: Vec<(String, f64)>,
    attributes: BTreeMap<String, Value>,
    /// The learning rate that a callback has set.
    rate: Option<f64>,
}

impl<H: DeliraHooks> Delira<H> {
    /// A view for these hooks; `val_score_key` is passed on to them.
    pub fn new(hooks: H, val_score_key: Option<&str>) -> Delira<H> {
        Delira {
            hooks,
            val_score_key: val_score_key.map(str::to_owned),
            val_metrics: Vec::new(),
            attributes: BTreeMap::new(),
            rate: None,
        }
    }

    /// What hooks have set that is none of the trainer's.
    pub fn attributes(&self) -> &BTreeMap<String, Value> {
        &self.attributes
    }

    fn call(&mut self, is_begin: bool, context: &mut Context<'_>) -> Result<()> {
        let arguments = DeliraArguments {
            val_metrics: &self.val_metrics,
            val_score_key: self.val_score_key.as_deref(),
            curr_epoch: context.state.epoch,
        };
        let given = match is_begin {
            true => self.hooks.at_epoch_begin(&arguments)?,
            false => self.hooks.at_epoch_end(&arguments)?,
        };
        for (key, value) in given {
            self.set(key, value, context)?;
        }
        Ok(())
    }

    fn set(&mut self, key: String, value: Value, context: &mut Context<'_>) -> Result<()> {
        let wrong = |expected: &str| {
            let message = format!("a callback gave {key} = {value}: expected {expected}");
            Error::new(ErrorKind::InvalidArgument, message)
        };
        if key.starts_with("__") && key.ends_with("__") {
            return Ok(());
        }
        match key.as_str() {
            "stop_training" => {
                context.state.should_stop = value.as_bool().ok_or_else(|| wrong("true or false"))?;
            }
            "learning_rate" => {
                let rate = value.as_f64().filter(|rate| rate.is_finite() && *rate >= 0.0);
                let rate = rate.ok_or_else(|| wrong("a number of 0 or more"))?;
                (context.state.learning_rate, self.rate) = (rate, Some(rate));
            }
            name if SET_ONCE.contains(&name) && self.attributes.contains_key(name) => {
                tracing::error!("{name} can not be set again");
            }
            _ => {
                self.attributes.insert(key, value);
            }
        }
        Ok(())
    }
}

impl<H: DeliraHooks> Callback for Delira<H> {
    fn epoch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        // As an optimizer keeps what its scheduler has set.
        if let Some(rate) = self.rate {
            context.state.learning_rate = rate;
        }
        self.call(true, context)
    }

    fn validation_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.val_metrics = context.metrics().to_vec();
        Ok(())
    }

    fn epoch_metrics(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.call(false, context)
    }

    fn state_dict(&self) -> Option<Value> {
        // JSON has no NaN and no infinity, the texts of a record's values do.
        let metrics = self.val_metrics.iter().map(|(name, value)| (name.as_str(), *value));
        let metrics = metrics.collect::<Record>().to_json();
        serde_json::to_value((metrics, &self.attributes, self.rate)).ok()
    }

    fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        let wrong = |error| {
            Error::new(ErrorKind::InvalidState, "not the state of a view of delira's callbacks")
                .caused_by(error)
        };
        let (metrics, attributes, rate): (Value, _, _) =
            serde_json::from_value(state.clone()).map_err(wrong)?;
        let number = |(name, value): (&str, &crate::metrics::Value)| Some((name.to_owned(), value.as_f64()?));
        self.val_metrics = Record::from_json(&metrics)?.iter().filter_map(number).collect();
        (self.attributes, self.rate) = (attributes, rate);
        Ok(())
    }

    fn name(&self) -> &str {
        "delira"
    }
}
