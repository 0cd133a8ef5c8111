//! Runs of a trainer: fit, validate, test, predict, and going on from checkpoints.

use std::ffi::{c_char, c_void};
use std::sync::MutexGuard;

use crate::data::Loader;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::boundary::{
    Out, SizedOut, UserData, borrow, glebe_destroy_fn, returned, slice, status, text,
};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::glebe_error;
use crate::ffi::fit_options::{fit_options, glebe_fit_options};
use crate::ffi::loader::glebe_loader;
use crate::ffi::metrics::glebe_metrics;
use crate::ffi::run_state::{
    GLEBE_SPLIT_TEST, GLEBE_SPLIT_TRAIN, GLEBE_SPLIT_VAL, glebe_run_state, run_state,
};
use crate::ffi::status::glebe_status;
use crate::ffi::trainer::{Work, glebe_trainer};
use crate::finetune::{Checkpoint, Trainer};
use crate::hooks::Split;

/// A loader that a run has for itself.
type Locked<'a> = MutexGuard<'a, Box<dyn Loader + Send>>;

/// # Safety
/// `loader` is NULL or as the header's contract wants it.
pub(super) unsafe fn locked<'a>(loader: *mut glebe_loader, name: &str) -> Result<Locked<'a>> {
    // SAFETY: by this function's contract.
    unsafe { borrow(loader, name)? }.lock()
}

/// The loader, or none for NULL.
///
/// # Safety
/// As [`locked`].
pub(super) unsafe fn optional<'a>(loader: *mut glebe_loader, name: &str) -> Result<Option<Locked<'a>>> {
    match loader.is_null() {
        true => Ok(None),
        // SAFETY: by this function's contract.
        false => unsafe { locked(loader, name) }.map(Some),
    }
}

impl Work {
    /// The trainer, where it was said how a training goes.
    pub(super) fn prepared(&mut self) -> Result<&mut Trainer> {
        if !self.has_fit_options {
            let message = "how the training goes was not said: call glebe_trainer_set_fit_options first";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        self.logits = None;
        Ok(&mut self.trainer)
    }
}

/// Says how the training goes: for glebe_trainer_fit and all that follows it. May be called again between runs: for more
/// epochs, for example. Nothing has changed where it fails.
///
/// @param trainer  the trainer.
/// @param options  how; epochs must be set.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for an option out of range; GLEBE_STATUS_NOT_SUPPORTED for checkpoints together
///         with GLEBE_TAIL_CARRY and more than one batch an update; GLEBE_STATUS_MISMATCH for another seed than that of the checkpoint that the next fit goes
///         on from; GLEBE_STATUS_IO for a folder that cannot be made; GLEBE_STATUS_INVALID_STATE while the trainer is in
///         use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_set_fit_options(
    trainer: *mut glebe_trainer,
    options: *const glebe_fit_options,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let options = fit_options(options)?;
            trainer.enter(|work| {
                work.trainer.set_options(options)?;
                work.has_fit_options = true;
                Ok(())
            })
        })
    }
}

/// Trains for the epochs that are left, and validates in between where there are data for it. The weights are those of the
/// last update, also after an error; glebe_trainer_export writes them.
///
/// After an error within an epoch the trainer can do all but go on with the fit: that needs a checkpoint
/// (glebe_trainer_resume, glebe_trainer_resume_newest).
///
/// @param trainer     the trainer.
/// @param train       the batches to train on.
/// @param validation  nullable: the batches to validate on; not `train`.
/// @param error       nullable.
/// @return GLEBE_STATUS_INVALID_STATE without glebe_trainer_set_fit_options, where the fit before was interrupted within an
///         epoch and none is resumed, and where trainer or loader are in use; as glebe_trainer_step; errors of files for
///         checkpoints; what a function of a loader or an event returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_fit(
    trainer: *mut glebe_trainer,
    train: *mut glebe_loader,
    validation: *mut glebe_loader,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let mut train = locked(train, "train")?;
            let mut validation = optional(validation, "validation")?;
            trainer.enter(|work| {
                let validation = validation.as_mut().map(|own| &mut ***own as &mut dyn Loader);
                work.prepared()?.fit(&mut **train, validation)
            })
        })
    }
}

/// Validates, without training.
///
/// @param trainer  the trainer.
/// @param data     the batches.
/// @param metrics  nullable: the metrics, to free with glebe_metrics_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE where trainer or loader are in use; as glebe_trainer_step; what a function of a
///         loader or an event returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_validate(
    trainer: *mut glebe_trainer,
    data: *mut glebe_loader,
    metrics: *mut *mut glebe_metrics,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe { evaluated(trainer, data, metrics, error, |trainer, data| trainer.validate(data)) }
}

/// Tests: as glebe_trainer_validate, with the events of a test.
///
/// @param trainer  the trainer.
/// @param data     the batches.
/// @param metrics  nullable: the metrics, to free with glebe_metrics_free.
/// @param error    nullable.
/// @return as glebe_trainer_validate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_test(
    trainer: *mut glebe_trainer,
    data: *mut glebe_loader,
    metrics: *mut *mut glebe_metrics,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe { evaluated(trainer, data, metrics, error, |trainer, data| trainer.test(data)) }
}

/// # Safety
/// All pointers are NULL or as the header's contract wants them.
unsafe fn evaluated(
    trainer: *mut glebe_trainer,
    data: *mut glebe_loader,
    metrics: *mut *mut glebe_metrics,
    error: *mut *mut glebe_error,
    run: impl FnOnce(&mut Trainer, &mut dyn Loader) -> Result<Vec<(String, f64)>>,
) -> glebe_status {
    // SAFETY: by this function's contract.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let mut data = locked(data, "data")?;
            let found = trainer.enter(|work| run(&mut work.trainer, &mut **data))?;
            if let Ok(metrics) = Out::new(metrics, "metrics") {
                metrics.put(glebe_metrics::boxed(found));
            }
            Ok(())
        })
    }
}

/// Takes the logits of a batch, dense [N, K, H, W], of which the first `images` images count. They are valid during the
/// call. A return value other than 0 ends the run, as that of a glebe_event_fn does; what else is said there holds here
/// too.
pub type glebe_logits_fn = Option<
    unsafe extern "C" fn(
        batch: usize,
        images: usize,
        logits: *const f32,
        length: usize,
        user_data: *mut c_void,
    ) -> i32,
>;

/// Predicts: the logits of every batch.
///
/// @param trainer    the trainer.
/// @param data       the batches; of the labels only their number counts.
/// @param function   nullable: takes the logits. (Event functions have them at GLEBE_EVENT_PREDICTION_END.)
/// @param user_data  nullable: passed to function.
/// @param destroy    nullable: called once with user_data before this function returns.
/// @param error      nullable.
/// @return as glebe_trainer_validate; what `function` returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_predict(
    trainer: *mut glebe_trainer,
    data: *mut glebe_loader,
    function: glebe_logits_fn,
    user_data: *mut c_void,
    destroy: glebe_destroy_fn,
    error: *mut *mut glebe_error,
) -> glebe_status {
    let own = UserData::new(user_data, destroy);
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let mut data = locked(data, "data")?;
            let own = own;
            trainer.enter(|work| {
                work.trainer.predict(&mut **data, &mut |batch, images, logits| {
                    let Some(function) = function else { return Ok(()) };
                    let code = function(batch, images, logits.as_ptr(), logits.len(), own.pointer());
                    returned(code, || format!("the function that takes logits, for batch {batch},"))
                })
            })
        })
    }
}

/// Predicts over parts of the data, in the order given, between GLEBE_EVENT_INFERENCE_START and
/// GLEBE_EVENT_INFERENCE_END; event functions take the logits.
///
/// @param trainer  the trainer.
/// @param splits   which parts they are: GLEBE_SPLIT_TRAIN, _VAL or _TEST.
/// @param loaders  the batches of each; each loader once.
/// @param length   number of parts.
/// @param error    nullable.
/// @return as glebe_trainer_validate; GLEBE_STATUS_INVALID_ARGUMENT for a split that there is not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_infer(
    trainer: *mut glebe_trainer,
    splits: *const i32,
    loaders: *const *mut glebe_loader,
    length: usize,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let splits = slice(splits, length, "splits")?;
            let loaders = slice(loaders, length, "loaders")?;
            let mut parts: Vec<(Split, Locked<'_>)> = Vec::new();
            for (index, (number, loader)) in splits.iter().zip(loaders).enumerate() {
                parts.push((split(*number)?, locked(*loader, &format!("loaders[{index}]"))?));
            }
            let mut parts: Vec<(Split, &mut dyn Loader)> =
                parts.iter_mut().map(|(split, own)| (*split, &mut ***own as &mut dyn Loader)).collect();
            trainer.enter(|work| work.trainer.infer(&mut parts))
        })
    }
}

/// The part of the data that a number stands for.
pub(super) fn split(number: i32) -> Result<Split> {
    match number {
        GLEBE_SPLIT_TRAIN => Ok(Split::Train),
        GLEBE_SPLIT_VAL => Ok(Split::Val),
        GLEBE_SPLIT_TEST => Ok(Split::Test),
        other => {
            let (least, most) = (GLEBE_SPLIT_TRAIN, GLEBE_SPLIT_TEST);
            Err(Error::invalid(format!("split is {other}: expected {least} to {most}")))
        }
    }
}

/// Lets the next glebe_trainer_fit go on from a checkpoint: with the same options, data and event functions, bit by bit as
/// if it had never stopped.
///
/// @param trainer  the trainer.
/// @param path     a checkpoint of a fit, or of glebe_trainer_save_checkpoint.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE without glebe_trainer_set_fit_options; GLEBE_STATUS_NOT_FOUND;
///         GLEBE_STATUS_INVALID_ARGUMENT for a file that is no checkpoint; GLEBE_STATUS_NOT_SUPPORTED for one of a later
///         version; GLEBE_STATUS_MISMATCH for one of another model, seed or set of trained tensors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_resume(
    trainer: *mut glebe_trainer,
    path: *const c_char,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let path = text(path, "path")?;
            trainer.enter(|work| {
                let trainer = work.prepared()?;
                trainer.resume(Checkpoint::read(path)?).map_err(|error| error.at_path(path))
            })
        })
    }
}

/// As glebe_trainer_resume, from the newest checkpoint of the folder of the options that can be read. The log tells of
/// those that cannot.
///
/// @param trainer  the trainer.
/// @param found    nullable: 1 where there is one, else 0; the next fit begins anew then.
/// @param error    nullable.
/// @return as glebe_trainer_resume; GLEBE_STATUS_INVALID_STATE where the options have no checkpoint_folder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_resume_newest(
    trainer: *mut glebe_trainer,
    found: *mut i32,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let is_found = borrow(trainer, "trainer")?.enter(|work| work.prepared()?.resume_newest())?;
            if let Ok(found) = Out::new(found, "found") {
                found.put(i32::from(is_found));
            }
            Ok(())
        })
    }
}

/// Writes where the training stands, at the end of an epoch, to go on from with glebe_trainer_resume. The file appears
/// complete or not at all, in the place of one that is there.
///
/// @param trainer  the trainer.
/// @param path     the file to write.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE without glebe_trainer_set_fit_options, within an epoch (as an error has left it) and
///         while gradients wait; errors of files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_save_checkpoint(
    trainer: *mut glebe_trainer,
    path: *const c_char,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let path = text(path, "path")?;
            trainer.enter(|work| work.prepared()?.checkpoint()?.write(path))
        })
    }
}

/// Where the runs of the trainer stand. Event functions ask glebe_event_run_state.
///
/// @param trainer  the trainer.
/// @param state    the struct to fill, initialised by glebe_run_state_init.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE while the trainer is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_run_state(
    trainer: *const glebe_trainer,
    state: *mut glebe_run_state,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let out = SizedOut::new(state, "state")?;
            out.put(trainer.enter(|work| Ok(run_state(work.trainer.state())))?);
            Ok(())
        })
    }
}

/// The message of the checkpoint that was loaded last: "Loading checkpoint that was created at (epoch = 2, global_step =
/// 4)". Event functions ask glebe_event_checkpoint_message.
///
/// @param trainer  the trainer.
/// @param message  the text, empty where none was loaded; free it with glebe_buffer_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE while the trainer is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_checkpoint_message(
    trainer: *const glebe_trainer,
    message: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let out = Out::new(message, "message")?;
            let message = trainer.enter(|work| Ok(work.trainer.state().checkpoint_message.clone()))?;
            out.put(glebe_buffer::text(message));
            Ok(())
        })
    }
}
