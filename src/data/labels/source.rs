//! The labels of one image.

use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;

use crate::data::labels::options::LabelOptions;
use crate::data::labels::raster::RasterLabels;
use crate::data::labels::vector::VectorLabels;
use crate::error::{Error, Result};
use crate::geometry::Window;
use crate::raster::RasterInfo;

/// Stands in place of a class where a pixel does not count.
pub const IGNORED: i32 = -1;

/// Extensions of vector files; everything else is tried as a raster.
const VECTORS: [&str; 5] = ["gpkg", "geojson", "json", "shp", "fgb"];

/// The labels of one image: a raster on its grid, or a vector file that is burned window by window.
///
/// Labels are untrusted files: rasters are opened as [`Raster::open`](crate::raster::Raster::open) does with default
/// options, vector files with the drivers for GeoPackage, GeoJSON and Shapefile only.
///
/// `Send`: threads that read side by side take one each, by [`LabelSource::reopen`].
#[derive(Debug)]
pub struct LabelSource {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Raster(Box<RasterLabels>),
    Vector(Arc<VectorLabels>),
}

impl LabelSource {
    /// Opens the labels at `path` of the image that `image` describes, which have classes 0 to `classes` - 1.
    ///
    /// A file that ends in `.gpkg`, `.geojson`, `.json`, `.shp` or `.fgb` is a vector file, any other a raster.
    /// Vector files are read into memory as a whole, in the CRS of the image.
    ///
    /// # Errors
    /// As [`Raster::open`](crate::raster::Raster::open) for the file;
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for options that do not go with it (a field, layer or
    /// value that it lacks, a text field without a class map);
    /// [`RasterUnsupported`](crate::ErrorKind::RasterUnsupported) for a raster of several bands;
    /// [`Mismatch`](crate::ErrorKind::Mismatch) for labels of another size or place than the image, and for values
    /// and classes that do not fit the class map or the number of classes.
    pub fn open(
        path: impl AsRef<Path>,
        options: &LabelOptions,
        image: &RasterInfo,
        classes: usize,
    ) -> Result<LabelSource> {
        let path = path.as_ref();
        if classes == 0 {
            return Err(Error::invalid("labels of 0 classes, expected at least 1").at_path(path));
        }
        let kind = if is_vector(path) {
            Kind::Vector(Arc::new(VectorLabels::open(path, options, image, classes)?))
        } else {
            Kind::Raster(Box::new(RasterLabels::open(path, options, image, classes)?))
        };
        Ok(LabelSource { kind })
    }

    /// The same labels once more, for another thread. Features of vector files are shared.
    ///
    /// # Errors
    /// As [`Raster::reopen`](crate::raster::Raster::reopen) for rasters; none for vector files.
    pub fn reopen(&self) -> Result<LabelSource> {
        let kind = match &self.kind {
            Kind::Raster(labels) => Kind::Raster(Box::new(labels.reopen()?)),
            Kind::Vector(labels) => Kind::Vector(Arc::clone(labels)),
        };
        Ok(LabelSource { kind })
    }

    /// Whether the labels are features, which are in memory and shared by all that is opened anew.
    pub fn is_vector(&self) -> bool {
        matches!(self.kind, Kind::Vector(_))
    }

    /// Whether it is a raster whose nodata value makes pixels not count.
    pub fn ignores_nodata(&self) -> bool {
        matches!(&self.kind, Kind::Raster(labels) if labels.ignores_nodata())
    }

    /// The class of each pixel of `window`, `[H, W]`; [`IGNORED`] where a pixel does not count, outside the image too.
    /// The window may reach past the image on any side.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a window without pixels;
    /// [`Mismatch`](crate::ErrorKind::Mismatch) for a label of a raster that is no class or that the class map misses,
    /// [`RasterUnsupported`](crate::ErrorKind::RasterUnsupported) for one that is no whole number, with the pixel;
    /// [`RasterInvalid`](crate::ErrorKind::RasterInvalid) if the file is damaged;
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory).
    pub fn read(&self, window: Window) -> Result<Array2<i32>> {
        match &self.kind {
            Kind::Raster(labels) => labels.read(window),
            Kind::Vector(labels) => labels.read(window),
        }
    }
}

fn is_vector(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| VECTORS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}
