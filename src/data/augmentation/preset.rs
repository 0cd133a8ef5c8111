//! Augmentations by name.

use std::str::FromStr;

use crate::data::augmentation::{Affine, Augmentation, Brightness, Contrast, Gamma, Noise, ResizedCrop};
use crate::error::{Error, Result};

impl FromStr for Augmentation {
    type Err = Error;

    /// `none`, `flips`, `d4`, `standard` or `strong`.
    fn from_str(text: &str) -> Result<Augmentation> {
        let none = Augmentation::default();
        let flips = Augmentation { horizontal_flip: 0.5, vertical_flip: 0.5, ..none.clone() };
        // No turn as often as each of the three: with the flips the eight symmetries are then equally likely.
        let d4 = Augmentation { rot90: 0.75, ..flips.clone() };
        let standard =
            Augmentation { brightness: Brightness::default(), contrast: Contrast::default(), ..d4.clone() };
        match text.trim() {
            "none" => Ok(none),
            "flips" => Ok(flips),
            "d4" => Ok(d4),
            "standard" => Ok(standard),
            "strong" => Ok(Augmentation {
                affine: Affine {
                    probability: 0.5,
                    rotation: 15.0,
                    scale: [0.8, 1.25],
                    shear: 5.0,
                    translation: 0.05,
                },
                resized_crop: ResizedCrop { probability: 0.25, ..ResizedCrop::default() },
                gamma: Gamma::default(),
                noise: Noise { probability: 0.25, ..Noise::default() },
                band_dropout: 0.05,
                ..standard
            }),
            other => Err(Error::invalid(format!(
                "augmentation: expected none, flips, d4, standard or strong, got {other:?}"
            ))),
        }
    }
}
