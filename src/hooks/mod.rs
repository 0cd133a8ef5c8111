//! The lifecycle of training: one stream of events, the `Callback` trait, the views, the built-in callbacks.
//!
//! Every system of the training side calls its hooks by other names and in another order; each is a [view] of the
//! one stream of [`Event`]s.

mod context;
mod early_stopping;
mod event;
mod handler;
mod list;
mod schedule;
mod state;
pub mod view;

pub use context::{Access, Context};
pub use early_stopping::{EarlyStopping, Mode};
pub use event::{Callback, Event};
pub use handler::Callbacks;
pub use schedule::{Decay, Schedule};
pub use state::{Phase, Split, TrainerState};
