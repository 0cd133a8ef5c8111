//! Many dot products at once: the inner loop of the weight gradient.
//!
//! A *tile* is up to 4 rows of `a` times up to 6 rows of `b`. Both run along the pixels, which lie side by side in
//! memory, so vectors of pixels are multiplied and added up lane by lane, and the lanes are added up at the end.
//! Compared with the usual matrix product nothing has to be packed: a row of `b` is any address, and the rows of the
//! taps of a kernel are the same pixels at shifted addresses.
#![allow(unsafe_code, reason = "vector instructions and rows that overlap in memory")]

/// Most rows of `a` in a tile.
pub(super) const A_ROWS: usize = 4;
/// Most rows of `b` in a tile.
pub(super) const B_ROWS: usize = 6;

/// The pixels of a tile: `images` × `rows` runs of `len`, and the distances between their starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runs {
    pub(super) images: usize,
    pub(super) rows: usize,
    pub(super) len: usize,
    pub(super) a_image: usize,
    pub(super) a_row: usize,
    pub(super) b_image: usize,
    pub(super) b_row: usize,
}

/// A tile's operands: `out[i * out_pitch + j] += Σ a[i * a_pitch + …] · b[offsets[j] + …]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) a: *const f32,
    pub(super) a_pitch: usize,
    /// How many rows of `a`, 1 to [`A_ROWS`].
    pub(super) a_rows: usize,
    pub(super) b: *const f32,
    /// Where each row of `b` starts, 1 to [`B_ROWS`] of them.
    pub(super) offsets: &'a [usize],
    pub(super) out: *mut f32,
    pub(super) out_pitch: usize,
}

/// The vector instructions at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Instructions {
    /// The best that this processor has.
    pub(super) fn detect() -> Instructions {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Instructions::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Instructions::Avx2;
            }
        }
        Instructions::Portable
    }

    /// The size of a tile that fits the registers: rows of `a`, rows of `b`.
    pub(super) fn tile(self) -> (usize, usize) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => (A_ROWS, B_ROWS),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => (4, 3),
            Instructions::Portable => (2, 3),
        }
    }

    /// Computes a tile.
    ///
    /// # Safety
    /// This processor has the instructions. All runs of all rows of `a` and `b` are readable, and the tile of `out`
    /// is writable and nobody else's.
    pub(super) unsafe fn run(self, tile: &Tile<'_>, runs: &Runs) {
        macro_rules! sizes {
            ($kernel:ident: $($a:literal x $b:literal),*) => {
                match (tile.a_rows, tile.offsets.len()) {
                    // SAFETY: the caller's promises.
                    $(($a, $b) => unsafe { $kernel::<$a, $b>(tile, runs) },)*
                    _ => debug_assert!(false, "a tile of another size"),
                }
            };
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => sizes!(avx512: 1 x 1, 1 x 2, 1 x 3, 1 x 4, 1 x 5, 1 x 6,
                2 x 1, 2 x 2, 2 x 3, 2 x 4, 2 x 5, 2 x 6, 3 x 1, 3 x 2, 3 x 3, 3 x 4, 3 x 5, 3 x 6,
                4 x 1, 4 x 2, 4 x 3, 4 x 4, 4 x 5, 4 x 6),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => sizes!(avx2: 1 x 1, 1 x 2, 1 x 3, 2 x 1, 2 x 2, 2 x 3,
                3 x 1, 3 x 2, 3 x 3, 4 x 1, 4 x 2, 4 x 3),
            Instructions::Portable => sizes!(portable: 1 x 1, 1 x 2, 1 x 3, 2 x 1, 2 x 2, 2 x 3),
        }
    }
}

/// A vector of `N` numbers.
trait Lanes: Copy {
    const N: usize;
    /// All zero.
    unsafe fn zero() -> Self;
    /// The `N` numbers at `from`.
    unsafe fn load(from: *const f32) -> Self;
    /// The first `count < N` numbers at `from`, then zeros. Nothing behind them is read.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    /// `self + a · b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// The sum of the lanes.
    unsafe fn sum(self) -> f32;
}

/// The body of all kernels.
///
/// # Safety
/// As [`Instructions::run`]; inlined into a function that has the instructions of `L`.
#[inline(always)]
unsafe fn tile<L: Lanes, const A: usize, const B: usize>(tile: &Tile<'_>, runs: &Runs) {
    let Ok(offsets): Result<&[usize; B], _> = tile.offsets.try_into() else { return };
    // SAFETY: the caller promises that every element of every run can be read, and the tile of `out` written.
    unsafe {
        let mut sums = [[L::zero(); B]; A];
        for image in 0..runs.images {
            for row in 0..runs.rows {
                let a = tile.a.add(image * runs.a_image + row * runs.a_row);
                let b = tile.b.add(image * runs.b_image + row * runs.b_row);
                let b: [*const f32; B] = std::array::from_fn(|j| b.add(offsets[j]));
                let mut at = 0;
                while at + L::N <= runs.len {
                    let left: [L; A] = std::array::from_fn(|i| L::load(a.add(i * tile.a_pitch + at)));
                    for j in 0..B {
                        let right = L::load(b[j].add(at));
                        for i in 0..A {
                            sums[i][j] = sums[i][j].add_product(left[i], right);
                        }
                    }
                    at += L::N;
                }
                if at < runs.len {
                    let rest = runs.len - at;
                    let left: [L; A] =
                        std::array::from_fn(|i| L::load_first(a.add(i * tile.a_pitch + at), rest));
                    for j in 0..B {
                        let right = L::load_first(b[j].add(at), rest);
                        for i in 0..A {
                            sums[i][j] = sums[i][j].add_product(left[i], right);
                        }
                    }
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                *tile.out.add(i * tile.out_pitch + j) += sum.sum();
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    #[derive(Clone, Copy)]
    pub(super) struct Avx512(__m512);

    // SAFETY (of all bodies): called only from functions with the instructions; addresses as the trait says.
    impl Lanes for Avx512 {
        const N: usize = 16;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: see above.
            Avx512(unsafe { _mm512_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            // SAFETY: see above; masked lanes are not read.
            Avx512(unsafe { _mm512_maskz_loadu_ps(((1u32 << count) - 1) as __mmask16, from) })
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            Avx512(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: see above.
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx2(__m256);

    // SAFETY (of all bodies): called only from functions with the instructions; addresses as the trait says.
    impl Lanes for Avx2 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: see above.
            Avx2(unsafe { _mm256_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            Avx2(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            const MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
            // SAFETY: see above; `count` is below 8, and masked lanes are not read.
            Avx2(unsafe {
                let mask = _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast());
                _mm256_maskload_ps(from, mask)
            })
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            Avx2(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: see above.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps(self.0, 1));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)))
            }
        }
    }
}

/// # Safety
/// As [`Instructions::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<const A: usize, const B: usize>(operands: &Tile<'_>, runs: &Runs) {
    // SAFETY: the caller's promises.
    unsafe { tile::<x86::Avx512, A, B>(operands, runs) }
}

/// # Safety
/// As [`Instructions::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const A: usize, const B: usize>(operands: &Tile<'_>, runs: &Runs) {
    // SAFETY: the caller's promises.
    unsafe { tile::<x86::Avx2, A, B>(operands, runs) }
}

/// # Safety
/// As [`Instructions::run`].
unsafe fn portable<const A: usize, const B: usize>(operands: &Tile<'_>, runs: &Runs) {
    // SAFETY: the caller's promises.
    unsafe { tile::<[f32; 8], A, B>(operands, runs) }
}

impl Lanes for [f32; 8] {
    const N: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the trait's promise.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: the trait's promise: the first `count` can be read.
        std::array::from_fn(|lane| if lane < count { unsafe { *from.add(lane) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}
