//! Which tensors a run reads and writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ort::session::{IoBinding, RunOptions, Session};
use ort::value::DynTensorValueType;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::bound_session::{Port, Ports};
use crate::runtime::device_tensor::memory;
use crate::runtime::{DeviceTensor, Place, Provider, ProviderKind};

/// The tensors of the inputs and outputs of a [`BoundSession`](super::BoundSession), by name. Made by
/// [`BoundSession::binding`](super::BoundSession::binding); bound once, it serves any number of runs.
///
/// A run sees the content that its inputs have when it starts. Tensors where the session works are used in place;
/// those in the host's memory are copied to the device by each run of a session that works elsewhere.
pub struct Binding {
    inner: IoBinding,
    ports: Arc<Ports>,
    inputs: BTreeMap<String, DeviceTensor>,
    outputs: BTreeMap<String, Target>,
}

enum Target {
    Tensor(DeviceTensor),
    Fetch(Place),
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl Binding {
    pub(super) fn new(inner: IoBinding, ports: &Arc<Ports>) -> Binding {
        Binding { inner, ports: Arc::clone(ports), inputs: BTreeMap::new(), outputs: BTreeMap::new() }
    }

    pub(super) fn is_of(&self, ports: &Arc<Ports>) -> bool {
        Arc::ptr_eq(&self.ports, ports)
    }

    /// Binds the input of this name to a tensor, which stays alive with the binding; an earlier one is let go.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name that the graph does not have; [`ErrorKind::Mismatch`] for another
    /// type or shape; [`ErrorKind::InvalidState`] while something writes to the tensor; [`ErrorKind::Runtime`].
    pub fn bind_input(&mut self, name: &str, tensor: &DeviceTensor) -> Result<()> {
        check(&self.ports.inputs, "input", name, tensor)?;
        bind_input(&mut self.inner, name, tensor)?;
        self.inputs.insert(name.into(), tensor.clone());
        Ok(())
    }

    /// Binds the output of this name to a tensor that each run writes; an earlier binding of it is let go.
    ///
    /// # Errors
    /// As [`Binding::bind_input`], and [`ErrorKind::InvalidState`] while anything uses the tensor.
    pub fn bind_output(&mut self, name: &str, tensor: &DeviceTensor) -> Result<()> {
        check(&self.ports.outputs, "output", name, tensor)?;
        let mut value = tensor.writing().map_err(|error| error.at_tensor(name))?;
        self.inner.bind_output(name, &mut *value).map_err(|error| refused(name, &error))?;
        drop(value);
        self.outputs.insert(name.into(), Target::Tensor(tensor.clone()));
        Ok(())
    }

    /// Lets the runtime allocate the output of this name in each run, to be taken from what
    /// [`BoundSession::run`](super::BoundSession::run) gives.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name that the graph does not have; [`ErrorKind::Runtime`].
    pub fn fetch_output(&mut self, name: &str, place: Place) -> Result<()> {
        find(&self.ports.outputs, "output", name)?;
        fetch(&mut self.inner, name, place, &self.ports.provider)?;
        self.outputs.insert(name.into(), Target::Fetch(place));
        Ok(())
    }

    /// The names of the inputs that are not bound yet.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        let names = self.ports.inputs.iter().map(|port| port.name.as_str());
        names.filter(|name| !self.inputs.contains_key(*name))
    }

    /// Runs `session` with all tensors held, and takes the outputs to fetch out of what it gives.
    pub(super) fn run(
        &mut self,
        session: &mut Session,
        options: Option<&RunOptions>,
        failed: impl Fn(&ort::Error) -> Error,
    ) -> Result<Fetched> {
        if let Some(name) = self.missing().next() {
            return Err(Error::new(ErrorKind::InvalidState, "the input is not bound").at_tensor(name));
        }
        if self.outputs.is_empty() {
            return Err(Error::new(ErrorKind::InvalidState, "no output is bound"));
        }
        let remote = self.ports.provider.kind() != ProviderKind::Cpu;
        for (name, tensor) in self.inputs.iter().filter(|(_, tensor)| remote && tensor.is_host()) {
            // The runtime copies to the device when it is told to bind, and not when it runs.
            bind_input(&mut self.inner, name, tensor)?;
        }
        let mut reading = Vec::with_capacity(self.inputs.len());
        for (name, tensor) in &self.inputs {
            reading.push(tensor.reading().map_err(|error| error.at_tensor(name))?);
        }
        let mut writing = Vec::with_capacity(self.outputs.len());
        for (name, target) in &self.outputs {
            if let Target::Tensor(tensor) = target {
                writing.push(tensor.writing().map_err(|error| error.at_tensor(name))?);
            }
        }
        let outputs = match options {
            Some(options) => session.run_binding_with_options(&self.inner, options),
            None => session.run_binding(&self.inner),
        };
        let result = outputs.map_err(|error| failed(&error)).and_then(|mut outputs| {
            let mut fetched = Vec::new();
            for (name, _) in self.outputs.iter().filter(|(_, target)| matches!(target, Target::Fetch(_))) {
                let value = outputs
                    .remove(name)
                    .ok_or_else(|| Error::internal("the graph gave no such output").at_tensor(name))?;
                let value = value.downcast::<DynTensorValueType>().map_err(|error| refused(name, &error))?;
                fetched.push((name.clone(), DeviceTensor::of(value).map_err(|error| error.at_tensor(name))?));
            }
            Ok(Fetched(fetched))
        });
        drop((reading, writing));
        // The runtime keeps what it allocated and would write into it again: forget it, it is the caller's now.
        for (name, target) in &self.outputs {
            if let Target::Fetch(place) = target {
                fetch(&mut self.inner, name, *place, &self.ports.provider)?;
            }
        }
        result
    }
}

fn bind_input(inner: &mut IoBinding, name: &str, tensor: &DeviceTensor) -> Result<()> {
    let value = tensor.reading().map_err(|error| error.at_tensor(name))?;
    inner.bind_input(name, &*value).map_err(|error| refused(name, &error))
}

fn fetch(inner: &mut IoBinding, name: &str, place: Place, provider: &Provider) -> Result<()> {
    let memory = match place {
        Place::Host => memory(&Provider::default()),
        Place::Device => memory(provider),
    };
    memory
        .and_then(|memory| inner.bind_output_to_device(name, &memory))
        .map_err(|error| refused(name, &error))
}

fn refused(name: &str, error: &ort::Error) -> Error {
    Error::new(ErrorKind::Runtime, format!("cannot bind: {error}")).at_tensor(name)
}

fn find<'a>(ports: &'a [Port], what: &str, name: &str) -> Result<&'a Port> {
    ports.iter().find(|port| port.name == name).ok_or_else(|| {
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).take(8).collect();
        let more = if ports.len() > names.len() { ", …" } else { "" };
        Error::invalid(format!("the graph has no {what} {name:?}; it has {}{more}", names.join(", ")))
    })
}

fn check(ports: &[Port], what: &str, name: &str, tensor: &DeviceTensor) -> Result<()> {
    let port = find(ports, what, name)?;
    let fits = port.element == Some(tensor.element())
        // A scalar and a tensor of unknown rank look the same here; the runtime tells them apart when it runs.
        && (port.shape.is_empty()
            || port.shape.len() == tensor.shape().len()
                && port.shape.iter().zip(tensor.shape()).all(|(want, have)| want.is_none_or(|want| want == *have)));
    if fits {
        return Ok(());
    }
    let element = port.element.map_or("unsupported elements", |element| element.name());
    let shape: Vec<String> =
        port.shape.iter().map(|dim| dim.map_or("?".into(), |dim| dim.to_string())).collect();
    let message = format!("expected {element} [{}], got {tensor:?}", shape.join(", "));
    Err(Error::new(ErrorKind::Mismatch, message).at_tensor(name))
}

/// What a run gave that was to be fetched.
#[derive(Debug)]
pub struct Fetched(Vec<(String, DeviceTensor)>);

impl Fetched {
    /// Takes the output of this name out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where it was not to be fetched, or was taken before.
    pub fn take(&mut self, name: &str) -> Result<DeviceTensor> {
        match self.0.iter().position(|(other, _)| other == name) {
            Some(at) => Ok(self.0.swap_remove(at).1),
            None => Err(Error::invalid("the output was not fetched").at_tensor(name)),
        }
    }

    /// The names of what has not been taken.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}
