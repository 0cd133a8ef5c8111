//! A batch of the caller.

use std::ffi::c_void;
use std::ptr::null;

use crate::error::{Error, Result};
use crate::ffi::boundary::{Versioned, init, layout, read_sized, slice};
use crate::ffi::image::{
    GLEBE_DATA_TYPE_DEFAULT, GLEBE_DATA_TYPE_F32, GLEBE_DATA_TYPE_I32, GLEBE_DATA_TYPE_I64,
    GLEBE_DATA_TYPE_U8,
};
use crate::ffi::status::glebe_status;
use crate::finetune::{Batch, Labels};

/// Images and labels of one training step, in the caller's memory. Fill it with glebe_batch_init.
///
/// All arrays are dense, the column fastest; they are read only and must stay as they are until the call returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_batch {
    /// sizeof(glebe_batch), set by the init function.
    pub struct_size: u32,
    /// Type of the labels: GLEBE_DATA_TYPE_U8, _I32 or _I64 for classes, _F32 for the numbers of a regression.
    pub label_type: i32,
    /// [N, C, H, W], normalised as the model expects.
    pub images: *const f32,
    /// Number of values: N * C * H * W, or 0 where the features of all keys are kept.
    pub images_len: usize,
    /// Classes [N, H, W], or numbers [N, K, H, W], in the size of the model's output.
    pub labels: *const c_void,
    /// Number of labels.
    pub labels_len: usize,
    /// [N, H, W]: 0 where a pixel does not count (nodata).
    pub mask: *const u8,
    /// Number of values. 0 (default): all pixels count.
    pub mask_len: usize,
    /// [N]: what each image is known by in the feature cache, the same number for the same image.
    pub keys: *const u64,
    /// Number of keys. 0 (default): the cache keeps nothing of this batch.
    pub keys_len: usize,
}

layout!(
    glebe_batch, 72;
    struct_size 0, label_type 4, images 8, images_len 16, labels 24, labels_len 32, mask 40, mask_len 48, keys 56,
    keys_len 64
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), integers and raw pointers only.
unsafe impl Versioned for glebe_batch {
    const NAME: &'static str = "glebe_batch";
    const FIRST_SIZE: usize = std::mem::offset_of!(Self, keys_len) + size_of::<usize>();

    fn defaults() -> Self {
        glebe_batch {
            struct_size: size_of::<Self>() as u32,
            label_type: GLEBE_DATA_TYPE_DEFAULT,
            images: null(),
            images_len: 0,
            labels: null(),
            labels_len: 0,
            mask: null(),
            mask_len: 0,
            keys: null(),
            keys_len: 0,
        }
    }
}

/// Fills `batch` with the defaults: nothing.
///
/// @param batch  the struct to fill.
/// @param size   sizeof(glebe_batch).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_batch_init(batch: *mut glebe_batch, size: usize) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(batch, size) }
}

/// A batch as C has it.
pub(super) fn shown(batch: &Batch<'_>) -> glebe_batch {
    let (label_type, labels) = match batch.labels {
        Labels::U8(labels) => (GLEBE_DATA_TYPE_U8, labels.as_ptr().cast()),
        Labels::I32(labels) => (GLEBE_DATA_TYPE_I32, labels.as_ptr().cast()),
        Labels::I64(labels) => (GLEBE_DATA_TYPE_I64, labels.as_ptr().cast()),
        Labels::F32(labels) => (GLEBE_DATA_TYPE_F32, labels.as_ptr().cast()),
    };
    glebe_batch {
        label_type,
        images: batch.images.as_ptr(),
        images_len: batch.images.len(),
        labels,
        labels_len: batch.labels.len(),
        mask: batch.mask.map_or(null(), <[u8]>::as_ptr),
        mask_len: batch.mask.map_or(0, <[u8]>::len),
        keys: batch.keys.map_or(null(), <[u64]>::as_ptr),
        keys_len: batch.keys.map_or(0, <[u64]>::len),
        ..glebe_batch::defaults()
    }
}

/// The batch in the types of Rust, for as long as the call lasts.
///
/// # Safety
/// `batch` is NULL or as the header's contract wants it.
pub(super) unsafe fn batch<'a>(batch: *const glebe_batch) -> Result<Batch<'a>> {
    // SAFETY: by this function's contract, here and below.
    unsafe {
        let given = read_sized(batch, "batch")?;
        let (labels, length) = (given.labels, given.labels_len);
        let labels = match given.label_type {
            GLEBE_DATA_TYPE_U8 => Labels::U8(slice(labels.cast(), length, "labels")?),
            GLEBE_DATA_TYPE_I32 => Labels::I32(slice(labels.cast(), length, "labels")?),
            GLEBE_DATA_TYPE_I64 => Labels::I64(slice(labels.cast(), length, "labels")?),
            GLEBE_DATA_TYPE_F32 => Labels::F32(slice(labels.cast(), length, "labels")?),
            other => {
                return Err(Error::invalid(format!(
                    "label_type is {other}: expected GLEBE_DATA_TYPE_U8, _I32, _I64 or _F32"
                )));
            }
        };
        Ok(Batch {
            images: slice(given.images, given.images_len, "images")?,
            labels,
            mask: match given.mask_len {
                0 => None,
                length => Some(slice(given.mask, length, "mask")?),
            },
            keys: match given.keys_len {
                0 => None,
                length => Some(slice(given.keys, length, "keys")?),
            },
        })
    }
}
