//! How a data set becomes batches.

use crate::data::augmentation::Augmentation;
use crate::data::sampling::Sampling;
use crate::error::{Error, ErrorKind, Result};

/// Images of an epoch at most: their order is kept in memory.
const MOST_SAMPLES: usize = 100_000_000;

/// How a data set becomes batches.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoaderOptions {
    /// Images of a batch.
    pub batch: usize,
    /// Height and width of the images in pixels.
    pub size: [usize; 2],
    /// Height and width of the labels: those of the model's output. Where they differ from `size`, a label is that of the
    /// pixel in the middle of its place.
    pub label_size: [usize; 2],
    /// Where windows lie.
    pub sampling: Sampling,
    /// Pixels from one window of a grid to the next, along y and x. Default: `size`.
    pub stride: Option<[usize; 2]>,
    /// Shares of the classes in [`Sampling::Balanced`]; empty: all the same.
    pub class_shares: Vec<f64>,
    /// Windows with a smaller annotated share, in per cent, are left out; of a random or balanced sampling, blocks of the
    /// size of a window in which no window is begun. Annotated are the pixels whose label counts and is not class 0, or,
    /// with vector labels that count within features only, all whose label counts. Windows in which no label counts are
    /// always left out.
    pub min_annotated: f64,
    /// Images of an epoch. Default: the windows of the grid, or as many as a grid of this size would have. More than there
    /// are of a grid come round again; 100 million at most.
    pub samples: Option<usize>,
    /// Whether windows of a grid come in another order in every epoch.
    pub shuffle: bool,
    /// Whether a pixel that lies in several windows of a grid counts in the first of them only, so that scores count
    /// every pixel once.
    pub once: bool,
    /// What happens to samples.
    pub augmentation: Augmentation,
    /// Threads that make samples ahead of time; 0: none, samples are made when they are asked for.
    pub threads: usize,
    /// Batches that are made ahead of time at most, 1 or more.
    pub ahead: usize,
}

impl LoaderOptions {
    /// For training: a grid in another order in every epoch.
    pub fn training(batch: usize, size: [usize; 2]) -> LoaderOptions {
        LoaderOptions {
            batch,
            size,
            label_size: size,
            sampling: Sampling::Grid,
            stride: None,
            class_shares: Vec::new(),
            min_annotated: 0.0,
            samples: None,
            shuffle: true,
            once: false,
            augmentation: Augmentation::default(),
            threads: 2,
            ahead: 3,
        }
    }

    /// For validation and tests: a grid in its order, every pixel once.
    pub fn evaluation(batch: usize, size: [usize; 2]) -> LoaderOptions {
        LoaderOptions { shuffle: false, once: true, ..LoaderOptions::training(batch, size) }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.batch == 0 || self.ahead == 0 {
            return Err(Error::invalid("expected 1 image a batch and 1 batch ahead, or more; got 0"));
        }
        if self.size.contains(&0) || self.label_size.contains(&0) {
            return Err(Error::invalid("expected images and labels of 1 pixel or more, got 0"));
        }
        if self.stride.is_some_and(|stride| stride.contains(&0)) {
            return Err(Error::invalid("expected a stride of 1 pixel or more, got 0"));
        }
        if self.once
            && let Some([y, x]) = self.stride
            && (y > self.size[0] || x > self.size[1])
        {
            let message =
                format!("expected a stride of {} x {} at most, got {x} x {y}", self.size[1], self.size[0]);
            return Err(Error::invalid(message));
        }
        if !(0.0..=100.0).contains(&self.min_annotated) {
            let message =
                format!("expected an annotated share from 0 to 100 per cent, got {}", self.min_annotated);
            return Err(Error::invalid(message));
        }
        match self.samples {
            Some(0) => return Err(Error::invalid("expected 1 sample an epoch or more, got 0")),
            Some(samples) if samples > MOST_SAMPLES => {
                let message = format!(
                    "expected at most {MOST_SAMPLES} samples an epoch, got {samples}: more epochs have shorter ones"
                );
                return Err(Error::new(ErrorKind::LimitExceeded, message));
            }
            _ => {}
        }
        self.augmentation.check()
    }
}
