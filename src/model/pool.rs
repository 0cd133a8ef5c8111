//! Idle sessions of a model.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::{Session, SessionOptions};

/// Idle sessions kept: each holds the weights once more.
const IDLE: usize = 2;

/// Sessions that wait for the next job.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<(SessionOptions, Session)>>);

impl Pool {
    pub(super) fn take(&self, options: &SessionOptions) -> Option<Session> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = idle.iter().position(|(own, _)| own == options)?;
        Some(idle.swap_remove(index).1)
    }

    fn put(&self, options: SessionOptions, session: Session) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE {
            idle.remove(0);
        }
        idle.push((options, session));
    }
}

/// A session on loan from a [`Model`](crate::model::Model); it goes back when it is dropped.
#[derive(Debug)]
pub struct PooledSession {
    /// `None` only while it is dropped.
    session: Option<Session>,
    options: SessionOptions,
    pool: Arc<Pool>,
}

impl PooledSession {
    pub(super) fn new(session: Session, options: SessionOptions, pool: &Arc<Pool>) -> PooledSession {
        PooledSession { session: Some(session), options, pool: Arc::clone(pool) }
    }
}

impl Deref for PooledSession {
    type Target = Session;

    #[expect(clippy::expect_used, reason = "the session is taken out in drop alone")]
    fn deref(&self) -> &Session {
        self.session.as_ref().expect("session on loan")
    }
}

impl DerefMut for PooledSession {
    #[expect(clippy::expect_used, reason = "the session is taken out in drop alone")]
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("session on loan")
    }
}

impl Drop for PooledSession {
    fn drop(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.release_cancel();
            // A session that a panic went through may be in the middle of anything.
            if !std::thread::panicking() {
                self.pool.put(self.options.clone(), session);
            }
        }
    }
}
