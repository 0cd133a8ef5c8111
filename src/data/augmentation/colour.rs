//! What was drawn of colour, and doing it.

use crate::data::augmentation::photometric::Photometric;
use crate::random::SplitMix64;

/// The colour operations of one sample, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Colour {
    /// Added, as a share of the full range.
    pub(crate) brightness: Option<f32>,
    /// Factor of the distance from the mean.
    pub(crate) contrast: Option<f32>,
    /// Exponent.
    pub(crate) gamma: Option<f32>,
    /// Standard deviation as a share of the full range, and the seed of the numbers.
    pub(crate) noise: Option<(f32, u64)>,
    /// How likely a band is dropped, and the seed of the choice: the number of bands is known with the image only.
    pub(crate) dropout: Option<(f64, u64)>,
}

impl Colour {
    /// The names of the operations that are done, as the options are called.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let done = [
            (self.brightness.is_some(), "brightness"),
            (self.contrast.is_some(), "contrast"),
            (self.gamma.is_some(), "gamma"),
            (self.noise.is_some(), "noise"),
            (self.dropout.is_some(), "band_dropout"),
        ];
        done.into_iter().filter(|(is_done, _)| *is_done).map(|(_, name)| name).collect()
    }

    /// Changes a normalised image `[C, pixels]`; pixels that are not valid become 0 and have no part in the mean.
    pub(crate) fn apply(
        &self,
        image: &mut [f32],
        pixels: usize,
        valid: Option<&[bool]>,
        photometric: &Photometric,
    ) {
        let bands = image.len() / pixels.max(1);
        let dropped = self.dropped(bands);
        let mut grain = self.noise.map(|(std, seed)| (std, SplitMix64::new(seed)));
        for (band, image) in image.chunks_exact_mut(pixels.max(1)).enumerate() {
            if dropped[band] {
                image.fill(0.0);
                continue;
            }
            if self.changes_values() {
                self.change(image, valid, photometric.share(band));
            }
            if let Some((std, numbers)) = &mut grain {
                add_noise(image, f64::from(*std) / photometric.share(band)[0], numbers);
            }
            if let Some(valid) = valid {
                image.iter_mut().zip(valid).filter(|(_, valid)| !**valid).for_each(|(value, _)| *value = 0.0);
            }
        }
    }

    fn changes_values(&self) -> bool {
        self.brightness.is_some() || self.contrast.is_some() || self.gamma.is_some()
    }

    /// Brightness, contrast and gamma of one band, in shares `u = y factor + offset`.
    fn change(&self, image: &mut [f32], valid: Option<&[bool]>, [factor, offset]: [f64; 2]) {
        let stretch = self.contrast.unwrap_or(1.0);
        let mean = match self.contrast {
            Some(_) => (mean(image, valid) * factor + offset) as f32,
            None => 0.0,
        };
        // Brightness moves the mean along, so contrast leaves what it added as it is.
        let middle = mean + self.brightness.unwrap_or(0.0);
        let (factor, offset) = (factor as f32, offset as f32);
        let linear = |y: f32| middle + stretch * (y * factor + offset - mean);
        let back = |u: f32| (u - offset) / factor;
        match self.gamma {
            Some(exponent) => image.iter_mut().for_each(|value| {
                let u = linear(*value);
                // Below 0 there is no power; at 0 both agree.
                *value = back(if u > 0.0 { u.powf(exponent) } else { u });
            }),
            None => image.iter_mut().for_each(|value| *value = back(linear(*value))),
        }
    }

    /// Which bands are dropped: never all of them.
    fn dropped(&self, bands: usize) -> Vec<bool> {
        let Some((probability, seed)) = self.dropout else { return vec![false; bands] };
        let mut numbers = SplitMix64::new(seed);
        let kept = (numbers.uniform() * bands as f64) as usize;
        let mut dropped: Vec<bool> = (0..bands).map(|_| numbers.uniform() < probability).collect();
        if dropped.iter().all(|dropped| *dropped) && kept < bands {
            dropped[kept] = false;
        }
        dropped
    }
}

/// The mean of the valid pixels; 0 where there are none.
fn mean(image: &[f32], valid: Option<&[bool]>) -> f64 {
    let (sum, count) = match valid {
        None => (image.iter().map(|value| f64::from(*value)).sum::<f64>(), image.len()),
        Some(valid) => image
            .iter()
            .zip(valid)
            .filter(|(_, valid)| **valid)
            .fold((0.0, 0), |(sum, count), (value, _)| (sum + f64::from(*value), count + 1)),
    };
    sum / count.max(1) as f64
}

/// Adds normal numbers of this standard deviation, in normalised units.
fn add_noise(image: &mut [f32], std: f64, numbers: &mut SplitMix64) {
    for pair in image.chunks_mut(2) {
        for (value, number) in pair.iter_mut().zip(numbers.normals()) {
            *value += (std * number) as f32;
        }
    }
}
