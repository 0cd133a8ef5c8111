//! What is compared with what.
#![cfg_attr(not(feature = "raster"), allow(dead_code, reason = "options of labels"))]

use std::ffi::c_char;
use std::mem::offset_of;
use std::ptr::null;

use crate::error::Result;
use crate::ffi::boundary::{Versioned, init, layout, read_sized};
use crate::ffi::run_state::GLEBE_SPLIT_TEST;
use crate::ffi::status::glebe_status;

/// Which labelled images are taken, and how their labels become classes, in the words of the command line. Fill it with
/// glebe_evaluate_options_init, then change what is wanted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_evaluate_options {
    /// sizeof(glebe_evaluate_options), set by the init function.
    pub struct_size: u32,
    /// The part of the data, in lists that say which a line is for: GLEBE_SPLIT_TRAIN, _VAL or _TEST (default).
    pub split: i32,
    /// Folder that paths of the data are relative to. NULL (default): each list's own.
    pub root: *const c_char,
    /// Vector labels: the field whose values say the class. NULL (default): every feature is class 1.
    pub label_field: *const c_char,
    /// Vector labels: the layer, needed where a file has several. NULL (default): the only one.
    pub label_layer: *const c_char,
    /// From values to classes, which are counted from 0: "forest=1,water=2,*=ignore". NULL (default): values are classes.
    pub classes: *const c_char,
    /// Values of the labels that do not count: "255,-1". NULL (default): none.
    pub ignore_index: *const c_char,
    /// What labels without data are (a raster's nodata value, mask or alpha): "ignore" or "background". NULL (default):
    /// "ignore".
    pub label_nodata: *const c_char,
    /// Vector labels: what pixels outside all features are: "background" or "ignore". NULL (default): "background".
    pub label_outside: *const c_char,
    /// Vector labels: 1 labels every pixel that a feature touches, 0 (default) those whose middle lies in it.
    pub all_touched: i32,
    /// Must be 0.
    pub reserved: u32,
}

layout!(
    glebe_evaluate_options, 72;
    struct_size 0, split 4, root 8, label_field 16, label_layer 24, classes 32, ignore_index 40, label_nodata 48,
    label_outside 56, all_touched 64, reserved 68
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), numbers and raw pointers only.
unsafe impl Versioned for glebe_evaluate_options {
    const NAME: &'static str = "glebe_evaluate_options";
    const FIRST_SIZE: usize = offset_of!(Self, reserved) + size_of::<u32>();

    fn defaults() -> Self {
        glebe_evaluate_options {
            struct_size: size_of::<Self>() as u32,
            split: GLEBE_SPLIT_TEST,
            root: null(),
            label_field: null(),
            label_layer: null(),
            classes: null(),
            ignore_index: null(),
            label_nodata: null(),
            label_outside: null(),
            all_touched: 0,
            reserved: 0,
        }
    }
}

/// Fills `options` with the defaults.
///
/// @param options  the struct to fill.
/// @param size     sizeof(glebe_evaluate_options).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_evaluate_options_init(
    options: *mut glebe_evaluate_options,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(options, size) }
}

/// The options as they are, the defaults for NULL.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a struct of a size that cannot be, or with something set that
/// must be 0.
///
/// # Safety
/// `options` is NULL or as the header's contract wants it.
pub(super) unsafe fn given(options: *const glebe_evaluate_options) -> Result<glebe_evaluate_options> {
    if options.is_null() {
        return Ok(glebe_evaluate_options::defaults());
    }
    // SAFETY: by this function's contract.
    let given = unsafe { read_sized(options, "options")? };
    if given.reserved != 0 {
        return Err(crate::Error::invalid("reserved is not 0"));
    }
    Ok(given)
}

/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) that names the field.
///
/// # Safety
/// The pointers in the struct are as the header's contract wants them.
#[cfg(feature = "raster")]
pub(super) unsafe fn label_options(given: &glebe_evaluate_options) -> Result<crate::data::LabelOptions> {
    use crate::error::Error;
    use crate::ffi::boundary::optional_text;
    use crate::ffi::field::flag;

    // SAFETY: by this function's contract.
    let text = |pointer: *const c_char, name: &str| unsafe { optional_text(pointer, name) };
    let owned = |pointer, name| text(pointer, name).map(|text| text.map(str::to_owned));
    let wrong = |field: &str, error: Error| Error::invalid(format!("{field}: {}", error.message()));
    let mut labels = crate::data::LabelOptions {
        field: owned(given.label_field, "label_field")?,
        layer: owned(given.label_layer, "label_layer")?,
        all_touched: flag("all_touched", given.all_touched)?,
        ..Default::default()
    };
    if let Some(map) = text(given.classes, "classes")? {
        labels.classes = map.parse().map_err(|error| wrong("classes", error))?;
    }
    if let Some(list) = text(given.ignore_index, "ignore_index")? {
        let number = |part: &str| {
            part.trim().parse::<i64>().map_err(|_| {
                Error::invalid(format!("ignore_index: expected whole numbers (255,-1), got {list:?}"))
            })
        };
        labels.ignore = list.split(',').map(number).collect::<Result<_>>()?;
    }
    if let Some(word) = text(given.label_nodata, "label_nodata")? {
        labels.nodata = word.parse().map_err(|error| wrong("label_nodata", error))?;
    }
    if let Some(word) = text(given.label_outside, "label_outside")? {
        labels.outside = word.parse().map_err(|error| wrong("label_outside", error))?;
    }
    Ok(labels)
}
