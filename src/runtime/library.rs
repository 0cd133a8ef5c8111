//! Where ONNX Runtime's shared library may lie, and whether a file is one.
#![allow(unsafe_code, reason = "loading a shared library and asking it for its version has no safe form")]

use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// Minor version (1.N) of the oldest ONNX Runtime that loads: the API level the crate is built for.
pub const OLDEST_SUPPORTED: u32 = ort::MINOR_VERSION;

/// A place where ONNX Runtime was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The library file, or a bare name for the system's own search.
    pub path: PathBuf,
    /// Why it was tried: `option`, `ORT_DYLIB_PATH`, `beside glebe`, `python environment`, `system`.
    pub origin: &'static str,
}

#[cfg(target_os = "windows")]
const NAMES: &[&str] = &["onnxruntime.dll"];
#[cfg(target_os = "macos")]
const NAMES: &[&str] = &["libonnxruntime.dylib", "libonnxruntime.1.dylib"];
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
const NAMES: &[&str] = &["libonnxruntime.so", "libonnxruntime.so.1"];

/// The candidates in the order in which they are tried. An explicit path (option, `ORT_DYLIB_PATH`) is the only
/// candidate: where the user names a library, no other is taken in its place.
pub(super) fn candidates(explicit: Option<&Path>, module: Option<&Path>) -> Vec<Candidate> {
    if let Some(path) = explicit {
        return vec![Candidate { path: path.into(), origin: "option" }];
    }
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return vec![Candidate { path: path.into(), origin: "ORT_DYLIB_PATH" }];
    }
    let mut found = Vec::new();
    if let Some(folder) = module {
        // The library's own folder; `lib/glebe` of an installation, from `lib` and from `bin`; `lib` from `bin`.
        for place in [folder.into(), folder.join("glebe"), folder.join("../lib/glebe"), folder.join("../lib")]
        {
            add_folder(&mut found, &place, "beside glebe");
        }
        // Cargo puts tests and examples one folder below what `make link` prepares.
        if folder.ends_with("deps") || folder.ends_with("examples") {
            add_folder(&mut found, &folder.join(".."), "beside glebe");
        }
    }
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(prefix) = std::env::var_os(variable).filter(|prefix| !prefix.is_empty()) {
            for packages in python_packages(Path::new(&prefix)) {
                add_folder(&mut found, &packages.join("onnxruntime/capi"), "python environment");
            }
        }
    }
    found.extend(NAMES.iter().map(|name| Candidate { path: name.into(), origin: "system" }));
    found
}

/// Adds the libraries in a folder: the plain names first, then versioned files, newest first.
fn add_folder(found: &mut Vec<Candidate>, folder: &Path, origin: &'static str) {
    let before = found.len();
    for name in NAMES {
        let path = folder.join(name);
        if path.is_file() {
            found.push(Candidate { path, origin });
        }
    }
    if found.len() > before {
        return;
    }
    let mut versioned: Vec<(Vec<u32>, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = version_in_name(name.to_str()?)?;
            Some((version, entry.path()))
        })
        .collect();
    versioned.sort();
    found.extend(versioned.into_iter().rev().map(|(_, path)| Candidate { path, origin }));
}

/// `libonnxruntime.so.1.31.1` → `[1, 31, 1]`; `libonnxruntime.1.31.1.dylib` likewise.
fn version_in_name(name: &str) -> Option<Vec<u32>> {
    let rest = name.strip_prefix("libonnxruntime.")?;
    let version = rest.strip_prefix("so.").or_else(|| rest.strip_suffix(".dylib"))?;
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// `PREFIX/lib/python3.*/site-packages` on Unix, `PREFIX/Lib/site-packages` on Windows.
fn python_packages(prefix: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(prefix.join("lib"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .map(|entry| entry.path().join("site-packages"))
        .collect();
    folders.sort();
    folders.push(prefix.join("Lib/site-packages"));
    folders
}

/// `OrtApiBase` of ONNX Runtime's C API: two function pointers, unchanged since 1.0.
#[repr(C)]
struct ApiBase {
    get_api: unsafe extern "C" fn(u32) -> *const c_void,
    get_version_string: unsafe extern "C" fn() -> *const c_char,
}

/// Switches ONNX Runtime's own telemetry off, unless the environment says something about it. Since 1.31 the official
/// builds write a device number below the user's cache folder and send events to their maker when they are *loaded*;
/// the call of the C API that disables events comes too late for that, so the variable has to be there before.
///
/// Called with the lock of [`Runtime::load`](super::Runtime::load) held, before the first library is opened.
pub(super) fn disable_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: changing the environment races with other threads that read it through C's getenv. There is no
        // other switch; it is done once a process, at the documented first load, and callers with threads of their
        // own can set the variable themselves, which makes this a read.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

/// Opens the library and asks for its version ("1.31.1").
///
/// # Errors
/// [`ErrorKind::RuntimeNotFound`]: no such file, not a shared library, not ONNX Runtime, or too old.
pub(super) fn version(path: &Path) -> Result<String> {
    let fail = |message: String| Error::new(ErrorKind::RuntimeNotFound, message).at_path(path);
    // SAFETY: loading runs the library's initialisers; the path comes from the user's own configuration or from
    // the places documented at `candidates`, never from a model or raster.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| {
        Error::new(ErrorKind::RuntimeNotFound, "cannot be loaded as a shared library")
            .at_path(path)
            .caused_by(error)
    })?;
    // SAFETY: `OrtGetApiBase` has had this signature in every release; both results are checked for NULL, and the
    // version is a static string inside the library, copied before the library is closed.
    let version = unsafe {
        let base = library
            .get::<unsafe extern "C" fn() -> *const ApiBase>(b"OrtGetApiBase")
            .map_err(|_| fail("is not ONNX Runtime: it exports no OrtGetApiBase".into()))?(
        );
        let base = base.as_ref().ok_or_else(|| fail("OrtGetApiBase gave NULL".into()))?;
        let text = (base.get_version_string)();
        if text.is_null() {
            return Err(fail("ONNX Runtime gave no version".into()));
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    };
    let minor: u32 = version.split('.').nth(1).and_then(|part| part.parse().ok()).unwrap_or(0);
    if minor < OLDEST_SUPPORTED {
        return Err(fail(format!(
            "ONNX Runtime {version} is too old: expected 1.{OLDEST_SUPPORTED} or newer"
        )));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explicit_path_is_the_only_candidate() {
        let path = Path::new("nowhere/libonnxruntime.so");
        let found = candidates(Some(path), Some(Path::new("/")));
        assert_eq!(found, [Candidate { path: path.into(), origin: "option" }]);
    }

    #[test]
    fn plain_names_win_then_the_newest_version() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so"]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let mut found = Vec::new();
        add_folder(&mut found, folder.path(), "beside glebe");
        let names: Vec<_> = found.iter().map(|c| c.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["libonnxruntime.so.1.31.1", "libonnxruntime.so.1.9.0"]);

        std::fs::write(folder.path().join(NAMES[0]), "").unwrap();
        found.clear();
        add_folder(&mut found, folder.path(), "beside glebe");
        assert_eq!(found.len(), 1);
        assert!(found[0].path.ends_with(NAMES[0]));
    }

    #[test]
    fn what_is_no_library_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "text").unwrap();
        let error = version(file.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RuntimeNotFound);
        assert!(error.to_string().contains("cannot be loaded"), "{error}");
        assert_eq!(version(Path::new("nowhere.so")).unwrap_err().kind(), ErrorKind::RuntimeNotFound);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_shared_library_says_so() {
        let error = version(Path::new("libm.so.6")).unwrap_err();
        assert!(error.to_string().contains("not ONNX Runtime"), "{error}");
    }
}
