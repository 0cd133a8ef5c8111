//! What goes where between a checkpoint and a model, and what fits nowhere.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;

/// A tensor of the model that the checkpoint fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Name of the initializer.
    pub slot: String,
    /// Name in the checkpoint; none for a bias that is made of a folded norm alone.
    pub key: Option<String>,
    /// Whether it is turned, rows for columns.
    pub transposed: bool,
    /// The BatchNorm that is folded into it.
    pub folded: Option<String>,
}

/// A tensor of another shape than the model's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misshaped {
    /// Name of the initializer.
    pub slot: String,
    /// Name in the checkpoint.
    pub key: String,
    /// Shape that the checkpoint's tensor should have.
    pub expected: Vec<usize>,
    /// Shape that it has.
    pub found: Vec<usize>,
}

impl fmt::Display for Misshaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (expected {:?}, got {:?})", short(&self.key), self.expected, self.found)
    }
}

/// A tensor whose elements cannot be a weight's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistyped {
    /// Name of the initializer.
    pub slot: String,
    /// Name in the checkpoint.
    pub key: String,
    /// Type of its elements, as PyTorch names it.
    pub found: String,
}

impl fmt::Display for Mistyped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = short(&self.key);
        write!(f, "{key} (expected float64, float32, float16 or bfloat16, got {})", self.found)
    }
}

/// What goes where between a checkpoint and a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Tensors that the checkpoint fills, in the order of the model.
    pub loaded: Vec<Loaded>,
    /// Tensors of the model that the checkpoint does not have.
    pub missing: Vec<String>,
    /// Tensors of the checkpoint that the model does not have.
    pub unexpected: Vec<String>,
    /// Tensors of both, of different shapes.
    pub misshaped: Vec<Misshaped>,
    /// Tensors of both whose elements are no floating point numbers in the checkpoint, or of a type that is not read.
    pub mistyped: Vec<Mistyped>,
    /// BatchNorm layers of the checkpoint that are neither in the model nor folded into a layer of it; their tensors are
    /// among the unexpected ones.
    pub unplaced: Vec<String>,
    /// What was added to the variance of the BatchNorm layers that are folded, if any is: no checkpoint says it.
    pub norm_epsilon: Option<f64>,
    /// How many tensors of the model are kept as they are, since a training state holds no frozen ones.
    pub kept: usize,
    /// A prefix that the checkpoint's names would fit behind, where none fits.
    pub prefix_hint: Option<String>,
    /// How many tensors of either side the filter left out.
    pub filtered: usize,
    /// How many tensors of the checkpoint are not of floating point, and so not loaded: counters of batches, tables of
    /// indices.
    pub integers: usize,
    /// The prefix that the checkpoint's names were taken without: `model.`.
    pub stripped: String,
}

/// How many names of each kind an error lists; the report has them all.
const LISTED: usize = 10;

impl Report {
    /// Whether everything that the filter leaves goes somewhere.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.misshaped.is_empty()
            && self.mistyped.is_empty()
    }

    /// How many tensors went where, in one line: `27 loaded, 1 missing, 2 unexpected`.
    pub fn counts(&self) -> String {
        let mut text = format!("{} loaded", self.loaded.len());
        if !self.stripped.is_empty() {
            text.push_str(&format!(", without the prefix {:?}", short(&self.stripped)));
        }
        let folded = match self.norm_epsilon {
            Some(epsilon) => format!("BatchNorm layers folded with epsilon {epsilon:e}"),
            None => "BatchNorm layers folded".to_owned(),
        };
        for (count, what) in [
            (self.folded().count(), folded.as_str()),
            (self.kept, "kept, which the training state does not hold"),
            (self.filtered, "left out by the filter"),
            (self.integers, "not of floating point"),
            (self.missing.len(), "missing"),
            (self.unexpected.len(), "unexpected"),
            (self.misshaped.len(), "of another shape"),
            (self.mistyped.len(), "of another element type"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }

    /// Names of the BatchNorm layers that are folded into others.
    pub fn folded(&self) -> impl Iterator<Item = &str> {
        // Weight and bias of a layer name the same norm.
        let mut seen = HashSet::new();
        self.loaded
            .iter()
            .filter_map(|loaded| loaded.folded.as_deref())
            .filter(move |norm| seen.insert(*norm))
    }

    /// That the checkpoint fits the model: wholly, or at all.
    ///
    /// # Errors
    /// `Mismatch` with the first names of each kind.
    pub(super) fn check(&self, partial: bool) -> Result<()> {
        if self.is_complete() && !self.loaded.is_empty() || partial && !self.loaded.is_empty() {
            return Ok(());
        }
        let message = match self.loaded.is_empty() {
            true => {
                let hint = self.prefix_hint.as_ref();
                let hint = hint.map_or_else(String::new, |prefix| {
                    format!("did you mean those with the prefix {:?}? ", short(prefix))
                });
                format!("no tensor of the checkpoint fits the model: {hint}{}", self.unfit())
            }
            false => format!("the checkpoint does not fit the model: {}", self.unfit()),
        };
        Err(Error::new(ErrorKind::Mismatch, message))
    }

    /// What does not fit, in one line with the first names of each kind.
    pub fn unfit(&self) -> String {
        let quoted = |name: &String| format!("{:?}", short(name));
        let missing: Vec<String> = self.missing.iter().take(LISTED).map(quoted).collect();
        let unexpected: Vec<String> = self.unexpected.iter().take(LISTED).map(quoted).collect();
        let misshaped: Vec<String> = self.misshaped.iter().take(LISTED).map(Misshaped::to_string).collect();
        let mistyped: Vec<String> = self.mistyped.iter().take(LISTED).map(Mistyped::to_string).collect();
        let unplaced: Vec<String> = self.unplaced.iter().take(LISTED).map(quoted).collect();
        let kinds = [
            ("of another element type", mistyped, self.mistyped.len()),
            ("missing", missing, self.missing.len()),
            ("unexpected", unexpected, self.unexpected.len()),
            ("of another shape", misshaped, self.misshaped.len()),
            ("BatchNorm layers without a place in the model", unplaced, self.unplaced.len()),
        ];
        let parts: Vec<String> = kinds
            .into_iter()
            .filter(|(.., count)| *count > 0)
            .map(|(what, listed, count)| {
                let more = if count > listed.len() {
                    format!(" and {} more", count - listed.len())
                } else {
                    String::new()
                };
                format!("{count} {what}: {}{more}", listed.join(", "))
            })
            .collect();
        if parts.is_empty() { "nothing is left to load".into() } else { parts.join("; ") }
    }
}

/// Every name, a line each.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} loaded", self.loaded.len())?;
        if !self.stripped.is_empty() {
            write!(f, ", without the prefix {:?}", self.stripped)?;
        }
        if self.filtered > 0 {
            write!(f, ", {} left out by the filter", self.filtered)?;
        }
        if self.kept > 0 {
            write!(f, ", {} kept, which the training state does not hold", self.kept)?;
        }
        self.missing.iter().try_for_each(|name| write!(f, "\nmissing {name}"))?;
        self.unexpected.iter().try_for_each(|name| write!(f, "\nunexpected {name}"))?;
        self.misshaped.iter().try_for_each(|misshaped| write!(f, "\nmisshaped {misshaped}"))?;
        self.mistyped.iter().try_for_each(|mistyped| write!(f, "\nmistyped {mistyped}"))?;
        self.unplaced.iter().try_for_each(|norm| write!(f, "\nunplaced BatchNorm {norm}"))?;
        if let Some(epsilon) = self.norm_epsilon {
            return self.folded().try_for_each(|norm| write!(f, "\nfolded {norm} with epsilon {epsilon:e}"));
        }
        self.folded().try_for_each(|norm| write!(f, "\nfolded {norm}"))
    }
}
