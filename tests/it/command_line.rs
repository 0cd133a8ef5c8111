//! The program `glebe`.

use std::path::Path;
use std::process::{Command, Output};

use glebe::raster::{OpenOptions, Raster};
use ndarray::Axis;

use crate::fixtures::{golden, golden_picture, labels, read_raster, write_raster};

pub(crate) fn glebe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_glebe")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const NORMALISED: [&str; 6] = ["--scale", "255", "--mean", "0.5", "--std", "0.25,0.25,0.25"];

#[test]
fn segment_writes_the_map_the_report_and_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("scene.tif");
    write_raster(&input, &golden_picture("image.png"), None);
    let (output, report) = (folder.path().join("map.tif"), folder.path().join("report.json"));
    let model = golden("conv.onnx");
    let mut arguments = vec!["segment", text(&model), text(&input), "-o", text(&output), "--tile", "64"];
    arguments.extend(["--class-names", "water,forest,field,road,roof"]);
    arguments.extend(["--blend", "crop", "--overlap", "25%", "--report", text(&report), "--threads", "1"]);
    arguments.extend(NORMALISED);
    let done = glebe(&arguments);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(labels(&read_raster(&output)), golden_picture("conv.labels.png").index_axis(Axis(0), 0));
    let shown = String::from_utf8(done.stdout).unwrap();
    assert!(shown.contains("150 x 131") && shown.contains("Mpx/s") && shown.contains("forest: "), "{shown}");
    assert!(String::from_utf8(done.stderr).unwrap().contains("100 %"));

    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["pixels"], 150 * 131);
    assert_eq!((&report["tile"], &report["overlap"]), (&64.into(), &16.into()));
    assert_eq!((&report["blend"], &report["provider"]), (&"crop".into(), &"cpu".into()));
    // Steps of 48: 64 → 48 → 96, the last shifted: x at 0, 48, 86; y at 0, 48, 67.
    assert_eq!((&report["tiles"], &report["batches"], &report["threads"]), (&9.into(), &9.into(), &1.into()));
    for key in ["wall_s", "model_s", "read_s", "write_s", "mpx_per_s", "peak_rss_mib"] {
        assert!(report[key].as_f64().is_some_and(|value| value >= 0.0), "{key}: {}", report[key]);
    }
    assert_eq!(
        report["class_pixels"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>(),
        150 * 131
    );
}

#[test]
fn quiet_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("scene.tif"), folder.path().join("map.tif"));
    write_raster(&input, &golden_picture("image.png"), None);
    let model = golden("conv.onnx");
    let done = glebe(&["-q", "segment", text(&model), text(&input), "-o", text(&output)]);
    assert!(done.status.success() && done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
}

#[test]
fn several_inputs_go_to_a_folder_and_one_that_fails_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.tif"), folder.path().join("b.tif"));
    write_raster(&a, &golden_picture("image.png"), None);
    std::fs::write(&b, "no raster").unwrap();
    let c = folder.path().join("c.tif");
    std::fs::copy(&a, &c).unwrap();
    let out = folder.path().join("out");
    let model = golden("conv.onnx");
    let done = glebe(&["segment", text(&model), text(&a), text(&b), text(&c), "-o", text(&out)]);
    assert_eq!(done.status.code(), Some(glebe::ErrorKind::RasterInvalid.code()));
    let stderr = String::from_utf8(done.stderr).unwrap();
    assert!(stderr.contains("b.tif") && stderr.contains("1 of 3 rasters failed"), "{stderr}");
    let mut names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.classes.tif", "c.classes.tif"]);
}

#[test]
fn overwrite_replaces_and_its_absence_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("scene.tif"), folder.path().join("map.tif"));
    write_raster(&input, &golden_picture("image.png"), None);
    std::fs::write(&output, "precious").unwrap();
    let model = golden("conv.onnx");
    let arguments = ["segment", text(&model), text(&input), "-o", text(&output)];
    let refused = glebe(&arguments);
    assert_eq!(refused.status.code(), Some(glebe::ErrorKind::AlreadyExists.code()));
    assert_eq!(std::fs::read(&output).unwrap(), b"precious");
    let done = glebe(&[&arguments[..], &["--overwrite"]].concat());
    assert!(done.status.success());
    assert!(Raster::open(&output, &OpenOptions::default()).is_ok());
}

#[test]
fn inspect_and_doctor_speak_json() {
    let json = |arguments: &[&str]| -> serde_json::Value {
        let done = glebe(arguments);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let model = json(&["inspect", text(&golden("conv.onnx")), "--json"]);
    assert_eq!(model["parameters"], 8 * 27 + 8 + 5 * 72 + 5);
    assert_eq!(model["operators"]["Conv"], 2);
    assert_eq!(model["opsets"]["ai.onnx"], 17);
    assert_eq!(model["inputs"][0]["shape"], serde_json::json!(["n", 3, "h", "w"]));
    assert_eq!(model["can_segment"], true);

    let raster = json(&["inspect", text(&golden("image.png")), "--json"]);
    assert_eq!((&raster["kind"], &raster["driver"]), (&"raster".into(), &"PNG".into()));

    let doctor = json(&["doctor", "--json"]);
    assert_eq!(doctor["onnxruntime"]["found"], true);
    assert!(doctor["gdal"]["version"].as_str().unwrap().starts_with('3'));
    let providers = doctor["providers"].as_array().unwrap();
    assert_eq!(providers[0], serde_json::json!({"name": "cpu", "usable": true, "problem": null}));
    for provider in &providers[1..] {
        // On a machine without the provider there is a reason; with it, there is none.
        assert_eq!(provider["usable"].as_bool().unwrap(), provider["problem"].is_null(), "{provider}");
    }
    for plain in
        [&["inspect", text(&golden("conv.onnx"))][..], &["inspect", text(&golden("image.png"))], &["doctor"]]
    {
        assert!(glebe(plain).status.success());
    }
}

#[test]
fn help_and_version_succeed() {
    for arguments in [&["--help"][..], &["segment", "--help"], &["--version"]] {
        assert!(glebe(arguments).status.success());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_who_has_gone_stops_no_job_and_a_full_disk_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("scene.tif");
    write_raster(&input, &golden_picture("image.png"), None);
    let model = golden("conv.onnx");
    let full =
        || std::process::Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let program = || Command::new(env!("CARGO_BIN_EXE_glebe"));

    let (output, report) = (folder.path().join("map.tif"), folder.path().join("report.json"));
    let arguments = ["segment", text(&model), text(&input), "-o", text(&output), "--report", text(&report)];
    let status = program().args(arguments).stdout(full()).stderr(full()).status().unwrap();
    assert!(status.success() && output.is_file() && report.is_file(), "{status}");
    let status = program().args(["inspect", text(&input)]).stdout(full()).status().unwrap();
    assert_eq!(status.code(), Some(glebe::ErrorKind::Io.code()));
    // An error keeps its code where nobody reads it.
    let status = program().args(["inspect", "nowhere.onnx"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(glebe::ErrorKind::NotFound.code()));
}

#[test]
fn no_telemetry_of_the_runtime_is_left_in_the_home_folder() {
    let home = tempfile::tempdir().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_glebe"))
        .arg("doctor")
        .env("HOME", home.path())
        .env_remove("XDG_CACHE_HOME")
        .output()
        .unwrap();
    assert!(done.status.success());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}
