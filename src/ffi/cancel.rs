//! Stopping a job from outside.

use crate::ffi::boundary::{free, neutral, peek};
use crate::runtime::CancelToken;

/// Asks running jobs to stop. Any number of jobs may share one; once set it stays set.
pub struct glebe_cancel_token(CancelToken);

impl glebe_cancel_token {
    pub(super) fn token(&self) -> &CancelToken {
        &self.0
    }
}

/// A token that is not set.
///
/// @return a handle to free with glebe_cancel_token_free; never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn glebe_cancel_token_new() -> *mut glebe_cancel_token {
    Box::into_raw(Box::new(glebe_cancel_token(CancelToken::new())))
}

/// Asks the jobs that were given this token to stop: they return GLEBE_STATUS_CANCELLED, as a rule within the time
/// of one operator of the model, and leave no output.
///
/// One atomic store: may be called from any thread and from a signal handler, before, during and after the jobs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_cancel_token_cancel(token: *const glebe_cancel_token) {
    // Nothing but the store: the boundary's panic machinery is not for signal handlers, and nothing here can panic.
    // SAFETY: NULL or a token, by the header's contract.
    if let Some(token) = unsafe { token.as_ref() } {
        token.0.cancel();
    }
}

/// Whether the token was set: 1 or 0. May be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_cancel_token_is_cancelled(token: *const glebe_cancel_token) -> i32 {
    // SAFETY: NULL or a token, by the header's contract.
    neutral(0, || Some(i32::from(unsafe { peek(token) }?.0.is_cancelled())))
}

/// Frees the token. No call that was given it may still be running.
///
/// @param token  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_cancel_token_free(token: *mut glebe_cancel_token) {
    // SAFETY: NULL or a token that is not used afterwards, by the header's contract.
    unsafe { free(token, |_| false) }
}
