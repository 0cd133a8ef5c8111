//! `glebe inspect MODEL --seams RASTER` against two maps that are compared here.

use glebe::geometry::Size;
use glebe::segment::{Product, SegmentOptions, Segmenter};
use glebe::tiling::{Blend, Overlap};
use ndarray::{Array3, Axis};
use serde_json::Value;

use crate::command_line::glebe;
use crate::fixtures::{floats, model, noise_image, sized_identity, write_raster};
use crate::reach_networks::{global, local};

struct Bench {
    folder: tempfile::TempDir,
    image: Array3<u8>,
}

impl Bench {
    fn new(bytes: &[u8], height: usize, width: usize) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let image = noise_image([2, height, width], 9, 1.0).mapv(|value: f32| (value * 255.0) as u8);
        write_raster(&folder.path().join("in.tif"), &image, None);
        std::fs::write(folder.path().join("model.onnx"), bytes).unwrap();
        Bench { folder, image }
    }

    fn seams(&self, more: &[&str]) -> Value {
        let (model, raster) = (self.folder.path().join("model.onnx"), self.folder.path().join("in.tif"));
        let mut arguments = vec![
            "inspect",
            model.to_str().unwrap(),
            "--seams",
            raster.to_str().unwrap(),
            "--json",
            "--scale",
            "255",
        ];
        arguments.extend(more);
        let done = glebe(&arguments);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }
}

#[test]
fn exact_tiles_have_no_seams() {
    let (_, bytes) = local().into_iter().find(|(name, _)| *name == "u-net, nearest").unwrap();
    let found = Bench::new(&bytes, 200, 260).seams(&["--tile", "128"]);
    assert_eq!(found["sample"], serde_json::json!([0, 0, 260, 200]));
    for tiling in found["tilings"].as_array().unwrap() {
        assert_eq!(tiling["blend"], "exact");
        assert!(tiling["tiles"].as_u64().unwrap() > 1, "{found}");
    }
    assert_ne!(found["tilings"][0]["tile"], found["tilings"][1]["tile"]);
    assert_eq!(found["pixels"], 200 * 260);
    assert!(found["max_difference"].as_f64().unwrap() < 1e-5 && found["disagreement"] == 0.0, "{found}");
}

#[test]
fn seams_are_those_of_two_maps() {
    let (_, bytes, _) = global().into_iter().find(|(name, ..)| *name == "instance norm").unwrap();
    let bench = Bench::new(&bytes, 160, 224);
    let found = bench.seams(&["--tile", "64", "--overlap", "16", "--blend", "crop"]);
    let network = model(bytes);
    let map = |side: usize| {
        let mut options = SegmentOptions::default();
        options.product = Product::Probabilities;
        options.scale = Some(vec![255.0]);
        options.tile = Some(Size::new(side, side));
        options.overlap = Overlap::Pixels(16);
        options.blend = Blend::Crop;
        let got = Segmenter::new(&network, options).unwrap().array(bench.image.view().into(), None).unwrap();
        floats(&got.samples)
    };
    // Three quarters of the side, rounded down to 32.
    let (one, two) = (map(64), map(32));
    assert_eq!(found["tilings"][1]["tile"], serde_json::json!([32, 32]));
    let apart: Vec<f64> = one.iter().zip(&two).map(|(a, b)| f64::from((a - b).abs())).collect();
    let most = apart.iter().copied().fold(0.0, f64::max);
    let mean = apart.iter().sum::<f64>() / apart.len() as f64;
    let first = |map: &Array3<f32>| map.index_axis(Axis(0), 0).mapv(|value| value >= 0.5);
    let others = first(&one).iter().zip(&first(&two)).filter(|(a, b)| a != b).count();
    let near = |key: &str, expected: f64| {
        let got = found[key].as_f64().unwrap();
        assert!((got - expected).abs() < 1e-6, "{key}: {got} instead of {expected}");
    };
    near("max_difference", most);
    near("mean_difference", mean);
    near("disagreement", others as f64 / (160.0 * 224.0));
    assert!(most > 0.01 && others > 0, "{found}");
}

#[test]
fn networks_of_a_fixed_size_are_laid_otherwise() {
    let bytes = sized_identity([Some(1), Some(2), Some(64), Some(64)]);
    let found = Bench::new(&bytes, 150, 150).seams(&["--blend", "gaussian"]);
    let tilings = &found["tilings"];
    assert_eq!(tilings[0]["tile"], tilings[1]["tile"]);
    assert!(tilings[0]["overlap"][0].as_u64() < tilings[1]["overlap"][0].as_u64(), "{found}");
    assert!(found["max_difference"].as_f64().unwrap() < 1e-5, "{found}");
}

#[test]
fn what_cannot_have_seams_is_refused() {
    let bench = Bench::new(&sized_identity([None, Some(2), None, None]), 40, 40);
    let at = |name: &str| bench.folder.path().join(name).to_str().unwrap().to_owned();
    let (model, raster, absent) = (at("model.onnx"), at("in.tif"), at("no.tif"));
    for (arguments, said, code) in [
        (vec!["inspect", &raster, "--seams", &raster], "--seams is for models", 2),
        (vec!["inspect", &model, "--seams", &absent], "no.tif", 3),
        (vec!["inspect", &model, "--seams", &model], "model.onnx", 9),
        (vec!["inspect", &model, "--blend", "crop"], "--seams <RASTER>", 2),
        (vec!["inspect", &model, "--seams", &raster, "--blend", "none"], "unknown blend", 2),
        (vec!["inspect", &model, "--seams", &raster, "--params", "all"], "cannot be used with", 2),
    ] {
        let done = glebe(&arguments);
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(text.contains(said) && text.lines().count() == 1, "{arguments:?}: {text}");
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(done.stdout.is_empty());
    }
}
