//! Interrupts from the keyboard and the system.

use glebe::runtime::CancelToken;
use glebe::{Error, Result};

/// The first Ctrl-C stops the job cleanly, the second one the process.
pub(crate) fn cancel_on_interrupt(token: &CancelToken) -> Result<()> {
    let token = token.clone();
    ctrlc::set_handler(move || {
        if token.is_cancelled() {
            std::process::exit(130);
        }
        token.cancel();
    })
    .map_err(|error| Error::internal("cannot listen for interrupts").caused_by(error))
}

/// A file that outgrows the limit of its size (`ulimit -f`) is an error like a full disk, not the end of the process.
#[cfg(unix)]
pub(crate) fn outlive_file_limits() {
    // SAFETY: no handler is set that could do anything; called before there are other threads.
    #[allow(unsafe_code, reason = "a call of the C library without pointers")]
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
