//! Vectors of numbers, one type for each set of instructions.
#![allow(unsafe_code, reason = "vector instructions")]

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
    /// The best that this processor has; the first has the extensions DQ, VL and BW too.
    pub(super) fn detect() -> Instructions {
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq");
            if wide && is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512bw") {
                return Instructions::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Instructions::Avx2;
            }
        }
        Instructions::Portable
    }

    /// Numbers of a vector.
    pub(super) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => 8,
            Instructions::Portable => 8,
        }
    }
}

/// A vector of `N` numbers. The functions need the instructions of the type, and addresses that can be read or written
/// as each says.
pub(super) trait Lanes: Copy {
    const N: usize;
    /// All zero.
    unsafe fn zero() -> Self;
    /// All `value`.
    unsafe fn splat(value: f32) -> Self;
    /// The `N` numbers at `from`.
    unsafe fn load(from: *const f32) -> Self;
    /// The first `count < N` numbers at `from`, then zeros. Nothing behind them is read.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    /// Writes the `N` numbers.
    unsafe fn store(self, to: *mut f32);
    /// Writes the first `count < N` numbers. Nothing behind them is written.
    unsafe fn store_first(self, to: *mut f32, count: usize);
    /// `self + other`.
    unsafe fn plus(self, other: Self) -> Self;
    /// `self + a · b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// `self` where it lies between `low` and `high`, else that of them which is nearer; NaN stays.
    unsafe fn clamp(self, low: Self, high: Self) -> Self;
    /// The sum of the lanes of each.
    unsafe fn sums(of: [Self; 4]) -> [f32; 4];
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512);

    // SAFETY (of all bodies): called only from functions with the instructions; addresses as the trait says.
    impl Lanes for Avx512 {
        const N: usize = 16;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: see above.
            Avx512(unsafe { _mm512_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: see above.
            Avx512(unsafe { _mm512_set1_ps(value) })
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
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            // SAFETY: see above; masked lanes are not written.
            unsafe { _mm512_mask_storeu_ps(to, ((1u32 << count) - 1) as __mmask16, self.0) }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            // SAFETY: see above.
            Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            Avx512(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            // SAFETY: see above. Of a NaN the instructions give the second operand.
            Avx512(unsafe { _mm512_min_ps(high.0, _mm512_max_ps(low.0, self.0)) })
        }
        #[inline(always)]
        unsafe fn sums(of: [Self; 4]) -> [f32; 4] {
            // SAFETY: see above.
            unsafe {
                // Sums of pairs, then of fours: every 128 bits hold a lane of each of the four.
                let low =
                    _mm512_add_ps(_mm512_unpacklo_ps(of[0].0, of[1].0), _mm512_unpackhi_ps(of[0].0, of[1].0));
                let high =
                    _mm512_add_ps(_mm512_unpacklo_ps(of[2].0, of[3].0), _mm512_unpackhi_ps(of[2].0, of[3].0));
                let four = _mm512_add_ps(
                    _mm512_shuffle_ps(low, high, 0b01_00_01_00),
                    _mm512_shuffle_ps(low, high, 0b11_10_11_10),
                );
                let two = _mm256_add_ps(
                    _mm512_castps512_ps256(four),
                    _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(four), 1)),
                );
                let one = _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));
                std::mem::transmute::<__m128, [f32; 4]>(one)
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256);

    const MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    // SAFETY (of all bodies): called only from functions with the instructions; addresses as the trait says.
    impl Lanes for Avx2 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: see above.
            Avx2(unsafe { _mm256_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: see above.
            Avx2(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            Avx2(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            // SAFETY: see above; `count` is below 8, and masked lanes are not read.
            Avx2(unsafe {
                let mask = _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast());
                _mm256_maskload_ps(from, mask)
            })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            // SAFETY: see above; `count` is below 8, and masked lanes are not written.
            unsafe {
                let mask = _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast());
                _mm256_maskstore_ps(to, mask, self.0);
            }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            // SAFETY: see above.
            Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            Avx2(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            // SAFETY: see above. Of a NaN the instructions give the second operand.
            Avx2(unsafe { _mm256_min_ps(high.0, _mm256_max_ps(low.0, self.0)) })
        }
        #[inline(always)]
        unsafe fn sums(of: [Self; 4]) -> [f32; 4] {
            // SAFETY: see above.
            unsafe {
                let low = _mm256_hadd_ps(of[0].0, of[1].0);
                let high = _mm256_hadd_ps(of[2].0, of[3].0);
                let four = _mm256_hadd_ps(low, high);
                let one = _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps(four, 1));
                std::mem::transmute::<__m128, [f32; 4]>(one)
            }
        }
    }
}

impl Lanes for [f32; 8] {
    const N: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 8]
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; 8]
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
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the trait's promise.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        for (lane, value) in self.into_iter().enumerate().take(count) {
            // SAFETY: the trait's promise: the first `count` can be written.
            unsafe { *to.add(lane) = value };
        }
    }
    #[inline(always)]
    unsafe fn plus(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + other[lane])
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn clamp(self, low: Self, high: Self) -> Self {
        std::array::from_fn(|lane| {
            let value = if self[lane] < low[lane] { low[lane] } else { self[lane] };
            if value > high[lane] { high[lane] } else { value }
        })
    }
    #[inline(always)]
    unsafe fn sums(of: [Self; 4]) -> [f32; 4] {
        of.map(|[a, b, c, d, e, f, g, h]| ((a + e) + (c + g)) + ((b + f) + (d + h)))
    }
}
