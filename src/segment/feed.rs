//! What goes to the model.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Normalisation;
use crate::runtime::{OutputTensor, RawSamples, Session};
use crate::tensor::{DataType, Sample, Samples};

/// Samples of a batch of tiles, `[N, C, H, W]`, in the type that the model takes.
pub(super) enum Feed {
    /// Normalised.
    F32(Vec<f32>),
    /// As they are in the raster, for a model that normalises them.
    U8(Vec<u8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
}

impl Feed {
    /// Room for so many samples, raw ones of this type or normalised ones.
    pub(super) fn new(raw: Option<DataType>, length: usize) -> Result<Feed> {
        let what = "a batch of tiles";
        Ok(match raw {
            Some(DataType::U8) => Feed::U8(reserve(length, what)?),
            Some(DataType::U16) => Feed::U16(reserve(length, what)?),
            Some(DataType::I16) => Feed::I16(reserve(length, what)?),
            _ => Feed::F32(reserve(length, what)?),
        })
    }

    /// Puts a tile into its place.
    ///
    /// # Errors
    /// As [`Normalisation::apply`]; `Internal` for samples of another type than the raw ones.
    pub(super) fn put(
        &mut self,
        at: Range<usize>,
        samples: &Samples,
        normalisation: &Normalisation,
        nodata: &[Option<f64>],
    ) -> Result<()> {
        match (self, samples) {
            (Feed::F32(values), samples) => normalisation.apply(&samples.view(), nodata, &mut values[at]),
            (Feed::U8(values), Samples::U8(block)) => copied(block, &mut values[at]),
            (Feed::U16(values), Samples::U16(block)) => copied(block, &mut values[at]),
            (Feed::I16(values), Samples::I16(block)) => copied(block, &mut values[at]),
            _ => Err(Error::internal("raw samples of another type")),
        }
    }

    /// Sets all from `start` on to 0.
    pub(super) fn blank(&mut self, start: usize) {
        match self {
            Feed::F32(values) => values[start..].fill(0.0),
            Feed::U8(values) => values[start..].fill(0),
            Feed::U16(values) => values[start..].fill(0),
            Feed::I16(values) => values[start..].fill(0),
        }
    }

    /// Runs the model on the first of them.
    pub(super) fn score(
        &self,
        session: &mut Session,
        shape: [usize; 4],
        output: &str,
    ) -> Result<OutputTensor> {
        let length = shape.iter().product();
        match self {
            Feed::F32(values) => session.score(&values[..length], shape, output),
            Feed::U8(values) => session.score_raw(RawSamples::U8(&values[..length]), shape, output),
            Feed::U16(values) => session.score_raw(RawSamples::U16(&values[..length]), shape, output),
            Feed::I16(values) => session.score_raw(RawSamples::I16(&values[..length]), shape, output),
        }
    }
}

fn copied<T: Sample>(block: &ndarray::Array3<T>, out: &mut [T]) -> Result<()> {
    let block = block.as_standard_layout();
    match block.as_slice() {
        Some(samples) if samples.len() == out.len() => {
            out.copy_from_slice(samples);
            Ok(())
        }
        _ => Err(Error::internal("a tile of another size")),
    }
}

/// So many zeros.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn reserve<T: Clone + Default>(length: usize, what: &str) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(length).map_err(|_| {
        Error::new(ErrorKind::OutOfMemory, format!("not enough memory for {what}: {length} values"))
    })?;
    values.resize(length, T::default());
    Ok(values)
}
