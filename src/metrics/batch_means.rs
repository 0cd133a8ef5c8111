//! The running metrics of geo-deep-learning's training loop, for comparison with runs made there.

use crate::error::{Error, Result};
use crate::metrics::confusion::ConfusionMatrix;
use crate::metrics::record::Record;
use crate::metrics::scores::{nan_mean, ratio};

/// What geo-deep-learning reports for an epoch: means over batches of the metrics of each batch.
///
/// They differ from the scores of the whole epoch ([`Scores`](crate::metrics::Scores)) in more than the averaging:
/// **precision and recall are swapped** (the diagonal over the row sums, true pixels, is called precision), each
/// batch weighs the same, and a class that is NaN in one batch is NaN for the rest of the epoch.
#[derive(Debug, Clone)]
pub struct BatchMeans {
    classes: usize,
    names: Vec<String>,
    sums: Vec<f64>,
    batches: u64,
    loss_sum: f64,
    losses: u64,
}

/// Order of the metrics in the record.
const METRICS: [&str; 4] = ["precision", "recall", "fscore", "iou"];

impl BatchMeans {
    /// No batch yet. A model of one class is measured with two: background, and what is above one half
    /// ([`is_foreground`]).
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for no class.
    pub fn new(classes: usize) -> Result<BatchMeans> {
        if classes == 0 {
            return Err(Error::invalid("metrics of no class"));
        }
        let classes = classes.max(2);
        let mut names: Vec<String> = METRICS.map(str::to_owned).into();
        names.push("iou_nonbg".to_owned());
        for metric in METRICS {
            names.extend((0..classes).map(|class| format!("{metric}_{class}")));
        }
        let sums = vec![0.0; names.len()];
        Ok(BatchMeans { classes, names, sums, batches: 0, loss_sum: 0.0, losses: 0 })
    }

    /// Adds the metrics of one batch, whose pixels `matrix` counted.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if it has another number of classes.
    pub fn add(&mut self, matrix: &ConfusionMatrix) -> Result<()> {
        if matrix.classes() != self.classes {
            return Err(Error::invalid(format!(
                "metrics of {} classes: got a confusion matrix of {}",
                self.classes,
                matrix.classes()
            )));
        }
        let by_class = batch_metrics(matrix);
        let means = by_class.iter().map(|values| nan_mean(values.iter().copied()));
        let iou_nonbg = nan_mean(by_class[3][1..].iter().copied());
        let values = means.chain([iou_nonbg]).chain(by_class.iter().flatten().copied());
        self.sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        self.batches += 1;
        Ok(())
    }

    /// Adds the loss of one batch.
    pub fn add_loss(&mut self, loss: f64) {
        self.loss_sum += loss;
        self.losses += 1;
    }

    /// The means over the batches: `precision`, `recall`, `fscore`, `iou`, `iou_nonbg`, each class (`iou_0`), and
    /// `loss` last. NaN without batches.
    #[allow(clippy::cast_precision_loss, reason = "no epoch has 2^53 batches")]
    pub fn record(&self) -> Record {
        let means = self.sums.iter().map(|sum| sum / self.batches as f64);
        let mut record: Record = self.names.iter().map(String::as_str).zip(means).collect();
        record.set("loss", self.loss_sum / self.losses as f64);
        record
    }
}

/// What one batch gives, as geo-deep-learning names it: `precision` (which is recall), `recall` (which is
/// precision), `fscore`, `iou`, each a value a class. Zero by zero is NaN.
pub fn batch_metrics(matrix: &ConfusionMatrix) -> [Vec<f64>; 4] {
    let per_class = |metric: &dyn Fn(usize) -> f64| (0..matrix.classes()).map(metric).collect::<Vec<_>>();
    let precision = per_class(&|class| ratio(matrix.hits(class), matrix.support(class)));
    let recall = per_class(&|class| ratio(matrix.hits(class), matrix.predicted(class)));
    let fscore = per_class(&|class| {
        let (precision, recall) = (precision[class], recall[class]);
        2.0 * precision * recall / (precision + recall)
    });
    let iou = per_class(&|class| {
        let hits = matrix.hits(class);
        ratio(hits, matrix.support(class) + matrix.predicted(class) - hits)
    });
    [precision, recall, fscore, iou]
}

/// Whether a probability of the only class counts as foreground: above one half, not at it.
pub fn is_foreground(probability: f32) -> bool {
    probability > 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::confusion::StrayLabels;
    use crate::metrics::value::Value;

    fn number(record: &Record, name: &str) -> f64 {
        record.get(name).and_then(Value::as_f64).unwrap()
    }

    fn near(record: &Record, name: &str, expected: f64) {
        let got = number(record, name);
        assert!((got - expected).abs() < 5e-7 || (got.is_nan() && expected.is_nan()), "{name}: {got}");
    }

    fn batch() -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(3).unwrap().stray_labels(StrayLabels::Ignore);
        matrix.add(&[0_u8, 0, 0, 1, 1, 2, 255, 1], &[0_u8, 1, 1, 1, 0, 1, 1, 1], None).unwrap();
        matrix
    }

    #[test]
    fn the_reference_run() {
        let mut means = BatchMeans::new(3).unwrap();
        means.add(&batch()).unwrap();
        means.add_loss(0.5);
        let record = means.record();
        for (name, expected) in [
            ("iou", 0.194_444),
            ("iou_nonbg", 0.166_667),
            ("iou_0", 0.25),
            ("iou_1", 1.0 / 3.0),
            ("iou_2", 0.0),
            ("precision", 0.333_333),
            ("precision_0", 1.0 / 3.0),
            ("precision_1", 2.0 / 3.0),
            ("precision_2", 0.0),
            ("recall", 0.45),
            ("recall_0", 0.5),
            ("recall_1", 0.4),
            ("recall_2", f64::NAN),
            ("fscore", 0.45),
            ("fscore_0", 0.4),
            ("fscore_1", 0.5),
            ("fscore_2", f64::NAN),
            ("loss", 0.5),
        ] {
            near(&record, name, expected);
        }
    }

    #[test]
    fn batches_weigh_the_same_and_nan_stays() {
        let mut means = BatchMeans::new(3).unwrap();
        means.add(&batch()).unwrap();
        let mut all_right = ConfusionMatrix::new(3).unwrap();
        let labels: Vec<u8> = (0..=2).cycle().take(300).collect();
        all_right.add(&labels, &labels, None).unwrap();
        means.add(&all_right).unwrap();
        means.add_loss(1.0);
        means.add_loss(2.0);
        let record = means.record();
        near(&record, "iou_0", 0.625);
        near(&record, "recall_2", f64::NAN);
        near(&record, "recall", 0.725);
        near(&record, "loss", 1.5);
        assert!(means.add(&ConfusionMatrix::new(2).unwrap()).is_err());
    }

    #[test]
    fn one_class_is_two() {
        let record = BatchMeans::new(1).unwrap().record();
        assert!(record.get("iou_1").is_some() && record.get("iou_2").is_none());
        assert!(number(&record, "iou").is_nan() && BatchMeans::new(0).is_err());
        assert_eq!((is_foreground(0.5), is_foreground(0.500_001)), (false, true));
    }
}
