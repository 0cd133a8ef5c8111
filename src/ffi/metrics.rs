//! Numbers by name.

use std::ffi::{CString, c_char};
use std::ptr::null;

use crate::error::{Error, Result};
use crate::ffi::boundary::{Out, borrow, c_text, free, neutral, peek, status, text};
use crate::ffi::error::glebe_error;
use crate::ffi::status::glebe_status;

/// The metrics of a validation or a test, in their order. Immutable; may be read from any thread.
pub struct glebe_metrics(Vec<(CString, f64)>);

impl glebe_metrics {
    /// The metrics as C wants them, on the heap.
    pub(super) fn boxed(metrics: Vec<(String, f64)>) -> *mut glebe_metrics {
        let all = metrics.into_iter().map(|(name, value)| (c_text(name), value));
        Box::into_raw(Box::new(glebe_metrics(all.collect())))
    }
}

/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) that says which there are.
pub(super) fn find<'a>(metrics: impl Iterator<Item = (&'a str, f64)> + Clone, name: &str) -> Result<f64> {
    metrics.clone().find(|(own, _)| *own == name).map(|(_, value)| value).ok_or_else(|| {
        let names: Vec<&str> = metrics.map(|(own, _)| own).collect();
        Error::invalid(format!("no metric {name:?}: there are [{}]", names.join(", ")))
    })
}

/// The number of metrics.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_metrics_count(metrics: *const glebe_metrics) -> usize {
    // SAFETY: NULL or metrics, by the header's contract.
    neutral(0, || Some(unsafe { peek(metrics) }?.0.len()))
}

/// The name of a metric, from 0.
///
/// @return a string owned by the metrics; NULL from glebe_metrics_count on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_metrics_name(metrics: *const glebe_metrics, index: usize) -> *const c_char {
    // SAFETY: NULL or metrics, by the header's contract.
    neutral(null(), || Some(unsafe { peek(metrics) }?.0.get(index)?.0.as_ptr()))
}

/// The value of a metric, from 0; NaN from glebe_metrics_count on, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_metrics_value(metrics: *const glebe_metrics, index: usize) -> f64 {
    // SAFETY: NULL or metrics, by the header's contract.
    neutral(f64::NAN, || Some(unsafe { peek(metrics) }?.0.get(index)?.1))
}

/// The value of the metric with this name.
///
/// @param metrics  the metrics.
/// @param name     its name: "Loss".
/// @param value    the value.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT, saying which there are, for a name that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_metrics_get(
    metrics: *const glebe_metrics,
    name: *const c_char,
    value: *mut f64,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let metrics = borrow(metrics, "metrics")?;
            let name = text(name, "name")?;
            let out = Out::new(value, "value")?;
            let all = metrics.0.iter().map(|(name, value)| (name.to_str().unwrap_or_default(), *value));
            out.put(find(all, name)?);
            Ok(())
        })
    }
}

/// Frees the metrics and all strings they gave.
///
/// @param metrics  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_metrics_free(metrics: *mut glebe_metrics) {
    // SAFETY: NULL or metrics that are not used afterwards, by the header's contract.
    unsafe { free(metrics, |_| false) }
}
