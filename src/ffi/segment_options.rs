//! What a scoring job is asked to do.
#![cfg_attr(not(feature = "raster"), allow(dead_code, reason = "numbers of options for files"))]

use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::ptr::{null, null_mut};

use crate::error::{Error, Result};
use crate::ffi::boundary::{
    UserData, Versioned, borrow, glebe_destroy_fn, init, layout, optional_text, read_known, read_sized,
};
use crate::ffi::cancel::glebe_cancel_token;
use crate::ffi::field::{bands, flag, numbers, pick, provider};
use crate::ffi::image::data_type;
use crate::ffi::progress::{Listener, glebe_progress_fn};
use crate::ffi::status::glebe_status;
use crate::geometry::{Padding, Size};
use crate::runtime::CancelToken;
use crate::segment::{Activation, Precision, Product, SegmentOptions};
use crate::tiling::{Blend, Overlap};

/// Each pixel comes from one tile: overlaps are cut in the middle.
pub const GLEBE_BLEND_CROP: i32 = 0;
/// Mean weighted by a Gaussian, sigma = tile / 8.
pub const GLEBE_BLEND_GAUSSIAN: i32 = 1;
/// Mean weighted by a Hann window.
pub const GLEBE_BLEND_HANN: i32 = 2;
/// Mean weighted by a triangle.
pub const GLEBE_BLEND_LINEAR: i32 = 3;
/// Plain mean.
pub const GLEBE_BLEND_CONSTANT: i32 = 4;
/// Each pixel comes from a tile that sees all that the network looks at for it: the map is that of one run over the whole
/// raster. GLEBE_STATUS_MODEL_UNSUPPORTED, with the nodes, for networks that look at the whole tile. The overlap has no
/// effect.
pub const GLEBE_BLEND_EXACT: i32 = 5;
/// Exact where the network allows it and at most 2 pixels are computed for one, else Gaussian (default). The report says
/// which, and why.
pub const GLEBE_BLEND_AUTO: i32 = 6;

/// Past the raster's edge it is mirrored, the edge pixel not repeated (default).
pub const GLEBE_PADDING_REFLECT: i32 = 0;
/// The edge pixel goes on.
pub const GLEBE_PADDING_EDGE: i32 = 1;
/// padding_value, in the raster's own units.
pub const GLEBE_PADDING_CONSTANT: i32 = 2;

/// None where the graph ends in a softmax or sigmoid of its own; else sigmoid for one channel, softmax for more
/// (default).
pub const GLEBE_ACTIVATION_AUTO: i32 = 0;
/// Softmax over the channels.
pub const GLEBE_ACTIVATION_SOFTMAX: i32 = 1;
/// Sigmoid of each channel.
pub const GLEBE_ACTIVATION_SIGMOID: i32 = 2;
/// The output is probabilities already.
pub const GLEBE_ACTIVATION_NONE: i32 = 3;

/// One band of class numbers: the channel with the greatest value, the lowest on ties; for a one-channel model 1
/// where the probability is greater than the threshold, else 0 (default).
pub const GLEBE_PRODUCT_CLASSES: i32 = 0;
/// One band a class with its probability.
pub const GLEBE_PRODUCT_PROBABILITIES: i32 = 1;
/// One band a channel with the model's raw output.
pub const GLEBE_PRODUCT_LOGITS: i32 = 2;

/// The model computes as its file has it, in float32 as a rule (default).
pub const GLEBE_PRECISION_MODEL: i32 = 0;
/// Weights and values between the nodes are float16; the report has the share of labels that are the same
/// ("label_agreement").
pub const GLEBE_PRECISION_FP16: i32 = 1;

/// On devices, where it can be done (default).
pub const GLEBE_FUSE_AUTO: i32 = 0;
/// Always; where it cannot be done it is GLEBE_STATUS_MODEL_UNSUPPORTED.
pub const GLEBE_FUSE_ON: i32 = 1;
/// Never.
pub const GLEBE_FUSE_OFF: i32 = 2;

/// A pixel is nodata when all bands that are read are (default).
pub const GLEBE_NODATA_RULE_ALL: i32 = 0;
/// A pixel is nodata when any of them is.
pub const GLEBE_NODATA_RULE_ANY: i32 = 1;

/// Cloud-Optimized GeoTIFF (default).
pub const GLEBE_FORMAT_COG: i32 = 0;
/// Tiled GeoTIFF without overviews.
pub const GLEBE_FORMAT_GTIFF: i32 = 1;

/// Deflate: read by everything (default).
pub const GLEBE_COMPRESSION_DEFLATE: i32 = 0;
/// LZW: faster and larger than Deflate, read by everything.
pub const GLEBE_COMPRESSION_LZW: i32 = 1;
/// Zstandard: faster and smaller than Deflate, not read by older programs.
pub const GLEBE_COMPRESSION_ZSTD: i32 = 2;
/// Samples as they are.
pub const GLEBE_COMPRESSION_NONE: i32 = 3;

/// What a scoring job is asked to do. Fill it with glebe_segment_options_init, then change what is wanted.
///
/// Everything that pointers point to must stay as it is until the job returns; the library keeps none of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_segment_options {
    /// sizeof(glebe_segment_options), set by the init function.
    pub struct_size: u32,
    /// Threads of the model. 0 (default): one a processor.
    pub threads: u32,
    /// The raster's bands (an array's channels), counted from 1, in the order of the model's channels.
    pub bands: *const u32,
    /// Their number. 0 (default): as the model's metadata says, else all that are not alpha.
    pub bands_len: usize,
    /// Divisors of the samples: the model is fed (x / scale - mean) / std. One value, or one a band.
    pub scale: *const f64,
    /// Their number. 0 (default): as the model's metadata says, else 1.
    pub scale_len: usize,
    /// Means in scaled units. One value, or one a band.
    pub mean: *const f64,
    /// Their number. 0 (default): as the model's metadata says, else 0.
    pub mean_len: usize,
    /// Standard deviations in scaled units. One value, or one a band.
    pub std: *const f64,
    /// Their number. 0 (default): as the model's metadata says, else 1.
    pub std_len: usize,
    /// Tile width in pixels of the model's input. 0 (default): the model's own where it is fixed, else 512 or less; with exact
    /// tiles the one that computes the fewest pixels twice within the memory.
    pub tile_width: u32,
    /// Tile height; 0 where and only where tile_width is 0.
    pub tile_height: u32,
    /// What neighbouring tiles share, in pixels of the model's input. -1 (default): overlap_share counts.
    pub overlap_px: i64,
    /// What neighbouring tiles share, as a share of the tile from 0 to below 1. Default 0.25.
    pub overlap_share: f64,
    /// How overlapping tiles become one map: GLEBE_BLEND_*.
    pub blend: i32,
    /// What the model sees past the raster's edge: GLEBE_PADDING_*.
    pub padding: i32,
    /// The value of GLEBE_PADDING_CONSTANT.
    pub padding_value: f64,
    /// Tiles a run. 0 (default): the model's own where it is fixed, else 1 on the processor and 4 on a device.
    pub batch: u32,
    /// How the output becomes probabilities: GLEBE_ACTIVATION_*.
    pub activation: i32,
    /// Where the model runs: "cpu", "cuda", "cuda:1", "tensorrt:0". NULL (default): "cpu". Strict: a provider that
    /// cannot be used is GLEBE_STATUS_PROVIDER_UNAVAILABLE, there is no fallback.
    pub provider: *const c_char,
    /// Names of options of the provider, as ONNX Runtime has them ("gpu_mem_limit").
    pub provider_option_keys: *const *const c_char,
    /// Their values.
    pub provider_option_values: *const *const c_char,
    /// Number of names and of values. Default 0.
    pub provider_options_len: usize,
    /// What is written: GLEBE_PRODUCT_*.
    pub product: i32,
    /// Sample type of the output: GLEBE_DATA_TYPE_*. Classes: U8 or U16; probabilities: F32, or U8 and U16 in steps
    /// of 1/254 and 1/65534; logits: F32. GLEBE_DATA_TYPE_DEFAULT: the first of these that fits.
    pub data_type: i32,
    /// A one-channel model's class 1 begins above this probability, 0 to 1. Default 0.5.
    pub threshold: f64,
    /// What invalid pixels get, where has_nodata is 1.
    pub nodata: f64,
    /// 1: nodata counts. 0 (default): the largest value of an integer type (255, 65535), NaN for F32.
    pub has_nodata: i32,
    /// Files only: when nodata values make a pixel invalid, GLEBE_NODATA_RULE_*.
    pub nodata_rule: i32,
    /// Files only: the output's format, GLEBE_FORMAT_*.
    pub format: i32,
    /// Files only: the output's compression, GLEBE_COMPRESSION_*. All are lossless.
    pub compression: i32,
    /// Files only: 1 replaces an existing output, and throws away what an interrupted job has left beside it (OUTPUT.part).
    /// 0 (default): either is GLEBE_STATUS_ALREADY_EXISTS.
    pub overwrite: i32,
    /// Files only: 1 goes on with what an interrupted job has left beside the output (OUTPUT.part), where there is something;
    /// of a job with another model, raster or options it is GLEBE_STATUS_MISMATCH, with what differs. The finished file has
    /// the bytes that it would have had without the interruption. Default 0.
    pub resume: i32,
    /// Files only: names of the classes, in order.
    pub class_names: *const *const c_char,
    /// Their number. 0 (default): those of the model's metadata.
    pub class_names_len: usize,
    /// Files only: short names of GDAL drivers that may read the input, beside GTiff, COG, PNG, JPEG and JP2OpenJPEG.
    /// A driver added here reads untrusted files with all it can: VRT opens what the file names.
    pub drivers: *const *const c_char,
    /// Their number. Default 0.
    pub drivers_len: usize,
    /// Stops the job when it is set. NULL (default): none.
    pub cancel: *const glebe_cancel_token,
    /// Told after every batch. NULL (default): none.
    pub progress: glebe_progress_fn,
    /// Passed to progress.
    pub progress_user_data: *mut c_void,
    /// Called once with progress_user_data before each call that was given this struct returns, whatever the outcome
    /// (also where progress is NULL). The only exception: a struct_size that no version has, with which nothing of the
    /// struct can be read. NULL (default): nothing to release.
    pub progress_destroy: glebe_destroy_fn,
    /// Bytes that the job's data may take, 1 MiB or more: tiles, tensors of the model's runs, what is kept of the raster, sums,
    /// queues, GDAL's blocks; not the program, its libraries and the model's weights. A job that cannot fit is
    /// GLEBE_STATUS_OUT_OF_MEMORY, with the least that would do. 0 (default): a quarter of what is free, at most 2 GiB.
    pub memory: u64,
    /// Files only: strength of the compression, 1 to 9 (Deflate) or 1 to 22 (Zstandard). 0 (default): 3 for Deflate, for
    /// Zstandard what GDAL takes.
    pub compression_level: u32,
    /// How precisely the model computes, GLEBE_PRECISION_....
    pub precision: i32,
    /// Whether conversion and normalisation of the samples become part of the model's graph, and the decision on classes
    /// where nothing is blended, GLEBE_FUSE_...: tiles then go to the device as they are in the raster, and come back as class
    /// numbers. The labels are the same. For samples of uint8, uint16 and int16.
    pub fuse: i32,
    /// Batches at the model at the same time, up to 16, each with a session of its own: on a device upload, run and download
    /// overlap; on the processor they share the threads. 0 (default): 2 on a device and for very small models, else 1.
    pub in_flight: u32,
    /// TensorRT only: a folder that keeps engines and their timings, so that later sessions start in seconds. Whoever can
    /// write to it can run code through them. NULL (default): nothing is kept.
    pub engine_cache: *const c_char,
}

layout!(
    glebe_segment_options, 296;
    struct_size 0, threads 4, bands 8, bands_len 16, scale 24, scale_len 32, mean 40, mean_len 48, std 56,
    std_len 64, tile_width 72, tile_height 76, overlap_px 80, overlap_share 88, blend 96, padding 100,
    padding_value 104, batch 112, activation 116, provider 120, provider_option_keys 128,
    provider_option_values 136, provider_options_len 144, product 152, data_type 156, threshold 160,
    nodata 168, has_nodata 176, nodata_rule 180, format 184, compression 188, overwrite 192, resume 196,
    class_names 200, class_names_len 208, drivers 216, drivers_len 224, cancel 232, progress 240,
    progress_user_data 248, progress_destroy 256, memory 264, compression_level 272, precision 276,
    fuse 280, in_flight 284, engine_cache 288
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), numbers, raw pointers and nullable functions.
unsafe impl Versioned for glebe_segment_options {
    const NAME: &'static str = "glebe_segment_options";
    const FIRST_SIZE: usize = offset_of!(Self, progress_destroy) + size_of::<glebe_destroy_fn>();

    fn defaults() -> Self {
        glebe_segment_options {
            struct_size: size_of::<Self>() as u32,
            threads: 0,
            bands: null(),
            bands_len: 0,
            scale: null(),
            scale_len: 0,
            mean: null(),
            mean_len: 0,
            std: null(),
            std_len: 0,
            tile_width: 0,
            tile_height: 0,
            overlap_px: -1,
            overlap_share: 0.25,
            blend: GLEBE_BLEND_AUTO,
            padding: GLEBE_PADDING_REFLECT,
            padding_value: 0.0,
            batch: 0,
            activation: GLEBE_ACTIVATION_AUTO,
            provider: null(),
            provider_option_keys: null(),
            provider_option_values: null(),
            provider_options_len: 0,
            product: GLEBE_PRODUCT_CLASSES,
            data_type: crate::ffi::image::GLEBE_DATA_TYPE_DEFAULT,
            threshold: 0.5,
            nodata: 0.0,
            has_nodata: 0,
            nodata_rule: GLEBE_NODATA_RULE_ALL,
            format: GLEBE_FORMAT_COG,
            compression: GLEBE_COMPRESSION_DEFLATE,
            overwrite: 0,
            resume: 0,
            class_names: null(),
            class_names_len: 0,
            drivers: null(),
            drivers_len: 0,
            cancel: null(),
            progress: None,
            progress_user_data: null_mut(),
            progress_destroy: None,
            memory: 0,
            compression_level: 0,
            precision: GLEBE_PRECISION_MODEL,
            fuse: GLEBE_FUSE_AUTO,
            in_flight: 0,
            engine_cache: null(),
        }
    }
}

/// Fills `options` with the defaults.
///
/// @param options  the struct to fill.
/// @param size     sizeof(glebe_segment_options).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_segment_options_init(
    options: *mut glebe_segment_options,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(options, size) }
}

/// The callback in the options, taken before anything can fail, so that its user data is released in every outcome.
///
/// # Safety
/// `options` is NULL or as the header's contract wants it.
pub(super) unsafe fn listener(options: *const glebe_segment_options) -> Listener {
    let silent = || Listener { told: None, data: UserData::new(null_mut(), None) };
    // SAFETY: by this function's contract.
    let Ok((given, _)) = (unsafe { read_known(options, "options") }) else { return silent() };
    Listener { told: given.progress, data: UserData::new(given.progress_user_data, given.progress_destroy) }
}

/// The options in the types of Rust.
pub(super) struct Asked {
    pub(super) options: SegmentOptions,
    pub(super) cancel: CancelToken,
    #[cfg(feature = "raster")]
    pub(super) files: crate::segment::FileOptions,
}

/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) that names the field.
///
/// # Safety
/// `options` is NULL or as the header's contract wants it.
pub(super) unsafe fn asked(options: *const glebe_segment_options) -> Result<Asked> {
    let given = match options.is_null() {
        true => glebe_segment_options::defaults(),
        // SAFETY: by this function's contract.
        false => unsafe { read_sized(options, "options")? },
    };
    // SAFETY: the pointers in the struct are as the header's contract wants them.
    unsafe {
        Ok(Asked {
            options: segment_options(&given)?,
            cancel: match given.cancel.is_null() {
                true => CancelToken::new(),
                false => borrow(given.cancel, "cancel")?.token().clone(),
            },
            #[cfg(feature = "raster")]
            files: file_options(&given)?,
        })
    }
}

/// # Safety
/// The pointers in the struct are as the header's contract wants them.
unsafe fn segment_options(given: &glebe_segment_options) -> Result<SegmentOptions> {
    let mut options = SegmentOptions::default();
    // SAFETY: by this function's contract.
    unsafe {
        options.scale = numbers("scale", given.scale, given.scale_len)?;
        options.mean = numbers("mean", given.mean, given.mean_len)?;
        options.std = numbers("std", given.std, given.std_len)?;
        options.bands = bands(given.bands, given.bands_len)?;
    }
    options.tile = match (given.tile_width, given.tile_height) {
        (0, 0) => None,
        (width, height) => Some(Size::new(width as usize, height as usize)),
    };
    options.overlap = match given.overlap_px {
        -1 => Overlap::Share(given.overlap_share),
        pixels => Overlap::Pixels(
            usize::try_from(pixels)
                .map_err(|_| Error::invalid(format!("overlap_px is {pixels}: expected -1, 0 or more")))?,
        ),
    };
    options.blend = pick(
        "blend",
        given.blend,
        &[
            (GLEBE_BLEND_CROP, Blend::Crop),
            (GLEBE_BLEND_GAUSSIAN, Blend::Gaussian),
            (GLEBE_BLEND_HANN, Blend::Hann),
            (GLEBE_BLEND_LINEAR, Blend::Linear),
            (GLEBE_BLEND_CONSTANT, Blend::Constant),
            (GLEBE_BLEND_EXACT, Blend::Exact),
            (GLEBE_BLEND_AUTO, Blend::Auto),
        ],
    )?;
    options.padding = pick(
        "padding",
        given.padding,
        &[
            (GLEBE_PADDING_REFLECT, Padding::Reflect),
            (GLEBE_PADDING_EDGE, Padding::Edge),
            (GLEBE_PADDING_CONSTANT, Padding::Constant(given.padding_value)),
        ],
    )?;
    options.batch = (given.batch != 0).then_some(given.batch as usize);
    options.threads = given.threads as usize;
    options.memory = (given.memory != 0).then_some(given.memory);
    // SAFETY: as above.
    options.provider = unsafe {
        provider(
            given.provider,
            given.provider_option_keys,
            given.provider_option_values,
            given.provider_options_len,
        )?
    };
    // SAFETY: as above.
    if let Some(folder) = unsafe { optional_text(given.engine_cache, "engine_cache")? } {
        options.provider = options.provider.with_engine_cache(folder)?;
    }
    options.precision = pick(
        "precision",
        given.precision,
        &[(GLEBE_PRECISION_MODEL, Precision::Model), (GLEBE_PRECISION_FP16, Precision::Fp16)],
    )?;
    options.fuse = pick(
        "fuse",
        given.fuse,
        &[(GLEBE_FUSE_AUTO, None), (GLEBE_FUSE_ON, Some(true)), (GLEBE_FUSE_OFF, Some(false))],
    )?;
    options.in_flight = (given.in_flight != 0).then_some(given.in_flight as usize);
    options.activation = pick(
        "activation",
        given.activation,
        &[
            (GLEBE_ACTIVATION_AUTO, Activation::Auto),
            (GLEBE_ACTIVATION_SOFTMAX, Activation::Softmax),
            (GLEBE_ACTIVATION_SIGMOID, Activation::Sigmoid),
            (GLEBE_ACTIVATION_NONE, Activation::None),
        ],
    )?;
    options.product = pick(
        "product",
        given.product,
        &[
            (GLEBE_PRODUCT_CLASSES, Product::Classes),
            (GLEBE_PRODUCT_PROBABILITIES, Product::Probabilities),
            (GLEBE_PRODUCT_LOGITS, Product::Logits),
        ],
    )?;
    options.data_type = data_type(given.data_type)?;
    options.threshold = given.threshold;
    options.nodata = flag("has_nodata", given.has_nodata)?.then_some(given.nodata);
    Ok(options)
}

/// # Safety
/// The pointers in the struct are as the header's contract wants them.
#[cfg(feature = "raster")]
unsafe fn file_options(given: &glebe_segment_options) -> Result<crate::segment::FileOptions> {
    use crate::ffi::boundary::texts;
    use crate::ffi::field::names;
    use crate::raster::{Compression, Format, NodataRule};

    let mut files = crate::segment::FileOptions::default();
    // SAFETY: by this function's contract.
    for driver in unsafe { texts(given.drivers, given.drivers_len, "drivers")? } {
        files.open = files.open.with_driver(driver);
    }
    files.nodata_rule = pick(
        "nodata_rule",
        given.nodata_rule,
        &[(GLEBE_NODATA_RULE_ALL, NodataRule::All), (GLEBE_NODATA_RULE_ANY, NodataRule::Any)],
    )?;
    files.format = pick(
        "format",
        given.format,
        &[(GLEBE_FORMAT_COG, Format::Cog), (GLEBE_FORMAT_GTIFF, Format::GTiff)],
    )?;
    files.compression = pick(
        "compression",
        given.compression,
        &[
            (GLEBE_COMPRESSION_DEFLATE, Compression::Deflate),
            (GLEBE_COMPRESSION_LZW, Compression::Lzw),
            (GLEBE_COMPRESSION_ZSTD, Compression::Zstd),
            (GLEBE_COMPRESSION_NONE, Compression::None),
        ],
    )?;
    files.overwrite = flag("overwrite", given.overwrite)?;
    files.resume = flag("resume", given.resume)?;
    files.level = match given.compression_level {
        0 => None,
        level => Some(
            u8::try_from(level)
                .map_err(|_| Error::invalid(format!("compression_level is {level}: expected 0 to 22")))?,
        ),
    };
    // SAFETY: by this function's contract.
    files.class_names = unsafe { names("class_names", given.class_names, given.class_names_len)? };
    Ok(files)
}
