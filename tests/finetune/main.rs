//! The training step through its public interface, on networks that the tests make themselves.

mod cache;
mod fixtures;
mod state;
mod steps;
mod updates;
