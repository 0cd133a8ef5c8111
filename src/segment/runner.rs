//! What runs the model on batches: a session in the form of the job, and one of the model as it is to compare with.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Form, Model, PooledSession};
use crate::runtime::{Optimization, OutputTensor, Session, SessionOptions};
use crate::segment::agreement::{Agreement, agreement};
use crate::segment::job::Job;
use crate::segment::reading::Batch;
use crate::segment::setup::{Setup, output_shape};

/// Batches of a job that are run in single precision too.
const COMPARED: u64 = 4;

/// A session at work.
pub(super) struct Runner<'a> {
    model: &'a Model,
    session: PooledSession,
    reference: Reference,
    agreement: Agreement,
}

/// The model in single precision, where the job's is not, and how many batches it is still to score; it goes when that is
/// done. All runners have the same.
type Reference = Arc<Mutex<Option<(PooledSession, u64)>>>;

impl<'a> Job<'a, '_> {
    /// Sessions of the form, as many as there are to be batches at the model at the same time.
    ///
    /// # Errors
    /// As [`Model::session_as`].
    pub(super) fn runners(&self, setup: &Setup) -> Result<Vec<Runner<'a>>> {
        let wide = Form { half: false, fusion: setup.form.fusion.clone() };
        let reference =
            setup.form.half.then(|| self.session(&wide, setup.in_flight, setup.optimization)).transpose()?;
        let reference = Arc::new(Mutex::new(reference.map(|session| (session, COMPARED))));
        (0..setup.in_flight)
            .map(|_| {
                Ok(Runner {
                    model: self.model,
                    session: self.session(&setup.form, setup.in_flight, setup.optimization)?,
                    reference: Arc::clone(&reference),
                    agreement: Agreement::default(),
                })
            })
            .collect()
    }

    /// A session for one of so many batches at the same time, which share the threads.
    pub(super) fn session(
        &self,
        form: &Form,
        in_flight: usize,
        optimization: Optimization,
    ) -> Result<PooledSession> {
        let options = SessionOptions {
            provider: self.options.provider.clone(),
            threads: (self.options.threads() / in_flight).max(1),
            // Tensors of all sessions as close as they fit: an arena keeps up to twice of what a run needs, each its own.
            heap: true,
            // With it a run has one block for all tensors, beside what the first run has left.
            memory_pattern: false,
            optimization,
            ..Default::default()
        };
        let mut session = self.model.session_as(form, &options)?;
        session.cancel_with(self.cancel)?;
        Ok(session)
    }
}

impl Runner<'_> {
    /// Scores a batch before which so many were run; none where no tile of it is to be run.
    pub(super) fn run(&mut self, setup: &Setup, batch: &Batch, runs: u64) -> Result<Option<OutputTensor>> {
        if batch.filled == 0 {
            return Ok(None);
        }
        let tiles = if setup.fixed_batch { setup.batch } else { batch.filled };
        let first = batch.tiles.first().map_or(0, |own| own.step.tile.number);
        let values = scored(self.model, &mut self.session, setup, batch, tiles)
            .map_err(|error| error.at_tile(first))?;
        if setup.form.half && runs < COMPARED {
            let mut reference = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((session, left)) = reference.as_mut() {
                let wide =
                    scored(self.model, session, setup, batch, tiles).map_err(|error| error.at_tile(first))?;
                self.agreement.add(agreement(&setup.encoding, &batch.tiles, &values, &wide));
                *left -= 1;
                if *left == 0 {
                    *reference = None;
                }
            }
        }
        Ok(Some(values))
    }

    /// What was found where the model ran in half precision.
    pub(super) fn agreement(&self) -> Agreement {
        self.agreement
    }
}

fn scored(
    model: &Model,
    session: &mut Session,
    setup: &Setup,
    batch: &Batch,
    tiles: usize,
) -> Result<OutputTensor> {
    let shape = [tiles, setup.channels, setup.tile.height, setup.tile.width];
    let output = model.contract().output();
    let values = batch.input.score(session, shape, output)?;
    let (channels, size) = output_shape(values.shape(), tiles)?;
    let map = setup.plan.tile_size();
    let expected = setup.scored_channels();
    if channels != expected || size != map {
        let expected = [tiles, expected, map.height, map.width];
        let message = format!(
            "the model's output {:?} is not the {expected:?} seen or declared before",
            values.shape()
        );
        return Err(Error::new(ErrorKind::ModelUnsupported, message).at_tensor(output));
    }
    Ok(values)
}

/// The time in which at least one of several is at work.
#[derive(Debug, Default)]
pub(super) struct Busy(Mutex<Hours>);

#[derive(Debug, Default)]
struct Hours {
    at_work: usize,
    since: Option<Instant>,
    total: Duration,
}

impl Busy {
    pub(super) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        self.change(|hours| {
            hours.at_work += 1;
            hours.since.get_or_insert_with(Instant::now);
        });
        let done = work();
        self.change(|hours| {
            hours.at_work -= 1;
            if hours.at_work == 0
                && let Some(since) = hours.since.take()
            {
                hours.total += since.elapsed();
            }
        });
        done
    }

    pub(super) fn seconds(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).total.as_secs_f64()
    }

    fn change(&self, how: impl FnOnce(&mut Hours)) {
        how(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A session of the model as it is, for questions that its graph does not answer; made when the first is asked.
pub(super) struct Probe<'a> {
    make: Box<dyn Fn() -> Result<PooledSession> + 'a>,
    session: Option<PooledSession>,
}

impl<'a> Probe<'a> {
    pub(super) fn new(make: impl Fn() -> Result<PooledSession> + 'a) -> Probe<'a> {
        Probe { make: Box::new(make), session: None }
    }

    pub(super) fn session(&mut self) -> Result<&mut Session> {
        match &mut self.session {
            Some(session) => Ok(session),
            none => Ok(none.insert((self.make)()?)),
        }
    }
}
