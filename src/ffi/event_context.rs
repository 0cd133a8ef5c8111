//! What there is at an event of a run.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{NonNull, null};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::boundary::{Out, SizedOut, borrow, c_text, neutral, peek, status, text};
use crate::ffi::error::glebe_error;
use crate::ffi::field::flag;
use crate::ffi::metrics::find;
use crate::ffi::run_state::{glebe_run_state, run_state};
use crate::ffi::status::{GLEBE_STATUS_OK, glebe_status};
use crate::ffi::trainer::Facts;
use crate::hooks::{Access, Context, Event};

/// What there is at an event, for the function that is told of it: during the call, on the thread of the call. Nothing is
/// computed or copied unless it is asked for.
///
/// After the call, until the trainer is freed, functions with a status give GLEBE_STATUS_INVALID_STATE, the others zeros
/// and NULL; what was given before (strings, logits, batches) is not valid any more. Another thread must not use it.
pub struct glebe_event_context {
    pub(super) facts: Arc<Facts>,
    event: Cell<Event>,
    /// The surroundings of the event, while it lasts and nobody works with them.
    now: Cell<Option<NonNull<Context<'static>>>>,
    /// Strings that were given away at this event.
    texts: RefCell<Texts>,
    /// A defect that was met by a function of this file: it goes on in the run.
    panic: Cell<Option<Box<dyn Any + Send>>>,
}

#[derive(Default)]
struct Texts {
    metrics: Option<Vec<CString>>,
    error: Option<CString>,
    message: Option<CString>,
}

/// The one who opens a context for the time of an event. Owns it.
pub(super) struct Events(NonNull<glebe_event_context>);

// SAFETY: `now` is None but during an event, on the thread of the event; all else is Send.
unsafe impl Send for Events {}

impl Events {
    pub(super) fn new(facts: Arc<Facts>) -> Events {
        let context = glebe_event_context {
            facts,
            event: Cell::new(Event::TrainerInit),
            now: Cell::new(None),
            texts: RefCell::default(),
            panic: Cell::new(None),
        };
        Events(NonNull::from(Box::leak(Box::new(context))))
    }

    /// Calls `tell` with the context, which shows `surroundings` meanwhile.
    pub(super) fn during(
        &self,
        event: Event,
        surroundings: &mut Context<'_>,
        tell: impl FnOnce(*mut glebe_event_context) -> i32,
    ) -> i32 {
        // SAFETY: made by `new`, freed by `drop` only, and nobody has it as &mut.
        let context = unsafe { self.0.as_ref() };
        context.event.set(event);
        // Without its lifetime; taken back before this function returns.
        context.now.set(Some(NonNull::from(surroundings).cast()));
        let code = tell(self.0.as_ptr());
        context.now.set(None);
        context.texts.take();
        if let Some(panic) = context.panic.take() {
            resume_unwind(panic);
        }
        code
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: leaked by `new`.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl glebe_event_context {
    /// Works with the surroundings. A panic ends this call and, when the program's function has returned, the run.
    fn with<R>(&self, work: impl FnOnce(&mut Context<'_>) -> Result<R>) -> Result<R> {
        // Taken, so that a log function that is called meanwhile has no second &mut of it.
        let Some(mut now) = self.now.take() else {
            let message = "the event is over: its context may be used during the call only";
            return Err(Error::new(ErrorKind::InvalidState, message));
        };
        // SAFETY: `during` has put it there and takes it away before it ends; it was taken, so this is the only &mut.
        let done = catch_unwind(AssertUnwindSafe(|| work(unsafe { now.as_mut() })));
        self.now.set(Some(now));
        done.unwrap_or_else(|panic| {
            self.panic.set(Some(panic));
            Err(Error::internal("a defect of this library, which ends the run"))
        })
    }

    pub(super) fn access<R>(&self, work: impl FnOnce(&mut dyn Access) -> Result<R>) -> Result<R> {
        self.with(|context| work(context.access()?))
    }
}

/// Where the run stands.
///
/// @param context  the event's.
/// @param state    the struct to fill, initialised by glebe_run_state_init.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_run_state(
    context: *const glebe_event_context,
    state: *mut glebe_run_state,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let context = borrow(context, "context")?;
            let out = SizedOut::new(state, "state")?;
            out.put(context.with(|context| Ok(run_state(context.state)))?);
            Ok(())
        })
    }
}

/// The message of the checkpoint that was loaded last: "Loading checkpoint that was created at (epoch = 2, global_step =
/// 4)".
///
/// @return a string that is valid during the event; NULL where none was loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_checkpoint_message(
    context: *const glebe_event_context,
) -> *const c_char {
    neutral(null(), || {
        // SAFETY: NULL or a context, by the header's contract.
        let own = unsafe { peek(context) }?;
        let message = own.with(|context| Ok(context.state.checkpoint_message.clone())).ok()?;
        if message.is_empty() {
            return None;
        }
        let mut texts = own.texts.try_borrow_mut().ok()?;
        Some(texts.message.get_or_insert_with(|| c_text(message)).as_ptr())
    })
}

/// The loss of the batch, from GLEBE_EVENT_BACKWARD_START or GLEBE_EVENT_METRICS_START to GLEBE_EVENT_BATCH_END.
///
/// @param context  the event's.
/// @param loss     the loss.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE at other events, and after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_loss(
    context: *const glebe_event_context,
    loss: *mut f64,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            let out = Out::new(loss, "loss")?;
            let missing = || Error::new(ErrorKind::InvalidState, "no loss at this event");
            out.put(own.with(|context| context.loss().ok_or_else(missing))?);
            Ok(())
        })
    }
}

/// Number of metrics: of the batch at GLEBE_EVENT_METRICS_END, of training at GLEBE_EVENT_BATCHES_END, of an evaluation
/// from GLEBE_EVENT_EVALUATION_BATCHES_END on, of the epoch from GLEBE_EVENT_EPOCH_METRICS on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_metric_count(context: *const glebe_event_context) -> usize {
    // SAFETY: NULL or a context, by the header's contract.
    neutral(0, || unsafe { peek(context) }?.with(|context| Ok(context.metrics().len())).ok())
}

/// The name of a metric, from 0.
///
/// @return a string that is valid during the event; NULL from glebe_event_metric_count on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_metric_name(
    context: *const glebe_event_context,
    index: usize,
) -> *const c_char {
    neutral(null(), || {
        // SAFETY: NULL or a context, by the header's contract.
        let own = unsafe { peek(context) }?;
        let mut texts = own.texts.try_borrow_mut().ok()?;
        if texts.metrics.is_none() {
            let names = |context: &mut Context<'_>| {
                Ok(context.metrics().iter().map(|(name, _)| c_text(name.as_str())).collect())
            };
            texts.metrics = Some(own.with(names).ok()?);
        }
        Some(texts.metrics.as_ref()?.get(index)?.as_ptr())
    })
}

/// The value of a metric, from 0; NaN from glebe_event_metric_count on, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_metric_value(context: *const glebe_event_context, index: usize) -> f64 {
    neutral(f64::NAN, || {
        // SAFETY: NULL or a context, by the header's contract.
        let own = unsafe { peek(context) }?;
        own.with(|context| Ok(context.metrics().get(index).map(|(_, value)| *value))).ok()?
    })
}

/// The value of the metric with this name.
///
/// @param context  the event's.
/// @param name     its name: "Loss", "val/Loss".
/// @param value    the value.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT, saying which there are, for a name that is none; GLEBE_STATUS_INVALID_STATE
///         after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_metric(
    context: *const glebe_event_context,
    name: *const c_char,
    value: *mut f64,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            let name = text(name, "name")?;
            let out = Out::new(value, "value")?;
            out.put(own.with(|context| {
                find(context.metrics().iter().map(|(own, value)| (own.as_str(), *value)), name)
            })?);
            Ok(())
        })
    }
}

/// Adds a number to the metrics of the epoch or evaluation that is going on. What is logged with batches is averaged over
/// their images. Metrics of training get "train/" before their name, those of a validation "val/".
///
/// @param context  the event's.
/// @param name     its name; a suffix behind one slash tells variants of a metric apart: "Dice/water".
/// @param value    the number.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for a name with two slashes; GLEBE_STATUS_INVALID_STATE at events that belong to
///         no epoch or evaluation, behind GLEBE_EVENT_BATCHES_END and GLEBE_EVENT_EVALUATION_BATCHES_END, and after the
///         event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_log(
    context: *mut glebe_event_context,
    name: *const c_char,
    value: f64,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            let name = text(name, "name")?;
            own.with(|context| context.log(name, value))
        })
    }
}

/// The status of the error that ends the run, at GLEBE_EVENT_EXCEPTION; else GLEBE_STATUS_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_error_code(context: *const glebe_event_context) -> glebe_status {
    neutral(GLEBE_STATUS_OK, || {
        // SAFETY: NULL or a context, by the header's contract.
        let own = unsafe { peek(context) }?;
        own.with(|context| Ok(context.error().map(|error| error.kind().code()))).ok()?
    })
}

/// The text of the error that ends the run, at GLEBE_EVENT_EXCEPTION: one line, as glebe_error_message gives it.
///
/// @return a string that is valid during the event; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_error_message(context: *const glebe_event_context) -> *const c_char {
    neutral(null(), || {
        // SAFETY: NULL or a context, by the header's contract.
        let own = unsafe { peek(context) }?;
        let message = own.with(|context| Ok(context.error().map(Error::one_line))).ok()??;
        let mut texts = own.texts.try_borrow_mut().ok()?;
        Some(texts.error.get_or_insert_with(|| c_text(message)).as_ptr())
    })
}

/// Lets the training end after this epoch.
///
/// @param context  the event's.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_request_stop(
    context: *mut glebe_event_context,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            borrow(context, "context")?.with(|context| {
                context.state.should_stop = true;
                Ok(())
            })
        })
    }
}

/// At GLEBE_EVENT_OPTIMIZER_STEP_START: the gradients are forgotten, and the weights stay as they are.
///
/// @param context  the event's.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE at other events, and after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_veto(
    context: *mut glebe_event_context,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            let event = own.event.get();
            own.with(|context| match event {
                Event::OptimizerStepStart => {
                    context.veto();
                    Ok(())
                }
                other => {
                    let message =
                        format!("expected a veto at {}, got one at {other}", Event::OptimizerStepStart);
                    Err(Error::new(ErrorKind::InvalidState, message))
                }
            })
        })
    }
}

/// Sets the learning rate of the rest of the epoch; the next one has its own by the schedule.
///
/// @param context        the event's.
/// @param learning_rate  0 or more.
/// @param error          nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for the learning rate; GLEBE_STATUS_INVALID_STATE after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_set_learning_rate(
    context: *mut glebe_event_context,
    learning_rate: f64,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            if !(learning_rate.is_finite() && learning_rate >= 0.0) {
                let message = format!("expected a learning rate of 0 or more, got {learning_rate}");
                return Err(Error::invalid(message));
            }
            own.with(|context| {
                context.state.learning_rate = learning_rate;
                Ok(())
            })
        })
    }
}

/// Whether training batches give their logits from the next on, which costs a copy; as glebe_trainer_want_logits.
///
/// @param context  the event's.
/// @param wanted   1 or 0 (as it is at first).
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for another number; GLEBE_STATUS_INVALID_STATE at GLEBE_EVENT_EXCEPTION, and
///         after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_want_logits(
    context: *mut glebe_event_context,
    wanted: i32,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            let wanted = flag("wanted", wanted)?;
            own.access(|access| {
                access.want_logits(wanted);
                Ok(())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;
    use crate::error::ErrorKind::{Internal, InvalidState};
    use crate::ffi::event_arrays::glebe_event_images;
    use crate::hooks::TrainerState;
    use crate::weights::tensors::NamedTensor;

    /// Has a defect.
    struct Broken;

    impl Access for Broken {
        fn want_logits(&mut self, _: bool) {
            panic!("a defect");
        }
        fn logits(&mut self) -> Result<&[f32]> {
            Ok(&[])
        }
        fn batch(&self) -> Result<crate::data::Batch<'_>> {
            Err(Error::internal("none"))
        }
        fn truth(&self) -> Result<crate::hooks::Truth<'_>> {
            Err(Error::internal("none"))
        }
        fn images(&self) -> usize {
            3
        }
        fn image_shape(&self) -> Vec<usize> {
            Vec::new()
        }
        fn logits_shape(&self) -> Vec<usize> {
            Vec::new()
        }
        fn gradient(&mut self, _: &str) -> Result<NamedTensor> {
            Err(Error::internal("none"))
        }
        fn weight(&mut self, _: &str) -> Result<NamedTensor> {
            Err(Error::internal("none"))
        }
        fn trained(&self) -> Vec<String> {
            Vec::new()
        }
    }

    /// The call that meets it says so, the program's function returns as always, and then the run ends, which spoils the
    /// trainer's handle.
    #[test]
    fn a_panic_goes_round_the_programs_function() {
        let facts = Facts { tensors: Vec::new(), image_shape: Vec::new(), logits_shape: Vec::new() };
        let events = Events::new(Arc::new(facts));
        let (mut state, mut broken) = (TrainerState::default(), Broken);
        let mut surroundings = Context::new(&mut state);
        surroundings.access = Some(&mut broken);
        let mut kept = null_mut();
        let mut codes = Vec::new();
        let run = catch_unwind(AssertUnwindSafe(|| {
            events.during(Event::BatchEnd, &mut surroundings, |context| {
                kept = context;
                // SAFETY: a context, in its event.
                unsafe {
                    codes.push(glebe_event_want_logits(context, 1, null_mut()));
                    // It can be asked still.
                    assert_eq!(glebe_event_images(context), 3);
                    codes.push(glebe_event_request_stop(context, null_mut()));
                }
                0
            })
        }));
        assert_eq!(*run.unwrap_err().downcast_ref::<&str>().unwrap(), "a defect");
        assert_eq!(codes, [Internal.code(), GLEBE_STATUS_OK]);
        assert!(state.should_stop);
        // SAFETY: a context whose event is over; `events` is there still.
        let late = unsafe { glebe_event_request_stop(kept, null_mut()) };
        assert_eq!(late, InvalidState.code());
    }
}
