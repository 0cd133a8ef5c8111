//! The stream of events.

use crate::hooks::list::hooks;

hooks! {
    /// What happens in a run, in the order in which it happens.
    ///
    /// ```text
    /// fit       train_start | resume
    ///           for every epoch:  epoch_start
    ///             for every batch:  batch_start forward_start backward_start backward_end
    ///                               [optimizer_step_start optimizer_step_end] batch_end
    ///             batches_end
    ///             [validation_start
    ///               for every batch:  batch_start evaluation_start metrics_start metrics_end batch_end
    ///             evaluation_batches_end validation_end]
    ///             epoch_metrics  checkpoint_save (for every checkpoint)  epoch_end
    ///           train_end
    /// validate  validate_start, batches as in a validation, validate_end
    /// test      test_start, likewise, test_end
    /// predict   predict_start, for every batch: batch_start prediction_start prediction_end batch_end, predict_end
    /// infer     inference_start, for every split as in predict, inference_end
    /// ```
    ///
    /// `checkpoint_load` comes before weights are applied, `exception` wherever a run ends with an error.
    enum Event;

    /// What is to happen at certain points of a run: a method for every [`Event`], all of them empty by default.
    ///
    /// Callbacks are called in the order in which they were added, on the thread that trains. An error ends the run:
    /// [`exception`](Callback::exception) of every callback, then the error goes on to the caller.
    trait Callback;

    /// The trainer has been made.
    TrainerInit = 1, trainer_init;
    /// Training begins.
    TrainStart = 2, train_start;
    /// Training goes on from a checkpoint, in place of [`TrainStart`](Event::TrainStart).
    Resume = 3, resume;
    /// An epoch begins.
    EpochStart = 4, epoch_start;
    /// A batch is there: of training, validation, test or prediction ([`TrainerState::phase`](crate::hooks::TrainerState)).
    BatchStart = 5, batch_start;
    /// Loss and gradients are about to be computed.
    ForwardStart = 6, forward_start;
    /// The loss is known. (Loss and gradients are one run: the gradients are there too.)
    BackwardStart = 7, backward_start;
    /// The gradients are known.
    BackwardEnd = 8, backward_end;
    /// The weights are about to be changed, which [`Context::veto`](crate::hooks::Context::veto) prevents.
    OptimizerStepStart = 9, optimizer_step_start;
    /// The weights have been changed.
    OptimizerStepEnd = 10, optimizer_step_end;
    /// The batch is done.
    BatchEnd = 11, batch_end;
    /// All training batches of the epoch are done.
    BatchesEnd = 12, batches_end;
    /// A validation within training begins.
    ValidationStart = 13, validation_start;
    /// A batch is about to be evaluated.
    EvaluationStart = 14, evaluation_start;
    /// Logits are there, metrics are about to be computed.
    MetricsStart = 15, metrics_start;
    /// Metrics of the batch are computed.
    MetricsEnd = 16, metrics_end;
    /// All batches of a validation or test are done; random numbers go on as if it had not been.
    EvaluationBatchesEnd = 17, evaluation_batches_end;
    /// The validation is done and its metrics are known.
    ValidationEnd = 18, validation_end;
    /// The metrics of the epoch's training are known.
    EpochMetrics = 19, epoch_metrics;
    /// A checkpoint is about to be written.
    CheckpointSave = 20, checkpoint_save;
    /// The epoch is done.
    EpochEnd = 21, epoch_end;
    /// Training is done.
    TrainEnd = 22, train_end;
    /// A validation by itself begins.
    ValidateStart = 23, validate_start;
    /// It is done.
    ValidateEnd = 24, validate_end;
    /// A test begins.
    TestStart = 25, test_start;
    /// It is done.
    TestEnd = 26, test_end;
    /// A prediction begins.
    PredictStart = 27, predict_start;
    /// A batch is about to be predicted.
    PredictionStart = 28, prediction_start;
    /// Its logits are there.
    PredictionEnd = 29, prediction_end;
    /// The prediction is done.
    PredictEnd = 30, predict_end;
    /// A checkpoint has been read and is about to be applied.
    CheckpointLoad = 31, checkpoint_load;
    /// The run ends with an error: [`Context::error`](crate::hooks::Context::error).
    Exception = 32, exception;
    /// Predictions over one or several splits begin ([`TrainerState::split`](crate::hooks::TrainerState)).
    InferenceStart = 33, inference_start;
    /// They are done.
    InferenceEnd = 34, inference_end;
}
