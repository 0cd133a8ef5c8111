//! How a label file is read.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::data::labels::class_map::ClassMap;
use crate::error::{Error, Result};

/// How labels become classes. In TOML a table of these names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelOptions {
    /// Vectors: the field whose values say the class; without it all features are class 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Vectors: the layer; needed where a file has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// From values to classes, which are counted from 0; empty: the values are the classes.
    #[serde(skip_serializing_if = "ClassMap::is_empty")]
    pub classes: ClassMap,
    /// Values of the labels (of the file, before `classes`) that do not count.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<i64>,
    /// Rasters: what pixels without data are.
    pub nodata: LabelNodata,
    /// Vectors: burn every pixel that a feature touches, not only those whose middle lies in it.
    pub all_touched: bool,
    /// Vectors: what pixels outside all features are.
    pub outside: Outside,
}

/// One value, or a list of them.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a whole number or a list of them")]
    enum Values {
        One(i64),
        Many(Vec<i64>),
    }
    match Values::deserialize(deserializer)? {
        Values::One(value) => Ok(vec![value]),
        Values::Many(values) => Ok(values),
    }
}

/// What pixels of a label raster are that its nodata value, mask or alpha leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelNodata {
    /// They do not count: nobody labelled them.
    #[default]
    Ignore,
    /// Class 0.
    Background,
}

/// What pixels outside all features of a label vector are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outside {
    /// Class 0.
    #[default]
    Background,
    /// They do not count: only what is drawn is labelled.
    Ignore,
}

impl FromStr for LabelNodata {
    type Err = Error;

    /// `ignore` or `background`.
    fn from_str(text: &str) -> Result<LabelNodata> {
        match text {
            "ignore" => Ok(LabelNodata::Ignore),
            "background" => Ok(LabelNodata::Background),
            _ => Err(unknown("nodata of labels", text)),
        }
    }
}

impl FromStr for Outside {
    type Err = Error;

    /// `background` or `ignore`.
    fn from_str(text: &str) -> Result<Outside> {
        match text {
            "background" => Ok(Outside::Background),
            "ignore" => Ok(Outside::Ignore),
            _ => Err(unknown("outside of labels", text)),
        }
    }
}

fn unknown(what: &str, text: &str) -> Error {
    Error::invalid(format!("unknown {what} {text:?}: expected background or ignore"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_a_table_of_toml() {
        let text = r#"
            field = "kind"
            classes = { forest = 1, water = 2, "*" = "ignore" }
            ignore = [255]
            nodata = "background"
            outside = "ignore"
        "#;
        let options: LabelOptions = toml::from_str(text).unwrap();
        assert_eq!(options.field.as_deref(), Some("kind"));
        // A table of TOML has no order, so the entries are compared one by one.
        let expected: ClassMap = "forest=1,water=2,*=ignore".parse().unwrap();
        for value in ["forest", "water", "road"] {
            assert_eq!(options.classes.get(value), expected.get(value));
        }
        assert_eq!(options.classes.entries().len(), 3);
        assert_eq!((options.nodata, options.outside), (LabelNodata::Background, Outside::Ignore));
        assert_eq!((options.ignore.as_slice(), options.all_touched), (&[255][..], false));
        let back: LabelOptions = toml::from_str(&toml::to_string(&options).unwrap()).unwrap();
        assert_eq!(back, options);
        assert_eq!(toml::from_str::<LabelOptions>("").unwrap(), LabelOptions::default());
        assert_eq!(toml::to_string(&LabelOptions::default()).unwrap().lines().count(), 3);
        assert_eq!("background".parse::<LabelNodata>().unwrap(), options.nodata);
        assert_eq!("ignore".parse::<Outside>().unwrap(), options.outside);
        assert_eq!(
            ("ignore".parse().ok(), "background".parse().ok()),
            (Some(LabelNodata::Ignore), Some(Outside::Background))
        );
        for error in ["Ignore".parse::<LabelNodata>().unwrap_err(), "".parse::<Outside>().unwrap_err()] {
            assert!(error.message().contains("expected background or ignore"), "{error}");
        }
        assert_eq!(toml::from_str::<LabelOptions>("ignore = 255").unwrap().ignore, [255]);
        for wrong in ["klasses = 1", "nodata = \"Ignore\"", "ignore = \"x\"", "outside = \"none\""] {
            assert!(toml::from_str::<LabelOptions>(wrong).is_err(), "{wrong}");
        }
    }
}
