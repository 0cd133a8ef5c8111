//! Forms of values in configurations.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Values that are written as one word.
pub(super) mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::finetune::config) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::finetune::config) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The name of a preset, or a table: of its operations those that it does not name are the preset's (`preset`, by default
/// that of [`AugmentationConfig`](crate::finetune::AugmentationConfig)).
pub(super) mod preset_or_table {
    use serde::de::Error as _;
    use serde::de::IntoDeserializer as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::data::Augmentation;
    use crate::finetune::config::AugmentationConfig;

    pub(in crate::finetune::config) fn serialize<S: Serializer>(
        value: &AugmentationConfig,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.0.serialize(serializer)
    }

    pub(in crate::finetune::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<AugmentationConfig, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(name) => name.parse().map(AugmentationConfig).map_err(D::Error::custom),
            toml::Value::Table(mut table) => {
                let base = match table.remove("preset") {
                    None => AugmentationConfig::default().0,
                    Some(name) => {
                        let wrong = || D::Error::custom("preset: expected a name");
                        name.as_str().ok_or_else(wrong)?.parse().map_err(D::Error::custom)?
                    }
                };
                let whole = overlaid(&base, table).map_err(D::Error::custom)?;
                let own = Augmentation::deserialize(whole.into_deserializer());
                own.map(AugmentationConfig).map_err(|error| D::Error::custom(error.message()))
            }
            _ => Err(D::Error::custom("expected the name of a preset or a table")),
        }
    }

    /// A preset with operations put over it. An operation that the preset has keeps what is not said of it anew.
    fn overlaid(base: &Augmentation, table: toml::Table) -> Result<toml::Value, toml::ser::Error> {
        let mut whole = toml::Table::try_from(base)?;
        for (name, value) in table {
            let is_done =
                |own: &toml::Table| own.get("probability").and_then(toml::Value::as_float) > Some(0.0);
            match (whole.get_mut(&name), value) {
                (Some(toml::Value::Table(own)), toml::Value::Table(new)) if is_done(own) => own.extend(new),
                (_, value) => {
                    whole.insert(name, value);
                }
            }
        }
        Ok(toml::Value::Table(whole))
    }
}

/// One value, or a list of them.
struct OneOrMany<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Vec<T>, E> {
        one(serde::de::value::StrDeserializer::<E>::new(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Vec<T>, E> {
        one(serde::de::value::I64Deserializer::<E>::new(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Vec<T>, E> {
        one(serde::de::value::F64Deserializer::<E>::new(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = values.next_element()? {
            all.push(value);
        }
        Ok(all)
    }
}

fn one<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Vec<T>, D::Error> {
    T::deserialize(value).map(|value| vec![value])
}

pub(super) fn one_or_many<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(OneOrMany(PhantomData))
}

pub(super) fn some_or_many<'de, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    one_or_many(deserializer).map(Some)
}

/// One side for both, or height and width.
pub(super) fn side_or_sides<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<[usize; 2]>, D::Error> {
    match one_or_many::<usize, D>(deserializer)?[..] {
        [side] => Ok(Some([side, side])),
        [height, width] => Ok(Some([height, width])),
        ref other => Err(D::Error::custom(format!(
            "expected one side, or height and width, got {} numbers",
            other.len()
        ))),
    }
}
