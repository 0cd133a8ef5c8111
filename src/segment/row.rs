//! Blocks that come together on their way to where they are written.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ndarray::{Array3, Axis};

use crate::error::{Error, Result};
use crate::geometry::Window;
use crate::tensor::{Sample, Samples, with_samples};

/// Bytes from which on blocks side by side are written.
pub(super) const JOINED: usize = 1 << 20;

/// How long a block waits for its neighbour: what a process that is killed loses beyond the batches at work.
const PATIENCE: Duration = Duration::from_millis(20);

/// What the writer is given.
#[derive(Debug)]
pub(super) enum Piece {
    Block(Window, Samples),
    /// All blocks of the steps before this number have come.
    Done(u64),
}

/// Blocks side by side that are written as one: small ones would be many short lines of a file.
#[derive(Debug, Default)]
pub(super) struct Row {
    window: Option<Window>,
    /// From left to right.
    parts: Vec<Samples>,
    bytes: usize,
    done: Option<u64>,
    /// When the first of it came.
    since: Option<Instant>,
}

impl Row {
    /// What comes next; `Timeout` where what is here has waited for long enough.
    pub(super) fn next(&self, pieces: &Receiver<Piece>) -> std::result::Result<Piece, RecvTimeoutError> {
        match self.since.map(|since| PATIENCE.checked_sub(since.elapsed())) {
            None => pieces.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(None) => Err(RecvTimeoutError::Timeout),
            Some(Some(left)) => pieces.recv_timeout(left),
        }
    }

    /// Whether a block goes on where these end.
    pub(super) fn takes(&self, window: Window, samples: &Samples) -> bool {
        let (Some(own), Some(last)) = (self.window, self.parts.last()) else { return true };
        let fits = (own.y, own.height, own.x + own.width as i64) == (window.y, window.height, window.x);
        fits && last.data_type() == samples.data_type() && last.shape()[0] == samples.shape()[0]
    }

    pub(super) fn push(&mut self, window: Window, samples: Samples) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += samples.shape().iter().product::<usize>() * samples.data_type().bytes();
        match &mut self.window {
            Some(own) => own.width += window.width,
            none => *none = Some(window),
        }
        self.parts.push(samples);
    }

    pub(super) fn done(&mut self, steps: u64) {
        self.since.get_or_insert_with(Instant::now);
        self.done = Some(steps);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn parts(&self) -> &[Samples] {
        &self.parts
    }

    /// The last of the steps that were said to be done.
    pub(super) fn steps(&self) -> Option<u64> {
        self.done
    }

    /// The blocks as one; none where there are none.
    pub(super) fn joined(mut self) -> Result<Option<(Window, Samples)>> {
        fn of<T: Sample>(_like: &Array3<T>, parts: &[Samples]) -> Result<Samples> {
            let views: Option<Vec<_>> = parts.iter().map(|part| Some(T::of(part)?.view())).collect();
            let views = views.ok_or_else(|| Error::internal("blocks of several types"))?;
            let all = ndarray::concatenate(Axis(2), &views);
            Ok(T::wrap(all.map_err(|error| Error::internal("blocks side by side").caused_by(error))?))
        }
        let Some(window) = self.window else { return Ok(None) };
        let samples = match self.parts.as_slice() {
            [first, _, ..] => Some(with_samples!(Samples, first, first => of(first, &self.parts))?),
            _ => self.parts.pop(),
        };
        Ok(samples.map(|samples| (window, samples)))
    }
}
