//! Checkpoints of the training side.

use std::ffi::c_char;
use std::ptr::null;

use serde_json::json;

use crate::error::Result;
use crate::ffi::boundary::{Out, Versioned, borrow, init, layout, optional_text, read_sized, status, text};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::glebe_error;
use crate::ffi::field::flag;
use crate::ffi::status::glebe_status;
use crate::ffi::trainer::glebe_trainer;
use crate::finetune::LoadOptions;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::description::describe;

/// Which weights of a checkpoint are loaded. Fill it with glebe_load_options_init, then change what is wanted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_load_options {
    /// sizeof(glebe_load_options), set by the init function.
    pub struct_size: u32,
    /// 1: tensors that are missing, too many or of another shape are left out; 0 (default): they are
    /// GLEBE_STATUS_MISMATCH.
    pub partial: i32,
    /// Only tensors whose names begin so, by what follows: "student.". NULL: all. The prefixes of wrappers ("model.",
    /// "module.") need no mention.
    pub prefix: *const c_char,
    /// Only tensors of these names, those in the model or in the checkpoint: patterns, separated by commas, with ! to
    /// leave out: "!head.*". NULL: all.
    pub filter: *const c_char,
    /// Key of the state dict in the file, where it is none of the usual ones: "model_ema". NULL: it is.
    pub key: *const c_char,
    /// What BatchNorm adds to its variance, for those that the model's exporter folded: 1e-5, as in PyTorch.
    pub norm_epsilon: f64,
}

layout!(
    glebe_load_options, 40;
    struct_size 0, partial 4, prefix 8, filter 16, key 24, norm_epsilon 32
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), numbers and raw pointers only.
unsafe impl Versioned for glebe_load_options {
    const NAME: &'static str = "glebe_load_options";
    const FIRST_SIZE: usize = std::mem::offset_of!(Self, norm_epsilon) + size_of::<f64>();

    fn defaults() -> Self {
        glebe_load_options {
            struct_size: size_of::<Self>() as u32,
            partial: 0,
            prefix: null(),
            filter: null(),
            key: null(),
            norm_epsilon: LoadOptions::default().mapping.norm_epsilon,
        }
    }
}

/// Fills `options` with the defaults.
///
/// @param options  the struct to fill.
/// @param size     sizeof(glebe_load_options).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_load_options_init(
    options: *mut glebe_load_options,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(options, size) }
}

/// # Safety
/// `options` is NULL or as the header's contract wants it.
pub(super) unsafe fn load_options(options: *const glebe_load_options) -> Result<LoadOptions> {
    let mut load = LoadOptions::default();
    if options.is_null() {
        return Ok(load);
    }
    // SAFETY: by this function's contract.
    let given = unsafe { read_sized(options, "options")? };
    load.mapping.partial = flag("partial", given.partial)?;
    load.mapping.norm_epsilon = given.norm_epsilon;
    // SAFETY: by this function's contract.
    let (prefix, filter, key) = unsafe {
        (
            optional_text(given.prefix, "prefix")?,
            optional_text(given.filter, "filter")?,
            optional_text(given.key, "key")?,
        )
    };
    load.mapping.prefix = prefix.map(str::to_owned);
    load.open.key = key.map(str::to_owned);
    if let Some(filter) = filter {
        load.mapping.filter = filter.parse()?;
    }
    Ok(load)
}

/// What a checkpoint holds, as the JSON object that `glebe inspect CHECKPOINT --json` prints: names and shapes of its
/// tensors, where it comes from, and `message`, the line that is logged when it is loaded. Lightning's .ckpt, .pth,
/// .pth.tar, safetensors and the library's own files are read; nothing in them is run.
///
/// @param path   the file.
/// @param json   the text; free it with glebe_buffer_free.
/// @param error  nullable.
/// @return GLEBE_STATUS_NOT_FOUND, GLEBE_STATUS_PERMISSION_DENIED, GLEBE_STATUS_IO; GLEBE_STATUS_INVALID_ARGUMENT for a
///         file that is damaged or no checkpoint; GLEBE_STATUS_NOT_SUPPORTED; GLEBE_STATUS_LIMIT_EXCEEDED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_checkpoint_inspect(
    path: *const c_char,
    json: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let path = text(path, "path")?;
            let json = Out::new(json, "json")?;
            let value = describe(&Checkpoint::open(path)?);
            json.put(glebe_buffer::text(format!("{value:#}")));
            Ok(())
        })
    }
}

/// Takes over the weights of a checkpoint that another program or an earlier run has written, trained and frozen ones. The
/// optimizer begins anew, updates count from 0. Callbacks hear of it before the weights change. On failure the weights stay
/// as they were.
///
/// The trainer is built anew, which takes as long as glebe_trainer_new.
///
/// @param trainer  the trainer.
/// @param path     the file.
/// @param options  nullable: the defaults.
/// @param report   nullable: a JSON object with `message`, the line that says where the checkpoint comes from (empty where
///                 it does not say), and `report`: `loaded`, `missing`, `unexpected`, `misshaped` with all names; free it
///                 with glebe_buffer_free.
/// @param error    nullable.
/// @return as glebe_checkpoint_inspect; GLEBE_STATUS_MISMATCH where tensors are missing, too many or of another shape
///         (unless partial), where nothing fits, and for a BatchNorm that is neither in the model nor can be folded;
///         GLEBE_STATUS_INVALID_STATE while gradients wait; a callback's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_load_checkpoint(
    trainer: *mut glebe_trainer,
    path: *const c_char,
    options: *const glebe_load_options,
    report: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let path = text(path, "path")?;
            let options = load_options(options)?;
            let report = if report.is_null() { None } else { Some(Out::new(report, "report")?) };
            let value = trainer.enter(|work| {
                let made = work.trainer.load_checkpoint(path, &options)?;
                Ok(json!({ "message": work.trainer.state().checkpoint_message, "report": made }))
            })?;
            if let Some(report) = report {
                report.put(glebe_buffer::text(format!("{value:#}")));
            }
            Ok(())
        })
    }
}
