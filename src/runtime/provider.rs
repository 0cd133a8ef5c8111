//! Execution providers: which one runs the model, with which options, and whether it can.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ort::session::builder::SessionBuilder;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{Runtime, provider_options};

/// The kinds of provider that glebe offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ProviderKind {
    /// The processor; always there.
    #[default]
    Cpu,
    /// NVIDIA CUDA.
    Cuda,
    /// NVIDIA TensorRT; subgraphs that it does not take run on CUDA of the same device (where the feature `cuda` is
    /// on, else on the processor).
    TensorRt,
}

impl ProviderKind {
    /// All kinds.
    pub const ALL: [ProviderKind; 3] = [ProviderKind::Cpu, ProviderKind::Cuda, ProviderKind::TensorRt];

    /// The name on the command line and in reports: `cpu`, `cuda`, `tensorrt`.
    pub const fn name(self) -> &'static str {
        match self {
            ProviderKind::Cpu => "cpu",
            ProviderKind::Cuda => "cuda",
            ProviderKind::TensorRt => "tensorrt",
        }
    }

    const fn compiled_in(self) -> bool {
        match self {
            ProviderKind::Cpu => true,
            ProviderKind::Cuda => cfg!(feature = "cuda"),
            ProviderKind::TensorRt => cfg!(feature = "tensorrt"),
        }
    }

    const fn known_options(self) -> &'static [&'static str] {
        match self {
            ProviderKind::Cpu => &[],
            ProviderKind::Cuda => provider_options::CUDA,
            ProviderKind::TensorRt => provider_options::TENSORRT,
        }
    }

    /// The file that carries the provider, beside ONNX Runtime itself.
    fn library_name(self) -> String {
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        format!("{prefix}onnxruntime_providers_{}{suffix}", self.name())
    }

    /// Whether device 0 of this kind can be used with `runtime`, found out by registering it.
    pub(super) fn status(self, runtime: &Runtime) -> ProviderStatus {
        let attempt = ort::session::Session::builder(runtime.environment())
            .map_err(|error| Error::new(ErrorKind::Runtime, "cannot create session options").caused_by(error))
            .and_then(|builder| Provider::new(self).register(runtime, builder));
        ProviderStatus { kind: self, problem: attempt.err() }
    }
}

/// Whether a provider can be used.
#[derive(Debug)]
pub struct ProviderStatus {
    /// Which one.
    pub kind: ProviderKind,
    /// Why it cannot be used; `None` where it can.
    pub problem: Option<Error>,
}

/// As in `glebe doctor --json`: `name`, `usable`, `problem`.
impl serde::Serialize for ProviderStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut object = serializer.serialize_struct("ProviderStatus", 3)?;
        object.serialize_field("name", self.kind.name())?;
        object.serialize_field("usable", &self.usable())?;
        object.serialize_field("problem", &self.problem.as_ref().map(Error::one_line))?;
        object.end()
    }
}

impl ProviderStatus {
    /// Whether it can be used.
    pub fn usable(&self) -> bool {
        self.problem.is_none()
    }
}

/// A provider with its device and options.
///
/// Text form: `cpu`, `cuda`, `cuda:1`, `tensorrt:0`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provider {
    kind: ProviderKind,
    device: u32,
    options: BTreeMap<String, String>,
}

impl Provider {
    /// A provider on device 0 without options.
    pub fn new(kind: ProviderKind) -> Provider {
        Provider { kind, ..Provider::default() }
    }

    /// The device number, from 0.
    #[must_use]
    pub fn on_device(mut self, device: u32) -> Provider {
        self.device = device;
        self
    }

    /// Sets one of the provider's own options (the names of ONNX Runtime: `gpu_mem_limit`, `trt_fp16_enable`).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name that the provider does not have; values are checked by the
    /// provider itself when a session is made.
    pub fn with_option(mut self, key: &str, value: &str) -> Result<Provider> {
        let known = self.kind.known_options();
        if !known.contains(&key) {
            let name = self.kind.name();
            return Err(Error::invalid(match provider_options::nearest(key, known) {
                Some(near) => format!("unknown option {key:?} of provider {name}: did you mean {near}?"),
                None if known.is_empty() => format!("provider {name} has no options, got {key:?}"),
                None => {
                    format!("unknown option {key:?} of provider {name}: expected one of {}", known.join(", "))
                }
            }));
        }
        if value.contains('\0') {
            return Err(Error::invalid(format!("option {key}: the value holds a NUL character")));
        }
        self.options.insert(key.into(), value.into());
        Ok(self)
    }

    /// Its kind.
    pub fn kind(&self) -> ProviderKind {
        self.kind
    }

    /// Its device number.
    pub fn device(&self) -> u32 {
        self.device
    }

    /// Keeps engines and their timings in a folder, so that a later session of the same model, provider and device starts
    /// in seconds instead of minutes (TensorRT's `trt_engine_cache_path` and `trt_timing_cache_path`). The folder is made
    /// when the session is. Engines belong to versions and devices, which TensorRT checks; whoever can write to the folder
    /// can run code through them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for providers other than TensorRT, which build nothing that could be kept, and for
    /// a folder whose name is no text.
    pub fn with_engine_cache(self, folder: impl AsRef<Path>) -> Result<Provider> {
        let folder = folder.as_ref();
        if self.kind != ProviderKind::TensorRt {
            let message = format!("engine cache: provider {self} builds no engines, only tensorrt does");
            return Err(Error::invalid(message).at_path(folder));
        }
        let text = folder.to_str().filter(|text| !text.is_empty());
        let text =
            text.ok_or_else(|| Error::invalid("engine cache: expected a path that is text").at_path(folder))?;
        [
            ("trt_engine_cache_enable", "1"),
            ("trt_engine_cache_path", text),
            ("trt_timing_cache_enable", "1"),
            ("trt_timing_cache_path", text),
        ]
        .into_iter()
        .try_fold(self, |provider, (key, value)| provider.with_option(key, value))
    }

    /// The value of one of the provider's own options, where it was set.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }

    /// Options that a run's numbers may depend on: all but where things are kept.
    pub fn numeric_options(&self) -> impl Iterator<Item = (&str, &str)> {
        let kept = |key: &str| key.contains("_cache_") || key == "gpu_mem_limit";
        self.options
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .filter(move |(key, _)| !kept(key))
    }

    /// Whether runs are captured as graphs of the device, for which buffers must stay where they are.
    pub fn captures_graphs(&self) -> bool {
        ["enable_cuda_graph", "trt_cuda_graph_enable"]
            .iter()
            .filter_map(|key| self.option(key))
            .any(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// Makes the folder of the engine cache.
    fn make_cache(&self) -> Result<()> {
        match self.option("trt_engine_cache_path").or_else(|| self.option("trt_timing_cache_path")) {
            Some(folder) => std::fs::create_dir_all(folder)
                .map_err(|error| Error::io("create the folder of the engine cache", folder, error)),
            None => Ok(()),
        }
    }

    /// Makes sessions of `builder` run on this provider, or says why they cannot.
    pub(super) fn register(&self, runtime: &Runtime, builder: SessionBuilder) -> Result<SessionBuilder> {
        let unavailable = |why: String| {
            Error::new(ErrorKind::ProviderUnavailable, format!("provider {self} cannot be used: {why}"))
        };
        if !self.kind.compiled_in() {
            return Err(unavailable(format!("this build of glebe lacks the feature {}", self.kind.name())));
        }
        let Some(dispatch) = self.dispatch() else { return Ok(builder) };
        if !dispatch.offered {
            return Err(unavailable(format!(
                "ONNX Runtime {} at {} is built without it; install the onnxruntime-gpu flavour",
                runtime.version(),
                runtime.library().display()
            )));
        }
        let library = self.kind.library_name();
        let beside = runtime.library().canonicalize().unwrap_or_else(|_| PathBuf::from(runtime.library()));
        if let Some(folder) = beside.parent().filter(|_| beside.is_absolute())
            && !folder.join(&library).is_file()
        {
            return Err(unavailable(format!("{library} not found in {}", folder.display())));
        }
        self.make_cache()?;
        let providers: Vec<_> = dispatch.providers.into_iter().map(|one| one.error_on_failure()).collect();
        builder.with_execution_providers(providers).map_err(|error| {
            // The runtime's text names what is missing: a library (cuDNN, TensorRT), a device, or the driver.
            unavailable(error.to_string())
        })
    }

    /// The provider for `ort`; `None` for the processor.
    fn dispatch(&self) -> Option<Dispatch> {
        match self.kind {
            ProviderKind::Cpu => None,
            #[cfg(feature = "cuda")]
            ProviderKind::Cuda => {
                use ort::ep::{ArbitrarilyConfigurableExecutionProvider, ExecutionProvider};
                let mut provider = ort::ep::CUDA::default().with_device_id(self.device as i32);
                for (key, value) in &self.options {
                    provider = provider.with_arbitrary_config(key, value);
                }
                let offered = ort::ep::CUDA::is_available().unwrap_or(false);
                Some(Dispatch { providers: vec![provider.build()], offered })
            }
            #[cfg(feature = "tensorrt")]
            ProviderKind::TensorRt => {
                use ort::ep::{ArbitrarilyConfigurableExecutionProvider, ExecutionProvider};
                let mut provider = ort::ep::TensorRT::default().with_device_id(self.device as i32);
                for (key, value) in &self.options {
                    provider = provider.with_arbitrary_config(key, value);
                }
                let offered = ort::ep::TensorRT::is_available().unwrap_or(false);
                let providers = vec![
                    provider.build(),
                    #[cfg(feature = "cuda")]
                    ort::ep::CUDA::default().with_device_id(self.device as i32).build(),
                ];
                Some(Dispatch { providers, offered })
            }
            #[allow(
                unreachable_patterns,
                reason = "reached where a provider's feature is off; register has refused by then"
            )]
            _ => None,
        }
    }
}

struct Dispatch {
    /// In the order of preference.
    providers: Vec<ort::ep::ExecutionProviderDispatch>,
    /// Whether this ONNX Runtime was compiled with the provider.
    offered: bool,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ProviderKind::Cpu => f.write_str("cpu"),
            kind => write!(f, "{}:{}", kind.name(), self.device),
        }
    }
}

impl FromStr for Provider {
    type Err = Error;

    /// `cpu`, `cuda[:N]`, `tensorrt[:N]`.
    fn from_str(text: &str) -> Result<Provider> {
        let (name, device) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (text, None),
        };
        let kind = ProviderKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            Error::invalid(format!("unknown provider {text:?}: expected cpu, cuda[:N] or tensorrt[:N]"))
        })?;
        let device = match device {
            None => 0,
            Some(_) if kind == ProviderKind::Cpu => {
                return Err(Error::invalid(format!("provider cpu has no device number, got {text:?}")));
            }
            Some(number) => {
                number.parse::<u32>().ok().filter(|number| *number <= 1024).ok_or_else(|| {
                    Error::invalid(format!("expected a device number from 0, got {number:?}"))
                })?
            }
        };
        Ok(Provider::new(kind).on_device(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for (text, shown) in
            [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:3", "cuda:3"), ("tensorrt:1", "tensorrt:1")]
        {
            assert_eq!(text.parse::<Provider>().unwrap().to_string(), shown);
        }
        for wrong in ["", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "CUDA"] {
            let error = wrong.parse::<Provider>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{wrong}");
        }
    }

    #[test]
    fn options_are_those_of_the_provider() {
        let cuda = Provider::new(ProviderKind::Cuda);
        assert!(cuda.clone().with_option("gpu_mem_limit", "1000000").is_ok());
        let error = cuda.with_option("gpu_mem_limt", "1").unwrap_err();
        assert!(error.to_string().contains("did you mean gpu_mem_limit"), "{error}");
        assert!(Provider::default().with_option("gpu_mem_limit", "1").is_err());
    }

    #[test]
    fn engines_are_kept_where_they_are_built() {
        let trt = Provider::new(ProviderKind::TensorRt).on_device(1);
        let kept = trt.clone().with_engine_cache("engines/of x").unwrap();
        for key in ["trt_engine_cache_enable", "trt_timing_cache_enable"] {
            assert_eq!((kept.option(key), trt.option(key)), (Some("1"), None));
        }
        for key in ["trt_engine_cache_path", "trt_timing_cache_path"] {
            assert_eq!(kept.option(key), Some("engines/of x"));
        }
        // Where engines lie does not change what they give; their precision does.
        let half = kept.clone().with_option("trt_fp16_enable", "1").unwrap();
        assert_eq!(kept.numeric_options().count(), 0);
        assert_eq!(half.numeric_options().collect::<Vec<_>>(), [("trt_fp16_enable", "1")]);
        for other in [Provider::default(), Provider::new(ProviderKind::Cuda)] {
            let error = other.with_engine_cache("engines").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("only tensorrt"), "{error}");
        }
        assert!(trt.with_engine_cache("").is_err());
    }

    #[test]
    fn captured_graphs_are_known() {
        let with = |kind, key: &str, value: &str| {
            Provider::new(kind).with_option(key, value).unwrap().captures_graphs()
        };
        assert!(with(ProviderKind::Cuda, "enable_cuda_graph", "1"));
        assert!(with(ProviderKind::TensorRt, "trt_cuda_graph_enable", "True"));
        assert!(!with(ProviderKind::Cuda, "enable_cuda_graph", "0"));
        assert!(!Provider::new(ProviderKind::Cuda).captures_graphs());
    }
}
