//! How much memory making a raster takes.
//!
//! GDAL says nowhere what its drivers take, so this was measured, with GDAL 3.6: noise of 1 to 150 bands, 1 to 8 threads, all
//! compressions. `tests/it/scoring_memory.rs` holds jobs to it.

use super::blocks::BUFFER;
use super::compare::{BUFFERS, MOST_THREADS};
use super::spec::{Compression, Format, WriteSpec};
use crate::tensor::DataType;

const MIB: u64 = 1 << 20;

/// Bytes that [`encode`](super::encode) takes at most on `spec.threads` threads, besides GDAL's block cache.
pub(crate) fn footprint(spec: &WriteSpec) -> u64 {
    let side = spec.block as u64;
    let count = |extent: usize| (extent as u64).div_ceil(side);
    let plane = side * side * spec.data_type.bytes() as u64;
    let squares = count(spec.size.width) * count(spec.size.height);
    let bands = spec.bands as u64;
    // All bands of a COG lie in one block.
    let (block, blocks) = match spec.format {
        Format::Cog => (plane * bands, squares),
        Format::GTiff => (plane, squares * bands),
    };
    let threads = (spec.threads.max(1) as u64).min(blocks);
    let raw = spec.raw_bytes().unwrap_or(u64::MAX);
    let line = raw / spec.size.height.max(1) as u64;

    let gathered = match spec.format {
        // What averages are made of, 10 MiB at a time, of bytes hardly any; and a row of the samples, as GDAL reads them.
        Format::Cog if spec.data_type == DataType::U8 => line,
        Format::Cog => line + raw.min(18 * MIB),
        Format::GTiff => raw.min(BUFFER as u64),
    };
    // Squares of four blocks become one of an overview, where there is one; blocks wait for threads, and compressed ones for
    // the file.
    let held = if squares == 1 || spec.format == Format::GTiff { 5 } else { 10 };
    let made = gathered + held * block + (threads - 1) * 5 * (MIB + block) + threads * tables(spec);
    let row = count(spec.size.width) * plane * bands;
    let compared = row.min(BUFFERS as u64) + threads.min(MOST_THREADS as u64) * 2 * block;
    raw.min(12 * MIB) + made.max(compared)
}

/// Bytes that compressing needs on each thread for a level above the usual ones, as libzstd estimates it.
fn tables(spec: &WriteSpec) -> u64 {
    match (spec.compression, spec.level.unwrap_or(0)) {
        (Compression::Zstd, 22..) => 642 * MIB,
        (Compression::Zstd, 21) => 322 * MIB,
        (Compression::Zstd, 20) => 162 * MIB,
        (Compression::Zstd, 12..) => 82 * MIB,
        (Compression::Zstd, 10..) => 21 * MIB,
        (Compression::Zstd, 7..) => 11 * MIB,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    fn of(size: usize, bands: usize, data_type: DataType, change: impl Fn(&mut WriteSpec)) -> u64 {
        let mut spec = WriteSpec::new(Size::new(size, size), bands, data_type);
        change(&mut spec);
        footprint(&spec)
    }

    /// Peaks less what was there before, in MiB, of jobs that made these files.
    #[test]
    fn what_was_measured_is_no_more_than_what_is_expected_and_not_far_below() {
        let compressions = [Compression::Deflate, Compression::Zstd];
        for (size, bands, data_type, block, threads, measured) in [
            (4096, 1, DataType::U8, 512, 1, 8),
            (4096, 1, DataType::U8, 512, 2, 14),
            (4096, 5, DataType::U8, 512, 2, 38),
            (4096, 5, DataType::U8, 512, 8, 74),
            (2048, 3, DataType::F32, 256, 4, 64),
            (2048, 5, DataType::F32, 256, 1, 35),
            (2048, 5, DataType::F32, 256, 2, 52),
            (2048, 5, DataType::F32, 256, 8, 98),
            (1024, 40, DataType::F32, 128, 2, 66),
            (1024, 40, DataType::F32, 128, 8, 138),
            (1024, 150, DataType::F32, 128, 1, 118),
            (1024, 150, DataType::F32, 128, 4, 220),
        ] {
            for compression in compressions {
                let expected = of(size, bands, data_type, |spec| {
                    (spec.block, spec.threads, spec.compression) = (block, threads, compression);
                });
                // With the cache, which was among what was measured.
                let expected = expected / MIB + 8;
                assert!(measured <= expected, "{bands} {data_type}, {threads}: {measured}, {expected}");
                assert!(
                    expected <= 2 * measured + 14,
                    "{bands} {data_type}, {threads}: {measured}, {expected}"
                );
            }
        }
    }

    #[test]
    fn no_more_threads_are_counted_than_there_are_blocks() {
        let with =
            |threads, block| of(600, 2, DataType::F32, |spec| (spec.threads, spec.block) = (threads, block));
        assert!(with(1, 512) < with(4, 512));
        assert_eq!(with(4, 512), with(64, 512));
        assert_eq!(with(1, 1024), with(64, 1024));
    }

    #[test]
    fn high_levels_of_zstandard_need_tables() {
        let with = |level| {
            of(4096, 1, DataType::U8, |spec| {
                (spec.compression, spec.level, spec.threads) = (Compression::Zstd, Some(level), 2);
            })
        };
        assert_eq!(with(22) - with(3), 2 * 642 * MIB);
        assert!((3..22).all(|level| with(level) <= with(level + 1)));
    }

    #[test]
    fn a_small_map_needs_little() {
        assert!(of(64, 1, DataType::U8, |_| ()) < 3 * MIB);
        let deep = |format| of(1024, 150, DataType::F32, |spec| (spec.format, spec.block) = (format, 128));
        assert!(deep(Format::GTiff) < deep(Format::Cog) / 3);
    }
}
