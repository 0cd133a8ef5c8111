//! Parts of the data.

use serde::{Deserialize, Serialize};

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Split {
    /// For training.
    Train,
    /// For validation.
    Val,
    /// For testing.
    Test,
}

impl Split {
    /// The name in file names and messages: `Train`, `Val`, `Test`.
    pub const fn name(self) -> &'static str {
        match self {
            Split::Train => "Train",
            Split::Val => "Val",
            Split::Test => "Test",
        }
    }
}
