//! What scoring an array gave.

use std::ffi::{CString, c_char, c_void};
use std::ptr::null;

use crate::ffi::boundary::{c_text, free, neutral, peek};
use crate::ffi::image::{GLEBE_DATA_TYPE_DEFAULT, data_type_number};
use crate::segment::Prediction;
use crate::tensor::{Samples, with_samples};

/// What scoring an array gave. Immutable: may be read by any thread.
pub struct glebe_prediction {
    samples: Samples,
    nodata: f64,
    report: CString,
}

impl glebe_prediction {
    pub(super) fn boxed(prediction: Prediction) -> *mut glebe_prediction {
        let report = c_text(prediction.report.to_json());
        // Dense by the making of it; should that ever change, a copy makes it so.
        let samples = with_samples!(Samples, prediction.samples, block => {
            crate::tensor::Sample::wrap(block.as_standard_layout().into_owned())
        });
        Box::into_raw(Box::new(glebe_prediction { samples, nodata: prediction.nodata, report }))
    }
}

/// Type of the samples: GLEBE_DATA_TYPE_*.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_prediction_data_type(prediction: *const glebe_prediction) -> i32 {
    neutral(GLEBE_DATA_TYPE_DEFAULT, || {
        // SAFETY: NULL or a prediction, by the header's contract.
        Some(data_type_number(unsafe { peek(prediction) }?.samples.data_type()))
    })
}

/// Number of bands: one with class numbers, or one a class or channel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_prediction_bands(prediction: *const glebe_prediction) -> usize {
    // SAFETY: NULL or a prediction, by the header's contract.
    neutral(0, || Some(unsafe { peek(prediction) }?.samples.shape()[0]))
}

/// Number of rows; other than the image's for models of another output scale.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_prediction_height(prediction: *const glebe_prediction) -> usize {
    // SAFETY: NULL or a prediction, by the header's contract.
    neutral(0, || Some(unsafe { peek(prediction) }?.samples.shape()[1]))
}

/// Number of columns; other than the image's for models of another output scale.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_prediction_width(prediction: *const glebe_prediction) -> usize {
    // SAFETY: NULL or a prediction, by the header's contract.
    neutral(0, || Some(unsafe { peek(prediction) }?.samples.shape()[2]))
}

/// The samples, dense [bands, height, width], the column fastest.
///
/// @return memory owned by the prediction; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_prediction_data(prediction: *const glebe_prediction) -> *const c_void {
    neutral(null(), || {
        // SAFETY: NULL or a prediction, by the header's contract.
        let samples = &unsafe { peek(prediction) }?.samples;
        Some(with_samples!(Samples, samples, block => block.as_ptr().cast()))
    })
}

/// Bytes of the samples.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_prediction_size(prediction: *const glebe_prediction) -> usize {
    neutral(0, || {
        // SAFETY: NULL or a prediction, by the header's contract.
        let samples = &unsafe { peek(prediction) }?.samples;
        Some(samples.shape().iter().product::<usize>() * samples.data_type().bytes())
    })
}

/// What marks invalid pixels in the samples; may be NaN. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_prediction_nodata(prediction: *const glebe_prediction) -> f64 {
    // SAFETY: NULL or a prediction, by the header's contract.
    neutral(0.0, || Some(unsafe { peek(prediction) }?.nodata))
}

/// What was done, and how fast: the JSON object that `glebe segment --report` writes.
///
/// @return a string owned by the prediction; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_prediction_report(prediction: *const glebe_prediction) -> *const c_char {
    // SAFETY: NULL or a prediction, by the header's contract.
    neutral(null(), || Some(unsafe { peek(prediction) }?.report.as_ptr()))
}

/// Frees the prediction with its samples.
///
/// @param prediction  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_prediction_free(prediction: *mut glebe_prediction) {
    // SAFETY: NULL or a prediction that is not used afterwards, by the header's contract.
    unsafe { free(prediction, |_| false) }
}
