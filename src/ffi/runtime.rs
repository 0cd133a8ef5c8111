//! ONNX Runtime.

use std::ffi::{CString, c_char};
use std::ptr::null;

use crate::ffi::boundary::{
    Handle, Out, Versioned, borrow, c_text, free, init, layout, neutral, optional_text, peek, read_sized,
    status,
};
use crate::ffi::buffer::glebe_buffer;
use crate::ffi::error::glebe_error;
use crate::ffi::status::glebe_status;
use crate::runtime::{Runtime, RuntimeOptions};
use crate::{Error, Result};

/// ONNX Runtime, loaded. A process has one, which stays loaded until the process ends; all handles stand for it.
/// May be shared by threads.
pub struct glebe_runtime(pub(super) Handle<Loaded>);

/// What the handle holds.
pub(super) struct Loaded {
    pub(super) runtime: Runtime,
    version: CString,
    library: CString,
    origin: CString,
}

/// How to find ONNX Runtime. Fill it with glebe_runtime_options_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_runtime_options {
    /// sizeof(glebe_runtime_options), set by the init function.
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The library file (libonnxruntime.so...). NULL: the environment variable ORT_DYLIB_PATH; else beside libglebe;
    /// else the onnxruntime package of the active Python environment; else the system's search.
    pub library: *const c_char,
}

layout!(glebe_runtime_options, 16; struct_size 0, reserved 4, library 8);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), integers and raw pointers only.
unsafe impl Versioned for glebe_runtime_options {
    const NAME: &'static str = "glebe_runtime_options";
    const FIRST_SIZE: usize = std::mem::offset_of!(Self, library) + size_of::<*const c_char>();

    fn defaults() -> Self {
        glebe_runtime_options { struct_size: size_of::<Self>() as u32, reserved: 0, library: null() }
    }
}

/// Fills `options` with the defaults.
///
/// @param options  the struct to fill.
/// @param size     sizeof(glebe_runtime_options).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_runtime_options_init(
    options: *mut glebe_runtime_options,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(options, size) }
}

/// Finds and loads ONNX Runtime; later calls give the one that is loaded.
///
/// @param options  nullable: the defaults.
/// @param out      the handle, to free with glebe_runtime_free.
/// @param error    nullable.
/// @return GLEBE_STATUS_RUNTIME_NOT_FOUND where no usable library is found (the text lists what was tried), or the
///         one named cannot be used; GLEBE_STATUS_INVALID_STATE where another library than the one named is loaded
///         already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_runtime_load(
    options: *const glebe_runtime_options,
    out: *mut *mut glebe_runtime,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let out = Out::new(out, "out")?;
            let runtime = Runtime::load(&runtime_options(options)?)?;
            out.put(Box::into_raw(Box::new(glebe_runtime(Handle::new(Loaded {
                version: c_text(runtime.version()),
                library: c_text(runtime.library().to_string_lossy()),
                origin: c_text(runtime.origin()),
                runtime,
            })))));
            Ok(())
        })
    }
}

/// # Safety
/// `options` is NULL or as the header's contract wants it.
unsafe fn runtime_options(options: *const glebe_runtime_options) -> Result<RuntimeOptions> {
    if options.is_null() {
        return Ok(RuntimeOptions::default());
    }
    // SAFETY: by this function's contract.
    let given = unsafe { read_sized(options, "options")? };
    if given.reserved != 0 {
        return Err(Error::invalid("options: reserved is not 0"));
    }
    let mut options = RuntimeOptions::default();
    // SAFETY: by this function's contract.
    if let Some(path) = unsafe { optional_text(given.library, "library")? } {
        options = options.library(path);
    }
    Ok(options)
}

/// ONNX Runtime's version, such as "1.31.1".
///
/// @return a string owned by the handle; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_runtime_version(runtime: *const glebe_runtime) -> *const c_char {
    // SAFETY: NULL or a runtime, by the header's contract.
    neutral(null(), || Some(unsafe { peek(runtime) }?.0.peek().version.as_ptr()))
}

/// The library file that was loaded; a bare name where the system's search found it.
///
/// @return a string owned by the handle; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_runtime_library(runtime: *const glebe_runtime) -> *const c_char {
    // SAFETY: NULL or a runtime, by the header's contract.
    neutral(null(), || Some(unsafe { peek(runtime) }?.0.peek().library.as_ptr()))
}

/// Why this library was taken: "option", "ORT_DYLIB_PATH", "beside glebe", "python environment" or "system".
///
/// @return a string owned by the handle; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_runtime_origin(runtime: *const glebe_runtime) -> *const c_char {
    // SAFETY: NULL or a runtime, by the header's contract.
    neutral(null(), || Some(unsafe { peek(runtime) }?.0.peek().origin.as_ptr()))
}

/// The execution providers, found out by trying each: a JSON list of objects with "name" ("cpu", "cuda",
/// "tensorrt"), "usable" (boolean) and "problem" (why it is not usable, else null).
///
/// @param json   the text; free it with glebe_buffer_free.
/// @param error  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_runtime_providers(
    runtime: *const glebe_runtime,
    json: *mut glebe_buffer,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let runtime = borrow(runtime, "runtime")?;
            let json = Out::new(json, "json")?;
            let text = runtime.0.enter(|loaded| {
                serde_json::to_string_pretty(&loaded.runtime.providers())
                    .map_err(|error| Error::internal("cannot write JSON").caused_by(error))
            })?;
            json.put(glebe_buffer::text(text));
            Ok(())
        })
    }
}

/// Frees the handle; models keep what they need. ONNX Runtime itself stays loaded.
///
/// @param runtime  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_runtime_free(runtime: *mut glebe_runtime) {
    // SAFETY: NULL or a runtime that is not used afterwards, by the header's contract.
    unsafe { free(runtime, |runtime| runtime.0.is_foreign()) }
}
