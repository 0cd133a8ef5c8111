//! A model ready to run.

use half::f16;
use ort::session::Session as OrtSession;
use ort::session::SessionInputValue;
use ort::value::{TensorElementType, TensorRef, ValueType};

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::bound_score::BoundScore;
use crate::runtime::cancel::Watch;
use crate::runtime::device_tensor::Element;
use crate::runtime::{
    BoundSession, CancelToken, OutputData, OutputTensor, ProviderKind, Runtime, SessionOptions,
};

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
///
/// On a device, samples are copied through memory that the device reads by itself (pinned), and input and output are bound
/// (IoBinding). Two sessions on two threads make upload, run and download overlap.
pub struct Session {
    engine: Engine,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}

enum Engine {
    /// The runtime reads the caller's memory and allocates the output.
    Plain {
        session: OrtSession,
        watch: Option<(CancelToken, Watch)>,
    },
    Bound(Box<BoundScore>),
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
        let fixed = options.fixed_buffers || options.provider.captures_graphs();
        let engine = if fixed || options.provider.kind() != ProviderKind::Cpu {
            Engine::Bound(Box::new(BoundScore::new(BoundSession::of(inner, &options.provider), fixed)))
        } else {
            Engine::Plain { session: inner, watch: None }
        };
        Ok(Session { engine, inputs, outputs })
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
        match &mut self.engine {
            Engine::Plain { watch, .. } => *watch = Some((token.clone(), Watch::new(token)?)),
            Engine::Bound(bound) => bound.session.cancel_with(token)?,
        }
        Ok(())
    }

    /// Forgets the token given to [`Session::cancel_with`].
    pub(crate) fn release_cancel(&mut self) {
        match &mut self.engine {
            Engine::Plain { watch, .. } => *watch = None,
            Engine::Bound(bound) => bound.session.release_cancel(),
        }
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
        match &first.element {
            Ok(ElementType::F32) => self.feed(input, shape, output),
            Ok(ElementType::F16) => {
                let halves: Vec<f16> = input
                    .iter()
                    // What f16 cannot hold becomes its largest value: an infinity would spread through the network.
                    .map(|value| f16::from_f32(value.clamp(-f16::MAX.to_f32(), f16::MAX.to_f32())))
                    .collect();
                self.feed(&halves, shape, output)
            }
            Err(name) => {
                Err(Error::new(ErrorKind::ModelUnsupported, format!("cannot feed elements of type {name}"))
                    .at_tensor(&first.name))
            }
        }
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
        match input {
            RawSamples::U8(input) => self.feed_raw(input, shape, output),
            RawSamples::U16(input) => self.feed_raw(input, shape, output),
            RawSamples::I16(input) => self.feed_raw(input, shape, output),
        }
    }

    fn feed_raw<T: Element>(&mut self, input: &[T], shape: [usize; 4], output: &str) -> Result<OutputTensor> {
        let first = self.inputs.first().ok_or_else(|| Error::internal("session without inputs"))?;
        let takes = match &first.element {
            Ok(ElementType::F32) => "float32",
            Ok(ElementType::F16) => "float16",
            Err(name) => name,
        };
        let given = T::ELEMENT.name();
        if takes != given {
            let message = format!("the model takes {takes}, got raw samples of {given}");
            return Err(Error::new(ErrorKind::Mismatch, message).at_tensor(&first.name));
        }
        self.feed(input, shape, output)
    }

    /// Runs the model on elements of its own type.
    fn feed<T: Element>(&mut self, input: &[T], shape: [usize; 4], output: &str) -> Result<OutputTensor> {
        let (session, watch) = match &mut self.engine {
            Engine::Bound(bound) => return bound.score(input, shape, output),
            Engine::Plain { session, watch } => (session, watch),
        };
        let token = watch.as_ref().map(|(token, _)| token);
        if let Some(token) = token {
            token.check()?;
        }
        let failed =
            |error: ort::Error| failure(&error, token, &format!("the model failed on input {shape:?}"));
        let tensor: SessionInputValue<'_> =
            TensorRef::from_array_view((shape, input)).map_err(failed)?.into();
        let mut outputs = match &*watch {
            Some((_, watch)) => session.run_with_options([tensor], watch.options()).map_err(failed)?,
            None => session.run([tensor]).map_err(failed)?,
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
