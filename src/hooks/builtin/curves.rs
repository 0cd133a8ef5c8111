//! The curves of a training.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{Callback, Context};
use crate::metrics::metric_type::{TRAIN_PREFIX, VALIDATION_PREFIX};
use crate::picture::{Curve, Curves, Plot};

/// Draws the metrics of all epochs as an SVG file when training ends, also when it ends with an error: one plot a
/// metric, training and validation in it. By default loss, mean IoU, mean Dice and learning rate, those that there are.
#[derive(Debug)]
pub struct TrainingCurves {
    path: PathBuf,
    metrics: Vec<String>,
    /// Epoch and value, by the name of the metric.
    points: BTreeMap<String, Vec<(f64, f64)>>,
}

impl TrainingCurves {
    /// In the file `path`.
    pub fn new(path: impl Into<PathBuf>) -> TrainingCurves {
        let metrics = ["Loss", "MeanIoU", "Dice/AverageAcrossStructures", "LearningRate"];
        TrainingCurves {
            path: path.into(),
            metrics: metrics.map(str::to_owned).into(),
            points: BTreeMap::new(),
        }
    }

    /// Draws these metrics, without `train/` and `val/`.
    pub fn metrics(mut self, names: &[impl AsRef<str>]) -> TrainingCurves {
        self.metrics = names.iter().map(|name| name.as_ref().to_owned()).collect();
        self
    }

    fn draw(&self) -> Result<()> {
        let mut picture = Curves::new();
        for metric in &self.metrics {
            let of = |prefix: &str, name: &str| {
                let points = self.points.get(&format!("{prefix}{metric}"))?;
                Some(Curve { name: name.to_owned(), points: points.clone() })
            };
            let curves: Vec<Curve> = [of(TRAIN_PREFIX, "training"), of(VALIDATION_PREFIX, "validation")]
                .into_iter()
                .flatten()
                .collect();
            if !curves.is_empty() {
                picture = picture.plot(Plot { title: metric.clone(), curves });
            }
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| Error::io("make", folder, error))?;
        }
        picture.save(&self.path)
    }
}

impl Callback for TrainingCurves {
    fn epoch_metrics(&mut self, context: &mut Context<'_>) -> Result<()> {
        let epoch = context.state.epoch as f64;
        for (name, value) in context.metrics() {
            let plain = name.strip_prefix(TRAIN_PREFIX).or(name.strip_prefix(VALIDATION_PREFIX));
            if !plain.is_some_and(|plain| self.metrics.iter().any(|own| own == plain)) {
                continue;
            }
            self.points.entry(name.clone()).or_default().push((epoch, *value));
        }
        Ok(())
    }

    fn train_end(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.draw()
    }

    fn exception(&mut self, _: &mut Context<'_>) -> Result<()> {
        if self.points.is_empty() { Ok(()) } else { self.draw() }
    }

    fn state_dict(&self) -> Option<Value> {
        // JSON has no NaN: such values are null.
        serde_json::to_value(&self.points).ok()
    }

    fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        let wrong = || Error::new(ErrorKind::InvalidState, "not the state of training curves");
        let mut points = BTreeMap::new();
        for (name, list) in state.as_object().ok_or_else(wrong)? {
            let list = list.as_array().ok_or_else(wrong)?.iter().map(|own| {
                let epoch = own[0].as_f64().ok_or_else(wrong)?;
                Ok((epoch, own[1].as_f64().unwrap_or(f64::NAN)))
            });
            points.insert(name.clone(), list.collect::<Result<_>>()?);
        }
        self.points = points;
        Ok(())
    }

    fn name(&self) -> &str {
        "training_curves"
    }
}
