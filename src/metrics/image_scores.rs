//! The scores of one image, class by class.

use crate::error::Result;
use crate::metrics::confusion::{ConfusionMatrix, StrayLabels};
use crate::metrics::number_text::fixed;
use crate::metrics::scores::{ClassScores, nan_mean};
use crate::metrics::surface::{SurfaceDistances, check, surface_distances};

/// How well one class of one image was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageScores {
    /// The class, from 1 on.
    pub class: usize,
    /// The Dice score: NaN if the class is neither there nor predicted, 0 if it is only one of the two.
    pub dice: f64,
    /// The distances; [`UNKNOWN`](SurfaceDistances::UNKNOWN) unless they were asked for.
    pub distances: SurfaceDistances,
}

/// The scores of the classes from 1 on (0 is background) in one image of `size` = height x width labels.
///
/// Pixels whose true label is `ignore_index` or, with `stray`, no class belong to no shape. The distances take much
/// longer than the rest and are computed only with a `spacing`: that of the pixels along y and x.
///
/// # Errors
/// Those of [`ConfusionMatrix::add`] and [`surface_distances`].
pub fn image_scores<T: Copy + Into<i64>, P: Copy + Into<i64>>(
    truth: &[T],
    predicted: &[P],
    size: [usize; 2],
    classes: usize,
    ignore_index: Option<i64>,
    stray: StrayLabels,
    spacing: Option<[f64; 2]>,
) -> Result<Vec<ImageScores>> {
    check(truth.len(), predicted.len(), size, spacing.unwrap_or([1.0, 1.0]))?;
    let mut matrix = ConfusionMatrix::new(classes)?.ignore_index(ignore_index).stray_labels(stray);
    matrix.add(truth, predicted, None)?;
    let counts: Vec<bool> = truth
        .iter()
        .map(|label| {
            let label: i64 = (*label).into();
            ignore_index != Some(label) && usize::try_from(label).is_ok_and(|label| label < classes)
        })
        .collect();
    (1..classes)
        .map(|class| {
            let scores =
                ClassScores::of_counts(matrix.hits(class), matrix.support(class), matrix.predicted(class));
            let is_class = |label: i64| usize::try_from(label) == Ok(class);
            let distances = match spacing {
                None => SurfaceDistances::UNKNOWN,
                Some(spacing) => {
                    let truth: Vec<bool> = truth
                        .iter()
                        .zip(&counts)
                        .map(|(label, counts)| *counts && is_class((*label).into()))
                        .collect();
                    let predicted: Vec<bool> = predicted
                        .iter()
                        .zip(&counts)
                        .map(|(label, counts)| *counts && is_class((*label).into()))
                        .collect();
                    surface_distances(&truth, &predicted, size, spacing)?
                }
            };
            Ok(ImageScores { class, dice: scores.dice, distances })
        })
        .collect()
}

/// The mean Dice score of an image's classes where it is not NaN; NaN if it is nowhere.
pub fn average_dice(scores: &[ImageScores]) -> f64 {
    nan_mean(scores.iter().map(|score| score.dice))
}

/// The mean over images of their [`average_dice`]: 0 without images, NaN if one image's is NaN.
#[allow(clippy::cast_precision_loss, reason = "no test has 2^53 images")]
pub fn mean_dice(averages: &[f64]) -> f64 {
    if averages.is_empty() { 0.0 } else { averages.iter().sum::<f64>() / averages.len() as f64 }
}

/// The line that a test's mean Dice score is logged with: `Mean Dice: 0.500000`.
pub fn mean_dice_message(mean: f64) -> String {
    format!("Mean Dice: {:>4}", fixed(mean, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_without_what_is_ignored() {
        let truth: [u8; 8] = [1, 0, 0, 255, 0, 2, 0, 255];
        let predicted: [u8; 8] = [1, 1, 0, 3, 0, 0, 0, 1];
        let of = |spacing| {
            image_scores(&truth, &predicted, [2, 4], 5, Some(255), StrayLabels::Refuse, spacing).unwrap()
        };
        let scores = of(Some([1.0, 2.0]));
        assert_eq!(scores.iter().map(|score| score.class).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(scores[0].dice, 2.0 / 3.0);
        assert_eq!(scores[0].distances, SurfaceDistances { hausdorff: 2.0, mean: 2.0 / 3.0 });
        assert_eq!((scores[1].dice, scores[1].distances), (0.0, SurfaceDistances::INFINITE));
        assert!(scores[2].dice.is_nan() && scores[2].distances.mean.is_nan(), "only where nothing is known");
        assert_eq!(average_dice(&scores), 1.0 / 3.0);
        let without = of(None);
        assert!(without[0].distances.hausdorff.is_nan() && without[0].dice == scores[0].dice);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let of = |truth: &[u8], stray| image_scores(truth, &[0_u8, 0], [1, 2], 2, None, stray, None);
        assert!(of(&[0], StrayLabels::Refuse).is_err());
        assert!(of(&[0, 7], StrayLabels::Refuse).is_err());
        assert_eq!(of(&[0, 7], StrayLabels::Ignore).unwrap().len(), 1);
    }

    #[test]
    fn the_mean_over_images() {
        assert!(average_dice(&[]).is_nan() && mean_dice(&[0.5, f64::NAN]).is_nan());
        assert_eq!((mean_dice(&[]), mean_dice(&[0.5, 1.0])), (0.0, 0.75));
        // Python's f"{x:4f}".
        assert_eq!(mean_dice_message(0.5), "Mean Dice: 0.500000");
        assert_eq!(mean_dice_message(f64::NAN), "Mean Dice:  nan");
    }
}
