//! The job: read → normalise → batch → run → blend or crop → decide → write.
//!
//! Four threads: one reads and prepares, the caller's runs the model, one lays tiles down, one writes. Between them are
//! queues of one batch, so that none runs ahead; each stops where its neighbour does.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use ndarray::{ArrayViewMut4, Axis};

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Padding;
use crate::metrics::{Stopwatch, peak_rss_mib};
use crate::model::{Model, Normalisation, PooledSession};
use crate::runtime::{CancelToken, OutputData, OutputTensor, Session, SessionOptions};
use crate::segment::canvas::{Canvas, Pending};
use crate::segment::memory::Runs;
use crate::segment::options::{Activation, Product, SegmentOptions};
use crate::segment::reading::{Batch, ReadMeasures, Reader};
use crate::segment::report::Report;
use crate::segment::setup::{Setup, output_shape};
use crate::segment::stream::{Layout, Sink, Source};
use crate::segment::writing::{Output, Written, written};
use crate::tensor::DataType;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Tiles done.
    pub done: u64,
    /// Tiles of the job.
    pub total: u64,
    /// Time since the job began.
    pub elapsed: Duration,
    /// The image at work, from 0, where a data set is evaluated: each is a job of its own.
    pub image: usize,
    /// Their number; 1 for a single raster or array.
    pub images: usize,
}

/// Told after every batch; `Break` cancels the job.
pub(super) type OnProgress<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + Send + 'a;

/// What a job needs beside source and sink.
pub(super) struct Job<'a, 'p> {
    pub(super) model: &'a Model,
    pub(super) options: &'a SegmentOptions,
    pub(super) normalisation: Normalisation,
    /// Bands read.
    pub(super) channels: usize,
    pub(super) cancel: &'a CancelToken,
    /// Which image of how many it is.
    pub(super) image: (usize, usize),
    /// What is known of the model's runs.
    pub(super) runs: &'a Runs,
    pub(super) progress: Option<&'a mut OnProgress<'p>>,
}

/// What was measured on the way.
#[derive(Debug, Default)]
struct Measures {
    read: ReadMeasures,
    model: Stopwatch,
    place: Stopwatch,
    batches: u64,
    /// Whether an output left 0 to 1, as raw scores do and probabilities do not.
    beyond_unit: bool,
    setup: Duration,
}

/// What the model gave for a batch.
struct Scored {
    tiles: Vec<Pending>,
    /// `None` where no tile had data.
    values: Option<OutputTensor>,
    end: u64,
}

impl Job<'_, '_> {
    /// Runs the job and fills in what of the report it knows; the caller adds files and total time.
    pub(super) fn run(mut self, source: &mut dyn Source, sink: &mut dyn Sink) -> Result<Report> {
        let start = Instant::now();
        self.cancel.check()?;
        let contract = self.model.contract();
        contract.check_channels(self.channels)?;
        self.normalisation.check_bands(self.channels)?;
        self.check_padding(source.data_type())?;
        // Wrong combinations of a fixed and an asked size are refused, whatever is made of them.
        self.tile_size()?;
        let facts = sink.asks_for_facts();
        let mut session = std::thread::scope(|scope| {
            // Both take a while, and the runtime prepares a model on one thread.
            let model = self.model;
            let fingerprint = facts.then(|| scope.spawn(|| model.fingerprint().map(|_| ())));
            let session = self.session()?;
            match fingerprint.map(std::thread::ScopedJoinHandle::join) {
                Some(Err(_)) => Err(Error::internal("the fingerprint panicked")),
                Some(Ok(known)) => known.map(|()| session),
                None => Ok(session),
            }
        })?;
        let setup = self.set_up(&mut session, source)?;
        let layout = Layout {
            size: setup.plan.raster(),
            bands: setup.encoding.bands(),
            data_type: setup.encoding.data_type,
            nodata: setup.encoding.nodata,
            scale: (setup.placement.output_step, setup.placement.input_step),
            unit: setup.encoding.unit(),
            classes: (setup.encoding.bands() == 1 && setup.encoding.product == Product::Classes)
                .then(|| setup.encoding.classes()),
            channels: setup.encoding.channels,
            steps: setup.lanes.len(),
            facts: if facts { self.facts(&setup)? } else { Vec::new() },
        };
        let ready = start.elapsed();
        let (mut measures, done) = written(sink, &setup.encoding, &layout, |output, first| {
            self.tiles(&mut session, &setup, source, output, first, start)
        })?;
        measures.setup = ready;
        Ok(self.report(&setup, source, &measures, &done, start.elapsed()))
    }

    /// Channels of the model's output, by a run on zeros where the file does not say.
    #[cfg(feature = "raster")]
    pub(super) fn output_channels(&self) -> Result<usize> {
        self.model.contract().check_channels(self.channels)?;
        let batch = self.model.contract().batch().unwrap_or(1);
        let (channels, _) = self.observe(&mut *self.session()?, self.tile_size()?, batch)?;
        Ok(channels)
    }

    fn session(&self) -> Result<PooledSession> {
        let options = SessionOptions {
            provider: self.options.provider.clone(),
            threads: self.options.threads(),
            ..Default::default()
        };
        let mut session = self.model.session(&options)?;
        session.cancel_with(self.cancel)?;
        Ok(session)
    }

    /// Refuses a padding value that the raster's samples cannot have, rather than padding with another one.
    fn check_padding(&self, data_type: DataType) -> Result<()> {
        let Padding::Constant(value) = self.options.padding else { return Ok(()) };
        let fits = |low: f64, high: f64| value.fract() == 0.0 && (low..=high).contains(&value);
        let fits = match data_type {
            DataType::U8 => fits(0.0, f64::from(u8::MAX)),
            DataType::U16 => fits(0.0, f64::from(u16::MAX)),
            DataType::I16 => fits(f64::from(i16::MIN), f64::from(i16::MAX)),
            DataType::U32 => fits(0.0, f64::from(u32::MAX)),
            DataType::I32 => fits(f64::from(i32::MIN), f64::from(i32::MAX)),
            DataType::U64 => fits(0.0, u64::MAX as f64),
            DataType::I64 => fits(i64::MIN as f64, i64::MAX as f64),
            DataType::F32 | DataType::F64 => true,
        };
        if fits {
            Ok(())
        } else {
            Err(Error::invalid(format!("padding value {value} is no {data_type} value")))
        }
    }

    /// All tiles from step `first` on, whose blocks are not there yet.
    fn tiles(
        &mut self,
        session: &mut Session,
        setup: &Setup,
        source: &mut dyn Source,
        output: &Output,
        first: u64,
        start: Instant,
    ) -> Result<Measures> {
        if first >= setup.lanes.len() {
            return Ok(Measures::default());
        }
        let begin = setup.lanes.restart(first);
        let normalisation = self.normalisation.clone();
        let (channels, cancel) = (self.channels, self.cancel);
        std::thread::scope(|scope| {
            let (batches, waiting) = sync_channel(1);
            let (spare, spares) = channel();
            let (scored, to_place) = sync_channel(1);
            let reading = scope.spawn({
                let normalisation = &normalisation;
                move || {
                    Reader { setup, normalisation, channels, cancel }.run(source, begin, &batches, &spares)
                }
            });
            let placing = scope.spawn(move || place(setup, &to_place, output, first));
            let model = self.model_runs(session, setup, waiting, (spare, scored), start);
            let placed = placing.join().map_err(|_| Error::internal("laying tiles down panicked"))?;
            let read = reading.join().map_err(|_| Error::internal("the reader panicked"))?;
            // Each stage ends quietly where another has failed; that one has the error.
            let (place, beyond_unit) = placed?;
            let (model, batches) = model?;
            Ok(Measures { read: read?, model, place, batches, beyond_unit, setup: Duration::ZERO })
        })
    }

    /// Runs the model on the batches as they come, in the caller's thread. Gives the time it took and the number of runs.
    fn model_runs(
        &mut self,
        session: &mut Session,
        setup: &Setup,
        batches: Receiver<Batch>,
        (spare, scored): (Sender<Vec<f32>>, SyncSender<Scored>),
        start: Instant,
    ) -> Result<(Stopwatch, u64)> {
        let mut clock = Stopwatch::default();
        let mut runs = 0;
        let tile_len = self.channels * setup.tile.width * setup.tile.height;
        for Batch { tiles, filled, input, end } in batches {
            self.cancel.check()?;
            let values = match filled {
                0 => None,
                filled => {
                    let number = if setup.fixed_batch { setup.batch } else { filled };
                    let run =
                        clock.time(|| self.run_batch(session, setup, &input[..number * tile_len], number));
                    let first = tiles.first().map_or(0, |own| own.step.tile.number);
                    runs += 1;
                    Some(run.map_err(|error| error.at_tile(first))?)
                }
            };
            // The reader may have ended already.
            let _ = spare.send(input);
            if scored.send(Scored { tiles, values, end }).is_err() {
                return Ok((clock, runs));
            }
            if let Some(progress) = &mut self.progress {
                let (image, images) = self.image;
                let total = setup.lanes.len();
                let now = Progress { done: end, total, elapsed: start.elapsed(), image, images };
                if progress(&now).is_break() {
                    return Err(Error::new(ErrorKind::Cancelled, "cancelled by the caller"));
                }
            }
        }
        self.cancel.check()?;
        Ok((clock, runs))
    }

    fn run_batch(
        &self,
        session: &mut Session,
        setup: &Setup,
        input: &[f32],
        tiles: usize,
    ) -> Result<OutputTensor> {
        let shape = [tiles, self.channels, setup.tile.height, setup.tile.width];
        let output = self.model.contract().output();
        let values = session.score(input, shape, output)?;
        let (channels, size) = output_shape(values.shape(), tiles)?;
        let map = setup.plan.tile_size();
        if channels != setup.encoding.channels || size != map {
            let expected = [tiles, setup.encoding.channels, map.height, map.width];
            return Err(Error::new(
                ErrorKind::ModelUnsupported,
                format!(
                    "the model's output {:?} is not the {expected:?} seen or declared before",
                    values.shape()
                ),
            )
            .at_tensor(output));
        }
        Ok(values)
    }

    fn report(
        &self,
        setup: &Setup,
        source: &dyn Source,
        measures: &Measures,
        written: &Written,
        wall: Duration,
    ) -> Report {
        let raster = source.size();
        let map = setup.plan.raster();
        Report {
            glebe: env!("CARGO_PKG_VERSION").into(),
            onnxruntime: self.model.runtime().version().into(),
            model: self.model.path().map(Into::into),
            input: None,
            output: None,
            width: raster.width,
            height: raster.height,
            pixels: raster.pixels(),
            map_size: [map.width, map.height],
            bands: Vec::new(),
            scale: self.normalisation.scale().to_vec(),
            mean: self.normalisation.mean().to_vec(),
            std: self.normalisation.std().to_vec(),
            tiles: setup.plan.len(),
            tiles_skipped: measures.read.skipped,
            tiles_resumed: written.first,
            tiles_computed: setup.lanes.computed(),
            lanes: setup.lanes.lanes(),
            batches: measures.batches,
            batch: setup.batch,
            tile: setup.tile.width,
            tile_height: setup.tile.height,
            overlap: setup.overlap.0,
            overlap_height: setup.overlap.1,
            blend: setup.blend.to_string(),
            blend_reason: setup.reason.clone(),
            recomputed: setup.plan.recomputed(),
            padding: self.options.padding.to_string(),
            product: setup.encoding.product.to_string(),
            activation: setup.encoding.activation.to_string(),
            classes: setup.encoding.classes(),
            class_pixels: written.class_pixels.clone(),
            nodata_pixels: written.nodata_pixels(),
            data_type: setup.encoding.data_type.to_string(),
            nodata: setup.encoding.nodata,
            provider: self.options.provider.to_string(),
            threads: self.options.threads(),
            wall_s: wall.as_secs_f64(),
            model_s: measures.model.seconds(),
            read_s: measures.read.read.seconds(),
            write_s: written.clock.seconds(),
            setup_s: measures.setup.as_secs_f64(),
            prepare_s: measures.read.prepare.seconds(),
            place_s: measures.place.seconds(),
            finish_s: 0.0,
            bottleneck: bottleneck(measures, written).to_owned(),
            read_amplification: source
                .pixels_read()
                .filter(|_| written.first == 0)
                .map(|read| read as f64 / raster.pixels() as f64),
            bytes_read: source
                .pixels_read()
                .map(|pixels| pixels * (self.channels * source.data_type().bytes()) as u64),
            bytes_written: None,
            memory_budget_mib: setup.memory.budget as f64 / f64::from(1 << 20),
            memory_predicted_mib: setup.memory.predicted() as f64 / f64::from(1 << 20),
            mpx_per_s: raster.pixels() as f64 / 1e6 / wall.as_secs_f64().max(1e-9),
            peak_rss_mib: peak_rss_mib(),
            notes: self.notes(source, setup, measures),
        }
    }

    /// What the user should know about the result.
    fn notes(&self, source: &dyn Source, setup: &Setup, measures: &Measures) -> Vec<String> {
        let mut notes = Vec::new();
        let activated = self.options.activation == Activation::Auto
            && setup.encoding.activation != Activation::None
            && setup.encoding.product != Product::Logits;
        if activated && measures.batches > 0 && !measures.beyond_unit {
            notes.push(format!(
                "all outputs lie in 0 to 1 and a {} was applied: if the model gives probabilities already, ask for activation none",
                setup.encoding.activation
            ));
        }
        if self.normalisation.is_identity() && source.data_type().is_integer() {
            notes.push(format!(
                "the model was fed raw {} values: if it was trained on scaled ones, give scale, mean and std",
                source.data_type()
            ));
        }
        notes
    }
}

/// The stage that was busy longest: the others wait for it.
fn bottleneck(measures: &Measures, written: &Written) -> &'static str {
    let stages = [
        ("model", measures.model.seconds()),
        ("reading", measures.read.read.seconds() + measures.read.prepare.seconds()),
        ("placing", measures.place.seconds()),
        ("writing", written.clock.seconds()),
    ];
    stages.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or("model", |(name, _)| name)
}

/// Lays down what the model gave. Gives the time it took, and whether a value left 0 to 1.
fn place(setup: &Setup, scored: &Receiver<Scored>, output: &Output, first: u64) -> Result<(Stopwatch, bool)> {
    let mut clock = Stopwatch::default();
    let mut beyond_unit = false;
    let mut canvas = Canvas::new(setup, first)?;
    let map = setup.plan.tile_size();
    for Scored { tiles, mut values, end } in scored {
        let start = Instant::now();
        let mut halves = match values.as_ref().map(OutputTensor::data) {
            Some(OutputData::F16(values)) => values.iter().map(|value| value.to_f32()).collect(),
            _ => Vec::new(),
        };
        let number = values.as_ref().map_or(0, |values| values.shape()[0]);
        let samples = match values.as_mut().and_then(OutputTensor::f32_mut) {
            Some(samples) => samples,
            None => &mut halves,
        };
        // Ends at the first value of a network that gives raw scores.
        beyond_unit = beyond_unit || samples.iter().any(|value| !(0.0..=1.0).contains(value));
        let shape = [number, setup.encoding.channels, map.height, map.width];
        let mut samples = ArrayViewMut4::from_shape(shape, samples)
            .map_err(|error| Error::internal("output shape").caused_by(error))?;
        for pending in &tiles {
            let values = pending.slot.map(|slot| samples.index_axis_mut(Axis(0), slot));
            let placed = canvas.place(pending, values, output);
            placed.map_err(|error| error.at_tile(pending.step.tile.number))?;
        }
        if end > first {
            output.done(end)?;
        }
        clock.add(start.elapsed());
    }
    Ok((clock, beyond_unit))
}
