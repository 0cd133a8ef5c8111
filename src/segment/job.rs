//! The job: read → normalise → batch → run → blend or crop → decide → write.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::geometry::Padding;
use crate::metrics::peak_rss_mib;
use crate::model::{Form, Model, Normalisation};
use crate::runtime::{CancelToken, Optimization, return_freed_memory};
use crate::segment::memory::Runs;
use crate::segment::options::{Activation, Product, SegmentOptions};
use crate::segment::pipeline::Measures;
use crate::segment::report::{Busyness, Report};
use crate::segment::runner::Probe;
use crate::segment::setup::Setup;
use crate::segment::stream::{Layout, Sink, Source};
use crate::segment::writing::{Written, written};
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
        let mut setup = {
            let mut probe = Probe::new(|| self.session(&Form::default(), 1, Optimization::All));
            self.set_up(&mut probe, source, sink)?
        };
        let facts = sink.asks_for_facts();
        let (mut runners, unfused) = std::thread::scope(|scope| {
            // Both take a while, and the runtime prepares a model on one thread.
            let model = self.model;
            let fingerprint = facts.then(|| scope.spawn(|| model.fingerprint().map(|_| ())));
            let mut unfused = None;
            let runners = match self.runners(&setup) {
                Err(error) if self.may_run_unfused(&setup.form, &error) => {
                    setup.form.fusion = None;
                    unfused = Some(error);
                    self.runners(&setup)?
                }
                other => other?,
            };
            match fingerprint.map(std::thread::ScopedJoinHandle::join) {
                Some(Err(_)) => Err(Error::internal("the fingerprint panicked")),
                Some(Ok(known)) => known.map(|()| (runners, unfused)),
                None => Ok((runners, unfused)),
            }
        })?;
        // What preparing sessions took, up to three times the weights, is to make room for tiles.
        return_freed_memory();
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
        let (mut measures, done) =
            written(sink, (&setup.encoding, &setup.permits), &layout, |output, first| {
                self.tiles(&mut runners, &setup, source, output, (first, start))
            })?;
        measures.setup_s = ready.as_secs_f64();
        let mut report = self.report(&setup, source, &measures, &done, start.elapsed());
        report.notes.extend(unfused.map(|error| format!("not fused: {}", error.one_line())));
        Ok(report)
    }

    /// Channels of the model's output, by a run on zeros where the file does not say.
    #[cfg(feature = "raster")]
    pub(super) fn output_channels(&self) -> Result<usize> {
        self.model.contract().check_channels(self.channels)?;
        let batch = self.model.contract().batch().unwrap_or(1);
        let mut probe = Probe::new(|| self.session(&Form::default(), 1, Optimization::All));
        let (channels, _) = self.observe(&mut probe, self.tile_size()?, batch)?;
        Ok(channels)
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
        let new = 1.0 - written.first as f64 / setup.lanes.len().max(1) as f64;
        let busy = busy(measures, written, wall.as_secs_f64() - measures.setup_s);
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
            // Blending goes back a little where it is taken up.
            tiles_computed: match written.first {
                0 => setup.lanes.computed(),
                first if first >= setup.lanes.len() => 0,
                first => setup.lanes.len() - setup.lanes.restart(first),
            },
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
            precision: self.options.precision.to_string(),
            label_agreement: measures.agreement.share(),
            label_pixels: measures.agreement.pixels,
            fused: setup.fused().to_owned(),
            in_flight: setup.in_flight,
            model_s: measures.model_s,
            read_s: measures.read.read.seconds(),
            write_s: written.clock.seconds(),
            setup_s: measures.setup_s,
            prepare_s: measures.read.prepare.seconds(),
            place_s: measures.place.seconds(),
            finish_s: 0.0,
            bottleneck: bottleneck(busy).to_owned(),
            busy,
            model_share: measures.model_s / wall.as_secs_f64().max(1e-9),
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
            mpx_per_s: raster.pixels() as f64 * new / 1e6 / wall.as_secs_f64().max(1e-9),
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

/// How busy each stage was while tiles were scored, for so many seconds.
fn busy(measures: &Measures, written: &Written, seconds: f64) -> Busyness {
    let share = |busy: f64| (busy / seconds.max(1e-9)).min(1.0);
    Busyness {
        reading: share(measures.read.read.seconds() + measures.read.prepare.seconds()),
        model: share(measures.model_s),
        placing: share(measures.place.seconds()),
        writing: share(written.clock.seconds()),
    }
}

/// The busiest stage: the others wait for it.
fn bottleneck(busy: Busyness) -> &'static str {
    let stages = [
        ("model", busy.model),
        ("reading", busy.reading),
        ("placing", busy.placing),
        ("writing", busy.writing),
    ];
    stages.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or("model", |(name, _)| name)
}
