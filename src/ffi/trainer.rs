//! Training steps.

use std::ffi::{CString, c_char};
use std::ptr::null;
use std::sync::{Arc, Mutex, TryLockError};

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::batch::{batch, glebe_batch};
use crate::ffi::boundary::{
    Handle, Out, borrow, c_text, copy, free, neutral, peek, slice, some_of, status, text,
};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::glebe_error;
use crate::ffi::field::{flag, pick};
use crate::ffi::model::glebe_model;
use crate::ffi::status::glebe_status;
use crate::ffi::trainer_options::{asked, glebe_trainer_options};
use crate::finetune::{Applied, FitOptions, TrainState, TrainStep, Trainer, preflight};
use crate::hooks::Callbacks;
use crate::model::Contract;
use crate::weights::tensors::{Elements, NamedTensor};

/// Trained weights and the running statistics that steps update.
pub const GLEBE_TENSOR_WEIGHT: i32 = 0;
/// The mean of the waiting gradients, before clipping; between glebe_trainer_accumulate and glebe_trainer_apply.
pub const GLEBE_TENSOR_GRADIENT: i32 = 1;
/// Moving averages of the trained weights.
pub const GLEBE_TENSOR_AVERAGE: i32 = 2;

/// Loss, gradients and update of one model on batches of one shape, with the weights and the optimizer's state.
///
/// A call that fails or is cancelled leaves weights and state as they were. One call at a time: a call while another is
/// at work, in another thread or in this one (from a callback of a run), is GLEBE_STATUS_INVALID_STATE. Shapes and names
/// may be asked for at any time. The trainer may be handed from thread to thread.
pub struct glebe_trainer(Handle<Inner>);

struct Inner {
    facts: Arc<Facts>,
    #[cfg_attr(not(feature = "raster"), allow(dead_code, reason = "loaders of rasters ask for it"))]
    contract: Contract,
    work: Mutex<Work>,
}

/// What is settled when the trainer is made.
pub(super) struct Facts {
    /// Names and shapes of what is trained, and of the statistics behind them.
    pub(super) tensors: Vec<(CString, Vec<usize>)>,
    pub(super) image_shape: Vec<usize>,
    pub(super) logits_shape: Vec<usize>,
}

impl Facts {
    pub(super) fn of(step: &TrainStep) -> Result<Facts> {
        let tensors = step.weights()?.into_iter().map(|(name, tensor)| (c_text(name), tensor.shape));
        Ok(Facts {
            tensors: tensors.collect(),
            image_shape: step.image_shape().to_vec(),
            logits_shape: step.logits_shape().to_vec(),
        })
    }
}

pub(super) struct Work {
    pub(super) trainer: Trainer,
    /// Of the last step by itself.
    pub(super) logits: Option<Vec<f32>>,
    /// Whether it was said how a training goes.
    pub(super) has_fit_options: bool,
}

impl glebe_trainer {
    pub(super) fn enter<R>(&self, work: impl FnOnce(&mut Work) -> Result<R>) -> Result<R> {
        self.0.enter(|inner| match inner.work.try_lock() {
            Ok(mut own) => work(&mut own),
            Err(TryLockError::WouldBlock) => {
                let message =
                    "the trainer is in use, by another thread or by the run that calls this callback";
                Err(Error::new(ErrorKind::InvalidState, message))
            }
            Err(TryLockError::Poisoned(_)) => {
                Err(Error::internal("the trainer was left in the middle of a call"))
            }
        })
    }

    pub(super) fn facts(&self) -> &Arc<Facts> {
        &self.0.peek().facts
    }

    /// What the model says of the rasters that it takes.
    #[cfg(feature = "raster")]
    pub(super) fn contract(&self) -> &Contract {
        &self.0.peek().contract
    }
}

/// Builds a training step; takes seconds.
///
/// @param model    the model; may be freed afterwards.
/// @param options  what to train and how; batch, height and width must be set.
/// @param out      the trainer, to free with glebe_trainer_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for an option out of range or a pattern that matches nothing;
///         GLEBE_STATUS_MODEL_UNSUPPORTED naming the node that has no gradient; GLEBE_STATUS_MISMATCH for shapes that the
///         model does not take; GLEBE_STATUS_NOT_SUPPORTED; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
///         GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_new(
    model: *const glebe_model,
    options: *const glebe_trainer_options,
    out: *mut *mut glebe_trainer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let model = borrow(model, "model")?;
            let asked = asked(options)?;
            let out = Out::new(out, "out")?;
            let (contract, mut step) = model.0.enter(|opened| {
                let step = TrainStep::new(&opened.model, &asked.step, &asked.run)?;
                Ok((opened.model.contract().clone(), step))
            })?;
            if let Some(token) = &asked.cancel {
                step.cancel_with(token)?;
            }
            let facts = Arc::new(Facts::of(&step)?);
            // Nothing to fit until it is said how.
            let trainer = Trainer::new(step, FitOptions::new(0, 0.0), Callbacks::new())?;
            let work = Mutex::new(Work { trainer, logits: None, has_fit_options: false });
            out.put(Box::into_raw(Box::new(glebe_trainer(Handle::new(Inner { facts, contract, work })))));
            Ok(())
        })
    }
}

/// What training the model with these options would mean, without running anything: what is trained, which nodes the
/// gradient flows through, what stands in the way, the memory that it takes. A model that cannot be trained is no error
/// here: `problems` of the object says why.
///
/// @param model    the model.
/// @param options  as for glebe_trainer_new.
/// @param json     the JSON object `training` of `glebe inspect --params --json`; free it with glebe_buffer_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for an option out of range or a pattern that matches nothing;
///         GLEBE_STATUS_MISMATCH for shapes that the model does not take; GLEBE_STATUS_MODEL_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_preflight(
    model: *const glebe_model,
    options: *const glebe_trainer_options,
    json: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let model = borrow(model, "model")?;
            let asked = asked(options)?;
            let out = Out::new(json, "json")?;
            let report = model.0.enter(|opened| preflight(&opened.model, &asked.step))?;
            let text = serde_json::to_string_pretty(&report)
                .map_err(|error| Error::internal("cannot encode the report").caused_by(error))?;
            out.put(glebe_buffer::text(text));
            Ok(())
        })
    }
}

/// Frees the trainer. No call that was given it may still be running.
///
/// @param trainer  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_free(trainer: *mut glebe_trainer) {
    // SAFETY: NULL or a trainer that is not used afterwards, by the header's contract.
    unsafe { free(trainer, |trainer| trainer.0.is_foreign()) }
}

/// Loss and gradients of a batch, and the update of the weights.
///
/// @param trainer        the trainer.
/// @param batch          images and labels.
/// @param learning_rate  0 or more.
/// @param loss           nullable: the loss before the update.
/// @param error          nullable.
/// @return GLEBE_STATUS_MISMATCH for arrays of wrong lengths; GLEBE_STATUS_INVALID_ARGUMENT for a label that is no class,
///         saying where it stands; GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_step(
    trainer: *mut glebe_trainer,
    batch: *const glebe_batch,
    learning_rate: f32,
    loss: *mut f32,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe { forward(trainer, batch, loss, error, |step, batch| step.step(batch, learning_rate)) }
}

/// Loss and gradients of a batch; the gradients are added to those that wait for glebe_trainer_apply.
///
/// @param trainer  the trainer.
/// @param batch    images and labels.
/// @param loss     nullable: the loss.
/// @param error    nullable.
/// @return as glebe_trainer_step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_accumulate(
    trainer: *mut glebe_trainer,
    batch: *const glebe_batch,
    loss: *mut f32,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe { forward(trainer, batch, loss, error, TrainStep::accumulate) }
}

/// # Safety
/// All pointers are NULL or as the header's contract wants them.
unsafe fn forward(
    trainer: *mut glebe_trainer,
    given: *const glebe_batch,
    loss: *mut f32,
    error: *mut *mut glebe_error,
    run: impl FnOnce(&mut TrainStep, &crate::finetune::Batch<'_>) -> Result<crate::finetune::StepOutput>,
) -> glebe_status {
    // SAFETY: by this function's contract.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let batch = batch(given)?;
            let output = trainer.enter(|work| {
                let output = run(work.trainer.step_mut(), &batch)?;
                work.logits = output.logits;
                Ok(output.loss)
            })?;
            if let Ok(loss) = Out::new(loss, "loss") {
                loss.put(output);
            }
            Ok(())
        })
    }
}

/// Updates the weights with the mean of the waiting gradients.
///
/// @param trainer        the trainer.
/// @param learning_rate  0 or more.
/// @param skipped        nullable: 1 where the gradients were not finite and nothing was changed (with a loss scale only),
///                       else 0.
/// @param norm           nullable: Euclidean norm of the gradients before clipping; NaN unless the optimizer clips by it
///                       or has a loss scale.
/// @param error          nullable.
/// @return GLEBE_STATUS_INVALID_STATE where no gradients wait; GLEBE_STATUS_INVALID_ARGUMENT for the learning rate;
///         GLEBE_STATUS_RUNTIME.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_apply(
    trainer: *mut glebe_trainer,
    learning_rate: f32,
    skipped: *mut i32,
    norm: *mut f32,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let Applied { skipped: was_skipped, gradient_norm, .. } =
                trainer.enter(|work| work.trainer.step_mut().apply(learning_rate))?;
            if let Ok(skipped) = Out::new(skipped, "skipped") {
                skipped.put(i32::from(was_skipped));
            }
            if let Ok(norm) = Out::new(norm, "norm") {
                norm.put(gradient_norm.unwrap_or(f32::NAN));
            }
            Ok(())
        })
    }
}

/// Forgets the waiting gradients.
///
/// @param trainer  the trainer.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE while the trainer is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_discard(
    trainer: *mut glebe_trainer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            borrow(trainer, "trainer")?.enter(|work| {
                work.trainer.step_mut().discard();
                Ok(())
            })
        })
    }
}

/// What the loss's gradient is multiplied with from the next batch on, and divided by before the update. Default 1.
///
/// @param trainer  a trainer whose options had loss_scale 1.
/// @param scale    above 0.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for the scale; GLEBE_STATUS_INVALID_STATE without loss_scale, and while gradients
///         wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_set_loss_scale(
    trainer: *mut glebe_trainer,
    scale: f32,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            borrow(trainer, "trainer")?.enter(|work| work.trainer.step_mut().set_loss_scale(scale))
        })
    }
}

/// Whether steps keep their logits for glebe_trainer_logits.
///
/// @param trainer  the trainer.
/// @param wanted   1 or 0 (as it is at first).
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for another number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_want_logits(
    trainer: *mut glebe_trainer,
    wanted: i32,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let wanted = flag("wanted", wanted)?;
            trainer.enter(|work| {
                work.trainer.step_mut().want_logits(wanted);
                Ok(())
            })
        })
    }
}

/// Copies the logits of the last step or glebe_trainer_accumulate, dense [N, K, H, W].
///
/// @param trainer  the trainer.
/// @param logits   the memory to copy to.
/// @param length   number of values there: the product of glebe_trainer_logits_shape.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE unless they were wanted; GLEBE_STATUS_MISMATCH for another length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_logits(
    trainer: *mut glebe_trainer,
    logits: *mut f32,
    length: usize,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let target = Out::new(logits, "logits")?;
            trainer.enter(|work| match &work.logits {
                Some(values) => copy(values, target, length),
                None => Err(Error::new(ErrorKind::InvalidState, "the last step kept no logits")),
            })
        })
    }
}

/// Shape [N, C, H, W] of the images.
///
/// @param trainer  the trainer.
/// @param shape    nullable: the memory to copy up to `length` sizes to.
/// @param length   number of sizes there.
/// @return the number of sizes that there are: 4; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_image_shape(
    trainer: *const glebe_trainer,
    shape: *mut usize,
    length: usize,
) -> usize {
    // SAFETY: NULL or as the header's contract wants them.
    neutral(0, || unsafe { Some(some_of(&peek(trainer)?.facts().image_shape, shape, length)) })
}

/// Shape [N, K, H, W] of the logits. Labels have [N, H, W] of it.
///
/// @param trainer  the trainer.
/// @param shape    nullable: the memory to copy up to `length` sizes to.
/// @param length   number of sizes there.
/// @return the number of sizes that there are; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_logits_shape(
    trainer: *const glebe_trainer,
    shape: *mut usize,
    length: usize,
) -> usize {
    // SAFETY: NULL or as the header's contract wants them.
    neutral(0, || unsafe { Some(some_of(&peek(trainer)?.facts().logits_shape, shape, length)) })
}

/// Number of tensors that are trained, and of running statistics that steps update.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_tensor_count(trainer: *const glebe_trainer) -> usize {
    // SAFETY: NULL or a trainer, by the header's contract.
    neutral(0, || Some(unsafe { peek(trainer) }?.facts().tensors.len()))
}

/// Name of a tensor: of its initializer in the model.
///
/// @return a string owned by the trainer; NULL from glebe_trainer_tensor_count on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_tensor_name(
    trainer: *const glebe_trainer,
    index: usize,
) -> *const c_char {
    neutral(null(), || {
        // SAFETY: NULL or a trainer, by the header's contract.
        let (name, _) = unsafe { peek(trainer) }?.facts().tensors.get(index)?;
        Some(name.as_ptr())
    })
}

/// Shape of a tensor.
///
/// @param trainer  the trainer.
/// @param index    its number, below glebe_trainer_tensor_count.
/// @param shape    nullable: the memory to copy up to `length` sizes to.
/// @param length   number of sizes there.
/// @return the number of sizes that there are; 0 for a scalar, for NULL, and from glebe_trainer_tensor_count on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_tensor_shape(
    trainer: *const glebe_trainer,
    index: usize,
    shape: *mut usize,
    length: usize,
) -> usize {
    neutral(0, || {
        // SAFETY: NULL or as the header's contract wants them.
        unsafe {
            let (_, own) = peek(trainer)?.facts().tensors.get(index)?;
            Some(some_of(own, shape, length))
        }
    })
}

/// Copies the elements of a tensor, dense in the order of its shape.
///
/// @param trainer  the trainer.
/// @param kind     GLEBE_TENSOR_*.
/// @param name     its name.
/// @param values   the memory to copy to.
/// @param length   number of values there: the product of glebe_trainer_tensor_shape.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for a kind or name that there is not; GLEBE_STATUS_INVALID_STATE for gradients
///         where none wait, and for averages without ema_decay; GLEBE_STATUS_MISMATCH for another length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_tensor(
    trainer: *const glebe_trainer,
    kind: i32,
    name: *const c_char,
    values: *mut f32,
    length: usize,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let name = text(name, "name")?;
            let target = Out::new(values, "values")?;
            type Get = fn(&TrainStep, &str) -> Result<NamedTensor>;
            let kinds: [(i32, Get); 3] = [
                (GLEBE_TENSOR_WEIGHT, TrainStep::weight),
                (GLEBE_TENSOR_GRADIENT, TrainStep::gradient),
                (GLEBE_TENSOR_AVERAGE, TrainStep::average),
            ];
            let get = pick("kind", kind, &kinds)?;
            match trainer.enter(|work| get(work.trainer.step(), name))?.elements {
                Elements::F32(values) => copy(&values, target, length),
                _ => Err(Error::internal("a tensor that is not float32").at_tensor(name)),
            }
        })
    }
}

/// Number of updates so far.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_updates(trainer: *const glebe_trainer) -> u64 {
    // SAFETY: NULL or a trainer, by the header's contract.
    neutral(0, || unsafe { peek(trainer) }?.enter(|work| Ok(work.trainer.step().updates())).ok())
}

/// Whether the feature cache keeps what the frozen part gives for the image with this key: 1 or 0. A batch whose keys are
/// all kept may come without images.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_has_features(trainer: *const glebe_trainer, key: u64) -> i32 {
    neutral(0, || {
        // SAFETY: NULL or a trainer, by the header's contract.
        let trainer = unsafe { peek(trainer) }?;
        trainer.enter(|work| Ok(i32::from(work.trainer.step().has_features(key)))).ok()
    })
}

/// All that steps change, as the bytes of a safetensors file: weights, statistics, the optimizer's state, averages, the
/// number of updates.
///
/// @param trainer  the trainer.
/// @param out      the bytes; free them with glebe_buffer_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE while gradients wait; GLEBE_STATUS_RUNTIME.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_state(
    trainer: *const glebe_trainer,
    out: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let out = Out::new(out, "out")?;
            let bytes = trainer.enter(|work| work.trainer.step().state()?.to_bytes())?;
            out.put(glebe_buffer::bytes(bytes));
            Ok(())
        })
    }
}

/// Goes on from a state of a trainer of the same model and options, bit by bit as that one would have. Waiting gradients
/// are forgotten.
///
/// @param trainer  the trainer.
/// @param bytes    what glebe_trainer_state gave.
/// @param size     number of bytes.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for bytes that are no state; GLEBE_STATUS_MISMATCH for the state of another
///         trainer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_set_state(
    trainer: *mut glebe_trainer,
    bytes: *const u8,
    size: usize,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let state = TrainState::from_bytes(slice(bytes, size, "bytes")?)?;
            trainer.enter(|work| work.trainer.step_mut().set_state(&state))
        })
    }
}

/// Writes the finetuned model: the original file with the trained tensors' new elements and a note of what was trained in
/// its metadata. The file appears complete or not at all.
///
/// @param trainer    the trainer.
/// @param path       the file to write.
/// @param averages   1: the moving averages in place of the weights; 0: the weights.
/// @param overwrite  1 replaces an existing file; 0: it is GLEBE_STATUS_ALREADY_EXISTS.
/// @param error      nullable.
/// @return GLEBE_STATUS_INVALID_STATE for averages without ema_decay; GLEBE_STATUS_LIMIT_EXCEEDED from 2 GiB on; errors of
///         files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_export(
    trainer: *const glebe_trainer,
    path: *const c_char,
    averages: i32,
    overwrite: i32,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let path = text(path, "path")?;
            let (averages, overwrite) = (flag("averages", averages)?, flag("overwrite", overwrite)?);
            trainer.enter(|work| match averages {
                true => work.trainer.step().export_averages_to(path, overwrite),
                false => work.trainer.step().export_to(path, overwrite),
            })
        })
    }
}
