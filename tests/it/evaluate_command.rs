//! `glebe evaluate` on the command line: what it prints and writes, and what it refuses.

use std::collections::BTreeMap;
use std::path::PathBuf;

use glebe::ErrorKind::{self, *};
use ndarray::{Array3, s};
use serde_json::Value;

use crate::command_line::glebe;
use crate::fixtures::{golden, identity_network, noise_image, write_raster};

/// A folder with a network whose classes are those of the greatest band, an image, its labels, and what is wrong with
/// others.
struct Bench(tempfile::TempDir);

const SIZE: (usize, usize) = (40, 50);

impl Bench {
    fn new() -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        std::fs::write(bench.at("model.onnx"), identity_network(3)).unwrap();
        std::fs::copy(golden("stride.onnx"), bench.at("stride.onnx")).unwrap();
        std::fs::write(bench.at("text.txt"), "neither model nor raster").unwrap();
        let (height, width) = SIZE;
        let image: Array3<u8> = noise_image([3, height, width], 3, 255.0);
        write_raster(&bench.at("image.tif"), &image, None);
        let labels = Array3::from_shape_fn((1, height, width), |(_, y, x)| ((x / 8 + y / 6) % 3) as u8);
        write_raster(&bench.at("labels.tif"), &labels, None);
        write_raster(&bench.at("nodata.tif"), &labels.mapv(|class| class / 2), Some(0.0));
        write_raster(&bench.at("blank.tif"), &Array3::<u8>::zeros((1, height, width)), Some(0.0));
        write_raster(&bench.at("small.tif"), &labels.slice(s![.., 1.., ..]).to_owned(), None);
        let mut stray = labels.clone();
        stray[[0, 7, 11]] = 9;
        write_raster(&bench.at("stray.tif"), &stray, None);
        write_raster(&bench.at("fraction.tif"), &labels.mapv(|class| f32::from(class) + 0.5), None);
        let ring = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]];
        let feature = serde_json::json!({ "type": "Feature", "properties": { "kind": "forest" },
            "geometry": { "type": "Polygon", "coordinates": [ring] } });
        let features = serde_json::json!({ "type": "FeatureCollection", "features": [feature] });
        std::fs::write(bench.at("features.geojson"), features.to_string()).unwrap();
        bench.list("list.csv", "image.tif;labels.tif\nimage.tif;nodata.tif\n");
        bench.list("areas.csv", "image.tif,labels.tif,trn\n");
        bench.list("missing-image.csv", "image.tif;labels.tif\nnone.tif;labels.tif\n");
        bench.list("missing-labels.csv", "image.tif;none.tif\n");
        bench.list("stray.csv", "image.tif;labels.tif\n\nimage.tif;stray.tif\n");
        bench.list("columns.csv", "image.tif;labels.tif;1;2\n");
        bench
    }

    fn list(&self, name: &str, content: &str) {
        std::fs::write(self.at(name), content).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    /// Names of the folder's files stand for their paths: `IMAGE;LABELS` too.
    fn run(&self, arguments: &str) -> std::process::Output {
        let place = |word: &str| {
            let name = |name: &str| {
                let is_file = name.contains('.') && !name.contains('=') && !name.contains('/');
                if is_file { self.path(name) } else { name.to_owned() }
            };
            word.split(';').map(name).collect::<Vec<_>>().join(";")
        };
        let words: Vec<String> = arguments.split(' ').map(place).collect();
        let mut all = vec!["evaluate"];
        all.extend(words.iter().map(String::as_str));
        glebe(&all)
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }
}

#[test]
fn the_table_the_json_and_the_files_have_the_same_numbers() {
    let bench = Bench::new();
    let done = bench.run("model.onnx --data list.csv --class-names water,field,roof --tile 16 --json -q");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.stderr.is_empty());
    let json: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&json["images"], &json["classes"][2]["name"]), (&2.into(), &"roof".into()));

    let arguments =
        "model.onnx --data list.csv --class-names water,field,roof --csv out.csv --report out.json";
    let shown = bench.run(arguments);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let text = String::from_utf8(shown.stdout.clone()).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["images", "2"]);
    assert_eq!(lines[1], ["class", "IoU", "Dice", "precision", "recall", "labelled", "predicted"]);
    for class in 0..3 {
        let own = &json["classes"][class];
        let score = |name: &str| own[name].as_f64().map_or("-".into(), |value| format!("{value:.4}"));
        let mut expected = vec![own["name"].as_str().unwrap().to_owned()];
        expected.extend(["iou", "dice", "precision", "recall"].map(score));
        expected.extend(["labelled", "predicted"].map(|name| own[name].to_string()));
        assert_eq!(lines[2 + class], expected);
        // The matrix stands at the end.
        let row = &lines[lines.len() - 3 + class];
        let counts: Vec<u64> = serde_json::from_value(json["matrix"][class].clone()).unwrap();
        assert_eq!(row[1..], counts.iter().map(u64::to_string).collect::<Vec<_>>());
    }
    for (name, key) in
        [("mean IoU", "mean_iou"), ("mean Dice", "mean_dice"), ("overall accuracy", "accuracy")]
    {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.ends_with(&format!("{:.4}", json[key].as_f64().unwrap())), "{line}");
    }

    let report: Value = serde_json::from_slice(&std::fs::read(bench.at("out.json")).unwrap()).unwrap();
    assert_eq!((&report["matrix"], &report["accuracy"]), (&json["matrix"], &json["accuracy"]));
    assert_eq!(report["per_image"][1]["report"]["width"], 50);
    let csv = std::fs::read_to_string(bench.at("out.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        rows[0].join(","),
        "image,labels,class,name,iou,dice,precision,recall,labelled,predicted,hits"
    );
    assert_eq!(rows.len(), 1 + 2 * 3);
    for (row, number) in rows[1..].iter().zip(0..) {
        let (image, class) = (&json["per_image"][number / 3], number % 3);
        assert_eq!((row[0], row[2]), (image["image"].as_str().unwrap(), class.to_string().as_str()));
        let iou = image["iou"][class].as_f64().map_or(String::new(), |value| format!("{value:.6}"));
        assert_eq!(row[4], iou);
        assert_eq!(row[10], image["matrix"][class][class].to_string());
    }

    // The same once more; files only where they may be replaced.
    let again = bench.run(&format!("{arguments} --overwrite"));
    assert_eq!((again.status.success(), &again.stdout), (true, &shown.stdout));
    assert_eq!(std::fs::read_to_string(bench.at("out.csv")).unwrap(), csv);
}

#[test]
fn labels_that_mostly_do_not_count_are_told() {
    let bench = Bench::new();
    let done = bench.run("model.onnx --data image.tif;nodata.tif");
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && told.contains("give --label-nodata background"), "{told}");
    for arguments in [
        "--data image.tif;nodata.tif --label-nodata background",
        "--data image.tif;labels.tif",
        "--data image.tif;nodata.tif -q",
    ] {
        let done = bench.run(&format!("model.onnx {arguments}"));
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success() && !told.contains("hint"), "{told}");
    }
}

#[test]
fn data_adds_up_and_is_found_under_the_root() {
    let bench = Bench::new();
    bench.list("areas.csv", "image.tif,labels.tif,tst\nimage.tif,nodata.tif,val\nimage.tif,,inference\n");
    let pixels = |arguments: &str| {
        let done = bench.run(&format!("model.onnx --json {arguments}"));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let json: Value = serde_json::from_slice(&done.stdout).unwrap();
        (json["images"].as_u64().unwrap(), json["pixels"].as_u64().unwrap())
    };
    assert_eq!(pixels("--data areas.csv"), (1, 2000));
    let (images, labelled) = pixels("--data areas.csv --split val");
    assert!(images == 1 && labelled < 2000);
    assert_eq!(pixels("--data areas.csv --data image.tif;labels.tif"), (2, 4000));
    assert_eq!(
        pixels("--data areas.csv --ignore-index 0,2").1,
        pixels("--data areas.csv --classes 1=1,*=ignore").1
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let list = elsewhere.path().join("list.csv");
    std::fs::copy(bench.at("list.csv"), &list).unwrap();
    let list = list.to_str().unwrap();
    assert_eq!(pixels(&format!("--data {list} --root {}", bench.0.path().display())).0, 2);
}

#[test]
fn what_cannot_be_evaluated_is_told_in_one_line() {
    let bench = Bench::new();
    std::fs::write(bench.at("taken.csv"), "precious").unwrap();
    let before = bench.files();
    let cases: [(&str, ErrorKind, &[&str]); 35] = [
        ("model.onnx", InvalidArgument, &["--data"]),
        ("model.onnx --data none.csv", NotFound, &["none.csv"]),
        ("model.onnx --data text.txt", InvalidArgument, &["text.txt", "line 1", "expected image;labels"]),
        ("model.onnx --data columns.csv", InvalidArgument, &["columns.csv", "line 1", "got 4 fields"]),
        ("model.onnx --data image.tif", InvalidArgument, &["image.tif", "IMAGE;LABELS"]),
        ("none.onnx --data image.tif;labels.tif", NotFound, &["none.onnx"]),
        ("text.txt --data image.tif;labels.tif", ModelInvalid, &["text.txt"]),
        (
            "model.onnx --data list.csv --split dev",
            InvalidArgument,
            &["unknown split \"dev\": expected train, val or test"],
        ),
        ("model.onnx --data areas.csv", InvalidArgument, &["areas.csv", "none of its 1 lines is for tst"]),
        ("model.onnx --data missing-image.csv", NotFound, &["missing-image.csv", "line 2", "none.tif"]),
        ("model.onnx --data missing-labels.csv", NotFound, &["missing-labels.csv", "line 1", "none.tif"]),
        ("model.onnx --data image.tif;small.tif", Mismatch, &["small.tif", "50 x 39"]),
        ("model.onnx --data image.tif;image.tif", RasterUnsupported, &["image.tif", "3 bands, expected 1"]),
        ("model.onnx --data image.tif;fraction.tif", RasterUnsupported, &["fraction.tif", "no whole number"]),
        ("model.onnx --data image.tif;text.txt", RasterInvalid, &["text.txt"]),
        (
            "model.onnx --data image.tif;features.geojson --label-field class",
            InvalidArgument,
            &["has no field \"class\", expected one of \"kind\""],
        ),
        ("model.onnx --data image.tif;features.geojson", Mismatch, &["features.geojson", "has none"]),
        (
            "model.onnx --data stray.csv",
            Mismatch,
            &["stray.csv", "line 3", "label 9 at pixel 11,7", "0 to 2"],
        ),
        ("model.onnx --data stray.csv --classes 0=0,1=1,2=2", Mismatch, &["line 3", "not in the class map"]),
        ("model.onnx --data list.csv --classes 0=3", Mismatch, &["list.csv", "line 1", "expected 0 to 2"]),
        ("model.onnx --data list.csv --classes forest", InvalidArgument, &["expected VALUE=CLASS"]),
        ("model.onnx --data list.csv --ignore-index x", InvalidArgument, &["--ignore-index", "x"]),
        ("model.onnx --data list.csv --label-nodata no", InvalidArgument, &["expected background or ignore"]),
        (
            "model.onnx --data list.csv --label-outside no",
            InvalidArgument,
            &["expected background or ignore"],
        ),
        ("model.onnx --data list.csv --class-names a,b", Mismatch, &["2 class names for 3 classes"]),
        ("model.onnx --data list.csv --bands 1,2,9", InvalidArgument, &["list.csv", "line 1", "band 9"]),
        ("model.onnx --data list.csv --bands 1,2", Mismatch, &["list.csv", "expects 3 bands, got 2"]),
        ("model.onnx --data list.csv --threshold 2", InvalidArgument, &["threshold 2: expected 0 to 1"]),
        ("model.onnx --data list.csv --tile 0", InvalidArgument, &["tile 0 x 0"]),
        (
            "model.onnx --data image.tif;blank.tif",
            InvalidArgument,
            &["no pixel can be compared", "2000", "nodata value"],
        ),
        ("stride.onnx --data list.csv", ModelUnsupported, &["line 1", "another scale than its input"]),
        ("model.onnx --data list.csv --csv taken.csv", AlreadyExists, &["taken.csv"]),
        (
            "model.onnx --data list.csv --csv labels.tif --overwrite",
            InvalidArgument,
            &["labels.tif", "same file"],
        ),
        (
            "model.onnx --data list.csv --report list.csv --overwrite",
            InvalidArgument,
            &["list.csv", "same file"],
        ),
        ("model.onnx --data list.csv --csv a.csv --report a.csv", InvalidArgument, &["table and report"]),
    ];
    for (arguments, kind, words) in cases {
        let done = bench.run(arguments);
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(kind.code()), "{arguments}: {told}");
        let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("glebe: error: ")).collect();
        let [line] = errors[..] else { panic!("{arguments}: {told}") };
        for word in words {
            assert!(line.contains(word), "{arguments}: {word} is not in {line}");
        }
    }
    assert_eq!(bench.files(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_model_whose_path_is_no_text_is_shown_as_well_as_can_be() {
    use std::os::unix::ffi::OsStringExt as _;

    let bench = Bench::new();
    let mut name = bench.at("model-").into_os_string().into_vec();
    name.push(0xff);
    let model = PathBuf::from(std::ffi::OsString::from_vec(name));
    std::fs::copy(bench.at("model.onnx"), &model).unwrap();
    let data = format!("{};{}", bench.path("image.tif"), bench.path("labels.tif"));
    let report = bench.at("report.json");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_glebe"));
    command.arg("evaluate").arg(&model).args(["--data", &data, "--report"]);
    let done = command.arg(&report).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let json: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let own = json["per_image"][0]["report"]["model"].as_str().unwrap();
    assert!(own.ends_with("model-\u{fffd}"), "{own}");
}
