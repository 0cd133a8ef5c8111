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
