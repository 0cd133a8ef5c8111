//! Stopping a job from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Asks a running job to stop. Clones share one state.
///
/// Setting it is one atomic store: it may be done from any thread and from a signal handler, before, during and
/// after the job.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not set.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Asks for the stop; it cannot be taken back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// `Err` once the stop was asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`].
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(Error::new(ErrorKind::Cancelled, "cancelled by the caller"))
        } else {
            Ok(())
        }
    }
}

/// How often the watcher looks: also the longest that a cancelled run goes on by the watcher's fault.
const POLL: Duration = Duration::from_millis(10);

/// Carries a token's state over to ONNX Runtime while a session lives: a thread that waits for the token and then
/// raises the terminate flag of the run options. (The token itself cannot: raising the flag is a call into the
/// runtime, which no signal handler may make.)
pub(super) struct Watch {
    options: Arc<ort::session::RunOptions>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn new(token: &CancelToken) -> Result<Watch> {
        let options = ort::session::RunOptions::new()
            .map_err(|error| Error::new(ErrorKind::Runtime, "cannot create run options").caused_by(error))?;
        let options = Arc::new(options);
        let done = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("glebe-cancel".into())
            // It only waits; and without a size of its own std would read RUST_MIN_STACK.
            .stack_size(128 * 1024)
            .spawn({
                let (token, options, done) = (token.clone(), Arc::clone(&options), Arc::clone(&done));
                move || {
                    while !done.load(Ordering::Acquire) {
                        if token.is_cancelled() {
                            // It can only fail by refusing, and then the job still stops between two runs.
                            let _ = options.terminate();
                            return;
                        }
                        std::thread::park_timeout(POLL);
                    }
                }
            })
            .map_err(|error| Error::new(ErrorKind::Io, "cannot start a thread").caused_by(error))?;
        Ok(Watch { options, done, thread: Some(thread) })
    }

    pub(super) fn options(&self) -> &ort::session::RunOptions {
        &self.options
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in the watcher is impossible by its body; nothing to report from a destructor anyway.
            let _ = thread.join();
        }
    }
}
