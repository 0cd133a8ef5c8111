//! The column names of the training side's CSV files (`LoggingColumns`, `MetricsFileColumns`).

use crate::metrics::metric_type;

/// Which part of the data: `Train`, `Val`, `Test`.
pub const DATA_SPLIT: &str = "data_split";
/// The subject (image).
pub const SUBJECT: &str = "subject";
/// The target that is predicted.
pub const PREDICTION_TARGET: &str = "prediction_target";
/// The structure (class).
pub const STRUCTURE: &str = "structure";
/// Dice score.
pub const DICE: &str = "dice";
/// Hausdorff distance.
pub const HAUSDORFF_DISTANCE_MM: &str = "HausdorffDistanceMM";
/// The epoch.
pub const EPOCH: &str = "epoch";
/// Where the data comes from.
pub const INSTITUTION: &str = "institutionId";
/// The series.
pub const SERIES: &str = "seriesId";
/// Free tags.
pub const TAGS: &str = "tags";
/// Accuracy at the threshold 0.5.
pub const ACCURACY_AT_THRESHOLD_05: &str = "accuracy_at_threshold_05";
/// The loss.
pub const LOSS: &str = "loss";
/// Cross entropy.
pub const CROSS_ENTROPY: &str = "cross_entropy";
/// Area under the ROC curve.
pub const AREA_UNDER_ROC_CURVE: &str = "area_under_roc_curve";
/// Area under the precision-recall curve.
pub const AREA_UNDER_PR_CURVE: &str = "area_under_pr_curve";
/// Which fold of a cross validation; [`DEFAULT_CROSS_VALIDATION_SPLIT_INDEX`] outside of one.
pub const CROSS_VALIDATION_SPLIT_INDEX: &str = "cross_validation_split_index";
/// What the model said.
pub const MODEL_OUTPUT: &str = "model_output";
/// What is true.
pub const LABEL: &str = "label";
/// Number of subjects.
pub const SUBJECT_COUNT: &str = "subject_count";
/// The part of the data in files over several parts.
pub const MODEL_EXECUTION_MODE: &str = "model_execution_mode";
/// Mean absolute error.
pub const MEAN_ABSOLUTE_ERROR: &str = "mean_absolute_error";
/// Mean squared error.
pub const MEAN_SQUARED_ERROR: &str = "mean_squared_error";
/// The learning rate; an ordinary column, unlike [`LEARNING_RATE`](metric_type::LEARNING_RATE).
pub const LEARNING_RATE: &str = "learning_rate";
/// Explained variance.
pub const EXPLAINED_VARIANCE: &str = "explained_variance";
/// Number of parameters that are trained.
pub const NUM_TRAINABLE_PARAMETERS: &str = "num_trainable_parameters";
/// Accuracy at the optimal threshold.
pub const ACCURACY_AT_OPTIMAL_THRESHOLD: &str = "accuracy_at_optimal_threshold";
/// The optimal threshold.
pub const OPTIMAL_THRESHOLD: &str = "optimal_threshold";
/// False positive rate at the optimal threshold.
pub const FALSE_POSITIVE_RATE_AT_OPTIMAL_THRESHOLD: &str = "false_positive_rate_at_optimal_threshold";
/// False negative rate at the optimal threshold.
pub const FALSE_NEGATIVE_RATE_AT_OPTIMAL_THRESHOLD: &str = "false_negative_rate_at_optimal_threshold";
/// Length of a sequence.
pub const SEQUENCE_LENGTH: &str = "sequence_length";
/// Seconds an epoch (up to release 0.3).
pub const SECONDS_PER_EPOCH: &str = "seconds_per_epoch";
/// Seconds a batch (up to release 0.3).
pub const SECONDS_PER_BATCH: &str = "seconds_per_batch";

/// The fold of a run that is no part of a cross validation.
pub const DEFAULT_CROSS_VALIDATION_SPLIT_INDEX: i64 = -1;

/// The column of a metric that has one of its own, by the metric's name ([`metric_type`]).
///
/// Dice, distances, pixel counts and patch centres have none: they keep their names.
pub fn column_of(metric: &str) -> Option<&'static str> {
    Some(match metric {
        metric_type::LOSS => LOSS,
        metric_type::ACCURACY_AT_THRESHOLD_05 => ACCURACY_AT_THRESHOLD_05,
        metric_type::CROSS_ENTROPY => CROSS_ENTROPY,
        metric_type::AREA_UNDER_ROC_CURVE => AREA_UNDER_ROC_CURVE,
        metric_type::AREA_UNDER_PR_CURVE => AREA_UNDER_PR_CURVE,
        metric_type::SUBJECT_COUNT => SUBJECT_COUNT,
        metric_type::MEAN_SQUARED_ERROR => MEAN_SQUARED_ERROR,
        metric_type::MEAN_ABSOLUTE_ERROR => MEAN_ABSOLUTE_ERROR,
        metric_type::EXPLAINED_VAR => EXPLAINED_VARIANCE,
        metric_type::LEARNING_RATE => LEARNING_RATE,
        metric_type::ACCURACY_AT_OPTIMAL_THRESHOLD => ACCURACY_AT_OPTIMAL_THRESHOLD,
        metric_type::OPTIMAL_THRESHOLD => OPTIMAL_THRESHOLD,
        metric_type::FALSE_POSITIVE_RATE_AT_OPTIMAL_THRESHOLD => FALSE_POSITIVE_RATE_AT_OPTIMAL_THRESHOLD,
        metric_type::FALSE_NEGATIVE_RATE_AT_OPTIMAL_THRESHOLD => FALSE_NEGATIVE_RATE_AT_OPTIMAL_THRESHOLD,
        _ => return None,
    })
}

/// Columns of the segmentation file `metrics.csv`, in order.
pub const PER_IMAGE: [&str; 5] = ["Patient", "Structure", "Dice", "HausdorffDistance_mm", "MeanDistance_mm"];

/// Columns of the training time file `metrics.csv` of scalar models, in order.
pub const PER_SUBJECT_TRAINING: [&str; 7] =
    [EPOCH, SUBJECT, PREDICTION_TARGET, MODEL_OUTPUT, LABEL, DATA_SPLIT, CROSS_VALIDATION_SPLIT_INDEX];

/// Columns of the file `metrics.csv` that inference with scalar models writes, in order.
pub const PER_SUBJECT_INFERENCE: [&str; 7] =
    [PREDICTION_TARGET, SUBJECT, MODEL_OUTPUT, LABEL, EPOCH, CROSS_VALIDATION_SPLIT_INDEX, DATA_SPLIT];

/// Columns of the file `model_outputs.csv`, in order.
pub const MODEL_OUTPUTS: [&str; 5] =
    [SUBJECT, PREDICTION_TARGET, LABEL, MODEL_OUTPUT, CROSS_VALIDATION_SPLIT_INDEX];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fourteen_metrics_have_a_column() {
        let named = [
            metric_type::LOSS,
            metric_type::CROSS_ENTROPY,
            metric_type::ACCURACY_AT_THRESHOLD_05,
            metric_type::ACCURACY_AT_OPTIMAL_THRESHOLD,
            metric_type::AREA_UNDER_ROC_CURVE,
            metric_type::AREA_UNDER_PR_CURVE,
            metric_type::OPTIMAL_THRESHOLD,
            metric_type::FALSE_POSITIVE_RATE_AT_OPTIMAL_THRESHOLD,
            metric_type::FALSE_NEGATIVE_RATE_AT_OPTIMAL_THRESHOLD,
            metric_type::MEAN_ABSOLUTE_ERROR,
            metric_type::MEAN_SQUARED_ERROR,
            metric_type::EXPLAINED_VAR,
            metric_type::SUBJECT_COUNT,
            metric_type::LEARNING_RATE,
        ];
        let columns: std::collections::BTreeSet<_> = named.map(|name| column_of(name).unwrap()).into();
        assert_eq!(columns.len(), 14);
        for name in [metric_type::DICE, metric_type::VOXEL_COUNT, metric_type::SECONDS_PER_EPOCH, "loss", ""]
        {
            assert_eq!(column_of(name), None);
        }
        assert_eq!(column_of("AreaUnderPRCurve"), Some("area_under_pr_curve"));
    }
}
