//! The error object.

use std::ffi::{CString, c_char};
use std::ptr::null;

use crate::error::Error;
use crate::ffi::boundary::{c_text, free, neutral, peek};
use crate::ffi::status::{GLEBE_STATUS_OK, glebe_status};

/// What went wrong in one call: made by that call, owned by the caller, freed with glebe_error_free.
///
/// Immutable: may be read from any thread, also after everything else of the library was freed.
pub struct glebe_error {
    code: i32,
    message: CString,
    path: Option<CString>,
    tile: i64,
    band: i64,
    tensor: Option<CString>,
    causes: Vec<CString>,
}

impl glebe_error {
    /// Everything as C wants it, on the heap.
    pub(super) fn boxed(error: Error) -> *mut glebe_error {
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            causes.push(c_text(error.to_string()));
            cause = error.source();
        }
        Box::into_raw(Box::new(glebe_error {
            code: error.kind().code(),
            message: c_text(error.one_line()),
            path: error.path().map(|path| c_text(path.to_string_lossy())),
            tile: error.tile().map_or(-1, |tile| i64::try_from(tile).unwrap_or(i64::MAX)),
            band: error.band().map_or(-1, i64::from),
            tensor: error.tensor().map(c_text),
            causes,
        }))
    }
}

/// The status that the failed call returned; GLEBE_STATUS_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_error_code(error: *const glebe_error) -> glebe_status {
    // SAFETY: NULL or an error object, by the header's contract.
    neutral(GLEBE_STATUS_OK, || Some(unsafe { peek(error) }?.code))
}

/// The whole text in one line: where (path, tile, band, tensor), what, and the causes.
///
/// @return a string owned by the error; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_error_message(error: *const glebe_error) -> *const c_char {
    // SAFETY: NULL or an error object, by the header's contract.
    neutral(null(), || Some(unsafe { peek(error) }?.message.as_ptr()))
}

/// The file that the error is about.
///
/// @return a string owned by the error; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_error_path(error: *const glebe_error) -> *const c_char {
    // SAFETY: NULL or an error object, by the header's contract.
    neutral(null(), || Some(unsafe { peek(error) }?.path.as_ref()?.as_ptr()))
}

/// The tile where it happened, counted from 0 in the order of the job; -1 where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_error_tile(error: *const glebe_error) -> i64 {
    // SAFETY: NULL or an error object, by the header's contract.
    neutral(-1, || Some(unsafe { peek(error) }?.tile))
}

/// The band that the error is about, counted from 1; -1 where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_error_band(error: *const glebe_error) -> i64 {
    // SAFETY: NULL or an error object, by the header's contract.
    neutral(-1, || Some(unsafe { peek(error) }?.band))
}

/// The model's tensor that the error is about.
///
/// @return a string owned by the error; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_error_tensor(error: *const glebe_error) -> *const c_char {
    // SAFETY: NULL or an error object, by the header's contract.
    neutral(null(), || Some(unsafe { peek(error) }?.tensor.as_ref()?.as_ptr()))
}

/// The number of causes: the chain of errors below this one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_error_cause_count(error: *const glebe_error) -> usize {
    // SAFETY: NULL or an error object, by the header's contract.
    neutral(0, || Some(unsafe { peek(error) }?.causes.len()))
}

/// The text of a cause, from 0, the nearest first. Unlike the message it may have several lines.
///
/// @return a string owned by the error; NULL from glebe_error_cause_count on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_error_cause(error: *const glebe_error, index: usize) -> *const c_char {
    // SAFETY: NULL or an error object, by the header's contract.
    neutral(null(), || Some(unsafe { peek(error) }?.causes.get(index)?.as_ptr()))
}

/// Frees the error and all strings it gave.
///
/// @param error  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_error_free(error: *mut glebe_error) {
    // SAFETY: NULL or an error object that is not used afterwards, by the header's contract.
    unsafe { free(error, |_| false) }
}
