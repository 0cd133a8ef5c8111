//! The C library's allocator, which the runtime and GDAL take their memory from.

/// Gives memory that was freed back to the system, where the C library would keep it for later: before a stage that
/// needs memory of other sizes.
pub(crate) fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: may be called at any time, from any thread.
    #[allow(unsafe_code, reason = "a call of the C library without pointers")]
    unsafe {
        libc::malloc_trim(0);
    }
}
