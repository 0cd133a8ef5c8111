//! Configurations from TOML and single settings.

use std::path::Path;

use serde::Deserialize as _;
use toml::{Table, Value};

use crate::error::{Error, Result};
use crate::finetune::config::Config;

impl Config {
    /// Reads a TOML text, with `settings` of the form `section.key=value` put over it. A value that is no TOML is text, so
    /// that `training.loss=dice` needs no quotation marks.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no TOML (with its line), keys that there are not (with the nearest that there is),
    /// and values of a wrong kind or out of range, with the key.
    pub fn parse(text: &str, settings: &[&str]) -> Result<Config> {
        let mut table = parse(text)?;
        for setting in settings {
            put_setting(&mut table, setting)?;
        }
        Config::from_table(table)
    }

    /// Reads a file as [`Config::parse`] does. Relative paths in it are relative to the working directory.
    ///
    /// # Errors
    /// As [`Config::parse`], and of reading the file.
    pub fn read(path: impl AsRef<Path>, settings: &[&str]) -> Result<Config> {
        let mut table = read_table(&path)?;
        for setting in settings {
            put_setting(&mut table, setting)?;
        }
        Config::from_table(table)
    }

    /// From a table of TOML.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn from_table(table: Table) -> Result<Config> {
        Config::deserialize(Value::Table(table)).map_err(|error| told(&error))
    }

    /// As a TOML text that [`Config::parse`] reads back.
    ///
    /// # Errors
    /// `InvalidArgument` for numbers and paths that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::invalid("the configuration cannot be written").caused_by(error))
    }
}

/// Reads a file whose keys and values are a configuration's, as a table to put others into.
///
/// # Errors
/// As [`Config::read`], naming the file.
pub fn read_table(path: impl AsRef<Path>) -> Result<Table> {
    let path = path.as_ref();
    if path.is_dir() {
        return Err(Error::invalid("is a folder: expected a file with TOML").at_path(path));
    }
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::invalid("is no text: expected TOML").at_path(path).caused_by(error))?;
    let table = parse(&text).map_err(|error| error.at_path(path))?;
    // Now, so that what is put into it is not told with the file's name.
    Config::from_table(table.clone()).map_err(|error| error.at_path(path))?;
    Ok(table)
}

fn parse(text: &str) -> Result<Table> {
    text.parse().map_err(|error: toml::de::Error| {
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        Error::invalid(format!("line {line}: {}", error.message()))
    })
}

/// Puts `section.key=value` into a table.
///
/// # Errors
/// `InvalidArgument` for another form, and where a part of the key is no section.
pub fn put_setting(table: &mut Table, setting: &str) -> Result<()> {
    let wrong = || Error::invalid(format!("expected section.key=value, got {setting:?}"));
    let (key, value) = setting.split_once('=').ok_or_else(wrong)?;
    let parsed = format!("value = {value}").parse::<Table>().ok().filter(|table| table.len() == 1);
    let value = parsed
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(value.trim().to_owned()));
    let parts: Vec<&str> = key.split('.').map(str::trim).collect();
    put(table, &parts, value).ok_or_else(wrong)
}

/// Puts a value at a path of keys; none where a part on the way is no table.
pub fn put(table: &mut Table, path: &[&str], value: Value) -> Option<()> {
    let (last, sections) = path.split_last()?;
    let mut table = table;
    for section in sections {
        let entry = table.entry(*section).or_insert_with(|| Value::Table(Table::new()));
        // Single operations are put over a preset.
        if let ("augmentation", Value::String(name)) = (*section, &*entry) {
            *entry = Value::Table(Table::from_iter([("preset".to_owned(), Value::String(name.clone()))]));
        }
        table = entry.as_table_mut()?;
    }
    if last.is_empty() {
        return None;
    }
    table.insert((*last).to_owned(), value);
    Some(())
}

/// A message with the names that users have for types.
fn in_words(message: &str) -> String {
    let words = [
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected u32", "expected a whole number, 0 or more"),
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected f32", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected any valid TOML value", "expected a number of 64 bits at most"),
    ];
    if let Some((before, _)) = message.split_once(", expected struct ") {
        return format!("{before}, expected a table");
    }
    match words.iter().find_map(|(own, words)| Some((message.strip_suffix(own)?, words))) {
        Some((before, words)) => format!("{before}{words}"),
        None => message.to_owned(),
    }
}

/// The error of a value, with its key and, where the key is unknown, the nearest one.
fn told(error: &toml::de::Error) -> Error {
    let message = in_words(error.message());
    // "in `section.key`" stands in a line of its own.
    let shown = error.to_string();
    let section = shown
        .lines()
        .find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'))
        .map(|name| format!("{name}: "))
        .unwrap_or_default();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = message.starts_with("unknown field").then(|| quoted.next()).flatten() else {
        let message = message.strip_prefix(&section).unwrap_or(&message);
        return Error::invalid(format!("{section}{message}"));
    };
    let known: Vec<&str> = quoted.collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(unknown, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3));
    let key =
        format!("{}{unknown}", section.strip_suffix(": ").map_or(String::new(), |own| format!("{own}.")));
    Error::invalid(match nearest {
        Some((_, name)) => format!("unknown key {key:?}: did you mean {name:?}?"),
        None => format!("unknown key {key:?}: expected one of {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{LabelNodata, Sampling};

    const TEXT: &str = r#"
        model = "m.onnx"
        augmentation = "strong"
        [data]
        train = ["a.csv", "b.tif;c.tif"]
        val = "v.csv"
        scale = 255
        mean = [0.5, 0.25]
        bands = [3, 1]
        [labels]
        classes = { house = 1, "*" = "ignore" }
        nodata = "background"
        [sampling]
        kind = "balanced"
        [training]
        size = 128
        loss = "0.5*ce+0.5*dice"
        params = "decoder"
        bn = "affine"
        [optimizer]
        kind = "sgd"
        momentum = 0.9
        [schedule]
        kind = "multi_step"
        milestones = [2, 5]
        [run]
        device = "cpu"
    "#;

    #[test]
    fn a_configuration_comes_back() {
        let config = Config::parse(
            TEXT,
            &["training.steps=20", "training.loss=dice", "data.std=[2, 3]", "labels.ignore=255"],
        )
        .unwrap();
        assert_eq!(config.data.train, ["a.csv", "b.tif;c.tif"]);
        assert_eq!(config.data.val, ["v.csv"]);
        assert_eq!(
            (config.data.scale.as_deref(), config.data.mean.as_deref()),
            (Some(&[255.0][..]), Some(&[0.5, 0.25][..]))
        );
        assert_eq!(config.data.std.as_deref(), Some(&[2.0, 3.0][..]));
        assert_eq!(config.labels.ignore, [255]);
        let one = Config::parse("", &["data.bands=2", "training.class_weights=3", "schedule.milestones=4"])
            .unwrap();
        assert_eq!(
            (one.data.bands, one.training.class_weights, one.schedule.milestones),
            (Some(vec![2]), vec![3.0], vec![4])
        );
        assert_eq!((config.training.size, config.training.steps), (Some([128, 128]), Some(20)));
        assert_eq!(
            (config.training.loss.to_string(), config.training.params.to_string()),
            ("dice".into(), "decoder".into())
        );
        assert_eq!(
            (config.labels.nodata, config.sampling.kind),
            (LabelNodata::Background, Sampling::Balanced)
        );
        assert!(config.augmentation.0.noise.probability > 0.0);
        let flips = |settings: &[&str]| {
            let own = Config::parse("", settings).unwrap().augmentation.0;
            (own.horizontal_flip, own.rot90, own.affine.probability, own.affine.rotation)
        };
        let d4 = Config::default().augmentation.0;
        assert_eq!(flips(&["augmentation.affine.rotation=7"]), (d4.horizontal_flip, d4.rot90, 0.5, 7.0));
        let none = ["augmentation=none", "augmentation.affine.rotation=7"];
        assert_eq!(flips(&none), (0.0, 0.0, 0.5, 7.0));
        let strong = flips(&["augmentation=strong", "augmentation.affine.rotation=7"]);
        assert!(strong.2 > 0.0 && strong.3 == 7.0, "{strong:?}");
        assert_eq!(strong.2, "strong".parse::<crate::data::Augmentation>().unwrap().affine.probability);
        let text = config.to_toml().unwrap();
        assert_eq!(Config::parse(&text, &[]).unwrap(), config, "{text}");
        let default = Config::default();
        assert_eq!(Config::parse("", &[]).unwrap(), default);
        assert_eq!(Config::parse(&default.to_toml().unwrap(), &[]).unwrap(), default);
    }

    /// Every key that a section takes stands in the documentation; the error of an unknown one lists them.
    #[test]
    fn all_keys_are_documented() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md"));
        let mut found = 0;
        for section in [
            "",
            "data",
            "labels",
            "sampling",
            "training",
            "optimizer",
            "schedule",
            "early_stopping",
            "init",
            "run",
            "outputs",
            "augmentation",
        ] {
            let text =
                if section.is_empty() { "zzzzzzzz = 1".into() } else { format!("[{section}]\nzzzzzzzz = 1") };
            let error = Config::parse(&text, &[]).unwrap_err().one_line();
            let keys = error.split("expected one of ").nth(1).unwrap_or_else(|| panic!("{section}: {error}"));
            let dot = if section.is_empty() { "" } else { "." };
            for key in keys.split(", ") {
                let is_section = section.is_empty() && page.contains(&format!("`{key}`"));
                assert!(
                    is_section || page.contains(&format!("`{section}{dot}{key}`")),
                    "{section}{dot}{key}"
                );
                found += 1;
            }
        }
        assert!(found > 80, "{found}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        for (text, settings, said) in [
            ("modle = \"a\"", &[][..], "unknown key \"modle\": did you mean \"model\"?"),
            (
                "[training]\nlearning_rat = 1",
                &[],
                "unknown key \"training.learning_rat\": did you mean \"learning_rate\"?",
            ),
            ("[training]\nzzzzzzzzzzz = 1", &[], "expected one of epochs, steps"),
            ("[trainig]\nepochs = 1", &[], "did you mean \"training\"?"),
            ("a = \n", &[], "line 1: "),
            ("model = \"a\"\n[data\n", &[], "line 2: "),
            (
                "[training]\nepochs = \"ten\"",
                &[],
                "training.epochs: invalid type: string \"ten\", expected a whole number, 0 or more",
            ),
            (
                "[training]\nepochs = -1",
                &[],
                "training.epochs: invalid value: integer `-1`, expected a whole number, 0 or more",
            ),
            (
                "[training]\nbatch = -1",
                &[],
                "training.batch: invalid value: integer `-1`, expected a whole number",
            ),
            (
                "[training]\naverages = 1",
                &[],
                "training.averages: invalid type: integer `1`, expected true or",
            ),
            ("", &["augmentation.rotaton=1"], "unknown key \"augmentation.rotaton\": expected one of"),
            ("[training]\nloss = \"nope\"", &[], "training.loss: "),
            (
                "[training]\nsize = [1, 2, 3]",
                &[],
                "training.size: expected one side, or height and width, got 3 numbers",
            ),
            ("[optimizer]\nkind = \"adm\"", &[], "optimizer.kind: unknown optimizer"),
            ("[schedule]\nkind = \"cos\"", &[], "schedule.kind: unknown variant `cos`, expected one of"),
            ("[labels]\nnodata = \"keep\"", &[], "labels.nodata: "),
            ("[run]\ndevice = \"gpu\"", &[], "run.device: "),
            ("augmentation = \"wild\"", &[], "augmentation: expected none, flips"),
            ("", &["training=3"], "training: invalid type: integer `3`, expected a table"),
            ("[augmentation]\nflip = 1", &[], "augmentation"),
            ("", &["training.epochs"], "expected section.key=value, got \"training.epochs\""),
            ("model = \"a\"", &["model.x=1"], "expected section.key=value"),
            ("", &["training.epoch=3"], "did you mean \"epochs\"?"),
            ("", &["=3"], "expected section.key=value"),
        ] {
            let error = Config::parse(text, settings).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
            assert!(error.one_line().contains(said), "{text:?} {settings:?}: {}", error.one_line());
        }
        assert_eq!(Config::read("no/such.toml", &[]).unwrap_err().kind(), crate::ErrorKind::NotFound);
    }
}
