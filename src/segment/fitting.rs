//! Tiles whose job fits into the memory, and the least limit that would do where none fit.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::ProviderKind;
use crate::segment::job::Job;
use crate::segment::memory::{Memory, Needs};
use crate::segment::options::SegmentOptions;
use crate::segment::runner::Probe;
use crate::segment::setup::Tiled;
use crate::segment::stream::{Sink, Source};
use crate::tiling::{Blend, Lanes};

const MIB: u64 = 1 << 20;

/// A job that fits.
pub(super) struct Fitting {
    pub(super) tiled: Tiled,
    pub(super) lanes: Lanes,
    pub(super) memory: Memory,
    /// Batches at the model at the same time.
    pub(super) in_flight: usize,
    pub(super) batch: usize,
    /// Whether runs must always have `batch` tiles.
    pub(super) fixed_batch: bool,
}

/// A job that does not.
pub(super) struct Shortage {
    /// What it would need, with the tiles that need least.
    pub(super) memory: Memory,
    /// What there is, in bytes.
    pub(super) limit: u64,
}

impl Shortage {
    /// The error, where `least` bytes would do.
    fn error(&self, least: u64, asked: bool) -> Error {
        let what = if asked { "the limit" } else { "what is free" };
        let less = match self.memory.scoring() <= self.limit {
            true => "fewer or smaller samples",
            false => "smaller tiles or a smaller batch",
        };
        Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "the job does not fit, {what} is {} MiB: expected a limit of at least {} MiB, {less} ({})",
                self.limit / MIB,
                least.div_ceil(MIB),
                self.memory.shares()
            ),
        )
    }
}

impl Job<'_, '_> {
    /// Chooses tiles that fit.
    ///
    /// # Errors
    /// Of options that do not fit the model, of a model that does not fit the raster, of the runtime, and
    /// [`ErrorKind::OutOfMemory`] with the least limit that would do.
    pub(super) fn fit(&self, probe: &mut Probe<'_>, source: &dyn Source, sink: &dyn Sink) -> Result<Fitting> {
        match self.fitting(probe, source, sink)? {
            Ok(fitting) => Ok(fitting),
            Err(shortage) => {
                let least = self.least_limit(&shortage, probe, source, sink)?;
                Err(shortage.error(least, self.options.memory.is_some()))
            }
        }
    }

    /// The tiles that fit, or what the cheapest of those that were tried need.
    fn fitting(
        &self,
        probe: &mut Probe<'_>,
        source: &dyn Source,
        sink: &dyn Sink,
    ) -> Result<std::result::Result<Fitting, Shortage>> {
        let batch = self.batch()?;
        // On a device another number of tiles is another shape: new buffers, another search for the best kernels.
        let device = self.options.provider.kind() != ProviderKind::Cpu;
        let fixed_batch = device || self.model.contract().batch().is_some();
        let mut most = self.tensor_budget();
        let mut cheapest: Option<Shortage> = None;
        loop {
            let tiled = self.tiled(probe, source.size(), batch, most)?;
            let Tiled { ref plan, placement, ref encoding, blend, tile, .. } = tiled;
            // No more room than there are tiles for.
            let room = if fixed_batch { batch } else { plan.len().min(batch as u64) as usize };
            let making = sink.making_bytes((plan.raster(), encoding.bands(), encoding.data_type));
            let needs = Needs { source, plan, placement, encoding, blend, tile, batch: room, making };
            match self.lanes(&needs) {
                Ok((lanes, memory)) => {
                    let in_flight = self.in_flight(needs.batches());
                    return Ok(Ok(Fitting { tiled, lanes, memory, in_flight, batch: room, fixed_batch }));
                }
                // Smaller tiles may do where their size is left to us.
                Err(shortage) => {
                    tracing::debug!("tiles of {tile} do not fit: {}", shortage.memory.shares());
                    let shortage = match cheapest.take() {
                        Some(other) if other.memory.least() <= shortage.memory.least() => other,
                        _ => shortage,
                    };
                    match self.smaller(source.size(), batch, most) {
                        Some(smaller) => (most, cheapest) = (smaller, Some(shortage)),
                        None => return Ok(Err(shortage)),
                    }
                }
            }
        }
    }

    /// The least limit, in whole MiB, that the job fits into. Which tiles are tried depends on the limit where their size is
    /// left to us, so what those need that were tried is only where the search begins.
    fn least_limit(
        &self,
        shortage: &Shortage,
        probe: &mut Probe<'_>,
        source: &dyn Source,
        sink: &dyn Sink,
    ) -> Result<u64> {
        let told = shortage.memory.least();
        let Some(asked) = self.options.memory else { return Ok(told) };
        let depends = matches!(self.options.blend, Blend::Exact | Blend::Auto)
            && self.exact(source.size(), self.batch()?, u64::MAX).is_ok();
        if !depends {
            return Ok(told);
        }
        let mut fits = |limit: u64| -> Result<bool> {
            self.cancel.check()?;
            let options = SegmentOptions { memory: Some(limit * MIB), ..self.options.clone() };
            Ok(self.with(&options).fitting(probe, source, sink)?.is_ok())
        };
        let (mut low, mut high) = (asked / MIB, told / MIB);
        while !fits(high)? {
            (low, high) = (high, high + high.div_ceil(8));
        }
        while high - low > 1 {
            let middle = low.midpoint(high);
            if fits(middle)? { high = middle } else { low = middle }
        }
        Ok(high * MIB)
    }

    /// The same job with other options.
    fn with<'b>(&'b self, options: &'b SegmentOptions) -> Job<'b, 'b> {
        Job {
            model: self.model,
            options,
            normalisation: self.normalisation.clone(),
            channels: self.channels,
            cancel: self.cancel,
            image: self.image,
            runs: self.runs,
            progress: None,
        }
    }
}
