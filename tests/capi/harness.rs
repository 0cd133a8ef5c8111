//! Compiles C programs against the header and the shared library of this build, and runs them on small fixtures.
#![allow(dead_code, reason = "shared by several test programs, of which each uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the report of a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use glebe::geometry::{Size, Window};
use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::tensor::Samples;
use glebe::weights::tensors::{self, NamedTensor};
use tempfile::TempDir;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The shared library that was built along with this test.
pub(crate) fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    [deps.join("libglebe.so"), deps.join("../libglebe.so")]
        .into_iter()
        .find(|path| path.is_file())
        .expect("libglebe.so beside the test")
}

/// A folder with the library under the names that the linker and the loader ask for.
pub(crate) fn link_folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libglebe.so", "libglebe.so.1"] {
            std::os::unix::fs::symlink(library(), folder.path().join(name)).unwrap();
        }
        folder
    });
    folder.path()
}

/// Compiles a C program into `folder`.
pub(crate) fn compile(source: &Path, folder: &Path) -> PathBuf {
    let program = folder.join(source.file_stem().unwrap());
    let include = root().join("include");
    // As RPATH, which comes before the LD_LIBRARY_PATH that cargo sets: there may lie a library of an earlier build.
    let rpath = format!("-Wl,--disable-new-dtags,-rpath,{}", link_folder().display());
    let output = Command::new(std::env::var("CC").unwrap_or_else(|_| "gcc".into()))
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-g",
            "-O1",
            "-D_POSIX_C_SOURCE=200809L",
        ])
        .arg("-I")
        .arg(include)
        .arg(source)
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(link_folder())
        .args(["-lglebe", "-lpthread", "-lm"])
        .arg(rpath)
        .output()
        .expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Runs a program; what it printed is shown when it fails.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What the C programs work on: `bands.onnx` (three bands in, class 1 where the third is greater than the first),
/// `batches.onnx` (the same for batches of any size), `noisy.onnx` (ONNX Runtime has something to say about it), `in.tif`, `two.tif` (two bands),
/// `labels.tif` (class 1 where the second band of `in.tif` is greater than the first), `wrong.tif` (the same with a 7 at row
/// 5, column 9), `halves.tif` (other labels of `in.tif`: see [`half`]), `weights.safetensors` (a checkpoint of epoch 2 and
/// step 4 whose class 1 is where the second band is greater).
pub(crate) fn fixtures() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bands.onnx"), model(false, Dim::Fixed(1))).unwrap();
    std::fs::write(folder.path().join("batches.onnx"), model(false, Dim::from("n"))).unwrap();
    std::fs::write(folder.path().join("noisy.onnx"), model(true, Dim::Fixed(1))).unwrap();
    std::fs::write(folder.path().join("damaged.onnx"), b"this is no model").unwrap();
    let weights = NamedTensor::f32(&[2, 3, 1, 1], vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let origin = [("epoch", "2"), ("global_step", "4")].map(|(key, text)| (key.to_owned(), text.to_owned()));
    let checkpoint = [("model.weights".to_owned(), weights)].into();
    tensors::write(folder.path().join("weights.safetensors"), &checkpoint, &origin.into(), false).unwrap();
    raster(&folder.path().join("in.tif"), 3);
    raster(&folder.path().join("two.tif"), 2);
    labels(&folder.path().join("labels.tif"), label);
    labels(&folder.path().join("wrong.tif"), |y, x| if (y, x) == (5, 9) { 7 } else { label(y, x) });
    labels(&folder.path().join("halves.tif"), half);
    folder
}

fn model(noisy: bool, batch: Dim) -> Vec<u8> {
    let mut graph = GraphBuilder::new("bands");
    graph.metadata("glebe.class_names", r#"["land", "water"]"#);
    let (h, w) = (Dim::from("h"), Dim::from("w"));
    let x = graph.input("x", ElementType::Float32, &[batch.clone(), Dim::Fixed(3), h.clone(), w.clone()]);
    let weights = graph.initializer_f32("weights", &[2, 3, 1, 1], &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    let y = graph.node("Conv", &[&x, &weights]).output("y");
    graph.output(&y, ElementType::Float32, &[batch, Dim::Fixed(2), h, w]);
    if noisy {
        graph.initializer_f32("unused", &[1], &[1.0]);
    }
    graph.finish().unwrap()
}

/// Width and height of the rasters.
pub(crate) const SIZE: Size = Size::new(64, 48);

/// The sample of a band (from 0) at a pixel.
pub(crate) fn sample(band: usize, y: usize, x: usize) -> u8 {
    ((x * 7 + y * 13 + band * 101) % 251) as u8
}

/// The class that the model gives a pixel.
pub(crate) fn class(y: usize, x: usize) -> f64 {
    f64::from(u8::from(sample(2, y, x) > sample(0, y, x)))
}

/// The label of a pixel: class 1 below the middle, 9, which is no class, in the four columns on the left.
pub(crate) fn half(y: usize, x: usize) -> u8 {
    if x < 4 { 9 } else { u8::from(y >= SIZE.height / 2) }
}

/// The label of a pixel, which `labels.tif` has.
pub(crate) fn label(y: usize, x: usize) -> u8 {
    u8::from(sample(1, y, x) > sample(0, y, x))
}

fn raster(path: &Path, bands: usize) {
    write(
        path,
        ndarray::Array3::from_shape_fn((bands, SIZE.height, SIZE.width), |(c, y, x)| sample(c, y, x)),
    );
}

fn labels(path: &Path, label: impl Fn(usize, usize) -> u8) {
    write(path, ndarray::Array3::from_shape_fn((1, SIZE.height, SIZE.width), |(_, y, x)| label(y, x)));
}

#[cfg(feature = "raster")]
fn write(path: &Path, block: ndarray::Array3<u8>) {
    use glebe::raster::{Format, RasterWriter, WriteSpec};

    let mut spec = WriteSpec::new(SIZE, block.dim().0, glebe::DataType::U8);
    spec.format = Format::GTiff;
    let mut writer = RasterWriter::create(path, spec).unwrap();
    writer.write(Window::of(SIZE), Samples::U8(block).view()).unwrap();
    writer.finish().unwrap();
}

#[cfg(not(feature = "raster"))]
fn write(_: &Path, _: ndarray::Array3<u8>) {
    let _ = (Window::of(SIZE), Samples::zeros(glebe::DataType::U8, [1, 1, 1]));
}
