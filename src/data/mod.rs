//! Training samples: lists, label rasters and vectors, sampling, augmentation, batches.
//!
//! The room stands empty.
