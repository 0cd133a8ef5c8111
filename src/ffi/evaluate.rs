//! Metrics of a model on labelled rasters.

use std::ffi::c_char;
use std::path::Path;

use crate::error::Result;
use crate::ffi::boundary::{Out, borrow, optional_text, status, texts};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::glebe_error;
#[cfg(feature = "raster")]
use crate::ffi::evaluate_options::label_options;
use crate::ffi::evaluate_options::{given, glebe_evaluate_options};
use crate::ffi::fit::split;
use crate::ffi::model::glebe_model;
use crate::ffi::progress::Listener;
use crate::ffi::segment_options::{Asked, asked, glebe_segment_options, listener};
use crate::ffi::status::glebe_status;
use crate::model::Model;

/// Scores labelled rasters as glebe_segment_file would with the same options, but compares the classes with the labels,
/// block by block, instead of writing them. Nothing is written.
///
/// A pixel counts where its label counts and the image has data.
///
/// @param model     the model; other threads may use it at the same time. Its output has the scale of its input.
/// @param data      the labelled images, each "IMAGE;LABELS" or a list: a file of lines image;labels or
///                  raster,vector,split. Labels are rasters on the image's grid, or vector files (GeoPackage, GeoJSON,
///                  Shapefile).
/// @param data_len  their number.
/// @param options   nullable: the defaults. Which images are taken, and how their labels become classes.
/// @param segment   nullable: the defaults. How they are scored; the product is classes, and what is for output files is not
///                  looked at, except that it must be sound. cancel and progress are for all images together; progress says
///                  which image is at work.
/// @param scores    counts and scores as the JSON object that `glebe evaluate --json` prints, the same bytes for the same
///                  model, data and options: `images`, `pixels` (that count), `unlabelled` and `nodata` (that do not),
///                  `mean_iou`, `mean_dice`, `iou_without_background`, `dice_without_background`, `accuracy`; `classes`, a
///                  list of `class`, `name`, `iou`, `dice`, `precision`, `recall`, `labelled`, `predicted`, `hits`;
///                  `matrix`, a list of rows, one a true class; `per_image`, a list of `image`, `labels`, `area`, `pixels`,
///                  `unlabelled`, `nodata`, `mean_iou`, `mean_dice`, `accuracy`, `iou`, `matrix`. A score of nothing is
///                  null. Free it with glebe_buffer_free.
/// @param report    nullable: the same object with times, as `glebe evaluate --report` writes it: `wall_s`, and in each
///                  image's object `report` as of glebe_segment_file. Free it with glebe_buffer_free.
/// @param error     nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for an option that is wrong in itself, a list that is none or has no line for the
///         split, and where no pixel counts in any image; GLEBE_STATUS_MISMATCH where model, images, labels and options do
///         not fit together, and for a label that is no class; GLEBE_STATUS_MODEL_UNSUPPORTED for a model whose output is at
///         another scale than its input; GLEBE_STATUS_LIMIT_EXCEEDED for one of more than 1024 classes;
///         GLEBE_STATUS_RASTER_INVALID, GLEBE_STATUS_RASTER_UNSUPPORTED, also for labels; GLEBE_STATUS_PROVIDER_UNAVAILABLE;
///         GLEBE_STATUS_CANCELLED; GLEBE_STATUS_OUT_OF_MEMORY; GLEBE_STATUS_RUNTIME; errors of files;
///         GLEBE_STATUS_NOT_SUPPORTED in a build without GDAL. What is wrong in a list is told with its line.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_evaluate(
    model: *const glebe_model,
    data: *const *const c_char,
    data_len: usize,
    options: *const glebe_evaluate_options,
    segment: *const glebe_segment_options,
    scores: *mut glebe_buffer,
    report: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        // Released when this function returns, also from an error before the start.
        let listener = listener(segment);
        status(error, || {
            let model = borrow(model, "model")?;
            let data = texts(data, data_len, "data")?;
            let given = given(options)?;
            let asked = asked(segment)?;
            let root = optional_text(given.root, "root")?.map(Path::new);
            let scores = Out::new(scores, "scores")?;
            let report = if report.is_null() { None } else { Some(Out::new(report, "report")?) };
            let made = model.0.enter(|opened| {
                let items = Items { data: &data, root, given: &given };
                evaluate(&opened.model, &items, asked, &listener, report.is_some())
            })?;
            scores.put(glebe_buffer::text(made.scores));
            if let Some(report) = report {
                report.put(glebe_buffer::text(made.report));
            }
            Ok(())
        })
    }
}

/// The labelled images that were asked for.
#[cfg_attr(not(feature = "raster"), allow(dead_code, reason = "they are files"))]
struct Items<'a> {
    data: &'a [&'a str],
    root: Option<&'a Path>,
    given: &'a glebe_evaluate_options,
}

/// What an evaluation gave, as text.
struct Made {
    scores: String,
    report: String,
}

/// # Safety
/// The pointers in the options are as the header's contract wants them.
#[cfg(feature = "raster")]
unsafe fn evaluate(
    model: &Model,
    items: &Items<'_>,
    asked: Asked,
    listener: &Listener,
    with_report: bool,
) -> Result<Made> {
    use crate::data::read_list;
    use crate::ffi::segment::segmenter;

    let split = split(items.given.split)?;
    // SAFETY: by this function's contract.
    let labels = unsafe { label_options(items.given)? };
    let lists = items.data.iter().map(|text| read_list(text, items.root, split));
    let listed = lists.collect::<Result<Vec<_>>>()?.concat();
    let files = asked.files.clone();
    let mut segmenter = segmenter(model, asked, listener)?;
    let dataset = segmenter.dataset(listed, &labels, &files)?;
    let evaluation = segmenter.evaluate(&dataset, files.class_names.as_deref())?;
    let report = if with_report { evaluation.to_json_with_reports() } else { String::new() };
    Ok(Made { scores: evaluation.to_json(), report })
}

#[cfg(not(feature = "raster"))]
unsafe fn evaluate(model: &Model, items: &Items<'_>, _: Asked, _: &Listener, _: bool) -> Result<Made> {
    let _ = (model, split(items.given.split)?);
    let message = "this build of glebe reads no files: it lacks the feature raster";
    Err(crate::Error::new(crate::ErrorKind::NotSupported, message))
}
