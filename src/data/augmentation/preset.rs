//! Augmentations by name.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

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

impl Augmentation {
    /// For `#[serde(deserialize_with = "…")]` where a configuration may hold either the name of a preset or a table.
    ///
    /// # Errors
    /// The deserializer's: an unknown name, an unknown key, a value of another type.
    pub fn named_or_table<'de, D: Deserializer<'de>>(source: D) -> Result<Augmentation, D::Error> {
        source.deserialize_any(NamedOrTable)
    }
}

struct NamedOrTable;

impl<'de> Visitor<'de> for NamedOrTable {
    type Value = Augmentation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("none, flips, d4, standard, strong or a table of operations")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Augmentation, E> {
        name.parse().map_err(|error: Error| E::custom(error.message()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Augmentation, A::Error> {
        Augmentation::deserialize(MapAccessDeserializer::new(map))
    }
}
