//! The one error of the crate.
//!
//! [`Error`] is opaque and pointer-sized. Programs look at [`Error::kind`], whose number is at the same time the
//! status of the C ABI and the exit code of the command line; people read the text. The text is one line: where
//! (path, tile, band, tensor), what, and what was expected and found.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in classes a program can act upon.
///
/// The numbers are part of the C ABI (`GLEBE_STATUS_*`) and the exit codes of `glebe`; they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A defect of this library, or a panic stopped at the C boundary.
    Internal = 1,
    /// An argument or option is wrong in itself (NULL, NaN, out of range, unknown name).
    InvalidArgument = 2,
    /// A file or folder does not exist.
    NotFound = 3,
    /// The operating system refused access.
    PermissionDenied = 4,
    /// An output exists already and overwriting was not asked for.
    AlreadyExists = 5,
    /// Reading or writing failed; includes a full disk.
    Io = 6,
    /// The file is not a readable ONNX model.
    ModelInvalid = 7,
    /// A sound model that cannot be used for this (two inputs, integer input, other rank).
    ModelUnsupported = 8,
    /// The file is not a readable raster, or it is damaged.
    RasterInvalid = 9,
    /// A sound raster that cannot be used (complex samples, mixed types, driver not allowed).
    RasterUnsupported = 10,
    /// Two sound things that do not fit together (model of 3 bands, raster of 4).
    Mismatch = 11,
    /// ONNX Runtime was not found or could not be loaded.
    RuntimeNotFound = 12,
    /// The execution provider asked for cannot be used; there is no fallback.
    ProviderUnavailable = 13,
    /// ONNX Runtime failed while it prepared or ran a model.
    Runtime = 14,
    /// Not enough memory for data-sized allocations.
    OutOfMemory = 15,
    /// Stopped by the caller.
    Cancelled = 16,
    /// The object cannot be used any more (an earlier panic poisoned it), or calls came in the wrong order.
    InvalidState = 17,
    /// This build lacks the capability (feature switched off).
    NotSupported = 18,
    /// A safety limit on untrusted input was exceeded.
    LimitExceeded = 19,
}

impl ErrorKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [ErrorKind; 19] = [
        ErrorKind::Internal,
        ErrorKind::InvalidArgument,
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::AlreadyExists,
        ErrorKind::Io,
        ErrorKind::ModelInvalid,
        ErrorKind::ModelUnsupported,
        ErrorKind::RasterInvalid,
        ErrorKind::RasterUnsupported,
        ErrorKind::Mismatch,
        ErrorKind::RuntimeNotFound,
        ErrorKind::ProviderUnavailable,
        ErrorKind::Runtime,
        ErrorKind::OutOfMemory,
        ErrorKind::Cancelled,
        ErrorKind::InvalidState,
        ErrorKind::NotSupported,
        ErrorKind::LimitExceeded,
    ];

    /// The stable number: C status and exit code, 1 to 19.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The kind with this number, if there is one. 0 means success and is no kind.
    pub fn from_code(code: i32) -> Option<ErrorKind> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// A short stable name in kebab case, for logs and JSON: `not-found`.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorKind::Internal => "internal",
            ErrorKind::InvalidArgument => "invalid-argument",
            ErrorKind::NotFound => "not-found",
            ErrorKind::PermissionDenied => "permission-denied",
            ErrorKind::AlreadyExists => "already-exists",
            ErrorKind::Io => "io",
            ErrorKind::ModelInvalid => "model-invalid",
            ErrorKind::ModelUnsupported => "model-unsupported",
            ErrorKind::RasterInvalid => "raster-invalid",
            ErrorKind::RasterUnsupported => "raster-unsupported",
            ErrorKind::Mismatch => "mismatch",
            ErrorKind::RuntimeNotFound => "runtime-not-found",
            ErrorKind::ProviderUnavailable => "provider-unavailable",
            ErrorKind::Runtime => "runtime",
            ErrorKind::OutOfMemory => "out-of-memory",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::InvalidState => "invalid-state",
            ErrorKind::NotSupported => "not-supported",
            ErrorKind::LimitExceeded => "limit-exceeded",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error with its kind, where it happened, and what caused it.
///
/// `Send + Sync`; may be read from any thread.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    tile: Option<u64>,
    band: Option<u32>,
    tensor: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error. `message` says what, in lower case, without a trailing dot, with expected and found; line
    /// breaks in it (upstream messages have them) become spaces, since an error is one line.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        let mut message: String = message.into();
        if message.contains(['\n', '\r', '\t']) {
            message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        Error(Box::new(Inner {
            kind,
            message,
            path: None,
            tile: None,
            band: None,
            tensor: None,
            source: None,
        }))
    }

    /// Shorthand for [`ErrorKind::InvalidArgument`].
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidArgument, message)
    }

    /// Shorthand for [`ErrorKind::Internal`]: a state that this library's own logic rules out.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Internal, message)
    }

    /// An error of the operating system about `path`: `verb` is what was tried ("read", "create").
    pub fn io(verb: &str, path: impl AsRef<Path>, source: std::io::Error) -> Error {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::PermissionDenied
            }
            std::io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            std::io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("cannot {verb}")).at_path(path.as_ref()).caused_by(source)
    }

    /// Names the file that the error is about, unless one is named already (the innermost place wins).
    #[must_use]
    pub fn at_path(mut self, path: impl Into<PathBuf>) -> Error {
        self.0.path.get_or_insert_with(|| path.into());
        self
    }

    /// Names the tile (running number in the plan, from 0).
    #[must_use]
    pub fn at_tile(mut self, tile: u64) -> Error {
        self.0.tile.get_or_insert(tile);
        self
    }

    /// Names the band (from 1, as in GDAL).
    #[must_use]
    pub fn at_band(mut self, band: u32) -> Error {
        self.0.band.get_or_insert(band);
        self
    }

    /// Names the model's tensor.
    #[must_use]
    pub fn at_tensor(mut self, tensor: impl Into<String>) -> Error {
        self.0.tensor.get_or_insert_with(|| tensor.into());
        self
    }

    /// Adds what follows from it for the user, after a semicolon.
    #[must_use]
    pub fn and(mut self, consequence: impl AsRef<str>) -> Error {
        self.0.message.push_str("; ");
        self.0.message.push_str(consequence.as_ref());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened, without place and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The file that the error is about.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The tile (running number in the plan, from 0).
    pub fn tile(&self) -> Option<u64> {
        self.0.tile
    }

    /// The band (from 1).
    pub fn band(&self) -> Option<u32> {
        self.0.band
    }

    /// The model's tensor.
    pub fn tensor(&self) -> Option<&str> {
        self.0.tensor.as_deref()
    }

    /// The whole chain as one line: this error and its causes, joined by `: `.
    pub fn one_line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            if !text.is_empty() && !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(path) = &inner.path {
            write!(f, "{}: ", path.display())?;
        }
        if let Some(tile) = inner.tile {
            write!(f, "tile {tile}: ")?;
        }
        if let Some(band) = inner.band {
            write!(f, "band {band}: ")?;
        }
        if let Some(tensor) = &inner.tensor {
            write!(f, "tensor {tensor:?}: ")?;
        }
        f.write_str(&inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {})", self.kind(), self.one_line())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_pointer_and_crosses_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Error>();
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }

    #[test]
    fn numbers_and_kinds_are_a_bijection() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.code(), index as i32 + 1);
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(ErrorKind::from_code(0), None);
        assert_eq!(ErrorKind::from_code(20), None);
    }

    #[test]
    fn text_is_where_what_and_cause_in_one_line() {
        let error = Error::new(ErrorKind::Mismatch, "model expects 4 channels,\n raster has 3")
            .at_path("a.tif")
            .at_tile(17)
            .caused_by("first\nsecond");
        assert_eq!(error.to_string(), "a.tif: tile 17: model expects 4 channels, raster has 3");
        assert_eq!(error.one_line(), "a.tif: tile 17: model expects 4 channels, raster has 3: first second");
    }

    #[test]
    fn the_innermost_place_wins() {
        let error = Error::invalid("x").at_path("inner").at_path("outer");
        assert_eq!(error.path(), Some(Path::new("inner")));
    }
}
