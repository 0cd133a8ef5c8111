//! `glebe step --init`: weights of a checkpoint to start from.

use std::path::{Path, PathBuf};
use std::process::Output;

use glebe::ErrorKind;
use serde_json::Value;

use crate::command_line::glebe;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// One step with a learning rate of 0 on a small U-Net.
fn step(checkpoint: &str, more: &[&str]) -> Output {
    let [model, batches, checkpoint] = [
        golden("train/unet.ts17.onnx"),
        golden("train/batches.safetensors"),
        golden("checkpoints").join(checkpoint),
    ]
    .map(|path| path.to_str().unwrap().to_owned());
    let start = ["step", &model, "--batches", &batches, "--ignore-index", "255", "--lr", "0", "--steps", "1"];
    glebe(&[&start[..], &["--init", &checkpoint], more].concat())
}

fn texts(done: &Output) -> (String, String) {
    (String::from_utf8(done.stdout.clone()).unwrap(), String::from_utf8(done.stderr.clone()).unwrap())
}

#[test]
fn the_message_comes_first_and_the_counts_go_to_stderr() {
    let done = step("loaded.ckpt", &[]);
    let (out, said) = texts(&done);
    assert!(done.status.success(), "{said}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "Loading checkpoint that was created at (epoch = 2, global_step = 4)");
    assert!(lines[1].starts_with("step 1 loss ") && lines.len() == 2, "{out}");
    let first = said.lines().next().unwrap();
    assert_eq!(first, "27 loaded, without the prefix \"model.\", 5 not of floating point");
    // Nothing where the file says nothing, and nothing on stderr where that is asked for.
    let (out, said) = texts(&step("loaded.safetensors", &["-q"]));
    assert!(out.starts_with("step 1 loss ") && said.is_empty(), "{out}{said}");
    // The same weights under other names.
    assert_eq!(lines[1], out.trim_end());
    let json = |checkpoint: &str| -> Value {
        serde_json::from_slice(&step(checkpoint, &["--json"]).stdout).unwrap()
    };
    let report = json("loaded.parallel.pth");
    assert_eq!(report["init"]["message"], "Loading checkpoint that was created at (epoch = 11)");
    assert_eq!(report["init"]["report"]["loaded"].as_array().unwrap().len(), 27);
    assert_eq!(report["init"]["report"]["stripped"], "module.");
    assert_eq!(report["losses"], json("loaded.safetensors")["losses"]);
}

#[test]
fn what_does_not_fit_is_named() {
    let done = step("loaded.head.pth", &[]);
    let (out, said) = texts(&done);
    assert_eq!(done.status.code(), Some(ErrorKind::Mismatch.code()));
    assert!(out.is_empty() && said.lines().count() == 1, "{out}{said}");
    for name in
        ["1 unexpected: \"auxiliary.weight\"", "2 of another shape: head.weight (expected [5, 6, 3, 3]"]
    {
        assert!(said.contains(name), "{said}");
    }
    // With -v a line each, before the error.
    let (_, said) = texts(&step("loaded.head.pth", &["-v"]));
    assert!(
        said.contains("\nunexpected auxiliary.weight\n") && said.contains("\nmisshaped head.bias ("),
        "{said}"
    );
    let done = step("loaded.head.pth", &["--init-partial"]);
    let (_, said) = texts(&done);
    assert!(done.status.success(), "{said}");
    assert!(
        said.starts_with(
            "25 loaded, 5 not of floating point, 1 unexpected, 2 of another shape\n\
             1 unexpected: \"auxiliary.weight\"; 2 of another shape: head.weight ("
        ),
        "{said}"
    );
    let (partial, _) = texts(&step("loaded.head.pth", &["--init-partial", "-q"]));
    let (filtered, _) = texts(&step("loaded.head.pth", &["--init-filter", "!head.*,!auxiliary.*", "-q"]));
    assert_eq!(partial, filtered);
    let (whole, _) = texts(&step("loaded.safetensors", &["-q"]));
    assert_ne!(partial, whole);
}

#[test]
fn settings_reach_the_mapping() {
    for (checkpoint, more, kind, said) in [
        ("loaded.ckpt", &["--init-prefix", "student."][..], ErrorKind::InvalidArgument, "\"student.\""),
        ("loaded.ckpt", &["--init-key", "model_ema"], ErrorKind::NotFound, "model_ema"),
        ("loaded.ckpt", &["--init-norm-epsilon", "-1"], ErrorKind::InvalidArgument, "epsilon"),
        ("loaded.ckpt", &["--init-filter", "!*"], ErrorKind::Mismatch, "nothing is left"),
        ("loaded.ckpt", &["--init-filter", "a,,b"], ErrorKind::InvalidArgument, "pattern"),
        ("nothing.ckpt", &[], ErrorKind::NotFound, "nothing.ckpt"),
        ("foreign.pth", &[], ErrorKind::InvalidArgument, "system"),
    ] {
        let done = step(checkpoint, more);
        let (out, error) = texts(&done);
        assert_eq!(done.status.code(), Some(kind.code()), "{error}");
        assert!(error.lines().count() == 1 && error.contains(said), "{error}");
        assert!(!out.contains("step 1"), "{out}");
    }
    assert!(step("loaded.ckpt", &["--init-prefix", "model."]).status.success());
    assert!(step("loaded.ckpt", &["--init-prefix", "model"]).status.success());
    assert!(step("loaded.ckpt", &["--init-key", "state_dict"]).status.success());
    // Without a checkpoint they have nothing to say.
    let (model, batches) = (golden("train/unet.ts17.onnx"), golden("train/batches.safetensors"));
    let done =
        glebe(&["step", model.to_str().unwrap(), "--batches", batches.to_str().unwrap(), "--init-partial"]);
    assert_eq!(done.status.code(), Some(ErrorKind::InvalidArgument.code()));
}

/// Nobody writes into the pipe: whoever opened it would wait for ever.
#[cfg(unix)]
#[test]
fn a_pipe_is_not_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let done = glebe(&["inspect", pipe.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(ErrorKind::InvalidArgument.code()));
    assert!(texts(&done).1.contains("not a regular file"));
}

/// The checkpoint is an input: no output takes its place.
#[test]
fn the_checkpoint_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own.ckpt");
    std::fs::copy(golden("checkpoints/loaded.ckpt"), &own).unwrap();
    let before = std::fs::read(&own).unwrap();
    let own = own.to_str().unwrap();
    for output in ["--weights", "--state"] {
        let done = step(own, &[output, own, "--overwrite"]);
        assert_eq!(done.status.code(), Some(ErrorKind::InvalidArgument.code()));
    }
    assert_eq!(std::fs::read(own).unwrap(), before);
}
