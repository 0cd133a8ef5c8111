//! Loaders of a configuration for a trainer of one's own.

use glebe::data::{Labels, Loader, RasterLoader, Split};
use glebe::finetune::{Config, Finetuning};
use glebe::model::{Model, ModelOptions};
use glebe::{ErrorKind, Result};
use ndarray::Array3;

use crate::finetune_bench::{Bench, is_square, squares};
use crate::fixtures::runtime;

/// Windows of a batch, and their side.
const BATCH: usize = 3;
const SIDE: usize = 16;

fn config(bench: &Bench, more: &[&str]) -> Config {
    let at = |name: &str| bench.at(name).display().to_string();
    let mut settings = vec![
        format!("model={}", at("model.onnx")),
        format!("out={}", at("run")),
        format!("data.train={};{}", at("a.tif"), at("a-labels.tif")),
        format!("training.batch={BATCH}"),
        format!("training.size={SIDE}"),
    ];
    settings.extend(["data.scale=255", "data.std=0.5", "run.threads=1"].map(str::to_owned));
    settings.extend(more.iter().map(|own| own.replace('@', &at(""))));
    Config::parse("", &settings.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
}

fn loader(bench: &Bench, config: &Config, split: Split) -> Result<RasterLoader> {
    let model = Model::open(runtime(), bench.at("model.onnx"), &ModelOptions::default())?;
    config.loader(split, model.contract(), &[BATCH, 3, SIDE, SIDE], &[BATCH, 2, SIDE, SIDE])
}

#[test]
fn parts_are_those_of_a_finetuning() {
    let bench = Bench::new();
    let test = "data.test=@b.tif;@b-labels.tif";
    for val in ["data.val=@b.tif;@b-labels.tif", "data.val_fraction=0.25"] {
        let config = config(&bench, &[val, test, "sampling.kind=balanced", "training.steps=20"]);
        let found = Finetuning::new(runtime(), config.clone()).unwrap().found();
        let own = |split| loader(&bench, &config, split).unwrap().found().clone();
        assert_eq!(own(Split::Train), found.train);
        assert_eq!(Some(own(Split::Val)), found.val);
        assert_eq!(Some(own(Split::Test)), found.test);
        // Twenty steps in ten epochs of two.
        assert_eq!(found.train.samples, 2 * BATCH);
    }
    assert!(!bench.at("run").exists());
}

/// Windows side by side, with samples that are computed here.
#[test]
fn batches_hold_the_pixels_of_their_windows() {
    let bench = Bench::new();
    let config = config(&bench, &["data.val=@b.tif;@b-labels.tif"]);
    let image: Array3<u8> = squares(3, 2);
    let mut val = loader(&bench, &config, Split::Val).unwrap();
    val.begin(1).unwrap();
    // 16 windows in batches of 3.
    assert_eq!((val.batches(), val.images(5)), (6, Some(1)));
    for index in 0..6 {
        let counted = val.images(index).unwrap();
        let batch = val.batch(index).unwrap();
        let Labels::I32(labels) = batch.labels else { panic!("labels of another type") };
        for n in 0..counted {
            let window = index * BATCH + n;
            let (top, left) = (window / 4 * SIDE, window % 4 * SIDE);
            for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
                let place = (n * SIDE + y) * SIDE + x;
                assert_eq!(labels[place], i32::from(is_square(left + x, top + y)), "{window}: {y}, {x}");
                assert_eq!(batch.mask.unwrap()[place], 1);
                for band in 0..3 {
                    let expected = f64::from(image[[band, top + y, left + x]]) / 255.0 / 0.5;
                    let found = f64::from(batch.images[((n * 3 + band) * SIDE + y) * SIDE + x]);
                    assert!((found - expected).abs() < 1e-6, "{window}: {y}, {x}: {found}, {expected}");
                }
            }
        }
    }
}

#[test]
fn parts_that_there_are_not_are_refused() {
    let bench = Bench::new();
    let told = |settings: &[&str], split| {
        let error = loader(&bench, &config(&bench, settings), split).unwrap_err();
        (error.kind(), error.one_line())
    };
    for (settings, split, kind, said) in [
        (&[][..], Split::Val, ErrorKind::InvalidArgument, "data.val: expected at least one list"),
        (&[], Split::Test, ErrorKind::InvalidArgument, "data.test: expected at least one list"),
        (&["data.train=[]"], Split::Train, ErrorKind::InvalidArgument, "data.train: expected at least one"),
        (&["data.test=@none.csv"], Split::Test, ErrorKind::NotFound, "data.test: "),
        (&["data.bands=[1, 2]"], Split::Train, ErrorKind::Mismatch, "3 bands"),
        (&["training.accumulate=0"], Split::Train, ErrorKind::InvalidArgument, "training.accumulate"),
    ] {
        let (found, line) = told(settings, split);
        assert_eq!(found, kind, "{line}");
        assert!(line.contains(said), "{line}");
    }
    let model = Model::open(runtime(), bench.at("model.onnx"), &ModelOptions::default()).unwrap();
    let flat = config(&bench, &[]).loader(Split::Train, model.contract(), &[1, 3], &[1, 2]).unwrap_err();
    assert_eq!(flat.kind(), ErrorKind::Mismatch);
}
