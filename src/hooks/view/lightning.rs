//! PyTorch Lightning's hooks, as InnerEye uses them.

use crate::error::Result;
use crate::hooks::list::{hooks, of_hooks};
use crate::hooks::{Callback, Context, Event, Phase};

hooks! {
    /// Lightning's hooks that a fit, a validation, a test or a prediction calls.
    enum LightningHook;

    /// The hooks of a `LightningModule` and its callbacks: a method for each, all of them empty by default.
    ///
    /// `training_step`, `validation_step`, `test_step`, `predict_step` and `configure_optimizers` are what glebe does itself:
    /// the methods are called where Lightning would call yours. Epochs in the context count from 1, Lightning's
    /// `current_epoch` from 0.
    trait LightningHooks;

    /// The optimizers are chosen.
    ConfigureOptimizers = 1, configure_optimizers;
    /// A fit begins.
    OnFitStart = 2, on_fit_start;
    /// Before the first epoch.
    OnPretrainRoutineStart = 3, on_pretrain_routine_start;
    /// Likewise.
    OnPretrainRoutineEnd = 4, on_pretrain_routine_end;
    /// The training data are asked for.
    TrainDataloader = 5, train_dataloader;
    /// The validation data are asked for.
    ValDataloader = 6, val_dataloader;
    /// Training begins.
    OnTrainStart = 7, on_train_start;
    /// An epoch begins: of training, and of validation and test too.
    OnEpochStart = 8, on_epoch_start;
    /// An epoch of training begins.
    OnTrainEpochStart = 9, on_train_epoch_start;
    /// A training batch is there.
    OnTrainBatchStart = 10, on_train_batch_start;
    /// The loss is computed.
    TrainingStep = 11, training_step;
    /// Gradients are set to zero: with the first batch of every update.
    OnBeforeZeroGrad = 12, on_before_zero_grad;
    /// The loss is known. Not in the order of 1.2.8.
    OnBeforeBackward = 13, on_before_backward;
    /// The gradients are known.
    OnAfterBackward = 14, on_after_backward;
    /// The weights are about to be changed. Not in the order of 1.2.8.
    OnBeforeOptimizerStep = 15, on_before_optimizer_step;
    /// A training batch is done.
    OnTrainBatchEnd = 16, on_train_batch_end;
    /// The model is put into evaluation mode.
    OnValidationModelEval = 17, on_validation_model_eval;
    /// A validation begins.
    OnValidationStart = 18, on_validation_start;
    /// Its only epoch begins; InnerEye keeps the random numbers here and seeds anew.
    OnValidationEpochStart = 19, on_validation_epoch_start;
    /// A validation batch is there.
    OnValidationBatchStart = 20, on_validation_batch_start;
    /// It is evaluated.
    ValidationStep = 21, validation_step;
    /// It is done.
    OnValidationBatchEnd = 22, on_validation_batch_end;
    /// All of them are done; InnerEye gives the random numbers back here.
    ValidationEpochEnd = 23, validation_epoch_end;
    /// Likewise.
    OnValidationEpochEnd = 24, on_validation_epoch_end;
    /// An epoch ends: of training, and of validation and test too.
    OnEpochEnd = 25, on_epoch_end;
    /// The logger gets the metrics of the epoch that ended.
    LogMetrics = 26, log_metrics;
    /// A validation is done.
    OnValidationEnd = 27, on_validation_end;
    /// The model is put into training mode.
    OnValidationModelTrain = 28, on_validation_model_train;
    /// The epoch's outputs are there; InnerEye writes the row of the epoch before here.
    TrainingEpochEnd = 29, training_epoch_end;
    /// A checkpoint is about to be written.
    OnSaveCheckpoint = 30, on_save_checkpoint;
    /// An epoch of training ends.
    OnTrainEpochEnd = 31, on_train_epoch_end;
    /// Training is done; InnerEye writes the last row here.
    OnTrainEnd = 32, on_train_end;
    /// The fit is done.
    OnFitEnd = 33, on_fit_end;
    /// A checkpoint has been read and is about to be applied.
    OnLoadCheckpoint = 34, on_load_checkpoint;
    /// The model is put into evaluation mode for a test.
    OnTestModelEval = 35, on_test_model_eval;
    /// A test begins.
    OnTestStart = 36, on_test_start;
    /// Its only epoch begins.
    OnTestEpochStart = 37, on_test_epoch_start;
    /// A test batch is there.
    OnTestBatchStart = 38, on_test_batch_start;
    /// It is evaluated.
    TestStep = 39, test_step;
    /// It is done.
    OnTestBatchEnd = 40, on_test_batch_end;
    /// All of them are done.
    TestEpochEnd = 41, test_epoch_end;
    /// Likewise.
    OnTestEpochEnd = 42, on_test_epoch_end;
    /// A test is done.
    OnTestEnd = 43, on_test_end;
    /// The model is put into training mode again.
    OnTestModelTrain = 44, on_test_model_train;
    /// A prediction begins.
    OnPredictStart = 45, on_predict_start;
    /// A batch to be predicted is there.
    OnPredictBatchStart = 46, on_predict_batch_start;
    /// It is predicted.
    PredictStep = 47, predict_step;
    /// It is done.
    OnPredictBatchEnd = 48, on_predict_batch_end;
    /// A prediction is done.
    OnPredictEnd = 49, on_predict_end;
    /// The run ends with an error.
    OnException = 50, on_exception;
}

/// Whose order the hooks are called in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LightningOrder {
    /// Lightning 1.6.5: validation lies within the training epoch, whose ends come after it.
    #[default]
    V1_6,
    /// Lightning 1.2.8 (InnerEye 0.3): the training epoch ends before the validation, and `training_epoch_end` comes last of
    /// its ends.
    V1_2,
}

/// Calls Lightning's hooks.
#[derive(Debug)]
pub struct Lightning<H> {
    hooks: H,
    order: LightningOrder,
    /// Whether gradients wait: the next batch is not the first of an update.
    waiting: bool,
    /// Whether the end of a validation is still to be told (1.2.8: after the checkpoints).
    held: bool,
    /// Whether a fit that goes on still waits for its checkpoint.
    resuming: bool,
}

impl<H: LightningHooks> Lightning<H> {
    /// A view for these hooks in the order of 1.6.5.
    pub fn new(hooks: H) -> Lightning<H> {
        Lightning::in_order(hooks, LightningOrder::default())
    }

    /// A view for these hooks in some order.
    pub fn in_order(hooks: H, order: LightningOrder) -> Lightning<H> {
        Lightning { hooks, order, waiting: false, held: false, resuming: false }
    }

    fn hooks_of(&mut self, event: Event, phase: Phase) -> Vec<LightningHook> {
        use LightningHook as To;
        let is_old = self.order == LightningOrder::V1_2;
        match event {
            Event::TrainStart => {
                self.forget();
                self.beginning(false)
            }
            Event::Resume => {
                self.forget();
                self.resuming = true;
                Vec::new()
            }
            Event::CheckpointLoad if std::mem::take(&mut self.resuming) => self.beginning(true),
            Event::CheckpointLoad => vec![To::OnLoadCheckpoint],
            Event::EpochStart => vec![To::OnEpochStart, To::OnTrainEpochStart],
            Event::BatchStart => match phase {
                Phase::Train => vec![To::OnTrainBatchStart],
                Phase::Test => vec![To::OnTestBatchStart],
                Phase::Predict => vec![To::OnPredictBatchStart],
                _ => vec![To::OnValidationBatchStart],
            },
            Event::ForwardStart => vec![To::TrainingStep],
            Event::BackwardStart => {
                let mut all = Vec::new();
                if !std::mem::replace(&mut self.waiting, true) {
                    all.push(To::OnBeforeZeroGrad);
                }
                if !is_old {
                    all.push(To::OnBeforeBackward);
                }
                all
            }
            Event::BackwardEnd => vec![To::OnAfterBackward],
            Event::OptimizerStepStart => {
                self.waiting = false;
                if is_old { Vec::new() } else { vec![To::OnBeforeOptimizerStep] }
            }
            Event::BatchEnd => match phase {
                Phase::Train => vec![To::OnTrainBatchEnd],
                Phase::Test => vec![To::OnTestBatchEnd],
                Phase::Predict => vec![To::OnPredictBatchEnd],
                _ => vec![To::OnValidationBatchEnd],
            },
            Event::BatchesEnd if is_old => {
                vec![To::OnTrainEpochEnd, To::OnEpochEnd, To::TrainingEpochEnd, To::LogMetrics]
            }
            Event::ValidationStart | Event::ValidateStart => vec![
                To::OnValidationModelEval,
                To::OnValidationStart,
                To::OnEpochStart,
                To::OnValidationEpochStart,
            ],
            Event::EvaluationStart if phase == Phase::Test => vec![To::TestStep],
            Event::EvaluationStart => vec![To::ValidationStep],
            Event::EvaluationBatchesEnd if phase == Phase::Test => vec![To::TestEpochEnd],
            Event::EvaluationBatchesEnd => vec![To::ValidationEpochEnd],
            Event::ValidationEnd if is_old => {
                self.held = true;
                vec![To::OnValidationEpochEnd, To::OnEpochEnd]
            }
            Event::ValidationEnd | Event::ValidateEnd => vec![
                To::OnValidationEpochEnd,
                To::OnEpochEnd,
                To::LogMetrics,
                To::OnValidationEnd,
                To::OnValidationModelTrain,
            ],
            Event::EpochMetrics if !is_old => vec![To::TrainingEpochEnd],
            Event::CheckpointSave => vec![To::OnSaveCheckpoint],
            Event::EpochEnd if !is_old => vec![To::OnTrainEpochEnd, To::OnEpochEnd, To::LogMetrics],
            Event::EpochEnd if std::mem::take(&mut self.held) => {
                vec![To::OnValidationEnd, To::LogMetrics, To::OnValidationModelTrain]
            }
            Event::TrainEnd => vec![To::OnTrainEnd, To::OnFitEnd],
            Event::TestStart => {
                vec![To::OnTestModelEval, To::OnTestStart, To::OnEpochStart, To::OnTestEpochStart]
            }
            Event::TestEnd => {
                vec![To::OnTestEpochEnd, To::OnEpochEnd, To::LogMetrics, To::OnTestEnd, To::OnTestModelTrain]
            }
            Event::PredictStart => vec![To::OnPredictStart],
            Event::PredictionStart => vec![To::PredictStep],
            Event::PredictEnd => vec![To::OnPredictEnd],
            Event::Exception => {
                self.forget();
                vec![To::OnException]
            }
            _ => Vec::new(),
        }
    }

    /// What was left open when a run ended is no matter of the next.
    fn forget(&mut self) {
        (self.waiting, self.held, self.resuming) = (false, false, false);
    }

    /// What comes before the first epoch. A checkpoint is restored before everything else, in 1.2.8 within the routine
    /// before training.
    fn beginning(&self, with_checkpoint: bool) -> Vec<LightningHook> {
        use LightningHook as To;
        let mut all = vec![
            To::ConfigureOptimizers,
            To::OnFitStart,
            To::OnPretrainRoutineStart,
            To::OnPretrainRoutineEnd,
            To::TrainDataloader,
            To::ValDataloader,
            To::OnTrainStart,
        ];
        if with_checkpoint {
            let at = if self.order == LightningOrder::V1_2 { 3 } else { 0 };
            all.insert(at, To::OnLoadCheckpoint);
        }
        all
    }
}

impl<H: LightningHooks> Callback for Lightning<H> {
    fn dispatch(&mut self, event: Event, context: &mut Context<'_>) -> Result<()> {
        let hooks = self.hooks_of(event, context.state.phase);
        hooks.into_iter().try_for_each(|hook| self.hooks.dispatch(hook, context))
    }

    of_hooks!();
}
