//! Weights in files: safetensors read and written whole, and checkpoints of the training side read, whatever wrote them.

#[cfg(feature = "pytorch")]
mod archive;
pub mod checkpoint;
pub mod description;
pub mod element;
mod folding;
pub mod limits;
pub mod mapping;
pub mod message;
mod naming;
mod norms;
pub mod pattern;
#[cfg(feature = "pytorch")]
mod pickle;
#[cfg(feature = "pytorch")]
mod pytorch;
pub mod report;
mod safetensors_head;
#[cfg(feature = "pytorch")]
mod state_dict;
mod store;
pub mod tensors;
