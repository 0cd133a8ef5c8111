//! Tensors that live where a provider works.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use half::f16;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::value::{DynTensor, TensorElementType};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ElementType;
use crate::runtime::{Provider, ProviderKind, Runtime};

/// Where a tensor's memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the host's memory, where slices can be had of it.
    Host,
    /// Where the session works: the graphics card for CUDA and TensorRT, the host's memory for the CPU provider.
    Device,
}

/// An owned tensor in the memory of the host or of a provider's device, to be bound to the inputs and outputs of
/// [`BoundSession`](super::BoundSession)s. Its memory is the runtime's, so that binding neither copies nor aliases.
///
/// Clones share one tensor. At any time it is either read by any number of views and runs or written by one: what
/// would break that fails at once with [`ErrorKind::InvalidState`] and never waits.
#[derive(Clone)]
pub struct DeviceTensor(Arc<Inner>);

struct Inner {
    element: ElementType,
    shape: Vec<usize>,
    host: bool,
    // `Tensor::new` of `ort`, or an output that the runtime allocated; never a value over borrowed data, since
    // `bind_input` of rc.15 clones those behind one's back (and `copy_into` of one deadlocks in that clone).
    value: RwLock<DynTensor>,
}

impl fmt::Debug for DeviceTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_host() { "host" } else { "device" };
        write!(f, "DeviceTensor({} {:?} on {place})", self.element().name(), self.shape())
    }
}

mod sealed {
    pub trait Sealed: ort::value::PrimitiveTensorElementType + std::fmt::Debug {}
}

/// A type that elements of a [`DeviceTensor`] have.
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    /// Its name in ONNX.
    const ELEMENT: ElementType;
}

macro_rules! elements {
    ($($rust:ty = $onnx:ident / $ort:ident;)*) => {
        $(impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const ELEMENT: ElementType = ElementType::$onnx;
        })*

        fn to_ort(element: ElementType) -> Option<TensorElementType> {
            match element { $(ElementType::$onnx => Some(TensorElementType::$ort),)* _ => None }
        }

        pub(super) fn from_ort(element: TensorElementType) -> Option<ElementType> {
            match element { $(TensorElementType::$ort => Some(ElementType::$onnx),)* _ => None }
        }
    };
}

elements! {
    f32 = Float32 / Float32;
    f64 = Float64 / Float64;
    f16 = Float16 / Float16;
    i64 = Int64 / Int64;
    i32 = Int32 / Int32;
    u8 = Uint8 / Uint8;
    u16 = Uint16 / Uint16;
    i16 = Int16 / Int16;
    bool = Bool / Bool;
}

impl DeviceTensor {
    /// A tensor of zeros in the host's memory. Tensors on a session's device come from
    /// [`BoundSession::zeros`](super::BoundSession::zeros).
    ///
    /// # Errors
    /// [`ErrorKind::NotSupported`] for an element type that has no [`Element`]; [`ErrorKind::OutOfMemory`].
    pub fn zeros(runtime: &Runtime, element: ElementType, shape: &[usize]) -> Result<DeviceTensor> {
        // The environment has to be there before any other call of the runtime.
        let _ = runtime.environment();
        // Its tensors are zeroed by `ort`.
        DeviceTensor::allocate(&Allocator::default(), element, shape)
    }

    /// A tensor in the host's memory with these values, in row-major order of `shape`.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] where there are not as many values as the shape has; [`ErrorKind::OutOfMemory`].
    pub fn from_slice<T: Element>(runtime: &Runtime, shape: &[usize], values: &[T]) -> Result<DeviceTensor> {
        let tensor = DeviceTensor::zeros(runtime, T::ELEMENT, shape)?;
        tensor.write(values)?;
        Ok(tensor)
    }

    /// A tensor on the device of `provider`, which `session` runs on, uninitialized there.
    pub(super) fn on_device(
        session: &ort::session::Session,
        provider: &Provider,
        element: ElementType,
        shape: &[usize],
    ) -> Result<DeviceTensor> {
        let allocator = memory(provider)
            .and_then(|memory| Allocator::new(session, memory))
            .map_err(|error| no_memory(&error, shape))?;
        DeviceTensor::allocate(&allocator, element, shape)
    }

    /// A tensor in host memory that the device of `provider` reads and writes by itself; where there is no such memory,
    /// or no slice can be had of it, in plain memory: slower to copy, and nothing else.
    pub(super) fn staging(
        session: &ort::session::Session,
        provider: &Provider,
        element: ElementType,
        shape: &[usize],
    ) -> Result<DeviceTensor> {
        if provider.kind() != ProviderKind::Cpu {
            let pinned = MemoryInfo::new(
                AllocationDevice::CUDA_PINNED,
                provider.device() as i32,
                AllocatorType::Device,
                MemoryType::CPUOutput,
            );
            let pinned = pinned.and_then(|memory| Allocator::new(session, memory)).ok();
            let pinned = pinned.and_then(|own| DeviceTensor::allocate(&own, element, shape).ok());
            if let Some(pinned) = pinned.filter(DeviceTensor::is_host) {
                return Ok(pinned);
            }
            tracing::debug!("no pinned memory from provider {provider}");
        }
        DeviceTensor::allocate(&Allocator::default(), element, shape)
    }

    fn allocate(allocator: &Allocator, element: ElementType, shape: &[usize]) -> Result<DeviceTensor> {
        let kind = to_ort(element).ok_or_else(|| {
            Error::new(ErrorKind::NotSupported, format!("tensors of {} are not supported", element.name()))
        })?;
        let bytes = shape.iter().try_fold(element.bits() as usize / 8, |size, dim| size.checked_mul(*dim));
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(Error::new(ErrorKind::OutOfMemory, format!("a tensor of {shape:?} has no room")));
        }
        let value = DynTensor::new(allocator, kind, shape).map_err(|error| no_memory(&error, shape))?;
        DeviceTensor::of(value)
    }

    /// Takes over a value whose memory is the runtime's.
    pub(super) fn of(value: DynTensor) -> Result<DeviceTensor> {
        let kind = *value.data_type();
        let element = from_ort(kind).ok_or_else(|| {
            Error::new(
                ErrorKind::NotSupported,
                format!("tensors of {kind:?} are not supported").to_lowercase(),
            )
        })?;
        let shape = value.shape().iter().map(|dim| *dim as usize).collect();
        let host = value.memory_info().is_cpu_accessible();
        Ok(DeviceTensor(Arc::new(Inner { element, shape, host, value: RwLock::new(value) })))
    }

    /// The value, where nothing else has the tensor.
    pub(super) fn into_value(self) -> Result<DynTensor> {
        let inner = Arc::try_unwrap(self.0)
            .map_err(|_| Error::new(ErrorKind::InvalidState, "the tensor is in use"))?;
        // A panic while it was held cannot have left it broken: it holds plain numbers.
        Ok(inner.value.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The type of its elements.
    pub fn element(&self) -> ElementType {
        self.0.element
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.0.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes its elements take.
    pub fn bytes(&self) -> usize {
        self.len() * (self.0.element.bits() as usize / 8)
    }

    /// Whether it is in the host's memory.
    pub fn is_host(&self) -> bool {
        self.0.host
    }

    /// Whether `other` is this very tensor.
    pub fn same(&self, other: &DeviceTensor) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Its elements, where they are in the host's memory.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] on a device or for another type; [`ErrorKind::InvalidState`] while something
    /// writes to it.
    pub fn as_slice<T: Element>(&self) -> Result<TensorView<'_, T>> {
        self.check::<T>()?;
        Ok(TensorView { guard: self.reading()?, element: std::marker::PhantomData })
    }

    /// Its elements to be changed, where they are in the host's memory.
    ///
    /// # Errors
    /// As [`DeviceTensor::as_slice`], and [`ErrorKind::InvalidState`] while anything else uses it.
    pub fn as_slice_mut<T: Element>(&self) -> Result<TensorViewMut<'_, T>> {
        self.check::<T>()?;
        Ok(TensorViewMut { guard: self.writing()?, element: std::marker::PhantomData })
    }

    /// A copy of its elements, from wherever they are.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for another type; [`ErrorKind::InvalidState`] while something writes to it;
    /// [`ErrorKind::Runtime`] where the device fails.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        if self.is_host() {
            return Ok(self.as_slice::<T>()?.to_vec());
        }
        self.check_element::<T>()?;
        let host = DeviceTensor::allocate(&Allocator::default(), self.element(), self.shape())?;
        host.copy_from(self)?;
        let values = host.as_slice::<T>()?.to_vec();
        Ok(values)
    }

    /// Replaces its elements, wherever they are.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for another type; [`ErrorKind::Mismatch`] for another number of elements;
    /// [`ErrorKind::InvalidState`] while anything else uses it; [`ErrorKind::Runtime`] where the device fails.
    pub fn write<T: Element>(&self, values: &[T]) -> Result<()> {
        self.check_element::<T>()?;
        if values.len() != self.len() {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("expected {} values for shape {:?}, got {}", self.len(), self.shape(), values.len()),
            ));
        }
        if self.is_host() {
            self.as_slice_mut::<T>()?.copy_from_slice(values);
            return Ok(());
        }
        let host = DeviceTensor::allocate(&Allocator::default(), self.element(), self.shape())?;
        host.as_slice_mut::<T>()?.copy_from_slice(values);
        self.copy_from(&host)
    }

    /// Copies the elements of `source`, of the same type and shape, between any two places. Copying a tensor onto
    /// itself is refused as a use while it is written.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`]; [`ErrorKind::InvalidState`] while anything else uses it, or something writes to
    /// `source`; [`ErrorKind::Runtime`] where a device fails.
    pub fn copy_from(&self, source: &DeviceTensor) -> Result<()> {
        if (source.element(), source.shape()) != (self.element(), self.shape()) {
            return Err(Error::new(ErrorKind::Mismatch, format!("expected {self:?}, got {source:?}")));
        }
        let mut target = self.writing()?;
        let from = source.reading()?;
        from.copy_into(&mut *target)
            .map_err(|error| Error::new(ErrorKind::Runtime, format!("cannot copy a tensor: {error}")))
    }

    pub(super) fn reading(&self) -> Result<RwLockReadGuard<'_, DynTensor>> {
        match self.0.value.try_read() {
            Ok(guard) => Ok(guard),
            // A panic while it was held cannot have left it broken: it holds plain numbers.
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::InvalidState, "the tensor is being written"))
            }
        }
    }

    pub(super) fn writing(&self) -> Result<RwLockWriteGuard<'_, DynTensor>> {
        match self.0.value.try_write() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(Error::new(ErrorKind::InvalidState, "the tensor is in use")),
        }
    }

    fn check<T: Element>(&self) -> Result<()> {
        if !self.is_host() {
            return Err(Error::invalid("the tensor is on a device: copy it to see its elements"));
        }
        self.check_element::<T>()
    }

    fn check_element<T: Element>(&self) -> Result<()> {
        if self.element() == T::ELEMENT {
            return Ok(());
        }
        let (have, want) = (self.element().name(), T::ELEMENT.name());
        Err(Error::invalid(format!("the tensor has elements of {have}, not of {want}")))
    }
}

/// The memory where a provider works.
pub(super) fn memory(provider: &Provider) -> ort::Result<MemoryInfo<'static>> {
    let (device, number) = match provider.kind() {
        ProviderKind::Cpu => (AllocationDevice::CPU, 0),
        ProviderKind::Cuda | ProviderKind::TensorRt => (AllocationDevice::CUDA, provider.device() as i32),
    };
    MemoryInfo::new(device, number, AllocatorType::Device, MemoryType::Default)
}

fn no_memory(error: &ort::Error, shape: &[usize]) -> Error {
    Error::new(ErrorKind::OutOfMemory, format!("cannot allocate a tensor of {shape:?}: {error}"))
}

/// The elements of a tensor in the host's memory; see [`DeviceTensor::as_slice`].
#[derive(Debug)]
pub struct TensorView<'a, T> {
    guard: RwLockReadGuard<'a, DynTensor>,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Deref for TensorView<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // Place and type were checked when the view was made; the alternative is never taken.
        self.guard.try_extract_tensor::<T>().map_or(&[], |(_, values)| values)
    }
}

/// The elements of a tensor in the host's memory, to be changed; see [`DeviceTensor::as_slice_mut`].
#[derive(Debug)]
pub struct TensorViewMut<'a, T> {
    guard: RwLockWriteGuard<'a, DynTensor>,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Deref for TensorViewMut<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.guard.try_extract_tensor::<T>().map_or(&[], |(_, values)| values)
    }
}

impl<T: Element> DerefMut for TensorViewMut<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.guard.try_extract_tensor_mut::<T>().map_or(&mut [], |(_, values)| values)
    }
}
