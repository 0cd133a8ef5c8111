//! The C ABI: `include/glebe.h` is generated from these files, one a class. Translation only, no logic.
//!
//! The doc comments here are the reference manual of the C header, written for its readers. What every function
//! shares (NULL checks, strings, sized structs, handles, panics) is in [`boundary`] alone.
#![allow(
    unsafe_code,
    reason = "raw pointers come in and go out here; every dereference is in or justified by boundary.rs"
)]
#![allow(unreachable_pub, reason = "cbindgen takes public items; Rust code has no use for them")]
#![allow(non_camel_case_types, reason = "names of C")]
#![allow(missing_debug_implementations, reason = "handles are opaque and the structs are C's")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract at the top of the header holds for every function"
)]

#[cfg(panic = "abort")]
compile_error!("the C ABI turns panics into GLEBE_STATUS_INTERNAL, which needs panic = \"unwind\"");

mod batch;
mod boundary;
mod buffer;
mod callbacks;
mod cancel;
mod checkpoint;
mod error;
mod evaluate;
mod evaluate_options;
mod event;
mod event_arrays;
mod event_context;
mod export;
mod field;
mod finetuning;
mod finetuning_options;
mod fit;
mod fit_options;
mod image;
mod library;
mod loader;
mod log;
mod metrics;
mod model;
mod prediction;
mod progress;
mod run_state;
mod runtime;
mod seams;
mod segment;
mod segment_options;
mod status;
mod trainer;
mod trainer_options;
mod whole_run;
