//! What a model's metadata says about the rasters it wants.
//!
//! glebe's own keys, values in JSON: `glebe.bands` (`[1, 2, 3]`), `glebe.scale`, `glebe.mean`, `glebe.std` (a number
//! or one a band), `glebe.class_names` (a list), `glebe.tile` (pixels). Where a key of ours is absent, those of the
//! QGIS plugin Deepness are read: `class_names` (a list, or an object from number to name),
//! `standardization_mean`, `standardization_std` (lists; they stand for samples divided by 255), `tile_size`.
//! [`Tags`](crate::model::Tags) writes them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Band;
use crate::model::Normalisation;

/// Largest band number.
pub(super) const LARGEST_BAND: u32 = 65_535;

/// Largest tile in pixels.
pub(super) const LARGEST_TILE: usize = 16_384;

/// What the metadata of a model says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Metadata {
    pub(super) bands: Option<Vec<Band>>,
    pub(super) normalisation: Normalisation,
    pub(super) class_names: Option<Vec<String>>,
    pub(super) tile: Option<usize>,
}

impl Metadata {
    /// Reads the keys; a key that is there and cannot be understood is an error, since scoring without it would be
    /// silently wrong. (Class names are for people only: odd ones are passed over with a warning.)
    pub(super) fn of(entries: &BTreeMap<String, String>) -> Result<Metadata> {
        let get = |key: &str| -> Result<Option<Value>> {
            entries
                .get(key)
                .map(|text| serde_json::from_str(text).map_err(|_| wrong(key, text, "JSON")))
                .transpose()
        };
        let numbers = |key: &str| -> Result<Option<Vec<f64>>> {
            get(key)?
                .map(|value| number_list(&value).ok_or_else(|| wrong(key, &value.to_string(), "numbers")))
                .transpose()
        };

        let bands = get("glebe.bands")?
            .map(|value| {
                let list = number_list(&value).unwrap_or_default();
                let bands: Option<Vec<Band>> = list
                    .iter()
                    .map(|number| {
                        (number.fract() == 0.0 && (1.0..=f64::from(LARGEST_BAND)).contains(number))
                            .then(|| Band::new(*number as u32).ok())
                            .flatten()
                    })
                    .collect();
                bands
                    .filter(|bands| !bands.is_empty())
                    .ok_or_else(|| wrong("glebe.bands", &value.to_string(), "band numbers from 1"))
            })
            .transpose()?;

        let (mut scale, mut mean, mut std) =
            (numbers("glebe.scale")?, numbers("glebe.mean")?, numbers("glebe.std")?);
        if scale.is_none() && mean.is_none() && std.is_none() {
            mean = numbers("standardization_mean")?;
            std = numbers("standardization_std")?;
            scale = (mean.is_some() || std.is_some()).then(|| vec![255.0]);
        }
        let normalisation = Normalisation::new(
            scale.unwrap_or_else(|| vec![1.0]),
            mean.unwrap_or_else(|| vec![0.0]),
            std.unwrap_or_else(|| vec![1.0]),
        )
        .map_err(|error| Error::new(ErrorKind::ModelInvalid, format!("metadata: {}", error.message())))?;

        let class_names = ["glebe.class_names", "class_names"].into_iter().find_map(|key| {
            let text = entries.get(key)?;
            let names = serde_json::from_str(text).ok().as_ref().and_then(names);
            if names.is_none() {
                tracing::warn!(key, "class names in the model's metadata are not understood");
            }
            names
        });

        let tile = match get("glebe.tile")?.or(get("tile_size").unwrap_or(None)) {
            None => None,
            Some(value) => Some(
                number_list(&value)
                    .and_then(|list| list.first().copied())
                    .filter(|side| side.fract() == 0.0 && (1.0..=LARGEST_TILE as f64).contains(side))
                    .map(|side| side as usize)
                    .ok_or_else(|| wrong("glebe.tile", &value.to_string(), "pixels from 1 to 16384"))?,
            ),
        };
        Ok(Metadata { bands, normalisation, class_names, tile })
    }
}

fn wrong(key: &str, value: &str, expected: &str) -> Error {
    let short: String = value.chars().take(60).collect();
    Error::new(ErrorKind::ModelInvalid, format!("metadata {key}: expected {expected}, got {short:?}"))
}

/// A number, or a list of numbers.
fn number_list(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Array(values) => values.iter().map(Value::as_f64).collect(),
        value => value.as_f64().map(|number| vec![number]),
    }
}

/// A list of names, or an object whose keys count up from 0.
fn names(value: &Value) -> Option<Vec<String>> {
    let name = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Value::Array(values) => values.iter().map(name).collect(),
        Value::Object(entries) => {
            (0..entries.len()).map(|number| name(entries.get(&number.to_string())?)).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(&str, &str)]) -> Result<Metadata> {
        Metadata::of(&entries.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    }

    #[test]
    fn own_keys() {
        let metadata = of(&[
            ("glebe.bands", "[4, 1]"),
            ("glebe.scale", "10000"),
            ("glebe.mean", "[0.1, 0.2]"),
            ("glebe.class_names", r#"["water", "land"]"#),
            ("glebe.tile", "256"),
            ("other", "anything"),
        ])
        .unwrap();
        assert_eq!(metadata.bands.unwrap().iter().map(|b| b.number()).collect::<Vec<_>>(), [4, 1]);
        assert_eq!(
            metadata.normalisation,
            Normalisation::new(vec![10_000.0], vec![0.1, 0.2], vec![1.0]).unwrap()
        );
        assert_eq!(metadata.class_names.unwrap(), ["water", "land"]);
        assert_eq!(metadata.tile, Some(256));
    }

    #[test]
    fn deepness_keys_imply_a_scale() {
        let metadata = of(&[
            ("standardization_mean", "[0.5]"),
            ("standardization_std", "[0.25]"),
            ("class_names", r#"{"1": "b", "0": "a"}"#),
            ("tile_size", "512"),
        ])
        .unwrap();
        assert_eq!(metadata.normalisation, Normalisation::new(vec![255.0], vec![0.5], vec![0.25]).unwrap());
        assert_eq!(metadata.class_names.unwrap(), ["a", "b"]);
        assert_eq!(metadata.tile, Some(512));
        // our keys win as a whole
        let both = of(&[("glebe.scale", "2"), ("standardization_mean", "[0.5]")]).unwrap();
        assert_eq!(both.normalisation, Normalisation::new(vec![2.0], vec![0.0], vec![1.0]).unwrap());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (key, value) in [
            ("glebe.scale", "wide"),
            ("glebe.scale", "0"),
            ("glebe.mean", r#"["x"]"#),
            ("glebe.bands", "[0]"),
            ("glebe.bands", "[]"),
            ("glebe.bands", "[1.5]"),
            ("glebe.tile", "-1"),
            ("standardization_std", "[0]"),
        ] {
            let error = of(&[(key, value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelInvalid, "{key}={value}: {error}");
        }
        assert_eq!(of(&[("class_names", "{'0': 'python'}")]).unwrap().class_names, None);
    }
}
