//! How often each class was taken for each: the one count from which the scores of a whole epoch follow.

use crate::error::{Error, Result};

/// What to do with a true label that is no class and not the ignored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StrayLabels {
    /// It is an error: the labels do not fit the model.
    #[default]
    Refuse,
    /// It is ignored, as geo-deep-learning does (so 255 counts as "no label" there, whatever the settings say).
    Ignore,
}

/// Counts of pixels by true class and predicted class, over as many batches as are added.
///
/// Scores of an epoch are taken from the counts of all its pixels, not averaged over batches: a batch that lacks a
/// class would otherwise weigh as much as one that is full of it ([`BatchMeans`](crate::metrics::BatchMeans) does
/// that for comparison with old runs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
    ignore_index: Option<i64>,
    stray: StrayLabels,
    ignored: u64,
}

impl ConfusionMatrix {
    /// A matrix of zeros for `classes` classes.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for no class, or more than 65536.
    pub fn new(classes: usize) -> Result<ConfusionMatrix> {
        if !(1..=1 << 16).contains(&classes) {
            return Err(Error::invalid(format!(
                "confusion matrix of {classes} classes: expected 1 to 65536"
            )));
        }
        Ok(ConfusionMatrix {
            classes,
            counts: vec![0; classes * classes],
            ignore_index: None,
            stray: StrayLabels::default(),
            ignored: 0,
        })
    }

    /// The same with pixels left out whose true label is `ignore_index`; it may be the number of a class.
    #[must_use]
    pub fn ignore_index(mut self, ignore_index: Option<i64>) -> ConfusionMatrix {
        self.ignore_index = ignore_index;
        self
    }

    /// The same with other true labels that are no classes treated as `stray` says.
    #[must_use]
    pub fn stray_labels(mut self, stray: StrayLabels) -> ConfusionMatrix {
        self.stray = stray;
        self
    }

    /// Counts pixels: `truth[i]` was taken for `predicted[i]`. Where `valid` is false (nodata) nothing is counted,
    /// whatever stands there.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for arrays of different lengths, or a label outside of
    /// the classes; then nothing of this call is counted.
    pub fn add<T: Copy + Into<i64>, P: Copy + Into<i64>>(
        &mut self,
        truth: &[T],
        predicted: &[P],
        valid: Option<&[bool]>,
    ) -> Result<()> {
        let lengths = (truth.len(), predicted.len(), valid.map_or(truth.len(), <[bool]>::len));
        if lengths.1 != lengths.0 || lengths.2 != lengths.0 {
            return Err(Error::invalid(format!(
                "confusion matrix: {} true labels, {} predicted ones, a mask of {}",
                lengths.0, lengths.1, lengths.2
            )));
        }
        let mut counts = vec![0_u64; self.counts.len()];
        let mut ignored = 0;
        for (position, (truth, predicted)) in truth.iter().zip(predicted).enumerate() {
            let truth: i64 = (*truth).into();
            if valid.is_some_and(|valid| !valid[position]) || self.ignore_index == Some(truth) {
                ignored += 1;
                continue;
            }
            let row = match self.class(truth) {
                Some(row) => row,
                None if self.stray == StrayLabels::Ignore => {
                    ignored += 1;
                    continue;
                }
                None => return Err(self.stray_label("true", truth, position)),
            };
            let predicted: i64 = (*predicted).into();
            let column =
                self.class(predicted).ok_or_else(|| self.stray_label("predicted", predicted, position))?;
            counts[row * self.classes + column] += 1;
        }
        self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        self.ignored += ignored;
        Ok(())
    }

    /// Adds the counts of `other`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if it has another number of classes.
    pub fn merge(&mut self, other: &ConfusionMatrix) -> Result<()> {
        if self.classes != other.classes {
            return Err(Error::invalid(format!(
                "confusion matrices of {} and {} classes",
                self.classes, other.classes
            )));
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.ignored += other.ignored;
        Ok(())
    }

    /// All counts back to zero, for the next epoch.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.ignored = 0;
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Pixels of class `truth` that were taken for class `predicted`; 0 for what is no class.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        if truth < self.classes && predicted < self.classes {
            self.counts[truth * self.classes + predicted]
        } else {
            0
        }
    }

    /// All counts, row by row: a row a true class, a column a predicted one.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Puts back counts taken from [`counts`](ConfusionMatrix::counts), for instance from a file of state.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if their number is not that of this matrix.
    pub fn set_counts(&mut self, counts: &[u64]) -> Result<()> {
        if counts.len() != self.counts.len() {
            return Err(Error::invalid(format!(
                "confusion matrix of {0} x {0} classes: got {1} counts",
                self.classes,
                counts.len()
            )));
        }
        self.counts.copy_from_slice(counts);
        Ok(())
    }

    /// Pixels that were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Pixels that were left out.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Pixels of class `class` that were taken for it.
    pub fn hits(&self, class: usize) -> u64 {
        self.count(class, class)
    }

    /// Pixels whose true class is `class`.
    pub fn support(&self, class: usize) -> u64 {
        (0..self.classes).map(|predicted| self.count(class, predicted)).sum()
    }

    /// Pixels that were taken for `class`.
    pub fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|truth| self.count(truth, class)).sum()
    }

    fn class(&self, label: i64) -> Option<usize> {
        usize::try_from(label).ok().filter(|class| *class < self.classes)
    }

    fn stray_label(&self, which: &str, label: i64, position: usize) -> Error {
        let ignored = self.ignore_index.map_or(String::new(), |index| format!(" or {index} (ignored)"));
        let ignored = if which == "true" { ignored.as_str() } else { "" };
        Error::invalid(format!(
            "{which} label {label} at pixel {position}: expected 0 to {}{ignored}",
            self.classes - 1
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_true_and_columns_predicted() {
        let mut matrix = ConfusionMatrix::new(3).unwrap().ignore_index(Some(255));
        let truth: [u8; 8] = [0, 0, 0, 1, 1, 2, 255, 1];
        let predicted: [u8; 8] = [0, 1, 1, 1, 0, 1, 1, 1];
        matrix.add(&truth, &predicted, None).unwrap();
        assert_eq!(matrix.counts(), [1, 2, 0, 1, 2, 0, 0, 1, 0]);
        assert_eq!((matrix.total(), matrix.ignored()), (7, 1));
        assert_eq!((matrix.support(0), matrix.predicted(1), matrix.hits(1)), (3, 5, 2));
        assert_eq!((matrix.count(1, 0), matrix.count(3, 0), matrix.count(0, 3)), (1, 0, 0));
        let mut other = ConfusionMatrix::new(3).unwrap();
        other.set_counts(matrix.counts()).unwrap();
        matrix.merge(&other).unwrap();
        assert_eq!((matrix.total(), matrix.count(0, 1)), (14, 4));
        matrix.clear();
        assert_eq!((matrix.total(), matrix.ignored()), (0, 0));
    }

    #[test]
    fn what_is_not_valid_is_not_looked_at() {
        let mut matrix = ConfusionMatrix::new(2).unwrap();
        matrix.add(&[0_i64, 9, 1], &[0_u16, 7, 1], Some(&[true, false, true])).unwrap();
        assert_eq!((matrix.counts(), matrix.ignored()), ([1, 0, 0, 1].as_slice(), 1));
    }

    #[test]
    fn stray_labels_are_refused_and_nothing_is_counted() {
        let message = |matrix: &mut ConfusionMatrix, truth: &[i32], predicted: &[i32]| {
            matrix.add(truth, predicted, None).unwrap_err().message().to_owned()
        };
        let mut matrix = ConfusionMatrix::new(2).unwrap().ignore_index(Some(-1));
        assert_eq!(
            message(&mut matrix, &[0, 2], &[0, 0]),
            "true label 2 at pixel 1: expected 0 to 1 or -1 (ignored)"
        );
        assert_eq!(message(&mut matrix, &[0], &[-1]), "predicted label -1 at pixel 0: expected 0 to 1");
        assert_eq!(
            message(&mut matrix, &[0], &[]),
            "confusion matrix: 1 true labels, 0 predicted ones, a mask of 1"
        );
        assert_eq!(matrix.total(), 0);
        let mut lenient = ConfusionMatrix::new(2).unwrap().stray_labels(StrayLabels::Ignore);
        lenient.add(&[0, 255, -7], &[1, 0, 0], None).unwrap();
        assert_eq!((lenient.counts(), lenient.ignored()), ([0, 1, 0, 0].as_slice(), 2));
        assert!(ConfusionMatrix::new(0).is_err() && ConfusionMatrix::new(65537).is_err());
        assert!(matrix.merge(&ConfusionMatrix::new(3).unwrap()).is_err());
        assert!(matrix.set_counts(&[1]).is_err());
    }
}
