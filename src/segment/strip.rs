//! The part of a raster that the tiles at work need, so that each block of the file is decoded once.

use std::collections::VecDeque;
use std::ops::Range;

use ndarray::{Array2, Array3, s};

use crate::error::{Error, Result};
use crate::geometry::{Band, Padding, Size, Window};
use crate::raster::{Mask, NodataRule, Raster};
use crate::runtime::return_freed_memory;
use crate::segment::stream::Block;
use crate::tensor::{Sample, Samples, with_samples};

/// Rows that are read at once, at least: files whose blocks are single lines are not asked for each.
const ROWS: usize = 64;

/// Blocks that are higher are not read as wholes.
const MOST_ROWS: usize = 1024;

/// Bytes of the file's blocks that are read at once, where a block has not more: bands and masks of so many fit into
/// GDAL's cache together, so that none is decoded again for another band.
const AT_ONCE: usize = 2 << 20;

/// Bytes of a block from which on what decoding it took is given back to the system each time: the allocator would lay other
/// things between such large pieces, and keep more and more of them.
const LARGE: u64 = 4 << 20;

/// Rows of a lane in memory, in pieces as they were read: whole blocks of the file.
pub(super) struct Strip {
    bands: Vec<Band>,
    padding: Padding,
    rule: NodataRule,
    size: Size,
    /// Columns in memory.
    columns: Range<usize>,
    /// Rows of a piece.
    rows: usize,
    /// Columns that are read at once.
    at_once: usize,
    /// Whether the file's blocks are so high that GDAL has to keep them from piece to piece.
    keeps: bool,
    /// Whether the file's blocks are [`LARGE`].
    large: bool,
    pieces: VecDeque<Piece>,
    /// Samples of pieces that are not needed any more: the next ones are written over them, so that memory does not crumble.
    spare: Vec<Samples>,
    pixels_read: u64,
    has_invalid: bool,
}

struct Piece {
    rows: Range<usize>,
    /// `[C, rows, columns]`.
    samples: Samples,
    /// `[rows, columns]`; `None`: all.
    valid: Option<Array2<bool>>,
}

impl Strip {
    pub(super) fn new(raster: &Raster, bands: &[Band], padding: Padding, rule: NodataRule) -> Strip {
        let size = raster.size();
        let block = block(raster);
        let rows = rows_at_once(block.height);
        let bytes: usize = raster.info().bands.iter().map(|band| band.data_type.bytes()).sum();
        let blocks = AT_ONCE / (rows * block.width * bytes).max(1);
        Strip {
            bands: bands.to_vec(),
            padding,
            rule,
            size,
            columns: 0..size.width,
            rows,
            at_once: blocks.max(1) * block.width.max(1),
            keeps: block.height > MOST_ROWS,
            large: block_bytes(raster) >= LARGE,
            pieces: VecDeque::new(),
            spare: Vec::new(),
            pixels_read: 0,
            has_invalid: raster
                .info()
                .bands
                .iter()
                .any(|band| band.mask != Mask::AllValid || !band.data_type.is_integer()),
        }
    }

    /// Gives all memory back.
    pub(super) fn clear(&mut self) {
        self.pieces = VecDeque::new();
        self.spare = Vec::new();
    }

    /// Whether pixels may be invalid.
    pub(super) fn has_invalid(&self) -> bool {
        self.has_invalid
    }

    /// Windows of these columns come next.
    pub(super) fn enter(&mut self, raster: &Raster, columns: Range<i64>) {
        let block = block(raster).width.max(1);
        let needed = self.needed(columns, self.size.width);
        let columns = needed.start / block * block..needed.end.next_multiple_of(block).min(self.size.width);
        if columns != self.columns {
            self.pieces.clear();
            self.spare.clear();
            self.columns = columns;
        }
    }

    /// The raster's pixels along an axis that a window needs: its own, and those that its padding repeats.
    fn needed(&self, window: Range<i64>, extent: usize) -> Range<usize> {
        if window.start >= 0 && window.end <= extent as i64 {
            return window.start as usize..window.end as usize;
        }
        let sources = window.filter_map(|at| self.padding.source(at, extent));
        let (first, last) =
            sources.fold((usize::MAX, 0), |(first, last), at| (first.min(at), last.max(at + 1)));
        if first < last { first..last } else { 0..0 }
    }

    /// Columns that are read at once, into memory of their own.
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }

    pub(super) fn pixels_read(&self) -> u64 {
        self.pixels_read
    }

    /// A window of the columns announced, with padding.
    pub(super) fn read(&mut self, raster: &Raster, window: Window) -> Result<Block> {
        let rows = self.needed(window.y..window.y + window.height as i64, self.size.height);
        self.fill(raster, rows)?;
        let Some(first) = self.pieces.front() else {
            // Beside the raster altogether.
            let (samples, valid) = raster.read_with_validity(&self.bands, window, self.padding, self.rule)?;
            return Ok(Block { samples, valid });
        };
        with_samples!(Samples, &first.samples, like => self.cut(like, window))
    }

    /// Brings rows into memory, and drops those before them.
    fn fill(&mut self, raster: &Raster, rows: Range<usize>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let start = rows.start / self.rows * self.rows;
        // Rows that went already are read again: a lane that begins anew, a raster of a single row of tiles.
        let again = self.pieces.front().is_some_and(|piece| piece.rows.start > start);
        while self.pieces.front().is_some_and(|piece| again || piece.rows.end <= rows.start) {
            self.spare.extend(self.pieces.pop_front().map(|piece| piece.samples));
        }
        let mut next = self.pieces.back().map_or(start, |piece| piece.rows.end);
        while next < rows.end {
            let height = self.rows.min(self.size.height - next);
            let piece = self.piece(raster, next..next + height)?;
            if !self.keeps {
                raster.forget();
            }
            if self.large {
                return_freed_memory();
            }
            self.pixels_read += self.columns.len() as u64 * height as u64;
            self.pieces.push_back(piece);
            next += height;
        }
        Ok(())
    }

    /// These rows of the lane, read some columns at a time.
    fn piece(&mut self, raster: &Raster, rows: Range<usize>) -> Result<Piece> {
        let lane = self.columns.clone();
        let mut samples = self.room(raster, Size::new(lane.len(), rows.len()))?;
        if lane.len() <= self.at_once {
            let window = Window::new(lane.start as i64, rows.start as i64, lane.len(), rows.len());
            raster.read_into(&self.bands, window, &mut samples)?;
            let valid = raster.validity_of(&samples, &self.bands, window, self.rule)?;
            return Ok(Piece { rows, samples, valid });
        }
        let mut whole = Parts { at: 0, valid: None, size: Size::new(lane.len(), rows.len()) };
        for start in lane.clone().step_by(self.at_once) {
            let columns = start..(start + self.at_once).min(lane.end);
            let window = Window::new(start as i64, rows.start as i64, columns.len(), rows.len());
            let (part, valid) = raster.read_with_validity(&self.bands, window, self.padding, self.rule)?;
            with_samples!(Samples, part, part => whole.add(&mut samples, &part, valid.as_ref())?);
        }
        Ok(Piece { rows, samples, valid: whole.valid })
    }

    /// Room for a piece.
    fn room(&mut self, raster: &Raster, size: Size) -> Result<Samples> {
        let shape = [self.bands.len(), size.height, size.width];
        match self.spare.iter().position(|own| own.shape() == shape) {
            Some(spare) => Ok(self.spare.swap_remove(spare)),
            None => raster.room(&self.bands, size),
        }
    }

    /// A window out of the pieces, which are blocks `like` this one.
    fn cut<T: Sample>(&self, _like: &Array3<T>, window: Window) -> Result<Block> {
        let lost = || Error::internal(format!("window {window} is not in the strip"));
        let on_raster = window.clip(self.size) == Some(window);
        let (height, width) = (window.height, window.width);
        let fill = match self.padding {
            Padding::Constant(value) => T::from_f64(value),
            Padding::Reflect | Padding::Edge => T::default(),
        };
        let mut samples = Array3::from_elem((self.bands.len(), height, width), fill);
        let all = on_raster && self.pieces.iter().all(|piece| piece.valid.is_none());
        let mut valid = (!all).then(|| Array2::from_elem((height, width), false));
        // Columns: a run that lies in the strip as it is, and those beside it one by one.
        let left = (-window.x).clamp(0, width as i64) as usize;
        let right = (self.size.width as i64 - window.x).clamp(left as i64, width as i64) as usize;
        let from = (window.x + left as i64) as usize;
        let beside: Vec<(usize, usize)> = (0..left)
            .chain(right..width)
            .filter_map(|at| Some((at, self.padding.source(window.x + at as i64, self.size.width)?)))
            .collect();
        let inside = self.columns.start <= from && from + (right - left) <= self.columns.end;
        let beside_inside = beside.iter().all(|(_, column)| self.columns.contains(column));
        if (right > left && !inside) || !beside_inside {
            return Err(lost());
        }
        for y in 0..height {
            let at = window.y + y as i64;
            let Some(row) = self.padding.source(at, self.size.height) else { continue };
            let piece = self.pieces.iter().find(|piece| piece.rows.contains(&row)).ok_or_else(lost)?;
            let source = T::of(&piece.samples).ok_or_else(lost)?;
            let line = row - piece.rows.start;
            for band in 0..self.bands.len() {
                let source = source.slice(s![band, line, ..]);
                let mut out = samples.slice_mut(s![band, y, ..]);
                if right > left {
                    let run = from - self.columns.start..from - self.columns.start + right - left;
                    out.slice_mut(s![left..right]).assign(&source.slice(s![run]));
                }
                for (to, column) in &beside {
                    out[*to] = source[column - self.columns.start];
                }
            }
            if let Some(valid) = &mut valid
                && (0..self.size.height as i64).contains(&at)
            {
                let mut out = valid.slice_mut(s![y, left..right]);
                match &piece.valid {
                    None => out.fill(true),
                    Some(own) => {
                        let run = from - self.columns.start..from - self.columns.start + right - left;
                        out.assign(&own.slice(s![line, run]));
                    }
                }
            }
        }
        Ok(Block { samples: T::wrap(samples), valid })
    }
}

/// Columns that are put together from left to right.
struct Parts {
    at: usize,
    valid: Option<Array2<bool>>,
    size: Size,
}

impl Parts {
    fn add<T: Sample>(
        &mut self,
        all: &mut Samples,
        part: &Array3<T>,
        valid: Option<&Array2<bool>>,
    ) -> Result<()> {
        let all = T::of_mut(all).ok_or_else(|| Error::internal("bands of another type"))?;
        let columns = self.at..self.at + part.dim().2;
        all.slice_mut(s![.., .., columns.clone()]).assign(part);
        if let Some(valid) = valid {
            let size = (self.size.height, self.size.width);
            let own = self.valid.get_or_insert_with(|| Array2::from_elem(size, true));
            own.slice_mut(s![.., columns.clone()]).assign(valid);
        }
        self.at = columns.end;
        Ok(())
    }
}

/// Rows of a piece for a file with blocks of this height.
pub(super) fn rows_at_once(block: usize) -> usize {
    match block {
        1..=MOST_ROWS => block * ROWS.div_ceil(block),
        _ => ROWS,
    }
}

/// Bytes of one of the file's blocks, all its bands.
pub(super) fn block_bytes(raster: &Raster) -> u64 {
    let bytes: usize = raster.info().bands.iter().map(|band| band.data_type.bytes()).sum();
    block(raster).pixels().saturating_mul(bytes as u64)
}

/// The blocks that the file is made of.
pub(super) fn block(raster: &Raster) -> Size {
    raster.info().bands.first().map_or(Size::new(1, 1), |band| band.block)
}
