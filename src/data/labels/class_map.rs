//! Which class a value of the labels stands for.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Stands for all values that the map does not name.
const OTHERS: &str = "*";

/// The word for values that do not count.
const IGNORE: &str = "ignore";

/// What a value of the labels stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A class, from 0.
    Number(u32),
    /// Nothing: pixels of this value count neither for the loss nor for the scores.
    Ignored,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Number(number) => number.fmt(f),
            Class::Ignored => f.write_str(IGNORE),
        }
    }
}

impl FromStr for Class {
    type Err = Error;

    /// A number from 0, or `ignore`.
    fn from_str(text: &str) -> Result<Class> {
        if text == IGNORE {
            return Ok(Class::Ignored);
        }
        // One below the signed limit, since labels are signed numbers in memory.
        let number = text.parse::<u32>().ok().filter(|number| *number < i32::MAX as u32);
        number.map(Class::Number).ok_or_else(|| {
            Error::invalid(format!("expected a class number from 0 or \"ignore\", got {text:?}"))
        })
    }
}

/// From the values of a label file to classes; empty where there is none, which leaves the values as they are.
///
/// Values are compared as text, numbers in their shortest form (`3`, not `3.0`). `*` stands for all values that are
/// not named; a feature without a value is the empty text. In TOML a table, `{ forest = 1, water = 2, "*" = "ignore" }`;
/// as text `forest=1,water=2,*=ignore`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassMap {
    entries: Vec<(String, Class)>,
}

impl ClassMap {
    /// The map of these values.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a value that is named twice.
    pub fn new(entries: impl IntoIterator<Item = (String, Class)>) -> Result<ClassMap> {
        let mut map = ClassMap::default();
        for (value, class) in entries {
            if map.entries.iter().any(|(known, _)| *known == value) {
                return Err(Error::invalid(format!("class map names {value:?} twice")));
            }
            map.entries.push((value, class));
        }
        Ok(map)
    }

    /// Values and their classes, as they were given, `*` among them.
    pub fn entries(&self) -> &[(String, Class)] {
        &self.entries
    }

    /// Whether there is no map.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the value stands for; `None` where the map misses it and has no `*`.
    pub fn get(&self, value: &str) -> Option<Class> {
        let named =
            |name: &str| self.entries.iter().find(|(known, _)| known == name).map(|(_, class)| *class);
        named(value).or_else(|| named(OTHERS))
    }

    /// The class of all values that are not named.
    pub fn others(&self) -> Option<Class> {
        self.entries.iter().find(|(known, _)| known == OTHERS).map(|(_, class)| *class)
    }

    /// Values that are named, without `*`.
    pub fn values(&self) -> impl Iterator<Item = (&str, Class)> {
        self.entries
            .iter()
            .filter(|(value, _)| value != OTHERS)
            .map(|(value, class)| (value.as_str(), *class))
    }
}

impl fmt::Display for ClassMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (value, class)) in self.entries.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{value}={class}")?;
        }
        Ok(())
    }
}

impl FromStr for ClassMap {
    type Err = Error;

    /// `forest=1,water=2,*=ignore`; a value with a comma in it needs a TOML file.
    fn from_str(text: &str) -> Result<ClassMap> {
        let entry = |part: &str| {
            // The last sign, since a value may hold one and a class cannot.
            let Some((value, class)) = part.rsplit_once('=') else {
                return Err(Error::invalid(format!(
                    "class map: expected VALUE=CLASS, got {:?}",
                    part.trim()
                )));
            };
            Ok((value.trim().to_owned(), class.trim().parse::<Class>()?))
        };
        if text.trim().is_empty() {
            return Ok(ClassMap::default());
        }
        ClassMap::new(text.split(',').map(entry).collect::<Result<Vec<_>>>()?)
    }
}

impl Serialize for ClassMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (value, class) in &self.entries {
            match class {
                Class::Number(number) => map.serialize_entry(value, number)?,
                Class::Ignored => map.serialize_entry(value, IGNORE)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ClassMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ClassMap, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = ClassMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of values and classes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<ClassMap, A::Error> {
                let mut entries = Vec::new();
                while let Some((value, class)) = access.next_entry::<String, Entry>()? {
                    entries.push((value, class.0));
                }
                ClassMap::new(entries).map_err(|error| A::Error::custom(error.message()))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ClassMap, E> {
                text.parse().map_err(|error: Error| E::custom(error.message()))
            }
        }

        deserializer.deserialize_any(Table)
    }
}

/// A class as it stands in a file: a number or a word.
struct Entry(Class);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a class number from 0 or \"ignore\"")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Entry, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Entry, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Entry, E> {
                text.parse().map(Entry).map_err(|error: Error| E::custom(error.message()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_table_give_the_same_map() {
        let map: ClassMap = "forest=1, water = 2,a=b=0,*=ignore".parse().unwrap();
        let table = r#"{"forest": 1, "water": "2", "a=b": 0, "*": "ignore"}"#;
        assert_eq!(serde_json::from_str::<ClassMap>(table).unwrap(), map);
        assert_eq!(map.to_string(), "forest=1,water=2,a=b=0,*=ignore");
        assert_eq!(map.to_string().parse::<ClassMap>().unwrap(), map);
        let json = serde_json::to_string(&map).unwrap();
        assert_eq!(serde_json::from_str::<ClassMap>(&json).unwrap(), map);
        assert_eq!(map.get("water"), Some(Class::Number(2)));
        assert_eq!(map.get("road"), Some(Class::Ignored));
        assert_eq!("a=1".parse::<ClassMap>().unwrap().get("b"), None);
        assert!("".parse::<ClassMap>().unwrap().is_empty());
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for (text, words) in [
            ("forest", "expected VALUE=CLASS, got \"forest\""),
            ("forest=one", "expected a class number from 0 or \"ignore\", got \"one\""),
            ("forest=-1", "got \"-1\""),
            ("forest=4294967295", "got \"4294967295\""),
            ("a=1,,b=2", "got \"\""),
            ("a=1,a=2", "names \"a\" twice"),
        ] {
            let error = text.parse::<ClassMap>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
            assert!(error.message().contains(words), "{text}: {error}");
        }
        for json in [r#"{"a": -1}"#, r#"{"a": 1.5}"#, r#"{"a": "x"}"#, "[1]", r#"{"a": 1, "a": 2}"#] {
            assert!(serde_json::from_str::<ClassMap>(json).is_err(), "{json}");
        }
    }
}
