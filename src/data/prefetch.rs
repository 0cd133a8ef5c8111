//! Items made ahead by other threads, taken in order.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// Makes item `index` of an epoch.
type Worker<T, E> = Box<dyn FnMut(&E, usize) -> Result<T> + Send>;

/// Makes the items of an epoch ahead of their use, on threads of its own, and gives them in their order, whichever
/// thread made them.
///
/// The threads and what they hold (open files, say) live as long as the prefetch; an epoch is a value `E`, a seed for
/// example, that the workers read, and a range of indices. At most `ahead` items exist that are made, or being made, and
/// not taken.
///
/// Threads: used by one at a time; may be sent to another.
pub struct Prefetch<T, E = u64> {
    shared: Arc<Shared<T, E>>,
    threads: Vec<JoinHandle<()>>,
    /// Makes items on the calling thread, where there are no others. `None` after it panicked.
    own: Option<Worker<T, E>>,
    waited: Duration,
    waited_in_all: Duration,
}

struct Shared<T, E> {
    state: Mutex<State<T, E>>,
    /// A worker may have something to do.
    work: Condvar,
    /// An item is made, or a worker is gone.
    ready: Condvar,
}

struct State<T, E> {
    /// `None` before the first epoch.
    epoch: Option<Arc<E>>,
    /// Counts epochs, so that what was begun in an earlier one is known when it ends.
    number: u64,
    /// Index of the next item to be begun.
    next: usize,
    end: usize,
    /// Index of the item at the head of `made`, which is the next to be taken.
    taken: usize,
    /// From `taken` to `next`: items made, or `None` while they are being made.
    made: VecDeque<Option<Result<T>>>,
    /// Items of earlier epochs that are still being made; they count against the bound.
    stale: usize,
    ahead: usize,
    /// Threads that have not panicked.
    alive: usize,
    is_closed: bool,
}

impl<T, E> Prefetch<T, E>
where
    T: Send + 'static,
    E: Send + Sync + 'static,
{
    /// Starts `threads` threads that make items. `make` is called here, once for each, and gives the worker of that
    /// thread with all that it holds; the worker makes the item of an index of an epoch.
    ///
    /// With 0 threads items are made when they are taken, on the calling thread. `ahead` is at least 1, and below
    /// `threads` leaves some without work.
    ///
    /// # Errors
    /// Those of `make`; [`Io`](ErrorKind::Io) where the system gives no thread.
    pub fn new<W>(threads: usize, ahead: usize, mut make: impl FnMut() -> Result<W>) -> Result<Prefetch<T, E>>
    where
        W: FnMut(&E, usize) -> Result<T> + Send + 'static,
    {
        let state = State {
            epoch: None,
            number: 0,
            next: 0,
            end: 0,
            taken: 0,
            made: VecDeque::new(),
            stale: 0,
            ahead: ahead.max(1),
            alive: threads,
            is_closed: false,
        };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), ready: Condvar::new() });
        let mut prefetch = Prefetch {
            shared,
            threads: Vec::with_capacity(threads),
            own: None,
            waited: Duration::ZERO,
            waited_in_all: Duration::ZERO,
        };
        if threads == 0 {
            prefetch.own = Some(Box::new(make()?));
        }
        // What fails here drops the prefetch, which ends the threads that run.
        for _ in 0..threads {
            let worker: Worker<T, E> = Box::new(make()?);
            let shared = Arc::clone(&prefetch.shared);
            let thread = std::thread::Builder::new()
                .name("glebe-prefetch".into())
                .spawn(move || run(&shared, worker))
                .map_err(|error| Error::new(ErrorKind::Io, "cannot start a thread").caused_by(error))?;
            prefetch.threads.push(thread);
        }
        Ok(prefetch)
    }

    /// Begins an epoch: [`take`](Prefetch::take) gives the items of `items`, one after the other. An epoch that is not at
    /// its end is given up; what was made of it is dropped.
    ///
    /// # Errors
    /// [`InvalidState`](ErrorKind::InvalidState) where all workers have panicked.
    pub fn start(&mut self, epoch: E, items: Range<usize>) -> Result<()> {
        self.pause();
        self.waited = Duration::ZERO;
        let mut state = self.shared.lock();
        if state.alive == 0 && self.own.is_none() {
            return Err(Error::new(ErrorKind::InvalidState, "no worker is left: all have panicked"));
        }
        state.epoch = Some(Arc::new(epoch));
        state.taken = items.start;
        state.next = items.start;
        state.end = items.end.max(items.start);
        drop(state);
        self.shared.work.notify_all();
        Ok(())
    }

    /// The next item of the epoch; waits until it is made.
    ///
    /// # Errors
    /// That of this item's making; the next call goes on with the next item. [`Internal`](ErrorKind::Internal) where its
    /// worker panicked, which is then gone, or none is left to make it. [`InvalidState`](ErrorKind::InvalidState) after
    /// the last item and before the first epoch.
    pub fn take(&mut self) -> Result<T> {
        let start = Instant::now();
        let item = if self.threads.is_empty() { self.make_here() } else { self.shared.wait() };
        let waited = start.elapsed();
        self.waited += waited;
        self.waited_in_all += waited;
        item
    }

    /// How many items of the epoch are still to be taken.
    pub fn left(&self) -> usize {
        let state = self.shared.lock();
        state.end - state.taken
    }

    /// How long [`take`](Prefetch::take) took in this epoch: with threads what it waited, without them what making took.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How long it took in all epochs.
    pub fn waited_in_all(&self) -> Duration {
        self.waited_in_all
    }

    fn make_here(&mut self) -> Result<T> {
        let (epoch, index) = {
            let mut state = self.shared.lock();
            let epoch = state.epoch_of_next()?;
            state.taken += 1;
            state.next = state.taken;
            (epoch, state.taken - 1)
        };
        let Some(worker) = &mut self.own else { return Err(no_worker(index)) };
        match catch_unwind(AssertUnwindSafe(|| worker(&epoch, index))) {
            Ok(item) => item,
            Err(panic) => {
                self.own = None;
                Err(panicked(index, &*panic))
            }
        }
    }
}

impl<T, E> Prefetch<T, E> {
    /// Gives up the epoch.
    fn pause(&self) {
        let mut state = self.shared.lock();
        state.stale += state.made.iter().filter(|item| item.is_none()).count();
        state.number += 1;
        state.end = state.taken;
        state.next = state.taken;
        let made = std::mem::take(&mut state.made);
        drop(state);
        // Not under the lock: it may take long, and what is dropped is not ours.
        drop(made);
    }
}

impl<T, E> Drop for Prefetch<T, E> {
    /// Waits for the items that are being made.
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A worker's panic was told when its item was taken.
            let _ = thread.join();
        }
    }
}

impl<T, E> std::fmt::Debug for Prefetch<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefetch")
            .field("threads", &self.threads.len())
            .field("waited_in_all", &self.waited_in_all)
            .finish_non_exhaustive()
    }
}

impl<T, E> Shared<T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        // No state is left half-changed: nothing in between can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) -> Result<T> {
        let mut state = self.lock();
        state.epoch_of_next()?;
        loop {
            if let Some(Some(_)) = state.made.front()
                && let Some(Some(item)) = state.made.pop_front()
            {
                state.taken += 1;
                drop(state);
                self.work.notify_one();
                return item;
            }
            // One that is being made has a worker still.
            if state.alive == 0 && state.made.is_empty() {
                let index = state.taken;
                state.taken += 1;
                state.next = state.taken;
                return Err(no_worker(index));
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T, E> State<T, E> {
    /// The epoch, if it has an item to be taken.
    fn epoch_of_next(&self) -> Result<Arc<E>> {
        match &self.epoch {
            Some(epoch) if self.taken < self.end => Ok(Arc::clone(epoch)),
            Some(_) => Err(Error::new(ErrorKind::InvalidState, "all items of the epoch are taken")),
            None => Err(Error::new(ErrorKind::InvalidState, "no epoch has begun")),
        }
    }

    /// An item to be made, if there is one and room for it.
    fn begin(&mut self) -> Option<(Arc<E>, u64, usize)> {
        let has_room = self.made.len() + self.stale < self.ahead;
        if self.next >= self.end || !has_room {
            return None;
        }
        let epoch = Arc::clone(self.epoch.as_ref()?);
        self.next += 1;
        self.made.push_back(None);
        Some((epoch, self.number, self.next - 1))
    }
}

/// A thread's life.
fn run<T, E>(shared: &Shared<T, E>, mut worker: Worker<T, E>) {
    let mut state = shared.lock();
    while !state.is_closed {
        let Some((epoch, number, index)) = state.begin() else {
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(state);
        let made = catch_unwind(AssertUnwindSafe(|| worker(&epoch, index)));
        drop(epoch);
        let mut has_panicked = made.is_err();
        let mut item = Some(made.unwrap_or_else(|panic| Err(panicked(index, &*panic))));
        state = shared.lock();
        if state.number != number {
            // The bound counts it until it is gone.
            drop(state);
            has_panicked |= catch_unwind(AssertUnwindSafe(|| drop(item.take()))).is_err();
            state = shared.lock();
            state.stale -= 1;
            shared.work.notify_all();
        } else {
            let place = index - state.taken;
            if let Some(slot) = state.made.get_mut(place) {
                *slot = item;
            }
        }
        if has_panicked {
            // What it holds may be broken.
            state.alive -= 1;
        }
        shared.ready.notify_all();
        if has_panicked {
            return;
        }
    }
}

fn panicked(index: usize, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("the worker of item {index} panicked: {}", text.unwrap_or("no message")))
}

fn no_worker(index: usize) -> Error {
    Error::internal(format!("no worker is left to make item {index}: all have panicked"))
}

#[cfg(test)]
#[path = "prefetch_tests.rs"]
mod tests;
