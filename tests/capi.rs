//! The C ABI from C: programs compiled against `include/glebe.h` and linked to `libglebe.so`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is the report of a test")]
#![cfg(all(target_os = "linux", feature = "raster"))]

#[path = "capi/harness.rs"]
mod harness;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use glebe::raster::{OpenOptions, Raster};

use harness::{SIZE, class, compile, fixtures, label, root, run};

/// Compiles and runs `tests/capi/NAME.c` on fresh fixtures.
fn program(name: &str) -> tempfile::TempDir {
    let folder = fixtures();
    let program = compile(&root().join(format!("tests/capi/{name}.c")), folder.path());
    run(Command::new(program).arg(folder.path()));
    folder
}

fn has_the_classes(path: &Path) {
    let raster = Raster::open(path, &OpenOptions::default()).unwrap();
    assert_eq!(raster.size(), SIZE);
    let bands = raster.color_bands();
    let window = glebe::geometry::Window::of(SIZE);
    let samples = raster.read(&bands, window, glebe::geometry::Padding::Reflect).unwrap();
    for ((_, y, x), got) in samples.to_f64().indexed_iter() {
        assert_eq!(*got, class(y, x), "row {y}, column {x}");
    }
}

#[test]
fn the_library_as_a_whole() {
    program("library");
}

#[test]
fn models() {
    program("model");
}

#[test]
fn options_of_every_size() {
    program("options");
}

#[test]
fn arrays() {
    program("array");
}

#[test]
fn evaluation() {
    program("evaluate");
}

#[test]
fn rasters() {
    let folder = program("raster");
    has_the_classes(&folder.path().join("out.tif"));
}

#[test]
fn training_steps() {
    program("trainer");
}

#[test]
fn checkpoints() {
    program("checkpoint");
}

#[test]
fn the_example_of_training() {
    let folder = fixtures();
    let program = compile(&root().join("examples/c/finetune.c"), folder.path());
    let at = |name: &str| folder.path().join(name);
    let output = run(Command::new(&program).args([at("batches.onnx"), at("tuned.onnx")]));
    let text = String::from_utf8(output.stdout).unwrap();
    let losses: Vec<f64> =
        text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(losses.len(), 30);
    assert!(losses[29] < 0.8 * losses[0], "{text}");
    assert!(at("tuned.onnx").is_file());
    // A model for single images cannot take the example's batches of two.
    let output = Command::new(&program).args([at("bands.onnx"), at("x.onnx")]).output().unwrap();
    assert_eq!(output.status.code(), Some(glebe::ErrorKind::Mismatch.code()));
    let output = Command::new(&program).args([at("none.onnx"), at("x.onnx")]).output().unwrap();
    assert_eq!(output.status.code(), Some(glebe::ErrorKind::NotFound.code()));
    assert!(!at("x.onnx").exists());
}

#[test]
fn the_example_of_epochs() {
    let folder = fixtures();
    let program = compile(&root().join("examples/c/fit.c"), folder.path());
    let at = |name: &str| folder.path().join(name);
    let run_it = || {
        let arguments = [at("batches.onnx"), at("tuned.onnx"), at("checkpoints")];
        String::from_utf8(run(Command::new(&program).args(arguments)).stdout).unwrap()
    };
    let text = run_it();
    let losses: Vec<f64> =
        text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(losses.len(), 5);
    assert!(losses[4] < 0.8 * losses[0], "{text}");
    assert!(text.starts_with("epoch 1 of 5, loss "), "{text}");
    assert!(at("tuned.onnx").is_file());
    assert!(at("checkpoints/curves.svg").is_file());
    let table = std::fs::read_to_string(at("checkpoints/Val/epoch_metrics.csv")).unwrap();
    assert_eq!(table.lines().count(), 6, "{table}");
    // Again: there is nothing left to do.
    let expected = "Loading checkpoint that was created at (epoch = 5, global_step = 15)\n";
    assert_eq!(run_it(), expected);
    let output =
        Command::new(&program).args([at("none.onnx"), at("x.onnx"), at("checkpoints")]).output().unwrap();
    assert_eq!(output.status.code(), Some(glebe::ErrorKind::NotFound.code()));
}

#[test]
fn runs_and_their_events() {
    program("fit");
}

#[test]
fn files_of_a_run_and_callbacks_of_the_library() {
    program("outputs");
}

#[test]
fn runs_under_memcheck() {
    memcheck("tests/capi/fit.c", &[""]);
}

#[test]
fn training_under_memcheck() {
    memcheck("tests/capi/trainer.c", &[""]);
}

#[test]
fn checkpoints_under_memcheck() {
    memcheck("tests/capi/checkpoint.c", &[""]);
}

#[test]
fn exported_models() {
    program("export");
}

#[test]
fn exports_under_memcheck() {
    memcheck("tests/capi/export.c", &[""]);
}

#[test]
fn the_example_of_rasters() {
    let folder = fixtures();
    let program = compile(&root().join("examples/c/finetune_rasters.c"), folder.path());
    let at = |name: &str| folder.path().join(name);
    let pair = format!("{};{}", at("in.tif").display(), at("labels.tif").display());
    let arguments = [at("batches.onnx").into_os_string(), pair.clone().into(), pair.into(), at("run").into()];
    let text = String::from_utf8(run(Command::new(&program).args(&arguments)).stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    let loss = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    assert!(loss(lines[4]) < loss(lines[0]) && lines[0].starts_with("epoch 1 of 5, loss "), "{text}");
    for (line, name) in lines[5..].iter().zip(["run/model.onnx", "run/scores.json", "run/best.onnx"]) {
        assert_eq!(Path::new(line), at(name));
        assert!(at(name).is_file());
    }
    let scores = std::fs::read_to_string(at("run/scores.json")).unwrap();
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    assert!(scores["mean_iou"].as_f64().unwrap() > 0.0);
    assert!(at("run/model.onnx").is_file() && at("run/curves.svg").is_file());
    // A second run does not write over the first.
    let again = Command::new(&program).args(&arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(glebe::ErrorKind::AlreadyExists.code()));
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.starts_with("already-exists: ") && again.stdout.is_empty(), "{said}");
}

#[test]
fn finetunings() {
    let folder = program("finetune");
    let map = Raster::open(folder.path().join("map.tif"), &OpenOptions::default()).unwrap();
    let window = glebe::geometry::Window::of(SIZE);
    let found = map.read(&map.color_bands(), window, glebe::geometry::Padding::Reflect).unwrap().to_f64();
    let pixels = || (0..SIZE.height).flat_map(|y| (0..SIZE.width).map(move |x| (y, x)));
    let right = |is: &dyn Fn(usize, usize) -> f64| {
        let count = pixels().filter(|(y, x)| is(*y, *x) == f64::from(label(*y, *x))).count();
        count as f64 / SIZE.pixels() as f64
    };
    let accuracy = right(&|y, x| found[[0, y, x]]);
    assert!(accuracy > right(&class), "{accuracy}");
    let text = std::fs::read_to_string(folder.path().join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    for part in ["val", "test"] {
        let scores = report["maps"][part].as_array().unwrap();
        let own = scores.iter().find(|score| score[0] == "Accuracy").unwrap();
        assert!((own[1].as_f64().unwrap() - accuracy).abs() < 1e-12, "{part}: {own}, {accuracy}");
    }
}

#[test]
fn finetunings_under_memcheck() {
    memcheck("tests/capi/finetune.c", &[""]);
}

#[test]
fn callbacks_and_their_user_data() {
    let folder = program("callback");
    has_the_classes(&folder.path().join("finished.tif"));
}

#[test]
fn log_messages() {
    program("log");
}

#[test]
fn threads_and_signals() {
    program("threads");
}

#[test]
fn a_forked_child() {
    program("fork");
}

#[test]
fn the_example() {
    let folder = fixtures();
    let program = compile(&root().join("examples/c/segment.c"), folder.path());
    let at = |name: &str| folder.path().join(name);
    let output = run(Command::new(&program).args([at("bands.onnx"), at("in.tif"), at("out.tif")]));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["pixels"], SIZE.pixels());
    has_the_classes(&at("out.tif"));

    // The exit code is the status, and the message names the file.
    let output =
        Command::new(&program).args([at("bands.onnx"), at("none.tif"), at("out.tif")]).output().unwrap();
    assert_eq!(output.status.code(), Some(glebe::ErrorKind::NotFound.code()));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("not-found: ") && text.contains("none.tif"), "{text}");
    assert_eq!(Command::new(&program).output().unwrap().status.code(), Some(2));
}

/// C++ includes the same header, more than once, and links the same names.
#[test]
fn the_header_is_cpp_too() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("twice.cc");
    let text = "#include <glebe.h>\n#include <glebe.h>\nint main() { return glebe_abi_version() == GLEBE_ABI_VERSION ? 0 : 1; }\n";
    std::fs::write(&source, text).unwrap();
    let program = folder.path().join("twice");
    let link = harness::link_folder();
    let mut command = Command::new(std::env::var("CXX").unwrap_or_else(|_| "g++".into()));
    command
        .args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wold-style-cast"])
        .arg("-I")
        .arg(root().join("include"))
        .args([source.as_os_str(), "-o".as_ref(), program.as_os_str(), "-L".as_ref(), link.as_os_str()])
        .args(["-lglebe".to_owned(), format!("-Wl,-rpath,{}", link.display())]);
    run(&mut command);
    run(&mut Command::new(program));
}

/// Runs a program under memcheck: no invalid access, nothing definitely lost. Says so where valgrind is absent.
fn memcheck(name: &str, arguments: &[&str]) {
    if Command::new("valgrind").arg("--version").output().is_err() {
        #[allow(clippy::print_stdout, reason = "a test that did not run says so")]
        {
            let _ = writeln!(std::io::stderr(), "skipped: valgrind is not installed");
        }
        return;
    }
    let folder = fixtures();
    let program = compile(&root().join(name), folder.path());
    let mut command = Command::new("valgrind");
    command
        .args(["--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"])
        .args(["--show-leak-kinds=definite", "--num-callers=40", "--quiet"])
        .arg(format!("--suppressions={}", root().join("tests/capi/valgrind.supp").display()))
        .arg(program)
        .args(arguments.iter().map(|name| folder.path().join(name)))
        // Programs that repeat themselves do so less often.
        .env("GLEBE_TEST_MEMCHECK", "1");
    run(&mut command);
}

#[test]
fn the_example_under_memcheck() {
    memcheck("examples/c/segment.c", &["bands.onnx", "in.tif", "out.tif"]);
}

#[test]
fn models_under_memcheck() {
    memcheck("tests/capi/model.c", &[""]);
}

#[test]
fn callbacks_under_memcheck() {
    memcheck("tests/capi/callback.c", &[""]);
}
