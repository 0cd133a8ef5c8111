//! `glebe finetune` from labelled rasters to a better model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use glebe::finetune::{Checkpoint, Config};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::proto::ModelProto;
use ndarray::{Array2, Array3, s};
use prost::Message as _;
use serde_json::Value;

use crate::command_line::glebe;
use crate::finetune_bench::{
    Bench, SIDE, is_square, network, square_features, square_labels, squares, write,
};
use crate::fixtures::{labels, read_raster, runtime};

/// Learns in two epochs.
const LEARNS: &[&str] = &[
    "--epochs",
    "2",
    "--samples",
    "40",
    "--lr",
    "0.02",
    "--class-names",
    "ground,house",
    "--augment",
    "flips",
];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A score by its name in a list of names and values.
fn score(metrics: &Value, name: &str) -> f64 {
    let all = metrics.as_array().unwrap_or_else(|| panic!("{metrics}"));
    let found = all.iter().find(|own| own[0] == name).unwrap_or_else(|| panic!("{name} in {metrics}"));
    found[1].as_f64().unwrap()
}

/// Intersection over union of a class, pixel by pixel.
fn iou(found: &Array2<u8>, expected: &Array2<u8>, class: u8) -> f64 {
    let count = |own: fn(bool, bool) -> bool| {
        found.iter().zip(expected).filter(|(a, b)| own(**a == class, **b == class)).count() as f64
    };
    count(|a, b| a && b) / count(|a, b| a || b)
}

/// Rows of a CSV by column.
fn columns(path: &Path) -> BTreeMap<String, Vec<f64>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for row in reader.records() {
        for (name, value) in names.iter().zip(&row.unwrap()) {
            all.entry(name.clone()).or_default().push(value.parse().unwrap_or(f64::NAN));
        }
    }
    all
}

/// The weights of a model file by name, as bytes.
fn weights(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let model = ModelProto::decode(&std::fs::read(path).unwrap()[..]).unwrap();
    let own = |tensor: glebe::onnx::proto::TensorProto| {
        let raw = tensor.raw_data.map(|bytes| bytes.to_vec());
        let plain = || tensor.float_data.iter().flat_map(|own| own.to_le_bytes()).collect();
        (tensor.name, raw.unwrap_or_else(plain))
    };
    model.graph.unwrap().initializer.into_iter().map(own).collect()
}

/// Those of a checkpoint.
fn checkpoint_weights(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let checkpoint = glebe::weights::checkpoint::Checkpoint::open(path).unwrap();
    let bytes = |tensor: glebe::weights::tensors::NamedTensor| match tensor.elements {
        glebe::weights::tensors::Elements::F32(values) => {
            values.iter().flat_map(|own| own.to_le_bytes()).collect::<Vec<u8>>()
        }
        other => panic!("{other:?}"),
    };
    checkpoint.read_all().unwrap().into_iter().map(|(name, tensor)| (name, bytes(tensor))).collect()
}

/// Four bands, of which the first says nothing and the others come in another order; the truth is computed here.
#[test]
fn a_run_learns_and_its_model_needs_no_options() {
    let bench = Bench::new();
    for (name, seed) in [("a4.tif", 1), ("b4.tif", 2)] {
        let mut image: Array3<u8> = squares(4, seed);
        image.slice_mut(s![0, .., ..]).fill(77);
        write(&bench.at(name), &image, |_| {});
    }
    let options = [
        LEARNS,
        &[
            "--train",
            "@a4.tif;@a-labels.tif",
            "--val",
            "@b4.tif;@b-labels.tif",
            "--test",
            "@b4.tif;@b-labels.tif",
        ],
        &["--bands", "4,2,3", "--mean", "0.4", "--std", "0.2,0.25,0.3", "--report", "@report.json"],
    ]
    .concat();
    let report = bench.done(&options);
    let stored: Value = serde_json::from_slice(&std::fs::read(bench.at("report.json")).unwrap()).unwrap();
    assert_eq!(stored, report);
    assert_eq!((&report["epochs"], &report["steps"]), (&2.into(), &40.into()));
    let model = bench.at("out/model.onnx");
    assert_eq!(report["model"], text(&model));

    // Before, and by brute force after.
    let map = |model: &Path, name: &str, more: &[&str]| {
        let path = bench.at(name);
        let image = bench.at("b4.tif");
        let done = glebe(&[&["segment", text(model), text(&image), "-o", text(&path)], more].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        labels(&read_raster(&path))
    };
    let given = ["--bands", "4,2,3", "--scale", "255", "--mean", "0.4", "--std", "0.2,0.25,0.3"];
    let truth = square_labels().index_axis(ndarray::Axis(0), 0).to_owned();
    let before = iou(&map(&bench.at("model.onnx"), "before.tif", &given), &truth, 1);
    let found = map(&model, "after.tif", &[]);
    let after = iou(&found, &truth, 1);
    assert!(after > before + 0.3 && after > 0.8, "{before} {after}");
    // The options that it learned with change nothing.
    assert_eq!(map(&model, "given.tif", &given), found);
    for part in ["val", "test"] {
        let maps = &report["maps"][part];
        assert!((score(maps, "IoU/house") - after).abs() < 1e-12, "{maps} {after}");
        assert!((score(maps, "IoU/ground") - iou(&found, &truth, 0)).abs() < 1e-12, "{maps}");
        assert!((score(maps, "MeanIoU") - (after + iou(&found, &truth, 0)) / 2.0).abs() < 1e-12, "{maps}");
    }
    // Window by window the network sees less of what lies around.
    assert!((score(&report["test"], "IoU/house") - after).abs() < 0.05);

    let model = Model::open(runtime(), &model, &ModelOptions::default()).unwrap();
    let contract = model.contract();
    let bands: Vec<u32> = contract.bands().unwrap().iter().map(|band| band.number()).collect();
    assert_eq!((bands, contract.suggested_tile()), (vec![4, 2, 3], Some(32)));
    assert_eq!(contract.class_names().unwrap(), ["ground", "house"]);
    let normalisation = contract.normalisation();
    assert_eq!((normalisation.scale(), normalisation.mean()), (&[255.0][..], &[0.4][..]));
    assert_eq!(normalisation.std(), [0.2, 0.25, 0.3]);
}

#[test]
fn sizes_come_first_and_what_is_trained_second() {
    let bench = Bench::new();
    let parts = ["--val", "@b.tif;@b-labels.tif", "--test", "@b.tif;@b-labels.tif"];
    let done = bench.finetune(&[LEARNS, &parts].concat());
    let (stdout, stderr) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert!(done.status.success(), "{stderr}");
    let rows: Vec<&str> = stdout.lines().filter(|line| !line.starts_with(' ')).collect();
    let expected = [
        "training          40 samples an epoch, from 1 image in 4 windows of 32 x 32",
        "validation  4 samples an epoch, from 1 image in 4 windows of 32 x 32",
        "test        4 samples an epoch, from 1 image in 4 windows of 32 x 32",
        "trained     242 of 242 numbers (all), BatchNorm frozen",
        "input       bands 1,2,3, scale 255, mean 0, std 1",
        "with        ce, adamw, learning rate 0.02",
        "memory",
        "length      40 steps in 2 epochs of 20; 2 images a batch",
        "folder",
        "weights",
        "best",
        "test, windows",
        "validation, maps",
        "test, maps",
        "done",
        "model",
    ];
    let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(rows.len(), expected.len(), "{stdout}");
    for (row, expected) in rows.iter().zip(expected) {
        assert!(plain(row).starts_with(&plain(expected)), "{row:?}: {expected:?}");
    }
    // Shares of the classes, counted here.
    let houses = (0..SIDE * SIDE).filter(|at| is_square(at % SIDE, at / SIDE)).count() as f64;
    let share = 100.0 * houses / (SIDE * SIDE) as f64;
    let shares = format!("ground {:.1} %, house {share:.1} %", 100.0 - share);
    assert_eq!(stdout.matches(&shares).count(), 3, "{stdout}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    for (line, epoch) in lines.iter().zip(1..) {
        assert!(line.starts_with(&format!("epoch {epoch} of 2: loss ")), "{line}");
        assert!(line.contains("validation loss") && line.contains("mean IoU"), "{line}");
    }
    // Without validation that is said, and quiet is quiet.
    let done = bench.finetune(&["--out", "@plain"]);
    let stderr = String::from_utf8(done.stderr).unwrap();
    assert!(stderr.starts_with("note: there are no validation data"), "{stderr}");
    let done = bench.finetune(&["-q", "--out", "@quiet"]);
    assert!(done.status.success() && done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
}

#[test]
fn the_best_weights_are_exported_or_the_last() {
    let bench = Bench::new();
    let val = ["--val", "@b.tif;@b-labels.tif", "--epochs", "2", "--lr", "0.3", "--samples", "8"];
    let report = bench.done(&[&val[..], &["--out", "@best"]].concat());
    let losses = &columns(&bench.at("best/Val/epoch_metrics.csv"))["loss"];
    assert_eq!(losses.len(), 2);
    let best = losses.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    // Else this says nothing.
    assert!(best.0 < 1, "{losses:?}");
    assert_eq!(report["best"][0], "val/Loss");
    assert!((report["best"][1].as_f64().unwrap() - best.1).abs() < 1e-6, "{report} {losses:?}");
    let kept = Checkpoint::read(bench.at("best/checkpoints/best.safetensors")).unwrap();
    assert_eq!((kept.epoch, kept.global_step), (best.0 as u64 + 1, 4 * (best.0 as u64 + 1)));
    assert!(report["checkpoint"].as_str().unwrap().contains(&format!("epoch = {}", kept.epoch)), "{report}");
    let in_model = |run: &str, checkpoint: &str| {
        let model = weights(&bench.at(&format!("{run}/model.onnx")));
        let stored = checkpoint_weights(&bench.at(&format!("{run}/checkpoints/{checkpoint}.safetensors")));
        ["encoder.weight", "encoder.bias", "head.weight", "head.bias"]
            .iter()
            .all(|name| model[*name] == stored[*name])
    };
    assert!(in_model("best", "best") && !in_model("best", "last"));
    let report = bench.done(&[&val[..], &["--out", "@last", "--best", "last"]].concat());
    assert_eq!(report["best"], Value::Null);
    assert!(in_model("last", "last") && !bench.at("last/checkpoints/best.safetensors").exists());
    // The highest value of a score.
    let report = bench.done(&[&val[..], &["--out", "@score", "--best", "val/IoU/1"]].concat());
    let scores = &columns(&bench.at("score/Val/epoch_metrics.csv"))["IoU/1"];
    let most = scores.iter().copied().fold(f64::MIN, f64::max);
    assert!((report["best"][1].as_f64().unwrap() - most).abs() < 1e-6, "{report} {scores:?}");
}

#[test]
fn a_list_of_areas_has_all_parts() {
    let bench = Bench::new();
    bench.file("squares.geojson", square_features(|_| String::new()));
    write(&bench.at("c.tif"), &squares(3, 3), |_| {});
    bench.file(
        "areas.csv",
        "a.tif,a-labels.tif,trn\nb.tif,squares.geojson,val,north\nc.tif,squares.geojson,tst\nb.tif,,inference\n",
    );
    let report = bench.done(&["--train", "@areas.csv"]);
    for part in ["train", "val", "test"] {
        assert_eq!(report["data"][part]["images"], 1, "{part}");
    }
    assert!(score(&report["test"], "Loss") > 0.0 && score(&report["maps"]["test"], "Accuracy") > 0.0);
    // A share of the training lines in place of those for validation, and other tests.
    let other = ["--val-fraction", "0.25", "--test", "@b.tif;@b-labels.tif", "--out", "@other"];
    let report = bench.done(&[&["--train", "@areas.csv"][..], &other].concat());
    let pixels = |part: &str| -> u64 {
        report["data"][part]["class_pixels"].as_array().unwrap().iter().map(|own| own.as_u64().unwrap()).sum()
    };
    assert_eq!(pixels("train"), 3 * pixels("val"));
    // Every row of a test is of a window that is told, and these cover the image.
    let rows = |file: &str| -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(bench.at(file)).unwrap();
        text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let windows = rows("other/test_windows.csv");
    // Those of the metrics have the best first.
    let patients = |rows: &[Vec<String>]| rows.iter().map(|row| row[0].clone()).collect::<BTreeSet<_>>();
    assert_eq!(patients(&rows("other/best_validation_epoch/Test/metrics.csv")), patients(&windows));
    assert_eq!(patients(&windows).len(), 4);
    let mut corners: Vec<[&str; 2]> = Vec::new();
    for row in &windows {
        assert!(row[1].ends_with("b.tif"), "{row:?}");
        assert_eq!(row[4..], ["32", "32"], "{row:?}");
        corners.push([&row[2], &row[3]]);
    }
    assert_eq!(corners, [["0", "0"], ["32", "0"], ["0", "32"], ["32", "32"]]);
}

/// Rectangles on the edges of pixels are the same labels, whatever their file.
#[test]
fn vector_labels_are_burned_on_the_way() {
    let bench = Bench::new();
    bench.file(
        "squares.geojson",
        square_features(|number| format!(r#""kind":"{}""#, ["house", "barn"][number % 2])),
    );
    let labels = "@a.tif;@squares.geojson";
    let rasters = bench.done(&["--out", "@rasters"]);
    for (out, more) in [
        ("plain", &[][..]),
        ("field", &["--label-field", "kind", "--classes", "house=1,barn=1"]),
        ("others", &["--label-field", "kind", "--classes", "*=1"]),
    ] {
        let report = bench.done(&[&["--train", labels, "--out", &format!("@{out}")], more].concat());
        assert_eq!(report["data"], rasters["data"], "{out}");
        let read = |run: &str, name: &str| std::fs::read(bench.at(&format!("{run}/{name}"))).unwrap();
        for name in ["batch_losses.csv", "checkpoints/last.safetensors", "model.onnx"] {
            assert_eq!(read(out, name), read("rasters", name), "{out}: {name}");
        }
    }
    // Barns do not count.
    let some = ["--label-field", "kind", "--classes", "house=1,barn=ignore", "--out", "@some"];
    let report = bench.done(&[&["--train", labels], &some[..]].concat());
    let pixels =
        |report: &Value, class: usize| report["data"]["train"]["class_pixels"][class].as_u64().unwrap();
    assert_eq!(pixels(&report, 0), pixels(&rasters, 0));
    assert!(pixels(&report, 1) > 0 && pixels(&report, 1) < pixels(&rasters, 1));
}

#[test]
fn a_share_of_the_training_data_becomes_validation_data() {
    let bench = Bench::new();
    let whole = bench.done(&["--out", "@whole"]);
    let pixels = |report: &Value, part: &str| -> Vec<u64> {
        let all = report["data"][part]["class_pixels"].as_array().unwrap();
        all.iter().map(|own| own.as_u64().unwrap()).collect()
    };
    let own = ["--val-fraction", "0.25", "--val-block", "16"];
    let report = bench.done(&[&own[..], &["--out", "@share"]].concat());
    let (train, val) = (pixels(&report, "train"), pixels(&report, "val"));
    let sum: Vec<u64> = train.iter().zip(&val).map(|(a, b)| a + b).collect();
    assert_eq!(sum, pixels(&whole, "train"));
    // 4 of 16 blocks.
    assert_eq!(val.iter().sum::<u64>(), 4 * 16 * 16);
    // The whole map is scored on those alone.
    assert!(score(&report["maps"]["val"], "Accuracy") > 0.0);
    let other = bench.done(&[&own[..], &["--out", "@other", "--seed", "3"]].concat());
    assert_ne!(pixels(&other, "val"), val);
    let images =
        ["--train", "@b.tif;@b-labels.tif", "--train", "@a.tif;@a-labels.tif", "--val-unit", "image"];
    let report = bench.done(&[&images[..], &["--val-fraction", "0.5", "--out", "@images"]].concat());
    assert_eq!(
        (&report["data"]["train"]["images"], &report["data"]["val"]["images"]),
        (&1.into(), &1.into())
    );
    assert_eq!(pixels(&report, "val"), pixels(&whole, "train"));
}

/// A single house on an image of ground: balanced windows lie on it half of the time.
#[test]
fn balanced_windows_lie_on_rare_classes() {
    let bench = Bench::new();
    let mut labels = Array3::<u8>::zeros((1, SIDE, SIDE));
    labels.slice_mut(s![0, 50..52, 8..10]).fill(1);
    write(&bench.at("rare.tif"), &labels, |_| {});
    let houses = |sampling: &str, more: &[&str]| {
        let out = format!("@{sampling}{}", more.len());
        let own = ["--train", "@a.tif;@rare.tif", "--size", "8", "--samples", "200", "--sampling", sampling];
        let report = bench.done(&[&own[..], &["--lr", "0", "--bn", "frozen", "--out", &out], more].concat());
        assert_eq!(report["data"]["train"]["samples"], 200);
        // Logits that say a house everywhere tell how many pixels were none: the loss of a batch is the mean of the two.
        let losses = columns(&bench.at(&format!("{}/batch_losses.csv", &out[1..])));
        losses.values().next_back().unwrap().clone()
    };
    bench.file("model.onnx", decided());
    // Loss 0 in windows of ground, above in all others.
    let share =
        |losses: &[f64]| losses.iter().filter(|loss| **loss > 1e-3).count() as f64 / losses.len() as f64;
    let one = &["--batch", "1", "--augment", "none"][..];
    let (random, balanced) = (share(&houses("random", one)), share(&houses("balanced", one)));
    let always = [one, &["--set", "sampling.class_shares=[0, 1]"]].concat();
    assert_eq!(share(&houses("balanced", &always)), 1.0);
    // 9 x 9 places of 57 x 57 see a part of it.
    assert!(random < 0.1 && (0.4..0.65).contains(&balanced), "{random} {balanced}");
}

/// Says ground everywhere, surely.
fn decided() -> Vec<u8> {
    crate::fixtures::constant_network(3, &[20.0, -20.0])
}

#[test]
fn steps_end_a_run_within_an_epoch() {
    let bench = Bench::new();
    let val = ["--val", "@b.tif;@b-labels.tif"];
    let report = bench.done(&[&val[..], &["--steps", "5", "--epochs", "2"]].concat());
    assert_eq!((&report["steps"], &report["epochs"]), (&5.into(), &2.into()));
    let last = Checkpoint::read(bench.at("out/checkpoints/last.safetensors")).unwrap();
    assert_eq!((last.epoch, last.global_step), (2, 5));
    assert_eq!(columns(&bench.at("out/batch_losses.csv")).values().next().unwrap().len(), 5);
    assert_eq!(columns(&bench.at("out/Val/epoch_metrics.csv"))["loss"].len(), 2);
    let report = bench.done(&["--steps", "3", "--epochs", "-", "--accumulate", "2", "--out", "@sums"]);
    assert_eq!((&report["steps"], &report["epochs"]), (&3.into(), &3.into()));
    assert_eq!(columns(&bench.at("sums/batch_losses.csv")).values().next().unwrap().len(), 6);
}

#[test]
fn settings_win_over_options_and_these_over_the_file() {
    let bench = Bench::new();
    bench.file(
        "some.toml",
        "[data]\nscale = 100\n[training]\nlearning_rate = 0.1\nseed = 5\nloss = \"dice\"\nbatch = 4\n[run]\nahead = 7\n",
    );
    bench.done(&["--config", "@some.toml", "--lr", "0.2", "--seed", "6", "--set", "training.seed=7"]);
    let config = Config::read(bench.at("out/config.toml"), &[]).unwrap();
    let training = &config.training;
    assert_eq!(
        (training.learning_rate, training.seed, training.loss.to_string()),
        (0.2, 7, "dice".to_owned())
    );
    // The options of all runs of these tests.
    assert_eq!(
        (config.data.scale.as_deref(), training.batch, config.run.ahead),
        (Some(&[255.0][..]), Some(2), 7)
    );
    bench.done(&["--config", "@some.toml", "--scale", "-", "--batch", "-", "--out", "@file"]);
    let config = Config::read(bench.at("file/config.toml"), &[]).unwrap();
    assert_eq!((config.data.scale.as_deref(), config.training.batch), (Some(&[100.0][..]), Some(4)));
    // What a run has written is a configuration that gives it again.
    let again =
        ["--model", "--train", "--size", "--batch", "--epochs", "--threads", "--scale"].map(|own| [own, "-"]);
    let again = [&["--config", "@file/config.toml", "--out", "@again"], again.as_flattened()].concat();
    bench.done(&again);
    let read = |name: &str| std::fs::read(bench.at(name)).unwrap();
    assert_eq!(read("again/model.onnx"), read("file/model.onnx"));
    assert_eq!(read("again/batch_losses.csv"), read("file/batch_losses.csv"));
}

#[test]
fn a_folder_knows_how_its_run_goes_on() {
    let bench = Bench::new();
    let bare = ["--model", "--train", "--size", "--batch", "--threads", "--scale"].map(|own| [own, "-"]);
    bench.done(&["--lr", "0.01", "--augment", "strong"]);
    let report = bench.done(&[&["--resume", "--epochs", "3"], bare.as_flattened()].concat());
    assert_eq!((&report["epochs"], &report["steps"]), (&3.into(), &6.into()));
    assert!(report["checkpoint"].as_str().unwrap().contains("epoch = 1"), "{report}");
    bench.done(&["--lr", "0.01", "--augment", "strong", "--epochs", "3", "--out", "@whole"]);
    let read = |name: &str| std::fs::read(bench.at(name)).unwrap();
    assert_eq!(read("out/model.onnx"), read("whole/model.onnx"));
    assert_eq!(Config::read(bench.at("out/config.toml"), &[]).unwrap().training.epochs, Some(3));
}

#[test]
fn a_run_starts_from_a_checkpoint() {
    let bench = Bench::new();
    let val = ["--val", "@b.tif;@b-labels.tif", "--best", "last"];
    bench.done(&[LEARNS, &val].concat());
    let loss = |run: &str| columns(&bench.at(&format!("{run}/Val/epoch_metrics.csv")))["loss"].clone();
    let start = ["--init", "@out/checkpoints/last.safetensors", "--class-names", "ground,house"];
    let report = bench.done(&[&val[..], &start, &["--lr", "0", "--out", "@second"]].concat());
    assert_eq!(loss("second")[0], loss("out")[1]);
    assert!(report["init"][0].as_str().unwrap().contains("epoch = 2"), "{report}");
    assert_eq!(weights(&bench.at("second/model.onnx")), weights(&bench.at("out/model.onnx")));
    // A part of it, into a model with other classes.
    bench.file("three.onnx", network(3, 3));
    let part = ["--model", "@three.onnx", "--init", "@out/checkpoints/last.safetensors", "--lr", "0"];
    bench.done(
        &[&part[..], &["--set", "init.filter=encoder.*", "--set", "init.partial=true", "--out", "@part"]]
            .concat(),
    );
    let (found, first) = (weights(&bench.at("part/model.onnx")), weights(&bench.at("out/model.onnx")));
    assert_eq!(found["encoder.weight"], first["encoder.weight"]);
    assert_eq!(found["head.weight"], weights(&bench.at("three.onnx"))["head.weight"]);
}

#[test]
fn a_run_has_a_folder_of_its_own_by_default() {
    let bench = Bench::new();
    let before = bench.listing();
    let report = bench.done(&["--out", "-"]);
    let made: Vec<_> = bench.listing().into_keys().filter(|path| !before.contains_key(path)).collect();
    let folder = bench.at(report["out"].as_str().unwrap());
    assert!(made.iter().all(|path| path.starts_with(&folder)) && made.contains(&folder.join("model.onnx")));
    let name = folder.file_name().unwrap().to_str().unwrap();
    let digits = name.strip_prefix("glebe-").unwrap();
    let (date, time) = digits.split_once('-').unwrap();
    assert!(
        [(date, 8), (time, 6)]
            .iter()
            .all(|(own, len)| own.len() == *len && own.bytes().all(|d| d.is_ascii_digit()))
    );
}

#[test]
fn a_run_that_fails_in_the_middle_says_where() {
    let bench = Bench::new();
    // The rate throws the weights out of all bounds.
    let wild = ["--optimizer", "sgd", "--lr", "1e30", "--samples", "20"];
    let done = bench.finetune(&[&["-q"], &wild[..]].concat());
    let stderr = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(glebe::ErrorKind::InvalidState.code()), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.contains("epoch 1, batch"), "{stderr}");
    assert!(!bench.at("out/model.onnx").exists() && bench.at("out/config.toml").exists());
}

/// Pixels without a number are pixels without data: they change nothing but the count.
#[test]
fn pixels_that_are_no_numbers_do_not_count() {
    let bench = Bench::new();
    let image = squares(3, 1).mapv(f32::from);
    let mut holes = Vec::new();
    for (name, value) in [("nan", f32::NAN), ("inf", f32::INFINITY), ("nodata", -9999.0)] {
        let mut own = image.clone();
        own.slice_mut(s![.., 3..5, 20..23]).fill(value);
        // One band is enough for none to be known.
        own[[1, 40, 40]] = value;
        write(&bench.at(&format!("{name}.tif")), &own, |spec| {
            spec.nodata = (name == "nodata").then_some(-9999.0);
        });
        let train = format!("@{name}.tif;@a-labels.tif");
        let own = ["--set", "data.nodata_rule=any", "--lr", "0.01", "--out"];
        let report = bench.done(&[&["--train", &train], &own[..], &[&format!("@{name}")]].concat());
        let pixels = report["data"]["train"]["class_pixels"].as_array().unwrap();
        let counted: u64 = pixels.iter().map(|own| own.as_u64().unwrap()).sum();
        holes.push((name, (SIDE * SIDE) as u64 - counted));
        for loss in columns(&bench.at(&format!("{name}/batch_losses.csv"))).values().next_back().unwrap() {
            assert!(loss.is_finite(), "{name}");
        }
    }
    assert_eq!(holes, [("nan", 7), ("inf", 7), ("nodata", 7)]);
    let read = |name: &str| std::fs::read(bench.at(name)).unwrap();
    assert_eq!(read("nan/model.onnx"), read("nodata/model.onnx"));
}
