//! Weights and checkpoints: safetensors, inert reading of PyTorch files, names ↔ initializers.
//!
//! The room stands empty until finetuning needs it. (Files that appear complete or not at all are older than it and
//! lie in the ground: [`crate::file`].)
