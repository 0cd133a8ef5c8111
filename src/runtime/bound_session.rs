//! A graph that runs over named tensors.

use std::path::PathBuf;
use std::sync::Arc;

use ort::session::Session as OrtSession;
use ort::value::ValueType;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ElementType;
use crate::runtime::binding::{Binding, Fetched};
use crate::runtime::cancel::Watch;
use crate::runtime::device_tensor::{Element, from_ort};
use crate::runtime::session::failure;
use crate::runtime::{CancelToken, DeviceTensor, Provider, Runtime, SessionOptions};

/// An input or output of a [`BoundSession`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its element type; `None` for one that no [`DeviceTensor`] can have, and for what is no tensor.
    pub element: Option<ElementType>,
    /// Its dimensions; `None` is free.
    pub shape: Vec<Option<usize>>,
}

impl Port {
    fn of(name: &str, kind: &ValueType) -> Port {
        let (element, shape) = match kind {
            ValueType::Tensor { ty, shape, .. } => {
                (from_ort(*ty), shape.iter().map(|dim| usize::try_from(*dim).ok()).collect())
            }
            _ => (None, Vec::new()),
        };
        Port { name: name.into(), element, shape }
    }
}

/// What a session takes and gives; shared with its bindings, which are known by it.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    pub(super) provider: Provider,
}

/// A graph prepared for one provider, with any number of inputs and outputs, each of which is bound to a tensor by
/// its name. Runs one call at a time.
///
/// A [`Binding`] says which tensors a run reads and writes; a session may have any number of them. Two make double
/// buffering: one reads the tensors `a` and writes `b`, the other reads `b` and writes `a`. A run that fails or is
/// cancelled leaves the tensors that it would have written undefined and those that it reads as they were.
///
/// ```no_run
/// use glebe::onnx::ElementType;
/// use glebe::runtime::{BoundSession, Place, Runtime, RuntimeOptions, SessionOptions};
///
/// # fn main() -> glebe::Result<()> {
/// # let model = Vec::new();
/// let runtime = Runtime::load(&RuntimeOptions::default())?;
/// let mut session = BoundSession::new(&runtime, &model, &SessionOptions::default())?;
/// let (a, b) = (session.tensor(&[2], &[1.0f32, 2.0])?, session.zeros(ElementType::Float32, &[2])?);
/// let mut turns = [session.binding()?, session.binding()?];
/// for (binding, (from, to)) in turns.iter_mut().zip([(&a, &b), (&b, &a)]) {
///     binding.bind_input("weights", from)?;
///     binding.bind_output("new_weights", to)?;
///     binding.fetch_output("loss", Place::Host)?;
/// }
/// for step in 0..10 {
///     let loss = session.run(&mut turns[step % 2])?.take("loss")?.to_vec::<f32>()?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct BoundSession {
    inner: OrtSession,
    ports: Arc<Ports>,
    watch: Option<(CancelToken, Watch)>,
}

impl std::fmt::Debug for BoundSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundSession").field("ports", &self.ports).finish()
    }
}

impl BoundSession {
    /// Prepares the ONNX model in `bytes`, which must be self-contained.
    ///
    /// # Errors
    /// As [`Session::new`](super::Session::new).
    pub fn new(runtime: &Runtime, bytes: &[u8], options: &SessionOptions) -> Result<BoundSession> {
        Ok(BoundSession::of(options.commit(runtime, bytes)?, &options.provider))
    }

    /// Of a session that is prepared for this provider.
    pub(super) fn of(inner: OrtSession, provider: &Provider) -> BoundSession {
        let ports = Ports {
            inputs: inner.inputs().iter().map(|outlet| Port::of(outlet.name(), outlet.dtype())).collect(),
            outputs: inner.outputs().iter().map(|outlet| Port::of(outlet.name(), outlet.dtype())).collect(),
            provider: provider.clone(),
        };
        BoundSession { inner, ports: Arc::new(ports), watch: None }
    }

    /// The graph's inputs (initializers excluded), in its order.
    pub fn inputs(&self) -> &[Port] {
        &self.ports.inputs
    }

    /// The graph's outputs, in its order.
    pub fn outputs(&self) -> &[Port] {
        &self.ports.outputs
    }

    /// A tensor of zeros on the session's device.
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] for an element type that has no [`Element`]; [`ErrorKind::OutOfMemory`].
    pub fn zeros(&self, element: ElementType, shape: &[usize]) -> Result<DeviceTensor> {
        let tensor = DeviceTensor::on_device(&self.inner, &self.ports.provider, element, shape)?;
        if !tensor.is_host() {
            match element {
                ElementType::Float32 => tensor.write(&vec![0f32; tensor.len()])?,
                ElementType::Float64 => tensor.write(&vec![0f64; tensor.len()])?,
                ElementType::Float16 => tensor.write(&vec![half::f16::ZERO; tensor.len()])?,
                ElementType::Int64 => tensor.write(&vec![0i64; tensor.len()])?,
                ElementType::Int32 => tensor.write(&vec![0i32; tensor.len()])?,
                ElementType::Uint8 => tensor.write(&vec![0u8; tensor.len()])?,
                ElementType::Uint16 => tensor.write(&vec![0u16; tensor.len()])?,
                ElementType::Int16 => tensor.write(&vec![0i16; tensor.len()])?,
                ElementType::Bool => tensor.write(&vec![false; tensor.len()])?,
                other => return Err(Error::internal(format!("a tensor of {}", other.name()))),
            }
        }
        Ok(tensor)
    }

    /// A tensor on the session's device with these values, in row-major order of `shape`.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] where there are not as many values as the shape has; [`ErrorKind::OutOfMemory`];
    /// [`ErrorKind::Runtime`] where the device fails.
    pub fn tensor<T: Element>(&self, shape: &[usize], values: &[T]) -> Result<DeviceTensor> {
        let tensor = DeviceTensor::on_device(&self.inner, &self.ports.provider, T::ELEMENT, shape)?;
        tensor.write(values)?;
        Ok(tensor)
    }

    /// A tensor in host memory, pinned where the provider has such: what is copied to the device and from it again and
    /// again.
    ///
    /// # Errors
    /// As [`BoundSession::zeros`].
    pub fn staging(&self, element: ElementType, shape: &[usize]) -> Result<DeviceTensor> {
        DeviceTensor::staging(&self.inner, &self.ports.provider, element, shape)
    }

    /// An empty binding for this session.
    ///
    /// # Errors
    /// [`ErrorKind::Runtime`].
    pub fn binding(&self) -> Result<Binding> {
        let inner = self.inner.create_binding().map_err(|error| {
            Error::new(ErrorKind::Runtime, format!("cannot bind the session's tensors: {error}"))
        })?;
        Ok(Binding::new(inner, &self.ports))
    }

    /// Lets `token` stop runs of this session from now on, also in the middle of one.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where no thread can be started.
    pub fn cancel_with(&mut self, token: &CancelToken) -> Result<()> {
        self.watch = Some((token.clone(), Watch::new(token)?));
        Ok(())
    }

    /// Forgets the token given to [`BoundSession::cancel_with`].
    pub fn release_cancel(&mut self) {
        self.watch = None;
    }

    /// Runs the graph on what `binding` names, and gives the outputs that it asked to fetch.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for the binding of another session; [`ErrorKind::InvalidState`] where an
    /// input is not bound, no output is, or a tensor is in use elsewhere (also: bound as an output and as anything
    /// else); [`ErrorKind::Cancelled`] through [`BoundSession::cancel_with`]; [`ErrorKind::OutOfMemory`];
    /// [`ErrorKind::Runtime`].
    pub fn run(&mut self, binding: &mut Binding) -> Result<Fetched> {
        if !binding.is_of(&self.ports) {
            return Err(Error::invalid("the binding belongs to another session"));
        }
        let token = self.watch.as_ref().map(|(token, _)| token);
        if let Some(token) = token {
            token.check()?;
        }
        let options = self.watch.as_ref().map(|(_, watch)| watch.options());
        binding.run(&mut self.inner, options, |error| failure(error, token, "the graph failed"))
    }

    /// Runs likewise, without capturing the run as a graph where the provider is to do so.
    ///
    /// # Errors
    /// As [`BoundSession::run`].
    pub(super) fn run_uncaptured(&mut self, binding: &mut Binding) -> Result<Fetched> {
        let failed = |error: &ort::Error| failure(error, None, "the graph failed");
        let mut options = ort::session::RunOptions::new().map_err(|error| failed(&error))?;
        // The number that ONNX Runtime reserves for this (`kOrtRunOptionsConfigCudaGraphAnnotation`).
        options.set("gpu_graph_id", "-1").map_err(|error| failed(&error))?;
        binding.run(&mut self.inner, Some(&options), failed)
    }

    /// Finishes the profile that [`SessionOptions::profile`] asked for and gives its file.
    ///
    /// # Errors
    /// [`ErrorKind::Runtime`].
    pub fn end_profile(&mut self) -> Result<PathBuf> {
        let file = self.inner.end_profiling();
        file.map(PathBuf::from)
            .map_err(|error| Error::new(ErrorKind::Runtime, format!("cannot end the profile: {error}")))
    }
}

#[cfg(test)]
#[path = "bound_session_tests.rs"]
mod tests;
