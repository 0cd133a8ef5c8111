//! What a finetuning is told.
#![cfg_attr(not(feature = "raster"), allow(dead_code, reason = "what reads files asks for them"))]

use std::ffi::c_char;
use std::mem::offset_of;
use std::ptr::null;

use crate::error::{Error, Result};
use crate::ffi::boundary::{Versioned, borrow, init, layout, optional_text, read_sized, texts};
use crate::ffi::cancel::glebe_cancel_token;
use crate::ffi::field::flag;
use crate::ffi::status::glebe_status;
use crate::runtime::CancelToken;

/// What a finetuning is told: a configuration, which is what `glebe finetune --config` takes and every run writes as
/// config.toml, and settings over it. Fill it with glebe_finetuning_options_init, then set config, config_path or settings.
///
/// The least that it takes is a model and training data: `model = "unet.onnx"` and, in the section data,
/// `train = "train.csv"`: a list of images and labels, or one pair `IMAGE;LABELS`. All keys, with their defaults, are in
/// docs/settings.md; one that there is not is an error that names the nearest.
///
/// Everything that pointers point to must stay as it is until the function returns; the library keeps none of it, the
/// cancel token excepted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_finetuning_options {
    /// sizeof(glebe_finetuning_options), set by the init function.
    pub struct_size: u32,
    /// 1: goes on with what the folder of the run holds, where there is something: with the same settings, but for the
    /// length of the training and what has no effect on its numbers. Default 0: the folder must be new or empty.
    pub resume: i32,
    /// The configuration, in TOML. NULL (default): that of config_path, if any. Relative paths in it are relative to the
    /// working directory.
    pub config: *const c_char,
    /// A file with the configuration. NULL (default): none. Not together with config.
    pub config_path: *const c_char,
    /// Settings of the form `section.key=value` over it, such as `training.steps=200`. A value that is no TOML is text:
    /// `data.train=train.csv`.
    pub settings: *const *const c_char,
    /// Their number. Default 0.
    pub settings_len: usize,
    /// Stops the run when it is set, also in the middle of a step; what its checkpoints hold can be gone on from. NULL
    /// (default): none.
    pub cancel: *const glebe_cancel_token,
}

layout!(
    glebe_finetuning_options, 48;
    struct_size 0, resume 4, config 8, config_path 16, settings 24, settings_len 32, cancel 40
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), numbers and raw pointers only.
unsafe impl Versioned for glebe_finetuning_options {
    const NAME: &'static str = "glebe_finetuning_options";
    const FIRST_SIZE: usize = offset_of!(Self, cancel) + size_of::<*const glebe_cancel_token>();

    fn defaults() -> Self {
        glebe_finetuning_options {
            struct_size: size_of::<Self>() as u32,
            resume: 0,
            config: null(),
            config_path: null(),
            settings: null(),
            settings_len: 0,
            cancel: null(),
        }
    }
}

/// Fills `options` with the defaults.
///
/// @param options  the struct to fill.
/// @param size     sizeof(glebe_finetuning_options).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_finetuning_options_init(
    options: *mut glebe_finetuning_options,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(options, size) }
}

/// Where the configuration comes from.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    Text(&'a str),
    File(&'a str),
}

/// The options in the types of Rust.
pub(super) struct Asked<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) settings: Vec<&'a str>,
    pub(super) resume: bool,
    pub(super) cancel: Option<CancelToken>,
}

/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) that names the field.
///
/// # Safety
/// `options` is NULL or as the header's contract wants it.
pub(super) unsafe fn asked<'a>(options: *const glebe_finetuning_options) -> Result<Asked<'a>> {
    // SAFETY: by this function's contract.
    unsafe {
        let given = read_sized(options, "options")?;
        let text = optional_text(given.config, "config")?;
        let origin = match (text, optional_text(given.config_path, "config_path")?) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("config and config_path: expected one of them, got both"));
            }
            (_, Some(path)) => Origin::File(path),
            (text, None) => Origin::Text(text.unwrap_or_default()),
        };
        let settings = texts(given.settings, given.settings_len, "settings")?;
        let cancel = match given.cancel.is_null() {
            true => None,
            false => Some(borrow(given.cancel, "cancel")?.token().clone()),
        };
        Ok(Asked { origin, settings, resume: flag("resume", given.resume)?, cancel })
    }
}

#[cfg(feature = "raster")]
impl Asked<'_> {
    /// The configuration with the settings over it.
    pub(super) fn config(&self) -> Result<crate::finetune::Config> {
        match self.origin {
            Origin::Text(text) => crate::finetune::Config::parse(text, &self.settings),
            Origin::File(path) => crate::finetune::Config::read(path, &self.settings),
        }
    }
}
