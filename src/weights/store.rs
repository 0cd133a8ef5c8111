//! The elements of tensors, in their file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;
use crate::weights::element::StoredType;
use crate::weights::limits::{Limits, within};
use crate::weights::tensors::NamedTensor;

/// Where in the file the bytes of a storage are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// First byte.
    pub(super) offset: u64,
    /// Bytes in the file.
    pub(super) packed: u64,
    /// Bytes once unpacked; the same where nothing is compressed.
    pub(super) bytes: u64,
    /// Checksum (CRC-32) of the unpacked bytes, where the file has one.
    pub(super) checksum: Option<u32>,
    /// Whether the bytes are compressed (deflate).
    pub(super) deflated: bool,
}

impl Place {
    /// Plain bytes of the file.
    pub(super) fn plain(offset: u64, bytes: u64) -> Place {
        Place { offset, packed: bytes, bytes, checksum: None, deflated: false }
    }
}

/// A file and where its storages are. The file stays open, so that one that takes its name later changes nothing.
#[derive(Debug)]
pub(super) struct Store {
    file: Mutex<File>,
    places: HashMap<String, Place>,
    /// Compressed storages that were unpacked; `Limits::inflated_bytes` bounds them all together.
    inflated: Mutex<HashMap<String, Arc<Vec<u8>>>>,
}

impl Store {
    /// The storages of a file.
    pub(super) fn new(file: File, places: HashMap<String, Place>) -> Store {
        Store { file: Mutex::new(file), places, inflated: Mutex::default() }
    }

    fn place(&self, key: &str) -> Result<Place> {
        let missing = || Error::invalid(format!("the file has no storage {:?}", short(key)));
        self.places.get(key).copied().ok_or_else(missing)
    }

    /// Bytes of a storage, once unpacked.
    pub(super) fn size(&self, key: &str) -> Result<u64> {
        Ok(self.place(key)?.bytes)
    }

    /// `count` bytes of a storage from `start` on.
    pub(super) fn bytes(&self, key: &str, start: u64, count: u64) -> Result<Vec<u8>> {
        let place = self.place(key)?;
        if start.checked_add(count).is_none_or(|end| end > place.bytes) {
            let message = format!("storage {:?} has {} bytes: expected more", short(key), place.bytes);
            return Err(Error::invalid(message));
        }
        if place.deflated {
            let whole = self.inflated(key, place)?;
            return Ok(whole[start as usize..(start + count) as usize].to_vec());
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = plain(&mut file, place.offset + start, count)?;
        if count == place.bytes {
            check(&bytes, place.checksum)?;
        }
        Ok(bytes)
    }

    #[cfg(feature = "pytorch")]
    fn inflated(&self, key: &str, place: Place) -> Result<Arc<Vec<u8>>> {
        let mut known = self.inflated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = known.get(key) {
            return Ok(Arc::clone(bytes));
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = Arc::new(unpacked(&mut file, place)?);
        known.insert(key.to_owned(), Arc::clone(&bytes));
        Ok(bytes)
    }

    #[cfg(not(feature = "pytorch"))]
    fn inflated(&self, _: &str, _: Place) -> Result<Arc<Vec<u8>>> {
        let _ = &self.inflated;
        Err(Error::internal("a compressed storage without feature pytorch"))
    }
}

/// All bytes of a place.
#[cfg(feature = "pytorch")]
pub(super) fn unpacked(file: &mut File, place: Place) -> Result<Vec<u8>> {
    if !place.deflated {
        let bytes = plain(file, place.offset, place.bytes)?;
        check(&bytes, place.checksum)?;
        return Ok(bytes);
    }
    let io = |error| Error::new(ErrorKind::Io, "cannot read the elements").caused_by(error);
    file.seek(SeekFrom::Start(place.offset)).map_err(io)?;
    let packed = std::io::BufReader::new(file.take(place.packed));
    // One byte more than expected would show that the directory lies about the size.
    let mut unpacking = flate2::bufread::DeflateDecoder::new(packed).take(place.bytes + 1);
    let mut bytes = Vec::new();
    let found = unpacking.read_to_end(&mut bytes);
    let broken = || {
        Error::invalid("damaged archive: a compressed entry cannot be unpacked to the size that it states")
    };
    found.map_err(|error| broken().caused_by(error))?;
    if bytes.len() as u64 != place.bytes {
        return Err(broken());
    }
    check(&bytes, place.checksum)?;
    Ok(bytes)
}

fn plain(file: &mut File, offset: u64, count: u64) -> Result<Vec<u8>> {
    let io = |error| Error::new(ErrorKind::Io, "cannot read the elements").caused_by(error);
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut bytes = reserved(count)?;
    file.take(count).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 != count {
        return Err(Error::invalid("the file ends within the elements"));
    }
    Ok(bytes)
}

fn reserved(count: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reserved = usize::try_from(count).ok().map(|count| bytes.try_reserve_exact(count));
    match reserved {
        Some(Ok(())) => Ok(bytes),
        _ => Err(Error::new(ErrorKind::OutOfMemory, format!("no memory for {count} bytes of elements"))),
    }
}

#[cfg(feature = "pytorch")]
fn check(bytes: &[u8], checksum: Option<u32>) -> Result<()> {
    let Some(expected) = checksum else { return Ok(()) };
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    if sum.sum() != expected {
        return Err(Error::invalid("damaged archive: the checksum of an entry differs"));
    }
    Ok(())
}

#[cfg(not(feature = "pytorch"))]
fn check(_: &[u8], _: Option<u32>) -> Result<()> {
    Ok(())
}

/// A tensor as a view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    /// The storage.
    pub(super) key: String,
    /// Type of the elements.
    pub(super) element: StoredType,
    /// First element.
    pub(super) offset: u64,
    /// Sizes.
    pub(super) shape: Vec<usize>,
    /// Steps in elements, as many as sizes.
    pub(super) strides: Vec<u64>,
}

impl View {
    /// A view of a whole storage, row by row.
    pub(super) fn whole(key: &str, element: StoredType, shape: Vec<usize>) -> View {
        let mut strides = vec![0; shape.len()];
        let mut step = 1u64;
        for (stride, size) in strides.iter_mut().zip(&shape).rev() {
            *stride = step;
            step = step.saturating_mul(*size as u64);
        }
        View { key: key.to_owned(), element, offset: 0, shape, strides }
    }

    /// Number of elements, within the limits.
    pub(super) fn elements(&self, limits: &Limits) -> Result<u64> {
        within("dimensions of the tensor", self.shape.len() as u64, limits.rank as u64)?;
        // Sizes beside a 0 count as well, so that no product of some of them is absurd.
        let all = self.shape.iter().try_fold(1u64, |all, size| all.checked_mul((*size).max(1) as u64));
        within("elements of the tensor", all.unwrap_or(u64::MAX), limits.tensor_elements)?;
        Ok(self.shape.iter().map(|size| *size as u64).product())
    }

    /// Number of elements of the storage from the first to the last that the view has.
    pub(super) fn span(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape
            .iter()
            .zip(&self.strides)
            .try_fold(1u64, |span, (size, stride)| span.checked_add((*size as u64 - 1).checked_mul(*stride)?))
    }

    /// That the storage has what the view shows.
    pub(super) fn check(&self, store: &Store, limits: &Limits) -> Result<()> {
        self.elements(limits)?;
        let end = self.span().and_then(|span| span.checked_add(self.offset));
        let bytes = end.and_then(|end| end.checked_mul(self.element.bytes()));
        let size = store.size(&self.key)?;
        if self.span() != Some(0) && bytes.is_none_or(|bytes| bytes > size) {
            let message = format!(
                "shape {:?} with strides {:?} from element {} of {} reaches beyond its storage of {size} bytes",
                self.shape, self.strides, self.offset, self.element
            );
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    /// Whether the elements follow each other, row by row.
    fn is_contiguous(&self) -> bool {
        let rows = View::whole("", self.element, self.shape.clone());
        let sizes = self.shape.iter().zip(self.strides.iter().zip(&rows.strides));
        self.shape.contains(&0) || sizes.into_iter().all(|(size, (own, rows))| *size == 1 || own == rows)
    }

    /// The elements. The view must have been checked.
    pub(super) fn read(&self, store: &Store) -> Result<NamedTensor> {
        let width = self.element.bytes();
        let span = self.span().ok_or_else(|| Error::invalid("the tensor reaches beyond its storage"))?;
        let bytes = match span {
            0 => Vec::new(),
            _ => {
                let place = self.offset.checked_mul(width).zip(span.checked_mul(width));
                let (start, count) =
                    place.ok_or_else(|| Error::invalid("the tensor reaches beyond its storage"))?;
                store.bytes(&self.key, start, count)?
            }
        };
        let bytes = if self.is_contiguous() { bytes } else { self.gathered(&bytes, width as usize)? };
        Ok(NamedTensor { shape: self.shape.clone(), elements: self.element.decode(&bytes)? })
    }

    /// The elements row by row, out of those of the span.
    fn gathered(&self, span: &[u8], width: usize) -> Result<Vec<u8>> {
        let count: u64 = self.shape.iter().map(|size| *size as u64).product();
        let mut gathered = reserved(count.saturating_mul(width as u64))?;
        let mut index = vec![0; self.shape.len()];
        let mut at = 0usize;
        for _ in 0..count {
            let element = span.get(at * width..(at + 1) * width);
            gathered.extend_from_slice(element.ok_or_else(|| Error::internal("a view beyond its span"))?);
            // The next index, the last dimension first.
            for dim in (0..index.len()).rev() {
                // Of one element the step is never taken, and may be anything.
                if self.shape[dim] == 1 {
                    continue;
                }
                index[dim] += 1;
                at += self.strides[dim] as usize;
                if index[dim] < self.shape[dim] {
                    break;
                }
                at -= self.strides[dim] as usize * self.shape[dim];
                index[dim] = 0;
            }
        }
        Ok(gathered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::tensors::Elements;

    fn store() -> Store {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..12u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        Store::new(file, HashMap::from([("0".to_owned(), Place::plain(0, 48))]))
    }

    fn view(offset: u64, shape: &[usize], strides: &[u64]) -> View {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        View { key: "0".into(), element: StoredType::F32, offset, shape, strides }
    }

    #[test]
    fn views_are_read_row_by_row() {
        let read = |view: View| {
            view.check(&store(), &Limits::default()).unwrap();
            match view.read(&store()).unwrap().elements {
                Elements::F32(values) => values,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read(view(2, &[2, 2], &[2, 1])), [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(read(view(0, &[3, 2], &[1, 3])), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(read(view(1, &[2, 2, 2], &[6, 0, 3])), [1.0, 4.0, 1.0, 4.0, 7.0, 10.0, 7.0, 10.0]);
        assert_eq!(read(view(11, &[], &[])), [11.0]);
        assert_eq!(read(view(500, &[0, 3], &[3, 1])), [] as [f32; 0]);
        assert_eq!(read(view(10, &[1, 2], &[77, 1])), [10.0, 11.0]);
        assert_eq!(read(view(0, &[2, 1, 2], &[1, u64::MAX, 4])), [0.0, 4.0, 1.0, 5.0]);
    }

    #[test]
    fn views_beyond_their_storage_are_refused() {
        let kind = |view: View| view.check(&store(), &Limits::default()).unwrap_err().kind();
        assert_eq!(kind(view(9, &[2, 2], &[2, 1])), ErrorKind::InvalidArgument);
        assert_eq!(kind(view(u64::MAX, &[1], &[1])), ErrorKind::InvalidArgument);
        assert_eq!(kind(view(0, &[2], &[u64::MAX])), ErrorKind::InvalidArgument);
        assert_eq!(kind(view(0, &[1 << 20, 1 << 20], &[0, 0])), ErrorKind::LimitExceeded);
        assert_eq!(kind(view(0, &[usize::MAX, 0, usize::MAX], &[0, 0, 0])), ErrorKind::LimitExceeded);
        assert_eq!(kind(view(0, &[1; 33], &[0; 33])), ErrorKind::LimitExceeded);
    }
}
