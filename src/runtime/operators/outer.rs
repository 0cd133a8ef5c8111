//! Many outer products at once: the inner loop of a convolution.
//!
//! A *tile* is a few filters times a few vectors of pixels. For every channel and tap the weights of the filters are
//! multiplied with the pixels that the tap meets, and the sums stay in registers until the last channel. As in
//! [`dot`](super::dot) nothing but the weights has to be packed: a vector of pixels is any address, and the taps of a
//! kernel are shifted addresses.
#![allow(unsafe_code, reason = "vector instructions and rows that overlap in memory")]

#[cfg(target_arch = "x86_64")]
use crate::runtime::operators::lanes::x86;
use crate::runtime::operators::lanes::{Instructions, Lanes};

/// Most filters of a tile.
pub(super) const FILTERS: usize = 8;
/// Most vectors of a tile.
pub(super) const VECTORS: usize = 3;

/// A vector of pixels: neighbours in the source and in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Where the source is read for the tap without offset, relative to the channel's start.
    pub(super) from: usize,
    /// Where the sum goes, relative to the filter's start.
    pub(super) to: usize,
    /// How many pixels there are, 1 to the lanes of a vector.
    pub(super) count: usize,
}

/// A tile's operands:
/// `out[f · out_pitch + to + p] = clamp(before + Σ weights[(c · taps + t) · pitch + f] · source[c · channel_pitch + taps[t] + from + p])`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) weights: *const f32,
    pub(super) weight_pitch: usize,
    /// How many filters, 1 to the height of the instructions' tile.
    pub(super) filters: usize,
    pub(super) source: *const f32,
    pub(super) channels: usize,
    pub(super) channel_pitch: usize,
    pub(super) taps: &'a [usize],
    /// 1 to [`VECTORS`] of them.
    pub(super) runs: &'a [Run],
    pub(super) out: *mut f32,
    pub(super) out_pitch: usize,
    /// What is added to the sums: what `out` holds, or a number a filter, or nothing.
    pub(super) add: bool,
    pub(super) bias: Option<*const f32>,
    /// What the sums are cut to.
    pub(super) limits: Option<[f32; 2]>,
}

impl Instructions {
    /// Filters of a tile that fits the registers.
    pub(super) fn filters(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => FILTERS,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => 4,
            Instructions::Portable => 2,
        }
    }

    /// Computes a tile.
    ///
    /// # Safety
    /// This processor has the instructions. For every channel, tap and run a whole vector is readable in the source, and
    /// the weights of all channels and taps; the pixels of `out` are writable and nobody else's.
    pub(super) unsafe fn outer(self, tile: &Tile<'_>) {
        macro_rules! sizes {
            ($kernel:ident: $($a:literal x $b:literal),*) => {
                match (tile.filters, tile.runs.len()) {
                    // SAFETY: the caller's promises.
                    $(($a, $b) => unsafe { $kernel::<$a, $b>(tile) },)*
                    _ => debug_assert!(false, "a tile of another size"),
                }
            };
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => {
                sizes!(avx512: 1 x 1, 1 x 2, 1 x 3, 2 x 1, 2 x 2, 2 x 3, 3 x 1, 3 x 2, 3 x 3,
                4 x 1, 4 x 2, 4 x 3, 5 x 1, 5 x 2, 5 x 3, 6 x 1, 6 x 2, 6 x 3, 7 x 1, 7 x 2, 7 x 3,
                8 x 1, 8 x 2, 8 x 3)
            }
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => sizes!(avx2: 1 x 1, 1 x 2, 1 x 3, 2 x 1, 2 x 2, 2 x 3, 3 x 1, 3 x 2, 3 x 3,
                4 x 1, 4 x 2, 4 x 3),
            Instructions::Portable => sizes!(portable: 1 x 1, 1 x 2, 1 x 3, 2 x 1, 2 x 2, 2 x 3),
        }
    }
}

impl Instructions {
    /// Computes a row of tiles for one filter: any number of runs.
    ///
    /// # Safety
    /// As [`Instructions::outer`].
    pub(super) unsafe fn single(self, tile: &Tile<'_>) {
        // SAFETY: the caller's promises.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512 => single_avx512(tile),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2 => single_avx2(tile),
                Instructions::Portable => single::<[f32; 8]>(tile),
            }
        }
    }
}

/// Four vectors at a time, where so many are left: enough to hide the time of a product.
///
/// # Safety
/// As [`Instructions::outer`]; inlined into a function that has the instructions of `L`.
#[inline(always)]
unsafe fn single<L: Lanes>(tile: &Tile<'_>) {
    let (fours, rest) = tile.runs.as_chunks::<4>();
    // SAFETY: the caller's promises.
    unsafe {
        for runs in fours {
            few::<L, 4>(tile, runs);
        }
        for run in rest {
            few::<L, 1>(tile, std::array::from_ref(run));
        }
    }
}

/// # Safety
/// As [`Instructions::outer`]; inlined into a function that has the instructions of `L`.
#[inline(always)]
unsafe fn few<L: Lanes, const B: usize>(tile: &Tile<'_>, runs: &[Run; B]) {
    // SAFETY: the caller's promises.
    unsafe {
        let mut sums = [L::zero(); B];
        let mut weights = tile.weights;
        for c in 0..tile.channels {
            let channel = tile.source.add(c * tile.channel_pitch);
            for &tap in tile.taps {
                let weight = L::splat(*weights);
                for j in 0..B {
                    sums[j] = sums[j].add_product(weight, L::load(channel.add(runs[j].from + tap)));
                }
                weights = weights.add(tile.weight_pitch);
            }
        }
        for j in 0..B {
            finish_one(tile, sums[j], 0, &runs[j]);
        }
    }
}

/// The body of all kernels.
///
/// # Safety
/// As [`Instructions::outer`]; inlined into a function that has the instructions of `L`.
#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "indices of fixed range keep the sums in registers; iterators need not"
)]
unsafe fn outer<L: Lanes, const A: usize, const B: usize>(tile: &Tile<'_>) {
    let Ok(runs): Result<&[Run; B], _> = tile.runs.try_into() else { return };
    // SAFETY: the caller's promises.
    unsafe {
        // Made by value and indexed everywhere, so that all of it stays in registers.
        let mut sums = [[L::zero(); B]; A];
        let mut weights = tile.weights;
        for c in 0..tile.channels {
            let channel = tile.source.add(c * tile.channel_pitch);
            let from: [*const f32; B] = std::array::from_fn(|j| channel.add(runs[j].from));
            for &tap in tile.taps {
                let pixels: [L; B] = std::array::from_fn(|j| L::load(from[j].add(tap)));
                for i in 0..A {
                    let weight = L::splat(*weights.add(i));
                    for j in 0..B {
                        sums[i][j] = sums[i][j].add_product(weight, pixels[j]);
                    }
                }
                weights = weights.add(tile.weight_pitch);
            }
        }
        // One by one, into memory of its own: the sums themselves must not have an address.
        let mut made = [[0f32; 16 * VECTORS]; A];
        for i in 0..A {
            for j in 0..B {
                sums[i][j].store(made[i].as_mut_ptr().add(j * L::N));
            }
        }
        finish::<L>(tile, &made);
    }
}

/// Adds what is to be added to the sums of a tile, cuts them, and puts them where they belong.
///
/// # Safety
/// As [`Instructions::outer`].
#[inline(always)]
unsafe fn finish<L: Lanes>(tile: &Tile<'_>, sums: &[[f32; 16 * VECTORS]]) {
    // SAFETY: the caller's promises.
    unsafe {
        for (i, sums) in sums.iter().enumerate() {
            for (j, run) in tile.runs.iter().enumerate() {
                finish_one(tile, L::load(sums.as_ptr().add(j * L::N)), i, run);
            }
        }
    }
}

/// # Safety
/// As [`Instructions::outer`].
#[inline(always)]
unsafe fn finish_one<L: Lanes>(tile: &Tile<'_>, sum: L, filter: usize, run: &Run) {
    // SAFETY: the caller's promises.
    unsafe {
        let to = tile.out.add(filter * tile.out_pitch + run.to);
        let whole = run.count >= L::N;
        let before = match (tile.add, tile.bias) {
            (true, _) if whole => L::load(to),
            (true, _) => L::load_first(to, run.count),
            (false, Some(bias)) => L::splat(*bias.add(filter)),
            (false, None) => L::zero(),
        };
        let mut sum = sum.plus(before);
        if let Some([low, high]) = tile.limits {
            sum = sum.clamp(L::splat(low), L::splat(high));
        }
        if whole { sum.store(to) } else { sum.store_first(to, run.count) }
    }
}

/// # Safety
/// As [`Instructions::outer`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<const A: usize, const B: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's promises.
    unsafe { outer::<x86::Avx512, A, B>(tile) }
}

/// # Safety
/// As [`Instructions::outer`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const A: usize, const B: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's promises.
    unsafe { outer::<x86::Avx2, A, B>(tile) }
}

/// # Safety
/// As [`Instructions::outer`].
unsafe fn portable<const A: usize, const B: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's promises.
    unsafe { outer::<[f32; 8], A, B>(tile) }
}

/// # Safety
/// As [`Instructions::outer`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn single_avx512(tile: &Tile<'_>) {
    // SAFETY: the caller's promises.
    unsafe { single::<x86::Avx512>(tile) }
}

/// # Safety
/// As [`Instructions::outer`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn single_avx2(tile: &Tile<'_>) {
    // SAFETY: the caller's promises.
    unsafe { single::<x86::Avx2>(tile) }
}
