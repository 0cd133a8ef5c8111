//! The callbacks that come with the library.

use std::ffi::c_char;

use crate::error::{Error, Result};
use crate::ffi::boundary::{borrow, status, text};
use crate::ffi::error::glebe_error;
use crate::ffi::field::pick;
use crate::ffi::fit_options::{GLEBE_MODE_HIGHEST, GLEBE_MODE_LOWEST};
use crate::ffi::status::glebe_status;
use crate::ffi::trainer::glebe_trainer;
use crate::finetune::Outputs;
use crate::hooks::{Callbacks, EarlyStopping, Mode, OneCycle, Plateau};

/// Train/epoch_metrics.csv and Val/epoch_metrics.csv.
pub const GLEBE_OUTPUT_EPOCH_CSV: u32 = 1;
/// batch_losses.csv.
pub const GLEBE_OUTPUT_BATCH_LOSSES: u32 = 2;
/// ClinicaDL's logs/training_loss.tsv and validation_metrics/{aggregated,details}.tsv.
pub const GLEBE_OUTPUT_CLINICADL: u32 = 4;
/// geo-deep-learning's progress.log.
pub const GLEBE_OUTPUT_PROGRESS_LOG: u32 = 8;
/// metrics.csv and metrics_aggregates.csv of tests and inferences.
pub const GLEBE_OUTPUT_IMAGE_METRICS: u32 = 16;
/// PNG files of input, label and prediction of the first batch of every evaluation, in the folder pictures.
pub const GLEBE_OUTPUT_PICTURES: u32 = 32;
/// curves.svg.
pub const GLEBE_OUTPUT_CURVES: u32 = 64;
/// run.toml.
pub const GLEBE_OUTPUT_RECORD: u32 = 128;
/// Times of epochs and warnings of slow loading, in the log.
pub const GLEBE_OUTPUT_TIMES: u32 = 256;
/// All of these.
pub const GLEBE_OUTPUT_ALL: u32 = 511;

/// Adds the callbacks that write files of the runs to come into a folder; it is made where it is not there.
///
/// @param trainer  the trainer; its options, whose class names and index of the split they take, are set before.
/// @param folder   the folder.
/// @param outputs  which files: GLEBE_OUTPUT_*, added up.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for no file or one that there is not; GLEBE_STATUS_INVALID_STATE without
///         glebe_trainer_set_fit_options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_add_outputs(
    trainer: *mut glebe_trainer,
    folder: *const c_char,
    outputs: u32,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let folder = text(folder, "folder")?;
            if outputs == 0 || outputs > GLEBE_OUTPUT_ALL {
                let message = format!("outputs is {outputs}: expected 1 to {GLEBE_OUTPUT_ALL}");
                return Err(Error::invalid(message));
            }
            let has = |flag: u32| outputs & flag != 0;
            let mut own = Outputs::new(folder);
            own.epoch_csv = has(GLEBE_OUTPUT_EPOCH_CSV);
            own.batch_losses = has(GLEBE_OUTPUT_BATCH_LOSSES);
            own.clinicadl = has(GLEBE_OUTPUT_CLINICADL);
            own.progress_log = has(GLEBE_OUTPUT_PROGRESS_LOG);
            own.image_metrics = has(GLEBE_OUTPUT_IMAGE_METRICS);
            own.pictures = has(GLEBE_OUTPUT_PICTURES);
            own.curves = has(GLEBE_OUTPUT_CURVES);
            own.record = has(GLEBE_OUTPUT_RECORD);
            own.times = has(GLEBE_OUTPUT_TIMES);
            trainer.enter(|work| {
                let trainer = work.prepared()?;
                let callbacks = own.callbacks(trainer.options())?;
                trainer.add_callbacks(callbacks)
            })
        })
    }
}

/// Ends the training when a metric of the validation has not become better for a while, or is not finite. Several may be
/// added: who wants to stop, stops.
///
/// @param trainer    the trainer.
/// @param metric     its name in the validation: "Loss", "MeanIoU".
/// @param mode       which values are better: GLEBE_MODE_*.
/// @param patience   how many validations in a row without a better value are borne.
/// @param min_delta  by how much a value must be better, 0 or more.
/// @param error      nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT. A metric that there is not ends the run at its first validation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_add_early_stopping(
    trainer: *mut glebe_trainer,
    metric: *const c_char,
    mode: i32,
    patience: u64,
    min_delta: f64,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let own = EarlyStopping::new(text(metric, "metric")?, mode_of(mode)?);
            if !(min_delta.is_finite() && min_delta >= 0.0) {
                return Err(Error::invalid(format!("min_delta is {min_delta}: expected 0 or more")));
            }
            let mut callbacks = Callbacks::new();
            callbacks.add(own.patience(patience).min_delta(min_delta));
            trainer.enter(|work| work.trainer.add_callbacks(callbacks))
        })
    }
}

/// Lowers the learning rate when a metric of the validation has not become better for a while: PyTorch's
/// ReduceLROnPlateau with a relative threshold of 1e-4.
///
/// @param trainer   the trainer.
/// @param metric    its name in the validation: "Loss", "MeanIoU".
/// @param mode      which values are better: GLEBE_MODE_*.
/// @param factor    what the rate is multiplied with, above 0 and below 1.
/// @param patience  how many validations in a row without a better value are borne.
/// @param least     the smallest rate, 0 or more.
/// @param error     nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT. A metric that there is not ends the run at its first validation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_add_plateau(
    trainer: *mut glebe_trainer,
    metric: *const c_char,
    mode: i32,
    factor: f64,
    patience: u64,
    least: f64,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let own = Plateau::new(text(metric, "metric")?, mode_of(mode)?);
            if !(least.is_finite() && least >= 0.0) {
                return Err(Error::invalid(format!("least is {least}: expected 0 or more")));
            }
            let mut callbacks = Callbacks::new();
            callbacks.add(own.factor(factor).patience(patience).least(least));
            trainer.enter(|work| work.trainer.add_callbacks(callbacks))
        })
    }
}

/// Lets the learning rate rise and fall once over all updates: PyTorch's OneCycleLR with its defaults, without a cycle of
/// the momentum. It takes the place of the schedule.
///
/// @param trainer  the trainer.
/// @param most     the largest rate, above 0.
/// @param total    number of updates, 1 or more; behind the last the rate stays.
/// @param error    nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_add_one_cycle(
    trainer: *mut glebe_trainer,
    most: f64,
    total: u64,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let mut callbacks = Callbacks::new();
            callbacks.add(OneCycle::new(most, total));
            borrow(trainer, "trainer")?.enter(|work| work.trainer.add_callbacks(callbacks))
        })
    }
}

fn mode_of(mode: i32) -> Result<Mode> {
    pick("mode", mode, &[(GLEBE_MODE_LOWEST, Mode::Lowest), (GLEBE_MODE_HIGHEST, Mode::Highest)])
}
