//! Where a run stands.

use std::mem::offset_of;

use crate::ffi::boundary::{Versioned, init, layout};
use crate::ffi::status::glebe_status;
use crate::hooks::{Phase, Split, TrainerState};

/// Nothing is being done.
pub const GLEBE_PHASE_IDLE: i32 = 0;
/// Training batches.
pub const GLEBE_PHASE_TRAIN: i32 = 1;
/// A validation within training.
pub const GLEBE_PHASE_VALIDATION: i32 = 2;
/// A validation by itself.
pub const GLEBE_PHASE_VALIDATE: i32 = 3;
/// A test.
pub const GLEBE_PHASE_TEST: i32 = 4;
/// A prediction.
pub const GLEBE_PHASE_PREDICT: i32 = 5;

/// No part of the data in particular.
pub const GLEBE_SPLIT_NONE: i32 = 0;
/// The data for training.
pub const GLEBE_SPLIT_TRAIN: i32 = 1;
/// The data for validation.
pub const GLEBE_SPLIT_VAL: i32 = 2;
/// The data for testing.
pub const GLEBE_SPLIT_TEST: i32 = 3;

/// Where a run stands. Initialise it with glebe_run_state_init; glebe_event_run_state and glebe_trainer_run_state fill it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_run_state {
    /// sizeof(glebe_run_state), set by the init function.
    pub struct_size: u32,
    /// What is being done: GLEBE_PHASE_*.
    pub phase: i32,
    /// The epoch, from 1; 0 before the first.
    pub epoch: u64,
    /// How many epochs there will be.
    pub epochs: u64,
    /// The batch of the epoch or of the evaluation, from 1; 0 before the first.
    pub batch: u64,
    /// How many batches the epoch or the evaluation has; 0 before the first.
    pub batches: u64,
    /// Updates of the weights since the beginning, over all epochs.
    pub global_step: u64,
    /// Learning rate of the epoch or step.
    pub learning_rate: f64,
    /// Which part of the data glebe_trainer_infer is at: GLEBE_SPLIT_*.
    pub split: i32,
    /// 1 where training ends after this epoch, else 0.
    pub should_stop: i32,
}

layout!(
    glebe_run_state, 64;
    struct_size 0, phase 4, epoch 8, epochs 16, batch 24, batches 32, global_step 40, learning_rate 48, split 56,
    should_stop 60
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), numbers only.
unsafe impl Versioned for glebe_run_state {
    const NAME: &'static str = "glebe_run_state";
    const FIRST_SIZE: usize = offset_of!(Self, should_stop) + size_of::<i32>();

    fn defaults() -> Self {
        run_state(&TrainerState::default())
    }
}

/// Fills `state` with that of a run which has not begun.
///
/// @param state  the struct to fill.
/// @param size   sizeof(glebe_run_state).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_run_state_init(state: *mut glebe_run_state, size: usize) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(state, size) }
}

/// The state as C has it.
pub(super) fn run_state(state: &TrainerState) -> glebe_run_state {
    glebe_run_state {
        struct_size: size_of::<glebe_run_state>() as u32,
        phase: match state.phase {
            Phase::Idle => GLEBE_PHASE_IDLE,
            Phase::Train => GLEBE_PHASE_TRAIN,
            Phase::Validation => GLEBE_PHASE_VALIDATION,
            Phase::Validate => GLEBE_PHASE_VALIDATE,
            Phase::Test => GLEBE_PHASE_TEST,
            Phase::Predict => GLEBE_PHASE_PREDICT,
        },
        epoch: state.epoch,
        epochs: state.epochs,
        batch: state.batch,
        batches: state.batches,
        global_step: state.global_step,
        learning_rate: state.learning_rate,
        split: match state.split {
            None => GLEBE_SPLIT_NONE,
            Some(Split::Train) => GLEBE_SPLIT_TRAIN,
            Some(Split::Val) => GLEBE_SPLIT_VAL,
            Some(Split::Test) => GLEBE_SPLIT_TEST,
        },
        should_stop: i32::from(state.should_stop),
    }
}
