//! InnerEye's inference hooks.

use crate::error::Result;
use crate::hooks::list::{hooks, of_hooks};
use crate::hooks::{Callback, Context, Event};

hooks! {
    /// The hooks of `InnerEyeInference`, and the forward pass between them.
    enum InnerEyeInferenceHook;

    /// `InnerEyeInference`: what is done with a trained model's outputs over the splits of the data.
    ///
    /// The split is in the context's state; `inference_step` finds the outputs by [`Context::access`].
    trait InnerEyeInferenceHooks;

    /// Before all splits.
    OnInferenceStart = 1, on_inference_start;
    /// A split begins.
    OnInferenceEpochStart = 2, on_inference_epoch_start;
    /// The model is run on a batch.
    Forward = 3, forward;
    /// Its outputs are there.
    InferenceStep = 4, inference_step;
    /// A split is done.
    OnInferenceEpochEnd = 5, on_inference_epoch_end;
    /// After all splits.
    OnInferenceEnd = 6, on_inference_end;
}

/// Calls InnerEye's inference hooks.
#[derive(Debug)]
pub struct InnerEyeInference<H> {
    hooks: H,
}

impl<H: InnerEyeInferenceHooks> InnerEyeInference<H> {
    /// A view for these hooks.
    pub fn new(hooks: H) -> InnerEyeInference<H> {
        InnerEyeInference { hooks }
    }
}

impl<H: InnerEyeInferenceHooks> Callback for InnerEyeInference<H> {
    fn dispatch(&mut self, event: Event, context: &mut Context<'_>) -> Result<()> {
        use InnerEyeInferenceHook as To;
        // Predictions outside of an inference over splits are none of InnerEye's.
        let in_split = context.state.split.is_some();
        let hook = match event {
            Event::InferenceStart => To::OnInferenceStart,
            Event::PredictStart if in_split => To::OnInferenceEpochStart,
            Event::PredictionStart if in_split => To::Forward,
            Event::PredictionEnd if in_split => To::InferenceStep,
            Event::PredictEnd if in_split => To::OnInferenceEpochEnd,
            Event::InferenceEnd => To::OnInferenceEnd,
            _ => return Ok(()),
        };
        self.hooks.dispatch(hook, context)
    }

    of_hooks!();
}
