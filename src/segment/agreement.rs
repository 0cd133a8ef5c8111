//! How far two forms of a model decide alike.

use crate::runtime::{OutputData, OutputTensor};
use crate::segment::canvas::Pending;
use crate::segment::options::Activation;
use crate::segment::product::Encoding;

/// Pixels with data that were decided twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Agreement {
    pub(super) pixels: u64,
    /// Those of the same class both times.
    pub(super) equal: u64,
}

impl Agreement {
    pub(super) fn add(&mut self, other: Agreement) {
        self.pixels += other.pixels;
        self.equal += other.equal;
    }

    /// Share of equal pixels; none where none was compared.
    pub(super) fn share(self) -> Option<f64> {
        (self.pixels > 0).then(|| self.equal as f64 / self.pixels as f64)
    }
}

/// Compares what two models gave for the tiles.
pub(super) fn agreement(
    encoding: &Encoding,
    tiles: &[Pending],
    one: &OutputTensor,
    other: &OutputTensor,
) -> Agreement {
    let &[.., height, width] = one.shape() else { return Agreement::default() };
    let mut found = Agreement::default();
    for pending in tiles {
        let Some(slot) = pending.slot else { continue };
        // What is past the raster's edge is no one's.
        let window = pending.step.tile.window;
        let (rows, columns) = match &pending.valid {
            Some(valid) => valid.dim(),
            None => (window.height.min(height), window.width.min(width)),
        };
        let one = labels(encoding, one, slot, height * width);
        let other = labels(encoding, other, slot, height * width);
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            if pending.valid.as_ref().is_none_or(|valid| valid[[y, x]]) {
                found.pixels += 1;
                found.equal += u64::from(one[y * width + x] == other[y * width + x]);
            }
        }
    }
    found
}

/// The classes of tile `slot`; none where all scores of a pixel are NaN.
fn labels(encoding: &Encoding, values: &OutputTensor, slot: usize, pixels: usize) -> Vec<Option<u16>> {
    let decided = |value: &dyn Fn(usize) -> f32| {
        let first = slot * encoding.channels * pixels;
        (first..first + pixels).map(|at| decide(encoding, &|channel| value(at + channel * pixels))).collect()
    };
    match values.data() {
        OutputData::F32(values) => decided(&|at| values[at]),
        OutputData::F16(values) => decided(&|at| values[at].to_f32()),
        OutputData::U8(values) => values[slot * pixels..].iter().map(|code| Some(u16::from(*code))).collect(),
        OutputData::U16(values) => values[slot * pixels..].iter().map(|code| Some(*code)).collect(),
    }
}

/// The class of a pixel by its scores.
fn decide(encoding: &Encoding, score: &dyn Fn(usize) -> f32) -> Option<u16> {
    if encoding.channels == 1 {
        let score = f64::from(score(0));
        let probability = match encoding.activation {
            Activation::Sigmoid => 1.0 / (1.0 + (-score).exp()),
            _ => score,
        };
        return (!score.is_nan()).then(|| u16::from(probability > f64::from(encoding.threshold)));
    }
    let mut best: Option<(u16, f32)> = None;
    for channel in 0..encoding.channels {
        let score = score(channel);
        if !score.is_nan() && best.is_none_or(|(_, most)| score > most) {
            best = Some((channel as u16, score));
        }
    }
    best.map(|(channel, _)| channel)
}
