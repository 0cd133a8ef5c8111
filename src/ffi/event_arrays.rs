//! The arrays of an event: the batch at hand, logits, tensors.

use std::ffi::c_char;
use std::ptr::null;

use crate::error::{Error, Result};
use crate::ffi::batch::{glebe_batch, shown};
use crate::ffi::boundary::{Out, SizedOut, borrow, copy, neutral, peek, some_of, status, text};
use crate::ffi::error::glebe_error;
use crate::ffi::event_context::glebe_event_context;
use crate::ffi::field::pick;
use crate::ffi::status::glebe_status;
use crate::ffi::trainer::{GLEBE_TENSOR_GRADIENT, GLEBE_TENSOR_WEIGHT};
use crate::hooks::Access;
use crate::weights::tensors::{Elements, NamedTensor};

/// The batch at hand as the loader gave it, from GLEBE_EVENT_BATCH_START to GLEBE_EVENT_BATCH_END. Its arrays are valid
/// during the event, and to be read only.
///
/// @param context  the event's.
/// @param batch    the struct to fill, initialised by glebe_batch_init.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE at other events, and after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_batch(
    context: *const glebe_event_context,
    batch: *mut glebe_batch,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            let out = SizedOut::new(batch, "batch")?;
            out.put(own.access(|access| Ok(shown(&access.batch()?)))?);
            Ok(())
        })
    }
}

/// How many images of the batch at hand count: the first ones; the others fill it up. 0 where there is no batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_images(context: *const glebe_event_context) -> usize {
    // SAFETY: NULL or a context, by the header's contract.
    neutral(0, || unsafe { peek(context) }?.access(|access| Ok(access.images())).ok())
}

/// The logits of the batch at hand, dense [N, K, H, W]: in evaluations and predictions always, in training where they were
/// wanted, see glebe_event_want_logits.
///
/// @param context  the event's.
/// @param logits   the logits, valid during the event.
/// @param length   their number.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE where there are none, and after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_logits(
    context: *const glebe_event_context,
    logits: *mut *const f32,
    length: *mut usize,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            let (values_out, length_out) = (Out::new(logits, "logits")?, Out::new(length, "length")?);
            let (values, length) = own.access(|access| {
                let logits = access.logits()?;
                Ok((logits.as_ptr(), logits.len()))
            })?;
            values_out.put(values);
            length_out.put(length);
            Ok(())
        })
    }
}

/// What the pixels of the batch at hand are, as the loss sees them: classes [N, H, W], 0 where a pixel does not count, and
/// a mask [N, H, W], 0 where it does not, else 1. From GLEBE_EVENT_BACKWARD_START or GLEBE_EVENT_METRICS_START to
/// GLEBE_EVENT_BATCH_END.
///
/// @param context  the event's.
/// @param classes  the classes, valid during the event.
/// @param mask     the mask, valid during the event.
/// @param length   number of values of each.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_STATE at other events, for a regression, and after the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_truth(
    context: *const glebe_event_context,
    classes: *mut *const i64,
    mask: *mut *const f32,
    length: *mut usize,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            let (classes_out, mask_out) = (Out::new(classes, "classes")?, Out::new(mask, "mask")?);
            let length_out = Out::new(length, "length")?;
            let (classes, mask, length) = own.access(|access| {
                let truth = access.truth()?;
                Ok((truth.classes.as_ptr(), truth.mask.as_ptr(), truth.classes.len()))
            })?;
            classes_out.put(classes);
            mask_out.put(mask);
            length_out.put(length);
            Ok(())
        })
    }
}

/// Shape [N, C, H, W] of the images.
///
/// @param context  the event's.
/// @param shape    nullable: the memory to copy up to `length` sizes to.
/// @param length   number of sizes there.
/// @return the number of sizes that there are: 4; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_image_shape(
    context: *const glebe_event_context,
    shape: *mut usize,
    length: usize,
) -> usize {
    // SAFETY: NULL or as the header's contract wants them.
    neutral(0, || unsafe { Some(some_of(&peek(context)?.facts.image_shape, shape, length)) })
}

/// Shape [N, K, H, W] of the logits.
///
/// @param context  the event's.
/// @param shape    nullable: the memory to copy up to `length` sizes to.
/// @param length   number of sizes there.
/// @return the number of sizes that there are; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_logits_shape(
    context: *const glebe_event_context,
    shape: *mut usize,
    length: usize,
) -> usize {
    // SAFETY: NULL or as the header's contract wants them.
    neutral(0, || unsafe { Some(some_of(&peek(context)?.facts.logits_shape, shape, length)) })
}

/// Number of tensors that are trained, and of running statistics, as glebe_trainer_tensor_count gives it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_tensor_count(context: *const glebe_event_context) -> usize {
    // SAFETY: NULL or a context, by the header's contract.
    neutral(0, || Some(unsafe { peek(context) }?.facts.tensors.len()))
}

/// Name of a tensor: of its initializer in the model.
///
/// @return a string that is valid during the event; NULL from glebe_event_tensor_count on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_tensor_name(
    context: *const glebe_event_context,
    index: usize,
) -> *const c_char {
    // SAFETY: NULL or a context, by the header's contract.
    neutral(null(), || Some(unsafe { peek(context) }?.facts.tensors.get(index)?.0.as_ptr()))
}

/// Shape of a tensor.
///
/// @param context  the event's.
/// @param index    its number, below glebe_event_tensor_count.
/// @param shape    nullable: the memory to copy up to `length` sizes to.
/// @param length   number of sizes there.
/// @return the number of sizes that there are; 0 for a scalar, for NULL, and from glebe_event_tensor_count on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_tensor_shape(
    context: *const glebe_event_context,
    index: usize,
    shape: *mut usize,
    length: usize,
) -> usize {
    neutral(0, || {
        // SAFETY: NULL or as the header's contract wants them.
        unsafe {
            let (_, own) = peek(context)?.facts.tensors.get(index)?;
            Some(some_of(own, shape, length))
        }
    })
}

/// Copies the elements of a tensor, dense in the order of its shape: of a weight as it is now, or of the mean of its
/// waiting gradients, from GLEBE_EVENT_BACKWARD_START to the update.
///
/// @param context  the event's.
/// @param kind     GLEBE_TENSOR_WEIGHT or GLEBE_TENSOR_GRADIENT.
/// @param name     its name.
/// @param values   the memory to copy to.
/// @param length   number of values there: the product of glebe_event_tensor_shape.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for a kind or name that there is not; GLEBE_STATUS_INVALID_STATE for gradients
///         where none wait, and after the event; GLEBE_STATUS_MISMATCH for another length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_event_tensor(
    context: *const glebe_event_context,
    kind: i32,
    name: *const c_char,
    values: *mut f32,
    length: usize,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let own = borrow(context, "context")?;
            let name = text(name, "name")?;
            let target = Out::new(values, "values")?;
            type Get = fn(&mut dyn Access, &str) -> Result<NamedTensor>;
            let kinds: [(i32, Get); 2] = [
                (GLEBE_TENSOR_WEIGHT, |access, name| access.weight(name)),
                (GLEBE_TENSOR_GRADIENT, |access, name| access.gradient(name)),
            ];
            let get = pick("kind", kind, &kinds)?;
            match own.access(|access| get(access, name))?.elements {
                Elements::F32(values) => copy(&values, target, length),
                _ => Err(Error::internal("a tensor that is not float32").at_tensor(name)),
            }
        })
    }
}
