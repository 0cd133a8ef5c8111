//! Idle sessions of a model.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::Form;
use crate::runtime::{Session, SessionOptions};

/// Idle sessions kept: each holds the weights once more.
const IDLE: usize = 3;

/// What a session was made of.
pub(super) type Key = (Form, SessionOptions);

/// Sessions that wait for the next job.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<(Key, Session)>>);

impl Pool {
    pub(super) fn take(&self, key: &Key) -> Option<Session> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = idle.iter().position(|(own, _)| own == key)?;
        Some(idle.swap_remove(index).1)
    }

    fn put(&self, key: Key, session: Session) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE {
            idle.remove(0);
        }
        idle.push((key, session));
    }
}

/// A session on loan from a [`Model`](crate::model::Model); it goes back when it is dropped.
#[derive(Debug)]
pub struct PooledSession {
    /// `None` only while it is dropped.
    session: Option<Session>,
    key: Key,
    pool: Arc<Pool>,
}

impl PooledSession {
    pub(super) fn new(session: Session, key: Key, pool: &Arc<Pool>) -> PooledSession {
        PooledSession { session: Some(session), key, pool: Arc::clone(pool) }
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
                self.pool.put(self.key.clone(), session);
            }
        }
    }
}
