//! The C library's allocator in this process.

/// From how many bytes on a freed piece of memory goes back to the system at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 4 << 20;

/// Has large pieces of memory go back to the system when they are freed: by itself the GNU C library raises the size to 32 MiB
/// in the course of the work, and keeps up to 64 MiB for every thread that has ended. (`M_MMAP_THRESHOLD`, `M_TRIM_THRESHOLD`
/// of mallopt(3).) This is for the process to decide, so the library leaves it alone.
pub(crate) fn return_large_pieces() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: called before there are other threads.
    #[allow(unsafe_code, reason = "a call of the C library without pointers")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}
