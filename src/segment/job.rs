//! The job: read → normalise → batch → run → blend or crop → decide → write.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ndarray::{Array2, Array4};

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Padding, Size, Window};
use crate::metrics::{Stopwatch, peak_rss_mib};
use crate::model::{Model, Normalisation, PooledSession};
use crate::runtime::{CancelToken, OutputData, Session, SessionOptions};
use crate::segment::canvas::{Canvas, Pending, kept_part};
use crate::segment::options::{Activation, Product, SegmentOptions};
use crate::segment::report::Report;
use crate::segment::setup::{Setup, output_shape, reserve};
use crate::segment::stream::{Block, Layout, Sink, Source};
use crate::segment::writing::{Output, Written, written};
use crate::tensor::DataType;
use crate::tiling::Tile;

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
    pub(super) progress: Option<&'a mut OnProgress<'p>>,
}

/// Tiles without data that may wait for a batch to fill up.
const MOST_SKIPPED: usize = 64;

/// What was measured on the way.
#[derive(Default)]
struct Measures {
    read: Stopwatch,
    model: Stopwatch,
    skipped: u64,
    batches: u64,
    /// Whether an output left 0 to 1, as raw scores do and probabilities do not.
    beyond_unit: bool,
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
        let mut session = self.session()?;
        let setup = self.set_up(&mut session, source.size())?;
        sink.begin(&Layout {
            size: setup.plan.raster(),
            bands: setup.encoding.bands(),
            data_type: setup.encoding.data_type,
            nodata: setup.encoding.nodata,
            scale: (setup.placement.output_step, setup.placement.input_step),
            unit: setup.encoding.unit(),
            classes: (setup.encoding.bands() == 1 && setup.encoding.product == Product::Classes)
                .then(|| setup.encoding.classes()),
            channels: setup.encoding.channels,
        })?;
        let (measures, done) =
            written(sink, &setup.encoding, |output| self.tiles(&mut session, &setup, source, output, start))?;
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
            threads: self.threads(),
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

    fn threads(&self) -> usize {
        match self.options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    fn tiles(
        &mut self,
        session: &mut Session,
        setup: &Setup,
        source: &mut dyn Source,
        output: &Output,
        start: Instant,
    ) -> Result<Measures> {
        let mut measures = Measures::default();
        let mut canvas = Canvas::new(&setup.plan, &setup.encoding, setup.blend)?;
        let tile_len = self.channels * setup.tile.width * setup.tile.height;
        let mut input = reserve(setup.batch * tile_len, "a batch of tiles")?;
        let mut pending: Vec<Pending> = Vec::new();
        let mut filled = 0;
        let total = setup.plan.len();

        for tile in setup.plan.tiles() {
            self.cancel.check()?;
            let place = |error: Error| error.at_tile(tile.number);
            let window = setup.placement.input_window(tile.window);
            let block = measures.read.time(|| source.read(window)).map_err(place)?;
            let valid = map_validity(setup, &tile, window, &block, source.size());
            let wanted = if setup.blend.is_cut() {
                valid.as_ref().is_none_or(|valid| kept_part(&tile, valid.view()).iter().any(|valid| *valid))
            } else {
                valid.as_ref().is_none_or(|valid| valid.iter().any(|valid| *valid))
            };
            let slot = if wanted {
                let into = &mut input[filled * tile_len..(filled + 1) * tile_len];
                self.normalisation.apply(&block.samples.view(), source.nodata(), into).map_err(place)?;
                filled += 1;
                Some(filled - 1)
            } else {
                measures.skipped += 1;
                None
            };
            pending.push(Pending { tile, valid, slot });

            // A long stretch of skipped tiles must not pile up behind a batch that is not full.
            let last = tile.number + 1 == total;
            if filled == setup.batch || last || filled == 0 || pending.len() >= setup.batch + MOST_SKIPPED {
                if filled > 0 {
                    let runs = if setup.fixed_batch { setup.batch } else { filled };
                    input[filled * tile_len..].fill(0.0);
                    let mut values = self
                        .run_batch(session, setup, &input[..runs * tile_len], runs, &mut measures.model)
                        .map_err(place)?;
                    // Ends at the first value of a network that gives raw scores.
                    measures.beyond_unit |= values.iter().any(|value| !(0.0..=1.0).contains(value));
                    canvas.place(&setup.plan, &mut pending, Some(&mut values), output).map_err(place)?;
                    measures.batches += 1;
                    filled = 0;
                } else {
                    canvas.place(&setup.plan, &mut pending, None, output).map_err(place)?;
                }
                if let Some(progress) = &mut self.progress {
                    let (image, images) = self.image;
                    let done = tile.number + 1;
                    let now = Progress { done, total, elapsed: start.elapsed(), image, images };
                    if progress(&now).is_break() {
                        return Err(Error::new(ErrorKind::Cancelled, "cancelled by the caller"));
                    }
                }
            }
        }
        Ok(measures)
    }

    fn run_batch(
        &self,
        session: &mut Session,
        setup: &Setup,
        input: &[f32],
        tiles: usize,
        clock: &mut Stopwatch,
    ) -> Result<Array4<f32>> {
        let shape = [tiles, self.channels, setup.tile.height, setup.tile.width];
        let map = setup.plan.tile_size();
        let expected = [tiles, setup.encoding.channels, map.height, map.width];
        let output = self.model.contract().output();
        let run_start = Instant::now();
        let mut run_time = Duration::ZERO;
        let values = session.run(input, shape, output, |shape, data| {
            run_time = run_start.elapsed();
            let (channels, size) = output_shape(shape, tiles)?;
            if channels != expected[1] || size != map {
                return Err(Error::new(
                    ErrorKind::ModelUnsupported,
                    format!("the model's output {shape:?} is not the {expected:?} seen or declared before"),
                )
                .at_tensor(output));
            }
            let values = match data {
                OutputData::F32(values) => values.to_vec(),
                OutputData::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
            };
            Array4::from_shape_vec(expected, values)
                .map_err(|error| Error::internal("output shape").caused_by(error))
        })?;
        clock.add(run_time);
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
            tiles_skipped: measures.skipped,
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
            threads: self.threads(),
            wall_s: wall.as_secs_f64(),
            model_s: measures.model.seconds(),
            read_s: measures.read.seconds(),
            write_s: written.clock.seconds(),
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

/// The validity of the part of a tile that lies on the map, on the map's grid.
fn map_validity(
    setup: &Setup,
    tile: &Tile,
    window: Window,
    block: &Block,
    raster: Size,
) -> Option<Array2<bool>> {
    let valid = block.valid.as_ref()?;
    let (rows, columns) = (setup.plan.y().covered(tile.row), setup.plan.x().covered(tile.column));
    // The centre of the last map pixel may lie past the raster's edge where the scale does not divide its size.
    let inside = |at: usize, start: i64, extent: usize| {
        (setup.placement.source_of(at).min(extent - 1) as i64 - start) as usize
    };
    Some(Array2::from_shape_fn((rows.len(), columns.len()), |(i, j)| {
        valid[[
            inside(rows.start + i, window.y, raster.height),
            inside(columns.start + j, window.x, raster.width),
        ]]
    }))
}
