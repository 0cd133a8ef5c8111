//! The directory of a zip archive: where its entries are. Nothing is unpacked to disk, and names are only looked up.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::short;
use crate::weights::limits::{Limits, within};
use crate::weights::store::Place;

/// Bytes of the end record without its comment, and of the longest comment.
const END_BYTES: u64 = 22;
const COMMENT_BYTES: u64 = 65_535;
/// Bytes of the records of large archives.
const LOCATOR_BYTES: u64 = 20;
const LARGE_END_BYTES: usize = 56;
/// Bytes of a directory entry and of an entry's own head, without names.
const ENTRY_BYTES: usize = 46;
const HEAD_BYTES: usize = 30;
/// Longest directory: what the names of all entries take at most is less.
const DIRECTORY_BYTES: u64 = 64 << 20;
/// Below this size an entry may be compressed as well as it likes.
const SMALL: u64 = 1 << 20;

/// Where the entries of an archive are, by name.
///
/// # Errors
/// `InvalidArgument` for a damaged archive or one that two readers could understand in two ways (names that come twice);
/// `NotSupported` for compression other than deflate and for encryption; `LimitExceeded`; `Io`.
pub(super) fn directory(file: &mut File, limits: &Limits) -> Result<HashMap<String, Place>> {
    let length = file.seek(SeekFrom::End(0)).map_err(io)?;
    let (count, start, bytes) = end(file, length)?;
    within("entries of the archive", count, limits.entries)?;
    within("bytes of the archive's directory", bytes, DIRECTORY_BYTES)?;
    if start.checked_add(bytes).is_none_or(|end| end > length) {
        return Err(damaged("its directory lies outside the file"));
    }
    let directory = read(file, start, bytes)?;
    let mut rest = directory.as_slice();
    let mut places = HashMap::new();
    let mut inflated = 0u64;
    for _ in 0..count {
        let (name, place, tail) = entry(rest)?;
        rest = tail;
        if place.deflated {
            inflated = inflated.saturating_add(place.bytes);
            within("bytes of the archive once unpacked", inflated, limits.inflated_bytes)?;
            if place.bytes >= SMALL && place.bytes / limits.inflated_ratio.max(1) > place.packed {
                let message =
                    format!("entry {:?} unpacks {} bytes to {}", short(&name), place.packed, place.bytes);
                return Err(Error::new(ErrorKind::LimitExceeded, message));
            }
        }
        let place = located(file, place, length)?;
        if places.insert(name.clone(), place).is_some() {
            return Err(damaged(&format!("it has the entry {:?} twice", short(&name))));
        }
    }
    Ok(places)
}

/// Number of entries, start and size of the directory.
fn end(file: &mut File, length: u64) -> Result<(u64, u64, u64)> {
    let tail_bytes = length.min(END_BYTES + COMMENT_BYTES);
    let tail = read(file, length - tail_bytes, tail_bytes)?;
    // The last one whose comment reaches to the end of the file.
    let at = (0..tail.len().saturating_sub(END_BYTES as usize - 1)).rev().find(|&at| {
        tail[at..].starts_with(b"PK\x05\x06")
            && at + END_BYTES as usize + u16_at(&tail, at + 20) as usize == tail.len()
    });
    let at = at.ok_or_else(|| damaged("its end is missing: the file may be truncated"))?;
    let (disk, count) = (u16_at(&tail, at + 4), u16_at(&tail, at + 10));
    let (bytes, start) = (u32_at(&tail, at + 12), u32_at(&tail, at + 16));
    let large = count == 0xffff || bytes == 0xffff_ffff || start == 0xffff_ffff;
    let end_at = length - tail_bytes + at as u64;
    if large && let Some(locator_at) = end_at.checked_sub(LOCATOR_BYTES) {
        let locator = read(file, locator_at, LOCATOR_BYTES)?;
        if locator.starts_with(b"PK\x06\x07") {
            let record_at = u64_at(&locator, 8);
            if record_at > locator_at {
                return Err(damaged("its end lies outside the file"));
            }
            let record = read(file, record_at, LARGE_END_BYTES as u64)?;
            if !record.starts_with(b"PK\x06\x06") {
                return Err(damaged("its end is no end"));
            }
            return Ok((u64_at(&record, 32), u64_at(&record, 48), u64_at(&record, 40)));
        }
    }
    if disk != 0 {
        return Err(damaged("it is one of several parts"));
    }
    Ok((count.into(), start.into(), bytes.into()))
}

/// The first entry of a directory, with the place of its own head instead of its bytes; and the rest of the directory.
fn entry(directory: &[u8]) -> Result<(String, Place, &[u8])> {
    let outside = || damaged("its directory ends within an entry");
    let head = directory.get(..ENTRY_BYTES).ok_or_else(outside)?;
    if !head.starts_with(b"PK\x01\x02") {
        return Err(damaged("its directory has no entry where one is expected"));
    }
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(head, at) as usize);
    let rest = &directory[ENTRY_BYTES..];
    let (name, rest) = rest.split_at_checked(name).ok_or_else(outside)?;
    let (extra, rest) = rest.split_at_checked(extra).ok_or_else(outside)?;
    let (_, rest) = rest.split_at_checked(comment).ok_or_else(outside)?;
    let name = String::from_utf8(name.to_vec()).map_err(|_| damaged("a name in it is no UTF-8"))?;
    if u16_at(head, 8) & 1 != 0 {
        return Err(Error::new(ErrorKind::NotSupported, "the archive is encrypted"));
    }
    let deflated = match u16_at(head, 10) {
        0 => false,
        8 => true,
        other => {
            let message =
                format!("entry {:?} is compressed by method {other}: expected none or deflate", short(&name));
            return Err(Error::new(ErrorKind::NotSupported, message));
        }
    };
    // The numbers that did not fit, in this order.
    let mut large = extra_field(extra, 1).unwrap_or_default();
    let mut number = |at: usize| match u32_at(head, at) {
        0xffff_ffff => match large.split_at_checked(8) {
            Some((number, rest)) => {
                large = rest;
                u64_at(number, 0)
            }
            None => 0xffff_ffff,
        },
        number => number.into(),
    };
    let (bytes, packed, offset) = (number(24), number(20), number(42));
    if !deflated && bytes != packed {
        return Err(damaged(&format!("entry {:?} has two sizes", short(&name))));
    }
    // PyTorch writes 0 where it was told not to compute any.
    let checksum = Some(u32_at(head, 16)).filter(|checksum| *checksum != 0);
    Ok((name, Place { offset, packed, bytes, checksum, deflated }, rest))
}

fn extra_field(mut extra: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some((head, rest)) = extra.split_at_checked(4) {
        let (field, tail) = rest.split_at_checked(u16_at(head, 2) as usize)?;
        if u16_at(head, 0) == kind {
            return Some(field);
        }
        extra = tail;
    }
    None
}

/// The place of the bytes, behind the entry's own head.
fn located(file: &mut File, place: Place, length: u64) -> Result<Place> {
    let outside = || damaged("an entry lies outside the file");
    if place.offset.checked_add(HEAD_BYTES as u64).is_none_or(|end| end > length) {
        return Err(outside());
    }
    let head = read(file, place.offset, HEAD_BYTES as u64)?;
    if !head.starts_with(b"PK\x03\x04") {
        return Err(damaged("an entry is not where the directory says"));
    }
    let before = HEAD_BYTES as u64 + u64::from(u16_at(&head, 26)) + u64::from(u16_at(&head, 28));
    let offset = place.offset + before;
    if offset.checked_add(place.packed).is_none_or(|end| end > length) {
        return Err(outside());
    }
    Ok(Place { offset, ..place })
}

fn damaged(message: &str) -> Error {
    Error::invalid(format!("damaged archive: {message}"))
}

fn io(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot read the archive").caused_by(error)
}

fn read(file: &mut File, offset: u64, bytes: u64) -> Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut read = Vec::new();
    file.take(bytes).read_to_end(&mut read).map_err(io)?;
    if read.len() as u64 != bytes {
        return Err(damaged("the file is too short"));
    }
    Ok(read)
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(word(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(word(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(word(bytes, at))
}
