//! A model with the weights of a checkpoint, as a file.

use std::ffi::c_char;
use std::mem::offset_of;
use std::path::Path;
use std::ptr::null;

use crate::error::{Error, Result};
use crate::ffi::boundary::{Out, Versioned, init, layout, optional_text, read_sized, status, text};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::checkpoint::{glebe_load_options, load_options};
use crate::ffi::error::glebe_error;
use crate::ffi::field::{bands, flag, names, numbers};
use crate::ffi::status::glebe_status;
use crate::finetune::{ExportOptions, LoadOptions, export_to};

/// What an exported model says about the rasters that it wants, in its metadata, and how its weights are taken. Fill it
/// with glebe_export_options_init, then change what is wanted.
///
/// What is not given stays as the model has it. A model that says what it wants needs no such option in
/// glebe_segment_options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_export_options {
    /// sizeof(glebe_export_options), set by the init function.
    pub struct_size: u32,
    /// 1: replaces a file that is there. Default 0.
    pub overwrite: i32,
    /// 1: takes the moving averages of a training of this library, not its weights. Default 0.
    pub averages: i32,
    /// Width and height of a tile in pixels, up to 16384. 0 (default): as it is.
    pub tile: u32,
    /// The raster's bands (an array's channels), counted from 1, in the order of the model's channels.
    pub bands: *const u32,
    /// Their number. 0 (default): as they are.
    pub bands_len: usize,
    /// Divisors of the samples: the model is fed (x / scale - mean) / std. One value, or one a band.
    pub scale: *const f64,
    /// Their number. 0 (default): as they are.
    pub scale_len: usize,
    /// Means in scaled units. One value, or one a band.
    pub mean: *const f64,
    /// Their number. 0 (default): as they are.
    pub mean_len: usize,
    /// Standard deviations in scaled units. One value, or one a band.
    pub std: *const f64,
    /// Their number. 0 (default): as they are.
    pub std_len: usize,
    /// Names of the classes, in order; two for a model with one channel.
    pub class_names: *const *const c_char,
    /// Their number. 0 (default): as they are.
    pub class_names_len: usize,
    /// The output with the classes. NULL (default): the first.
    pub output: *const c_char,
    /// Alpha of adapters (lora), where the checkpoint holds any and does not say what they are scaled by. 0 (default): it
    /// does.
    pub lora_alpha: f64,
}

layout!(
    glebe_export_options, 112;
    struct_size 0, overwrite 4, averages 8, tile 12, bands 16, bands_len 24, scale 32, scale_len 40, mean 48,
    mean_len 56, std 64, std_len 72, class_names 80, class_names_len 88, output 96, lora_alpha 104
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), numbers and raw pointers only.
unsafe impl Versioned for glebe_export_options {
    const NAME: &'static str = "glebe_export_options";
    const FIRST_SIZE: usize = offset_of!(Self, lora_alpha) + size_of::<f64>();

    fn defaults() -> Self {
        glebe_export_options {
            struct_size: size_of::<Self>() as u32,
            overwrite: 0,
            averages: 0,
            tile: 0,
            bands: null(),
            bands_len: 0,
            scale: null(),
            scale_len: 0,
            mean: null(),
            mean_len: 0,
            std: null(),
            std_len: 0,
            class_names: null(),
            class_names_len: 0,
            output: null(),
            lora_alpha: 0.0,
        }
    }
}

/// Fills `options` with the defaults.
///
/// @param options  the struct to fill.
/// @param size     sizeof(glebe_export_options).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_export_options_init(
    options: *mut glebe_export_options,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(options, size) }
}

/// The options, and whether a file that is there is replaced.
///
/// # Safety
/// `options` is NULL or as the header's contract wants it.
unsafe fn export_options(
    load: LoadOptions,
    options: *const glebe_export_options,
) -> Result<(ExportOptions, bool)> {
    let mut export = ExportOptions { load, ..ExportOptions::default() };
    if options.is_null() {
        return Ok((export, false));
    }
    // SAFETY: by this function's contract.
    let given = unsafe { read_sized(options, "options")? };
    // SAFETY: by this function's contract.
    unsafe {
        export.scale = numbers("scale", given.scale, given.scale_len)?;
        export.mean = numbers("mean", given.mean, given.mean_len)?;
        export.std = numbers("std", given.std, given.std_len)?;
        export.tags.bands = bands(given.bands, given.bands_len)?;
        export.tags.class_names = names("class_names", given.class_names, given.class_names_len)?;
        export.output = optional_text(given.output, "output")?.map(str::to_owned);
    }
    export.tags.tile = (given.tile != 0).then_some(given.tile as usize);
    export.lora_alpha = (given.lora_alpha != 0.0).then_some(given.lora_alpha as f32);
    export.load.open.averages = flag("averages", given.averages)?;
    Ok((export, flag("overwrite", given.overwrite)?))
}

/// Writes a model with the weights of a checkpoint, and with what the options say in its metadata; everything else of the
/// file stays byte for byte. No runtime is needed. Of a training of this library (last.safetensors, best.safetensors) what
/// it did not train is the model's own, and adapters are merged; the model is then the file that it began from.
///
/// The file appears as a whole or not at all.
///
/// @param model       the model's file.
/// @param checkpoint  nullable: the weights. Without them the options alone are written.
/// @param path        the file to write, which is none of those that are read.
/// @param load        nullable: the defaults. Which weights of the checkpoint are taken.
/// @param options     nullable: the defaults.
/// @param report      nullable: a JSON object with `message`, the line that says where the checkpoint comes from (empty
///                    where it does not say), `report` as of glebe_trainer_load_checkpoint (null without a checkpoint),
///                    `merged`, the weights that an adapter is merged into, and `metadata`, what was written; free it with
///                    glebe_buffer_free.
/// @param error       nullable.
/// @return GLEBE_STATUS_ALREADY_EXISTS for a file that is there, unless overwrite; as glebe_checkpoint_inspect and the
///         opening of a model; GLEBE_STATUS_MISMATCH where tensors are missing, too many or of another shape (unless
///         partial), for a training of another model, and where what is to be written does not fit the model;
///         GLEBE_STATUS_INVALID_ARGUMENT where input and output are one file, and where there is nothing to do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_export(
    model: *const c_char,
    checkpoint: *const c_char,
    path: *const c_char,
    load: *const glebe_load_options,
    options: *const glebe_export_options,
    report: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let (model, path) = (text(model, "model")?, text(path, "path")?);
            let checkpoint = optional_text(checkpoint, "checkpoint")?.map(Path::new);
            let report = if report.is_null() { None } else { Some(Out::new(report, "report")?) };
            let (options, overwrite) = export_options(load_options(load)?, options)?;
            let made = export_to(path, model, checkpoint, &options, overwrite)?;
            if let Some(report) = report {
                let value = serde_json::to_value(&made)
                    .map_err(|error| Error::internal("cannot write JSON").caused_by(error))?;
                report.put(glebe_buffer::text(format!("{value:#}")));
            }
            Ok(())
        })
    }
}
