//! What an operation of augmentation may draw.
//!
//! Every operation that is written down without a probability has 0.5; one that is not written down has 0.

use serde::{Deserialize, Serialize};

use crate::data::augmentation::map::Map;
use crate::error::{Error, Result};
use crate::random::SplitMix64;

/// Turning, scaling, shearing and moving about the window's centre. What is not written down stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Affine {
    /// How often, 0..1.
    pub probability: f64,
    /// Turned by up to this many degrees either way, 0..180.
    pub rotation: f64,
    /// Things appear this many times as long, 0.25..4; as likely to shrink by a factor as to grow by it where the range
    /// has both.
    pub scale: [f64; 2],
    /// Sheared along x and along y by up to this many degrees either way, 0..45.
    pub shear: f64,
    /// Moved along x and along y by up to this share of the window's side either way, 0..1.
    pub translation: f64,
}

impl Default for Affine {
    fn default() -> Self {
        Affine { probability: 0.5, rotation: 0.0, scale: [1.0, 1.0], shear: 0.0, translation: 0.0 }
    }
}

impl Affine {
    pub(crate) fn check(&self) -> Result<()> {
        probability("affine.probability", self.probability)?;
        reach("affine.rotation", self.rotation, 180.0)?;
        range("affine.scale", self.scale, [0.25, 4.0])?;
        reach("affine.shear", self.shear, 45.0)?;
        reach("affine.translation", self.translation, 1.0)?;
        let is_idle = *self == Affine { probability: self.probability, ..Affine::default() };
        if is_idle && self.probability > 0.0 {
            return Err(Error::invalid("affine: expected a rotation, scale, shear or translation, got none"));
        }
        Ok(())
    }

    /// Where the pixels of an output of this size look after one such operation.
    pub(crate) fn draw(&self, width: f64, height: f64, numbers: &mut SplitMix64) -> Map {
        let rotation = either_way(self.rotation, numbers.uniform());
        let scale = within(self.scale, numbers.uniform());
        let slope_x = either_way(self.shear, numbers.uniform()).to_radians().tan();
        let slope_y = either_way(self.shear, numbers.uniform()).to_radians().tan();
        let x = width * either_way(self.translation, numbers.uniform());
        let y = height * either_way(self.translation, numbers.uniform());
        let there = Map::shift(x, y)
            .after(Map::rotation(rotation))
            .after(Map::shear_x(slope_x))
            .after(Map::shear_y(slope_y))
            .after(Map::scale(scale, scale));
        there.inverse()
    }
}

/// A part of the window, brought to the window's size.
///
/// The part lies inside the window, anywhere; where a side of it is longer than the window's, it holds the window, and
/// the raster is read around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ResizedCrop {
    /// How often, 0..1.
    pub probability: f64,
    /// Share of the window's **area** (the sides are its root), 0.0625..4; above 1 more than the window is seen.
    pub area: [f64; 2],
    /// Width to height of the part where the window's own is 1, 0.25..4.
    pub aspect: [f64; 2],
}

impl Default for ResizedCrop {
    fn default() -> Self {
        ResizedCrop { probability: 0.5, area: [0.5, 1.0], aspect: [1.0, 1.0] }
    }
}

impl ResizedCrop {
    pub(crate) fn check(&self) -> Result<()> {
        probability("resized_crop.probability", self.probability)?;
        range("resized_crop.area", self.area, [0.0625, 4.0])?;
        range("resized_crop.aspect", self.aspect, [0.25, 4.0])
    }

    /// Where the pixels of an output of this size look after one such operation.
    pub(crate) fn draw(&self, width: f64, height: f64, numbers: &mut SplitMix64) -> Map {
        let area = within(self.area, numbers.uniform());
        let aspect = within(self.aspect, numbers.uniform());
        let (share_x, share_y) = ((area * aspect).sqrt(), (area / aspect).sqrt());
        let x = width * either_way((1.0 - share_x).abs() / 2.0, numbers.uniform());
        let y = height * either_way((1.0 - share_y).abs() / 2.0, numbers.uniform());
        Map::shift(x, y).after(Map::scale(share_x, share_y))
    }
}

/// A number added to all bands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Brightness {
    /// How often, 0..1.
    pub probability: f64,
    /// Up to this share of the full range either way, 0..1.
    pub by: f64,
}

impl Default for Brightness {
    fn default() -> Self {
        Brightness { probability: 0.5, by: 0.1 }
    }
}

impl Brightness {
    pub(crate) fn check(&self) -> Result<()> {
        probability("brightness.probability", self.probability)?;
        reach("brightness.by", self.by, 1.0)
    }
}

/// Distances from the image's own mean, band by band, stretched by one factor for all bands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Contrast {
    /// How often, 0..1.
    pub probability: f64,
    /// The factor, 0.01..100; evenly on a logarithmic scale.
    pub factor: [f64; 2],
}

impl Default for Contrast {
    fn default() -> Self {
        Contrast { probability: 0.5, factor: [0.8, 1.25] }
    }
}

impl Contrast {
    pub(crate) fn check(&self) -> Result<()> {
        probability("contrast.probability", self.probability)?;
        range("contrast.factor", self.factor, [0.01, 100.0])
    }
}

/// Values as shares of the full range, raised to a power, one for all bands. Values of 0 and less stay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Gamma {
    /// How often, 0..1.
    pub probability: f64,
    /// The exponent, 0.01..100; evenly on a logarithmic scale. Above 1 darkens.
    pub exponent: [f64; 2],
}

impl Default for Gamma {
    fn default() -> Self {
        Gamma { probability: 0.5, exponent: [0.8, 1.25] }
    }
}

impl Gamma {
    pub(crate) fn check(&self) -> Result<()> {
        probability("gamma.probability", self.probability)?;
        range("gamma.exponent", self.exponent, [0.01, 100.0])
    }
}

/// Gaussian noise, independent for every pixel and band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Noise {
    /// How often, 0..1.
    pub probability: f64,
    /// Standard deviation as a share of the full range, 0..1.
    pub std: f64,
}

impl Default for Noise {
    fn default() -> Self {
        Noise { probability: 0.5, std: 0.02 }
    }
}

impl Noise {
    pub(crate) fn check(&self) -> Result<()> {
        probability("noise.probability", self.probability)?;
        reach("noise.std", self.std, 1.0)
    }
}

/// The number at `at`, in 0..1, of the range from `-reach` to `reach`.
pub(crate) fn either_way(reach: f64, at: f64) -> f64 {
    reach * (2.0 * at - 1.0)
}

/// The number at `at`, in 0..1, of a range of factors: even on a logarithmic scale.
pub(crate) fn within([low, high]: [f64; 2], at: f64) -> f64 {
    (low * (high / low).powf(at)).clamp(low, high)
}

/// Refuses what is no probability.
pub(crate) fn probability(name: &str, value: f64) -> Result<()> {
    reach(name, value, 1.0)
}

/// Refuses what is not a number from 0 to `most`.
fn reach(name: &str, value: f64, most: f64) -> Result<()> {
    if !(0.0..=most).contains(&value) {
        return Err(Error::invalid(format!("{name}: expected a number from 0 to {most}, got {value}")));
    }
    Ok(())
}

/// Refuses what is not `[low, high]` within `limits`.
fn range(name: &str, [low, high]: [f64; 2], limits: [f64; 2]) -> Result<()> {
    let [least, most] = limits;
    if !(least <= low && low <= high && high <= most) {
        return Err(Error::invalid(format!(
            "{name}: expected [low, high] from {least} to {most}, got [{low}, {high}]"
        )));
    }
    Ok(())
}
