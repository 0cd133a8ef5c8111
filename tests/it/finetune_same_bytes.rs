//! `glebe finetune`: one seed, one result; also with other threads, and after an end in the middle.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::finetune_bench::{Bench, files_of};

/// Everything that is drawn: windows, order, augmentation; validation, tests, averages.
const ALL: &[&str] = &[
    "--val",
    "@b.tif;@b-labels.tif",
    "--test",
    "@b.tif;@b-labels.tif",
    "--sampling",
    "balanced",
    "--samples",
    "6",
    "--augment",
    "strong",
    "--lr",
    "0.01",
    "--class-names",
    "ground,house",
    "--epochs",
    "3",
    "--set",
    "optimizer.ema_decay=0.9",
    "--set",
    "outputs.keep_checkpoints=2",
];

/// `ALL`, with other values and more options.
fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut all = Vec::new();
    for pair in ALL.chunks(2) {
        if pair[0] == "--set" || !more.contains(&pair[0]) {
            all.extend(pair);
        }
    }
    all.extend(more);
    all
}

/// What a run has written: all but its record, which has times in it, and without its own name.
fn written(bench: &Bench, out: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = bench.at(out);
    let mut all = BTreeMap::new();
    for (path, bytes) in files_of(&folder) {
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let bytes = match name.as_str() {
            "run.toml" => continue,
            "config.toml" => lines_but(&bytes, "out = "),
            "progress.log" => without_times(&bytes),
            _ => bytes,
        };
        all.insert(name, bytes);
    }
    all
}

/// A log without its last column.
fn without_times(log: &[u8]) -> Vec<u8> {
    let lines = std::str::from_utf8(log).unwrap().lines();
    let kept: Vec<&str> = lines.filter_map(|line| Some(line.rsplit_once('\t')?.0)).collect();
    assert!(kept.len() > 10, "{kept:?}");
    kept.join("\n").into_bytes()
}

/// What a run that had several beginnings has in common with one that had one: it was tested after each, and logged what
/// it did twice.
fn without_beginnings(mut all: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    all.retain(|name, _| name != "progress.log" && !name.contains("/test_batch-"));
    all
}

fn lines_but(text: &[u8], start: &str) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap();
    text.lines().filter(|line| !line.starts_with(start)).collect::<Vec<_>>().join("\n").into_bytes()
}

fn same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>, what: &str) {
    let names = |own: &BTreeMap<String, Vec<u8>>| own.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    let differ: Vec<&String> = found.keys().filter(|name| found[*name] != expected[*name]).collect();
    assert!(differ.is_empty(), "{what}: {differ:?} differ");
}

#[test]
fn one_seed_gives_one_result_and_another_seed_another() {
    let bench = Bench::new();
    for out in ["one", "two"] {
        bench.done(&with(&["--out", &format!("@{out}")]));
    }
    let (one, two) = (written(&bench, "one"), written(&bench, "two"));
    for name in [
        "model.onnx",
        "config.toml",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "checkpoints/epoch-3.safetensors",
        "Train/epoch_metrics.csv",
        "Val/epoch_metrics.csv",
        "batch_losses.csv",
        "curves.svg",
        "best_validation_epoch/Test/metrics.csv",
    ] {
        assert!(one.contains_key(name), "{name}: {:?}", one.keys());
    }
    same(&two, &one, "the same seed");
    bench.done(&with(&["--out", "@other", "--seed", "7"]));
    let other = written(&bench, "other");
    for name in ["model.onnx", "checkpoints/last.safetensors", "batch_losses.csv", "Val/epoch_metrics.csv"] {
        assert_ne!(other[name], one[name], "{name}");
    }
}

#[test]
fn threads_that_make_samples_change_nothing() {
    let bench = Bench::new();
    let found = ["0", "1", "3"].map(|threads| {
        let out = format!("with-{threads}");
        bench.done(&with(&["--out", &format!("@{out}"), "--loader-threads", threads]));
        let mut all = written(&bench, &out);
        all.insert("config.toml".to_owned(), lines_but(&all["config.toml"], "loader_threads = "));
        all
    });
    same(&found[1], &found[0], "one thread");
    same(&found[2], &found[0], "three threads");
}

#[test]
fn a_run_that_was_short_at_first_is_that_of_all_epochs() {
    let bench = Bench::new();
    bench.done(&with(&["--out", "@whole", "--epochs", "4"]));
    let expected = without_beginnings(written(&bench, "whole"));
    let parts = |out: &str| without_beginnings(written(&bench, out));
    for schedule in ["constant", "exponential"] {
        let out = format!("@{schedule}");
        let same_schedule = ["--schedule", schedule, "--out", &out];
        for (epochs, done) in [("1", 1), ("3", 3), ("4", 4)] {
            let resume: &[&str] = if done == 1 { &[] } else { &["--resume"] };
            let report = bench.done(&with(&[&same_schedule[..], &["--epochs", epochs], resume].concat()));
            assert_eq!((&report["epochs"], &report["steps"]), (&done.into(), &(3 * done).into()));
        }
        if schedule == "constant" {
            same(&parts("constant"), &expected, "three parts");
        } else {
            bench.done(&with(&["--out", "@decayed", "--epochs", "4", "--schedule", schedule]));
            same(&parts(schedule), &parts("decayed"), "three parts that decay");
        }
    }
    // Nothing is left to do: nothing changes.
    bench.done(&with(&["--out", "@whole", "--epochs", "4", "--resume"]));
    same(&parts("whole"), &expected, "once more");
}

#[cfg(unix)]
#[test]
fn runs_that_were_killed_end_as_if_they_had_not_been() {
    const MOMENTS: u32 = 10;
    let bench = Bench::new();
    let options = |out: &'static str| with(&["--out", out, "--epochs", "6"]);
    let from = Instant::now();
    bench.done(&options("@whole"));
    let lasted = from.elapsed();
    let expected = without_beginnings(written(&bench, "whole"));
    let mut killed = 0;
    for moment in 1..=MOMENTS {
        let mut command = bench.command(&options("@killed"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(lasted.mul_f64(f64::from(moment) / f64::from(MOMENTS)));
        // SIGKILL: nothing in the program can answer it.
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        // Also one that has hardly begun.
        let mut command = bench.command(&[&options("@killed")[..], &["--resume"]].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(moment) * 40));
        child.kill().unwrap();
        child.wait().unwrap();
        bench.done(&[&options("@killed")[..], &["--resume"]].concat());
        same(&without_beginnings(written(&bench, "killed")), &expected, &format!("moment {moment}"));
        std::fs::remove_dir_all(bench.at("killed")).unwrap();
    }
    assert!(killed >= MOMENTS / 2, "only {killed} runs were killed before they had ended");
}

#[test]
fn a_folder_in_which_hardly_anything_was_done_is_gone_on_with() {
    let bench = Bench::new();
    std::fs::create_dir(bench.at("out")).unwrap();
    // What a run leaves that was killed while it wrote its first file.
    bench.file("out/.config.toml.glebe-99999999-0.tmp.toml", "model");
    bench.done(&with(&["--resume"]));
    bench.done(&with(&["--out", "@whole"]));
    same(&written(&bench, "out"), &written(&bench, "whole"), "begun anew");
}
