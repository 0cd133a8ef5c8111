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
