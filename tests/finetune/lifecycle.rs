//! The order of events, under the names of every system: 2 epochs of 2 training batches and 1 validation batch. The
//! expected sequences are those of the systems' own documents and of runs of them.

use std::sync::{Arc, Mutex};

use glebe::finetune::{ArrayLoader, FitOptions, Loader, Tail, Trainer};
use glebe::hooks::view::{
    ClinicaDl, ClinicaDlHook, ClinicaDlHooks, Delira, DeliraArguments, DeliraHooks, InnerEyeInference,
    InnerEyeInferenceHook, InnerEyeInferenceHooks, Lightning, LightningHook, LightningHooks, LightningOrder,
};
use glebe::hooks::{Callback, Callbacks, Context, Event, Split};
use glebe::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use crate::fixtures::{Arrays, BATCH, SIZE, build, engines, options};
use crate::schedules::Rates;

pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// Notes the name of every hook.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Log);

impl Recorder {
    pub(crate) fn note(&self, name: impl ToString) {
        self.0.lock().unwrap().push(name.to_string());
    }

    pub(crate) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Callback for Recorder {
    fn dispatch(&mut self, event: Event, _: &mut Context<'_>) -> Result<()> {
        self.note(event);
        Ok(())
    }
}

impl ClinicaDlHooks for Recorder {
    fn dispatch(&mut self, hook: ClinicaDlHook, _: &mut Context<'_>) -> Result<()> {
        self.note(hook);
        Ok(())
    }
}

impl LightningHooks for Recorder {
    fn dispatch(&mut self, hook: LightningHook, _: &mut Context<'_>) -> Result<()> {
        self.note(hook);
        Ok(())
    }
}

impl InnerEyeInferenceHooks for Recorder {
    fn dispatch(&mut self, hook: InnerEyeInferenceHook, context: &mut Context<'_>) -> Result<()> {
        let split = context.state.split.map_or("", Split::name);
        self.note(format!("{hook} {split}").trim_end());
        Ok(())
    }
}

pub(crate) fn loader(batches: usize, seed: u64) -> ArrayLoader {
    let all: Vec<Arrays> = (0..batches as u64).map(|index| Arrays::new(seed + index)).collect();
    let images = all.iter().flat_map(|own| own.images.clone()).collect();
    let labels = all.iter().flat_map(|own| own.labels.clone()).collect();
    ArrayLoader::new(images, labels, BATCH, 3 * SIZE * SIZE, SIZE * SIZE).unwrap()
}

pub(crate) fn trainer(options_of: FitOptions, callbacks: Callbacks) -> Trainer {
    Trainer::new(build(&options(), &engines()[0]), options_of, callbacks).unwrap()
}

/// A fit of 2 epochs with a callback of some view.
fn fit(callback: impl Callback + 'static, change: impl FnOnce(&mut FitOptions)) -> Result<Trainer> {
    let mut callbacks = Callbacks::new();
    callbacks.add(callback);
    let mut options = FitOptions::new(2, 1e-3);
    change(&mut options);
    let mut trainer = trainer(options, callbacks);
    trainer.fit(&mut loader(2, 1), Some(&mut loader(1, 9)))?;
    Ok(trainer)
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

const CLINICADL_BATCH: &str =
    "on_batch_start on_forward_step_start on_backward_step_start on_backward_step_end
    on_optimization_step_start on_optimization_step_end on_batch_end";
const CLINICADL_EVALUATION: &str = "on_batch_start on_evaluation_step_start on_metrics_computation_start
    on_metrics_computation_end on_batch_end";

#[test]
fn clinicadl_finds_its_pseudocode() {
    let log = Recorder::default();
    let mut trainer = fit(ClinicaDl::new(log.clone()), |_| ()).unwrap();
    let epoch = format!(
        "on_epoch_start {CLINICADL_BATCH} {CLINICADL_BATCH}
         on_validation_start {CLINICADL_EVALUATION} on_validation_end on_epoch_end"
    );
    assert_eq!(log.taken(), words(&format!("on_trainer_init on_train_start {epoch} {epoch} on_train_end")));
    trainer.validate(&mut loader(1, 9)).unwrap();
    assert_eq!(log.taken(), words(&format!("on_validate_start {CLINICADL_EVALUATION} on_validate_end")));
    trainer.test(&mut loader(1, 9)).unwrap();
    assert_eq!(log.taken(), words(&format!("on_test_start {CLINICADL_EVALUATION} on_test_end")));
}

#[test]
fn clinicadl_updates_after_as_many_batches_as_were_asked_for() {
    let log = Recorder::default();
    // 3 batches of an update, 2 of an epoch: what is left waits for the next.
    let trainer = fit(ClinicaDl::new(log.clone()), |options| {
        (options.accumulate, options.tail, options.validate_every) = (3, Tail::Carry, 2);
    })
    .unwrap();
    let short =
        "on_batch_start on_forward_step_start on_backward_step_start on_backward_step_end on_batch_end";
    let expected = format!(
        "on_trainer_init on_train_start
         on_epoch_start {short} {short} on_epoch_end
         on_epoch_start {CLINICADL_BATCH} {short}
         on_validation_start {CLINICADL_EVALUATION} on_validation_end on_epoch_end on_train_end"
    );
    assert_eq!(log.taken(), words(&expected));
    assert_eq!(trainer.state().global_step, 1);
}

const LIGHTNING_START: &str =
    "configure_optimizers on_fit_start on_pretrain_routine_start on_pretrain_routine_end
    train_dataloader val_dataloader on_train_start";

#[test]
fn lightning_1_6_finds_its_order() {
    let log = Recorder::default();
    fit(Lightning::new(log.clone()), |_| ()).unwrap();
    let batch = "on_train_batch_start training_step on_before_zero_grad on_before_backward on_after_backward
        on_before_optimizer_step on_train_batch_end";
    let epoch = format!(
        "on_epoch_start on_train_epoch_start {batch} {batch}
         on_validation_model_eval on_validation_start on_epoch_start on_validation_epoch_start
         on_validation_batch_start validation_step on_validation_batch_end
         validation_epoch_end on_validation_epoch_end on_epoch_end log_metrics on_validation_end
         on_validation_model_train
         training_epoch_end on_train_epoch_end on_epoch_end log_metrics"
    );
    assert_eq!(log.taken(), words(&format!("{LIGHTNING_START} {epoch} {epoch} on_train_end on_fit_end")));
}

#[test]
fn lightning_1_2_finds_its_order() {
    let log = Recorder::default();
    fit(Lightning::in_order(log.clone(), LightningOrder::V1_2), |_| ()).unwrap();
    let batch = "on_train_batch_start training_step on_before_zero_grad on_after_backward on_train_batch_end";
    let epoch = format!(
        "on_epoch_start on_train_epoch_start {batch} {batch}
         on_train_epoch_end on_epoch_end training_epoch_end log_metrics
         on_validation_model_eval on_validation_start on_epoch_start on_validation_epoch_start
         on_validation_batch_start validation_step on_validation_batch_end
         validation_epoch_end on_validation_epoch_end on_epoch_end on_validation_end log_metrics
         on_validation_model_train"
    );
    assert_eq!(log.taken(), words(&format!("{LIGHTNING_START} {epoch} {epoch} on_train_end on_fit_end")));
}

/// Gradients are set to zero with the first batch of an update, and the epoch's last batch is followed by one.
#[test]
fn lightning_accumulates() {
    let log = Recorder::default();
    let trainer = fit(Lightning::new(log.clone()), |options| options.accumulate = 2).unwrap();
    let steps: Vec<String> = log
        .taken()
        .into_iter()
        .filter(|name| {
            ["on_before_zero_grad", "training_step", "on_before_optimizer_step"].contains(&&**name)
        })
        .collect();
    let epoch = "training_step on_before_zero_grad training_step on_before_optimizer_step";
    assert_eq!(steps, words(&format!("{epoch} {epoch}")));
    assert_eq!(trainer.state().global_step, 2);
    let trainer = fit(Lightning::new(log.clone()), |options| options.accumulate = 5).unwrap();
    assert_eq!(trainer.state().global_step, 2);
}

#[test]
fn inner_eye_infers_over_its_splits() {
    let log = Recorder::default();
    let mut trainer = fit(InnerEyeInference::new(log.clone()), |_| ()).unwrap();
    assert!(log.taken().is_empty());
    let (mut test, mut val, mut train) = (loader(2, 3), loader(1, 9), loader(1, 1));
    trainer
        .infer(&mut [(Split::Test, &mut test), (Split::Val, &mut val), (Split::Train, &mut train)])
        .unwrap();
    let expected = [
        "on_inference_start",
        "on_inference_epoch_start Test",
        "forward Test",
        "inference_step Test",
        "forward Test",
        "inference_step Test",
        "on_inference_epoch_end Test",
        "on_inference_epoch_start Val",
        "forward Val",
        "inference_step Val",
        "on_inference_epoch_end Val",
        "on_inference_epoch_start Train",
        "forward Train",
        "inference_step Train",
        "on_inference_epoch_end Train",
        "on_inference_end",
    ];
    assert_eq!(log.taken(), expected);
    // A prediction by itself is none of InnerEye's inference.
    trainer.predict(&mut test, &mut |_, _, _| Ok(())).unwrap();
    assert!(log.taken().is_empty());
}

/// Stops after the second epoch, and says what it was told.
#[derive(Debug)]
struct OfDelira(Recorder);

impl DeliraHooks for OfDelira {
    fn at_epoch_begin(&mut self, arguments: &DeliraArguments<'_>) -> Result<Map<String, Value>> {
        let metrics: Vec<&str> = arguments.val_metrics.iter().map(|(name, _)| name.as_str()).collect();
        self.0.note(format!("begin {} {metrics:?} {:?}", arguments.curr_epoch, arguments.val_score_key));
        Ok(Map::from_iter([("__doc__".to_owned(), json!("nothing"))]))
    }

    fn at_epoch_end(&mut self, arguments: &DeliraArguments<'_>) -> Result<Map<String, Value>> {
        self.0.note(format!("end {} {}", arguments.curr_epoch, arguments.val_metrics.len()));
        let mut given = Map::new();
        given.insert("stop_training".to_owned(), json!(arguments.curr_epoch == 2));
        given.insert("_fold".to_owned(), json!(3));
        Ok(given)
    }
}

#[test]
fn delira_is_told_of_epochs_and_answered() {
    let log = Recorder::default();
    let view = Delira::new(OfDelira(log.clone()), Some("Loss"));
    let trainer = fit(view, |options| (options.epochs, options.scoring) = (5, None)).unwrap();
    assert_eq!(
        log.taken(),
        ["begin 1 [] Some(\"Loss\")", "end 1 1", "begin 2 [\"Loss\"] Some(\"Loss\")", "end 2 1"]
    );
    assert_eq!((trainer.state().epoch, trainer.state().global_step), (2, 4));
}

/// Gives a learning rate at the end of the first epoch.
#[derive(Debug)]
struct SetsRate(Recorder);

impl DeliraHooks for SetsRate {
    fn at_epoch_end(&mut self, arguments: &DeliraArguments<'_>) -> Result<Map<String, Value>> {
        let given = if arguments.curr_epoch == 1 { json!({ "learning_rate": 0.007 }) } else { json!({}) };
        Ok(given.as_object().unwrap().clone())
    }

    fn at_epoch_begin(&mut self, arguments: &DeliraArguments<'_>) -> Result<Map<String, Value>> {
        self.0.note(format!("{:?}", arguments.val_metrics));
        Ok(Map::new())
    }
}

/// Logs a metric that is no number.
#[derive(Debug)]
struct NoNumber;

impl Callback for NoNumber {
    fn evaluation_batches_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        context.log("none", f64::NAN)
    }
}

#[test]
fn a_rate_that_delira_is_given_stays_also_over_a_checkpoint() {
    let log = Recorder::default();
    let run = |epochs, rates: &Rates| {
        let mut callbacks = Callbacks::new();
        callbacks.add(NoNumber).add(Delira::new(SetsRate(log.clone()), None)).add(rates.clone());
        let mut options = FitOptions::new(epochs, 0.1);
        options.scoring = None;
        trainer(options, callbacks)
    };
    let (first, second) = (Rates::default(), Rates::default());
    let mut own = run(2, &first);
    own.fit(&mut loader(1, 1), Some(&mut loader(1, 9))).unwrap();
    let mut rest = run(4, &second);
    rest.resume(own.checkpoint().unwrap()).unwrap();
    rest.fit(&mut loader(1, 1), Some(&mut loader(1, 9))).unwrap();
    assert_eq!(first.taken(), [0.1, 0.007]);
    assert_eq!(second.taken(), [0.007, 0.007]);
    // The metrics of before the checkpoint came back, the one that is no number too.
    assert!(log.taken()[2].contains("(\"none\", NaN)"));
}

/// Fails at one event.
#[derive(Debug)]
pub(crate) struct Failing(pub(crate) Event);

impl Callback for Failing {
    fn dispatch(&mut self, event: Event, _: &mut Context<'_>) -> Result<()> {
        if event == self.0 { Err(Error::new(ErrorKind::InvalidState, "enough")) } else { Ok(()) }
    }
}

/// Wherever a callback fails, all of them hear of it, the error goes on with its name, and nothing waits.
#[test]
fn a_callback_that_fails_is_heard_of_by_all() {
    let told = [
        Event::TrainStart,
        Event::EpochStart,
        Event::BatchStart,
        Event::ForwardStart,
        Event::BackwardStart,
        Event::BackwardEnd,
        Event::OptimizerStepStart,
        Event::OptimizerStepEnd,
        Event::BatchEnd,
        Event::BatchesEnd,
        Event::ValidationStart,
        Event::EvaluationStart,
        Event::MetricsStart,
        Event::MetricsEnd,
        Event::EvaluationBatchesEnd,
        Event::ValidationEnd,
        Event::EpochMetrics,
        Event::EpochEnd,
        Event::TrainEnd,
    ];
    for event in told {
        let (before, after) = (Recorder::default(), Recorder::default());
        let mut callbacks = Callbacks::new();
        callbacks.add(before.clone()).add(Failing(event)).add(after.clone());
        let mut trainer = trainer(FitOptions::new(1, 1e-3), callbacks);
        let error = trainer.fit(&mut loader(2, 1), Some(&mut loader(1, 9))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(error.one_line().contains(&format!("Failing failed at {event}: enough")), "{error:?}");
        let (before, after) = (before.taken(), after.taken());
        assert_eq!(before[before.len() - 2..], [event.name().to_owned(), "exception".to_owned()]);
        assert_eq!(after.last().unwrap(), "exception");
        assert_ne!(after.get(after.len().wrapping_sub(2)).map(String::as_str), Some(event.name()));
        assert_eq!(trainer.step().waiting(), 0);
    }
    // Before the trainer is there.
    let mut callbacks = Callbacks::new();
    callbacks.add(Failing(Event::TrainerInit));
    let made = Trainer::new(build(&options(), &engines()[0]), FitOptions::new(1, 1e-3), callbacks);
    assert!(made.unwrap_err().one_line().contains("trainer_init"));
}

/// Looks at what there is, and vetoes every second update.
#[derive(Debug)]
struct Curious(Recorder);

impl Callback for Curious {
    fn batch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        context.access()?.want_logits(true);
        Ok(())
    }

    fn backward_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        assert!(context.loss().unwrap() > 0.0);
        let access = context.access()?;
        let count: usize = access.logits_shape().iter().product();
        assert_eq!(access.logits()?.len(), count);
        let name = access.trained()[0].clone();
        assert!(access.gradient(&name).is_ok() && access.weight(&name).is_ok());
        assert_eq!(access.gradient("nothing").unwrap_err().kind(), ErrorKind::InvalidArgument);
        Ok(())
    }

    fn optimizer_step_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        if context.state.batch == 2 {
            context.veto();
        }
        Ok(())
    }

    fn optimizer_step_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.0.note(format!("{} {}", context.state.epoch, context.state.batch));
        let name = context.access()?.trained()[0].clone();
        assert_eq!(context.access()?.gradient(&name).unwrap_err().kind(), ErrorKind::InvalidState);
        Ok(())
    }
}

#[test]
fn callbacks_see_logits_and_gradients_and_veto_updates() {
    let log = Recorder::default();
    let trainer = fit(Curious(log.clone()), |_| ()).unwrap();
    assert_eq!(log.taken(), ["1 1", "2 1"]);
    assert_eq!((trainer.state().global_step, trainer.step().updates()), (2, 2));
}

/// The trainer does what the bare steps do, in the order that the seed says, and the same every time.
#[test]
fn a_fit_is_its_steps() {
    let fitted = |seed: u64| {
        let mut options = FitOptions::new(2, 1e-3);
        options.seed = seed;
        let mut trainer = trainer(options, Callbacks::new());
        trainer.fit(&mut loader(3, 1).shuffled(), Some(&mut loader(1, 9))).unwrap();
        trainer.into_step().state().unwrap()
    };
    assert_eq!(fitted(42), fitted(42));
    assert_ne!(fitted(42), fitted(43));
    let mut step = build(&options(), &engines()[0]);
    for _ in 0..2 {
        let mut data = loader(2, 1);
        for index in 0..2 {
            step.accumulate(&data.batch(index).unwrap()).unwrap();
            step.apply(1e-3).unwrap();
        }
    }
    let trainer = fit(Recorder::default(), |_| ()).unwrap();
    assert_eq!(trainer.into_step().state().unwrap(), step.state().unwrap());
}

/// A trainer that is told later how to train, and whom to tell of it, trains as one that was made so.
#[test]
fn options_and_callbacks_may_come_later() {
    let log = Recorder::default();
    let mut options_of = FitOptions::new(2, 1e-2);
    options_of.schedule = Some(glebe::hooks::Schedule::new(glebe::hooks::Decay::Constant));
    let mut expected = trainer(options_of.clone(), Callbacks::new());
    expected.fit(&mut loader(2, 1).shuffled(), None).unwrap();

    let mut late = trainer(FitOptions::new(0, 0.0), Callbacks::new());
    late.fit(&mut loader(2, 1).shuffled(), None).unwrap();
    assert_eq!(late.state().global_step, 0);
    let state = late.step().state().unwrap();
    late.step_mut().set_state(&state).unwrap();
    options_of.epochs = 1;
    late.set_options(options_of.clone()).unwrap();
    late.fit(&mut loader(2, 1).shuffled(), None).unwrap();
    let mut callbacks = Callbacks::new();
    callbacks.add(log.clone());
    late.add_callbacks(callbacks).unwrap();
    assert_eq!(log.taken(), ["trainer_init"]);
    let mut failing = Callbacks::new();
    failing.add(Failing(Event::TrainerInit));
    let error = late.add_callbacks(failing).unwrap_err();
    assert!(error.one_line().contains("failed at trainer_init: enough"), "{error}");
    assert_eq!((late.callbacks_mut().len(), log.taken().len()), (1, 0));
    options_of.epochs = 2;
    late.set_options(options_of.clone()).unwrap();
    assert_eq!(late.state().epochs, 2);
    late.fit(&mut loader(2, 1).shuffled(), None).unwrap();
    assert_eq!(log.taken()[..2], words("train_start epoch_start"));
    assert_eq!(late.checkpoint().unwrap(), expected.checkpoint().unwrap());

    options_of.accumulate = 0;
    assert_eq!(late.set_options(options_of).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(late.state().epochs, 2);
    late.resume(expected.checkpoint().unwrap()).unwrap();
    let mut other = FitOptions::new(2, 1e-2);
    other.seed = 7;
    let error = late.set_options(other).unwrap_err();
    assert!(error.kind() == ErrorKind::Mismatch && error.message().contains("another seed"), "{error}");
}
