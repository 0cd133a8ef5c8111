//! Finetuning: the step, the trainer, schedules, the run folder.
//!
//! The room stands empty.
