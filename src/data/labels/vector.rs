//! Labels from a vector file.

use std::collections::BTreeSet;
use std::path::Path;

use ndarray::Array2;

use crate::data::labels::code::{Code, check_classes, index};
use crate::data::labels::options::{LabelOptions, Outside};
use crate::data::labels::source::IGNORED;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Size, Window};
use crate::raster::{FieldKind, RasterInfo, VectorFeature, VectorLayer, VectorOptions};

/// Values that an error lists at most.
const LISTED: usize = 10;

/// The class of all features where no field says one.
const FEATURE: i32 = 1;

/// Features that are labels, burned into the grid of the image. `Sync`: threads share it.
#[derive(Debug)]
pub(super) struct VectorLabels {
    layer: VectorLayer,
    /// The class of each feature.
    values: Vec<i32>,
    /// That of pixels outside all of them.
    outside: i32,
    all_touched: bool,
    size: Size,
}

impl VectorLabels {
    pub(super) fn open(
        path: &Path,
        options: &LabelOptions,
        image: &RasterInfo,
        classes: usize,
    ) -> Result<VectorLabels> {
        let wanted = VectorOptions { layer: options.layer.clone(), field: options.field.clone() };
        let layer = VectorLayer::open(path, &wanted, image)?;
        let values = values(&layer, options, classes).map_err(|error| error.at_path(path))?;
        let outside = match options.outside {
            Outside::Background => 0,
            Outside::Ignore => IGNORED,
        };
        Ok(VectorLabels { layer, values, outside, all_touched: options.all_touched, size: image.size })
    }

    pub(super) fn read(&self, window: Window) -> Result<Array2<i32>> {
        let mut classes = self.layer.burn(window, &self.values, self.outside, self.all_touched)?;
        if window.clip(self.size) != Some(window) {
            let outside = |start: i64, at: usize, extent: usize| {
                let at = start + at as i64;
                at < 0 || at >= extent as i64
            };
            for ((row, column), class) in classes.indexed_iter_mut() {
                if outside(window.x, column, self.size.width) || outside(window.y, row, self.size.height) {
                    *class = IGNORED;
                }
            }
        }
        Ok(classes)
    }
}

/// The class of each feature.
fn values(layer: &VectorLayer, options: &LabelOptions, classes: usize) -> Result<Vec<i32>> {
    check_classes(options, classes, layer.path())?;
    let features = layer.features();
    let Some((field, kind)) = layer.field() else {
        if !options.classes.is_empty() {
            let map = &options.classes;
            return Err(Error::invalid(format!("class map ({map}) needs a field whose values it names")));
        }
        if classes < 2 && !features.is_empty() {
            let message = "features without a field are class 1, expected only class 0 (1 class)";
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        return Ok(vec![FEATURE; features.len()]);
    };
    if options.classes.is_empty() && kind == FieldKind::Text {
        return Err(no_map(layer, field));
    }
    let code = match kind {
        FieldKind::Number if options.classes.is_empty() => Some(Code::new(options, classes, layer.path())?),
        _ => None,
    };
    let class = |feature: &VectorFeature| -> Result<i32> {
        let value = feature.value();
        let wrong = |kind: ErrorKind, why: &str| {
            let number = feature.number();
            let value = value.map_or_else(|| "without a value".to_owned(), |value| format!("{value:?}"));
            Error::new(kind, format!("label {value} of feature {number} (field {field:?}) {why}"))
        };
        if let Some(code) = &code {
            let Some(number) = value.and_then(|value| value.parse::<f64>().ok()) else {
                return Err(wrong(
                    ErrorKind::Mismatch,
                    "is no class; a class map with \"*\" can say what such features are",
                ));
            };
            return code.of(number).map_err(|(_, why)| wrong(ErrorKind::Mismatch, &why));
        }
        let value = value.unwrap_or_default();
        if value.parse::<i64>().is_ok_and(|number| options.ignore.contains(&number)) {
            return Ok(IGNORED);
        }
        options.classes.get(value).map(index).ok_or_else(|| {
            let names: Vec<_> = options.classes.values().map(|(name, _)| format!("{name:?}")).collect();
            let names = names.join(", ");
            wrong(
                ErrorKind::Mismatch,
                &format!("is not in the class map, which names {names} and has no \"*\""),
            )
        })
    };
    features.iter().map(class).collect()
}

/// A text field needs a map; the error shows what it would name.
fn no_map(layer: &VectorLayer, field: &str) -> Error {
    let distinct: BTreeSet<&str> = layer.features().iter().filter_map(VectorFeature::value).collect();
    let mut names: Vec<String> = distinct.iter().take(LISTED).map(|value| format!("{value:?}")).collect();
    if distinct.len() > LISTED {
        names.push(format!("… ({} in all)", distinct.len()));
    }
    let names = if names.is_empty() { "none on the image".to_owned() } else { names.join(", ") };
    Error::invalid(format!("field {field:?} holds text, which needs a class map; its values: {names}"))
}
