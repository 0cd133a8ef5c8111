//! Status numbers.
#![allow(dead_code, reason = "the constants are for C; Rust has ErrorKind")]

use std::ffi::{CStr, c_char};

use crate::error::ErrorKind;
use crate::ffi::boundary::neutral;

/// What became of a call: GLEBE_STATUS_OK, or the kind of failure. Later versions may add numbers; they never reuse
/// one. They are also the exit codes of the command line tool.
pub type glebe_status = i32;

/// Success.
pub const GLEBE_STATUS_OK: i32 = 0;
/// A defect of this library. The handle that the call was made on cannot be used any more.
pub const GLEBE_STATUS_INTERNAL: i32 = 1;
/// An argument or option is wrong in itself (NULL, NaN, out of range, unknown name).
pub const GLEBE_STATUS_INVALID_ARGUMENT: i32 = 2;
/// A file or folder does not exist.
pub const GLEBE_STATUS_NOT_FOUND: i32 = 3;
/// The operating system refused access.
pub const GLEBE_STATUS_PERMISSION_DENIED: i32 = 4;
/// An output exists already and overwriting was not asked for.
pub const GLEBE_STATUS_ALREADY_EXISTS: i32 = 5;
/// Reading or writing failed; includes a full disk.
pub const GLEBE_STATUS_IO: i32 = 6;
/// The file is not a readable ONNX model.
pub const GLEBE_STATUS_MODEL_INVALID: i32 = 7;
/// A sound model that cannot be used for this (two inputs, integer input, other rank).
pub const GLEBE_STATUS_MODEL_UNSUPPORTED: i32 = 8;
/// The file is not a readable raster, or it is damaged.
pub const GLEBE_STATUS_RASTER_INVALID: i32 = 9;
/// A sound raster that cannot be used (complex samples, mixed types, driver not allowed).
pub const GLEBE_STATUS_RASTER_UNSUPPORTED: i32 = 10;
/// Two sound things that do not fit together (model of 3 bands, raster of 4).
pub const GLEBE_STATUS_MISMATCH: i32 = 11;
/// ONNX Runtime was not found or could not be loaded.
pub const GLEBE_STATUS_RUNTIME_NOT_FOUND: i32 = 12;
/// The execution provider asked for cannot be used; there is no fallback.
pub const GLEBE_STATUS_PROVIDER_UNAVAILABLE: i32 = 13;
/// ONNX Runtime failed while it prepared or ran a model.
pub const GLEBE_STATUS_RUNTIME: i32 = 14;
/// Not enough memory for data-sized allocations.
pub const GLEBE_STATUS_OUT_OF_MEMORY: i32 = 15;
/// Stopped by the caller, through a cancel token or the progress callback.
pub const GLEBE_STATUS_CANCELLED: i32 = 16;
/// The object cannot be used any more (after GLEBE_STATUS_INTERNAL, or after fork), or calls came in the wrong order.
pub const GLEBE_STATUS_INVALID_STATE: i32 = 17;
/// This build lacks the capability (feature switched off).
pub const GLEBE_STATUS_NOT_SUPPORTED: i32 = 18;
/// A safety limit on untrusted input was exceeded.
pub const GLEBE_STATUS_LIMIT_EXCEEDED: i32 = 19;

/// The short name of a status, for logs: "ok", "not-found", and "unknown" for a number that this version does not
/// know.
///
/// @return a static string, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn glebe_status_name(status: glebe_status) -> *const c_char {
    neutral(c"unknown", || Some(name(status))).as_ptr()
}

/// [`ErrorKind::name`] with a NUL at its end; a test compares them.
fn name(status: glebe_status) -> &'static CStr {
    const NAMES: [&CStr; 20] = [
        c"ok",
        c"internal",
        c"invalid-argument",
        c"not-found",
        c"permission-denied",
        c"already-exists",
        c"io",
        c"model-invalid",
        c"model-unsupported",
        c"raster-invalid",
        c"raster-unsupported",
        c"mismatch",
        c"runtime-not-found",
        c"provider-unavailable",
        c"runtime",
        c"out-of-memory",
        c"cancelled",
        c"invalid-state",
        c"not-supported",
        c"limit-exceeded",
    ];
    const _: () = assert!(NAMES.len() == ErrorKind::ALL.len() + 1);
    usize::try_from(status).ok().and_then(|index| NAMES.get(index)).copied().unwrap_or(c"unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_kinds() {
        use ErrorKind::*;
        for (kind, code) in [
            (Internal, GLEBE_STATUS_INTERNAL),
            (InvalidArgument, GLEBE_STATUS_INVALID_ARGUMENT),
            (NotFound, GLEBE_STATUS_NOT_FOUND),
            (PermissionDenied, GLEBE_STATUS_PERMISSION_DENIED),
            (AlreadyExists, GLEBE_STATUS_ALREADY_EXISTS),
            (Io, GLEBE_STATUS_IO),
            (ModelInvalid, GLEBE_STATUS_MODEL_INVALID),
            (ModelUnsupported, GLEBE_STATUS_MODEL_UNSUPPORTED),
            (RasterInvalid, GLEBE_STATUS_RASTER_INVALID),
            (RasterUnsupported, GLEBE_STATUS_RASTER_UNSUPPORTED),
            (Mismatch, GLEBE_STATUS_MISMATCH),
            (RuntimeNotFound, GLEBE_STATUS_RUNTIME_NOT_FOUND),
            (ProviderUnavailable, GLEBE_STATUS_PROVIDER_UNAVAILABLE),
            (Runtime, GLEBE_STATUS_RUNTIME),
            (OutOfMemory, GLEBE_STATUS_OUT_OF_MEMORY),
            (Cancelled, GLEBE_STATUS_CANCELLED),
            (InvalidState, GLEBE_STATUS_INVALID_STATE),
            (NotSupported, GLEBE_STATUS_NOT_SUPPORTED),
            (LimitExceeded, GLEBE_STATUS_LIMIT_EXCEEDED),
        ] {
            assert_eq!(kind.code(), code, "{kind}");
            assert_eq!(name(code).to_str().unwrap(), kind.name());
        }
        assert_eq!(name(GLEBE_STATUS_OK), c"ok");
        assert_eq!(name(-1), c"unknown");
        assert_eq!(name(ErrorKind::ALL.len() as i32 + 1), c"unknown");
    }
}
