//! Behaviour of the raster module against files that it and GDAL write.

mod cache;
mod opening;
mod raw;
mod reading;
mod real;
mod validity;
mod vectors;
mod writing;

use std::path::{Path, PathBuf};

use gdal::Metadata;
use gdal::raster::{Buffer, ColorInterpretation, GdalType, RasterCreationOptions};
use gdal::{Dataset, DriverManager};
use ndarray::Array3;

use super::*;
use crate::geometry::{Size, Window};
use crate::tensor::{DataType, Samples, SamplesView};

/// A writable folder that is gone afterwards.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: impl AsRef<Path>) -> Raster {
    Raster::open(path, &OpenOptions::default()).unwrap()
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A ground control point.
fn gcp(id: &str, pixel: f64, line: f64) -> Gcp {
    let (x, y) = (10.0 + pixel / 7.0, 50.0 - line / 7.0);
    Gcp { id: id.into(), info: "a point".into(), pixel, line, x, y, z: 3.0 }
}

/// Rational polynomial coefficients, all that GDAL asks for.
fn rpc() -> Vec<(String, String)> {
    let sides = ["LINE", "SAMP", "LAT", "LONG", "HEIGHT"];
    let numbers = sides.iter().flat_map(|side| [format!("{side}_OFF"), format!("{side}_SCALE")]);
    let coefficients = ["LINE_NUM_COEFF", "LINE_DEN_COEFF", "SAMP_NUM_COEFF", "SAMP_DEN_COEFF"];
    numbers
        .chain(["ERR_BIAS".to_owned()])
        .map(|name| (name, "3".to_owned()))
        .chain(coefficients.map(|name| (name.to_owned(), vec!["1"; 20].join(" "))))
        .collect()
}

/// A plain GeoTIFF by way of the gdal crate itself, `blocks[band]` row by row.
fn geotiff<T: Copy + GdalType>(
    path: &Path,
    size: Size,
    blocks: &[Vec<T>],
    options: &[&str],
    edit: impl FnOnce(&mut Dataset),
) {
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let options = RasterCreationOptions::from_iter(options.iter().copied());
    let mut dataset = driver
        .create_with_band_type_with_options::<T, _>(path, size.width, size.height, blocks.len(), &options)
        .unwrap();
    edit(&mut dataset);
    for (number, block) in (1..).zip(blocks) {
        let mut buffer = Buffer::new((size.width, size.height), block.clone());
        dataset.rasterband(number).unwrap().write((0, 0), (size.width, size.height), &mut buffer).unwrap();
    }
    dataset.close().unwrap();
}

/// Writes a whole raster.
fn write(path: &Path, spec: WriteSpec, samples: &Samples) {
    let mut writer = RasterWriter::create(path, spec).unwrap();
    writer.write(Window::of(writer.spec().size), samples.view()).unwrap();
    writer.finish().unwrap();
}

/// Samples that differ from pixel to pixel and band to band.
fn ramp(data_type: DataType, [bands, height, width]: [usize; 3]) -> Samples {
    with_type!(data_type, T => {
        use crate::tensor::Sample;
        T::wrap(Array3::from_shape_fn([bands, height, width], |(c, y, x)| {
            T::from_f64(((c * 101 + y * 31 + x * 7) % 251) as f64 + if data_type.is_integer() { 0.0 } else { 0.25 })
        }))
    })
}

/// A small deterministic generator.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}
