//! GDAL's messages and settings: one scope around every call into GDAL.
//!
//! Inside the scope the settings of [`SETTINGS`] hold and GDAL's messages are caught. Both are of the calling thread
//! and end with the scope, so a host that uses GDAL itself keeps its own settings and handlers, and nothing of this
//! library stays behind in GDAL when it is unloaded. Warnings and failures also go to `tracing` under the target
//! `glebe::gdal`; nothing goes to stderr.

use std::fmt::Display;
use std::marker::PhantomData;
use std::path::Path;

use gdal::config;

use super::sys::Listener;
use crate::error::{Error, ErrorKind, Result};

/// GDAL's settings inside the scope: name and value.
///
/// Side files are named to GDAL one by one when a raster is opened (external masks, world files), so the folder is
/// never listed and no `.aux.xml` or `.ovr` is read or written. Python in VRT files stays off. No driver plug-ins are
/// loaded from folders. Drivers decode on the calling thread only: readers are parallel by having a dataset each, and
/// messages of GDAL's own threads could not be caught. CRSs are exchanged as WKT 2, which loses nothing.
pub(super) const SETTINGS: [(&str, &str); 6] = [
    ("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"),
    ("GDAL_PAM_ENABLED", "NO"),
    ("GDAL_VRT_ENABLE_PYTHON", "NO"),
    ("GDAL_DRIVER_PATH", "disable"),
    ("GDAL_NUM_THREADS", "1"),
    ("OSR_WKT_FORMAT", "WKT2_2019"),
];

/// Stands for "not set": GDAL's getter wants a default.
const UNSET: &str = "glebe:unset";

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Debug,
    Warning,
    Failure,
}

/// One message of GDAL.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) severity: Severity,
    /// GDAL's error number (`CPLE_*`).
    pub(super) number: i32,
    pub(super) text: String,
}

impl Message {
    pub(super) fn log(&self) {
        match self.severity {
            Severity::Debug => tracing::trace!(target: "glebe::gdal", "{}", self.text),
            Severity::Warning => tracing::warn!(target: "glebe::gdal", "{}", self.text),
            // Comes back as an error, which the caller reports.
            Severity::Failure => {
                tracing::debug!(target: "glebe::gdal", number = self.number, "{}", self.text)
            }
        }
    }
}

/// Sets settings for this thread and puts back what was there.
pub(super) struct Settings {
    before: Vec<(&'static str, String)>,
    // They are the thread's.
    not_send: PhantomData<*const ()>,
}

impl Settings {
    /// Sets these, name and value, until it is dropped.
    pub(super) fn of(settings: &[(&'static str, &str)]) -> Settings {
        let mut before = Vec::with_capacity(settings.len());
        for &(key, value) in settings {
            let old = config::get_thread_local_config_option(key, UNSET).unwrap_or_else(|_| UNSET.to_owned());
            // Fails only for a NUL in the strings.
            let _ = config::set_thread_local_config_option(key, value);
            before.push((key, old));
        }
        Settings { before, not_send: PhantomData }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let _ = self.not_send;
        for (key, old) in &self.before {
            let _ = match old.as_str() {
                UNSET => config::clear_thread_local_config_option(key),
                old => config::set_thread_local_config_option(key, old),
            };
        }
    }
}

/// Runs `work` in the scope; returns its result and what GDAL said.
pub(super) fn scope<T>(work: impl FnOnce() -> T) -> (T, Vec<Message>) {
    let _settings = Settings::of(&SETTINGS);
    let listener = Listener::new();
    let result = work();
    (result, listener.take())
}

/// What a call is about, for the error it may end in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// The kind of its failure, unless GDAL says it ran out of memory.
    pub(super) kind: ErrorKind,
    /// The message: "cannot read window 0,0 8x8".
    pub(super) what: &'a str,
    /// The file.
    pub(super) path: &'a Path,
}

impl Call<'_> {
    /// Runs `work` in the scope.
    ///
    /// # Errors
    /// If `work` fails; the cause is what GDAL said.
    pub(super) fn run<T, E: Display>(self, work: impl FnOnce() -> Result<T, E>) -> Result<T> {
        let (result, heard) = scope(work);
        result.map_err(|error| self.failed(&heard, &error.to_string()))
    }

    /// The same, and a failure that GDAL only reports counts as one: before version 3.7 its close and flush return
    /// nothing, so that a full disk shows in the messages only.
    pub(super) fn run_strictly<T, E: Display>(self, work: impl FnOnce() -> Result<T, E>) -> Result<T> {
        let (result, heard) = scope(work);
        match result {
            Ok(_) if heard.iter().any(|message| message.severity == Severity::Failure) => {
                Err(self.failed(&heard, "GDAL reported a failure"))
            }
            Ok(value) => Ok(value),
            Err(error) => Err(self.failed(&heard, &error.to_string())),
        }
    }

    fn failed(self, heard: &[Message], fallback: &str) -> Error {
        const CPLE_OUT_OF_MEMORY: i32 = 2;
        let failures = || heard.iter().filter(|message| message.severity == Severity::Failure);
        let kind = match failures().any(|message| message.number == CPLE_OUT_OF_MEMORY) {
            true => ErrorKind::OutOfMemory,
            false => self.kind,
        };
        // The first message names the cause, the later ones what it led to; damaged files repeat themselves.
        let mut texts: Vec<&str> = Vec::new();
        for message in failures() {
            if !texts.contains(&message.text.as_str()) && texts.len() < 4 {
                texts.push(&message.text);
            }
        }
        let cause = if texts.is_empty() { fallback.to_owned() } else { texts.join("; ") };
        Error::new(kind, self.what).at_path(self.path).caused_by(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_hold_inside_the_scope_only() {
        config::set_thread_local_config_option("GDAL_PAM_ENABLED", "hosts-own").unwrap();
        scope(|| {
            for (key, value) in SETTINGS {
                assert_eq!(config::get_config_option(key, "").unwrap(), value, "{key}");
            }
        });
        assert_eq!(config::get_config_option("GDAL_PAM_ENABLED", "").unwrap(), "hosts-own");
        assert_eq!(config::get_config_option("GDAL_VRT_ENABLE_PYTHON", "unset").unwrap(), "unset");
        config::clear_thread_local_config_option("GDAL_PAM_ENABLED").unwrap();
    }

    /// Opens a file that is not there, aloud.
    fn fail() -> gdal::errors::Result<gdal::Dataset> {
        let open_flags = gdal::GdalOpenFlags::GDAL_OF_VERBOSE_ERROR;
        gdal::Dataset::open_ex("nowhere.tif", gdal::DatasetOptions { open_flags, ..Default::default() })
    }

    #[test]
    fn messages_become_the_cause() {
        let call =
            Call { kind: ErrorKind::RasterInvalid, what: "cannot open", path: Path::new("nowhere.tif") };
        let error = call.run(fail).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RasterInvalid);
        assert!(error.one_line().contains("No such file"), "{error:?}");
    }

    #[test]
    fn a_failure_that_is_only_reported_counts_where_asked() {
        let call = Call { kind: ErrorKind::Io, what: "cannot close", path: Path::new("x") };
        let work = || {
            let _ = fail();
            Ok::<_, String>(())
        };
        call.run(work).unwrap();
        assert_eq!(call.run_strictly(work).unwrap_err().kind(), ErrorKind::Io);
    }

    #[test]
    fn a_panic_leaves_no_handler_behind() {
        let before = std::thread::spawn(|| {
            let _ = std::panic::catch_unwind(|| scope(|| panic!("on purpose")));
            config::get_config_option("GDAL_PAM_ENABLED", "unset").unwrap()
        });
        assert_eq!(before.join().unwrap(), "unset");
    }
}
