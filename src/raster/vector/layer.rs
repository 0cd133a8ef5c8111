//! The features of a layer that lie on a raster.

use std::path::{Path, PathBuf};

use super::super::info::RasterInfo;
use super::super::placement::{Affine, crs_name};
use super::file;
use super::wkb::{Envelope, move_points};
use crate::error::{Error, ErrorKind, Result};

/// What of a vector file is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VectorOptions {
    /// The layer, by its name; needed where a file has several.
    pub layer: Option<String>,
    /// The field whose values are kept; no values without it.
    pub field: Option<String>,
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Numbers, whole or not.
    Number,
    /// Anything else, as text.
    Text,
}

/// The features of one layer that lie on a raster, in memory, in pixels of that raster.
///
/// `Send` and `Sync`: GDAL is done with the file when it is there, so threads share it and burn side by side.
#[derive(Debug)]
pub struct VectorLayer {
    pub(super) path: PathBuf,
    name: String,
    field: Option<(String, FieldKind)>,
    pub(super) features: Vec<VectorFeature>,
}

/// A feature: what identifies it, its value, its place.
#[derive(Debug, Clone)]
pub struct VectorFeature {
    number: i64,
    value: Option<String>,
    /// ISO WKB in the plane, little-endian, without curves. Coordinates are columns and rows of the raster, fractions
    /// within the pixel: no transform of the raster, rotated or not, plays a part after this.
    pub(super) wkb: Vec<u8>,
    /// In the same coordinates.
    pub(super) envelope: Envelope,
}

impl VectorFeature {
    /// The number by which the file knows it (FID).
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Its value in the chosen field: numbers in their shortest form (`3` for 3.0 too); `None` where it has none and
    /// where no field was chosen.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

impl VectorLayer {
    /// Reads the features of the vector file at `path` that lie on the raster `image`, in the order of the layer.
    ///
    /// Only regular local files are taken, by the drivers for GeoPackage, GeoJSON and Shapefile. Features are brought
    /// to the CRS of the image; those that have no geometry are left out. A layer without features is none the worse.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if `path` is a folder, a URL or a GDAL virtual path, or if there
    /// is no such layer or field, or several layers and no name; [`NotFound`](ErrorKind::NotFound);
    /// [`PermissionDenied`](ErrorKind::PermissionDenied); [`RasterInvalid`](ErrorKind::RasterInvalid) if no allowed
    /// driver can read the file or it is damaged; [`NotSupported`](ErrorKind::NotSupported) if this GDAL has none of
    /// the drivers; [`Mismatch`](ErrorKind::Mismatch) if the image has no transform, if only one of the two has a CRS,
    /// if a feature cannot be brought to that of the image, or if the layer lies elsewhere.
    pub fn open(path: impl AsRef<Path>, options: &VectorOptions, image: &RasterInfo) -> Result<VectorLayer> {
        let path = path.as_ref();
        let affine = affine(path, image)?;
        let Some(inverse) = affine.inverse() else {
            return Err(mismatch(path, image, "has a geotransform that cannot be inverted"));
        };
        let found = file::read(path, options, image)?;
        let (width, height) = (image.size.width as f64, image.size.height as f64);
        let raster = Envelope { min: [0.0; 2], max: [width, height] };
        let mut extent = Envelope::EMPTY;
        let mut features = Vec::with_capacity(found.features.len());
        for mut feature in found.features {
            let mut is_finite = true;
            let mut pixels = Envelope::EMPTY;
            move_points(&mut feature.wkb, |x, y| {
                extent.add(x, y);
                let (column, row) = inverse.at(x, y);
                is_finite &= column.is_finite() && row.is_finite();
                pixels.add(column, row);
                (column, row)
            })
            .map_err(|error| error.at_path(path))?;
            if !is_finite {
                let message = match &found.transformed {
                    Some(to) => format!(
                        "feature {} cannot be brought to {to}, the CRS of {}",
                        feature.number,
                        image.path.display()
                    ),
                    None => format!("feature {} has coordinates that are not finite", feature.number),
                };
                return Err(Error::new(ErrorKind::Mismatch, message).at_path(path));
            }
            // A pixel more: what touches the edge from outside may be burned on it.
            if pixels.meets(&raster, 1.0) {
                let file::Found { number, value, wkb } = feature;
                features.push(VectorFeature { number, value, wkb, envelope: pixels });
            }
        }
        if extent == Envelope::EMPTY {
            tracing::warn!(path = %path.display(), layer = found.name, "layer has no features");
        } else if features.is_empty() {
            let mut place = Envelope::EMPTY;
            for (column, row) in [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)] {
                let (x, y) = affine.at(column, row);
                place.add(x, y);
            }
            if !extent.meets(&place, 0.0) {
                let crs =
                    image.georeference.crs_wkt.as_deref().map_or_else(|| "CRS units".to_owned(), crs_name);
                let message = format!(
                    "layer {:?} does not overlap the image: expected features within {} of {}, got {} (in {crs})",
                    found.name,
                    words(&place),
                    image.path.display(),
                    words(&extent),
                );
                return Err(Error::new(ErrorKind::Mismatch, message).at_path(path));
            }
        }
        features.shrink_to_fit();
        Ok(VectorLayer { path: path.to_path_buf(), name: found.name, field: found.field, features })
    }

    /// The file, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the layer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field that was chosen, by the name that the file has for it, and what its values are.
    pub fn field(&self) -> Option<(&str, FieldKind)> {
        self.field.as_ref().map(|(name, kind)| (name.as_str(), *kind))
    }

    /// The features on the raster, in the order of the layer.
    pub fn features(&self) -> &[VectorFeature] {
        &self.features
    }
}

/// The transform of the image, without which its pixels have no place.
fn affine(path: &Path, image: &RasterInfo) -> Result<Affine> {
    image.georeference.transform.map(Affine).ok_or_else(|| {
        let what = match image.georeference.gcps.is_empty() {
            true => "has no geotransform (give it one: gdal_translate -a_ullr, or a world file)",
            false => "has ground control points only, no geotransform (warp it first: gdalwarp)",
        };
        mismatch(path, image, what)
    })
}

fn mismatch(path: &Path, image: &RasterInfo, what: &str) -> Error {
    let message = format!("features cannot be placed on {}, which {what}", image.path.display());
    Error::new(ErrorKind::Mismatch, message).at_path(path)
}

fn words(extent: &Envelope) -> String {
    let Envelope { min, max } = extent;
    format!("x {} to {}, y {} to {}", min[0], max[0], min[1], max[1])
}
