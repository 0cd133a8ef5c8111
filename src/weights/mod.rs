//! Weights in files: safetensors read and written whole, and checkpoints of the training side read, whatever wrote them.

#[cfg(feature = "pytorch")]
mod archive;
pub mod checkpoint;
pub mod element;
pub mod limits;
pub mod message;
#[cfg(feature = "pytorch")]
mod pickle;
#[cfg(feature = "pytorch")]
mod pytorch;
#[cfg(feature = "pytorch")]
mod state_dict;
mod store;
pub mod tensors;
