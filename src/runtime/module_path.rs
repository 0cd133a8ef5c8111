//! Which file on disk this very code was loaded from: `libglebe.so` in an application, the program itself when
//! linked statically. ONNX Runtime is looked for beside it.
#![allow(unsafe_code, reason = "dladdr has no safe form")]

use std::path::PathBuf;

/// The folder of the shared library or program that holds this code.
pub(super) fn folder() -> Option<PathBuf> {
    let path = file().or_else(|| std::env::current_exe().ok())?;
    // Behind symbolic links (libglebe.so -> libglebe.so.1 -> …) the real file's neighbours count.
    let path = path.canonicalize().unwrap_or(path);
    path.parent().map(PathBuf::from)
}

#[cfg(unix)]
fn file() -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;

    // SAFETY: dladdr only reads the address and fills the struct; an all-zero Dl_info is a valid one.
    let name = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let found = libc::dladdr(file as fn() -> Option<PathBuf> as *const libc::c_void, &raw mut info);
        if found == 0 || info.dli_fname.is_null() {
            return None;
        }
        CStr::from_ptr(info.dli_fname)
    };
    let path = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
    // For the main program glibc gives argv[0], which may be relative or a bare name found through PATH.
    path.is_absolute().then_some(path)
}

#[cfg(not(unix))]
fn file() -> Option<PathBuf> {
    None
}
