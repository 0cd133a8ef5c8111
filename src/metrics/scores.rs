//! The scores that follow from a confusion matrix.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::metrics::confusion::ConfusionMatrix;
use crate::metrics::metric_type::AVERAGE_DICE_SUFFIX;
use crate::metrics::record::Record;

/// The scores of one class, or of several pooled or averaged.
///
/// With hits H (true and predicted), T true and P predicted pixels of the class. A score whose denominator is zero
/// is NaN: there was nothing to score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassScores {
    /// H / (T + P − H): intersection over union. NaN if the class is neither there nor predicted.
    pub iou: f64,
    /// 2H / (T + P): the Dice score. NaN as for the IoU.
    pub dice: f64,
    /// H / P. NaN if the class was never predicted.
    pub precision: f64,
    /// H / T. NaN if the class is not there.
    pub recall: f64,
    /// The harmonic mean of precision and recall, 2H / (T + P): for one class the same as [`dice`](Self::dice).
    pub f1: f64,
}

impl ClassScores {
    /// The names of the scores in columns, in the order of [`values`](ClassScores::values).
    pub const NAMES: [&'static str; 5] = ["IoU", "Dice", "Precision", "Recall", "F1"];

    /// The scores in order.
    pub fn values(&self) -> [f64; 5] {
        [self.iou, self.dice, self.precision, self.recall, self.f1]
    }

    /// The scores of hits, true and predicted pixels.
    pub fn of_counts(hits: u64, support: u64, predicted: u64) -> ClassScores {
        let dice = ratio(2 * hits, support + predicted);
        ClassScores {
            iou: ratio(hits, support + predicted - hits.min(support)),
            dice,
            precision: ratio(hits, predicted),
            recall: ratio(hits, support),
            f1: dice,
        }
    }
}

/// The scores of a whole epoch (or of whatever was counted).
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Each class.
    pub classes: Vec<ClassScores>,
    /// The mean of each score over the classes where it is not NaN; NaN if it is nowhere.
    pub macro_mean: ClassScores,
    /// Each score of the counts of all classes pooled. Precision, recall and F1 are then all the accuracy.
    pub micro: ClassScores,
    /// Share of pixels that were taken for what they are.
    pub accuracy: f64,
    /// Mean IoU: the IoU of [`macro_mean`](Scores::macro_mean).
    pub mean_iou: f64,
    /// The mean of the IoU over the classes from 1 on (0 is background), where it is not NaN.
    pub iou_without_background: f64,
    /// The mean of the Dice score over the same classes.
    pub dice_without_background: f64,
}

impl Scores {
    /// The scores of what `matrix` counted.
    pub fn of(matrix: &ConfusionMatrix) -> Scores {
        let all = 0..matrix.classes();
        let classes: Vec<ClassScores> = all
            .clone()
            .map(|class| {
                ClassScores::of_counts(matrix.hits(class), matrix.support(class), matrix.predicted(class))
            })
            .collect();
        let macro_mean = mean_of(&classes);
        let hits: u64 = all.clone().map(|class| matrix.hits(class)).sum();
        let foreground = mean_of(classes.get(1..).unwrap_or_default());
        Scores {
            macro_mean,
            micro: pooled(matrix, all),
            accuracy: ratio(hits, matrix.total()),
            mean_iou: macro_mean.iou,
            iou_without_background: foreground.iou,
            dice_without_background: foreground.dice,
            classes,
        }
    }

    /// The scores as metrics with the names of the classes as hues, to be logged or written.
    ///
    /// `Accuracy`, `MeanIoU`, `IoUWithoutBackground`, `Dice/AverageAcrossStructures` (without background); then for
    /// each of `IoU`, `Dice`, `Precision`, `Recall`, `F1` each class (`IoU/water`), `/macro` and `/micro`. A slash
    /// in a class's name would be read as another hue and becomes `_`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if there is not one name a class, or one occurs twice.
    pub fn record(&self, class_names: &[impl AsRef<str>]) -> Result<Record> {
        if class_names.len() != self.classes.len() {
            return Err(Error::invalid(format!(
                "{} class names for {} classes",
                class_names.len(),
                self.classes.len()
            )));
        }
        let names: Vec<String> = class_names.iter().map(|name| name.as_ref().replace('/', "_")).collect();
        for (position, name) in names.iter().enumerate() {
            if names[..position].contains(name) || name == "macro" || name == "micro" {
                return Err(Error::invalid(format!(
                    "class name {name:?} would make two columns of one name"
                )));
            }
        }
        let mut record = Record::new()
            .with("Accuracy", self.accuracy)
            .with("MeanIoU", self.mean_iou)
            .with("IoUWithoutBackground", self.iou_without_background)
            .with(format!("Dice/{AVERAGE_DICE_SUFFIX}"), self.dice_without_background);
        for (score, metric) in ClassScores::NAMES.into_iter().enumerate() {
            let hues = names.iter().map(String::as_str).chain(["macro", "micro"]);
            let scores = self.classes.iter().chain([&self.macro_mean, &self.micro]);
            for (hue, scores) in hues.zip(scores) {
                record.set(format!("{metric}/{hue}"), scores.values()[score]);
            }
        }
        Ok(record)
    }
}

/// The scores of the pooled counts of some classes.
pub fn pooled(matrix: &ConfusionMatrix, classes: Range<usize>) -> ClassScores {
    let (mut hits, mut support, mut predicted) = (0, 0, 0);
    for class in classes {
        hits += matrix.hits(class);
        support += matrix.support(class);
        predicted += matrix.predicted(class);
    }
    ClassScores::of_counts(hits, support, predicted)
}

/// Dice of one class as it is logged during InnerEye's training: 2H / (T + P + 1e-6), so 0 where nothing is.
#[allow(clippy::cast_precision_loss, reason = "pixel counts are far below 2^53")]
pub fn training_dice(hits: u64, support: u64, predicted: u64) -> f64 {
    2.0 * hits as f64 / ((support + predicted) as f64 + 1e-6)
}

fn mean_of(classes: &[ClassScores]) -> ClassScores {
    let mean = |score: fn(&ClassScores) -> f64| nan_mean(classes.iter().map(score));
    ClassScores {
        iou: mean(|class| class.iou),
        dice: mean(|class| class.dice),
        precision: mean(|class| class.precision),
        recall: mean(|class| class.recall),
        f1: mean(|class| class.f1),
    }
}

/// The mean of what is not NaN; NaN of nothing (numpy's `nanmean`).
#[allow(clippy::cast_precision_loss, reason = "few values")]
pub(crate) fn nan_mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values
        .filter(|value| !value.is_nan())
        .fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    sum / count as f64
}

/// A ratio of counts; NaN of nothing.
#[allow(clippy::cast_precision_loss, reason = "pixel counts are far below 2^53")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(classes: usize, truth: &[u8], predicted: &[u8]) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(classes).unwrap();
        matrix.add(truth, predicted, None).unwrap();
        matrix
    }

    #[test]
    fn by_hand() {
        // True 3, 3, 1; predicted 2, 5, 0; hits 1, 2, 0.
        let matrix = matrix(3, &[0, 0, 0, 1, 1, 2, 1], &[0, 1, 1, 1, 0, 1, 1]);
        let scores = Scores::of(&matrix);
        let of = |score: fn(&ClassScores) -> f64| scores.classes.iter().map(score).collect::<Vec<_>>();
        assert_eq!(of(|class| class.iou), [0.25, 1.0 / 3.0, 0.0]);
        assert_eq!(of(|class| class.dice), [0.4, 0.5, 0.0]);
        assert_eq!(of(|class| class.recall), [1.0 / 3.0, 2.0 / 3.0, 0.0]);
        let precision = of(|class| class.precision);
        assert!(precision[..2] == [0.5, 0.4] && precision[2].is_nan());
        assert_eq!(scores.macro_mean.precision, 0.45);
        assert_eq!(scores.macro_mean.recall, 1.0 / 3.0);
        assert!((scores.mean_iou - 7.0 / 36.0).abs() < 1e-15);
        assert!((scores.iou_without_background - 1.0 / 6.0).abs() < 1e-15);
        assert_eq!(scores.dice_without_background, 0.25);
        assert_eq!(scores.accuracy, 3.0 / 7.0);
        assert_eq!(
            (scores.micro.precision, scores.micro.recall, scores.micro.f1),
            (3.0 / 7.0, 3.0 / 7.0, 3.0 / 7.0)
        );
        assert_eq!(scores.micro.iou, 3.0 / 11.0);
        assert_eq!(pooled(&matrix, 1..3).precision, 0.4);
    }

    #[test]
    fn nothing_to_score_is_nan() {
        let scores = Scores::of(&matrix(2, &[0, 0], &[0, 0]));
        assert!(scores.classes[1].values().iter().all(|value| value.is_nan()));
        assert!(scores.iou_without_background.is_nan());
        assert_eq!((scores.mean_iou, scores.accuracy), (1.0, 1.0));
        let empty = Scores::of(&ConfusionMatrix::new(1).unwrap());
        assert!(empty.accuracy.is_nan() && empty.mean_iou.is_nan() && empty.micro.f1.is_nan());
        // One of the two is there: zero, not NaN.
        let missed = Scores::of(&matrix(2, &[0, 1], &[0, 0])).classes[1];
        assert_eq!((missed.iou, missed.dice, missed.recall), (0.0, 0.0, 0.0));
        assert!(missed.precision.is_nan());
        assert_eq!(training_dice(0, 0, 0), 0.0);
        assert!((training_dice(1, 1, 1) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn columns_have_the_names_of_the_classes() {
        let scores = Scores::of(&matrix(2, &[0, 1, 1, 1], &[0, 1, 1, 0]));
        let record = scores.record(&["background", "water/ice"]).unwrap();
        assert_eq!(record.len(), 4 + 5 * 4);
        let names: Vec<_> = record.iter().map(|(name, _)| name).take(8).collect();
        assert_eq!(
            names,
            [
                "Accuracy",
                "MeanIoU",
                "IoUWithoutBackground",
                "Dice/AverageAcrossStructures",
                "IoU/background",
                "IoU/water_ice",
                "IoU/macro",
                "IoU/micro"
            ]
        );
        assert_eq!(record.get("Dice/water_ice"), Some(&0.8.into()));
        assert_eq!(record.get("Recall/water_ice"), Some(&(2.0 / 3.0).into()));
        assert!(scores.record(&["a"]).is_err() && scores.record(&["a", "a"]).is_err());
        assert!(scores.record(&["a", "micro"]).is_err());
    }
}
