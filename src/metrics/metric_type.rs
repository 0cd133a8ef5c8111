//! The names of metrics inside a training run (`MetricType`), as they stand in logs before they become columns.

/// The loss.
pub const LOSS: &str = "Loss";
/// Cross entropy.
pub const CROSS_ENTROPY: &str = "CrossEntropy";
/// Accuracy at the threshold 0.5.
pub const ACCURACY_AT_THRESHOLD_05: &str = "AccuracyAtThreshold05";
/// Accuracy at the optimal threshold.
pub const ACCURACY_AT_OPTIMAL_THRESHOLD: &str = "AccuracyAtOptimalThreshold";
/// Dice score.
pub const DICE: &str = "Dice";
/// Hausdorff distance in millimetres.
pub const HAUSDORFF_MM: &str = "HausdorffDistance_millimeters";
/// Mean surface distance in millimetres.
pub const MEAN_SURFACE_DIST_MM: &str = "MeanSurfaceDistance_millimeters";
/// Number of pixels of a class.
pub const VOXEL_COUNT: &str = "VoxelCount";
/// Share of foreground pixels.
pub const PROPORTION_FOREGROUND_VOXELS: &str = "ProportionForegroundVoxels";
/// Centre of a patch.
pub const PATCH_CENTER: &str = "PatchCenter";
/// Area under the ROC curve.
pub const AREA_UNDER_ROC_CURVE: &str = "AreaUnderRocCurve";
/// Area under the precision-recall curve.
pub const AREA_UNDER_PR_CURVE: &str = "AreaUnderPRCurve";
/// The optimal threshold itself.
pub const OPTIMAL_THRESHOLD: &str = "OptimalThreshold";
/// False positive rate at the optimal threshold.
pub const FALSE_POSITIVE_RATE_AT_OPTIMAL_THRESHOLD: &str = "FalsePositiveRateAtOptimalThreshold";
/// False negative rate at the optimal threshold.
pub const FALSE_NEGATIVE_RATE_AT_OPTIMAL_THRESHOLD: &str = "FalseNegativeRateAtOptimalThreshold";
/// Mean absolute error.
pub const MEAN_ABSOLUTE_ERROR: &str = "MeanAbsoluteError";
/// Mean squared error.
pub const MEAN_SQUARED_ERROR: &str = "MeanSquaredError";
/// Explained variance.
pub const EXPLAINED_VAR: &str = "ExplainedVariance";
/// Number of subjects.
pub const SUBJECT_COUNT: &str = "SubjectCount";
/// The learning rate.
pub const LEARNING_RATE: &str = "LearningRate";
/// Seconds a batch, loading included (up to release 0.3).
pub const SECONDS_PER_BATCH: &str = "SecondsPerBatch";
/// Seconds an epoch (up to release 0.3).
pub const SECONDS_PER_EPOCH: &str = "SecondsPerEpoch";

/// What stands before the name of a metric of training data in the logs.
pub const TRAIN_PREFIX: &str = "train/";
/// What stands before the name of a metric of validation data.
pub const VALIDATION_PREFIX: &str = "val/";
/// The hue of the mean over foreground classes: `Dice/AverageAcrossStructures`.
pub const AVERAGE_DICE_SUFFIX: &str = "AverageAcrossStructures";
/// The hue of metrics that have no other.
pub const DEFAULT_HUE: &str = "Default";

/// The hue of a position in a sequence: `Seq_pos 07`.
pub fn sequence_hue(position: u32) -> String {
    format!("Seq_pos {position:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_positions_have_two_digits() {
        assert_eq!((sequence_hue(7), sequence_hue(112)), ("Seq_pos 07".to_owned(), "Seq_pos 112".to_owned()));
    }
}
