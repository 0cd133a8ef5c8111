//! What a training step is to be.

use std::ffi::c_char;
use std::mem::offset_of;
use std::path::PathBuf;
use std::ptr::null;

use crate::autodiff::{BatchNorm, Loss, Optimizer, OptimizerKind, ParameterGroup, StepOptions};
use crate::error::{Error, Result};
use crate::ffi::boundary::{Versioned, borrow, init, layout, optional_text, read_sized, slice, texts};
use crate::ffi::cancel::glebe_cancel_token;
use crate::ffi::field::{flag, pick, provider};
use crate::ffi::status::glebe_status;
use crate::finetune::{FeatureCache, RunOptions};
use crate::runtime::CancelToken;

/// By the running statistics, which stay as they are (default).
pub const GLEBE_BATCH_NORM_FROZEN: i32 = 0;
/// As frozen; scale and shift are trained whatever params says.
pub const GLEBE_BATCH_NORM_AFFINE: i32 = 1;
/// By the statistics of the batch; the running statistics follow them.
pub const GLEBE_BATCH_NORM_TRAIN: i32 = 2;

/// What a training step is to be. Fill it with glebe_trainer_options_init, then set batch, height and width, and change
/// what else is wanted.
///
/// Everything that pointers point to must stay as it is until glebe_trainer_new returns; the library keeps none of it,
/// the cancel token excepted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_trainer_options {
    /// sizeof(glebe_trainer_options), set by the init function.
    pub struct_size: u32,
    /// Threads. 0 (default): one a processor.
    pub threads: u32,
    /// Images of a batch, N. Must be set.
    pub batch: u32,
    /// Height of the images. Must be set.
    pub height: u32,
    /// Width of the images. Must be set.
    pub width: u32,
    /// GLEBE_BATCH_NORM_*.
    pub batch_norm: i32,
    /// What is trained: "all", "head", "decoder", "norm", "bias", "lora:r=8", patterns over the names of initializers,
    /// separated by commas, "!" before what is taken away ("decoder,!*.bias"). NULL (default): "all".
    pub params: *const c_char,
    /// The loss: "ce", "bce", "dice", "jaccard", "focal", "lovasz", "mse", "l1", "huber" and others, weighted sums of
    /// them ("ce+0.5*dice"). NULL (default): "ce".
    pub loss: *const c_char,
    /// Weights of the classes.
    pub class_weights: *const f32,
    /// Their number. 0 (default): all 1.
    pub class_weights_len: usize,
    /// Label of pixels that do not count, where has_ignore_index is 1.
    pub ignore_index: i64,
    /// 1: ignore_index counts. Default 0.
    pub has_ignore_index: i32,
    /// Label smoothing from 0 (default) to below 1.
    pub label_smoothing: f32,
    /// Name of the output with the logits. NULL (default): the only one, or the first.
    pub output: *const c_char,
    /// Name of an auxiliary output with logits. NULL (default): none.
    pub aux_output: *const c_char,
    /// Weight of the auxiliary output's loss. Default 0.4.
    pub aux_weight: f32,
    /// μ of "sgd" and "rmsprop". Default 0.
    pub momentum: f32,
    /// "sgd", "adam", "amsgrad", "adamw", "rmsprop". NULL (default): "adamw".
    pub optimizer: *const c_char,
    /// 1: Nesterov's form of SGD's momentum. Default 0.
    pub nesterov: i32,
    /// β1 of the Adam family. Default 0.9.
    pub beta1: f32,
    /// β2 of the Adam family. Default 0.999.
    pub beta2: f32,
    /// α of "rmsprop". Default 0.99.
    pub alpha: f32,
    /// ε of the Adam family and "rmsprop". Default 1e-8.
    pub epsilon: f32,
    /// Weight decay. Below 0 (default): 0.01 for "adamw", else 0.
    pub weight_decay: f32,
    /// 0: scales and shifts of normalisation layers and biases are not decayed. Default 1, as in PyTorch.
    pub decay_norm_and_bias: i32,
    /// Largest absolute value of a gradient's element. 0 (default): no limit.
    pub clip_value: f32,
    /// Largest Euclidean norm of all gradients together. 0 (default): no limit.
    pub clip_norm: f32,
    /// Decay of a moving average of the weights. 0 (default): no average.
    pub ema_decay: f32,
    /// Patterns over the names of initializers, each a group with rates of its own; the first that matches counts.
    pub group_patterns: *const *const c_char,
    /// Factors of the learning rate, one a group.
    pub group_lr_multipliers: *const f32,
    /// Weight decays, one a group; below 0: the optimizer's. NULL (default): the optimizer's for all.
    pub group_weight_decays: *const f32,
    /// Number of groups. Default 0.
    pub groups_len: usize,
    /// 1: gradients come scaled by glebe_trainer_set_loss_scale, and updates by gradients that are not finite are
    /// skipped. Default 0.
    pub loss_scale: i32,
    /// 1: operators that give the same result in every run, where the provider has others. Default 0.
    pub deterministic: i32,
    /// 1: standard operators and an update as a graph also on the processor. Default 0.
    pub portable: i32,
    /// Must be 0.
    pub reserved: u32,
    /// Where the step runs: "cpu", "cuda:0". NULL (default): "cpu". Strict: there is no fallback.
    pub provider: *const c_char,
    /// Names of options of the provider, as ONNX Runtime has them.
    pub provider_option_keys: *const *const c_char,
    /// Their values.
    pub provider_option_values: *const *const c_char,
    /// Number of names and of values. Default 0.
    pub provider_options_len: usize,
    /// Most bytes of the feature cache in memory: what the frozen part gives for an image is computed once.
    pub feature_memory: u64,
    /// Most bytes of the feature cache in a file. Both 0 (default): no cache.
    pub feature_file: u64,
    /// Folder of that file, which has no name and vanishes with the trainer. NULL (default): the system's temporary one.
    pub feature_folder: *const c_char,
    /// Seed of the adapters' first values.
    pub seed: u64,
    /// Stops a running step when it is set. NULL (default): none.
    pub cancel: *const glebe_cancel_token,
}

layout!(
    glebe_trainer_options, 264;
    struct_size 0, threads 4, batch 8, height 12, width 16, batch_norm 20, params 24, loss 32, class_weights 40,
    class_weights_len 48, ignore_index 56, has_ignore_index 64, label_smoothing 68, output 72, aux_output 80,
    aux_weight 88, momentum 92, optimizer 96, nesterov 104, beta1 108, beta2 112, alpha 116, epsilon 120,
    weight_decay 124, decay_norm_and_bias 128, clip_value 132, clip_norm 136, ema_decay 140, group_patterns 144,
    group_lr_multipliers 152, group_weight_decays 160, groups_len 168, loss_scale 176, deterministic 180,
    portable 184, reserved 188, provider 192, provider_option_keys 200, provider_option_values 208,
    provider_options_len 216, feature_memory 224, feature_file 232, feature_folder 240, seed 248, cancel 256
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), numbers and raw pointers only.
unsafe impl Versioned for glebe_trainer_options {
    const NAME: &'static str = "glebe_trainer_options";
    const FIRST_SIZE: usize = offset_of!(Self, cancel) + size_of::<*const glebe_cancel_token>();

    fn defaults() -> Self {
        let (step, loss) = (Optimizer::default(), Loss::default());
        glebe_trainer_options {
            struct_size: size_of::<Self>() as u32,
            threads: 0,
            batch: 0,
            height: 0,
            width: 0,
            batch_norm: GLEBE_BATCH_NORM_FROZEN,
            params: null(),
            loss: null(),
            class_weights: null(),
            class_weights_len: 0,
            ignore_index: 0,
            has_ignore_index: 0,
            label_smoothing: 0.0,
            output: null(),
            aux_output: null(),
            aux_weight: loss.auxiliary_weight,
            momentum: step.momentum,
            optimizer: null(),
            nesterov: 0,
            beta1: step.betas[0],
            beta2: step.betas[1],
            alpha: step.alpha,
            epsilon: step.epsilon,
            weight_decay: -1.0,
            decay_norm_and_bias: 1,
            clip_value: 0.0,
            clip_norm: 0.0,
            ema_decay: 0.0,
            group_patterns: null(),
            group_lr_multipliers: null(),
            group_weight_decays: null(),
            groups_len: 0,
            loss_scale: 0,
            deterministic: 0,
            portable: 0,
            reserved: 0,
            provider: null(),
            provider_option_keys: null(),
            provider_option_values: null(),
            provider_options_len: 0,
            feature_memory: 0,
            feature_file: 0,
            feature_folder: null(),
            seed: 0,
            cancel: null(),
        }
    }
}

/// Fills `options` with the defaults.
///
/// @param options  the struct to fill.
/// @param size     sizeof(glebe_trainer_options).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_options_init(
    options: *mut glebe_trainer_options,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(options, size) }
}

/// The options in the types of Rust.
pub(super) struct Asked {
    pub(super) step: StepOptions,
    pub(super) run: RunOptions,
    pub(super) cancel: Option<CancelToken>,
}

/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) that names the field.
///
/// # Safety
/// `options` is NULL or as the header's contract wants it.
pub(super) unsafe fn asked(options: *const glebe_trainer_options) -> Result<Asked> {
    // SAFETY: by this function's contract, here and below.
    unsafe {
        let given = read_sized(options, "options")?;
        if given.reserved != 0 {
            return Err(Error::invalid("reserved is not 0"));
        }
        let mut step = StepOptions::new(given.batch as usize, [given.height as usize, given.width as usize]);
        if let Some(params) = optional_text(given.params, "params")? {
            step.params = params.parse()?;
        }
        step.batch_norm = pick(
            "batch_norm",
            given.batch_norm,
            &[
                (GLEBE_BATCH_NORM_FROZEN, BatchNorm::Frozen),
                (GLEBE_BATCH_NORM_AFFINE, BatchNorm::Affine),
                (GLEBE_BATCH_NORM_TRAIN, BatchNorm::Train),
            ],
        )?;
        step.loss = loss(&given)?;
        step.optimizer = optimizer(&given)?;
        step.output = optional_text(given.output, "output")?.map(str::to_owned);
        step.auxiliary = optional_text(given.aux_output, "aux_output")?.map(str::to_owned);
        step.seed = given.seed;
        let mut run = RunOptions::default();
        run.session.threads = given.threads as usize;
        run.session.deterministic = flag("deterministic", given.deterministic)?;
        run.session.provider = provider(
            given.provider,
            given.provider_option_keys,
            given.provider_option_values,
            given.provider_options_len,
        )?;
        run.portable = flag("portable", given.portable)?;
        if given.feature_memory > 0 || given.feature_file > 0 {
            let folder = optional_text(given.feature_folder, "feature_folder")?;
            let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
            let mut cache = FeatureCache::in_memory(given.feature_memory);
            cache.spill = (given.feature_file > 0).then_some((folder, given.feature_file));
            run.features = Some(cache);
        }
        let cancel = match given.cancel.is_null() {
            true => None,
            false => Some(borrow(given.cancel, "cancel")?.token().clone()),
        };
        Ok(Asked { step, run, cancel })
    }
}

/// # Safety
/// The pointers in the struct are as the header's contract wants them.
unsafe fn loss(given: &glebe_trainer_options) -> Result<Loss> {
    // SAFETY: by this function's contract, here and below.
    let mut loss = match unsafe { optional_text(given.loss, "loss")? } {
        Some(text) => text.parse()?,
        None => Loss::default(),
    };
    // SAFETY: as above.
    loss.class_weights =
        unsafe { slice(given.class_weights, given.class_weights_len, "class_weights")? }.to_vec();
    loss.ignore_index = flag("has_ignore_index", given.has_ignore_index)?.then_some(given.ignore_index);
    loss.label_smoothing = given.label_smoothing;
    loss.auxiliary_weight = given.aux_weight;
    Ok(loss)
}

/// # Safety
/// The pointers in the struct are as the header's contract wants them.
unsafe fn optimizer(given: &glebe_trainer_options) -> Result<Optimizer> {
    // SAFETY: by this function's contract, here and below.
    let kind = match unsafe { optional_text(given.optimizer, "optimizer")? } {
        Some(text) => text.parse()?,
        None => OptimizerKind::AdamW,
    };
    let mut optimizer = Optimizer::new(kind);
    optimizer.momentum = given.momentum;
    optimizer.nesterov = flag("nesterov", given.nesterov)?;
    optimizer.betas = [given.beta1, given.beta2];
    optimizer.alpha = given.alpha;
    optimizer.epsilon = given.epsilon;
    if given.weight_decay.is_nan() || given.weight_decay >= 0.0 {
        optimizer.weight_decay = given.weight_decay;
    }
    optimizer.decay_norm_and_bias = flag("decay_norm_and_bias", given.decay_norm_and_bias)?;
    let set = |value: f32| (value != 0.0).then_some(value);
    optimizer.clip_value = set(given.clip_value);
    optimizer.clip_norm = set(given.clip_norm);
    optimizer.ema_decay = set(given.ema_decay);
    optimizer.loss_scale = flag("loss_scale", given.loss_scale)?;
    let length = given.groups_len;
    // SAFETY: as above.
    let patterns = unsafe { texts(given.group_patterns, length, "group_patterns")? };
    // SAFETY: as above.
    let multipliers = unsafe { slice(given.group_lr_multipliers, length, "group_lr_multipliers")? };
    let decays = match given.group_weight_decays.is_null() {
        true => &[],
        // SAFETY: as above.
        false => unsafe { slice(given.group_weight_decays, length, "group_weight_decays")? },
    };
    for (index, (pattern, multiplier)) in patterns.into_iter().zip(multipliers).enumerate() {
        let mut group = ParameterGroup::new(pattern);
        group.lr_multiplier = *multiplier;
        group.weight_decay = decays.get(index).copied().filter(|decay| decay.is_nan() || *decay >= 0.0);
        optimizer.groups.push(group);
    }
    Ok(optimizer)
}
