//! From the numbers of a label file to class numbers.

use std::collections::HashMap;
use std::path::Path;

use crate::data::labels::class_map::Class;
use crate::data::labels::options::LabelOptions;
use crate::data::labels::source::IGNORED;
use crate::error::{Error, ErrorKind, Result};

/// Beyond it not every whole number has a float of its own.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// What numbers stand for: those to ignore, then the map, then themselves.
#[derive(Debug, Clone)]
pub(super) struct Code {
    /// The class map with numbers for keys; `None` where there is no map.
    named: Option<HashMap<i64, i32>>,
    /// The class of all other numbers.
    others: Option<i32>,
    ignore: Vec<i64>,
    classes: usize,
}

impl Code {
    /// For the labels at `path` and `classes` classes.
    ///
    /// Values of the map that are no whole numbers are passed over: one map may serve rasters and vector files of a
    /// list.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if no value of the map is a whole number and it has no `*`;
    /// [`Mismatch`](ErrorKind::Mismatch) if it names a class that is not there.
    pub(super) fn new(options: &LabelOptions, classes: usize, path: &Path) -> Result<Code> {
        check_classes(options, classes, path)?;
        let map = &options.classes;
        let number = |(value, class): (&str, Class)| Some((value.parse::<i64>().ok()?, index(class)));
        let named: HashMap<i64, i32> = map.values().filter_map(number).collect();
        if !map.is_empty() && named.is_empty() && map.others().is_none() {
            let message = format!("labels are whole numbers, but the class map ({map}) names none");
            return Err(Error::invalid(message).at_path(path));
        }
        Ok(Code {
            named: (!map.is_empty()).then_some(named),
            others: map.others().map(index),
            ignore: options.ignore.clone(),
            classes,
        })
    }

    /// Whether the number is listed as one that does not count.
    pub(super) fn ignores(&self, value: f64) -> bool {
        self.ignore.iter().any(|ignored| *ignored as f64 == value)
    }

    /// The class of a number, [`IGNORED`] if it does not count.
    ///
    /// # Errors
    /// Kind and text of why it has none, to be completed by its place.
    pub(super) fn of(&self, value: f64) -> Result<i32, (ErrorKind, String)> {
        if value.fract() != 0.0 || value.abs() > LARGEST {
            return Err((ErrorKind::RasterUnsupported, "is no whole number, as labels must be".to_owned()));
        }
        if self.ignores(value) {
            return Ok(IGNORED);
        }
        let number = value as i64;
        if let Some(named) = &self.named {
            return named.get(&number).copied().or(self.others).ok_or_else(|| {
                let mut names: Vec<_> = named.keys().collect();
                names.sort();
                let names = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                (
                    ErrorKind::Mismatch,
                    format!("is not in the class map, which names {names} and has no \"*\""),
                )
            });
        }
        match i32::try_from(number) {
            Ok(class) if class >= 0 && (class as usize) < self.classes => Ok(class),
            _ => Err((ErrorKind::Mismatch, format!("is no class: expected {}", range(self.classes)))),
        }
    }
}

/// The classes there are, in words.
pub(super) fn range(classes: usize) -> String {
    let plural = if classes == 1 { "class" } else { "classes" };
    format!(
        "0 to {} ({classes} {plural}; a class map or a list of values to ignore can say otherwise)",
        classes.saturating_sub(1)
    )
}

/// The number of a class in memory.
pub(super) fn index(class: Class) -> i32 {
    match class {
        Class::Number(number) => i32::try_from(number).unwrap_or(i32::MAX),
        Class::Ignored => IGNORED,
    }
}

/// Checks that the map names only classes that are there.
pub(super) fn check_classes(options: &LabelOptions, classes: usize, path: &Path) -> Result<()> {
    for (value, class) in options.classes.entries() {
        if let Class::Number(number) = class
            && usize::try_from(*number).is_ok_and(|number| number >= classes)
        {
            let last = classes.saturating_sub(1);
            let message =
                format!("class map makes {value:?} class {number}, expected 0 to {last} ({classes} classes)");
            return Err(Error::new(ErrorKind::Mismatch, message).at_path(path));
        }
    }
    Ok(())
}
