//! Parts of the data.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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

impl FromStr for Split {
    type Err = Error;

    /// `train`, `val` or `test`.
    fn from_str(text: &str) -> Result<Split> {
        match text {
            "train" => Ok(Split::Train),
            "val" => Ok(Split::Val),
            "test" => Ok(Split::Test),
            _ => Err(Error::invalid(format!("unknown split {text:?}: expected train, val or test"))),
        }
    }
}
