//! How much a map depends on its tiles.

use std::ffi::c_char;

use crate::error::Result;
use crate::ffi::boundary::{Out, borrow, status, text};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::glebe_error;
use crate::ffi::model::glebe_model;
use crate::ffi::progress::Listener;
use crate::ffi::segment_options::{Asked, asked, glebe_segment_options, listener};
use crate::ffi::status::glebe_status;
use crate::model::Model;

/// Scores the middle of a raster (1536 x 1536 pixels at most) with two tilings, that of the options and another one, and
/// says how far the probabilities and the classes are apart. Nothing is written.
///
/// @param model    the model; other threads may use it at the same time.
/// @param input    the raster: a regular local file.
/// @param options  nullable: the defaults. How it is scored; product, data_type and what is for output files are not looked
///                 at, except that they must be sound. progress is not called.
/// @param json     the JSON object that `glebe inspect --seams --json` prints: `sample` (first column, first row, width,
///                 height), `tilings` (two objects with `tile`, `overlap`, `blend`, `tiles`), `pixels`, `max_difference` and
///                 `mean_difference` of probabilities, `disagreement`, the share of pixels with another class. Free it with
///                 glebe_buffer_free.
/// @param error    nullable.
/// @return as glebe_segment_file gives for the model and the input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_seams(
    model: *const glebe_model,
    input: *const c_char,
    options: *const glebe_segment_options,
    json: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        // Released when this function returns, also from an error before the start.
        let listener = listener(options);
        status(error, || {
            let model = borrow(model, "model")?;
            let input = text(input, "input")?;
            let asked = asked(options)?;
            let json = Out::new(json, "json")?;
            let made = model.0.enter(|opened| seams(&opened.model, input, asked, &listener))?;
            json.put(glebe_buffer::text(made));
            Ok(())
        })
    }
}

#[cfg(feature = "raster")]
fn seams(model: &Model, input: &str, asked: Asked, listener: &Listener) -> Result<String> {
    use crate::error::Error;
    use crate::ffi::segment::segmenter;

    let files = asked.files.clone();
    let found = segmenter(model, asked, listener)?.seams(input, &files)?;
    serde_json::to_string_pretty(&found)
        .map_err(|error| Error::internal("cannot write JSON").caused_by(error))
}

#[cfg(not(feature = "raster"))]
fn seams(_: &Model, _: &str, _: Asked, _: &Listener) -> Result<String> {
    let message = "this build of glebe reads no files: it lacks the feature raster";
    Err(crate::Error::new(crate::ErrorKind::NotSupported, message))
}
