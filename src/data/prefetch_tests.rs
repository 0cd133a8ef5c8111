use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::random::SplitMix64;

/// Counts those that live.
#[derive(Debug)]
struct Counted {
    value: u64,
    living: Arc<AtomicUsize>,
}

impl Counted {
    /// One more; `most` remembers how many there ever were at once.
    fn new(value: u64, living: &Arc<AtomicUsize>, most: &AtomicUsize) -> Counted {
        most.fetch_max(living.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Counted { value, living: Arc::clone(living) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.living.fetch_sub(1, Ordering::SeqCst);
    }
}

fn nap(seed: u64, most_micros: u64) {
    std::thread::sleep(Duration::from_micros(SplitMix64::new(seed).next() % (most_micros + 1)));
}

/// Items that say which they are, after a delay of up to `micros`.
fn numbers(threads: usize, ahead: usize, micros: u64) -> Prefetch<(u64, usize)> {
    let make = || {
        Ok(move |seed: &u64, index: usize| {
            nap(seed ^ index as u64, micros);
            Ok((*seed, index))
        })
    };
    Prefetch::new(threads, ahead, make).unwrap()
}

#[test]
fn crosses_threads() {
    fn crosses<T: Send>() {}
    crosses::<Prefetch<Vec<f32>, Vec<u64>>>();
}

#[test]
fn items_come_in_order_whatever_made_them() {
    for threads in 0..6 {
        for ahead in [0, 1, 2, 7, 100] {
            let mut prefetch = numbers(threads, ahead, 300);
            for epoch in 0..3 {
                prefetch.start(epoch, 0..40).unwrap();
                assert_eq!(prefetch.left(), 40);
                for index in 0..40 {
                    assert_eq!(prefetch.take().unwrap(), (epoch, index), "{threads} threads, {ahead} ahead");
                    if index % 7 == 0 {
                        nap(index as u64, 500);
                    }
                }
                assert_eq!(prefetch.left(), 0);
                assert_eq!(prefetch.take().unwrap_err().kind(), ErrorKind::InvalidState);
            }
            prefetch.start(9, 30..33).unwrap();
            let rest: Vec<_> = (0..3).map(|_| prefetch.take().unwrap().1).collect();
            assert_eq!(rest, [30, 31, 32], "an epoch may begin in its middle");
        }
    }
}

#[test]
fn nothing_is_taken_before_an_epoch_or_out_of_an_empty_one() {
    for threads in [0, 2] {
        let mut prefetch = numbers(threads, 2, 0);
        assert!(prefetch.take().unwrap_err().message().contains("no epoch"));
        assert_eq!(prefetch.left(), 0);
        prefetch.start(1, 0..0).unwrap();
        assert!(prefetch.take().unwrap_err().message().contains("all items"));
        prefetch.start(1, 0..1).unwrap();
        assert_eq!(prefetch.take().unwrap(), (1, 0));
    }
}

/// A prefetch of counted items; living ones and the most there were at once.
fn counted(threads: usize, ahead: usize) -> (Prefetch<Counted>, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (living, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let make = || {
        let (living, most) = (Arc::clone(&living), Arc::clone(&most));
        Ok(move |seed: &u64, index: usize| {
            let item = Counted::new(seed * 1000 + index as u64, &living, &most);
            nap(seed ^ index as u64, 200);
            Ok(item)
        })
    };
    let prefetch = Prefetch::new(threads, ahead, make).unwrap();
    (prefetch, living, most)
}

fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn no_more_than_ahead_are_made_and_not_taken() {
    for (threads, ahead) in [(4, 3), (2, 5), (3, 1), (4, 16)] {
        let (mut prefetch, living, most) = counted(threads, ahead);
        prefetch.start(1, 0..60).unwrap();
        // All that may be made is made, and no more.
        until(|| living.load(Ordering::SeqCst) == ahead);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(living.load(Ordering::SeqCst), ahead);
        for _ in 0..60 {
            drop(prefetch.take().unwrap());
        }
        // The one that was just taken, beside those that are ahead.
        let most = most.load(Ordering::SeqCst);
        assert!(most <= ahead + 1, "{most} of {ahead} at once");
        assert_eq!(living.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_restart_in_the_middle_keeps_the_bound_and_loses_nothing() {
    let (mut prefetch, living, most) = counted(4, 5);
    for epoch in 1..60u64 {
        prefetch.start(epoch, 0..30).unwrap();
        for index in 0..epoch % 31 {
            assert_eq!(prefetch.take().unwrap().value, epoch * 1000 + index);
        }
        if epoch % 3 == 0 {
            nap(epoch, 2000);
        }
    }
    drop(prefetch);
    assert!(most.load(Ordering::SeqCst) <= 6);
    assert_eq!(living.load(Ordering::SeqCst), 0);
}

#[test]
fn an_error_comes_out_with_its_own_item() {
    for threads in [0, 1, 4] {
        let make = || {
            Ok(move |_: &u64, index: usize| {
                // The wrong ones are ready first.
                let is_wrong = index % 5 == 3;
                nap(index as u64, if is_wrong { 0 } else { 800 });
                if is_wrong { Err(Error::invalid(format!("item {index} is wrong"))) } else { Ok(index) }
            })
        };
        let mut prefetch: Prefetch<usize> = Prefetch::new(threads, 8, make).unwrap();
        prefetch.start(0, 0..20).unwrap();
        for index in 0..20 {
            match prefetch.take() {
                Ok(item) => assert!(item == index && index % 5 != 3),
                Err(error) => {
                    assert_eq!(error.message(), format!("item {index} is wrong"));
                    assert_eq!(index % 5, 3);
                }
            }
        }
    }
}

/// Items of which those in `fatal` panic.
fn fragile(threads: usize, ahead: usize, fatal: &'static [usize]) -> Prefetch<usize> {
    let make = || {
        Ok(move |_: &u64, index: usize| {
            nap(index as u64, 300);
            if fatal.contains(&index) {
                std::panic::panic_any(format!("item {index} is fatal"));
            }
            Ok(index)
        })
    };
    Prefetch::new(threads, ahead, make).unwrap()
}

#[test]
fn a_panic_is_an_error_of_its_item_and_the_others_go_on() {
    let mut prefetch = fragile(3, 4, &[2, 5]);
    prefetch.start(0, 0..12).unwrap();
    for index in 0..12 {
        match prefetch.take() {
            Ok(item) => assert!(item == index && index != 2 && index != 5),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Internal);
                assert!(error.message().ends_with(&format!("panicked: item {index} is fatal")), "{error}");
                assert!(index == 2 || index == 5);
            }
        }
    }
    prefetch.start(0, 7..9).unwrap();
    assert_eq!((prefetch.take().unwrap(), prefetch.take().unwrap()), (7, 8));
}

#[test]
fn without_a_worker_left_there_are_errors_and_no_waiting() {
    for threads in [0, 1, 2] {
        let mut prefetch = fragile(threads, 4, &[1, 2]);
        prefetch.start(0, 0..6).unwrap();
        let found: Vec<_> = (0..6).map(|_| prefetch.take().map_err(|error| error.kind())).collect();
        let internal = Err(ErrorKind::Internal);
        assert_eq!(found[..3], [Ok(0), internal, internal], "{threads}");
        // Items are begun in their order, so the second thread meets its end before the fourth.
        assert!(found[3..].iter().all(|found| *found == internal), "{threads}: {found:?}");
        assert_eq!(prefetch.take().unwrap_err().kind(), ErrorKind::InvalidState);
        assert_eq!(prefetch.start(1, 0..1).unwrap_err().kind(), ErrorKind::InvalidState);
    }
}

#[test]
fn a_panic_in_an_epoch_that_is_given_up_is_no_hang() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let receiver = Arc::new(Mutex::new(receiver));
    let make = || {
        let receiver = Arc::clone(&receiver);
        Ok(move |epoch: &u64, index: usize| {
            if *epoch == 0 {
                let _ = receiver.lock().unwrap().recv();
                std::panic::panic_any("late");
            }
            Ok(index)
        })
    };
    let mut prefetch: Prefetch<usize> = Prefetch::new(1, 1, make).unwrap();
    prefetch.start(0, 0..1).unwrap();
    until(|| prefetch.shared.lock().next == 1);
    prefetch.start(1, 0..2).unwrap();
    sender.send(()).unwrap();
    assert!(prefetch.take().unwrap_err().message().contains("no worker is left to make item 0"));
    assert!(prefetch.take().is_err());
}

#[test]
fn dropped_at_any_moment_the_threads_end_and_nothing_stays() {
    for moment in 0..120u64 {
        let (mut prefetch, living, _) = counted(1 + moment as usize % 4, 1 + moment as usize % 6);
        if moment % 5 > 0 {
            prefetch.start(moment, 0..20).unwrap();
        }
        if moment % 5 > 1 {
            (0..moment % 20).for_each(|_| drop(prefetch.take().unwrap()));
        }
        nap(moment, 1000);
        let shared = Arc::downgrade(&prefetch.shared);
        drop(prefetch);
        assert_eq!(living.load(Ordering::SeqCst), 0, "{moment}");
        assert_eq!(shared.strong_count(), 0, "a thread still lives");
    }
}

#[test]
fn workers_and_what_they_hold_survive_epochs() {
    let made = Arc::new(AtomicUsize::new(0));
    let living = Arc::new(AtomicUsize::new(0));
    let make = || {
        made.fetch_add(1, Ordering::SeqCst);
        let held = Counted::new(0, &living, &AtomicUsize::new(0));
        let mut calls = 0;
        Ok(move |_: &u64, _: usize| {
            calls += 1;
            // All of it, where the value alone would be copied.
            let held = &held;
            Ok((held.value, calls, std::thread::current().id()))
        })
    };
    let mut prefetch: Prefetch<(u64, u32, std::thread::ThreadId)> = Prefetch::new(3, 4, make).unwrap();
    let mut all = Vec::new();
    for epoch in 0..20 {
        prefetch.start(epoch, 0..10).unwrap();
        all.extend((0..10).map(|_| prefetch.take().unwrap()));
        assert_eq!(living.load(Ordering::SeqCst), 3);
    }
    assert_eq!(made.load(Ordering::SeqCst), 3);
    // Each thread's calls are numbered on, through all epochs.
    let ids: std::collections::HashSet<_> = all.iter().map(|(_, _, id)| *id).collect();
    assert!(ids.len() <= 3);
    let calls: u32 =
        ids.iter().map(|own| all.iter().filter(|(_, _, id)| id == own).map(|at| at.1).max().unwrap()).sum();
    assert_eq!(calls, 200);
    drop(prefetch);
    assert_eq!(living.load(Ordering::SeqCst), 0);
}

#[test]
fn what_cannot_be_opened_is_told_at_once() {
    for (threads, fails_at) in [(0, 0), (3, 2)] {
        let mut count = 0;
        let make = || {
            count += 1;
            if count > fails_at {
                return Err(Error::new(ErrorKind::NotFound, "no such raster"));
            }
            Ok(|_: &u64, index: usize| Ok(index))
        };
        let made: Result<Prefetch<usize>> = Prefetch::new(threads, 2, make);
        assert_eq!(made.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn zero_threads_make_items_on_the_calling_thread_and_none_ahead() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let make = || {
        let counter = Arc::clone(&counter);
        Ok(move |_: &u64, _: usize| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(std::thread::current().id())
        })
    };
    let mut prefetch: Prefetch<std::thread::ThreadId> = Prefetch::new(0, 5, make).unwrap();
    prefetch.start(0, 0..3).unwrap();
    for count in 1..=3 {
        assert_eq!(prefetch.take().unwrap(), std::thread::current().id());
        assert_eq!(made.load(Ordering::SeqCst), count);
    }
}

#[test]
fn waiting_is_measured_by_epoch_and_in_all() {
    for threads in [0, 1] {
        let make = || {
            Ok(|pause: &u64, _: usize| {
                std::thread::sleep(Duration::from_millis(*pause));
                Ok(())
            })
        };
        let mut prefetch: Prefetch<()> = Prefetch::new(threads, 4, make).unwrap();
        prefetch.start(100, 0..3).unwrap();
        (0..3).for_each(|_| prefetch.take().unwrap());
        let first = prefetch.waited();
        assert!(first >= Duration::from_millis(150), "{first:?}");
        prefetch.start(0, 0..3).unwrap();
        assert_eq!(prefetch.waited(), Duration::ZERO);
        (0..3).for_each(|_| prefetch.take().unwrap());
        assert_eq!(prefetch.waited_in_all(), first + prefetch.waited());
    }
    // What is ready is not waited for: making it took ten times as long.
    let make = || {
        Ok(|_: &u64, index: usize| {
            std::thread::sleep(Duration::from_millis(200));
            Ok(index)
        })
    };
    let mut prefetch: Prefetch<usize> = Prefetch::new(5, 5, make).unwrap();
    prefetch.start(1, 0..5).unwrap();
    until(|| prefetch.shared.lock().made.iter().filter(|item| item.is_some()).count() == 5);
    assert!((0..5).all(|index| prefetch.take().unwrap() == index));
    assert!(prefetch.waited() < Duration::from_millis(100), "{:?}", prefetch.waited());
}

#[test]
fn stress() {
    let mut prefetch = numbers(8, 5, 50);
    let mut plan = SplitMix64::new(3);
    for epoch in 0..150 {
        let (first, count) = ((plan.next() % 9) as usize, (plan.next() % 40) as usize);
        prefetch.start(epoch, first..first + count).unwrap();
        let stop = (plan.next() % 50) as usize;
        for index in first..first + count.min(stop) {
            assert_eq!(prefetch.take().unwrap(), (epoch, index));
        }
    }
}
