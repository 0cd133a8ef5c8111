//! The examples of the README do what they say.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::fixtures::{golden, golden_picture, write_raster};

/// Cargo builds examples beside the tests: `target/debug/examples` next to `target/debug/deps`.
fn example(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    if path.is_file() {
        return Some(path);
    }
    let _ = writeln!(
        std::io::stderr(),
        "skipped: example {name} is not built (`cargo test` without --test builds it)"
    );
    None
}

#[test]
fn segment_scores_a_raster() {
    let Some(example) = example("segment") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.tif"), folder.path().join("out.tif"));
    write_raster(&input, &golden_picture("image.png"), None);
    let done =
        Command::new(&example).args([&golden("conv.onnx"), &input, &output]).arg("255").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).starts_with("5 classes"));
    assert!(output.is_file());
}

#[test]
fn array_scores_an_image() {
    let Some(example) = example("array") else { return };
    let done = Command::new(&example).arg(golden("conv.onnx")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 band of 400 x 300 pixels"));
}

#[test]
fn the_demo_makes_map_and_picture() {
    let Some(example) = example("demo") else { return };
    let folder = tempfile::tempdir().unwrap();
    let done = Command::new(&example).arg(folder.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for name in ["scene.tif", "land-cover.onnx", "map.tif", "map.png"] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let accuracy: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("accuracy"))
        .and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
        .unwrap();
    assert!(accuracy > 95.0, "{text}");
    // Its own model has four bands: a raster of three is refused with what to do.
    let input = folder.path().join("rgb.tif");
    write_raster(&input, &golden_picture("image.png"), None);
    let done = Command::new(&example).args([folder.path(), &input]).output().unwrap();
    assert_eq!(done.status.code(), Some(glebe::ErrorKind::Mismatch.code()));
    assert!(String::from_utf8_lossy(&done.stderr).contains("MODEL="));
}
