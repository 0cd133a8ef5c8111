//! The lifecycle of training: one stream of events, the `Callback` trait, the views, the built-in callbacks.
//!
//! The room stands empty.
