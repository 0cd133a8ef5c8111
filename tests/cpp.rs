//! `include/glebe.hpp`, its example, and what `make install` leaves behind: compiled, run, and run under valgrind.
//!
//! Needs a C++ compiler; CMake, pkg-config and valgrind where they are installed (`skipped: …` is printed else).
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use glebe::geometry::{Band, Size, Window};
use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::raster::{Format, Georeference, OpenOptions, Raster, RasterWriter, WriteSpec};
use glebe::tensor::{Sample, Samples};
use ndarray::{Array3, Axis, Zip};
use tempfile::TempDir;

const WARNINGS: [&str; 9] = [
    "-std=c++17",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wold-style-cast",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The number in the library's name, as `build.rs` has it.
fn abi() -> String {
    let text = std::fs::read_to_string(root().join("build.rs")).unwrap();
    let (_, rest) = text.split_once("const ABI_VERSION: u32 = ").unwrap();
    rest.split_once(';').unwrap().0.to_owned()
}

/// A command that knows nothing of this process's environment but where programs lie.
///
/// With the whole path of the program, so that the standard library has no need of fork: its child would wait for ever
/// in PROJ's fork handler where another test holds PROJ's lock at that moment.
fn command(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let path = std::env::var_os("PATH").unwrap();
    let places = || std::env::split_paths(&path).map(|folder| folder.join(program));
    let place = places().find(|place| place.is_file()).unwrap_or_else(|| Path::new("/").join(program));
    let mut command = Command::new(place);
    command.env_clear().env("PATH", path);
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Whether a program is there; says so where it is not.
fn have(program: &str) -> bool {
    let found = command(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        // Not through eprintln, which the test harness keeps to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed");
    }
    found
}

/// What was built, as `make link` lays it out: the library of this very build lies beside this test.
fn lay_out(folder: &Path) {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let library = deps.join("libglebe.so");
    symlink(&library, folder.join("libglebe.so")).unwrap();
    symlink("libglebe.so", folder.join(format!("libglebe.so.{}", abi()))).unwrap();
    symlink(env!("CARGO_BIN_EXE_glebe"), folder.join("glebe")).unwrap();
    for entry in deps.join("..").read_dir().unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("libonnxruntime.so.") {
            symlink(entry.path().canonicalize().unwrap(), folder.join(entry.file_name())).unwrap();
        }
    }
}

/// The input comes back: `[N, 2, H, W]` of any size.
fn identity() -> Vec<u8> {
    let shape: [Dim; 4] = ["n".into(), Dim::Fixed(2), "h".into(), "w".into()];
    let mut graph = GraphBuilder::new("identity");
    let x = graph.input("image", ElementType::Float32, &shape);
    let y = graph.node("Identity", &[&x]).output("logits");
    graph.output(&y, ElementType::Float32, &shape);
    graph.finish().unwrap()
}

/// Two bands with the greater value now here, now there.
fn picture() -> Array3<u8> {
    Array3::from_shape_fn((2, 40, 50), |(c, y, x)| ((x * (c + 3) + y * (7 - 2 * c)) % 200) as u8)
}

/// A 1 x 1 convolution of two bands to two classes, for batches of any size.
fn linear() -> Vec<u8> {
    let mut graph = GraphBuilder::new("linear");
    let dims = [Dim::from("n"), Dim::Fixed(2), Dim::from("h"), Dim::from("w")];
    let x = graph.input("x", ElementType::Float32, &dims);
    let weight = graph.initializer_f32("weight", &[2, 2, 1, 1], &[1.0, 0.0, 0.0, 1.0]);
    let y = graph.node("Conv", &[&x, &weight]).output("y");
    graph.output(&y, ElementType::Float32, &dims);
    graph.finish().unwrap()
}

/// The models and rasters that bindings/cpp/tests names.
fn write_fixtures(folder: &Path) {
    std::fs::write(folder.join("identity.onnx"), identity()).unwrap();
    std::fs::write(folder.join("linear.onnx"), linear()).unwrap();
    std::fs::write(folder.join("broken.onnx"), "this is not a model").unwrap();
    let image = picture();
    // The classes that linear.onnx gives, the other way round.
    let (first, second) = (image.index_axis(Axis(0), 0), image.index_axis(Axis(0), 1));
    let truth = Zip::from(first).and(second).map_collect(|first, second| u8::from(first >= second));
    write_raster(&folder.join("truth.tif"), truth.insert_axis(Axis(0)));
    write_raster(&folder.join("raster.tif"), image);
}

fn write_raster(path: &Path, image: Array3<u8>) {
    let (bands, height, width) = image.dim();
    let mut spec = WriteSpec::new(Size::new(width, height), bands, u8::DATA_TYPE);
    spec.format = Format::GTiff;
    spec.georeference = Georeference::default();
    spec.georeference.transform = Some([500_000.0, 2.0, 0.0, 4_000_000.0, 0.0, -2.0]);
    let mut writer = RasterWriter::create(path, spec).unwrap();
    writer.write(Window::new(0, 0, width, height), u8::wrap(image).view()).unwrap();
    writer.finish().unwrap();
}

fn read(path: &Path) -> Samples {
    let raster = Raster::open(path, &OpenOptions::default()).unwrap();
    let bands = Band::first(raster.info().bands.len());
    raster.read(&bands, Window::of(raster.size()), Default::default()).unwrap()
}

/// The greater channel of each pixel of the picture, the first on ties.
fn check_classes(path: &Path) {
    let Samples::U8(classes) = read(path) else { panic!("classes are not u8") };
    let image = picture();
    for ((_, y, x), class) in classes.indexed_iter() {
        assert_eq!(*class, u8::from(image[[1, y, x]] > image[[0, y, x]]), "row {y}, column {x}");
    }
}

/// The example and the tests, compiled once against the library in `folder`, which has the fixtures too.
struct Programs {
    folder: PathBuf,
    example: PathBuf,
    tests: PathBuf,
}

fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cpp");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        lay_out(&folder);
        write_fixtures(&folder);
        let tests = sources(&root().join("bindings/cpp/tests"));
        Programs {
            example: compile(&folder, "segment", &[root().join("examples/cpp/segment.cpp")]),
            tests: compile(&folder, "tests", &tests),
            folder,
        }
    })
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension() == Some(OsStr::new("cpp")));
    found.sort();
    found
}

fn compile(folder: &Path, name: &str, sources: &[PathBuf]) -> PathBuf {
    let program = folder.join(name);
    let mut compiler = command("c++");
    compiler.args(WARNINGS).args(["-g", "-pthread", "-I"]).arg(root().join("include")).args(sources);
    compiler.arg("-L").arg(folder).arg("-lglebe").arg("-o").arg(&program);
    done(compiler.arg(format!("-Wl,-rpath,{}", folder.display())));
    program
}

/// The command under valgrind; what it finds is exit code 99.
fn valgrind(program: &Path) -> Command {
    let mut command = command("valgrind");
    command.args(["-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
    command.args(["--show-leak-kinds=definite", "--num-callers=40"]);
    command.arg(format!("--suppressions={}", root().join("tests/capi/valgrind.supp").display()));
    command.arg(program);
    command
}

#[test]
fn the_wrapper_does_what_it_says() {
    let programs = programs();
    let output = text(done(command(&programs.tests).arg(&programs.folder)).stdout);
    assert!(output.contains(" 0 failed"), "{output}");
    // Written by the test files_in_files_out.
    let Samples::F32(logits) = read(&programs.folder.join("logits.tif")) else {
        panic!("logits are not f32")
    };
    assert_eq!(logits, picture().mapv(f32::from));
    let left: Vec<_> = programs.folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for name in ["thrown.tif", "late.tif", "cancelled.tif", "false.tif"] {
        assert!(!left.iter().any(|other| other == name), "{name}");
    }
}

#[test]
fn the_wrapper_under_valgrind() {
    if !have("valgrind") {
        return;
    }
    let programs = programs();
    // A folder of its own: the test above writes the same outputs.
    let folder = TempDir::new().unwrap();
    write_fixtures(folder.path());
    done(valgrind(&programs.tests).arg(folder.path()));
}

#[test]
fn the_header_stands_alone_in_every_standard() {
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("alone.cpp");
    std::fs::write(
        &source,
        "#include <glebe.hpp>\nint main() { glebe::SegmentOptions options; return 0; }\n",
    )
    .unwrap();
    for compiler in ["c++", "clang++"] {
        for standard in ["c++17", "c++20"] {
            if compiler == "clang++" && !have(compiler) {
                continue;
            }
            let mut command = command(compiler);
            command.args(WARNINGS).arg(format!("-std={standard}"));
            done(command.arg("-fsyntax-only").arg("-I").arg(root().join("include")).arg(&source));
        }
    }
    let mut older = command("c++");
    older.args(["-std=c++14", "-fsyntax-only", "-I"]).arg(root().join("include")).arg(&source);
    let output = older.output().unwrap();
    assert!(!output.status.success());
    assert!(text(output.stderr).contains("needs C++17"));
}

#[test]
fn the_example_scores_and_its_exit_code_is_the_status() {
    let programs = programs();
    let at = |name: &str| programs.folder.join(name);
    let mut command = command(&programs.example);
    let output = done(command.args([at("identity.onnx"), at("raster.tif"), at("example.tif")]).arg("255"));
    assert!(text(output.stderr).contains("tiles"));
    assert!(text(output.stdout).starts_with('{'));
    check_classes(&at("example.tif"));

    let fails = |arguments: &[PathBuf]| {
        let output = self::command(&programs.example).args(arguments).output().unwrap();
        (output.status.code().unwrap(), text(output.stderr))
    };
    let (code, told) = fails(&[at("none.onnx"), at("raster.tif"), at("example.tif")]);
    assert_eq!(code, glebe::ErrorKind::NotFound.code());
    assert!(told.contains("none.onnx"), "{told}");
    let (code, _) = fails(&[at("broken.onnx"), at("raster.tif"), at("example.tif")]);
    assert_eq!(code, glebe::ErrorKind::ModelInvalid.code());
    let (code, told) = fails(&[]);
    assert_eq!(code, glebe::ErrorKind::InvalidArgument.code());
    assert!(told.starts_with("usage"), "{told}");
    let lines = std::fs::read_to_string(root().join("examples/cpp/segment.cpp")).unwrap().lines().count();
    assert!(lines <= 80, "{lines} lines are no example");
}

#[test]
fn the_example_of_training_learns() {
    let programs = programs();
    let program = compile(&programs.folder, "finetune", &[root().join("examples/cpp/finetune.cpp")]);
    let folder = TempDir::new().unwrap();
    write_fixtures(folder.path());
    let at = |name: &str| folder.path().join(name);
    let output = text(done(command(&program).args([at("linear.onnx"), at("out.onnx")])).stdout);
    let losses: Vec<f64> =
        output.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(losses.len(), 30);
    assert!(losses[29] < 0.8 * losses[0], "{output}");
    assert!(at("out.onnx").is_file());
    let failed = command(&program).args([at("none.onnx"), at("x.onnx")]).output().unwrap();
    assert_eq!(failed.status.code(), Some(glebe::ErrorKind::NotFound.code()));
}

#[test]
fn the_example_of_epochs_goes_on() {
    let programs = programs();
    let program = compile(&programs.folder, "fit", &[root().join("examples/cpp/fit.cpp")]);
    let folder = TempDir::new().unwrap();
    write_fixtures(folder.path());
    let at = |name: &str| folder.path().join(name);
    let run = || {
        let arguments = [at("linear.onnx"), at("out.onnx"), at("checkpoints")];
        text(done(command(&program).args(arguments)).stdout)
    };
    let output = run();
    let losses: Vec<f64> =
        output.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(losses.len(), 5);
    assert!(losses[4] < 0.8 * losses[0], "{output}");
    assert!(at("out.onnx").is_file());
    assert!(at("checkpoints/curves.svg").is_file());
    let table = std::fs::read_to_string(at("checkpoints/Val/epoch_metrics.csv")).unwrap();
    assert_eq!(table.lines().count(), 6, "{table}");
    assert_eq!(run(), "Loading checkpoint that was created at (epoch = 5, global_step = 15)\n");
}

#[test]
fn the_example_of_rasters_learns() {
    let programs = programs();
    let program =
        compile(&programs.folder, "finetune_rasters", &[root().join("examples/cpp/finetune_rasters.cpp")]);
    let folder = TempDir::new().unwrap();
    write_fixtures(folder.path());
    let at = |name: &str| folder.path().join(name);
    let pair = format!("{};{}", at("raster.tif").display(), at("truth.tif").display());
    let arguments = [at("linear.onnx").into_os_string(), pair.clone().into(), pair.into(), at("run").into()];
    let output = text(done(command(&program).args(&arguments)).stdout);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 8, "{output}");
    let loss = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    assert!(loss(lines[4]) < loss(lines[0]) && lines[0].starts_with("epoch 1 of 5, loss "), "{output}");
    for (line, name) in lines[5..].iter().zip(["run/model.onnx", "run/scores.json", "run/best.onnx"]) {
        assert_eq!(Path::new(line), at(name));
        assert!(at(name).is_file());
    }
    let scores = std::fs::read_to_string(at("run/scores.json")).unwrap();
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    assert!(scores["mean_iou"].as_f64().unwrap() > 0.0);
    assert!(at("run/model.onnx").is_file() && at("run/curves.svg").is_file());
    // A second run does not write over the first.
    let again = command(&program).args(&arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(glebe::ErrorKind::AlreadyExists.code()));
}

#[test]
fn the_example_under_valgrind() {
    if !have("valgrind") {
        return;
    }
    let programs = programs();
    let output = TempDir::new().unwrap();
    let at = |name: &str| programs.folder.join(name);
    let mut command = valgrind(&programs.example);
    done(command.args([at("identity.onnx"), at("raster.tif"), output.path().join("map.tif")]));
    check_classes(&output.path().join("map.tif"));
}

#[path = "cpp/installed.rs"]
mod installed;
