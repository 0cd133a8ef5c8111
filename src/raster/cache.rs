//! A bound on what GDAL keeps of the blocks it has decoded.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::open::Raster;
use super::sys;

/// The limits in force, of all threads.
static LIMITS: Mutex<Limits> = Mutex::new(Limits { living: Vec::new(), next: 0, before: 0, set: 0 });

/// While one lives, GDAL's block cache holds no more than it says.
///
/// GDAL has one block cache for all datasets of the process, so the limit is process-wide: a host that uses GDAL itself
/// sees it, and its datasets count towards it. With several guards the smallest limit holds, and never more than what
/// was there before the first; when the last one goes, that comes back (unless the host has set another one meanwhile,
/// which stays). `Send` and `Sync`; guards may be made and dropped on any thread, in any order.
///
/// GDAL drops what it used longest ago to stay below the limit. A limit smaller than the blocks that one window touches
/// (in a raster interleaved by pixel, of all bands) costs time, since they are decoded more than once; it never changes
/// what is read or written.
#[derive(Debug)]
pub struct CacheLimit {
    id: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Limits {
    /// Identifier and bytes of the guards alive.
    living: Vec<(u64, i64)>,
    next: u64,
    /// What was there before the first of them.
    before: i64,
    /// What the guards have set.
    set: i64,
}

impl CacheLimit {
    /// Limits the cache to `bytes`, at least 1 MiB.
    #[must_use = "the limit ends when the guard is dropped"]
    pub fn new(bytes: u64) -> CacheLimit {
        let bytes = bytes.clamp(1 << 20, i64::MAX as u64);
        let mut limits = lock();
        if limits.living.is_empty() {
            limits.before = sys::cache_limit();
            limits.set = limits.before;
        }
        let id = limits.next;
        limits.next += 1;
        limits.living.push((id, i64::try_from(bytes).unwrap_or(i64::MAX)));
        limits.put();
        CacheLimit { id, bytes }
    }

    /// What this guard asks for, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for CacheLimit {
    fn drop(&mut self) {
        let mut limits = lock();
        limits.living.retain(|(id, _)| *id != self.id);
        limits.put();
    }
}

impl Limits {
    /// Gives GDAL the limit that holds now. One that the host has set since the last time stays.
    fn put(&mut self) {
        let now = sys::cache_limit();
        if now != self.set {
            self.before = now;
        }
        let wanted = self.living.iter().map(|(_, bytes)| *bytes).fold(self.before, i64::min);
        if wanted != now {
            sys::set_cache_limit(wanted);
        }
        self.set = wanted;
    }
}

/// The numbers are whole at any time, so a panic elsewhere does not spoil them.
fn lock() -> MutexGuard<'static, Limits> {
    LIMITS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Raster {
    /// Drops what GDAL keeps of this raster's decoded blocks. The next read decodes again; nothing else changes.
    ///
    /// For whoever knows that a part is done with, so that the cache does not fill with what nobody reads again.
    pub fn forget(&self) {
        super::messages::scope(|| sys::drop_blocks(&self.dataset));
    }
}
