//! The door to ONNX Runtime: finding it, loading it, providers, sessions, tensors on the device, cancelling.
//!
//! The runtime is a shared library that is looked for and loaded at run time ([`Runtime::load`]), so the user
//! chooses its flavour (CPU, CUDA, TensorRT) without a rebuild. A process has one ONNX Runtime and one environment,
//! which live until the process ends (two environments, or one created twice at the same time, crash:
//! pykeio/ort#315).
//!
//! Providers are strict: one that was asked for and cannot be used is an
//! [`ErrorKind::ProviderUnavailable`](crate::ErrorKind::ProviderUnavailable) that says why. Nothing falls back to
//! the CPU by itself.
//!
//! Two kinds of session: a [`Session`] scores images (one input, one output, in half precision too); a
//! [`BoundSession`] runs any graph over named [`DeviceTensor`]s, which stay where the provider works.
//!
//! Threads: [`Runtime`] is shared freely; a [`Session`] runs one call at a time (`&mut self`, since ONNX Runtime's
//! `Run` has known races); a [`CancelToken`] may be set from any thread and from a signal handler.

mod allocator;
mod binding;
mod bound_score;
mod bound_session;
mod cancel;
mod device_tensor;
#[cfg(unix)]
mod heap;
mod library;
mod load;
mod module_path;
pub mod operators;
mod output;
#[cfg(unix)]
mod pages;
mod provider;
mod provider_options;
#[cfg(unix)]
mod ranges;
mod session;
mod session_options;

pub(crate) use allocator::return_freed_memory;
pub use binding::{Binding, Fetched};
pub use bound_session::{BoundSession, Port};
pub use cancel::CancelToken;
pub use device_tensor::{DeviceTensor, Element, Place, TensorView, TensorViewMut};
#[cfg(all(unix, feature = "raster"))]
pub(crate) use heap::trim_heap;
pub use library::{Candidate, OLDEST_SUPPORTED};
pub use load::{Runtime, RuntimeOptions};
pub use output::{OutputData, OutputTensor};
pub use provider::{Provider, ProviderKind, ProviderStatus};
pub use session::{ElementType, RawSamples, Session, TensorSpec};
pub(crate) use session_options::heap_bytes;
pub use session_options::{Optimization, SessionOptions};
