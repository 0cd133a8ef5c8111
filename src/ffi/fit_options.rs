//! How a training goes.

use std::ffi::c_char;
use std::mem::offset_of;
use std::ptr::null;

use crate::error::{Error, Result};
use crate::ffi::boundary::{Versioned, init, layout, optional_text, read_sized, slice, texts};
use crate::ffi::field::{flag, pick};
use crate::ffi::status::glebe_status;
use crate::finetune::{Checkpoints, FitOptions, ScoreForm, Scoring, Tail};
use crate::hooks::{Decay, Mode, Schedule};

/// L in every epoch (default). L: learning_rate; m: least; T: epochs after the warm-up; j: epochs since it, from 0.
pub const GLEBE_SCHEDULE_CONSTANT: i32 = 0;
/// L ((1 - m/L) (1 - j/T)^gamma + m/L).
pub const GLEBE_SCHEDULE_POLYNOMIAL: i32 = 1;
/// m + (L - m) (1 + cos(pi j/T)) / 2.
pub const GLEBE_SCHEDULE_COSINE: i32 = 2;
/// L gamma^j.
pub const GLEBE_SCHEDULE_EXPONENTIAL: i32 = 3;
/// L gamma^floor(j / schedule_size).
pub const GLEBE_SCHEDULE_STEP: i32 = 4;
/// L gamma^(number of milestones up to j).
pub const GLEBE_SCHEDULE_MULTI_STEP: i32 = 5;

/// Batches that are left at the end of an epoch make an update of their own (default).
pub const GLEBE_TAIL_UPDATE: i32 = 0;
/// Their gradients wait for the next epoch.
pub const GLEBE_TAIL_CARRY: i32 = 1;

/// Lower values are better, as of a loss (default).
pub const GLEBE_MODE_LOWEST: i32 = 0;
/// Higher values are better, as of a score.
pub const GLEBE_MODE_HIGHEST: i32 = 1;

/// Scores of one confusion matrix of all pixels that count (default): Accuracy, MeanIoU, IoUWithoutBackground,
/// Dice/AverageAcrossStructures, and of each class, "macro" and "micro" IoU/..., Dice/..., Precision/..., Recall/..., F1/...
pub const GLEBE_SCORES_EPOCH: i32 = 0;
/// InnerEye's numbers: means over images of Dice and VoxelCount, SubjectCount.
pub const GLEBE_SCORES_INNER_EYE: i32 = 1;
/// geo-deep-learning's numbers: means over batches, with precision and recall swapped.
pub const GLEBE_SCORES_GEO_DEEP_LEARNING: i32 = 2;
/// The loss alone.
pub const GLEBE_SCORES_NONE: i32 = 3;

/// How a training goes. Fill it with glebe_fit_options_init, then set epochs, and change what else is wanted.
///
/// Everything that pointers point to must stay as it is until glebe_trainer_set_fit_options returns; the library keeps
/// none of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_fit_options {
    /// sizeof(glebe_fit_options), set by the init function.
    pub struct_size: u32,
    /// What becomes of too few batches for an update at the end of an epoch: GLEBE_TAIL_*.
    pub tail: i32,
    /// How many epochs there will be in all, those counted that are done. Must be set.
    pub epochs: u64,
    /// The learning rate, 0 or more: the largest of the schedule. Default 1e-4.
    pub learning_rate: f64,
    /// Batches of an update. Default 1.
    pub accumulate: u64,
    /// Validates after every so many epochs. Default 1.
    pub validate_every: u64,
    /// Decides the order of the data. Default 42.
    pub seed: u64,
    /// Which of several divisions of the data this is, added to the seed where there are more than one. Default -1.
    pub split_index: i64,
    /// How many divisions of the data there are. 0 (default) or 1: no cross-validation.
    pub splits: u64,
    /// How the learning rate goes on from epoch to epoch: GLEBE_SCHEDULE_*.
    pub schedule: i32,
    /// Which values of checkpoint_best are better: GLEBE_MODE_*.
    pub checkpoint_mode: i32,
    /// Epochs at the beginning in which the rate rises evenly. 0 (default): none.
    pub schedule_warm_up: u64,
    /// The smallest rate, for GLEBE_SCHEDULE_POLYNOMIAL and GLEBE_SCHEDULE_COSINE. Default 0.
    pub schedule_least: f64,
    /// Above 0. Must be set, except for GLEBE_SCHEDULE_CONSTANT and GLEBE_SCHEDULE_COSINE.
    pub schedule_gamma: f64,
    /// Epochs of a step. Must be set for GLEBE_SCHEDULE_STEP.
    pub schedule_size: u64,
    /// Rising epochs above 0 after the warm-up, for GLEBE_SCHEDULE_MULTI_STEP.
    pub schedule_milestones: *const u64,
    /// Their number. Default 0.
    pub schedule_milestones_len: usize,
    /// Folder of the checkpoints, which is made where it is not there. NULL (default): there are none.
    pub checkpoint_folder: *const c_char,
    /// Writes last.safetensors after every so many epochs, and after the last. Default 1.
    pub checkpoint_every: u64,
    /// How many of epoch-N.safetensors are kept beside it, the newest. Default 0.
    pub checkpoint_keep: u64,
    /// Metric that decides about best.safetensors: "val/Loss", for example. NULL (default): there is no best.
    pub checkpoint_best: *const c_char,
    /// Names of the classes in the names of metrics, one for each of the model's. NULL (default): their numbers.
    pub class_names: *const *const c_char,
    /// Their number. Default 0.
    pub class_names_len: usize,
    /// What is measured of predictions: GLEBE_SCORES_*.
    pub scores: i32,
    /// 1: training batches are scored too, which costs a copy of their logits. Default 0.
    pub score_training: i32,
    /// 1: goes back to the weights of best.safetensors when training has ended. Needs checkpoint_best. Default 0.
    pub reload_best: i32,
    /// 1: evaluates with the moving averages of the weights. Needs ema_decay of glebe_trainer_options. Default 0.
    pub evaluate_averages: i32,
    /// 1: goes on with a loss that is not finite. By default (0) it ends the run with GLEBE_STATUS_INVALID_STATE before
    /// it spoils the weights.
    pub allow_non_finite: i32,
    /// 0.
    pub reserved: i32,
    /// Ends every epoch after so many training batches, for trials. 0 (default): it does not.
    pub limit_train_batches: u64,
    /// Ends the training after so many updates in all, those counted that are done; within an epoch where they come to
    /// that, with its validation and checkpoints as after a whole one. 0 (default): it ends with the last epoch.
    pub max_steps: u64,
}

layout!(
    glebe_fit_options, 208;
    struct_size 0, tail 4, epochs 8, learning_rate 16, accumulate 24, validate_every 32, seed 40, split_index 48,
    splits 56, schedule 64, checkpoint_mode 68, schedule_warm_up 72, schedule_least 80, schedule_gamma 88,
    schedule_size 96, schedule_milestones 104, schedule_milestones_len 112, checkpoint_folder 120,
    checkpoint_every 128, checkpoint_keep 136, checkpoint_best 144, class_names 152, class_names_len 160, scores 168,
    score_training 172, reload_best 176, evaluate_averages 180, allow_non_finite 184, reserved 188,
    limit_train_batches 192, max_steps 200
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), numbers and raw pointers only.
unsafe impl Versioned for glebe_fit_options {
    const NAME: &'static str = "glebe_fit_options";
    const FIRST_SIZE: usize = offset_of!(Self, limit_train_batches) + size_of::<u64>();

    fn defaults() -> Self {
        let own = FitOptions::new(0, 1e-4);
        glebe_fit_options {
            struct_size: size_of::<Self>() as u32,
            tail: GLEBE_TAIL_UPDATE,
            epochs: own.epochs,
            learning_rate: own.learning_rate,
            accumulate: own.accumulate as u64,
            validate_every: own.validate_every,
            seed: own.seed,
            split_index: own.split_index,
            splits: own.splits,
            schedule: GLEBE_SCHEDULE_CONSTANT,
            checkpoint_mode: GLEBE_MODE_LOWEST,
            schedule_warm_up: 0,
            schedule_least: 0.0,
            schedule_gamma: 0.0,
            schedule_size: 0,
            schedule_milestones: null(),
            schedule_milestones_len: 0,
            checkpoint_folder: null(),
            checkpoint_every: 1,
            checkpoint_keep: 0,
            checkpoint_best: null(),
            class_names: null(),
            class_names_len: 0,
            scores: GLEBE_SCORES_EPOCH,
            score_training: 0,
            reload_best: 0,
            evaluate_averages: 0,
            allow_non_finite: 0,
            reserved: 0,
            limit_train_batches: 0,
            max_steps: 0,
        }
    }
}

/// Fills `options` with the defaults.
///
/// @param options  the struct to fill.
/// @param size     sizeof(glebe_fit_options).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_fit_options_init(
    options: *mut glebe_fit_options,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(options, size) }
}

/// The options in the types of Rust.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) that names the field.
///
/// # Safety
/// `options` is NULL or as the header's contract wants it.
pub(super) unsafe fn fit_options(options: *const glebe_fit_options) -> Result<FitOptions> {
    // SAFETY: by this function's contract, here and below.
    let given = unsafe { read_sized(options, "options")? };
    if given.reserved != 0 {
        return Err(Error::invalid(format!("reserved is {}: expected 0", given.reserved)));
    }
    if given.epochs == 0 {
        return Err(Error::invalid("epochs is 0: expected 1 or more"));
    }
    let mut options = FitOptions::new(given.epochs, given.learning_rate);
    let tails = [(GLEBE_TAIL_UPDATE, Tail::Update), (GLEBE_TAIL_CARRY, Tail::Carry)];
    options.tail = pick("tail", given.tail, &tails)?;
    options.accumulate = usize::try_from(given.accumulate).unwrap_or(usize::MAX);
    options.validate_every = given.validate_every;
    options.seed = given.seed;
    (options.split_index, options.splits) = (given.split_index, given.splits);
    // SAFETY: as above.
    options.schedule = Some(unsafe { schedule(&given)? });
    // SAFETY: as above.
    options.checkpoints = unsafe { checkpoints(&given)? };
    // SAFETY: as above.
    options.scoring = unsafe { scoring(&given)? };
    options.reload_best = flag("reload_best", given.reload_best)?;
    options.evaluate_averages = flag("evaluate_averages", given.evaluate_averages)?;
    options.allow_non_finite = flag("allow_non_finite", given.allow_non_finite)?;
    let limit = usize::try_from(given.limit_train_batches).unwrap_or(usize::MAX);
    options.limit_train_batches = (limit > 0).then_some(limit);
    options.max_steps = (given.max_steps > 0).then_some(given.max_steps);
    Ok(options)
}

/// # Safety
/// The pointers in the struct are as the header's contract wants them.
unsafe fn scoring(given: &glebe_fit_options) -> Result<Option<Scoring>> {
    let forms = [
        (GLEBE_SCORES_EPOCH, Some(ScoreForm::Epoch)),
        (GLEBE_SCORES_INNER_EYE, Some(ScoreForm::InnerEye)),
        (GLEBE_SCORES_GEO_DEEP_LEARNING, Some(ScoreForm::GeoDeepLearning)),
        (GLEBE_SCORES_NONE, None),
    ];
    let Some(form) = pick("scores", given.scores, &forms)? else { return Ok(None) };
    // SAFETY: by this function's contract.
    let names = unsafe { texts(given.class_names, given.class_names_len, "class_names")? };
    Ok(Some(Scoring {
        form,
        class_names: names.into_iter().map(str::to_owned).collect(),
        on_training: flag("score_training", given.score_training)?,
    }))
}

/// # Safety
/// The pointers in the struct are as the header's contract wants them.
unsafe fn schedule(given: &glebe_fit_options) -> Result<Schedule> {
    let gamma = given.schedule_gamma;
    let decay = match given.schedule {
        GLEBE_SCHEDULE_CONSTANT => Decay::Constant,
        GLEBE_SCHEDULE_POLYNOMIAL => Decay::Polynomial { gamma },
        GLEBE_SCHEDULE_COSINE => Decay::Cosine,
        GLEBE_SCHEDULE_EXPONENTIAL => Decay::Exponential { gamma },
        GLEBE_SCHEDULE_STEP => Decay::Step { gamma, size: given.schedule_size },
        GLEBE_SCHEDULE_MULTI_STEP => {
            let (pointer, length) = (given.schedule_milestones, given.schedule_milestones_len);
            // SAFETY: by this function's contract.
            let milestones = unsafe { slice(pointer, length, "schedule_milestones")? }.to_vec();
            Decay::MultiStep { gamma, milestones }
        }
        other => {
            let most = GLEBE_SCHEDULE_MULTI_STEP;
            return Err(Error::invalid(format!("schedule is {other}: expected 0 to {most}")));
        }
    };
    let mut schedule = Schedule::new(decay);
    (schedule.warm_up, schedule.least) = (given.schedule_warm_up, given.schedule_least);
    Ok(schedule)
}

/// # Safety
/// The pointers in the struct are as the header's contract wants them.
unsafe fn checkpoints(given: &glebe_fit_options) -> Result<Option<Checkpoints>> {
    let modes = [(GLEBE_MODE_LOWEST, Mode::Lowest), (GLEBE_MODE_HIGHEST, Mode::Highest)];
    let mode = pick("checkpoint_mode", given.checkpoint_mode, &modes)?;
    // SAFETY: by this function's contract, here and below.
    let best = unsafe { optional_text(given.checkpoint_best, "checkpoint_best")? };
    // SAFETY: as above.
    let Some(folder) = (unsafe { optional_text(given.checkpoint_folder, "checkpoint_folder")? }) else {
        return Ok(None);
    };
    let mut checkpoints = Checkpoints::new(folder);
    checkpoints.every = given.checkpoint_every;
    checkpoints.keep = usize::try_from(given.checkpoint_keep).unwrap_or(usize::MAX);
    checkpoints.best = best.map(|name| (name.to_owned(), mode));
    Ok(Some(checkpoints))
}
