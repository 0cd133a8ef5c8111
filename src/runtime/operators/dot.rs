//! Many dot products at once: the inner loop of the weight gradient.
//!
//! A *tile* is up to 4 rows of `a` times up to 6 rows of `b`. Both run along the pixels, which lie side by side in
//! memory, so vectors of pixels are multiplied and added up lane by lane, and the lanes are added up at the end.
//! Compared with the usual matrix product nothing has to be packed: a row of `b` is any address, and the rows of the
//! taps of a kernel are the same pixels at shifted addresses.
#![allow(unsafe_code, reason = "vector instructions and rows that overlap in memory")]

#[cfg(target_arch = "x86_64")]
use crate::runtime::operators::lanes::x86;
use crate::runtime::operators::lanes::{Instructions, Lanes};

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

/// A tile's operands: `out[i * out_pitch + j] = Σ a[i * a_pitch + …] · b[offsets[j] + …]`.
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
    /// Whether the sums are added to what `out` holds.
    pub(super) add: bool,
}

impl Instructions {
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
        // Columns, that is the sums of one row of `b`, are added up together.
        let columns: [[L; A_ROWS]; B] =
            std::array::from_fn(|j| std::array::from_fn(|i| if i < A { sums[i][j] } else { L::zero() }));
        for (j, column) in columns.into_iter().enumerate() {
            for (i, sum) in L::sums(column).into_iter().enumerate().take(A) {
                let out = tile.out.add(i * tile.out_pitch + j);
                *out = if tile.add { *out + sum } else { sum };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_instructions_give_the_sums_and_read_nothing_else() {
        let mut all = vec![Instructions::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if Instructions::detect() == Instructions::Avx512 {
                all.push(Instructions::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Instructions::Avx2);
            }
        }
        for instructions in all {
            let (most_a, most_b) = instructions.tile();
            for (a_rows, b_rows, len) in (1..=most_a)
                .flat_map(|a| (1..=most_b).map(move |b| (a, b)))
                .flat_map(|(a, b)| [1, 7, 8, 16, 19, 40].map(move |len| (a, b, len)))
            {
                check(instructions, a_rows, b_rows, len);
            }
        }
    }

    fn check(instructions: Instructions, a_rows: usize, b_rows: usize, len: usize) {
        let runs = Runs { images: 2, rows: 3, len, a_image: 200, a_row: len, b_image: 300, b_row: len + 2 };
        let offsets: Vec<usize> = (0..b_rows).map(|j| j * 5 % 11).collect();
        let value = |at: usize| (at * 37 % 101) as f32 / 50.0 - 1.0;
        let a_pitch = 3 * len;
        // Exactly what may be read: whatever lies behind is not ours.
        let a: Vec<f32> =
            (0..(a_rows - 1) * a_pitch + runs.a_image + 2 * runs.a_row + len).map(value).collect();
        let most = offsets.iter().max().unwrap();
        let b: Vec<f32> = (0..most + runs.b_image + 2 * runs.b_row + len).map(|at| value(at + 3)).collect();
        let mut out = vec![0.5f32; a_rows * 7];
        for add in [true, false] {
            let tile = Tile {
                a: a.as_ptr(),
                a_pitch,
                a_rows,
                b: b.as_ptr(),
                offsets: &offsets,
                out: out.as_mut_ptr(),
                out_pitch: 7,
                add,
            };
            // SAFETY: the instructions are there, and the operands have the sizes of the runs.
            unsafe { instructions.run(&tile, &runs) };
            for (i, row) in out.chunks(7).enumerate() {
                for (j, value) in row.iter().enumerate() {
                    let mut want = if add { 0.5 } else { 0.0 };
                    for (image, r, p) in (0..2)
                        .flat_map(|n| (0..3).map(move |r| (n, r)))
                        .flat_map(|(n, r)| (0..len).map(move |p| (n, r, p)))
                    {
                        if j < b_rows {
                            let left = a[i * a_pitch + image * runs.a_image + r * runs.a_row + p];
                            let right = b[offsets[j] + image * runs.b_image + r * runs.b_row + p];
                            want += f64::from(left) * f64::from(right);
                        }
                    }
                    let want = if j < b_rows { want } else { 0.5 };
                    let place = format!("{instructions:?} {a_rows}x{b_rows} {len}");
                    assert!((f64::from(*value) - want).abs() < 1e-4, "{place}: {value} for {want}");
                }
            }
        }
    }
}
