//! The store of samples: what of the map is done, as plain numbers in a file.
//!
//! Row-major, interleaved by line: the sample of band `b` in row `y` and column `x` of a map of `bands` bands and `width`
//! columns is number `(y * bands + b) * width + x`. In the order of bytes of the machine, as GDAL is told when it makes the
//! raster of them: a store stays on its machine. No header. What was not written takes no room on file
//! systems that keep holes.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use ndarray::Array3;

use crate::error::{Error, Result};
use crate::geometry::{Size, Window};
use crate::tensor::{DataType, Sample, Samples};

/// An open store.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    path: PathBuf,
    size: Size,
    bands: usize,
    data_type: DataType,
}

/// Samples as bytes.
trait Bytes: Sample {
    const SIZE: usize;
    fn put(line: &[Self], out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! bytes {
    ($($kind:ty),+) => { $(
        impl Bytes for $kind {
            const SIZE: usize = size_of::<$kind>();

            fn put(line: &[Self], out: &mut Vec<u8>) {
                out.extend(line.iter().flat_map(|sample| sample.to_ne_bytes()));
            }

            fn take(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$kind>()];
                own.copy_from_slice(bytes);
                <$kind>::from_ne_bytes(own)
            }
        }
    )+ };
}
bytes!(u8, u16, f32);

impl Store {
    /// Opens the store of a map, or makes it; it gets its whole length at once.
    pub(super) fn open(path: &Path, size: Size, bands: usize, data_type: DataType) -> Result<Store> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| Error::io("create the staging file", path, error))?;
        let store = Store { file, path: path.into(), size, bands, data_type };
        store
            .file
            .set_len(store.bytes())
            .map_err(|error| Error::io("make room in the staging file", path, error))?;
        Ok(store)
    }

    fn bytes(&self) -> u64 {
        self.size.pixels() * (self.bands * self.data_type.bytes()) as u64
    }

    /// Writes a block, `[bands, H, W]`; gives its checksum.
    pub(super) fn write(&self, window: Window, samples: &Samples) -> Result<u32> {
        let write = match samples {
            Samples::U8(block) => self.write_block(window, block),
            Samples::U16(block) => self.write_block(window, block),
            Samples::F32(block) => self.write_block(window, block),
            _ => return Err(Error::internal("a map of another type")),
        };
        write.map_err(|error| Error::io("write the staging file", &self.path, error))
    }

    /// Reads a block, with its checksum. None where the file ends before it.
    pub(super) fn read(&self, window: Window) -> Result<Option<(Samples, u32)>> {
        let read = match self.data_type {
            DataType::U8 => self.read_block::<u8>(window),
            DataType::U16 => self.read_block::<u16>(window),
            _ => self.read_block::<f32>(window),
        };
        match read {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(Error::io("read the staging file", &self.path, error)),
        }
    }

    /// Where the samples of a block's row begin.
    fn offset(&self, window: Window, row: usize, band: usize) -> u64 {
        let line = (window.y as u64 + row as u64) * self.bands as u64 + band as u64;
        (line * self.size.width as u64 + window.x as u64) * self.data_type.bytes() as u64
    }

    fn write_block<T: Bytes>(&self, window: Window, block: &Array3<T>) -> io::Result<u32> {
        let block = block.as_standard_layout();
        let (bands, height, width) = block.dim();
        // Rows of all bands one after the other, as they lie in the file.
        let mut bytes = Vec::with_capacity(block.len() * T::SIZE);
        for row in 0..height {
            for band in 0..bands {
                let line = block.slice(ndarray::s![band, row, ..]);
                T::put(line.to_slice().unwrap_or_default(), &mut bytes);
            }
        }
        let whole = width == self.size.width;
        let run = if whole { bytes.len() } else { width * T::SIZE };
        for (line, part) in bytes.chunks(run.max(1)).enumerate() {
            write_at(&self.file, part, self.offset(window, line / bands, line % bands))?;
        }
        Ok(crc32fast::hash(&bytes))
    }

    fn read_block<T: Bytes>(&self, window: Window) -> io::Result<(Samples, u32)> {
        let (bands, height, width) = (self.bands, window.height, window.width);
        let mut bytes = vec![0; bands * height * width * T::SIZE];
        let whole = width == self.size.width;
        let run = if whole { bytes.len() } else { width * T::SIZE };
        for (line, part) in bytes.chunks_mut(run.max(1)).enumerate() {
            read_at(&self.file, part, self.offset(window, line / bands, line % bands))?;
        }
        let mut block = Array3::<T>::default((bands, height, width));
        let lines = bytes.chunks_exact((width * T::SIZE).max(1));
        for (line, samples) in lines.enumerate() {
            let mut out = block.slice_mut(ndarray::s![line % bands, line / bands, ..]);
            out.iter_mut().zip(samples.chunks_exact(T::SIZE)).for_each(|(out, own)| *out = T::take(own));
        }
        Ok((T::wrap(block), crc32fast::hash(&bytes)))
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_where_they_are_said_to() {
        let folder = tempfile::tempdir().unwrap();
        let (path, size) = (folder.path().join("samples"), Size::new(11, 7));
        let store = Store::open(&path, size, 2, DataType::U16).unwrap();
        let value = |band: usize, y: usize, x: usize| (band * 1000 + y * 20 + x) as u16;
        // Narrow, wide, and one pixel.
        for window in [
            Window::new(0, 0, 4, 7),
            Window::new(4, 0, 7, 6),
            Window::new(5, 6, 6, 1),
            Window::new(4, 6, 1, 1),
        ] {
            let block = Array3::from_shape_fn((2, window.height, window.width), |(band, y, x)| {
                value(band, window.y as usize + y, window.x as usize + x)
            });
            let sum = store.write(window, &Samples::U16(block.clone())).unwrap();
            assert_eq!(store.read(window).unwrap(), Some((Samples::U16(block), sum)));
        }
        let all = Window::new(0, 0, 11, 7);
        let expected = Array3::from_shape_fn((2, 7, 11), |(band, y, x)| value(band, y, x));
        assert_eq!(store.read(all).unwrap().unwrap().0, Samples::U16(expected.clone()));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 2 * 11 * 7 * 2);
        for (at, sample) in bytes.chunks(2).enumerate() {
            let (line, x) = (at / 11, at % 11);
            assert_eq!(u16::from_ne_bytes([sample[0], sample[1]]), value(line % 2, line / 2, x));
        }
        // The whole in one go gives the same file.
        let other = Store::open(&folder.path().join("other"), size, 2, DataType::U16).unwrap();
        other.write(all, &Samples::U16(expected)).unwrap();
        assert_eq!(std::fs::read(folder.path().join("other")).unwrap(), bytes);
    }

    #[test]
    fn a_changed_block_has_another_sum() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("samples"), Size::new(3, 2), 1, DataType::F32).unwrap();
        let window = Window::new(0, 0, 3, 2);
        let mut block = Array3::from_elem((1, 2, 3), f32::NAN);
        let sum = store.write(window, &Samples::F32(block.clone())).unwrap();
        block[[0, 1, 2]] = 1.0;
        assert_ne!(store.write(window, &Samples::F32(block)).unwrap(), sum);
        assert_ne!(store.read(window).unwrap().unwrap().1, sum);
        let short = OpenOptions::new().write(true).open(folder.path().join("samples")).unwrap();
        short.set_len(4).unwrap();
        assert_eq!(store.read(window).unwrap(), None);
    }
}
