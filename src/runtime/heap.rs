//! Memory for sessions that come and go through large tensors, again and again: the activations of a training step.
//!
//! The runtime's arena grows by doubling and keeps what it has; without it every tensor is asked of the system, which
//! hands out fresh pages and fills them with zeros each time. Here large blocks come from one range of addresses: a block
//! takes the smallest gap that holds it, neighbouring gaps become one, and the range grows at its end only. What has been
//! touched once is used again without the system, and in huge pages where there are such. Small blocks are left to the
//! system's allocator.
#![allow(unsafe_code, reason = "an allocator: addresses, and the interface of the runtime")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::c_void;
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::AsPointer;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::sys::{OrtAllocator, OrtMemoryInfo};

/// Of blocks and of their sizes: a line of the cache, and what vector instructions want.
const ALIGNMENT: usize = 64;
/// Blocks below this are the system's.
const SMALL: usize = 32 * 1024;
/// Huge pages begin at multiples of this.
const HUGE: usize = 2 << 20;

/// Which parts of a range of addresses are taken. Offsets and sizes in bytes.
#[derive(Debug, Default)]
struct Ranges {
    len: usize,
    /// Behind the last block.
    top: usize,
    /// Blocks in use, by where they start.
    used: HashMap<usize, usize>,
    /// Gaps below the top: by where they start, and by size.
    gaps: BTreeMap<usize, usize>,
    by_size: BTreeSet<(usize, usize)>,
}

impl Ranges {
    fn new(len: usize) -> Ranges {
        Ranges { len, ..Ranges::default() }
    }

    /// Where a block of `size` may lie; `None` where there is no room.
    fn take(&mut self, size: usize) -> Option<usize> {
        let size = size.max(1).checked_next_multiple_of(ALIGNMENT)?;
        let start = match self.by_size.range((size, 0)..).next().copied() {
            Some((gap, start)) => {
                self.remove(start, gap);
                if gap > size {
                    self.insert(start + size, gap - size);
                }
                start
            }
            None => {
                // A gap at the end grows.
                let last = self.gaps.iter().next_back().map(|(start, gap)| (*start, *gap));
                let start = match last {
                    Some((start, gap)) if start + gap == self.top => start,
                    _ => self.top,
                };
                let end = start.checked_add(size).filter(|end| *end <= self.len)?;
                if start < self.top {
                    self.remove(start, self.top - start);
                }
                self.top = end;
                start
            }
        };
        self.used.insert(start, size);
        Some(start)
    }

    /// Gives the block at `start` back; whether there was one.
    fn give(&mut self, start: usize) -> bool {
        let Some(mut size) = self.used.remove(&start) else { return false };
        let mut start = start;
        if let Some((&before, &gap)) = self.gaps.range(..start).next_back()
            && before + gap == start
        {
            self.remove(before, gap);
            (start, size) = (before, size + gap);
        }
        if let Some(&gap) = self.gaps.get(&(start + size)) {
            self.remove(start + size, gap);
            size += gap;
        }
        self.insert(start, size);
        true
    }

    fn insert(&mut self, start: usize, size: usize) {
        self.gaps.insert(start, size);
        self.by_size.insert((size, start));
    }

    fn remove(&mut self, start: usize, size: usize) {
        self.gaps.remove(&start);
        self.by_size.remove(&(size, start));
    }

    /// Forgets the gaps if nothing is in use, and says how much was touched.
    fn reset(&mut self) -> usize {
        if !self.used.is_empty() {
            return 0;
        }
        self.gaps.clear();
        self.by_size.clear();
        std::mem::take(&mut self.top)
    }
}

/// A range of addresses, and what is taken of it.
struct Heap {
    base: usize,
    ranges: Mutex<Ranges>,
}

impl Heap {
    /// As much as the machine has memory; `None` where the system refuses.
    fn reserve() -> Option<Heap> {
        // SAFETY: asks for two numbers, and for addresses that nothing else has; no page is there before it is touched.
        unsafe {
            let pages = usize::try_from(libc::sysconf(libc::_SC_PHYS_PAGES)).ok()?;
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).ok()?;
            let len = pages.checked_mul(page)?.checked_next_multiple_of(HUGE)?;
            let base = libc::mmap(
                std::ptr::null_mut(),
                len.checked_add(HUGE)?,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            );
            if base == libc::MAP_FAILED {
                return None;
            }
            let base = (base as usize).next_multiple_of(HUGE);
            #[cfg(target_os = "linux")]
            libc::madvise(base as *mut c_void, len, libc::MADV_HUGEPAGE);
            Some(Heap { base, ranges: Mutex::new(Ranges::new(len)) })
        }
    }

    fn allocate(&self, size: usize) -> *mut c_void {
        if size >= SMALL {
            let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(start) = ranges.take(size) {
                return (self.base + start) as *mut c_void;
            }
        }
        let mut block = std::ptr::null_mut();
        // SAFETY: the alignment is a power of two, and a multiple of a pointer's size.
        match unsafe { libc::posix_memalign(&raw mut block, ALIGNMENT, size.max(1)) } {
            0 => block,
            _ => std::ptr::null_mut(),
        }
    }

    fn free(&self, block: *mut c_void) {
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (block as usize).wrapping_sub(self.base);
        if start >= ranges.len {
            drop(ranges);
            // SAFETY: what does not lie in the range is the system's.
            unsafe { libc::free(block) };
            return;
        }
        ranges.give(start);
        let touched = ranges.reset();
        if touched > 0 {
            // SAFETY: nothing of it is in use; the lock is still held.
            unsafe { libc::madvise(self.base as *mut c_void, touched, libc::MADV_DONTNEED) };
        }
    }
}

/// What the runtime is given: its own part comes first.
#[repr(C)]
struct Registered {
    interface: OrtAllocator,
    info: MemoryInfo<'static>,
    heap: Heap,
}

// SAFETY: the interface's functions lock what they change.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

unsafe extern "system" fn allocate(this: *mut OrtAllocator, size: usize) -> *mut c_void {
    // SAFETY: the runtime gives what was registered, which is never freed.
    unsafe { &*this.cast::<Registered>() }.heap.allocate(size)
}

unsafe extern "system" fn free(this: *mut OrtAllocator, block: *mut c_void) {
    if !block.is_null() {
        // SAFETY: as above.
        unsafe { &*this.cast::<Registered>() }.heap.free(block);
    }
}

unsafe extern "system" fn info(this: *const OrtAllocator) -> *const OrtMemoryInfo {
    // SAFETY: as above.
    unsafe { &*this.cast::<Registered>() }.info.ptr()
}

/// Makes the heap known to the environment, once; whether sessions may ask for the environment's allocators.
pub(super) fn register(environment: &ort::environment::Environment) -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    *REGISTERED.get_or_init(|| {
        let made = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default);
        let (Ok(memory), Some(heap)) = (made, Heap::reserve()) else { return false };
        // SAFETY: a plain value of the interface.
        let mut interface = unsafe { OrtAllocator::default() };
        interface.Alloc = Some(allocate);
        interface.Free = Some(free);
        interface.Info = Some(info);
        // It lives as long as the environment, which is until the process ends.
        let registered = Box::leak(Box::new(Registered { interface, info: memory, heap }));
        // SAFETY: environment and allocator are alive; the call copies neither.
        let status = unsafe {
            (ort::api().RegisterAllocator)(environment.ptr().cast_mut(), &raw mut registered.interface)
        };
        // SAFETY: a status that the runtime gave, or none.
        let result = unsafe { ort::Error::result_from_status(status) };
        if let Err(error) = &result {
            tracing::debug!(%error, "the runtime keeps its own allocator");
        }
        result.is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_used_again_and_grow_together() {
        let mut ranges = Ranges::new(1 << 20);
        let blocks: Vec<usize> = (0..4).map(|_| ranges.take(1000).unwrap()).collect();
        assert_eq!(blocks, [0, 1024, 2048, 3072]);
        assert!(ranges.give(1024) && ranges.give(2048));
        // The two are one gap.
        assert_eq!(ranges.take(2000), Some(1024));
        assert!(ranges.give(1024));
        // The smallest gap that holds it, not the first.
        let far = ranges.take(500).unwrap();
        assert_eq!(far, 1024);
        assert_eq!(ranges.take(4096), Some(4096));
        // A gap at the end grows.
        assert!(ranges.give(4096));
        assert_eq!(ranges.take(8192), Some(4096));
        assert!(!ranges.give(7), "no block");
    }

    #[test]
    fn random_blocks_never_overlap() {
        let mut ranges = Ranges::new(1 << 22);
        let mut state = 88_172_645_463_325_252u64;
        let mut next = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as usize % end
        };
        let mut blocks: Vec<(usize, usize)> = Vec::new();
        for _ in 0..20_000 {
            if next(5) < 3 {
                let size = 1 + next(1 << 16);
                if let Some(start) = ranges.take(size) {
                    assert!(start.is_multiple_of(ALIGNMENT) && start + size <= 1 << 22);
                    assert!(blocks.iter().all(|(other, len)| start + size <= *other || other + len <= start));
                    blocks.push((start, size));
                }
            } else if !blocks.is_empty() {
                let (start, _) = blocks.swap_remove(next(blocks.len()));
                assert!(ranges.give(start));
            }
        }
        for (start, _) in blocks.drain(..) {
            assert!(ranges.give(start));
        }
        assert_eq!(ranges.gaps.len(), 1, "all gaps have become one");
        assert!(ranges.reset() > 1 << 20);
        assert_eq!((ranges.top, ranges.gaps.len(), ranges.by_size.len()), (0, 0, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut ranges = Ranges::new(4096);
        assert_eq!(ranges.take(usize::MAX), None);
        assert_eq!(ranges.take(4097), None);
        assert_eq!(ranges.take(4096), Some(0));
        assert_eq!(ranges.take(1), None);
    }

    #[test]
    fn memory_can_be_written_and_comes_back() {
        let heap = Heap::reserve().unwrap();
        let blocks: Vec<*mut c_void> =
            [1, SMALL - 1, SMALL, 10 << 20].map(|size| heap.allocate(size)).to_vec();
        for (block, size) in blocks.iter().zip([1, SMALL - 1, SMALL, 10 << 20]) {
            assert_eq!(*block as usize % ALIGNMENT, 0);
            // SAFETY: a block of that size, which is ours.
            unsafe { block.cast::<u8>().write_bytes(7, size) };
        }
        for block in blocks {
            heap.free(block);
        }
        assert_eq!(heap.ranges.lock().unwrap().top, 0);
        assert!(heap.allocate(usize::MAX).is_null());
    }
}
