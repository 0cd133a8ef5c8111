//! The lifecycle of training: one stream of events, the `Callback` trait, the views, the built-in callbacks.
//!
//! Every system of the training side calls its hooks by other names and in another order; each is a [view] of the
//! one stream of [`Event`]s.

pub mod builtin;
mod context;
mod early_stopping;
mod event;
mod handler;
mod list;
mod logged;
mod one_cycle;
mod plateau;
mod schedule;
mod state;
pub mod view;

pub use crate::data::Split;
pub use context::{Access, Context, Truth};
pub use early_stopping::{EarlyStopping, Mode};
pub use event::{Callback, Event};
pub use handler::Callbacks;
pub use logged::Logged;
pub use one_cycle::OneCycle;
pub use plateau::Plateau;
pub use schedule::{Decay, Schedule};
pub use state::{Phase, TrainerState};
