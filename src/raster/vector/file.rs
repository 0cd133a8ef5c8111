//! A vector file: opened, its layer and field chosen, its features read.

use std::path::Path;

use gdal::spatial_ref::{AxisMappingStrategy, CoordTransform, SpatialRef};
use gdal::vector::{
    Defn, Feature, FieldValue, Geometry, Layer, LayerAccess, OGRFieldType, OGRwkbGeometryType,
};
use gdal::{Dataset, DatasetOptions, DriverManager, GdalOpenFlags};

use super::super::georeference::crs;
use super::super::info::RasterInfo;
use super::super::messages::{Call, scope};
use super::super::options::local;
use super::super::placement::crs_name;
use super::super::sys;
use super::layer::{FieldKind, VectorOptions};
use crate::error::{Error, ErrorKind, Result};

/// Drivers whose files hold all that there is to them, in files of their own.
const DRIVERS: [&str; 3] = ["GPKG", "GeoJSON", "ESRI Shapefile"];

/// Extensions of the files that a Shapefile is made of, beside `.shp`.
const SHAPEFILE: [&str; 4] = ["shx", "dbf", "prj", "cpg"];

/// All features of a layer.
pub(super) struct Contents {
    pub(super) name: String,
    pub(super) field: Option<(String, FieldKind)>,
    /// The CRS that the features were brought to, where they were in another.
    pub(super) transformed: Option<String>,
    pub(super) features: Vec<Found>,
}

/// A feature in the CRS of the image: ISO WKB in the plane, little-endian, without curves.
pub(super) struct Found {
    pub(super) number: i64,
    pub(super) value: Option<String>,
    pub(super) wkb: Vec<u8>,
}

/// Reads a whole layer.
pub(super) fn read(path: &Path, options: &VectorOptions, image: &RasterInfo) -> Result<Contents> {
    let file = local(path, "vector file")?;
    let available: Vec<&str> = {
        let has = |name: &&str| DriverManager::get_driver_by_name(name).is_ok();
        scope(|| DRIVERS.into_iter().filter(has).collect()).0
    };
    let (allowed, names) = (DRIVERS.join(", "), available.join(", "));
    if available.is_empty() {
        let message = format!("this GDAL has none of the drivers for vector files ({allowed})");
        return Err(Error::new(ErrorKind::NotSupported, message));
    }
    let siblings = siblings(&file);
    let siblings: Vec<&str> = siblings.iter().map(String::as_str).collect();
    let what = format!("not a readable vector file of an allowed format ({names})");
    let _offline = sys::Offline::new();
    let dataset = Call { kind: ErrorKind::RasterInvalid, what: &what, path }.run(|| {
        Dataset::open_ex(
            &file,
            DatasetOptions {
                open_flags: GdalOpenFlags::GDAL_OF_VECTOR | GdalOpenFlags::GDAL_OF_VERBOSE_ERROR,
                allowed_drivers: Some(&available),
                open_options: None,
                sibling_files: Some(&siblings),
            },
        )
    })?;
    // GDAL stops at its last feature as it does at one that it cannot read, so a failure that it only reports counts.
    let mut outcome = None;
    let call = Call { kind: ErrorKind::RasterInvalid, what: "cannot read the features", path };
    let reported = call.run_strictly(|| {
        outcome = Some(layer(&dataset, options, image));
        Ok::<(), String>(())
    });
    match outcome {
        Some(Err(error)) => {
            let cause =
                reported.err().and_then(|report| std::error::Error::source(&report).map(ToString::to_string));
            let error = error.at_path(path);
            Err(match cause {
                Some(cause) => error.caused_by(cause),
                None => error,
            })
        }
        Some(Ok(contents)) => reported.map(|()| contents),
        None => Err(Error::internal("layer was not read").at_path(path)),
    }
}

/// The only names that GDAL may see in the folder of `file`: itself and, of a Shapefile, its other parts.
fn siblings(file: &Path) -> Vec<String> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let mut names: Vec<String> = name(file).into_iter().collect();
    for extension in SHAPEFILE {
        for extension in [extension.to_owned(), extension.to_uppercase()] {
            let part = file.with_extension(extension);
            if part.is_file() {
                names.extend(name(&part));
            }
        }
    }
    names
}

/// Reads the layer that `options` choose. Runs inside a message scope.
fn layer(dataset: &Dataset, options: &VectorOptions, image: &RasterInfo) -> Result<Contents> {
    let mut layer = choose(dataset, options.layer.as_deref())?;
    let name = layer.name();
    let field = options.field.as_deref().map(|wanted| find_field(layer.defn(), &name, wanted)).transpose()?;
    let transform = transform(&layer, &name, image)?;
    let mut features = Vec::new();
    for feature in layer.features() {
        let number = feature.fid().and_then(|number| i64::try_from(number).ok()).unwrap_or(-1);
        let failed = |what: &str, error: String| {
            Error::new(ErrorKind::RasterInvalid, format!("feature {number} {what}")).caused_by(error)
        };
        let Some(geometry) = feature.geometry_by_index(0).ok().filter(|geometry| !geometry.is_empty()) else {
            continue;
        };
        let mut wkb = sys::plane_wkb(geometry)
            .map_err(|error| failed("has a geometry that cannot be read", error.to_string()))?;
        if let Some((transform, to)) = &transform {
            let moved = || {
                let mut geometry = Geometry::from_wkb(&wkb)?;
                geometry.transform_inplace(transform)?;
                geometry.iso_wkb()
            };
            wkb = moved().map_err(|error| {
                let message = format!(
                    "feature {number} cannot be brought to {to}, the CRS of {}: mend it, or cut the layer to the \
                     place of the image (ogr2ogr -spat)",
                    image.path.display()
                );
                Error::new(ErrorKind::Mismatch, message).caused_by(error.to_string())
            })?;
        }
        let value = match &field {
            Some((index, ..)) => value(&feature, *index)
                .map_err(|error| failed("has a value that cannot be read", error.to_string()))?,
            None => None,
        };
        features.push(Found { number, value, wkb });
    }
    Ok(Contents {
        name,
        field: field.map(|(_, name, kind)| (name, kind)),
        transformed: transform.map(|(_, to)| to),
        features,
    })
}

/// The layer of this name, or the only one that has geometries.
fn choose<'a>(dataset: &'a Dataset, wanted: Option<&str>) -> Result<Layer<'a>> {
    let has_geometry = |layer: &Layer<'_>| layer.defn().geometry_type() != OGRwkbGeometryType::wkbNone;
    let mut layers: Vec<Layer<'a>> = dataset.layers().filter(has_geometry).collect();
    let names = layers.iter().map(|layer| format!("{:?}", layer.name())).collect::<Vec<_>>().join(", ");
    let position = match (wanted, layers.len()) {
        (_, 0) => {
            return Err(Error::new(ErrorKind::RasterInvalid, "vector file has no layer with geometries"));
        }
        (None, 1) => Some(0),
        (None, count) => {
            return Err(Error::invalid(format!("vector file has {count} layers, name one of {names}")));
        }
        (Some(wanted), _) => layers.iter().position(|layer| layer.name() == wanted),
    };
    match position {
        Some(position) => Ok(layers.swap_remove(position)),
        None => {
            let wanted = wanted.unwrap_or_default();
            Err(Error::invalid(format!("vector file has no layer {wanted:?}, expected one of {names}")))
        }
    }
}

/// A field by its name; where no other has it, in any case: Shapefiles often have capitals.
fn find_field(defn: &Defn, layer: &str, wanted: &str) -> Result<(usize, String, FieldKind)> {
    let fields: Vec<(String, _)> = defn.fields().map(|field| (field.name(), field.field_type())).collect();
    let exact = fields.iter().position(|(name, _)| name == wanted);
    let position = exact.or_else(|| fields.iter().position(|(name, _)| name.eq_ignore_ascii_case(wanted)));
    let Some(index) = position else {
        let names = fields.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let expected =
            if names.is_empty() { "it has none".to_owned() } else { format!("expected one of {names}") };
        return Err(Error::invalid(format!("layer {layer:?} has no field {wanted:?}, {expected}")));
    };
    let (name, field_type) = fields[index].clone();
    let kind = match field_type {
        OGRFieldType::OFTInteger | OGRFieldType::OFTInteger64 | OGRFieldType::OFTReal => FieldKind::Number,
        _ => FieldKind::Text,
    };
    Ok((index, name, kind))
}

/// The way from the CRS of the layer to that of the image, and the name of the latter; `None` where it is the same.
fn transform(layer: &Layer<'_>, name: &str, image: &RasterInfo) -> Result<Option<(CoordTransform, String)>> {
    // GeoPackage has two CRSs that say that there is none.
    let is_known = |crs: &SpatialRef| !crs.name().is_some_and(|name| name.starts_with("Undefined "));
    let own = layer.spatial_ref().filter(is_known);
    let file = image.path.display();
    let (mut own, target) = match (own, &image.georeference.crs_wkt) {
        (None, None) => return Ok(None),
        (Some(own), Some(target)) => (own, target),
        (None, Some(target)) => {
            let target = crs_name(target);
            let message = format!(
                "layer {name:?} has no CRS, expected one, as {file} has {target}: say what it is (ogr2ogr -a_srs {target})"
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        (Some(own), None) => {
            let own = own.to_wkt().map_or_else(|_| "one".to_owned(), |wkt| crs_name(&wkt));
            let message = format!(
                "layer {name:?} has the CRS {own}, but {file} has none: say what it is (gdal_translate -a_srs)"
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
    };
    let to = crs_name(target);
    let failed = |error: gdal::errors::GdalError| {
        let message = format!("layer {name:?} cannot be brought to {to}, the CRS of {file}");
        Error::new(ErrorKind::Mismatch, message).caused_by(error.to_string())
    };
    own.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
    let target = crs(target).map_err(failed)?;
    if own == target {
        return Ok(None);
    }
    let transform = CoordTransform::new(&own, &target).map_err(failed)?;
    Ok(Some((transform, to)))
}

/// The value of a field as text.
fn value(feature: &Feature<'_>, field: usize) -> gdal::errors::Result<Option<String>> {
    if !sys::has_value(feature, field) {
        return Ok(None);
    }
    // Other types (dates, lists) are text.
    match feature.field(field) {
        Ok(Some(FieldValue::IntegerValue(number))) => Ok(Some(number.to_string())),
        Ok(Some(FieldValue::Integer64Value(number))) => Ok(Some(number.to_string())),
        // The shortest text that reads back as the number: `3` for 3.0. Zero has no sign.
        Ok(Some(FieldValue::RealValue(number))) => Ok(Some((number + 0.0).to_string())),
        _ => feature.field_as_string(field),
    }
}
