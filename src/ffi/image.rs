//! An image of the caller.

use std::ffi::c_void;
use std::ptr::null;

use ndarray::{Array2, ArrayView3, ShapeBuilder as _};

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::boundary::{Versioned, init, layout, read_sized, slice};
use crate::ffi::status::glebe_status;
use crate::tensor::{DataType, Sample, SamplesView};

/// As fits: in options only.
pub const GLEBE_DATA_TYPE_DEFAULT: i32 = 0;
/// Unsigned, 8 bits.
pub const GLEBE_DATA_TYPE_U8: i32 = 1;
/// Unsigned, 16 bits.
pub const GLEBE_DATA_TYPE_U16: i32 = 2;
/// Signed, 16 bits.
pub const GLEBE_DATA_TYPE_I16: i32 = 3;
/// Unsigned, 32 bits.
pub const GLEBE_DATA_TYPE_U32: i32 = 4;
/// Signed, 32 bits.
pub const GLEBE_DATA_TYPE_I32: i32 = 5;
/// Unsigned, 64 bits.
pub const GLEBE_DATA_TYPE_U64: i32 = 6;
/// Signed, 64 bits.
pub const GLEBE_DATA_TYPE_I64: i32 = 7;
/// IEEE 754 binary32.
pub const GLEBE_DATA_TYPE_F32: i32 = 8;
/// IEEE 754 binary64.
pub const GLEBE_DATA_TYPE_F64: i32 = 9;

const TYPES: [(i32, DataType); 9] = [
    (GLEBE_DATA_TYPE_U8, DataType::U8),
    (GLEBE_DATA_TYPE_U16, DataType::U16),
    (GLEBE_DATA_TYPE_I16, DataType::I16),
    (GLEBE_DATA_TYPE_U32, DataType::U32),
    (GLEBE_DATA_TYPE_I32, DataType::I32),
    (GLEBE_DATA_TYPE_U64, DataType::U64),
    (GLEBE_DATA_TYPE_I64, DataType::I64),
    (GLEBE_DATA_TYPE_F32, DataType::F32),
    (GLEBE_DATA_TYPE_F64, DataType::F64),
];

/// The type with this number; `None` for the default.
pub(super) fn data_type(number: i32) -> Result<Option<DataType>> {
    if number == GLEBE_DATA_TYPE_DEFAULT {
        return Ok(None);
    }
    let known = TYPES.iter().find(|(known, _)| *known == number);
    known.map(|(_, kind)| Some(*kind)).ok_or_else(|| {
        Error::invalid(format!("data_type is {number}: expected a GLEBE_DATA_TYPE_* from 0 to 9"))
    })
}

/// The number of a type.
pub(super) fn data_type_number(kind: DataType) -> i32 {
    let known = TYPES.iter().find(|(_, known)| *known == kind);
    known.map_or(GLEBE_DATA_TYPE_DEFAULT, |(number, _)| *number)
}

/// An image in the caller's memory: channels, rows and columns of samples of one type, in any order. Fill it with
/// glebe_image_init.
///
/// The sample of channel c, row y and column x is the element c * channel_stride + y * row_stride + x *
/// column_stride from data. All three strides 0: dense [channels, height, width], the column fastest. For pixels
/// with interleaved samples [height, width, channels]: channel_stride = 1, row_stride = width * channels,
/// column_stride = channels.
///
/// The memory is read only, must cover all these elements, and must stay as it is until the call returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_image {
    /// sizeof(glebe_image), set by the init function.
    pub struct_size: u32,
    /// Type of the samples: GLEBE_DATA_TYPE_*, not the default.
    pub data_type: i32,
    /// Number of channels.
    pub channels: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// Elements from one channel to the next.
    pub channel_stride: usize,
    /// Elements from one row to the next.
    pub row_stride: usize,
    /// Elements from one column to the next.
    pub column_stride: usize,
    /// The first sample, aligned to the size of a sample.
    pub data: *const c_void,
    /// A byte a pixel, dense [height, width]: 0 where the pixel holds no data and comes back as nodata. NULL: all
    /// pixels are valid. (Pixels with samples that are not finite never are.)
    pub valid: *const u8,
}

layout!(
    glebe_image, 72;
    struct_size 0, data_type 4, channels 8, height 16, width 24, channel_stride 32, row_stride 40,
    column_stride 48, data 56, valid 64
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), integers and raw pointers only.
unsafe impl Versioned for glebe_image {
    const NAME: &'static str = "glebe_image";
    const FIRST_SIZE: usize = std::mem::offset_of!(Self, valid) + size_of::<*const u8>();

    fn defaults() -> Self {
        glebe_image {
            struct_size: size_of::<Self>() as u32,
            data_type: GLEBE_DATA_TYPE_DEFAULT,
            channels: 0,
            height: 0,
            width: 0,
            channel_stride: 0,
            row_stride: 0,
            column_stride: 0,
            data: null(),
            valid: null(),
        }
    }
}

/// Fills `image` with zeros and its size.
///
/// @param image  the struct to fill.
/// @param size   sizeof(glebe_image).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_image_init(image: *mut glebe_image, size: usize) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(image, size) }
}

/// The image as arrays: samples where they are, validity copied.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] that names the field; [`ErrorKind::OutOfMemory`].
///
/// # Safety
/// `image` is NULL or as the header's contract wants it, for all of `'a`.
pub(super) unsafe fn arrays<'a>(
    image: *const glebe_image,
) -> Result<(SamplesView<'a>, Option<Array2<bool>>)> {
    // SAFETY: by this function's contract, here and below.
    let image = unsafe { read_sized(image, "image")? };
    let kind = data_type(image.data_type)?
        .ok_or_else(|| Error::invalid("data_type of the image is 0: expected the type of its samples"))?;
    // SAFETY: as above.
    let samples = unsafe {
        match kind {
            DataType::U8 => view::<u8>(&image)?.into(),
            DataType::U16 => view::<u16>(&image)?.into(),
            DataType::I16 => view::<i16>(&image)?.into(),
            DataType::U32 => view::<u32>(&image)?.into(),
            DataType::I32 => view::<i32>(&image)?.into(),
            DataType::U64 => view::<u64>(&image)?.into(),
            DataType::I64 => view::<i64>(&image)?.into(),
            DataType::F32 => view::<f32>(&image)?.into(),
            DataType::F64 => view::<f64>(&image)?.into(),
        }
    };
    if image.valid.is_null() {
        return Ok((samples, None));
    }
    let pixels = image.height.checked_mul(image.width).ok_or_else(|| too_large(&image))?;
    // SAFETY: as above.
    let bytes = unsafe { slice(image.valid, pixels, "valid")? };
    let mut valid = Vec::new();
    valid.try_reserve_exact(pixels).map_err(|_| {
        Error::new(ErrorKind::OutOfMemory, format!("no memory for a mask of {pixels} pixels"))
    })?;
    valid.extend(bytes.iter().map(|byte| *byte != 0));
    let valid = Array2::from_shape_vec((image.height, image.width), valid)
        .map_err(|error| Error::internal("mask of another size").caused_by(error))?;
    Ok((samples, Some(valid)))
}

/// # Safety
/// As [`arrays`].
unsafe fn view<'a, T: Sample>(image: &glebe_image) -> Result<ArrayView3<'a, T>> {
    let shape = [image.channels, image.height, image.width];
    if shape.contains(&0) {
        return Err(Error::invalid(format!("the image [C, H, W] = {shape:?} is empty")));
    }
    let mut strides = [image.channel_stride, image.row_stride, image.column_stride];
    if strides == [0; 3] {
        let plane = image.height.checked_mul(image.width).ok_or_else(|| too_large(image))?;
        strides = [plane, image.width, 1];
    }
    // The element furthest from the first one, and so the extent, must be one that memory can have.
    let last = shape.iter().zip(&strides).try_fold(0usize, |last, (count, stride)| {
        if *stride == 0 && *count > 1 {
            return None;
        }
        last.checked_add((count - 1).checked_mul(*stride)?)
    });
    let bytes = last.and_then(|last| last.checked_add(1)?.checked_mul(size_of::<T>()));
    let count = shape.iter().try_fold(1usize, |count, n| count.checked_mul(*n));
    if bytes.is_none_or(|bytes| bytes > isize::MAX as usize)
        || count.is_none_or(|count| count > isize::MAX as usize)
    {
        return Err(too_large(image));
    }
    let data = image.data.cast::<T>();
    if data.is_null() {
        return Err(Error::invalid("data of the image is NULL"));
    }
    if !data.is_aligned() {
        return Err(Error::invalid(format!(
            "data of the image is not aligned to the {} bytes of a {} sample",
            align_of::<T>(),
            T::DATA_TYPE
        )));
    }
    let [channels, rows, columns] = strides;
    // SAFETY: not NULL, aligned; shape and strides span no more than isize::MAX bytes, all of which are readable for
    // 'a by this function's contract.
    Ok(unsafe { ArrayView3::from_shape_ptr(shape.strides([channels, rows, columns]), data) })
}

fn too_large(image: &glebe_image) -> Error {
    Error::invalid(format!(
        "an image [C, H, W] = [{}, {}, {}] with strides [{}, {}, {}] is none that memory can hold",
        image.channels,
        image.height,
        image.width,
        image.channel_stride,
        image.row_stride,
        image.column_stride
    ))
}
