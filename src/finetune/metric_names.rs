//! Names of the metrics that a finetuning measures.

use crate::error::{Error, Result};
use crate::metrics::metric_type::{TRAIN_PREFIX, VALIDATION_PREFIX};

/// How many names an error lists.
const LISTED: usize = 8;

/// Names of the metrics of an epoch: those of the training, then, with `val/`, those of the validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MetricNames(Vec<String>);

impl MetricNames {
    /// For validations with these metrics; none without validation data.
    pub(super) fn new(validation: &[(String, f64)]) -> MetricNames {
        let train = ["Loss", "LearningRate"].iter().map(|name| format!("{TRAIN_PREFIX}{name}"));
        let validation = validation.iter().map(|(name, _)| format!("{VALIDATION_PREFIX}{name}"));
        MetricNames(train.chain(validation).collect())
    }

    /// That there is a metric of this name.
    ///
    /// # Errors
    /// `InvalidArgument` with the nearest name that there is.
    pub(super) fn check(&self, key: &str, name: &str) -> Result<()> {
        self.look_for(key, name, "")
    }

    /// That the validation has a metric of this name, which has no `val/` before it.
    ///
    /// # Errors
    /// As [`MetricNames::check`].
    pub(super) fn check_validation(&self, key: &str, name: &str) -> Result<()> {
        self.look_for(key, name, VALIDATION_PREFIX)
    }

    fn look_for(&self, key: &str, name: &str, prefix: &str) -> Result<()> {
        let known: Vec<&str> = self.0.iter().filter_map(|own| own.strip_prefix(prefix)).collect();
        if known.contains(&name) {
            return Ok(());
        }
        // The part that is left out or too much most easily.
        let bare =
            |name: &str| name.rsplit_once(VALIDATION_PREFIX).map_or(name, |(_, rest)| rest).to_lowercase();
        let distance = |own: &str| strsim::damerau_levenshtein(&bare(own), &bare(name));
        let nearest = known.iter().map(|own| (distance(own), *own)).min();
        let nearest = nearest.filter(|(distance, own)| *distance <= 1.max(bare(own).len() / 4));
        Err(Error::invalid(match nearest {
            Some((_, own)) => format!("{key}: no metric {name:?}: did you mean {own:?}?"),
            None => {
                let more = if known.len() > LISTED { " ..." } else { "" };
                let listed = &known[..known.len().min(LISTED)];
                format!("{key}: no metric {name:?}: expected one of {}{more}", listed.join(", "))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told() {
        let validation = ["Loss", "MeanIoU", "IoU/house"].map(|name| (name.to_owned(), 0.0));
        let names = MetricNames::new(&validation);
        for name in ["train/Loss", "val/Loss", "val/IoU/house"] {
            names.check("training.best", name).unwrap();
        }
        names.check_validation("early_stopping.metric", "IoU/house").unwrap();
        for (name, said) in [
            ("MeanIoU", "training.best: no metric \"MeanIoU\": did you mean \"val/MeanIoU\"?"),
            ("val/meaniou", "did you mean \"val/MeanIoU\"?"),
            (
                "val/Kappa",
                "expected one of train/Loss, train/LearningRate, val/Loss, val/MeanIoU, val/IoU/house",
            ),
        ] {
            let error = names.check("training.best", name).unwrap_err();
            assert!(error.message().contains(said), "{error}");
        }
        let error = names.check_validation("early_stopping.metric", "val/Loss").unwrap_err();
        assert!(error.message().ends_with("did you mean \"Loss\"?"), "{error}");
        assert!(names.check_validation("early_stopping.metric", "LearningRate").is_err());
    }
}
