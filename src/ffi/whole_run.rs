//! A training with a test behind it, and predictions with their metrics.

use crate::data::Loader;
use crate::ffi::boundary::{Out, borrow, status};
use crate::ffi::error::glebe_error;
use crate::ffi::fit::{locked, optional};
use crate::ffi::loader::glebe_loader;
use crate::ffi::metrics::glebe_metrics;
use crate::ffi::status::glebe_status;
use crate::ffi::trainer::glebe_trainer;

/// As glebe_trainer_fit; then the weights of best.safetensors come back, where checkpoint_best says which those are, and the
/// test data are tested. The log tells the numbers of samples before, and warns where there are no test data.
///
/// @param trainer     the trainer.
/// @param train       the batches to train on.
/// @param validation  nullable: the batches to validate on.
/// @param test        nullable: the batches to test on. No loader may be given twice.
/// @param metrics     nullable: those of the test, to free with glebe_metrics_free; NULL without test data.
/// @param error       nullable.
/// @return as glebe_trainer_fit and glebe_trainer_test.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_fit_and_test(
    trainer: *mut glebe_trainer,
    train: *mut glebe_loader,
    validation: *mut glebe_loader,
    test: *mut glebe_loader,
    metrics: *mut *mut glebe_metrics,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let mut train = locked(train, "train")?;
            let mut validation = optional(validation, "validation")?;
            let mut test = optional(test, "test")?;
            let found = trainer.enter(|work| {
                let validation = validation.as_mut().map(|own| &mut ***own as &mut dyn Loader);
                let test = test.as_mut().map(|own| &mut ***own as &mut dyn Loader);
                work.prepared()?.fit_and_test(&mut **train, validation, test)
            })?;
            if let Ok(metrics) = Out::new(metrics, "metrics") {
                metrics.put(found.map_or(std::ptr::null_mut(), glebe_metrics::boxed));
            }
            Ok(())
        })
    }
}

/// Predicts all images and gives metrics as delira does: means over virtual batches, whatever the trainer's batch size; the
/// last one is as small as what is left. glebe_trainer_test scores all images at once, which is what a result should go by.
/// Event functions have the logits at GLEBE_EVENT_PREDICTION_END.
///
/// @param trainer        the trainer.
/// @param data           the batches.
/// @param virtual_batch  images of a virtual batch, 1 or more.
/// @param metrics        the metrics, to free with glebe_metrics_free.
/// @param error          nullable.
/// @return GLEBE_STATUS_INVALID_ARGUMENT for a virtual batch of 0; as glebe_trainer_predict.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glebe_trainer_predict_all(
    trainer: *mut glebe_trainer,
    data: *mut glebe_loader,
    virtual_batch: usize,
    metrics: *mut *mut glebe_metrics,
    error: *mut *mut glebe_error,
) -> glebe_status {
    // SAFETY: all pointers are NULL or as the header's contract wants them.
    unsafe {
        status(error, || {
            let trainer = borrow(trainer, "trainer")?;
            let mut data = locked(data, "data")?;
            let metrics = Out::new(metrics, "metrics")?;
            let found = trainer.enter(|work| work.trainer.predict_all(&mut **data, Some(virtual_batch)))?;
            metrics.put(glebe_metrics::boxed(found.metrics));
            Ok(())
        })
    }
}
