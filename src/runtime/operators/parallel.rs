//! What the parts of a divided job share.
#![allow(unsafe_code, reason = "parts of one output are written by several threads")]

use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

/// An output that several threads write, each its own elements.
pub(super) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: a pointer to elements that may be sent; whoever writes through it promises that no two threads touch the
// same element (see `pointer`).
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(super) fn new(all: &'a mut [T]) -> Shared<'a, T> {
        Shared { start: all.as_mut_ptr(), len: all.len(), lifetime: PhantomData }
    }

    /// The address of the element at `first`, from which those until `last` are reached; both have to exist. Elements
    /// that one thread reaches must not be reached by another at the same time.
    pub(super) fn pointer(&self, first: usize, last: usize) -> *mut T {
        assert!(first <= last && last < self.len);
        // SAFETY: the element exists.
        unsafe { self.start.add(first) }
    }
}

/// Buffers that outlive a run: taken by a part of a job, given back at its end, so that there are never more of them
/// than threads of the session, however many nodes it has.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<f32>>>);

impl Buffers {
    /// Calls `job` with a buffer of at least `len` elements of any content.
    pub(super) fn with<R>(&self, len: usize, job: impl FnOnce(&mut [f32]) -> R) -> R {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0.0);
        }
        let result = job(&mut buffer);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        result
    }
}
