//! Time spent in a stage of a job.

use std::time::{Duration, Instant};

/// Sums up the time of many stretches of one stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stopwatch {
    total: Duration,
}

impl Stopwatch {
    /// Runs `stage` and adds the time it takes.
    pub fn time<R>(&mut self, stage: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = stage();
        self.total += start.elapsed();
        result
    }

    /// Adds a stretch measured elsewhere.
    pub fn add(&mut self, stretch: Duration) {
        self.total += stretch;
    }

    /// The sum so far.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The sum so far in seconds.
    pub fn seconds(&self) -> f64 {
        self.total.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_add_up() {
        let mut watch = Stopwatch::default();
        let pause = Duration::from_millis(5);
        for _ in 0..2 {
            watch.time(|| std::thread::sleep(pause));
        }
        assert!(watch.total() >= 2 * pause);
    }
}
