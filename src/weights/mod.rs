//! Weights in files: safetensors read and written whole. Checkpoints of the training side come here too.

pub mod tensors;
