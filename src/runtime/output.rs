//! What a run gave.

use half::f16;
use ort::value::{DynValue, TensorElementType as Kind, ValueType};

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::DeviceTensor;

/// What a run gave, borrowed from the runtime.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum OutputData<'a> {
    /// Samples as the model gave them.
    F32(&'a [f32]),
    /// Half-precision samples.
    F16(&'a [f16]),
    /// Whole numbers, such as classes.
    U8(&'a [u8]),
    /// Whole numbers, such as classes.
    U16(&'a [u16]),
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
    /// [`ErrorKind::ModelUnsupported`] for other elements than those of [`OutputData`].
    pub(super) fn new(value: DynValue, name: &str) -> Result<OutputTensor> {
        match value.dtype() {
            ValueType::Tensor {
                ty: Kind::Float32 | Kind::Float16 | Kind::Uint8 | Kind::Uint16,
                shape,
                ..
            } => {
                let shape = shape.iter().map(|dim| *dim as usize).collect();
                Ok(OutputTensor { value, shape })
            }
            other => {
                let message = format!("expected an output of float32, float16, uint8 or uint16, got {other}");
                Err(Error::new(ErrorKind::ModelUnsupported, message).at_tensor(name))
            }
        }
    }

    /// What a bound run gave.
    pub(super) fn of(tensor: DeviceTensor, name: &str) -> Result<OutputTensor> {
        OutputTensor::new(tensor.into_value()?.into_dyn(), name)
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
        if let Ok((_, data)) = self.value.try_extract_tensor::<f16>() {
            return OutputData::F16(data);
        }
        if let Ok((_, data)) = self.value.try_extract_tensor::<u8>() {
            return OutputData::U8(data);
        }
        // `new` has seen that it is one of the four.
        self.value.try_extract_tensor::<u16>().map_or(OutputData::F32(&[]), |(_, data)| OutputData::U16(data))
    }

    /// Whether its samples are whole numbers.
    pub fn is_whole(&self) -> bool {
        matches!(self.data(), OutputData::U8(_) | OutputData::U16(_))
    }

    /// Its samples where they are `f32`, to be changed in their place.
    pub fn f32_mut(&mut self) -> Option<&mut [f32]> {
        self.value.try_extract_tensor_mut::<f32>().ok().map(|(_, data)| data)
    }
}
