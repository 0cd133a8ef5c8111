//! Where the batches of a run come from.

use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::data::{ArrayLoader, Batch, Loader, Split};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::batch::{batch, glebe_batch};
use crate::ffi::boundary::{
    Out, UserData, Versioned, borrow, free, glebe_destroy_fn, init, layout, read_known, read_sized, returned,
    slice, status,
};
use crate::ffi::error::glebe_error;
use crate::ffi::field::flag;
use crate::ffi::finetuning_options::{Asked, asked, glebe_finetuning_options};
use crate::ffi::fit;
use crate::ffi::status::glebe_status;
use crate::ffi::trainer::glebe_trainer;

/// Gives the batches of an epoch, one after the other, to one run at a time. Made from arrays, from functions or from rasters.
pub struct glebe_loader(Mutex<Box<dyn Loader + Send>>);

impl glebe_loader {
    fn boxed(loader: impl Loader + Send + 'static) -> *mut glebe_loader {
        Box::into_raw(Box::new(glebe_loader(Mutex::new(Box::new(loader)))))
    }

    /// The loader, for one run.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidState`] while another run has it, and after a panic.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Box<dyn Loader + Send>>> {
        self.0.try_lock().map_err(|error| {
            let message = match error {
                TryLockError::WouldBlock => {
                    "the loader is in use: a run needs each of its loaders for itself"
                }
                TryLockError::Poisoned(_) => {
                    "the loader cannot be used any more: an earlier run ended in an internal error"
                }
            };
            Error::new(ErrorKind::InvalidState, message)
        })
    }
}

/// Number of batches of an epoch; asked when the epoch has begun.
pub type glebe_loader_batches_fn = Option<unsafe extern "C" fn(user_data: *mut c_void) -> usize>;

/// An epoch begins: the order of its batches may follow from `seed`, which is another in every epoch, and the same when
/// a run goes on from a checkpoint. A return value other than 0 ends the run, see glebe_loader_functions.
pub type glebe_loader_begin_fn = Option<unsafe extern "C" fn(seed: u64, user_data: *mut c_void) -> i32>;

/// Batch `index` of the epoch, from 0. `batch` is initialised and empty: set its fields, of those within its struct_size.
/// The arrays must stay as they are until the next call of a function of this loader, or the end of the run. A return
/// value other than 0 ends the run, see glebe_loader_functions.
pub type glebe_loader_batch_fn =
    Option<unsafe extern "C" fn(index: usize, batch: *mut glebe_batch, user_data: *mut c_void) -> i32>;

/// How many images of batch `index` count, from 1 to N: the first ones; the others fill it up, and their pixels should be
/// masked. SIZE_MAX: all of them.
pub type glebe_loader_images_fn = Option<unsafe extern "C" fn(index: usize, user_data: *mut c_void) -> usize>;

/// The functions of a loader. Fill it with glebe_loader_functions_init, then set batches and batch.
///
/// They are called on the thread that runs the trainer. A return value of begin or batch other than 0 ends the run: with
/// that status where it is one of GLEBE_STATUS_* above GLEBE_STATUS_INTERNAL, else with GLEBE_STATUS_CANCELLED; the
/// message names the function and the value. They may call functions of the library, but none of the trainer that runs
/// (GLEBE_STATUS_INVALID_STATE), and must free neither it nor the loader. They must return normally: no C++ exception and
/// no longjmp may leave them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct glebe_loader_functions {
    /// sizeof(glebe_loader_functions), set by the init function.
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Number of batches. Must be set.
    pub batches: glebe_loader_batches_fn,
    /// An epoch begins. NULL (default): the order is always the same.
    pub begin: glebe_loader_begin_fn,
    /// A batch. Must be set.
    pub batch: glebe_loader_batch_fn,
    /// Images of a batch that count. NULL (default): all of them.
    pub images: glebe_loader_images_fn,
    /// Passed to the functions.
    pub user_data: *mut c_void,
    /// Called once with user_data: when the loader is freed, or before glebe_loader_new_functions returns where it fails.
    /// The only exception: a struct_size that no version has, with which nothing of the struct can be read. NULL
    /// (default): nothing to release.
    pub destroy: glebe_destroy_fn,
}

layout!(
    glebe_loader_functions, 56;
    struct_size 0, reserved 4, batches 8, begin 16, batch 24, images 32, user_data 40, destroy 48
);

// SAFETY: repr(C), its size first, fields without gaps (asserted above), numbers, raw pointers and nullable functions.
unsafe impl Versioned for glebe_loader_functions {
    const NAME: &'static str = "glebe_loader_functions";
    const FIRST_SIZE: usize = offset_of!(Self, destroy) + size_of::<glebe_destroy_fn>();

    fn defaults() -> Self {
        glebe_loader_functions {
            struct_size: size_of::<Self>() as u32,
            reserved: 0,
            batches: None,
            begin: None,
            batch: None,
            images: None,
            user_data: null_mut(),
            destroy: None,
        }
    }
}

/// Fills `functions` with the defaults: none.
///
/// @param functions  the struct to fill.
/// @param size       sizeof(glebe_loader_functions).
/// @return GLEBE_STATUS_INVALID_ARGUMENT for NULL or a size that no version has; what a later version has more is set to
///         zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_loader_functions_init(
    functions: *mut glebe_loader_functions,
    size: usize,
) -> glebe_status {
    // SAFETY: NULL or `size` writable bytes, by the header's contract.
    unsafe { init(functions, size) }
}

/// A loader of the program's own.
///
/// @param functions  its functions; copied.
/// @param out        the loader, to free with glebe_loader_free.
/// @param error      nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT where batches or batch is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_loader_new_functions(
    functions: *const glebe_loader_functions,
    out: *mut *mut glebe_loader,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        // Before anything can fail, so that it is released in every outcome.
        let data = match read_known(functions, "functions") {
            Ok((given, _)) => UserData::new(given.user_data, given.destroy),
            Err(_) => UserData::new(null_mut(), None),
        };
        status(error, || {
            let given = read_sized(functions, "functions")?;
            if given.reserved != 0 {
                return Err(Error::invalid("reserved is not 0"));
            }
            let missing = |name: &str| Error::invalid(format!("{name} is NULL"));
            let functions = Functions {
                batches: given.batches.ok_or_else(|| missing("batches"))?,
                begin: given.begin,
                batch: given.batch.ok_or_else(|| missing("batch"))?,
                images: given.images,
                data,
            };
            Out::new(out, "out")?.put(glebe_loader::boxed(functions));
            Ok(())
        })
    }
}

/// A loader of images and classes in memory, which are copied. The last batch is filled up with images of the first whose
/// pixels do not count, so that none is left out.
///
/// @param trainer     the trainer whose batches these are: it tells the sizes of images and labels. It may be freed before
///                    the loader.
/// @param images      [M, C, H, W], normalised as the model expects.
/// @param images_len  number of values: M * C * H * W.
/// @param labels      classes [M, H, W] in the size of the model's output.
/// @param labels_len  number of labels: M * H * W.
/// @param shuffled    1: in another order in every epoch, which the seed decides; 0: as they are.
/// @param out         the loader, to free with glebe_loader_free.
/// @param error       nullable.
/// @return GLEBE_STATUS_MISMATCH for arrays of wrong lengths; GLEBE_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_loader_new_arrays(
    trainer: *const glebe_trainer,
    images: *const f32,
    images_len: usize,
    labels: *const u8,
    labels_len: usize,
    shuffled: i32,
    out: *mut *mut glebe_loader,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let facts = borrow(trainer, "trainer")?.facts();
            let images = slice(images, images_len, "images")?;
            let labels = slice(labels, labels_len, "labels")?;
            let shuffled = flag("shuffled", shuffled)?;
            let out = Out::new(out, "out")?;
            let batch = facts.image_shape.first().copied().unwrap_or(0);
            let image_len = facts.image_shape.iter().skip(1).product();
            let label_len = facts.logits_shape.iter().skip(2).product();
            let loader = ArrayLoader::new(copied(images)?, copied(labels)?, batch, image_len, label_len)?;
            out.put(glebe_loader::boxed(if shuffled { loader.shuffled() } else { loader }));
            Ok(())
        })
    }
}

/// A loader of labelled rasters, cut into batches window by window by threads that work ahead: for a trainer of one's own,
/// what glebe_finetuning_run with this configuration would train on, validate on or test.
///
/// Of the configuration the sections `data`, `labels`, `sampling`, `augmentation` and `run` count, and of `training` the
/// seed, and steps, epochs and accumulation as far as they say how many samples an epoch has. Its model, and `resume` and
/// `cancel` of the options, do not.
///
/// @param trainer  the trainer whose batches these are: it tells the sizes of images and labels and the classes, and its
///                 model the bands and the normalisation where the configuration does not. It may be freed before the
///                 loader.
/// @param options  where the data are and what becomes of them.
/// @param split    which part: GLEBE_SPLIT_TRAIN, _VAL or _TEST.
/// @param out      the loader, to free with glebe_loader_free.
/// @param error    nullable.
/// @return as glebe_finetuning_new; GLEBE_STATUS_INVALID_ARGUMENT for a part that the configuration does not have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_loader_new_rasters(
    trainer: *const glebe_trainer,
    options: *const glebe_finetuning_options,
    split: i32,
    out: *mut *mut glebe_loader,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let asked = asked(options)?;
            let split = fit::split(split)?;
            let out = Out::new(out, "out")?;
            out.put(rasters(trainer, &asked, split)?);
            Ok(())
        })
    }
}

#[cfg(feature = "raster")]
fn rasters(trainer: &glebe_trainer, asked: &Asked<'_>, split: Split) -> Result<*mut glebe_loader> {
    let facts = trainer.facts();
    let (images, logits) = (&facts.image_shape, &facts.logits_shape);
    Ok(glebe_loader::boxed(asked.config()?.loader(split, trainer.contract(), images, logits)?))
}

#[cfg(not(feature = "raster"))]
fn rasters(_: &glebe_trainer, _: &Asked<'_>, _: Split) -> Result<*mut glebe_loader> {
    let message = "this build of glebe reads no files: it lacks the feature raster";
    Err(Error::new(ErrorKind::NotSupported, message))
}

fn copied<T: Copy>(values: &[T]) -> Result<Vec<T>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(values.len()).map_err(|_| {
        Error::new(ErrorKind::OutOfMemory, format!("no memory for a loader of {} values", values.len()))
    })?;
    copy.extend_from_slice(values);
    Ok(copy)
}

/// Frees the loader. No run that was given it may still be at work.
///
/// @param loader  nullable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_loader_free(loader: *mut glebe_loader) {
    // SAFETY: NULL or a loader that is not used afterwards, by the header's contract.
    unsafe { free(loader, |_| false) }
}

/// A loader of the program's own.
struct Functions {
    batches: unsafe extern "C" fn(*mut c_void) -> usize,
    begin: glebe_loader_begin_fn,
    batch: unsafe extern "C" fn(usize, *mut glebe_batch, *mut c_void) -> i32,
    images: glebe_loader_images_fn,
    data: UserData,
}

impl Loader for Functions {
    fn batches(&self) -> usize {
        // SAFETY: the program gave the two together for this loader.
        unsafe { (self.batches)(self.data.pointer()) }
    }

    fn begin(&mut self, seed: u64) -> Result<()> {
        let Some(begin) = self.begin else { return Ok(()) };
        // SAFETY: the program gave the two together for this loader.
        let code = unsafe { begin(seed, self.data.pointer()) };
        returned(code, || "the loader's begin function".to_owned())
    }

    fn batch(&mut self, index: usize) -> Result<Batch<'_>> {
        let mut given = glebe_batch::defaults();
        // SAFETY: the program gave function and data together for this loader; the struct is writable.
        let code = unsafe { (self.batch)(index, &raw mut given, self.data.pointer()) };
        returned(code, || format!("the loader's batch function, for batch {index},"))?;
        // SAFETY: the arrays stay until the next call of the loader, by the header's contract.
        unsafe { batch(&raw const given) }.map_err(|error| {
            Error::new(error.kind(), format!("the loader's batch {index} is wrong")).caused_by(error)
        })
    }

    fn images(&self, index: usize) -> Option<usize> {
        // SAFETY: the program gave the two together for this loader.
        let count = unsafe { self.images?(index, self.data.pointer()) };
        (count != usize::MAX).then_some(count)
    }
}
