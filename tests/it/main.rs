//! Behaviour of the whole library, seen from outside. One binary, so that ONNX Runtime and GDAL are linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

mod arrays;
mod bad_inputs;
mod cancel;
mod command_line;
mod evaluate;
mod evaluate_command;
mod exact_tiles;
mod exactness;
mod examples;
mod export;
mod finetune;
mod finetune_bench;
mod finetune_loaders;
mod finetune_refusals;
mod finetune_same_bytes;
mod finetune_settings;
mod fixtures;
mod forms;
mod fused;
mod half_precision;
mod identity;
mod killed;
mod placement;
mod preflight;
mod products;
mod rasters;
mod reach_networks;
mod receptive_field;
mod resume;
mod scoring_memory;
mod seams;
mod sessions;
mod specialise;
mod step_init;
mod step_options;
