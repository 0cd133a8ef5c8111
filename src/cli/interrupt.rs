//! Interrupts from the keyboard and the system.

use glebe::runtime::CancelToken;
use glebe::{Error, Result};

/// A token that the first Ctrl-C cancels; the second one ends the process. Made before anything is read, so that an
/// interrupt in the first moments ends like a later one.
pub(crate) fn token() -> Result<CancelToken> {
    let token = CancelToken::new();
    let listening = token.clone();
    ctrlc::set_handler(move || {
        if listening.is_cancelled() {
            std::process::exit(130);
        }
        listening.cancel();
    })
    .map_err(|error| Error::internal("cannot listen for interrupts").caused_by(error))?;
    Ok(token)
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
