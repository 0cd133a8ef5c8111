//! The door to scoring.

use std::ops::ControlFlow;

use crate::error::Result;
#[cfg(feature = "raster")]
use crate::geometry::Band;
use crate::model::{Model, Normalisation};
use crate::runtime::CancelToken;
use crate::segment::job::{Job, OnProgress, Progress};
use crate::segment::memory::Runs;
use crate::segment::options::SegmentOptions;
use crate::segment::report::Report;
use crate::segment::stream::{Sink, Source};

/// Scores rasters and arrays with one model and one set of options.
///
/// May be used for many jobs, one at a time; several segmenters may share a model from several threads.
pub struct Segmenter<'a> {
    pub(super) model: &'a Model,
    pub(super) options: SegmentOptions,
    cancel: CancelToken,
    progress: Option<Box<OnProgress<'a>>>,
    /// Which image of how many is at work.
    pub(super) image: (usize, usize),
    runs: Runs,
}

impl std::fmt::Debug for Segmenter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segmenter").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<'a> Segmenter<'a> {
    /// A segmenter for `model`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): an option that is wrong in itself.
    pub fn new(model: &'a Model, options: SegmentOptions) -> Result<Segmenter<'a>> {
        options.check()?;
        let segmenter = Segmenter {
            model,
            options,
            cancel: CancelToken::new(),
            progress: None,
            image: (0, 1),
            runs: Runs::default(),
        };
        segmenter.normalisation()?;
        Ok(segmenter)
    }

    /// Lets `token` stop the jobs of this segmenter, also in the middle of a run of the model.
    #[must_use]
    pub fn cancel_with(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// Calls `told` after every batch, on the thread that runs the job; `Break` cancels it.
    #[must_use]
    pub fn on_progress(mut self, told: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(Box::new(told));
        self
    }

    /// `(x / scale − mean) / std` as the options say, else the model's metadata, else samples as they are.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): values that are not finite, a scale or std of 0.
    pub fn normalisation(&self) -> Result<Normalisation> {
        let own = self.model.contract().normalisation();
        let pick = |asked: &Option<Vec<f64>>, own: &[f64]| asked.clone().unwrap_or_else(|| own.to_vec());
        Normalisation::new(
            pick(&self.options.scale, own.scale()),
            pick(&self.options.mean, own.mean()),
            pick(&self.options.std, own.std()),
        )
    }

    /// The bands to read, as the options say, else the model's metadata; `None` where neither does.
    #[cfg(feature = "raster")]
    pub(super) fn bands(&self) -> Option<Vec<Band>> {
        self.options.bands.clone().or_else(|| self.model.contract().bands().map(<[Band]>::to_vec))
    }

    #[cfg(feature = "raster")]
    pub(super) fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    pub(super) fn run(
        &mut self,
        channels: usize,
        source: &mut dyn Source,
        sink: &mut dyn Sink,
    ) -> Result<Report> {
        self.job(channels)?.run(source, sink)
    }

    /// Number of classes that the model tells apart, 2 for one of one channel: as its file says, else by a run on zeros
    /// with so many bands.
    #[cfg(feature = "raster")]
    pub(super) fn classes(&mut self, channels: usize) -> Result<usize> {
        let channels = match self.model.contract().output_channels() {
            Some(channels) => channels,
            None => self.job(channels)?.output_channels()?,
        };
        Ok(if channels == 1 { 2 } else { channels })
    }

    fn job(&mut self, channels: usize) -> Result<Job<'_, 'a>> {
        Ok(Job {
            model: self.model,
            options: &self.options,
            normalisation: self.normalisation()?,
            channels,
            cancel: &self.cancel,
            image: self.image,
            runs: &self.runs,
            progress: self.progress.as_deref_mut(),
        })
    }
}
