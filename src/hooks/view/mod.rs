//! The one stream of events under the names and in the order of the systems that people come from.
//!
//! A view wraps an object with the system's hooks and is a [`Callback`](crate::hooks::Callback) itself: add
//! `Lightning::new(hooks)` to a run, and the hooks are called as that system would call them. What of every system is
//! called how here: the table in `docs/lifecycle.md`.

mod clinicadl;
mod delira;
mod inner_eye;
mod lightning;

pub use clinicadl::{ClinicaDl, ClinicaDlHook, ClinicaDlHooks};
pub use delira::{Delira, DeliraArguments, DeliraHooks};
pub use inner_eye::{InnerEyeInference, InnerEyeInferenceHook, InnerEyeInferenceHooks};
pub use lightning::{Lightning, LightningHook, LightningHooks, LightningOrder};
