//! The loaded runtime: one a process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::library::{self, Candidate};
use crate::runtime::module_path;
use crate::runtime::provider::{ProviderKind, ProviderStatus};

/// How to find ONNX Runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeOptions {
    /// The library file (`libonnxruntime.so…`). `None`: `ORT_DYLIB_PATH`, else beside glebe, else the active
    /// Python environment's `onnxruntime` package, else the system.
    pub library: Option<PathBuf>,
}

impl RuntimeOptions {
    /// Names the library file.
    #[must_use]
    pub fn library(mut self, path: impl Into<PathBuf>) -> Self {
        self.library = Some(path.into());
        self
    }
}

/// ONNX Runtime, loaded. Cheap to clone; may be shared by threads; stays loaded until the process ends.
#[derive(Debug, Clone)]
pub struct Runtime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    library: PathBuf,
    origin: &'static str,
    version: String,
    environment: ort::environment::Environment,
}

/// The runtime of this process. Never released: ONNX Runtime allows one environment a process, and its threads
/// may outlive any order of destruction that we could choose.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Finds and loads ONNX Runtime; later calls give the one that is loaded.
    ///
    /// # Errors
    /// [`ErrorKind::RuntimeNotFound`] where no usable library is found (the text lists what was tried), or the
    /// one named cannot be used; [`ErrorKind::InvalidState`] where another library is loaded already.
    pub fn load(options: &RuntimeOptions) -> Result<Runtime> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return match &options.library {
                Some(path) if !same_file(path, runtime.library()) => Err(Error::new(
                    ErrorKind::InvalidState,
                    format!(
                        "this process has loaded ONNX Runtime from {} already",
                        runtime.library().display()
                    ),
                )
                .at_path(path)),
                _ => Ok(runtime.clone()),
            };
        }
        let runtime = Runtime::load_first(options)?;
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// Where [`Runtime::load`] would look, in order.
    pub fn candidates(options: &RuntimeOptions) -> Vec<Candidate> {
        library::candidates(options.library.as_deref(), module_path::folder().as_deref())
    }

    fn load_first(options: &RuntimeOptions) -> Result<Runtime> {
        library::disable_telemetry();
        let mut tried = Vec::new();
        let candidates = Runtime::candidates(options);
        let only = candidates.len() == 1;
        for candidate in candidates {
            match library::version(&candidate.path) {
                Ok(version) => return Runtime::start(candidate, version),
                Err(error) if only => return Err(error),
                Err(error) => tried.push((candidate, error)),
            }
        }
        // The system's names fail in the same way everywhere; a file that exists and fails is the news.
        let mut text = String::from(
            "ONNX Runtime was not found: put libonnxruntime beside glebe, set ORT_DYLIB_PATH, or activate a Python environment with onnxruntime",
        );
        for (candidate, error) in tried.iter().filter(|(candidate, _)| candidate.origin != "system") {
            text.push_str(&format!("; tried {} ({})", candidate.path.display(), error.message()));
        }
        Err(Error::new(ErrorKind::RuntimeNotFound, text))
    }

    fn start(candidate: Candidate, version: String) -> Result<Runtime> {
        let failed = |what: &str, error: String| {
            Error::new(ErrorKind::RuntimeNotFound, format!("{what}: {error}")).at_path(&candidate.path)
        };
        let environment = ort::init_from(&candidate.path)
            .map_err(|error| failed("cannot load ONNX Runtime", error.to_string()))?
            .with_name("glebe")
            .with_telemetry(false)
            .build()
            .map_err(|error| failed("cannot create ONNX Runtime's environment", error.to_string()))?;
        // The default is everything, down to memory statistics of each session.
        environment.set_log_level(ort::logging::LogLevel::Warning);
        tracing::debug!(version, library = %candidate.path.display(), origin = candidate.origin, "ONNX Runtime loaded");
        Ok(Runtime(Arc::new(Inner {
            library: candidate.path,
            origin: candidate.origin,
            version,
            environment,
        })))
    }

    /// The library file that was loaded (a bare name where the system's search found it).
    pub fn library(&self) -> &Path {
        &self.0.library
    }

    /// Why this library was taken: `option`, `ORT_DYLIB_PATH`, `beside glebe`, `python environment` or `system`.
    pub fn origin(&self) -> &'static str {
        self.0.origin
    }

    /// ONNX Runtime's version, such as `1.31.1`.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// Each provider that glebe knows: usable, or why not.
    pub fn providers(&self) -> Vec<ProviderStatus> {
        ProviderKind::ALL.into_iter().map(|kind| kind.status(self)).collect()
    }

    pub(super) fn environment(&self) -> &ort::environment::Environment {
        &self.0.environment
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
