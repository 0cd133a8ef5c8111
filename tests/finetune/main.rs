//! The training step through its public interface, on networks that the tests make themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod adapters;
mod bad_runs;
mod cache;
mod evaluation;
mod exporting;
mod files;
mod fixtures;
mod initial;
mod kill;
mod lifecycle;
mod most_steps;
mod resume;
mod schedules;
mod state;
mod steps;
mod updates;
mod verbs;
