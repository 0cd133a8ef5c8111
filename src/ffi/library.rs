//! The library as a whole.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use crate::ffi::boundary::{c_text, neutral};

/// Version of the ABI that this header describes: the number in the library's file name, libglebe.so.1. Libraries of
/// another number do not fit; within one number, symbols and structs only grow.
pub const GLEBE_ABI_VERSION: u32 = 1;

/// The version of the loaded library, such as "0.1.0"; GLEBE_VERSION is that of this header.
///
/// @return a static string, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn glebe_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The ABI version of the loaded library; GLEBE_ABI_VERSION is that of this header. Programs that load the library
/// with dlopen compare the two.
#[unsafe(no_mangle)]
pub extern "C" fn glebe_abi_version() -> u32 {
    GLEBE_ABI_VERSION
}

/// What this build of the library is, as a JSON object: "version", "abi", "features" (list of names),
/// "oldest_onnxruntime", "gdal" (GDAL's version, null in a build without it).
///
/// @return a static string, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn glebe_build_info() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    neutral(c"{}".as_ptr(), || Some(TEXT.get_or_init(|| c_text(build_info())).as_ptr()))
}

fn build_info() -> String {
    let features: Vec<&str> = [
        ("raster", cfg!(feature = "raster")),
        ("pytorch", cfg!(feature = "pytorch")),
        ("cuda", cfg!(feature = "cuda")),
        ("tensorrt", cfg!(feature = "tensorrt")),
    ]
    .into_iter()
    .filter_map(|(name, on)| on.then_some(name))
    .collect();
    #[cfg(feature = "raster")]
    let gdal = Some(crate::raster::gdal_version());
    #[cfg(not(feature = "raster"))]
    let gdal: Option<String> = None;
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "abi": GLEBE_ABI_VERSION,
        "features": features,
        "oldest_onnxruntime": format!("1.{}", crate::runtime::OLDEST_SUPPORTED),
        "gdal": gdal,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_abi_version_is_that_of_the_file_name() {
        let build = include_str!("../../build.rs");
        assert!(build.contains(&format!("const ABI_VERSION: u32 = {GLEBE_ABI_VERSION};")));
    }
}
