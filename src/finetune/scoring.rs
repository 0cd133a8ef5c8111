//! What is measured of predictions.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metrics::metric_type::AVERAGE_DICE_SUFFIX;
use crate::metrics::{BatchMeans, ConfusionMatrix, Record, Scores, decide, training_dice};

/// Which numbers the predictions of an epoch give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum ScoreForm {
    /// The scores of one confusion matrix of all pixels that count: [`Scores::record`].
    #[default]
    Epoch,
    /// InnerEye's: `SubjectCount` first; means over images of `Dice/AverageAcrossStructures`, `Dice/CLASS` and
    /// `VoxelCount/CLASS` (labelled pixels) for the classes from 1 on, with Dice 0 where a class is neither there nor
    /// predicted.
    InnerEye,
    /// geo-deep-learning's: means over batches, with precision and recall swapped and classes poisoned by NaN
    /// ([`BatchMeans`]). For comparison with runs made there.
    GeoDeepLearning,
}

/// What is measured of the predictions in evaluations, and of training batches on request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Scoring {
    /// Names of the classes in the names of metrics; their numbers where there are none.
    pub class_names: Vec<String>,
    /// Training batches too, which costs a copy of their logits.
    pub on_training: bool,
    /// Which numbers.
    pub form: ScoreForm,
}

impl Scoring {
    /// The names for so many classes.
    fn names(&self, classes: usize) -> Result<Vec<String>> {
        if self.class_names.is_empty() {
            return Ok((0..classes).map(|class| class.to_string()).collect());
        }
        let message = || {
            format!("expected {classes} class names for the model's classes, got {}", self.class_names.len())
        };
        if self.class_names.len() != classes {
            return Err(Error::invalid(message()));
        }
        let is_bad = |name: &&String| name.contains(char::is_control) || *name == AVERAGE_DICE_SUFFIX;
        match self.class_names.iter().find(is_bad) {
            Some(name) => {
                Err(Error::invalid(format!("{name:?} cannot be a class's name in the names of metrics")))
            }
            None => Ok(self.class_names.clone()),
        }
    }
}

/// Labels and predictions of one batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored<'a> {
    /// Classes `[N, H, W]`.
    pub(super) truth: &'a [i64],
    /// `[N, H, W]`: not 0 where a pixel counts.
    pub(super) mask: &'a [f32],
    /// `[N, K, H, W]`.
    pub(super) logits: &'a [f32],
    /// N, K, H, W.
    pub(super) shape: &'a [usize],
    /// How many of the N count.
    pub(super) images: usize,
}

/// Keeps the scores of an epoch.
#[derive(Debug)]
pub(super) struct ScoreKeeper {
    form: ScoreForm,
    names: Vec<String>,
    /// Of the epoch; of one batch or image for the other forms.
    matrix: ConfusionMatrix,
    means: BatchMeans,
    /// Sums over images: Dice of each class from 1 on, labelled pixels likewise.
    sums: Vec<(f64, f64)>,
    images: usize,
    predicted: Vec<u16>,
    valid: Vec<bool>,
}

impl ScoreKeeper {
    /// For a model of so many channels.
    ///
    /// # Errors
    /// `InvalidArgument` for class names that do not fit.
    pub(super) fn new(scoring: &Scoring, channels: usize) -> Result<ScoreKeeper> {
        // A single channel tells two classes apart.
        let classes = channels.max(2);
        let names = scoring.names(classes)?;
        let matrix = ConfusionMatrix::new(classes)?;
        // Names that make no columns are told before the run.
        Scores::of(&matrix).record(&names)?;
        Ok(ScoreKeeper {
            form: scoring.form,
            names,
            matrix,
            means: BatchMeans::new(channels)?,
            sums: vec![(0.0, 0.0); classes - 1],
            images: 0,
            predicted: Vec::new(),
            valid: Vec::new(),
        })
    }

    /// Another epoch begins.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.matrix.clear();
        self.means = BatchMeans::new(self.names.len())?;
        self.sums.fill((0.0, 0.0));
        self.images = 0;
        Ok(())
    }

    pub(super) fn add(&mut self, own: &Scored<'_>) -> Result<()> {
        decide(own.logits, own.shape, &mut self.predicted);
        self.valid.clear();
        self.valid.extend(own.mask.iter().map(|weight| *weight != 0.0));
        let pixels: usize = own.shape.iter().skip(2).product();
        let all = own.images * pixels;
        self.images += own.images;
        match self.form {
            ScoreForm::Epoch => {
                self.matrix.add(&own.truth[..all], &self.predicted[..all], Some(&self.valid[..all]))
            }
            ScoreForm::GeoDeepLearning => {
                self.matrix.clear();
                self.matrix.add(&own.truth[..all], &self.predicted[..all], Some(&self.valid[..all]))?;
                self.means.add(&self.matrix)
            }
            ScoreForm::InnerEye => (0..own.images).try_for_each(|image| {
                let at = image * pixels..(image + 1) * pixels;
                self.matrix.clear();
                let (predicted, valid) = (&self.predicted[at.clone()], &self.valid[at.clone()]);
                self.matrix.add(&own.truth[at], predicted, Some(valid))?;
                for (class, (dice, voxels)) in (1..).zip(&mut self.sums) {
                    let (support, predicted) = (self.matrix.support(class), self.matrix.predicted(class));
                    *dice += training_dice(self.matrix.hits(class), support, predicted);
                    *voxels += support as f64;
                }
                Ok(())
            }),
        }
    }

    /// The metrics of the epoch so far around its `head` (loss, learning rate).
    pub(super) fn metrics(&self, head: Vec<(String, f64)>) -> Result<Vec<(String, f64)>> {
        let mut all = head;
        match self.form {
            ScoreForm::Epoch => all.extend(numbers(&Scores::of(&self.matrix).record(&self.names)?)),
            ScoreForm::GeoDeepLearning => {
                // The loss is there already.
                all.extend(numbers(&self.means.record()).filter(|(name, _)| name != "loss"));
            }
            ScoreForm::InnerEye => {
                let count = self.images as f64;
                all.insert(0, ("SubjectCount".to_owned(), count));
                let average =
                    self.sums.iter().map(|(dice, _)| dice).sum::<f64>() / self.sums.len() as f64 / count;
                all.push((format!("Dice/{AVERAGE_DICE_SUFFIX}"), average));
                let of = |metric: &str, take: fn(&(f64, f64)) -> f64| -> Vec<(String, f64)> {
                    let sums = self.names[1..].iter().zip(&self.sums);
                    sums.map(|(name, sum)| {
                        (format!("{metric}/{}", name.replace('/', "_")), take(sum) / count)
                    })
                    .collect()
                };
                all.extend(of("Dice", |sum| sum.0));
                all.extend(of("VoxelCount", |sum| sum.1));
            }
        }
        Ok(all)
    }
}

fn numbers(record: &Record) -> impl Iterator<Item = (String, f64)> {
    record.iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_f64()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images of four pixels; the last of the second image does not count.
    fn kept(form: ScoreForm, names: &[&str]) -> Vec<(String, f64)> {
        let class_names = names.iter().map(|name| (*name).to_owned()).collect();
        let scoring = Scoring { form, class_names, ..Scoring::default() };
        let mut keeper = ScoreKeeper::new(&scoring, 1).unwrap();
        let own = Scored {
            truth: &[0, 1, 1, 0, 0, 0, 0, 1],
            mask: &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
            logits: &[-1.0, 1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0],
            shape: &[2, 1, 2, 2],
            images: 2,
        };
        keeper.add(&own).unwrap();
        keeper.clear().unwrap();
        keeper.add(&own).unwrap();
        keeper.add(&Scored { images: 1, ..own }).unwrap();
        keeper.metrics(vec![("Loss".to_owned(), 0.5)]).unwrap()
    }

    fn value(metrics: &[(String, f64)], name: &str) -> f64 {
        metrics.iter().find(|(own, _)| own == name).unwrap_or_else(|| panic!("{name}")).1
    }

    #[test]
    fn an_epoch_is_one_matrix() {
        let found = kept(ScoreForm::Epoch, &["ground", "house"]);
        // Houses: 2 of 4 found, 2 wrongly. Ground: 3 + 2 of 11 pixels right.
        assert_eq!(value(&found, "IoU/house"), 2.0 / 6.0);
        assert_eq!(value(&found, "Accuracy"), 7.0 / 11.0);
        assert_eq!(value(&found, "Recall/ground"), 5.0 / 7.0);
        assert_eq!(found[0], ("Loss".to_owned(), 0.5));
    }

    #[test]
    fn inner_eye_has_means_over_images() {
        let found = kept(ScoreForm::InnerEye, &["ground", "house"]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["SubjectCount", "Loss", "Dice/AverageAcrossStructures", "Dice/house", "VoxelCount/house"]
        );
        // The first image, twice: 2 / (4 + 1e-6); the second: 0.
        assert!((value(&found, "Dice/house") - (2.0 * 2.0 / (4.0 + 1e-6)) / 3.0).abs() < 1e-12);
        assert_eq!((value(&found, "VoxelCount/house"), value(&found, "SubjectCount")), (4.0 / 3.0, 3.0));
    }

    #[test]
    fn geo_deep_learning_has_means_over_batches() {
        let found = kept(ScoreForm::GeoDeepLearning, &[]);
        // Its "precision" of class 1 is the recall 1/2 of each of the two batches.
        assert_eq!(value(&found, "precision_1"), 0.5);
        assert_eq!(value(&found, "iou_1"), 1.0 / 3.0);
        assert_eq!(found.iter().filter(|(name, _)| name.eq_ignore_ascii_case("loss")).count(), 1);
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        for names in
            [&["one"][..], &["a", "a"], &["a", "macro"], &["a", "AverageAcrossStructures"], &["a", "b\nc"]]
        {
            let class_names = names.iter().map(|name| (*name).to_owned()).collect();
            let scoring = Scoring { class_names, ..Scoring::default() };
            assert!(ScoreKeeper::new(&scoring, 2).is_err(), "{names:?}");
        }
    }
}
