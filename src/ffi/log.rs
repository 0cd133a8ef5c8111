//! Messages of the library, ONNX Runtime and GDAL, handed to the program.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::boundary::{UserData, c_text, glebe_destroy_fn, status};
use crate::ffi::error::glebe_error;
use crate::ffi::status::glebe_status;

/// No messages.
pub const GLEBE_LOG_OFF: i32 = 0;
/// Something failed that no return value tells.
pub const GLEBE_LOG_ERROR: i32 = 1;
/// Something is not as it should be; the job goes on.
pub const GLEBE_LOG_WARN: i32 = 2;
/// What is done.
pub const GLEBE_LOG_INFO: i32 = 3;
/// How it is done: for bug reports.
pub const GLEBE_LOG_DEBUG: i32 = 4;
/// Everything, down to objects of ONNX Runtime that come and go.
pub const GLEBE_LOG_TRACE: i32 = 5;

/// Told one message: its level (GLEBE_LOG_*), where it comes from ("glebe::..." for the library, "glebe::gdal" for
/// GDAL, "ort::..." for ONNX Runtime), and its text, one or more lines without a line break at the end. The strings
/// are valid during the call only.
///
/// Called from any thread, also from those of ONNX Runtime, and from several at the same time. It may call functions
/// of the library; messages of these calls are dropped. It must return normally: no C++ exception and no longjmp may
/// leave it.
pub type glebe_log_fn = Option<
    unsafe extern "C" fn(level: i32, target: *const c_char, message: *const c_char, user_data: *mut c_void),
>;

/// Hands the messages of the library, of ONNX Runtime and of GDAL (inside calls of the library) to a function, for
/// the whole process. Without one they are dropped; nothing is ever written to stderr.
///
/// A later call replaces the function. The user data of the one before is destroyed as soon as no thread is in it any
/// more: before this function returns, or at the end of the last call that is still at work in another thread.
///
/// @param level      messages of this level and graver ones: GLEBE_LOG_*.
/// @param function   nullable: from now on messages are dropped.
/// @param user_data  nullable: passed to function.
/// @param destroy    nullable: called once with user_data, when function was replaced or could not be set.
/// @param error      nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for an unknown level; GLEBE_STATUS_INVALID_STATE where the library is linked
///         into a Rust program that has a log subscriber of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_log_set_callback(
    level: i32,
    function: glebe_log_fn,
    user_data: *mut c_void,
    destroy: glebe_destroy_fn,
    error: *mut *mut glebe_error,
) -> glebe_status {
    let data = UserData::new(user_data, destroy);
    // SAFETY: NULL or writable, by the header's contract.
    unsafe { status(error, || set(level, function, data)) }
}

/// The program's function.
struct Listener {
    function: unsafe extern "C" fn(i32, *const c_char, *const c_char, *mut c_void),
    data: UserData,
}

static LISTENER: RwLock<Option<Arc<Listener>>> = RwLock::new(None);
/// The level that is wanted, to tell most events that they are not without a lock.
static LEVEL: AtomicI32 = AtomicI32::new(GLEBE_LOG_OFF);

fn set(level: i32, function: glebe_log_fn, data: UserData) -> Result<()> {
    if !(GLEBE_LOG_OFF..=GLEBE_LOG_TRACE).contains(&level) {
        return Err(Error::invalid(format!(
            "level is {level}: expected {GLEBE_LOG_OFF} to {GLEBE_LOG_TRACE}"
        )));
    }
    if function.is_some() {
        subscribe()?;
    }
    let listener = function.map(|function| Arc::new(Listener { function, data }));
    let level = if listener.is_some() { level } else { GLEBE_LOG_OFF };
    let before = {
        let mut slot = LISTENER.write().unwrap_or_else(PoisonError::into_inner);
        LEVEL.store(level, Ordering::Release);
        std::mem::replace(&mut *slot, listener)
    };
    // Outside the lock: it may call the program's destroy.
    drop(before);
    Ok(())
}

/// Becomes the process's subscriber, once.
fn subscribe() -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if DONE.get().is_some() {
        return Ok(());
    }
    tracing::subscriber::set_global_default(ToListener).map_err(|error| {
        Error::new(ErrorKind::InvalidState, "this process has a log subscriber already").caused_by(error)
    })?;
    let _ = DONE.set(());
    Ok(())
}

/// The subscriber: events only, spans are not looked at.
struct ToListener;

impl Subscriber for ToListener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The level may change; asking again each time costs one atomic load.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && number(*metadata.level()) <= LEVEL.load(Ordering::Acquire)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        tell(event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn tell(event: &Event<'_>) {
    thread_local! {
        /// Whether this thread is in the program's function: what it causes is not told to it.
        static TELLING: Cell<bool> = const { Cell::new(false) };
    }
    if TELLING.get() {
        return;
    }
    // A clone, so that the function may replace itself, and no lock is held while it runs.
    let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(listener) = listener else { return };
    let mut line = Line::default();
    event.record(&mut line);
    let target = c_text(event.metadata().target());
    let message = c_text(line.message + &line.fields);
    TELLING.set(true);
    // SAFETY: the program gave the two together, for all threads; the strings live until the end of the call.
    unsafe {
        (listener.function)(
            number(*event.metadata().level()),
            target.as_ptr(),
            message.as_ptr(),
            listener.data.pointer(),
        );
    }
    // Before the flag falls: the last one to hold a replaced listener calls the program's destroy.
    drop(listener);
    TELLING.set(false);
}

fn number(level: Level) -> i32 {
    match level {
        Level::ERROR => GLEBE_LOG_ERROR,
        Level::WARN => GLEBE_LOG_WARN,
        Level::INFO => GLEBE_LOG_INFO,
        Level::DEBUG => GLEBE_LOG_DEBUG,
        _ => GLEBE_LOG_TRACE,
    }
}

/// The text of an event: its message, then its fields as ` name=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing into a String cannot fail; a value whose Debug does leaves its name behind.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
