//! A model ready to run.

use half::f16;
use ort::session::Session as OrtSession;
use ort::session::SessionInputValue;
use ort::value::{TensorElementType, TensorRef, ValueType};

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel::Watch;
use crate::runtime::{CancelToken, OutputData, OutputTensor, Runtime, SessionOptions};

/// The element type of a tensor at the model's border, as far as glebe feeds and reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16, converted from and to `f32` at the border.
    F16,
}

/// Samples as they are in a raster, row-major, for [`Session::score_raw`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawSamples<'a> {
    /// Unsigned, 8 bits.
    U8(&'a [u8]),
    /// Unsigned, 16 bits.
    U16(&'a [u16]),
    /// Signed, 16 bits.
    I16(&'a [i16]),
}

/// A tensor at the model's border.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its element type; `Err` names one that glebe cannot feed or read.
    pub element: std::result::Result<ElementType, String>,
    /// Its dimensions; `None` is free.
    pub shape: Vec<Option<usize>>,
}

/// A model prepared for one provider. Runs one call at a time.
pub struct Session {
    inner: OrtSession,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    watch: Option<(CancelToken, Watch)>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("inputs", &self.inputs).field("outputs", &self.outputs).finish()
    }
}

impl Session {
    /// Prepares the ONNX model in `bytes`. The bytes must be self-contained: external data would be looked for in
    /// the process's working folder by the runtime, so whoever calls this has embedded it.
    ///
    /// # Errors
    /// [`ErrorKind::ProviderUnavailable`]; [`ErrorKind::ModelInvalid`] or [`ErrorKind::ModelUnsupported`] where
    /// the runtime refuses the model; [`ErrorKind::Runtime`] for the rest.
    pub fn new(runtime: &Runtime, bytes: &[u8], options: &SessionOptions) -> Result<Session> {
        let inner = options.commit(runtime, bytes)?;
        let inputs = inner.inputs().iter().map(|outlet| spec(outlet.name(), outlet.dtype())).collect();
        let outputs = inner.outputs().iter().map(|outlet| spec(outlet.name(), outlet.dtype())).collect();
        Ok(Session { inner, inputs, outputs, watch: None })
    }

    /// The model's inputs (initializers excluded), in the model's order.
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    /// The model's outputs, in the model's order.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// Lets `token` stop runs of this session from now on, also in the middle of one.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where no thread can be started.
    pub fn cancel_with(&mut self, token: &CancelToken) -> Result<()> {
        self.watch = Some((token.clone(), Watch::new(token)?));
        Ok(())
    }

    /// Forgets the token given to [`Session::cancel_with`].
    pub(crate) fn release_cancel(&mut self) {
        self.watch = None;
    }

    /// Runs the model on `input` of shape `[N, C, H, W]` (row-major) and hands the shape and samples of the output
    /// called `output` to `take`.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] through [`Session::cancel_with`]; [`ErrorKind::Runtime`]; whatever `take` gives.
    pub fn run<R>(
        &mut self,
        input: &[f32],
        shape: [usize; 4],
        output: &str,
        take: impl FnOnce(&[usize], OutputData<'_>) -> Result<R>,
    ) -> Result<R> {
        let tensor = self.score(input, shape, output)?;
        take(tensor.shape(), tensor.data())
    }

    /// Runs the model likewise and gives the output away, without a copy.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn score(&mut self, input: &[f32], shape: [usize; 4], output: &str) -> Result<OutputTensor> {
        let first = self.inputs.first().ok_or_else(|| Error::internal("session without inputs"))?;
        let halves: Vec<f16>;
        let tensor = match &first.element {
            Ok(ElementType::F32) => TensorRef::from_array_view((shape, input)).map(Into::into),
            Ok(ElementType::F16) => {
                halves = input
                    .iter()
                    // What f16 cannot hold becomes its largest value: an infinity would spread through the network.
                    .map(|value| f16::from_f32(value.clamp(-f16::MAX.to_f32(), f16::MAX.to_f32())))
                    .collect();
                TensorRef::from_array_view((shape, halves.as_slice())).map(Into::into)
            }
            Err(name) => {
                return Err(Error::new(
                    ErrorKind::ModelUnsupported,
                    format!("cannot feed elements of type {name}"),
                )
                .at_tensor(&first.name));
            }
        };
        self.score_tensor(tensor, shape, output)
    }

    /// Runs a model that takes samples as they are ([`fused`](crate::onnx::fused) makes such) on `input` of shape
    /// `[N, C, H, W]` (row-major) and gives the output away, without a copy.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] where the model takes elements of another type; else as [`Session::run`].
    pub fn score_raw(
        &mut self,
        input: RawSamples<'_>,
        shape: [usize; 4],
        output: &str,
    ) -> Result<OutputTensor> {
        let (given, tensor) = match input {
            RawSamples::U8(input) => {
                (TensorElementType::Uint8, TensorRef::from_array_view((shape, input)).map(Into::into))
            }
            RawSamples::U16(input) => {
                (TensorElementType::Uint16, TensorRef::from_array_view((shape, input)).map(Into::into))
            }
            RawSamples::I16(input) => {
                (TensorElementType::Int16, TensorRef::from_array_view((shape, input)).map(Into::into))
            }
        };
        let first = self.inner.inputs().first().ok_or_else(|| Error::internal("session without inputs"))?;
        if first.dtype().tensor_type() != Some(given) {
            let message = format!("the model takes {}, got raw samples of {given}", first.dtype());
            return Err(Error::new(ErrorKind::Mismatch, message).at_tensor(first.name()));
        }
        self.score_tensor(tensor, shape, output)
    }

    fn score_tensor(
        &mut self,
        tensor: ort::Result<SessionInputValue<'_>>,
        shape: [usize; 4],
        output: &str,
    ) -> Result<OutputTensor> {
        let token = self.watch.as_ref().map(|(token, _)| token.clone());
        if let Some(token) = &token {
            token.check()?;
        }
        let failed = |error: ort::Error| {
            failure(&error, token.as_ref(), &format!("the model failed on input {shape:?}"))
        };
        let tensor = tensor.map_err(failed)?;
        let mut outputs = match &self.watch {
            Some((_, watch)) => self.inner.run_with_options([tensor], watch.options()).map_err(failed)?,
            None => self.inner.run([tensor]).map_err(failed)?,
        };
        let value = outputs
            .remove(output)
            .ok_or_else(|| Error::internal("the model gave no such output").at_tensor(output))?;
        OutputTensor::new(value, output)
    }
}

fn spec(name: &str, kind: &ValueType) -> TensorSpec {
    let (element, shape) = match kind {
        ValueType::Tensor { ty, shape, .. } => {
            let element = match ty {
                TensorElementType::Float32 => Ok(ElementType::F32),
                TensorElementType::Float16 => Ok(ElementType::F16),
                other => Err(format!("{other:?}").to_lowercase()),
            };
            (element, shape.iter().map(|dim| usize::try_from(*dim).ok()).collect())
        }
        other => (Err(format!("{other:?}").to_lowercase()), Vec::new()),
    };
    TensorSpec { name: name.into(), element, shape }
}

/// Sorts a failed run: stopped by `token`, out of memory, or anything else. `what` failed.
pub(super) fn failure(error: &ort::Error, token: Option<&CancelToken>, what: &str) -> Error {
    if token.is_some_and(CancelToken::is_cancelled) {
        return Error::new(ErrorKind::Cancelled, "cancelled by the caller");
    }
    let kind = if error.message().contains("Failed to allocate memory") {
        ErrorKind::OutOfMemory
    } else {
        ErrorKind::Runtime
    };
    Error::new(kind, format!("{what}: {error}"))
}
