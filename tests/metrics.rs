//! Metric files and scores against pandas, scikit-learn and SimpleITK: `tests/golden/metrics/make.py` says how.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use std::path::Path;

use glebe::metrics::{
    AggregateRows, ConfusionMatrix, Frame, FrameFile, Layout, PerImageMetrics, Record, Scores,
    surface_distances,
};
use serde_json::Value as Json;

fn cases(name: &str, at_least: usize) -> Vec<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics").join(name);
    let mut golden: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let Json::Array(cases) = golden["cases"].take() else { panic!("{name}: no cases") };
    assert!(cases.len() >= at_least, "{name}: {} cases", cases.len());
    cases
}

fn text<'a>(case: &'a Json, name: &str) -> &'a str {
    case[name].as_str().unwrap()
}

/// A number written by Python's `repr`.
fn number(value: &Json) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn tables_are_those_of_pandas() {
    let folder = tempfile::tempdir().unwrap();
    let (mut records, mut replaced) = (0, 0);
    for (index, case) in cases("frames.json", 500).iter().enumerate() {
        let layout = if text(case, "layout") == "tsv" { Layout::Tsv } else { Layout::Csv };
        let mut frame = Frame::with_layout(layout, Record::from_json(&case["fixed"]).unwrap());
        let path = folder.path().join(format!("{index}.csv"));
        let mut file = FrameFile::of(&path, frame.clone()).durable(false);
        for record in case["records"].as_array().unwrap() {
            let before = std::fs::read(&path).unwrap_or_default();
            let record = Record::from_json(record).unwrap();
            frame.add(record.clone()).unwrap();
            file.add(record).unwrap();
            // At every moment the file is what the reference would write then.
            let now = std::fs::read(&path).unwrap();
            assert_eq!(now, frame.to_csv().as_bytes(), "case {index}: {case}");
            replaced += usize::from(!before.is_empty() && !now.starts_with(&before));
            records += 1;
        }
        assert_eq!(frame.to_csv(), text(case, "text"), "case {index}: {case}");
    }
    assert!(records > 1000 && replaced > 20, "{records} records, {replaced} files written anew");
}

#[test]
fn scores_are_those_of_scikit_learn() {
    for (index, case) in cases("confusion.json", 70).iter().enumerate() {
        let labels = |name: &str| -> Vec<i64> {
            text(case, name).chars().map(|c| c.to_digit(10).map_or(255, i64::from)).collect()
        };
        let valid: Vec<bool> = text(case, "valid").chars().map(|c| c == '1').collect();
        let classes = usize::try_from(case["classes"].as_u64().unwrap()).unwrap();
        let (truth, predicted) = (labels("truth"), labels("predicted"));
        // In two batches, as over an epoch.
        let mut matrix = ConfusionMatrix::new(classes).unwrap().ignore_index(Some(255));
        let half = truth.len() / 2;
        matrix.add(&truth[..half], &predicted[..half], Some(&valid[..half])).unwrap();
        matrix.add(&truth[half..], &predicted[half..], Some(&valid[half..])).unwrap();
        let expected: Vec<u64> = serde_json::from_value(case["matrix"].clone()).unwrap();
        assert_eq!(matrix.counts(), expected, "case {index}");
        let scores = Scores::of(&matrix);
        let near = |got: f64, expected: &Json, what: &str| {
            let expected = number(expected);
            let near = (got - expected).abs() < 1e-12 || (got.is_nan() && expected.is_nan());
            assert!(near, "case {index}: {what} is {got}, not {expected}");
        };
        near(scores.accuracy, &case["accuracy"], "accuracy");
        near(scores.iou_without_background, &case["iou_without_background"], "IoU without background");
        for (name, average) in [("macro", scores.macro_mean), ("micro", scores.micro)] {
            near(average.iou, &case[name]["iou"], name);
            near(average.precision, &case[name]["precision"], name);
            near(average.recall, &case[name]["recall"], name);
            near(average.f1, &case[name]["f1"], name);
        }
        for (class, scores) in scores.classes.iter().enumerate() {
            near(scores.iou, &case["classwise"]["iou"][class], "IoU");
            near(scores.precision, &case["classwise"]["precision"][class], "precision");
            near(scores.recall, &case["classwise"]["recall"][class], "recall");
            near(scores.f1, &case["classwise"]["f1"][class], "F1");
            near(scores.dice, &case["classwise"]["f1"][class], "Dice");
        }
    }
}

#[test]
fn distances_are_those_of_simpleitk() {
    for (index, case) in cases("surfaces.json", 80).iter().enumerate() {
        let shape = |name: &str| -> Vec<bool> { text(case, name).chars().map(|c| c == '1').collect() };
        let size: [usize; 2] = serde_json::from_value(case["size"].clone()).unwrap();
        let spacing: [f64; 2] = serde_json::from_value(case["spacing"].clone()).unwrap();
        let far = surface_distances(&shape("truth"), &shape("predicted"), size, spacing).unwrap();
        // Its distance maps are in single precision.
        for (got, name) in [(far.hausdorff, "hausdorff"), (far.mean, "mean")] {
            let expected = case[name].as_f64().unwrap();
            let near = (got - expected).abs() <= 1e-6 * expected.max(1.0);
            assert!(near, "case {index}: {name} is {got}, not {expected}: {case}");
        }
    }
}

#[test]
fn files_of_images_are_those_of_pandas() {
    let mut dropped = 0;
    for (index, case) in cases("per_image.json", 60).iter().enumerate() {
        let mut metrics = PerImageMetrics::new();
        for row in case["rows"].as_array().unwrap() {
            let name = |column: usize| row[column].as_str().unwrap();
            metrics.add(name(0), name(1), number(&row[2]), number(&row[3]), number(&row[4]));
        }
        let total = case["total_patients"].as_bool().unwrap();
        assert_eq!(metrics.metrics_csv(), text(case, "metrics"), "case {index}");
        let all = metrics.aggregates_csv(total, AggregateRows::All);
        assert_eq!(all, text(case, "aggregates"), "case {index}");
        let kept = metrics.aggregates_csv(total, AggregateRows::DropEqual);
        assert_eq!(kept, text(case, "aggregates_without_equal"), "case {index}");
        dropped += usize::from(kept != all);
    }
    assert!(dropped > 0, "no case with two equal structures");
}
