//! Times of epochs and batches, and warnings when data does not come fast enough.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::metrics::number_text::fixed;

/// Loading a batch may take this long before it counts as slow, in seconds.
pub const MAX_ITEM_LOAD_TIME_SEC: f64 = 0.5;
/// At most this many warnings about slow batches in one epoch.
pub const MAX_LOAD_TIME_WARNINGS: usize = 3;
/// At most this many epochs with such warnings.
pub const MAX_LOAD_TIME_EPOCHS: usize = 5;

/// Where the time comes from.
pub trait Clock {
    /// Seconds since some moment that stays the same.
    fn seconds(&self) -> f64;
}

/// The clock of the machine, from the moment of its making on.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicClock(Instant);

impl Default for MonotonicClock {
    fn default() -> MonotonicClock {
        MonotonicClock(Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

impl<F: Fn() -> f64> Clock for F {
    fn seconds(&self) -> f64 {
        self()
    }
}

/// A line for the log of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerMessage {
    /// Whether it is a warning; else it is information.
    pub warning: bool,
    /// The line.
    pub text: String,
}

impl TimerMessage {
    fn info(text: String) -> TimerMessage {
        TimerMessage { warning: false, text }
    }

    fn warning(text: String) -> TimerMessage {
        TimerMessage { warning: true, text }
    }

    /// Hands the line to the log.
    pub fn log(&self) {
        if self.warning {
            tracing::warn!("{}", self.text);
        } else {
            tracing::info!("{}", self.text);
        }
    }
}

/// The timer of one kind of epoch: training or validation.
#[derive(Debug, Clone)]
pub struct EpochTimer<C: Clock = MonotonicClock> {
    clock: C,
    status: &'static str,
    epoch_start: f64,
    epoch_end: f64,
    last_batch_end: f64,
    warnings: usize,
    slow_batches: usize,
    slow_load_time: f64,
    load_time: f64,
    batches: usize,
    batch_time: f64,
    warned_epochs: BTreeSet<i64>,
}

impl<C: Clock> EpochTimer<C> {
    /// A timer of training epochs.
    pub fn training(clock: C) -> EpochTimer<C> {
        EpochTimer::new(clock, "training")
    }

    /// A timer of validation epochs.
    pub fn validation(clock: C) -> EpochTimer<C> {
        EpochTimer::new(clock, "validation")
    }

    fn new(clock: C, status: &'static str) -> EpochTimer<C> {
        let now = clock.seconds();
        EpochTimer {
            clock,
            status,
            epoch_start: now,
            epoch_end: now,
            last_batch_end: now,
            warnings: 0,
            slow_batches: 0,
            slow_load_time: 0.0,
            load_time: 0.0,
            batches: 0,
            batch_time: 0.0,
            warned_epochs: BTreeSet::new(),
        }
    }

    /// An epoch begins: all times and counts start anew, except the epochs that were warned about.
    pub fn reset(&mut self) {
        let now = self.clock.seconds();
        (self.epoch_start, self.epoch_end, self.last_batch_end) = (now, now, now);
        (self.warnings, self.slow_batches, self.batches) = (0, 0, 0);
        (self.slow_load_time, self.load_time, self.batch_time) = (0.0, 0.0, 0.0);
    }

    /// A batch has been loaded: what there is to say about that.
    ///
    /// The first batch of an epoch is told and never slow. Others are slow above [`MAX_ITEM_LOAD_TIME_SEC`].
    pub fn batch_start(&mut self, batch: usize, epoch: i64) -> Option<TimerMessage> {
        let prefix = format!("Epoch {epoch} {}", self.status);
        let load = self.clock.seconds() - self.last_batch_end;
        let seconds = fixed(load, 2);
        self.load_time += load;
        if batch == 0 {
            return Some(TimerMessage::info(format!(
                "{prefix}: Loaded the first minibatch of data in {seconds} sec."
            )));
        }
        if load <= MAX_ITEM_LOAD_TIME_SEC {
            return None;
        }
        self.warned_epochs.insert(epoch);
        self.slow_batches += 1;
        self.slow_load_time += load;
        if self.warnings >= MAX_LOAD_TIME_WARNINGS || !self.may_warn() {
            return None;
        }
        self.warnings += 1;
        Some(TimerMessage::warning(format!(
            "{prefix}: Loading minibatch {batch} took {seconds} sec. This can mean that there are not enough data \
             loader worker processes, or that there is a performance problem in loading. This warning will be \
             printed at most {MAX_LOAD_TIME_WARNINGS} times in at most {MAX_LOAD_TIME_EPOCHS} epochs."
        )))
    }

    /// A batch is done: the seconds since the one before (or the start of the epoch), loading included. This is the
    /// metric `SecondsPerBatch`, to be averaged over the epoch.
    pub fn batch_end(&mut self) -> f64 {
        let now = self.clock.seconds();
        let elapsed = now - self.last_batch_end;
        self.last_batch_end = now;
        self.batches += 1;
        self.batch_time += elapsed;
        elapsed
    }

    /// The epoch is over. May be told twice; the later moment counts.
    pub fn epoch_end(&mut self) {
        self.epoch_end = self.clock.seconds();
    }

    /// Seconds from the start to the end of the epoch: the metric `SecondsPerEpoch`.
    pub fn epoch_seconds(&self) -> f64 {
        self.epoch_end - self.epoch_start
    }

    /// Seconds of the epoch spent waiting for data.
    pub fn load_seconds(&self) -> f64 {
        self.load_time
    }

    /// Batches of the epoch so far.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Mean of what [`batch_end`](EpochTimer::batch_end) returned in the epoch; NaN without batches.
    #[allow(clippy::cast_precision_loss, reason = "no epoch has 2^53 batches")]
    pub fn mean_batch_seconds(&self) -> f64 {
        self.batch_time / self.batches as f64
    }

    /// What there is to say about the epoch after its validation.
    pub fn summary(&self, epoch: i64) -> Vec<TimerMessage> {
        let mut messages = vec![TimerMessage::info(format!(
            "Epoch {epoch} {} took {}sec, of which waiting for data took {} sec total.",
            self.status,
            fixed(self.epoch_seconds(), 2),
            fixed(self.load_time, 2)
        ))];
        if self.slow_batches > 0 && self.may_warn() {
            messages.push(TimerMessage::warning(format!(
                "The dataloaders were not fast enough to always supply the next batch in less than \
                 {MAX_ITEM_LOAD_TIME_SEC}sec."
            )));
            messages.push(TimerMessage::warning(format!(
                "In this epoch, {} out of {} batches exceeded the load time threshold. Total loading time for the \
                 slow batches was {}sec.",
                self.slow_batches,
                self.batches,
                fixed(self.slow_load_time, 2)
            )));
        }
        messages
    }

    fn may_warn(&self) -> bool {
        self.warned_epochs.len() <= MAX_LOAD_TIME_EPOCHS
    }
}

/// The two timers of a run.
#[derive(Debug, Clone)]
pub struct EpochTimers<C: Clock = MonotonicClock> {
    /// Of training epochs: reset when one starts, ended when its validation starts.
    pub train: EpochTimer<C>,
    /// Of validation epochs: reset when one starts, ended when it ends.
    pub val: EpochTimer<C>,
}

impl<C: Clock + Clone> EpochTimers<C> {
    /// Two timers on one clock.
    pub fn new(clock: C) -> EpochTimers<C> {
        EpochTimers { train: EpochTimer::training(clock.clone()), val: EpochTimer::validation(clock) }
    }
}

impl<C: Clock> EpochTimers<C> {
    /// The validation of an epoch has ended: its timer is ended, and both epochs are summed up, training first.
    ///
    /// A run without validation never gets here and has no such lines.
    pub fn validation_end(&mut self, epoch: i64) -> Vec<TimerMessage> {
        self.val.epoch_end();
        let mut messages = self.train.summary(epoch);
        messages.extend(self.val.summary(epoch));
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// One batch: `load` seconds until it is there, `work` seconds with it.
    fn batch<C: Clock>(
        timer: &mut EpochTimer<C>,
        now: &Cell<f64>,
        index: usize,
        epoch: i64,
        load: f64,
        work: f64,
    ) -> (Option<TimerMessage>, f64) {
        now.set(now.get() + load);
        let message = timer.batch_start(index, epoch);
        now.set(now.get() + work);
        (message, timer.batch_end())
    }

    #[test]
    fn slow_batches_are_warned_about() {
        let now = Cell::new(100.0);
        let mut timer = EpochTimer::training(|| now.get());
        timer.reset();
        let (message, elapsed) = batch(&mut timer, &now, 0, 4, 8.0, 0.25);
        let first = TimerMessage::info(
            "Epoch 4 training: Loaded the first minibatch of data in 8.00 sec.".to_owned(),
        );
        assert_eq!((message, elapsed), (Some(first), 8.25));
        assert_eq!(batch(&mut timer, &now, 1, 4, 0.5, 0.0).0, None, "not above the limit");
        let (message, elapsed) = batch(&mut timer, &now, 2, 4, 0.75, 1.0);
        let slow = "Epoch 4 training: Loading minibatch 2 took 0.75 sec. This can mean that there are not enough \
                    data loader worker processes, or that there is a performance problem in loading. This warning \
                    will be printed at most 3 times in at most 5 epochs.";
        assert_eq!((message, elapsed), (Some(TimerMessage::warning(slow.to_owned())), 1.75));
        let told = (3..7).filter(|index| batch(&mut timer, &now, *index, 4, 1.0, 0.0).0.is_some()).count();
        assert_eq!(told, 2, "three in an epoch");
        timer.epoch_end();
        let texts: Vec<_> =
            timer.summary(4).into_iter().map(|message| (message.warning, message.text)).collect();
        assert_eq!(
            texts,
            [
                (
                    false,
                    "Epoch 4 training took 14.50sec, of which waiting for data took 13.25 sec total.".to_owned()
                ),
                (
                    true,
                    "The dataloaders were not fast enough to always supply the next batch in less than 0.5sec."
                        .to_owned()
                ),
                (
                    true,
                    "In this epoch, 5 out of 7 batches exceeded the load time threshold. Total loading time for \
                     the slow batches was 4.75sec."
                        .to_owned()
                ),
            ]
        );
        assert_eq!((timer.batches(), timer.load_seconds(), timer.epoch_seconds()), (7, 13.25, 14.5));
        assert!((timer.mean_batch_seconds() - 14.5 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn five_epochs_are_warned_about_and_no_more() {
        let now = Cell::new(0.0);
        let mut timer = EpochTimer::validation(|| now.get());
        for epoch in 0..8 {
            timer.reset();
            let (first, _) = batch(&mut timer, &now, 0, epoch, 0.0, 0.0);
            assert!(first.unwrap().text.starts_with(&format!("Epoch {epoch} validation: Loaded")));
            let (slow, _) = batch(&mut timer, &now, 1, epoch, 2.0, 0.0);
            timer.epoch_end();
            assert_eq!(slow.is_some(), epoch < 5);
            assert_eq!(timer.summary(epoch).len(), if epoch < 5 { 3 } else { 1 });
        }
    }

    #[test]
    fn training_is_summed_up_before_validation() {
        let now = Cell::new(0.0);
        let mut timers = EpochTimers::new(|| now.get());
        timers.train.reset();
        batch(&mut timers.train, &now, 0, 0, 1.0, 2.0);
        timers.train.epoch_end();
        timers.val.reset();
        batch(&mut timers.val, &now, 0, 0, 0.125, 0.125);
        let texts: Vec<_> = timers.validation_end(0).into_iter().map(|message| message.text).collect();
        assert_eq!(
            texts,
            [
                "Epoch 0 training took 3.00sec, of which waiting for data took 1.00 sec total.",
                "Epoch 0 validation took 0.25sec, of which waiting for data took 0.12 sec total."
            ]
        );
        assert!(MonotonicClock::default().seconds() >= 0.0);
    }
}
