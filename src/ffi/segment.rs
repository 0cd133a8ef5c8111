//! Scoring.

use std::ffi::c_char;

use crate::error::Result;
use crate::ffi::boundary::{Out, borrow, status, text};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::glebe_error;
use crate::ffi::image::{arrays, glebe_image};
use crate::ffi::model::glebe_model;
use crate::ffi::prediction::glebe_prediction;
use crate::ffi::progress::Listener;
use crate::ffi::segment_options::{Asked, asked, glebe_segment_options, listener};
use crate::ffi::status::glebe_status;
use crate::model::Model;
use crate::segment::Segmenter;

/// Scores a raster file and writes a GeoTIFF, which appears complete or not at all. It has the input's
/// georeferencing, and its size where the model's output is not at another scale.
///
/// @param model    the model; other threads may use it at the same time.
/// @param input    the raster: a regular local file.
/// @param output   the file to write.
/// @param options  nullable: the defaults.
/// @param report   nullable: what was done, and how fast, as the JSON object that `glebe segment --report` writes;
///                 free it with glebe_buffer_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for an option that is wrong in itself;
///         GLEBE_STATUS_ALREADY_EXISTS for an output without overwrite; GLEBE_STATUS_RASTER_INVALID,
///         GLEBE_STATUS_RASTER_UNSUPPORTED; GLEBE_STATUS_MISMATCH where model, raster and options do not fit together;
///         GLEBE_STATUS_PROVIDER_UNAVAILABLE; GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY;
///         GLEBE_STATUS_RUNTIME; errors of files; GLEBE_STATUS_NOT_SUPPORTED in a build without GDAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_segment_file(
    model: *const glebe_model,
    input: *const c_char,
    output: *const c_char,
    options: *const glebe_segment_options,
    report: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        // Released when this function returns, also from an error before the start.
        let listener = listener(options);
        status(error, || {
            let model = borrow(model, "model")?;
            let input = text(input, "input")?;
            let output = text(output, "output")?;
            let asked = asked(options)?;
            let json = model.0.enter(|opened| score_file(&opened.model, input, output, asked, &listener))?;
            if let Ok(report) = Out::new(report, "report") {
                report.put(glebe_buffer::text(json));
            }
            Ok(())
        })
    }
}

#[cfg(feature = "raster")]
fn score_file(model: &Model, input: &str, output: &str, asked: Asked, listener: &Listener) -> Result<String> {
    let files = asked.files.clone();
    Ok(segmenter(model, asked, listener)?.file(input, output, &files)?.to_json())
}

#[cfg(not(feature = "raster"))]
fn score_file(_: &Model, _: &str, _: &str, _: Asked, _: &Listener) -> Result<String> {
    let message = "this build of glebe reads no files: it lacks the feature raster";
    Err(crate::Error::new(crate::ErrorKind::NotSupported, message))
}

/// Scores an image in memory. Nothing is read or written on disk.
///
/// @param model    the model; other threads may use it at the same time.
/// @param image    the image.
/// @param options  nullable: the defaults. Those for files only are not looked at, except that they must be sound.
/// @param out      the result, to free with glebe_prediction_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for an image or option that is wrong in itself;
///         GLEBE_STATUS_MISMATCH where model, image and options do not fit together; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
///         GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_segment_array(
    model: *const glebe_model,
    image: *const glebe_image,
    options: *const glebe_segment_options,
    out: *mut *mut glebe_prediction,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        // Released when this function returns, also from an error before the start.
        let listener = listener(options);
        status(error, || {
            let model = borrow(model, "model")?;
            let (samples, valid) = arrays(image)?;
            let out = Out::new(out, "out")?;
            let asked = asked(options)?;
            let prediction = model.0.enter(|opened| {
                let valid = valid.as_ref().map(|valid| valid.view());
                segmenter(&opened.model, asked, &listener)?.array(samples, valid)
            })?;
            out.put(glebe_prediction::boxed(prediction));
            Ok(())
        })
    }
}

pub(super) fn segmenter<'a>(model: &'a Model, asked: Asked, listener: &'a Listener) -> Result<Segmenter<'a>> {
    Ok(Segmenter::new(model, asked.options)?
        .cancel_with(&asked.cancel)
        .on_progress(|progress| listener.tell(progress)))
}
