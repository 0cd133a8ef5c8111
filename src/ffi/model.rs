//! Models.

use std::ffi::{CString, c_char};
use std::path::Path;
use std::ptr::null;

use crate::ffi::boundary::{
    Handle, Out, Versioned, borrow, c_text, free, init, layout, neutral, optional_text, peek, read_sized,
    slice, status, text,
};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::glebe_error;
use crate::ffi::runtime::glebe_runtime;
use crate::ffi::status::glebe_status;
use crate::model::{Contract, Model, ModelOptions, describe};
use crate::onnx::{Document, Facts, Limits};
use crate::{Error, ErrorKind, Result};

/// An opened model. Immutable: may be shared by threads, and one model can work on many jobs at the same time.
pub struct glebe_model(pub(super) Handle<Opened>);

/// What the handle holds.
pub(super) struct Opened {
    pub(super) model: Model,
    path: Option<CString>,
    input: CString,
    output: CString,
    class_names: Vec<CString>,
}

impl Opened {
    fn new(model: Model) -> Opened {
        let contract = model.contract();
        Opened {
            path: model.path().map(|path| c_text(path.to_string_lossy())),
            input: c_text(contract.input()),
            output: c_text(contract.output()),
            class_names: contract.class_names().unwrap_or_default().iter().map(c_text).collect(),
            model,
        }
    }

    fn boxed(model: Model) -> *mut glebe_model {
        Box::into_raw(Box::new(glebe_model(Handle::new(Opened::new(model)))))
    }
}

/// How to open a model. Fill it with glebe_model_options_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_model_options {
    /// sizeof(glebe_model_options), set by the init function.
    pub struct_size: u32,
    /// 1 (default): weights may be in other files, if these are plain files in the model's folder or below it. 0: a
    /// model with such weights is refused.
    pub external_data: i32,
    /// The output to take. NULL: the first.
    pub output: *const c_char,
    /// Most bytes that the model file may have. 0: 2 GiB, more than which no ONNX file can have.
    pub max_file_bytes: u64,
    /// Most bytes that all weights together may have, those in other files included. 0: 8 GiB.
    pub max_weight_bytes: u64,
}

layout!(
    glebe_model_options, 32;
    struct_size 0, external_data 4, output 8, max_file_bytes 16, max_weight_bytes 24
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), integers and raw pointers only.
unsafe impl Versioned for glebe_model_options {
    const NAME: &'static str = "glebe_model_options";
    const FIRST_SIZE: usize = std::mem::offset_of!(Self, max_weight_bytes) + size_of::<u64>();

    fn defaults() -> Self {
        glebe_model_options {
            struct_size: size_of::<Self>() as u32,
            external_data: 1,
            output: null(),
            max_file_bytes: 0,
            max_weight_bytes: 0,
        }
    }
}

/// Fills `options` with the defaults.
///
/// @param options  the struct to fill.
/// @param size     sizeof(glebe_model_options).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_options_init(
    options: *mut glebe_model_options,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(options, size) }
}

/// # Safety
/// `options` is NULL or as the header's contract wants it.
unsafe fn model_options(options: *const glebe_model_options) -> Result<ModelOptions> {
    if options.is_null() {
        return Ok(ModelOptions::default());
    }
    // SAFETY: by this function's contract.
    let given = unsafe { read_sized(options, "options")? };
    let external_data = match given.external_data {
        0 => false,
        1 => true,
        other => return Err(Error::invalid(format!("external_data is {other}: expected 0 or 1"))),
    };
    let mut limits = Limits { external_data, ..Limits::default() };
    if given.max_file_bytes != 0 {
        limits.file_bytes = given.max_file_bytes;
    }
    if given.max_weight_bytes != 0 {
        limits.tensor_bytes = given.max_weight_bytes;
    }
    let mut options = ModelOptions::default().limits(limits);
    // SAFETY: by this function's contract.
    if let Some(name) = unsafe { optional_text(given.output, "output")? } {
        options = options.output(name);
    }
    Ok(options)
}

/// Reads and checks a model file. It must have one input [N, C, H, W] and an output [N, C, H, W] or [N, H, W], each
/// of float32 or float16. ONNX Runtime prepares it when the first job needs it.
///
/// @param runtime  the runtime that it will run on; the model keeps what it needs of it.
/// @param path     the file.
/// @param options  nullable: the defaults.
/// @param out      the handle, to free with glebe_model_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_NOT_FOUND, GLEBE_STATUS_PERMISSION_DENIED, GLEBE_STATUS_IO; GLEBE_STATUS_MODEL_INVALID for a
///         damaged file; GLEBE_STATUS_MODEL_UNSUPPORTED for a model that cannot score rasters;
///         GLEBE_STATUS_LIMIT_EXCEEDED for one that asks for more than the limits allow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_open(
    runtime: *const glebe_runtime,
    path: *const c_char,
    options: *const glebe_model_options,
    out: *mut *mut glebe_model,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let runtime = borrow(runtime, "runtime")?;
            let path = text(path, "path")?;
            let out = Out::new(out, "out")?;
            let options = model_options(options)?;
            let model = runtime.0.enter(|loaded| Model::open(&loaded.runtime, path, &options))?;
            out.put(Opened::boxed(model));
            Ok(())
        })
    }
}

/// Checks a model that is in memory already. It cannot have weights in other files.
///
/// @param runtime  the runtime that it will run on; the model keeps what it needs of it.
/// @param data     the bytes of the ONNX file; copied.
/// @param size     their number.
/// @param options  nullable: the defaults.
/// @param out      the handle, to free with glebe_model_free.
/// @param error    nullable.
/// @return as glebe_model_open; GLEBE_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_open_bytes(
    runtime: *const glebe_runtime,
    data: *const u8,
    size: usize,
    options: *const glebe_model_options,
    out: *mut *mut glebe_model,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let runtime = borrow(runtime, "runtime")?;
            let data = slice(data, size, "data")?;
            let out = Out::new(out, "out")?;
            let options = model_options(options)?;
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(data.len()).map_err(|_| {
                Error::new(ErrorKind::OutOfMemory, format!("no memory for a model of {size} bytes"))
            })?;
            bytes.extend_from_slice(data);
            let model = runtime.0.enter(|loaded| Model::from_bytes(&loaded.runtime, bytes, &options))?;
            out.put(Opened::boxed(model));
            Ok(())
        })
    }
}

/// What the model is and what it needs, as the JSON object that `glebe inspect --json` prints.
///
/// @param json   the text; free it with glebe_buffer_free.
/// @param error  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_inspect(
    model: *const glebe_model,
    json: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let model = borrow(model, "model")?;
            let json = Out::new(json, "json")?;
            let text = model.0.enter(|Opened { model, .. }| {
                describe(model.document(), model.facts(), Ok(model.contract()), model.path())
            })?;
            json.put(glebe_buffer::text(format!("{text:#}")));
            Ok(())
        })
    }
}

/// What a model file is and whether it can score rasters ("can_segment", "problem"): the same JSON object for any
/// sound ONNX file, without a runtime.
///
/// @param path   the file.
/// @param json   the text; free it with glebe_buffer_free.
/// @param error  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_inspect_file(
    path: *const c_char,
    json: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let path = Path::new(text(path, "path")?);
            let json = Out::new(json, "json")?;
            let document = Document::open(path, &Limits::default())?;
            let facts = Facts::of(&document);
            let contract = Contract::of(&document, &facts, None);
            let text = describe(&document, &facts, contract.as_ref(), Some(path))?;
            json.put(glebe_buffer::text(format!("{text:#}")));
            Ok(())
        })
    }
}

/// The file that the model came from.
///
/// @return a string owned by the handle; NULL for a model from bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_path(model: *const glebe_model) -> *const c_char {
    // SAFETY: NULL or a model, by the header's contract.
    neutral(null(), || Some(unsafe { peek(model) }?.0.peek().path.as_ref()?.as_ptr()))
}

/// The name of the model's input.
///
/// @return a string owned by the handle; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_input_name(model: *const glebe_model) -> *const c_char {
    // SAFETY: NULL or a model, by the header's contract.
    neutral(null(), || Some(unsafe { peek(model) }?.0.peek().input.as_ptr()))
}

/// The name of the output that is taken.
///
/// @return a string owned by the handle; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_output_name(model: *const glebe_model) -> *const c_char {
    // SAFETY: NULL or a model, by the header's contract.
    neutral(null(), || Some(unsafe { peek(model) }?.0.peek().output.as_ptr()))
}

/// Channels of the input (bands of the raster); 0 where the model leaves them free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_input_channels(model: *const glebe_model) -> usize {
    // SAFETY: NULL or a model, by the header's contract.
    neutral(0, || unsafe { peek(model) }?.0.peek().model.contract().channels())
}

/// Width of the tiles in pixels; 0 where the model leaves it free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_tile_width(model: *const glebe_model) -> usize {
    // SAFETY: NULL or a model, by the header's contract.
    neutral(0, || unsafe { peek(model) }?.0.peek().model.contract().tile().1)
}

/// Height of the tiles in pixels; 0 where the model leaves it free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_tile_height(model: *const glebe_model) -> usize {
    // SAFETY: NULL or a model, by the header's contract.
    neutral(0, || unsafe { peek(model) }?.0.peek().model.contract().tile().0)
}

/// Tiles a run; 0 where the model leaves them free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_batch(model: *const glebe_model) -> usize {
    // SAFETY: NULL or a model, by the header's contract.
    neutral(0, || unsafe { peek(model) }?.0.peek().model.contract().batch())
}

/// The number of class names in the model's metadata; 0 where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_class_name_count(model: *const glebe_model) -> usize {
    // SAFETY: NULL or a model, by the header's contract.
    neutral(0, || Some(unsafe { peek(model) }?.0.peek().class_names.len()))
}

/// The name of a class, from 0, as the model's metadata has it.
///
/// @return a string owned by the handle; NULL from glebe_model_class_name_count on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_class_name(model: *const glebe_model, index: usize) -> *const c_char {
    // SAFETY: NULL or a model, by the header's contract.
    neutral(null(), || Some(unsafe { peek(model) }?.0.peek().class_names.get(index)?.as_ptr()))
}

/// Frees the model. No call that was given it may still be running.
///
/// @param model  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_model_free(model: *mut glebe_model) {
    // SAFETY: NULL or a model that is not used afterwards, by the header's contract.
    unsafe { free(model, |model| model.0.is_foreign()) }
}
