//! A network that learns in seconds, labelled images for it, and `glebe finetune` on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use glebe::ErrorKind;
use glebe::geometry::{Size, Window};
use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::raster::{Format, Georeference, RasterWriter, WriteSpec};
use glebe::tensor::Sample;
use ndarray::Array3;

use crate::fixtures::noise;

/// Pixels a side of the images.
pub(crate) const SIDE: usize = 64;

/// A thousandth of a degree a pixel, so that vector files can be written by hand.
pub(crate) const PLACE: [f64; 6] = [10.0, 0.001, 0.0, 50.0, 0.0, -0.001];
pub(crate) const WGS84: &str = r#"GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]"#;

/// Convolutions of 3 x 3 and 1 x 1 with a ReLU between them, for any size.
pub(crate) fn network(bands: usize, classes: usize) -> Vec<u8> {
    sized_network(bands, classes, None)
}

/// Likewise, for images of this side only where one is given.
pub(crate) fn sized_network(bands: usize, classes: usize, side: Option<u64>) -> Vec<u8> {
    let mut next = noise(7);
    let mut weights = |count: usize| (0..count).map(|_| next() as f32 - 0.5).collect::<Vec<f32>>();
    let mut graph = GraphBuilder::new("net");
    let free = |name: &str| side.map_or_else(|| Dim::Named(name.into()), Dim::Fixed);
    let dims = |channels: usize| [Dim::Named("n".into()), Dim::Fixed(channels as u64), free("h"), free("w")];
    let x = graph.input("image", ElementType::Float32, &dims(bands));
    let (inner, outer) = (8, classes as i64);
    let own = [inner, bands as i64, 3, 3];
    let w = graph.initializer_f32("encoder.weight", &own, &weights(own.iter().product::<i64>() as usize));
    let b = graph.initializer_f32("encoder.bias", &[inner], &weights(inner as usize));
    let y = graph.node("Conv", &[&x, &w, &b]).ints("pads", &[1; 4]).output("encoded");
    let y = graph.node("Relu", &[&y]).output("relu");
    let w = graph.initializer_f32("head.weight", &[outer, inner, 1, 1], &weights(classes * inner as usize));
    let b = graph.initializer_f32("head.bias", &[outer], &weights(classes));
    let y = graph.node("Conv", &[&y, &w, &b]).output("logits");
    graph.output(&y, ElementType::Float32, &dims(classes));
    graph.finish().unwrap()
}

/// Whether a pixel belongs to one of the bright squares: 12 pixels wide, not in rows and columns.
pub(crate) fn is_square(x: usize, y: usize) -> bool {
    let shift = if (y / 20).is_multiple_of(2) { 0 } else { 9 };
    (x + shift) % 24 < 12 && y % 20 < 12
}

/// Squares that are brighter than the ground, and noise.
pub(crate) fn squares(bands: usize, seed: u64) -> Array3<u8> {
    let mut next = noise(seed);
    Array3::from_shape_fn((bands, SIDE, SIDE), |(_, y, x)| {
        (if is_square(x, y) { 150.0 } else { 60.0 } + 40.0 * next()) as u8
    })
}

/// Class 1 in the squares.
pub(crate) fn square_labels() -> Array3<u8> {
    Array3::from_shape_fn((1, SIDE, SIDE), |(_, y, x)| u8::from(is_square(x, y)))
}

/// The same squares as GeoJSON, clipped at the image's edge; `properties` of each, by its number.
pub(crate) fn square_features(properties: impl Fn(usize) -> String) -> String {
    let mut features = Vec::new();
    for top in (0..SIDE).step_by(20) {
        let shift = if (top / 20).is_multiple_of(2) { 0i64 } else { 9 };
        for left in (-shift..SIDE as i64).step_by(24) {
            let x = |column: i64| 10.0 + column.clamp(0, SIDE as i64) as f64 * 0.001;
            let y = |row: usize| 50.0 - row.min(SIDE) as f64 * 0.001;
            let (left, right, top, bottom) = (x(left), x(left + 12), y(top), y(top + 12));
            if left < right {
                let properties = properties(features.len());
                features.push(feature([left, bottom, right, top], &properties));
            }
        }
    }
    collection(&features)
}

/// A rectangle from west, south, east and north.
pub(crate) fn feature([left, bottom, right, top]: [f64; 4], properties: &str) -> String {
    format!(
        r#"{{"type":"Feature","properties":{{{properties}}},"geometry":{{"type":"Polygon","coordinates":
        [[[{left},{top}],[{right},{top}],[{right},{bottom}],[{left},{bottom}],[{left},{top}]]]}}}}"#
    )
}

pub(crate) fn collection(features: &[String]) -> String {
    format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","))
}

pub(crate) fn write<T: Sample>(path: &Path, image: &Array3<T>, edit: impl FnOnce(&mut WriteSpec)) {
    let (bands, height, width) = image.dim();
    let mut spec = WriteSpec::new(Size::new(width, height), bands, T::DATA_TYPE);
    spec.format = Format::GTiff;
    spec.block = 16;
    spec.georeference = Georeference::default();
    spec.georeference.transform = Some(PLACE);
    spec.georeference.crs_wkt = Some(WGS84.to_owned());
    edit(&mut spec);
    let mut writer = RasterWriter::create(path, spec).unwrap();
    writer.write(Window::new(0, 0, width, height), T::wrap(image.clone()).view()).unwrap();
    writer.finish().unwrap();
}

/// A folder with a model and two labelled images that go together.
pub(crate) struct Bench(tempfile::TempDir);

impl Bench {
    pub(crate) fn new() -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        bench.file("model.onnx", network(3, 2));
        for (number, name) in ["a", "b"].into_iter().enumerate() {
            write(&bench.at(&format!("{name}.tif")), &squares(3, number as u64 + 1), |_| {});
            write(&bench.at(&format!("{name}-labels.tif")), &square_labels(), |_| {});
        }
        bench
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.at(name), content).unwrap();
    }

    /// All files below the folder, and their bytes.
    pub(crate) fn listing(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files_of(self.0.path())
    }

    /// `glebe finetune` with these options, in the folder; `@` stands for the folder. Options that are given take the place
    /// of those that all runs have; `-` leaves one out.
    pub(crate) fn finetune(&self, options: &[&str]) -> Output {
        self.command(options).output().unwrap()
    }

    pub(crate) fn command(&self, options: &[&str]) -> Command {
        const COMMON: [[&str; 2]; 8] = [
            ["--model", "@model.onnx"],
            ["--train", "@a.tif;@a-labels.tif"],
            ["--size", "32"],
            ["--batch", "2"],
            ["--epochs", "1"],
            ["--threads", "1"],
            ["--scale", "255"],
            ["--out", "@out"],
        ];
        let mut all: Vec<&str> = COMMON
            .iter()
            .filter(|[name, _]| !options.contains(name))
            .flat_map(|pair| pair.iter().copied())
            .collect();
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            match rest.as_slice().first() {
                Some(&"-") => {
                    rest.next();
                }
                _ => all.push(option),
            }
        }
        let folder = format!("{}/", self.0.path().display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_glebe"));
        command.current_dir(self.0.path()).arg("finetune");
        command.args(all.into_iter().map(|option| option.replace('@', &folder)));
        command
    }

    /// Runs it; the report of `--json`.
    pub(crate) fn done(&self, options: &[&str]) -> serde_json::Value {
        let done = self.finetune(&[options, &["--json"]].concat());
        assert!(done.status.success(), "{options:?}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// Each case, its options, its kind and what its line says: one line, the right exit code, nothing written.
    pub(crate) fn refuses(&self, cases: &[Case]) {
        let before = self.listing();
        let mut wrong = Vec::new();
        for (name, options, kind, words) in cases {
            let done = self.finetune(options);
            let stderr = String::from_utf8(done.stderr).unwrap();
            let mut problems = Vec::new();
            if done.status.code() != Some(kind.code()) {
                problems.push(format!("{}, expected {}", done.status, kind.code()));
            }
            // Warnings may come before it.
            let lines = stderr.lines().filter(|line| !line.trim_start().starts_with("WARN "));
            let lines: Vec<&str> = lines.collect();
            if lines.len() != 1 || !lines[0].starts_with("glebe: error: ") {
                problems.push("not one line".to_owned());
            }
            for word in *words {
                let word = word.replace('@', &format!("{}/", self.0.path().display()));
                if !stderr.contains(&word) {
                    problems.push(format!("no {word:?}"));
                }
            }
            if !done.stdout.is_empty() {
                problems.push("something on stdout".to_owned());
            }
            let left = self.listing();
            for path in left.keys().filter(|path| !before.contains_key(*path)) {
                problems.push(format!("{} is left", path.display()));
                let _ = std::fs::remove_dir_all(path);
                let _ = std::fs::remove_file(path);
            }
            for (path, content) in &before {
                if left.get(path) != Some(content) {
                    problems.push(format!("{} has changed", path.display()));
                }
            }
            if !problems.is_empty() {
                wrong.push(format!("{name}: {}: {stderr}", problems.join(", ")));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }
}

/// Name, options, kind, and what the line says.
pub(crate) type Case = (&'static str, &'static [&'static str], ErrorKind, &'static [&'static str]);

/// All files below a folder, and their bytes; folders without any.
pub(crate) fn files_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_of(&path));
            files.insert(path, Vec::new());
        } else {
            let content = std::fs::read(&path).unwrap();
            files.insert(path, content);
        }
    }
    files
}
