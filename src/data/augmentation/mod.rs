//! Augmentation: other views of the same sample, image and labels together.
//!
//! [`Augmentation`] says what may be drawn, [`Drawn`] is what was drawn for one sample: it says which window of the
//! raster it looks at, and makes the sample out of it. All of geometry is one map, so pixels are resampled once.

mod colour;
mod drawn;
mod map;
mod operations;
mod photometric;
mod preset;
mod resample;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::random::SplitMix64;

use colour::Colour;
pub use drawn::{Drawn, Patch};
use map::Map;
pub use operations::{Affine, Brightness, Contrast, Gamma, Noise, ResizedCrop};
pub use photometric::Photometric;

/// What may happen to a sample, each with its own probability; nothing by default.
///
/// It can stand in a TOML file, where an operation that is written down without a probability has 0.5:
///
/// ```toml
/// horizontal_flip = 0.5
/// rot90 = 0.75
/// affine = { rotation = 10, scale = [0.8, 1.25] }
/// brightness = { probability = 0.3, by = 0.05 }
/// ```
///
/// or be one of the presets, by [`str::parse`]: `none`; `flips`; `d4`, in which the eight symmetries are equally likely;
/// `standard`, which is `d4` with mild brightness and contrast; `strong`, which is all operations, mild.
///
/// Geometry is done in the order of the fields, then colour in theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Augmentation {
    /// Exactly one of the geometric operations is done to a sample, as geo-deep-learning does: their probabilities are
    /// then the weights by which it is chosen. Colour is not concerned.
    pub one_of: bool,
    /// Left and right change places: how often, 0..1.
    pub horizontal_flip: f64,
    /// Top and bottom change places: how often, 0..1.
    pub vertical_flip: f64,
    /// Turned by one, two or three right angles: how often, 0..1.
    pub rot90: f64,
    /// Turned, scaled, sheared, moved.
    pub affine: Affine,
    /// A part of the window in the window's size.
    pub resized_crop: ResizedCrop,
    /// Lighter or darker.
    pub brightness: Brightness,
    /// Stretched about the image's own mean.
    pub contrast: Contrast,
    /// Raised to a power.
    pub gamma: Gamma,
    /// Gaussian noise.
    pub noise: Noise,
    /// A band becomes its mean (0 after normalisation): how often for each band, 0..1. One band always stays.
    pub band_dropout: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Augmentation {
            one_of: false,
            horizontal_flip: 0.0,
            vertical_flip: 0.0,
            rot90: 0.0,
            affine: Affine { probability: 0.0, ..Affine::default() },
            resized_crop: ResizedCrop { probability: 0.0, ..ResizedCrop::default() },
            brightness: Brightness { probability: 0.0, ..Brightness::default() },
            contrast: Contrast { probability: 0.0, ..Contrast::default() },
            gamma: Gamma { probability: 0.0, ..Gamma::default() },
            noise: Noise { probability: 0.0, ..Noise::default() },
            band_dropout: 0.0,
        }
    }
}

/// The geometric operations in their order, by the names of their options.
const GEOMETRY: [&str; 5] = ["horizontal_flip", "vertical_flip", "rot90", "affine", "resized_crop"];

impl Augmentation {
    /// Whether nothing can happen to a sample.
    pub fn is_none(&self) -> bool {
        let colour = [self.brightness.probability, self.contrast.probability, self.gamma.probability];
        self.weights()
            .into_iter()
            .chain(colour)
            .chain([self.noise.probability, self.band_dropout])
            .all(|p| p == 0.0)
    }

    /// Checks all numbers.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) with the option's name: a probability outside 0..1, a
    /// range whose ends are in the wrong order or beyond what the operation allows, NaN, an affine operation that can
    /// do nothing, `one_of` without a geometric operation.
    pub fn check(&self) -> Result<()> {
        operations::probability("horizontal_flip", self.horizontal_flip)?;
        operations::probability("vertical_flip", self.vertical_flip)?;
        operations::probability("rot90", self.rot90)?;
        self.affine.check()?;
        self.resized_crop.check()?;
        self.brightness.check()?;
        self.contrast.check()?;
        self.gamma.check()?;
        self.noise.check()?;
        operations::probability("band_dropout", self.band_dropout)?;
        if self.one_of && self.weights().iter().sum::<f64>() == 0.0 {
            let message =
                format!("one_of: expected a probability above 0 for one of {}", GEOMETRY.join(", "));
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    /// Draws what happens to one sample of `size`, which is `[H, W]` of the output.
    ///
    /// All follows from `seed`, the same on every thread and in every run; samples that shall differ need other seeds.
    ///
    /// # Errors
    /// What [`check`](Augmentation::check) refuses; `InvalidArgument` for a side of 0 pixels.
    pub fn draw(&self, size: [usize; 2], seed: u64) -> Result<Drawn> {
        self.check()?;
        if size.contains(&0) {
            return Err(Error::invalid(format!(
                "size: expected at least one pixel, got {} x {}",
                size[1], size[0]
            )));
        }
        // The seeds of neighbours are often neighbours, or a constant apart: the first number tells them apart.
        let mut numbers = SplitMix64::new(SplitMix64::new(seed).next());
        let (map, mut operations) = self.draw_map(size, &mut numbers);
        let colour = self.draw_colour(&mut numbers);
        operations.extend(colour.names());
        Ok(Drawn::new(size, map, colour, operations))
    }

    /// The probabilities of [`GEOMETRY`].
    fn weights(&self) -> [f64; 5] {
        [
            self.horizontal_flip,
            self.vertical_flip,
            self.rot90,
            self.affine.probability,
            self.resized_crop.probability,
        ]
    }

    /// All numbers are drawn whether they are used or not, so that an option changes its own operation only.
    fn draw_map(&self, [height, width]: [usize; 2], numbers: &mut SplitMix64) -> (Map, Vec<&'static str>) {
        let one = choice(&self.weights(), numbers.uniform());
        let coins = self.weights().map(|probability| numbers.uniform() < probability);
        let turns = 1 + (3.0 * numbers.uniform()) as usize;
        let (width, height) = (width as f64, height as f64);
        let maps = [
            Map::scale(-1.0, 1.0),
            Map::scale(1.0, -1.0),
            Map::quarter_turns(turns).inverse(),
            self.affine.draw(width, height, numbers),
            self.resized_crop.draw(width, height, numbers),
        ];
        let mut all = Map::IDENTITY;
        let mut names = Vec::new();
        for (index, map) in maps.into_iter().enumerate() {
            let is_done = if self.one_of { one == index } else { coins[index] };
            if is_done {
                // The last operation is the first that an output pixel goes back through.
                all = all.after(map);
                names.push(GEOMETRY[index]);
            }
        }
        (all, names)
    }

    fn draw_colour(&self, numbers: &mut SplitMix64) -> Colour {
        let mut pick = |probability: f64, value: &dyn Fn(f64) -> f64| {
            let coin = numbers.uniform() < probability;
            let value = value(numbers.uniform()) as f32;
            coin.then_some(value)
        };
        let brightness =
            pick(self.brightness.probability, &|at| operations::either_way(self.brightness.by, at));
        let contrast = pick(self.contrast.probability, &|at| operations::within(self.contrast.factor, at));
        let gamma = pick(self.gamma.probability, &|at| operations::within(self.gamma.exponent, at));
        let noise = pick(self.noise.probability, &|_| self.noise.std);
        let (grain, bands) = (numbers.next(), numbers.next());
        Colour {
            brightness,
            contrast,
            gamma,
            noise: noise.map(|std| (std, grain)),
            dropout: (self.band_dropout > 0.0).then_some((self.band_dropout, bands)),
        }
    }
}

/// The index that `at`, in 0..1, falls on where indices are as likely as their weights; past the end without weights.
fn choice(weights: &[f64], at: f64) -> usize {
    let mut left = at * weights.iter().sum::<f64>();
    let mut last = weights.len();
    for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = index;
        if left < *weight {
            break;
        }
        left -= weight;
    }
    last
}
