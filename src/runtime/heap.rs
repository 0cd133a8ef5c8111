//! Memory for sessions that come and go through large tensors, again and again: the activations of a training step.
//!
//! The runtime's arena grows by doubling and keeps what it has; without it every tensor is asked of the system, which
//! hands out fresh pages and fills them with zeros each time. Here large blocks come from one range of addresses: a block
//! takes the smallest gap that holds it, neighbouring gaps become one, and the range grows at its end only. What has been
//! touched once is used again without the system, and in huge pages where there are such; but no more stays touched than
//! the most that was in use at a time and a quarter of that. Small blocks are left to the system's allocator.
#![allow(unsafe_code, reason = "an allocator: addresses, and the interface of the runtime")]

use std::ffi::c_void;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use ort::AsPointer;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::sys::{OrtAllocator, OrtMemoryInfo};

use crate::runtime::pages::{PAGE, Pages};
use crate::runtime::ranges::{ALIGNMENT, Ranges};

/// Blocks below this are the system's.
const SMALL: usize = 32 * 1024;

/// Bytes that have memory behind them at most where so many are in use at most: gaps take a quarter of it. Where more is
/// touched, the largest of them lose their memory.
pub(super) fn touched(in_use: usize) -> usize {
    in_use.saturating_add((in_use / 4).max(2 * PAGE))
}

/// Blocks, and the memory behind them.
#[derive(Debug)]
struct Blocks {
    ranges: Ranges,
    pages: Pages,
}

impl Blocks {
    /// Touched pages of gaps that are to be given back so that no more than so many bytes are touched, the largest gaps
    /// first.
    fn beyond(&mut self, most: usize) -> Vec<Range<usize>> {
        let Blocks { ranges, pages } = self;
        let mut given = Vec::new();
        for gap in ranges.gaps() {
            if pages.bytes() <= most || gap.len() < PAGE {
                break;
            }
            given.extend(pages.give_back(gap, pages.bytes() - most));
        }
        given
    }
}

/// A range of addresses, and what is taken of it.
struct Heap {
    base: usize,
    len: usize,
    blocks: Mutex<Blocks>,
}

impl Heap {
    /// As much as the machine has memory; `None` where the system refuses.
    fn reserve() -> Option<Heap> {
        // SAFETY: asks for two numbers, and for addresses that nothing else has; no page is there before it is touched.
        unsafe {
            let pages = usize::try_from(libc::sysconf(libc::_SC_PHYS_PAGES)).ok()?;
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).ok()?;
            let len = pages.checked_mul(page)?.checked_next_multiple_of(PAGE)?;
            let base = libc::mmap(
                std::ptr::null_mut(),
                len.checked_add(PAGE)?,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            );
            if base == libc::MAP_FAILED {
                return None;
            }
            let base = (base as usize).next_multiple_of(PAGE);
            #[cfg(target_os = "linux")]
            libc::madvise(base as *mut c_void, len, libc::MADV_HUGEPAGE);
            let blocks = Blocks { ranges: Ranges::new(len), pages: Pages::default() };
            Some(Heap { base, len, blocks: Mutex::new(blocks) })
        }
    }

    fn allocate(&self, size: usize) -> *mut c_void {
        if size >= SMALL {
            let mut blocks = self.lock();
            if let Some(start) = blocks.ranges.take(size) {
                blocks.pages.touch(start..start + size);
                let most = touched(blocks.ranges.peak());
                self.give_back(&mut blocks, most);
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
        let start = (block as usize).wrapping_sub(self.base);
        if start >= self.len {
            // SAFETY: what does not lie in the range is the system's.
            unsafe { libc::free(block) };
            return;
        }
        let mut blocks = self.lock();
        blocks.ranges.give(start);
        if blocks.ranges.reset() {
            let touched = blocks.pages.reset();
            self.drop_pages(&(0..touched));
        }
    }

    /// Gives the memory of gaps back to the system; what is in use now is the peak.
    #[cfg(any(feature = "raster", test))]
    fn trim(&self) {
        let mut blocks = self.lock();
        blocks.ranges.forget_peak();
        self.give_back(&mut blocks, 0);
    }

    /// Gives back what is touched beyond so many bytes, as far as it is not in use.
    fn give_back(&self, blocks: &mut Blocks, most: usize) {
        if blocks.pages.bytes() > most {
            blocks.beyond(most).iter().for_each(|pages| self.drop_pages(pages));
        }
    }

    /// The caller holds the lock, and nothing of the pages is in use.
    fn drop_pages(&self, pages: &Range<usize>) {
        if !pages.is_empty() {
            let start = (self.base + pages.start) as *mut c_void;
            // SAFETY: pages of the range that no block lies in.
            unsafe { libc::madvise(start, pages.len(), libc::MADV_DONTNEED) };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The heap of the process; `None` where there is none.
static REGISTERED: OnceLock<Option<&'static Registered>> = OnceLock::new();

/// Gives memory of the heap that is not in use back to the system.
#[cfg(feature = "raster")]
pub(crate) fn trim_heap() {
    if let Some(Some(registered)) = REGISTERED.get() {
        registered.heap.trim();
    }
}

/// Makes the heap known to the environment, once; whether sessions may ask for the environment's allocators.
pub(super) fn register(environment: &ort::environment::Environment) -> bool {
    let registered = REGISTERED.get_or_init(|| {
        let made = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default);
        let (Ok(memory), Some(heap)) = (made, Heap::reserve()) else { return None };
        // SAFETY: a plain value of the interface.
        let mut interface = unsafe { OrtAllocator::default() };
        interface.Alloc = Some(allocate);
        interface.Free = Some(free);
        interface.Info = Some(info);
        // It lives as long as the environment, which is until the process ends.
        let registered: &'static mut Registered =
            Box::leak(Box::new(Registered { interface, info: memory, heap }));
        // SAFETY: environment and allocator are alive; the call copies neither.
        let status = unsafe {
            (ort::api().RegisterAllocator)(environment.ptr().cast_mut(), &raw mut registered.interface)
        };
        // SAFETY: a status that the runtime gave, or none.
        let result = unsafe { ort::Error::result_from_status(status) };
        if let Err(error) = &result {
            tracing::debug!(%error, "the runtime keeps its own allocator");
        }
        result.is_ok().then_some(&*registered)
    });
    registered.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(heap.lock().pages.bytes(), 0);
        assert!(heap.allocate(usize::MAX).is_null());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_more_is_touched_than_the_peak_and_a_quarter() {
        let heap = Heap::reserve().unwrap();
        let base = heap.base;
        let put = |size: usize, value: u8| {
            let block = heap.allocate(size);
            // SAFETY: a block of that size, which is ours.
            unsafe { block.cast::<u8>().write_bytes(value, size) };
            block
        };
        // A small block behind each large one, so that gaps do not grow together; each next block fits into none of them.
        let mut kept = Vec::new();
        let mut size = 40 * PAGE;
        for _ in 0..12 {
            let block = put(size, 1);
            kept.push(put(SMALL, 2));
            heap.free(block);
            size += PAGE;
        }
        let blocks = heap.lock();
        let peak = blocks.ranges.peak();
        assert!(peak < size + 12 * SMALL, "{peak}");
        assert!(blocks.pages.bytes() <= touched(peak), "{} of {peak}", blocks.pages.bytes());
        drop(blocks);
        assert!(resident(base) <= touched(peak), "{} of {peak}", resident(base));
        heap.trim();
        assert!(resident(base) <= 13 * PAGE, "{}", resident(base));
        for block in &kept {
            // SAFETY: as above; it was not freed.
            assert_eq!(unsafe { *block.cast::<u8>().add(SMALL - 1) }, 2, "what is in use stays");
        }
        kept.into_iter().for_each(|block| heap.free(block));
        assert_eq!(resident(base), 0);
    }

    /// Bytes of memory behind the addresses from `base` on, as the system counts them.
    #[cfg(target_os = "linux")]
    fn resident(base: usize) -> usize {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut own = false;
        let mut bytes = 0;
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (Some(first), second) = (words.next(), words.next()) else { continue };
            let addresses = first.split_once('-').and_then(|(start, end)| {
                Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
            });
            if let Some((start, end)) = addresses {
                own = start <= base && base < end;
            } else if own && first == "Rss:" {
                bytes += second.unwrap().parse::<usize>().unwrap() * 1024;
            }
        }
        bytes
    }
}
