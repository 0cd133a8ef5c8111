//! How long epochs take, and whether data come fast enough.

use crate::error::Result;
use crate::hooks::{Callback, Context, Phase};
use crate::metrics::{Clock, EpochTimers, MonotonicClock, TimerMessage};

/// Logs how long epochs took and how long they waited for data, with InnerEye's warnings about slow loading.
///
/// Times are of no use in files that are compared between runs: they are logged, not written.
#[derive(Debug)]
pub struct EpochTimes<C: Clock = MonotonicClock>(EpochTimers<C>);

impl EpochTimes {
    /// By the clock of the machine.
    pub fn new() -> EpochTimes {
        EpochTimes(EpochTimers::new(MonotonicClock::default()))
    }
}

impl Default for EpochTimes {
    fn default() -> EpochTimes {
        EpochTimes::new()
    }
}

impl<C: Clock + Clone> EpochTimes<C> {
    /// By another clock.
    pub fn with_clock(clock: C) -> EpochTimes<C> {
        EpochTimes(EpochTimers::new(clock))
    }
}

impl<C: Clock> EpochTimes<C> {
    /// The timers.
    pub fn timers(&self) -> &EpochTimers<C> {
        &self.0
    }
}

/// Epochs count from 0 in the messages.
fn epoch(context: &Context<'_>) -> i64 {
    i64::try_from(context.state.epoch).unwrap_or(i64::MAX) - 1
}

impl<C: Clock + Send + std::fmt::Debug> Callback for EpochTimes<C> {
    fn epoch_start(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.0.train.reset();
        Ok(())
    }

    fn validation_start(&mut self, _: &mut Context<'_>) -> Result<()> {
        self.0.val.reset();
        self.0.train.epoch_end();
        Ok(())
    }

    fn batch_start(&mut self, context: &mut Context<'_>) -> Result<()> {
        let timer = match context.state.phase {
            Phase::Train => &mut self.0.train,
            Phase::Validation => &mut self.0.val,
            _ => return Ok(()),
        };
        let batch = usize::try_from(context.state.batch).unwrap_or(usize::MAX).saturating_sub(1);
        if let Some(message) = timer.batch_start(batch, epoch(context)) {
            message.log();
        }
        Ok(())
    }

    fn batch_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        match context.state.phase {
            Phase::Train => self.0.train.batch_end(),
            Phase::Validation => self.0.val.batch_end(),
            _ => return Ok(()),
        };
        Ok(())
    }

    fn evaluation_batches_end(&mut self, context: &mut Context<'_>) -> Result<()> {
        if context.state.phase == Phase::Validation {
            self.0.validation_end(epoch(context)).iter().for_each(TimerMessage::log);
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "epoch_times"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::hooks::{Event, TrainerState};

    /// A clock that is set by hand.
    #[derive(Debug, Clone, Default)]
    struct Hand(Arc<Mutex<f64>>);

    impl Clock for Hand {
        fn seconds(&self) -> f64 {
            *self.0.lock().unwrap()
        }
    }

    #[test]
    fn loading_and_computing_are_told_apart() {
        let clock = Hand::default();
        let mut own = EpochTimes::with_clock(clock.clone());
        let mut state = TrainerState { epoch: 1, ..TrainerState::default() };
        let mut tell = |own: &mut EpochTimes<Hand>, event, phase, batch, after: f64| {
            *clock.0.lock().unwrap() += after;
            (state.phase, state.batch) = (phase, batch);
            own.dispatch(event, &mut Context::new(&mut state)).unwrap();
        };
        use Event::{BatchEnd, BatchStart, EpochStart, EvaluationBatchesEnd, ValidationStart};
        tell(&mut own, EpochStart, Phase::Train, 0, 5.0);
        for batch in 1..=3 {
            // Loading takes 0.25 s, computing 1 s.
            tell(&mut own, BatchStart, Phase::Train, batch, 0.25);
            tell(&mut own, BatchEnd, Phase::Train, batch, 1.0);
        }
        tell(&mut own, ValidationStart, Phase::Validation, 0, 0.0);
        tell(&mut own, BatchStart, Phase::Validation, 1, 0.5);
        tell(&mut own, BatchEnd, Phase::Validation, 1, 0.25);
        tell(&mut own, EvaluationBatchesEnd, Phase::Validation, 1, 0.0);
        let (train, val) = (&own.timers().train, &own.timers().val);
        assert_eq!((train.epoch_seconds(), train.load_seconds(), train.batches()), (3.75, 0.75, 3));
        assert_eq!((val.epoch_seconds(), val.load_seconds(), val.batches()), (0.75, 0.5, 1));
        let first = train.summary(0)[0].text.clone();
        assert_eq!(first, "Epoch 0 training took 3.75sec, of which waiting for data took 0.75 sec total.");
        // A test is none of the training's epochs.
        tell(&mut own, BatchStart, Phase::Test, 1, 9.0);
        tell(&mut own, BatchEnd, Phase::Test, 1, 9.0);
        assert_eq!(own.timers().val.batches(), 1);
    }
}
