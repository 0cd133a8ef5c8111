//! A finetuning from beginning to end.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, TryLockError};

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::boundary::{Handle, Out, UserData, borrow, free, glebe_destroy_fn, status};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::glebe_error;
use crate::ffi::event::{glebe_event_fn, told};
use crate::ffi::finetuning_options::{Asked, asked, glebe_finetuning_options};
use crate::ffi::runtime::glebe_runtime;
use crate::ffi::status::glebe_status;
use crate::ffi::trainer::Facts;
use crate::hooks::Callbacks;
use crate::runtime::Runtime;

/// A finetuning that is ready to run, once: labelled rasters and a model in, a better model out, as `glebe finetune` does
/// it. The model is open, the data are looked through, the training step is built; nothing is written yet.
///
/// One call at a time: a call while another is at work, in another thread or in this one (from an event function), is
/// GLEBE_STATUS_INVALID_STATE; glebe_finetuning_found may be called at any time. May be handed from thread to thread.
pub struct glebe_finetuning(Handle<Inner>);

struct Inner {
    facts: Arc<Facts>,
    found: String,
    /// None when it has been run.
    work: Mutex<Option<Work>>,
}

struct Work {
    finetuning: Finetuning,
    callbacks: Callbacks,
}

impl glebe_finetuning {
    /// Works with what has not been run yet.
    fn enter<R>(&self, work: impl FnOnce(&mut Option<Work>) -> Result<R>) -> Result<R> {
        let invalid = |message: &str| Error::new(ErrorKind::InvalidState, message);
        self.0.enter(|inner| match inner.work.try_lock() {
            Ok(own) if own.is_none() => Err(invalid("the finetuning has been run: make a new one")),
            Ok(mut own) => work(&mut own),
            Err(TryLockError::WouldBlock) => Err(invalid(
                "the finetuning is in use, by another thread or by the run that calls this function",
            )),
            Err(TryLockError::Poisoned(_)) => {
                Err(Error::internal("the finetuning was left in the middle of a call"))
            }
        })
    }
}

/// Reads the configuration, opens the model, looks through lists, images and labels and builds the training step, which
/// takes seconds. Writes nothing.
///
/// @param runtime  ONNX Runtime; may be freed afterwards.
/// @param options  what it is told: a model and training data at least.
/// @param out      the finetuning, to free with glebe_finetuning_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for a setting that is wrong in itself, with its key, or the nearest key to one that
///         there is not; GLEBE_STATUS_NOT_FOUND; GLEBE_STATUS_MODEL_INVALID; GLEBE_STATUS_MODEL_UNSUPPORTED with what stands
///         in the way of training; GLEBE_STATUS_RASTER_INVALID, GLEBE_STATUS_RASTER_UNSUPPORTED, with the list and the line;
///         GLEBE_STATUS_MISMATCH where model, images and labels do not fit together; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
///         GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME; GLEBE_STATUS_NOT_SUPPORTED in a build without GDAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_finetuning_new(
    runtime: *const glebe_runtime,
    options: *const glebe_finetuning_options,
    out: *mut *mut glebe_finetuning,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let runtime = borrow(runtime, "runtime")?;
            let asked = asked(options)?;
            let out = Out::new(out, "out")?;
            let finetuning = runtime.0.enter(|loaded| prepare(&loaded.runtime, &asked))?;
            let inner = Inner {
                facts: Arc::new(facts(&finetuning)?),
                found: found(&finetuning)?,
                work: Mutex::new(Some(Work { finetuning, callbacks: Callbacks::new() })),
            };
            out.put(Box::into_raw(Box::new(glebe_finetuning(Handle::new(inner)))));
            Ok(())
        })
    }
}

/// What was found: a JSON object with
///
///  out        the folder of the run
///  data       for train, val and test (null where there are none): images, windows, how many of these are left out and
///             why, the samples of an epoch, the pixels of each class
///  preflight  what is trained at what cost, as glebe_trainer_preflight tells it
///  length     epochs, and steps of each
///  init       the line that says where the checkpoint to start from comes from, and the report of its loading; null
///             without one
///
/// @param finetuning  the finetuning, also one that is being run or has been.
/// @param json        the text; free it with glebe_buffer_free.
/// @param error       nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_finetuning_found(
    finetuning: *const glebe_finetuning,
    json: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let finetuning = borrow(finetuning, "finetuning")?;
            Out::new(json, "json")?.put(glebe_buffer::text(finetuning.0.peek().found.clone()));
            Ok(())
        })
    }
}

/// Lets a function be told of all events of the run: of GLEBE_EVENT_TRAINER_INIT when that begins, then of those of the
/// training and of the test behind it. Several are called in the order in which they were added, behind those that write
/// the files of the run.
///
/// @param finetuning  the finetuning.
/// @param function    the function. Its value ends the run unless it is 0; GLEBE_STATUS_CANCELLED, for example.
/// @param user_data   nullable: passed to function.
/// @param destroy     nullable: called once with user_data: when the run has ended, when a finetuning that was not run is
///                    freed, or before this function returns where it fails.
/// @param error       nullable.
/// @return GLEBE_STATUS_INVALID_STATE for a finetuning that is being run or has been.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_finetuning_add_events(
    finetuning: *mut glebe_finetuning,
    function: glebe_event_fn,
    user_data: *mut c_void,
    destroy: glebe_destroy_fn,
    error: *mut *mut glebe_error,
) -> glebe_status {
    let data = UserData::new(user_data, destroy);
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let finetuning = borrow(finetuning, "finetuning")?;
            let facts = Arc::clone(&finetuning.0.peek().facts);
            finetuning.enter(|work| {
                let Some(work) = work else { return Ok(()) };
                let number = work.callbacks.len() + 1;
                work.callbacks.append(told(function, facts, data, number)?);
                Ok(())
            })
        })
    }
}

/// Trains, goes back to the best weights, tests them where there are test data, writes the model into the folder of the
/// run, and scores it on the whole images of validation and test data. The folder is made now.
///
/// The metrics that decide about the best weights and about stopping early must be ones that the run measures, or that a
/// function logs at its events; where no function was added, that is known before the run begins.
///
/// A finetuning runs once, whatever comes of it. After an error checkpoints and files stay as the last complete epoch left
/// them; a new finetuning with `resume` goes on from them.
///
/// @param finetuning  the finetuning.
/// @param report      nullable: what was done, as the JSON object that `glebe finetune --report` writes: `out` and `model`
///                    are paths; free it with glebe_buffer_free.
/// @param error       nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for a metric that there is not; GLEBE_STATUS_ALREADY_EXISTS for a folder with something in it; GLEBE_STATUS_MISMATCH for one with a run of other
///         settings; GLEBE_STATUS_INVALID_STATE where it has been run, and for a loss that is not finite;
///         GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME; errors of files; what an event function
///         returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_finetuning_run(
    finetuning: *mut glebe_finetuning,
    report: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let json = borrow(finetuning, "finetuning")?.enter(|work| {
                let Some(work) = work.take() else { return Err(Error::internal("nothing to run")) };
                run(work.finetuning, work.callbacks)
            })?;
            if let Ok(report) = Out::new(report, "report") {
                report.put(glebe_buffer::text(json));
            }
            Ok(())
        })
    }
}

/// Frees the finetuning. No call that was given it may still be running.
///
/// @param finetuning  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_finetuning_free(finetuning: *mut glebe_finetuning) {
    // SAFETY: NULL or a finetuning that is not used afterwards, by the header's contract.
    unsafe { free(finetuning, |finetuning| finetuning.0.is_foreign()) }
}

/// Finetunes in one call: glebe_finetuning_new and glebe_finetuning_run.
///
/// @param runtime  ONNX Runtime.
/// @param options  what it is told: a model and training data at least.
/// @param report   nullable: what was done, as glebe_finetuning_run gives it; free it with glebe_buffer_free.
/// @param error    nullable.
/// @return as these two.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_finetune(
    runtime: *const glebe_runtime,
    options: *const glebe_finetuning_options,
    report: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let runtime = borrow(runtime, "runtime")?;
            let asked = asked(options)?;
            let json = runtime.0.enter(|loaded| run(prepare(&loaded.runtime, &asked)?, Callbacks::new()))?;
            if let Ok(report) = Out::new(report, "report") {
                report.put(glebe_buffer::text(json));
            }
            Ok(())
        })
    }
}

#[cfg(feature = "raster")]
use crate::finetune::Finetuning;

#[cfg(feature = "raster")]
fn prepare(runtime: &Runtime, asked: &Asked<'_>) -> Result<Finetuning> {
    let mut finetuning = Finetuning::new(runtime, asked.config()?)?;
    if let Some(token) = &asked.cancel {
        finetuning.cancel_with(token)?;
    }
    finetuning.resume(asked.resume);
    Ok(finetuning)
}

#[cfg(feature = "raster")]
fn facts(finetuning: &Finetuning) -> Result<Facts> {
    Facts::of(finetuning.step())
}

#[cfg(feature = "raster")]
fn found(finetuning: &Finetuning) -> Result<String> {
    let (epochs, steps) = finetuning.length();
    json(&serde_json::json!({
        "out": finetuning.config().out,
        "data": finetuning.found(),
        "preflight": finetuning.preflight(),
        "length": { "epochs": epochs, "steps": steps },
        "init": finetuning.init(),
    }))
}

#[cfg(feature = "raster")]
fn run(finetuning: Finetuning, callbacks: Callbacks) -> Result<String> {
    // Functions of the program may log metrics of their own.
    if callbacks.is_empty() {
        finetuning.check_metrics()?;
    }
    json(&finetuning.run(callbacks)?)
}

#[cfg(feature = "raster")]
fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal("cannot encode the report").caused_by(error))
}

/// There are none in a build that reads no files.
#[cfg(not(feature = "raster"))]
enum Finetuning {}

#[cfg(not(feature = "raster"))]
fn prepare(_: &Runtime, _: &Asked<'_>) -> Result<Finetuning> {
    let message = "this build of glebe reads no files: it lacks the feature raster";
    Err(Error::new(ErrorKind::NotSupported, message))
}

#[cfg(not(feature = "raster"))]
fn facts(finetuning: &Finetuning) -> Result<Facts> {
    match *finetuning {}
}

#[cfg(not(feature = "raster"))]
fn found(finetuning: &Finetuning) -> Result<String> {
    match *finetuning {}
}

#[cfg(not(feature = "raster"))]
fn run(finetuning: Finetuning, _: Callbacks) -> Result<String> {
    match finetuning {}
}
