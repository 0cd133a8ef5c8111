//! Being told of what happens in a run.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ffi::boundary::{UserData, borrow, glebe_destroy_fn, neutral, returned, status};
use crate::ffi::error::glebe_error;
use crate::ffi::event_context::{Events, glebe_event_context};
use crate::ffi::status::glebe_status;
use crate::ffi::trainer::{Facts, glebe_trainer};
use crate::hooks::{Callback, Callbacks, Context, Event};

/// The trainer has been made: told once, by glebe_trainer_add_events.
pub const GLEBE_EVENT_TRAINER_INIT: i32 = 1;
/// Training begins.
pub const GLEBE_EVENT_TRAIN_START: i32 = 2;
/// Training goes on from a checkpoint, in place of GLEBE_EVENT_TRAIN_START.
pub const GLEBE_EVENT_RESUME: i32 = 3;
/// An epoch begins.
pub const GLEBE_EVENT_EPOCH_START: i32 = 4;
/// A batch is there: of training, validation, test or prediction, as phase of glebe_run_state says.
pub const GLEBE_EVENT_BATCH_START: i32 = 5;
/// Loss and gradients are about to be computed.
pub const GLEBE_EVENT_FORWARD_START: i32 = 6;
/// The loss is known. (Loss and gradients are one run: the gradients are there too.)
pub const GLEBE_EVENT_BACKWARD_START: i32 = 7;
/// The gradients are known.
pub const GLEBE_EVENT_BACKWARD_END: i32 = 8;
/// The weights are about to be changed, which glebe_event_veto prevents.
pub const GLEBE_EVENT_OPTIMIZER_STEP_START: i32 = 9;
/// The weights have been changed.
pub const GLEBE_EVENT_OPTIMIZER_STEP_END: i32 = 10;
/// The batch is done.
pub const GLEBE_EVENT_BATCH_END: i32 = 11;
/// All training batches of the epoch are done; the metrics of training are known.
pub const GLEBE_EVENT_BATCHES_END: i32 = 12;
/// A validation within training begins.
pub const GLEBE_EVENT_VALIDATION_START: i32 = 13;
/// A batch is about to be evaluated.
pub const GLEBE_EVENT_EVALUATION_START: i32 = 14;
/// Logits are there, metrics are about to be computed.
pub const GLEBE_EVENT_METRICS_START: i32 = 15;
/// Metrics of the batch are known.
pub const GLEBE_EVENT_METRICS_END: i32 = 16;
/// All batches of a validation or test are done; random numbers go on as if it had not been.
pub const GLEBE_EVENT_EVALUATION_BATCHES_END: i32 = 17;
/// The validation is done and its metrics are known.
pub const GLEBE_EVENT_VALIDATION_END: i32 = 18;
/// The metrics of the epoch are known, those of its validation with val/ before their names.
pub const GLEBE_EVENT_EPOCH_METRICS: i32 = 19;
/// A checkpoint is about to be written.
pub const GLEBE_EVENT_CHECKPOINT_SAVE: i32 = 20;
/// The epoch is done.
pub const GLEBE_EVENT_EPOCH_END: i32 = 21;
/// Training is done.
pub const GLEBE_EVENT_TRAIN_END: i32 = 22;
/// A validation by itself begins.
pub const GLEBE_EVENT_VALIDATE_START: i32 = 23;
/// The validation by itself is done and its metrics are known.
pub const GLEBE_EVENT_VALIDATE_END: i32 = 24;
/// A test begins.
pub const GLEBE_EVENT_TEST_START: i32 = 25;
/// The test is done and its metrics are known.
pub const GLEBE_EVENT_TEST_END: i32 = 26;
/// A prediction begins.
pub const GLEBE_EVENT_PREDICT_START: i32 = 27;
/// A batch is about to be predicted.
pub const GLEBE_EVENT_PREDICTION_START: i32 = 28;
/// The logits of the batch are there.
pub const GLEBE_EVENT_PREDICTION_END: i32 = 29;
/// The prediction is done.
pub const GLEBE_EVENT_PREDICT_END: i32 = 30;
/// A checkpoint has been read and is about to be applied.
pub const GLEBE_EVENT_CHECKPOINT_LOAD: i32 = 31;
/// The run ends with an error: glebe_event_error_message.
pub const GLEBE_EVENT_EXCEPTION: i32 = 32;
/// Predictions over one or several splits begin, as split of glebe_run_state says.
pub const GLEBE_EVENT_INFERENCE_START: i32 = 33;
/// The predictions over splits are done.
pub const GLEBE_EVENT_INFERENCE_END: i32 = 34;

/// The name of an event: "train_start" for GLEBE_EVENT_TRAIN_START, and "unknown" for a number that this version does
/// not know.
///
/// @return a static string, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn glebe_event_name(event: i32) -> *const c_char {
    neutral(c"unknown", || Some(name(event))).as_ptr()
}

/// [`Event::name`] with a NUL at its end; a test compares them.
fn name(event: i32) -> &'static CStr {
    NAMES.iter().find(|(number, _)| *number == event).map_or(c"unknown", |(_, name)| *name)
}

const NAMES: [(i32, &CStr); 34] = [
    (GLEBE_EVENT_TRAINER_INIT, c"trainer_init"),
    (GLEBE_EVENT_TRAIN_START, c"train_start"),
    (GLEBE_EVENT_RESUME, c"resume"),
    (GLEBE_EVENT_EPOCH_START, c"epoch_start"),
    (GLEBE_EVENT_BATCH_START, c"batch_start"),
    (GLEBE_EVENT_FORWARD_START, c"forward_start"),
    (GLEBE_EVENT_BACKWARD_START, c"backward_start"),
    (GLEBE_EVENT_BACKWARD_END, c"backward_end"),
    (GLEBE_EVENT_OPTIMIZER_STEP_START, c"optimizer_step_start"),
    (GLEBE_EVENT_OPTIMIZER_STEP_END, c"optimizer_step_end"),
    (GLEBE_EVENT_BATCH_END, c"batch_end"),
    (GLEBE_EVENT_BATCHES_END, c"batches_end"),
    (GLEBE_EVENT_VALIDATION_START, c"validation_start"),
    (GLEBE_EVENT_EVALUATION_START, c"evaluation_start"),
    (GLEBE_EVENT_METRICS_START, c"metrics_start"),
    (GLEBE_EVENT_METRICS_END, c"metrics_end"),
    (GLEBE_EVENT_EVALUATION_BATCHES_END, c"evaluation_batches_end"),
    (GLEBE_EVENT_VALIDATION_END, c"validation_end"),
    (GLEBE_EVENT_EPOCH_METRICS, c"epoch_metrics"),
    (GLEBE_EVENT_CHECKPOINT_SAVE, c"checkpoint_save"),
    (GLEBE_EVENT_EPOCH_END, c"epoch_end"),
    (GLEBE_EVENT_TRAIN_END, c"train_end"),
    (GLEBE_EVENT_VALIDATE_START, c"validate_start"),
    (GLEBE_EVENT_VALIDATE_END, c"validate_end"),
    (GLEBE_EVENT_TEST_START, c"test_start"),
    (GLEBE_EVENT_TEST_END, c"test_end"),
    (GLEBE_EVENT_PREDICT_START, c"predict_start"),
    (GLEBE_EVENT_PREDICTION_START, c"prediction_start"),
    (GLEBE_EVENT_PREDICTION_END, c"prediction_end"),
    (GLEBE_EVENT_PREDICT_END, c"predict_end"),
    (GLEBE_EVENT_CHECKPOINT_LOAD, c"checkpoint_load"),
    (GLEBE_EVENT_EXCEPTION, c"exception"),
    (GLEBE_EVENT_INFERENCE_START, c"inference_start"),
    (GLEBE_EVENT_INFERENCE_END, c"inference_end"),
];

/// Told of one event: GLEBE_EVENT_*; be ready for numbers that this header does not know. What there is at the event is
/// asked of `context`, which is valid during the call only.
///
/// The order of events, which later versions only add to:
///
///  fit       train_start | resume checkpoint_load
///            for every epoch:  epoch_start
///              for every batch:  batch_start forward_start backward_start backward_end
///                                [optimizer_step_start optimizer_step_end] batch_end
///              batches_end
///              [validation_start
///                for every batch:  batch_start evaluation_start metrics_start metrics_end batch_end
///              evaluation_batches_end validation_end]
///              epoch_metrics  checkpoint_save (for every checkpoint)  epoch_end
///            train_end
///  validate  validate_start, batches as in a validation, evaluation_batches_end, validate_end
///  test      test_start, likewise, test_end
///  predict   predict_start, for every batch: batch_start prediction_start prediction_end batch_end, predict_end
///  infer     inference_start, for every split as in predict, inference_end
///  exception wherever a run ends with an error
///
/// Called on the thread that runs the trainer. A return value other than 0 ends the run: with that status where it is one
/// of GLEBE_STATUS_* above GLEBE_STATUS_INTERNAL, else with GLEBE_STATUS_CANCELLED; the message names the event and the
/// value, and all functions are told of GLEBE_EVENT_EXCEPTION, whose own return value counts for nothing.
///
/// It may call functions of the library, but of the trainer that runs only those for names and shapes; the others give
/// GLEBE_STATUS_INVALID_STATE or zeros. It must not free what is in use. It must return normally: no C++ exception and no
/// longjmp may leave it.
pub type glebe_event_fn = Option<
    unsafe extern "C" fn(event: i32, context: *mut glebe_event_context, user_data: *mut c_void) -> i32,
>;

/// Lets a function be told of all events of the trainer's runs from now on, of GLEBE_EVENT_TRAINER_INIT at once. Several
/// are called in the order in which they were added.
///
/// What a function has to remember when a run goes on in another process is not kept in checkpoints: keep it beside them,
/// at GLEBE_EVENT_CHECKPOINT_SAVE and GLEBE_EVENT_CHECKPOINT_LOAD.
///
/// @param trainer    the trainer.
/// @param function   the function.
/// @param user_data  nullable: passed to function.
/// @param destroy    nullable: called once with user_data, when the trainer is freed, or before this function returns where
///                   it fails.
/// @param error      nullable.
/// @return GLEBE_STATUS_INVALID_STATE while the trainer is in use; what the function returned for
///         GLEBE_EVENT_TRAINER_INIT. It is not added then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_add_events(
    trainer: *mut glebe_trainer,
    function: glebe_event_fn,
    user_data: *mut c_void,
    destroy: glebe_destroy_fn,
    error: *mut *mut glebe_error,
) -> glebe_status {
    let data = UserData::new(user_data, destroy);
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let facts = Arc::clone(trainer.facts());
            trainer.enter(|work| {
                let number = work.trainer.callbacks_mut().len() + 1;
                work.trainer.add_callbacks(told(function, facts, data, number)?)
            })
        })
    }
}

/// A function of the program as a callback with a number.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for none.
pub(super) fn told(
    function: glebe_event_fn,
    facts: Arc<Facts>,
    data: UserData,
    number: usize,
) -> Result<Callbacks> {
    let function = function.ok_or_else(|| Error::invalid("function is NULL"))?;
    let mut callbacks = Callbacks::new();
    let name = format!("event function {number}");
    callbacks.add(Told { function, events: Events::new(facts), data, name });
    Ok(callbacks)
}

/// A function of the program as a callback.
struct Told {
    function: unsafe extern "C" fn(i32, *mut glebe_event_context, *mut c_void) -> i32,
    events: Events,
    data: UserData,
    name: String,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Callback for Told {
    fn dispatch(&mut self, event: Event, context: &mut Context<'_>) -> Result<()> {
        let number = event as i32;
        let code = self.events.during(event, context, |context| {
            // SAFETY: the program gave function and data together; the context lives as long as the trainer.
            unsafe { (self.function)(number, context, self.data.pointer()) }
        });
        returned(code, || "the function".to_owned())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_events() {
        assert_eq!(NAMES.len(), Event::ALL.len());
        for (event, (number, own)) in Event::ALL.iter().zip(NAMES) {
            assert_eq!(number as u32, event.number());
            assert_eq!(own.to_str().unwrap(), event.name());
            assert_eq!(name(number), own);
        }
        assert_eq!((name(0), name(-1), name(35)), (c"unknown", c"unknown", c"unknown"));
    }
}
