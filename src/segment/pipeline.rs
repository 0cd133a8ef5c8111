//! The stages of a job and the queues between them.
//!
//! One thread reads and prepares, one lays tiles down, one writes; the model runs on the caller's, or, with several batches
//! at the same time, on one for each while the caller's puts what they give in order again. Between them are queues of one
//! batch, so that none runs ahead; each stops where its neighbour does.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ndarray::{ArrayView3, ArrayViewMut4, Axis};

use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Stopwatch;
use crate::runtime::{OutputData, OutputTensor};
use crate::segment::agreement::Agreement;
use crate::segment::canvas::{Canvas, Pending, Values};
use crate::segment::feed::Feed;
use crate::segment::job::{Job, Progress};
use crate::segment::reading::{Batch, ReadMeasures, Reader};
use crate::segment::runner::{Busy, Runner};
use crate::segment::setup::Setup;
use crate::segment::stream::Source;
use crate::segment::writing::Output;

/// What was measured on the way.
#[derive(Debug, Default)]
pub(super) struct Measures {
    pub(super) read: ReadMeasures,
    /// Seconds in which the model was at work.
    pub(super) model_s: f64,
    pub(super) place: Stopwatch,
    pub(super) batches: u64,
    /// Whether an output left 0 to 1, as raw scores do and probabilities do not; where it was not seen, too.
    pub(super) beyond_unit: bool,
    /// Seconds until the first tile.
    pub(super) setup_s: f64,
    pub(super) agreement: Agreement,
}

/// What the model gave for a batch.
struct Scored {
    tiles: Vec<Pending>,
    /// `None` where no tile had data.
    values: Option<OutputTensor>,
    end: u64,
}

/// What goes on from the model: buffers back to the reader, outputs to where they are laid down.
struct Onward<'a> {
    spare: Sender<Feed>,
    scored: SyncSender<Scored>,
    start: Instant,
    setup: &'a Setup,
}

/// Batches for several sessions.
struct Queue {
    batches: Receiver<Batch>,
    taken: u64,
    /// Those among them that are run.
    runs: u64,
}

impl Queue {
    /// The next batch, with its number and the number of runs before it; none where there are no more.
    fn next(&mut self) -> Option<(u64, u64, Batch)> {
        let batch = self.batches.recv().ok()?;
        let own = (self.taken, self.runs, batch);
        self.taken += 1;
        self.runs += u64::from(own.2.filled > 0);
        Some(own)
    }
}

impl Job<'_, '_> {
    /// All tiles from step `first` on, whose blocks are not there yet.
    pub(super) fn tiles(
        &mut self,
        runners: &mut [Runner<'_>],
        setup: &Setup,
        source: &mut dyn Source,
        output: &Output,
        (first, start): (u64, Instant),
    ) -> Result<Measures> {
        if first >= setup.lanes.len() {
            return Ok(Measures::default());
        }
        let begin = setup.lanes.restart(first);
        let normalisation = self.normalisation.clone();
        let cancel = self.cancel;
        let busy = Busy::default();
        let mut measures = std::thread::scope(|scope| {
            let (batches, waiting) = sync_channel(1);
            let (spare, spares) = channel();
            // Where several are at the model, they are what waits.
            let (scored, to_place) = sync_channel(usize::from(setup.in_flight == 1));
            let reading = scope.spawn({
                let normalisation = &normalisation;
                move || Reader { setup, normalisation, cancel }.run(source, begin, &batches, &spares)
            });
            let placing = scope.spawn(move || place(setup, &to_place, output, first));
            let onward = Onward { spare, scored, start, setup };
            let ran = match &mut *runners {
                [one] => self.one_by_one(one, &busy, waiting, onward),
                several => self.together(several, &busy, waiting, onward),
            };
            let placed = placing.join().map_err(|_| Error::internal("laying tiles down panicked"))?;
            let read = reading.join().map_err(|_| Error::internal("the reader panicked"))?;
            // Each stage ends quietly where another has failed; that one has the error.
            let (place, beyond_unit) = placed?;
            let batches = ran?;
            Ok::<_, Error>(Measures { read: read?, place, batches, beyond_unit, ..Measures::default() })
        })?;
        measures.model_s = busy.seconds();
        runners.iter().for_each(|runner| measures.agreement.add(runner.agreement()));
        Ok(measures)
    }

    /// Runs the model on the batches as they come, on this thread. Gives the number of runs.
    fn one_by_one(
        &mut self,
        runner: &mut Runner<'_>,
        busy: &Busy,
        batches: Receiver<Batch>,
        onward: Onward<'_>,
    ) -> Result<u64> {
        let mut runs = 0;
        for batch in batches {
            self.cancel.check()?;
            let run = || busy.time(|| runner.run(onward.setup, &batch, runs));
            let values = onward.setup.permits.with(run)?;
            runs += u64::from(values.is_some());
            if !self.pass_on(batch, values, &onward)? {
                return Ok(runs);
            }
        }
        self.cancel.check()?;
        Ok(runs)
    }

    /// Runs the model on several batches at the same time, each with a session and a thread of its own.
    fn together(
        &mut self,
        runners: &mut [Runner<'_>],
        busy: &Busy,
        batches: Receiver<Batch>,
        onward: Onward<'_>,
    ) -> Result<u64> {
        let (cancel, setup) = (self.cancel, onward.setup);
        let queue = Mutex::new(Queue { batches, taken: 0, runs: 0 });
        std::thread::scope(|scope| {
            // Nothing waits here: what a session has given is handed over before it has the next batch.
            let (done, arriving) = sync_channel(0);
            let at_work: Vec<_> = runners
                .iter_mut()
                .map(|runner| {
                    let (queue, done) = (&queue, done.clone());
                    scope.spawn(move || {
                        loop {
                            let Some((number, runs, batch)) =
                                queue.lock().unwrap_or_else(PoisonError::into_inner).next()
                            else {
                                return;
                            };
                            // A panic must not leave a gap in the order: those behind it would wait for ever.
                            let run = || busy.time(|| runner.run(setup, &batch, runs));
                            let run = AssertUnwindSafe(|| setup.permits.with(run));
                            let values = cancel.check().and_then(|()| {
                                catch_unwind(run)
                                    .unwrap_or_else(|_| Err(Error::internal("a run of the model panicked")))
                            });
                            let failed = values.is_err();
                            if done.send((number, batch, values)).is_err() || failed {
                                return;
                            }
                        }
                    })
                })
                .collect();
            drop(done);
            // Also where it ends early it lets go of all that others wait for: the reader for buffers, and sessions for the
            // reader.
            let ran = self.in_order(arriving, onward);
            for thread in at_work {
                thread.join().map_err(|_| Error::internal("a run of the model panicked"))?;
            }
            ran
        })
    }

    fn in_order(
        &mut self,
        arriving: Receiver<(u64, Batch, Result<Option<OutputTensor>>)>,
        onward: Onward<'_>,
    ) -> Result<u64> {
        let (mut waiting, mut next, mut runs) = (BTreeMap::new(), 0, 0);
        for (number, batch, values) in arriving {
            waiting.insert(number, (batch, values));
            while let Some((batch, values)) = waiting.remove(&next) {
                next += 1;
                let values = values?;
                runs += u64::from(values.is_some());
                if !self.pass_on(batch, values, &onward)? {
                    return Ok(runs);
                }
            }
        }
        self.cancel.check()?;
        Ok(runs)
    }

    /// Hands a batch on; false where nobody takes it any more.
    fn pass_on(&mut self, batch: Batch, values: Option<OutputTensor>, onward: &Onward<'_>) -> Result<bool> {
        let Batch { tiles, input, end, .. } = batch;
        // The reader may have ended already.
        let _ = onward.spare.send(input);
        if onward.scored.send(Scored { tiles, values, end }).is_err() {
            return Ok(false);
        }
        if let Some(progress) = &mut self.progress {
            let (image, images) = self.image;
            let total = onward.setup.lanes.len();
            let now = Progress { done: end, total, elapsed: onward.start.elapsed(), image, images };
            if progress(&now).is_break() {
                return Err(Error::new(ErrorKind::Cancelled, "cancelled by the caller"));
            }
        }
        Ok(true)
    }
}

/// Lays down what the model gave. Gives the time it took, and whether a value left 0 to 1.
fn place(setup: &Setup, scored: &Receiver<Scored>, output: &Output, first: u64) -> Result<(Stopwatch, bool)> {
    let mut clock = Stopwatch::default();
    let mut beyond_unit = false;
    let mut canvas = Canvas::new(setup, first)?;
    let mut halves: Vec<f32> = Vec::new();
    let map = setup.plan.tile_size();
    let unfit = |error| Error::internal("output shape").caused_by(error);
    let mut lay = |clock: &mut Stopwatch, pending: &Pending, values: Option<Values<'_>>| {
        let placed = setup.permits.with(|| clock.time(|| canvas.place(pending, values)));
        match placed.map_err(|error| error.at_tile(pending.step.tile.number))? {
            Some((window, block)) => output.write(window, block),
            None => Ok(()),
        }
    };
    for Scored { tiles, mut values, end } in scored {
        let number = values.as_ref().map_or(0, |values| values.shape()[0]);
        if let Some(decided) = values.as_ref().filter(|values| values.is_whole()) {
            beyond_unit = true;
            let shape = [number, map.height, map.width];
            for pending in &tiles {
                let values = match (pending.slot, decided.data()) {
                    (None, _) => None,
                    (Some(slot), OutputData::U8(codes)) => {
                        let codes = ArrayView3::from_shape(shape, codes).map_err(unfit)?;
                        Some(Values::U8(codes.index_axis_move(Axis(0), slot)))
                    }
                    (Some(slot), OutputData::U16(codes)) => {
                        let codes = ArrayView3::from_shape(shape, codes).map_err(unfit)?;
                        Some(Values::U16(codes.index_axis_move(Axis(0), slot)))
                    }
                    _ => return Err(Error::internal("class numbers of another type")),
                };
                lay(&mut clock, pending, values)?;
            }
        } else {
            let samples = setup.permits.with(|| clock.time(|| scores(&mut values, &mut halves)));
            // Ends at the first value of a network that gives raw scores.
            beyond_unit = beyond_unit || samples.iter().any(|value| !(0.0..=1.0).contains(value));
            let shape = [number, setup.encoding.channels, map.height, map.width];
            let length = shape.iter().product();
            let samples = samples.get_mut(..length).unwrap_or_default();
            let mut samples = ArrayViewMut4::from_shape(shape, samples).map_err(unfit)?;
            for pending in &tiles {
                let values = pending.slot.map(|slot| Values::Scores(samples.index_axis_mut(Axis(0), slot)));
                lay(&mut clock, pending, values)?;
            }
        }
        if end > first {
            output.done(end)?;
        }
    }
    Ok((clock, beyond_unit))
}

/// The scores of a batch, none where it was not run; `halves` has room for those in half precision.
fn scores<'v>(values: &'v mut Option<OutputTensor>, halves: &'v mut Vec<f32>) -> &'v mut [f32] {
    halves.clear();
    if let Some(OutputData::F16(values)) = values.as_ref().map(OutputTensor::data) {
        halves.extend(values.iter().map(|value| value.to_f32()));
    }
    match values.as_mut().and_then(OutputTensor::f32_mut) {
        Some(samples) => samples,
        None => halves,
    }
}
