//! How many stages of a job are at work at the same time.

use std::sync::{Condvar, Mutex, PoisonError};

/// Lets no more stages work at a time than the job may have threads, where each of them has one.
///
/// Nobody waits for another stage while it holds a permit, so that all go on. Where a run of the model has several threads
/// there is no limit: the other stages then come in between, which costs less than keeping the model's threads waiting.
#[derive(Debug)]
pub(super) struct Permits {
    /// `None`: no limit.
    free: Option<(Mutex<usize>, Condvar)>,
}

impl Permits {
    /// For a job that may have `threads`, with so many runs of the model at the same time.
    pub(super) fn new(threads: usize, in_flight: usize) -> Permits {
        let each_has_one = threads / in_flight <= 1;
        Permits { free: each_has_one.then(|| (Mutex::new(threads.max(1)), Condvar::new())) }
    }

    /// Does some work of a stage, as soon as there is a thread for it.
    pub(super) fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some((free, freed)) = &self.free else { return work() };
        /// Gives the permit back, also after a panic.
        struct Held<'a>(&'a Mutex<usize>, &'a Condvar);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                self.1.notify_one();
            }
        }
        let mut left = free.lock().unwrap_or_else(PoisonError::into_inner);
        while *left == 0 {
            left = freed.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= 1;
        drop(left);
        let _held = Held(free, freed);
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_at_a_time_than_threads() {
        for (threads, in_flight, most) in [(1, 1, 1), (2, 2, 2), (3, 4, 3), (4, 2, 8)] {
            let permits = Permits::new(threads, in_flight);
            let (now, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        for _ in 0..50 {
                            permits.with(|| {
                                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                                std::thread::yield_now();
                                now.fetch_sub(1, Ordering::SeqCst);
                            });
                        }
                    });
                }
            });
            let peak = peak.into_inner();
            assert!((1..=most).contains(&peak), "{peak} of {threads} threads");
        }
    }

    #[test]
    fn a_panic_gives_its_permit_back() {
        let permits = Permits::new(1, 1);
        let failed =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| permits.with(|| panic!("gone"))));
        assert!(failed.is_err());
        assert_eq!(permits.with(|| 3), 3);
    }
}
