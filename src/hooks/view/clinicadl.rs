//! ClinicaDL's callbacks.

use crate::error::Result;
use crate::hooks::list::{hooks, of_hooks};
use crate::hooks::{Callback, Context, Event, Phase};

hooks! {
    /// The events of `clinicadl.callbacks.Callback` (2025).
    enum ClinicaDlHook;

    /// `clinicadl.callbacks.Callback`: a method for every event, all of them empty by default.
    ///
    /// There is no `on_forward_step_end` and no `on_evaluation_step_end`: the start of what follows stands for them.
    /// Epochs and batches count from 1. The objects that ClinicaDL passes are in the context.
    trait ClinicaDlHooks;

    /// The trainer has been made.
    OnTrainerInit = 1, on_trainer_init;
    /// A run ends with an error.
    OnException = 2, on_exception;
    /// Training begins.
    OnTrainStart = 3, on_train_start;
    /// Training goes on, in place of `on_train_start`; the checkpoint is not yet loaded.
    OnResume = 4, on_resume;
    /// Training is done.
    OnTrainEnd = 5, on_train_end;
    /// An epoch begins.
    OnEpochStart = 6, on_epoch_start;
    /// An epoch is done.
    OnEpochEnd = 7, on_epoch_end;
    /// A batch is there.
    OnBatchStart = 8, on_batch_start;
    /// A batch is done.
    OnBatchEnd = 9, on_batch_end;
    /// The forward pass begins.
    OnForwardStepStart = 10, on_forward_step_start;
    /// The loss is known.
    OnBackwardStepStart = 11, on_backward_step_start;
    /// The gradients are known.
    OnBackwardStepEnd = 12, on_backward_step_end;
    /// The weights are about to be changed.
    OnOptimizationStepStart = 13, on_optimization_step_start;
    /// The weights have been changed.
    OnOptimizationStepEnd = 14, on_optimization_step_end;
    /// A validation within training begins.
    OnValidationStart = 15, on_validation_start;
    /// It is done.
    OnValidationEnd = 16, on_validation_end;
    /// A batch is about to be evaluated.
    OnEvaluationStepStart = 17, on_evaluation_step_start;
    /// The output is there.
    OnMetricsComputationStart = 18, on_metrics_computation_start;
    /// The metrics of the batch are there.
    OnMetricsComputationEnd = 19, on_metrics_computation_end;
    /// A validation by itself begins.
    OnValidateStart = 20, on_validate_start;
    /// It is done.
    OnValidateEnd = 21, on_validate_end;
    /// A test begins.
    OnTestStart = 22, on_test_start;
    /// It is done.
    OnTestEnd = 23, on_test_end;
    /// A prediction begins.
    OnPredictStart = 24, on_predict_start;
    /// A batch is about to be predicted.
    OnPredictionStepStart = 25, on_prediction_step_start;
    /// Its output is there.
    OnPredictionStepEnd = 26, on_prediction_step_end;
    /// A prediction is done.
    OnPredictEnd = 27, on_predict_end;
}

/// Calls ClinicaDL's hooks: one for one, as that is the stream it was drawn from.
#[derive(Debug)]
pub struct ClinicaDl<H> {
    hooks: H,
}

impl<H: ClinicaDlHooks> ClinicaDl<H> {
    /// A view for these hooks.
    pub fn new(hooks: H) -> ClinicaDl<H> {
        ClinicaDl { hooks }
    }

    fn hook(event: Event, phase: Phase) -> Option<ClinicaDlHook> {
        use ClinicaDlHook as To;
        Some(match event {
            Event::TrainerInit => To::OnTrainerInit,
            Event::TrainStart => To::OnTrainStart,
            Event::Resume => To::OnResume,
            Event::EpochStart => To::OnEpochStart,
            Event::BatchStart => To::OnBatchStart,
            Event::ForwardStart => To::OnForwardStepStart,
            Event::BackwardStart => To::OnBackwardStepStart,
            Event::BackwardEnd => To::OnBackwardStepEnd,
            Event::OptimizerStepStart => To::OnOptimizationStepStart,
            Event::OptimizerStepEnd => To::OnOptimizationStepEnd,
            Event::BatchEnd => To::OnBatchEnd,
            Event::ValidationStart => To::OnValidationStart,
            Event::ValidationEnd => To::OnValidationEnd,
            Event::EvaluationStart => To::OnEvaluationStepStart,
            Event::MetricsStart => To::OnMetricsComputationStart,
            Event::MetricsEnd => To::OnMetricsComputationEnd,
            Event::EpochEnd => To::OnEpochEnd,
            Event::TrainEnd => To::OnTrainEnd,
            Event::ValidateStart => To::OnValidateStart,
            Event::ValidateEnd => To::OnValidateEnd,
            Event::TestStart => To::OnTestStart,
            Event::TestEnd => To::OnTestEnd,
            Event::PredictStart => To::OnPredictStart,
            Event::PredictionStart if phase == Phase::Predict => To::OnPredictionStepStart,
            Event::PredictionEnd if phase == Phase::Predict => To::OnPredictionStepEnd,
            Event::PredictEnd => To::OnPredictEnd,
            Event::Exception => To::OnException,
            _ => return None,
        })
    }
}

impl<H: ClinicaDlHooks> Callback for ClinicaDl<H> {
    fn dispatch(&mut self, event: Event, context: &mut Context<'_>) -> Result<()> {
        match ClinicaDl::<H>::hook(event, context.state.phase) {
            Some(hook) => self.hooks.dispatch(hook, context),
            None => Ok(()),
        }
    }

    of_hooks!();
}
