//! Networks and rasters that the tests make themselves, and the goldens made by `tests/golden/segment/make.py`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use glebe::geometry::{Size, Window};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::raster::{Format, Georeference, OpenOptions, Raster, RasterWriter, WriteSpec};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::segment::SegmentOptions;
use glebe::tensor::{Sample, Samples};
use ndarray::{Array2, Array3};

/// The runtime of the test process: beside the test program (see `make link`).
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Runtime::load(&RuntimeOptions::default()).expect("ONNX Runtime (run `make test`, which fetches it)")
    })
}

pub(crate) fn model(bytes: Vec<u8>) -> Model {
    Model::from_bytes(runtime(), bytes, &ModelOptions::default()).unwrap()
}

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/segment").join(name)
}

pub(crate) fn golden_model(name: &str) -> Model {
    Model::open(runtime(), golden(name), &ModelOptions::default()).unwrap()
}

/// A golden picture as `[C, H, W]`.
pub(crate) fn golden_picture(name: &str) -> Array3<u8> {
    let raster = Raster::open(golden(name), &OpenOptions::default()).unwrap();
    let bands = raster.color_bands();
    let window = Window::of(raster.size());
    match raster.read(&bands, window, Default::default()).unwrap() {
        Samples::U8(block) => block,
        other => panic!("{:?}", other.data_type()),
    }
}

/// `(x / 255 - 0.5) / 0.25`, as the goldens were made.
pub(crate) fn golden_options() -> SegmentOptions {
    let mut options = SegmentOptions::default();
    options.scale = Some(vec![255.0]);
    options.mean = Some(vec![0.5]);
    options.std = Some(vec![0.25]);
    options.threads = 1;
    options
}

/// Real rasters beside the checkout; absent on a user's machine.
pub(crate) fn shared_data() -> Option<PathBuf> {
    let folder = match std::env::var_os("GLEBE_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    folder.is_dir().then_some(folder)
}

fn dims(shape: [Option<u64>; 4]) -> Vec<Dim> {
    let names = ["n", "c", "h", "w"];
    shape.iter().zip(names).map(|(dim, name)| dim.map_or_else(|| name.into(), Dim::Fixed)).collect()
}

/// The output is the input; free sizes.
pub(crate) fn identity_network(channels: u64) -> Vec<u8> {
    sized_identity([None, Some(channels), None, None])
}

/// The output is the input `[N, C, H, W]`; `None` is free.
pub(crate) fn sized_identity(shape: [Option<u64>; 4]) -> Vec<u8> {
    let mut graph = GraphBuilder::new("identity");
    let x = graph.input("image", ElementType::Float32, &dims(shape));
    let y = graph.node("Identity", &[&x]).output("logits");
    graph.output(&y, ElementType::Float32, &dims(shape));
    graph.finish().unwrap()
}

/// Every output pixel has these values, whatever the input `[N, C, H, W]`.
pub(crate) fn constant_network(channels: u64, values: &[f32]) -> Vec<u8> {
    let mut graph = GraphBuilder::new("constant");
    let x = graph.input("image", ElementType::Float32, &dims([None, Some(channels), None, None]));
    let count = values.len() as i64;
    let weights = graph.initializer_f32(
        "w",
        &[count, channels as i64, 1, 1],
        &vec![0.0; values.len() * channels as usize],
    );
    let bias = graph.initializer_f32("b", &[count], values);
    let y = graph.node("Conv", &[&x, &weights, &bias]).output("logits");
    graph.output(&y, ElementType::Float32, &dims([None, Some(values.len() as u64), None, None]));
    graph.finish().unwrap()
}

/// Reproducible noise in 0..1.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub(crate) fn noise_image<T: Sample>(shape: [usize; 3], seed: u64, top: f64) -> Array3<T> {
    let mut next = noise(seed);
    Array3::from_shape_fn(shape, |_| T::from_f64(next() * top))
}

/// A GeoTIFF of `image` `[C, H, W]` with a plain georeference.
pub(crate) fn write_raster<T: Sample>(path: &Path, image: &Array3<T>, nodata: Option<f64>) {
    let (bands, height, width) = image.dim();
    let mut spec = WriteSpec::new(Size::new(width, height), bands, T::DATA_TYPE);
    spec.format = Format::GTiff;
    spec.block = 64;
    spec.nodata = nodata;
    spec.georeference = Georeference::default();
    spec.georeference.transform = Some([500_000.0, 2.0, 0.0, 4_000_000.0, 0.0, -2.0]);
    let mut writer = RasterWriter::create(path, spec).unwrap();
    writer.write(Window::new(0, 0, width, height), T::wrap(image.clone()).view()).unwrap();
    writer.finish().unwrap();
}

/// All bands of a raster as `[C, H, W]`.
pub(crate) fn read_raster(path: &Path) -> Samples {
    let raster = Raster::open(path, &OpenOptions::default()).unwrap();
    let bands = glebe::geometry::Band::first(raster.info().bands.len());
    raster.read(&bands, Window::of(raster.size()), Default::default()).unwrap()
}

/// The one band of class numbers of a prediction.
pub(crate) fn labels(samples: &Samples) -> Array2<u8> {
    match samples {
        Samples::U8(block) => block.index_axis(ndarray::Axis(0), 0).to_owned(),
        other => panic!("{:?}", other.data_type()),
    }
}

pub(crate) fn floats(samples: &Samples) -> Array3<f32> {
    match samples {
        Samples::F32(block) => block.clone(),
        other => panic!("{:?}", other.data_type()),
    }
}
