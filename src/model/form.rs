//! The forms that a model is run in.

use std::borrow::Cow;

use crate::error::Result;
use crate::model::Model;
use crate::onnx::{Document, Fusion, HalfPrecision, Limits, fused};

/// What becomes of a model's graph before it is run. By default nothing: it runs as its file has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Form {
    /// Whether weights and values between the nodes are `float16` ([`HalfPrecision::of`]); inputs and outputs keep their
    /// types.
    pub half: bool,
    /// What moves into the graph ([`fused`]).
    pub fusion: Option<Fusion>,
}

impl Form {
    /// The file of the model in this form, which is self-contained.
    ///
    /// # Errors
    /// As [`HalfPrecision::of`] and [`fused`].
    pub(super) fn of<'a>(&self, model: &'a Model) -> Result<Cow<'a, [u8]>> {
        let document = model.document();
        let half = match self.half {
            true => {
                let half = HalfPrecision::of(document)?;
                tracing::info!(
                    weights = half.weights,
                    nodes = half.nodes,
                    kept = half.kept.values().sum::<u64>(),
                    clamped = half.clamped,
                    flushed = half.flushed,
                    "the model in half precision"
                );
                Some(half.bytes)
            }
            false => None,
        };
        match (&self.fusion, half) {
            // Bytes only, so that the runtime opens nothing that the guard has not seen.
            (None, None) if model.facts().external_data => document.embedded().map(Cow::Owned),
            (None, None) => Ok(Cow::Borrowed(document.bytes())),
            (None, Some(half)) => Ok(Cow::Owned(half)),
            (Some(fusion), None) => fused(document, model.contract().output(), fusion).map(Cow::Owned),
            (Some(fusion), Some(half)) => {
                // Made of a document that was checked.
                let document = Document::from_bytes(half, &Limits::UNLIMITED)?;
                fused(&document, model.contract().output(), fusion).map(Cow::Owned)
            }
        }
    }
}
