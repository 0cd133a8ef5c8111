//! Bytes handed out.

use crate::ffi::boundary::{free, layout};

/// Bytes handed out by the library: read them, do not change the fields, free them with glebe_buffer_free.
///
/// Text in a buffer is UTF-8 and has a NUL after its last byte, which size does not count.
#[repr(C)]
pub struct glebe_buffer {
    /// The bytes.
    pub data: *mut u8,
    /// Their number.
    pub size: usize,
}

layout!(glebe_buffer, 16; data 0, size 8);

impl glebe_buffer {
    /// Text with a NUL behind it.
    pub(super) fn text(text: String) -> glebe_buffer {
        glebe_buffer::bytes(text.into_bytes())
    }

    /// Bytes, and a NUL behind them all the same, so that one function frees both.
    pub(super) fn bytes(mut bytes: Vec<u8>) -> glebe_buffer {
        let size = bytes.len();
        bytes.push(0);
        glebe_buffer { data: Box::into_raw(bytes.into_boxed_slice()).cast(), size }
    }
}

/// Frees the bytes and empties the struct, so that a second call does nothing. The struct itself is the caller's.
///
/// @param buffer  nullable; one that is all zeros is let alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_buffer_free(buffer: *mut glebe_buffer) {
    // SAFETY: NULL or a struct of the caller, by the header's contract.
    let Some(buffer) = (unsafe { buffer.as_mut() }) else { return };
    let data = std::mem::replace(&mut buffer.data, std::ptr::null_mut());
    let size = std::mem::take(&mut buffer.size);
    if !data.is_null() {
        // SAFETY: made by `bytes` with one byte more, by the header's contract, and emptied here.
        unsafe { free(std::ptr::slice_from_raw_parts_mut(data, size + 1), |_| false) };
    }
}
