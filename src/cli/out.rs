//! Lines on stdout and stderr that survive a reader who has gone.

use std::io::{ErrorKind, Write as _};

use glebe::{Error, Result};

/// Prints a line of the result. Where the reader has had enough (`glebe inspect … | head`), that is no error.
///
/// # Errors
/// `Io` for any other failure, such as a full disk.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::io("write", "stdout", error)),
        _ => Ok(()),
    }
}

/// Prints a line for the person who watches. Work does not stop because nobody does.
pub(crate) fn message(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A text of a file without what would steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}
