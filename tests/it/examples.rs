//! The examples of the README do what they say.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use glebe::onnx::{Dim, ElementType, GraphBuilder};
use ndarray::Array3;

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
fn finetune_rasters_learns() {
    let Some(example) = example("finetune_rasters") else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut graph = GraphBuilder::new("bands");
    let dims = [Dim::from("n"), Dim::Fixed(2), Dim::from("h"), Dim::from("w")];
    let x = graph.input("x", ElementType::Float32, &dims);
    let weight = graph.initializer_f32("weight", &[2, 2, 1, 1], &[1.0, 0.0, 0.0, 1.0]);
    let y = graph.node("Conv", &[&x, &weight]).output("y");
    graph.output(&y, ElementType::Float32, &dims);
    std::fs::write(at("model.onnx"), graph.finish().unwrap()).unwrap();
    let sample = |c: usize, y: usize, x: usize| ((x * 7 + y * 13 + c * 101) % 251) as u8;
    write_raster(&at("in.tif"), &Array3::from_shape_fn((2, 70, 90), |(c, y, x)| sample(c, y, x)), None);
    // The other way round than the model has it.
    let truth = Array3::from_shape_fn((1, 70, 90), |(_, y, x)| u8::from(sample(0, y, x) >= sample(1, y, x)));
    write_raster(&at("truth.tif"), &truth, None);
    let pair = format!("{};{}", at("in.tif").display(), at("truth.tif").display());
    let arguments = [at("model.onnx").into_os_string(), pair.clone().into(), pair.into(), at("run").into()];
    let done = Command::new(&example).args(&arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // 70 x 90 pixels in windows of 32 x 32.
    assert_eq!((lines.len(), lines[0]), (9, "9 training windows"), "{text}");
    let loss = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    assert!(loss(lines[5]) < loss(lines[1]) && lines[1].starts_with("epoch 1 of 5, loss "), "{text}");
    assert_eq!(std::path::Path::new(lines[6]), at("run/model.onnx"));
    assert!(lines[7].starts_with("mean IoU 0.") || lines[7].starts_with("mean IoU 1"), "{text}");
    assert_eq!(std::path::Path::new(lines[8]), at("run/best.onnx"));
    // The best weights are the ones that were exported.
    let bytes = |name: &str| std::fs::read(at(name)).unwrap();
    let weights = |name: &str| glebe::onnx::Document::from_bytes(bytes(name), &Default::default()).unwrap();
    let (one, two) = (weights("run/model.onnx"), weights("run/best.onnx"));
    assert_eq!(one.graph().initializer, two.graph().initializer);
    assert!(at("run/model.onnx").is_file());
    let again = Command::new(&example).args(&arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(glebe::ErrorKind::AlreadyExists.code()));
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
