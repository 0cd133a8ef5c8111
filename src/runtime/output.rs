//! What a run gave.

use half::f16;
use ort::value::DynValue;

use crate::error::{Error, ErrorKind, Result};

/// What a run gave, borrowed from the runtime.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum OutputData<'a> {
    /// Samples as the model gave them.
    F32(&'a [f32]),
    /// Half-precision samples.
    F16(&'a [f16]),
}

/// An output of a run, in memory of the runtime. It may be read, changed and dropped on another thread while the
/// session runs again.
pub struct OutputTensor {
    value: DynValue,
    shape: Vec<usize>,
}

impl std::fmt::Debug for OutputTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputTensor").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl OutputTensor {
    /// # Errors
    /// [`ErrorKind::ModelUnsupported`] for other elements than `f32` and `f16`.
    pub(super) fn new(value: DynValue, name: &str) -> Result<OutputTensor> {
        let dims = |shape: &ort::value::Shape| shape.iter().map(|dim| *dim as usize).collect::<Vec<_>>();
        let shape = if let Ok((shape, _)) = value.try_extract_tensor::<f32>() {
            dims(shape)
        } else if let Ok((shape, _)) = value.try_extract_tensor::<f16>() {
            dims(shape)
        } else {
            let error = Error::new(ErrorKind::ModelUnsupported, "expected float32 or float16 output");
            return Err(error.at_tensor(name));
        };
        Ok(OutputTensor { value, shape })
    }

    /// Its dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its samples, row-major.
    pub fn data(&self) -> OutputData<'_> {
        if let Ok((_, data)) = self.value.try_extract_tensor::<f32>() {
            return OutputData::F32(data);
        }
        // `new` has seen that it is one of the two.
        self.value.try_extract_tensor::<f16>().map_or(OutputData::F32(&[]), |(_, data)| OutputData::F16(data))
    }

    /// Its samples where they are `f32`, to be changed in their place.
    pub fn f32_mut(&mut self) -> Option<&mut [f32]> {
        self.value.try_extract_tensor_mut::<f32>().ok().map(|(_, data)| data)
    }
}
