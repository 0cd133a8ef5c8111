//! `glebe export`: model + checkpoint → ONNX, and what it says about its rasters.

use std::path::{Path, PathBuf};
use std::process::Output;

use glebe::ErrorKind::{self, *};
use glebe::geometry::Band;
use glebe::model::{Contract, Tags};
use glebe::onnx::{Document, Facts, Limits};
use serde_json::Value;

use crate::command_line::glebe;
use crate::fixtures::{golden_picture, read_raster, sized_identity, write_raster};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A folder with a model, checkpoints, and everything unsound that the cases need.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        let copy = |from: &str, to: &str| assert!(std::fs::copy(golden(from), bench.at(to)).unwrap() > 0);
        copy("train/unet.ts17.onnx", "unet.onnx");
        copy("train/unet.external17.onnx", "external.onnx");
        copy("train/unet.external17.data", "unet.external17.data");
        copy("train/convnext.ts17.onnx", "convnext.onnx");
        copy("segment/conv.onnx", "conv.onnx");
        for name in ["loaded.ckpt", "loaded.head.pth", "loaded.safetensors", "foreign.pth"] {
            copy(&format!("checkpoints/{name}"), name);
        }
        let model = std::fs::read(bench.at("unet.onnx")).unwrap();
        std::fs::write(bench.at("cut.onnx"), &model[..model.len() / 2]).unwrap();
        std::fs::write(bench.at("text.txt"), "neither model nor checkpoint").unwrap();
        std::fs::write(bench.at("taken.onnx"), "precious").unwrap();
        std::fs::create_dir(bench.at("folder")).unwrap();
        std::fs::write(bench.at("fixed.onnx"), sized_identity([Some(1), Some(3), Some(64), Some(64)]))
            .unwrap();
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs it in the folder, where names are those of files.
    fn export(&self, arguments: &[&str]) -> Output {
        std::process::Command::new(env!("CARGO_BIN_EXE_glebe"))
            .current_dir(self.0.path())
            .arg("export")
            .args(arguments)
            .output()
            .unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn texts(done: &Output) -> (String, String) {
    (String::from_utf8(done.stdout.clone()).unwrap(), String::from_utf8(done.stderr.clone()).unwrap())
}

fn tags(path: &Path) -> Tags {
    let document = Document::open(path, &Limits::default()).unwrap();
    Tags::of(&Contract::of(&document, &Facts::of(&document), None).unwrap())
}

#[test]
fn message_counts_and_file() {
    let bench = Bench::new();
    let arguments = ["unet.onnx", "loaded.ckpt", "-o", "out.onnx", "--class-names", "a,b,c,d,e"];
    let done =
        bench.export(&[&arguments[..], &["--bands", "3,2,1", "--scale", "255", "--tile", "64"]].concat());
    let (out, said) = texts(&done);
    assert!(done.status.success(), "{said}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "Loading checkpoint that was created at (epoch = 2, global_step = 4)");
    let bytes = std::fs::metadata(bench.at("out.onnx")).unwrap().len();
    assert_eq!(lines[1], format!("wrote out.onnx, {bytes} bytes"));
    assert!(lines.contains(&"  glebe.bands = [3,2,1]") && lines.len() == 8, "{out}");
    assert_eq!(said, "27 loaded, without the prefix \"model.\", 5 not of floating point\n");
    let own = tags(&bench.at("out.onnx"));
    assert_eq!(own.bands.unwrap(), [3, 2, 1].map(|band| Band::new(band).unwrap()));
    assert_eq!((own.class_names.unwrap().join(""), own.tile), ("abcde".to_owned(), Some(64)));
    assert_eq!(own.normalisation.unwrap().scale(), [255.0]);

    // The same once more is the same file; as JSON it says what was done.
    let done = bench.export(&[
        "unet.onnx",
        "loaded.ckpt",
        "-o",
        "again.onnx",
        "--json",
        "--class-names",
        "a,b,c,d,e",
    ]);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&report["file"], &report["merged"]), (&"again.onnx".into(), &Value::Array(vec![])));
    assert_eq!(report["bytes"], std::fs::metadata(bench.at("again.onnx")).unwrap().len());
    assert_eq!(report["message"], lines[0]);
    assert_eq!(report["report"]["loaded"].as_array().unwrap().len(), 27);
    assert_eq!(report["metadata"]["glebe.class_names"], r#"["a","b","c","d","e"]"#);
    let more = ["again.onnx", "-o", "out2.onnx", "--bands", "3,2,1", "--scale", "255", "--tile", "64"];
    assert!(bench.export(&more).status.success());
    let quiet = bench.export(&["again.onnx", "-q", "-o", "out2.onnx", "--overwrite", "--tile", "64"]);
    assert_eq!(texts(&quiet), (String::new(), String::new()));
    assert_eq!(tags(&bench.at("out2.onnx")).bands, None);

    // Weights of another file are within this one.
    let done = bench.export(&["external.onnx", "-o", "folder/whole.onnx", "--tile", "32"]);
    assert!(done.status.success(), "{}", texts(&done).1);
    let whole = Document::open(bench.at("folder/whole.onnx"), &Limits::default()).unwrap();
    assert!(!Facts::of(&whole).external_data);

    // In part, and all names of what does not fit.
    let (_, said) = texts(&bench.export(&["-v", "unet.onnx", "loaded.head.pth", "-o", "part.onnx"]));
    assert!(
        said.contains("\nunexpected auxiliary.weight\n") && said.contains("\nmisshaped head.bias ("),
        "{said}"
    );
    let done = bench.export(&["unet.onnx", "loaded.head.pth", "-o", "part.onnx", "--partial"]);
    let (_, said) = texts(&done);
    assert!(
        done.status.success() && said.starts_with("25 loaded, 5 not of floating point, 1 unexpected"),
        "{said}"
    );
    let filtered =
        ["unet.onnx", "loaded.head.pth", "-o", "filtered.onnx", "--filter", "!head.*,!auxiliary.*"];
    assert!(bench.export(&filtered).status.success());
    assert_eq!(
        std::fs::read(bench.at("filtered.onnx")).unwrap(),
        std::fs::read(bench.at("part.onnx")).unwrap()
    );
}

/// The file says what the options said: the same map without them.
#[test]
fn segment_needs_no_options_any_more() {
    let bench = Bench::new();
    write_raster(&bench.at("scene.tif"), &golden_picture("image.png"), None);
    let how =
        ["--scale", "255", "--mean", "0.5", "--std", "0.25,0.25,0.25", "--bands", "3,2,1", "--tile", "64"];
    let done = bench.export(&[&["conv.onnx", "-o", "tagged.onnx"], &how[..]].concat());
    assert!(done.status.success(), "{}", texts(&done).1);
    let path = |name: &str| bench.at(name).to_str().unwrap().to_owned();
    let segment = |model: &str, out: &str, more: &[&str]| {
        let (model, scene, out) = (path(model), path("scene.tif"), path(out));
        let done = glebe(&[&["segment", &model, &scene, "-o", &out, "--threads", "1"], more].concat());
        assert!(done.status.success(), "{}", texts(&done).1);
        read_raster(Path::new(&out))
    };
    let (plain, told) = (segment("conv.onnx", "plain.tif", &[]), segment("conv.onnx", "told.tif", &how));
    assert_eq!(segment("tagged.onnx", "tagged.tif", &[]), told);
    assert_ne!(plain, told);
}

#[test]
fn what_is_wrong_is_said_in_one_line_and_nothing_is_written() {
    let bench = Bench::new();
    let before = bench.names();
    let content = |name: &str| std::fs::read(bench.at(name)).unwrap();
    let inputs =
        ["unet.onnx", "loaded.ckpt", "taken.onnx", "unet.external17.data"].map(|name| (name, content(name)));
    let cases: &[(&[&str], ErrorKind, &str)] = &[
        (&["nothing.onnx", "loaded.ckpt", "-o", "o.onnx"], NotFound, "nothing.onnx"),
        (&["unet.onnx", "nothing.ckpt", "-o", "o.onnx"], NotFound, "nothing.ckpt"),
        (&["unet.onnx", "loaded.ckpt", "-o", "nowhere/o.onnx"], NotFound, "nowhere"),
        (&["unet.onnx", "loaded.ckpt"], InvalidArgument, "--out"),
        (&["unet.onnx", "-o", "o.onnx"], InvalidArgument, "nothing to export"),
        (&["text.txt", "loaded.ckpt", "-o", "o.onnx"], ModelInvalid, "text.txt"),
        (&["cut.onnx", "loaded.ckpt", "-o", "o.onnx"], ModelInvalid, "cut.onnx"),
        (&["folder", "loaded.ckpt", "-o", "o.onnx"], InvalidArgument, "is a folder"),
        (&["unet.onnx", "text.txt", "-o", "o.onnx"], InvalidArgument, "text.txt"),
        (&["unet.onnx", "unet.onnx", "-o", "o.onnx"], InvalidArgument, "unet.onnx"),
        (&["unet.onnx", "foreign.pth", "-o", "o.onnx"], InvalidArgument, "system"),
        (&["convnext.onnx", "loaded.ckpt", "-o", "o.onnx"], Mismatch, "28 missing"),
        (&["unet.onnx", "loaded.head.pth", "-o", "o.onnx"], Mismatch, "2 of another shape: head.weight"),
        (&["unet.onnx", "loaded.ckpt", "-o", "o.onnx", "--prefix", "student."], InvalidArgument, "student."),
        (&["unet.onnx", "loaded.ckpt", "-o", "o.onnx", "--key", "model_ema"], NotFound, "model_ema"),
        (&["unet.onnx", "loaded.ckpt", "-o", "o.onnx", "--filter", "!*"], Mismatch, "nothing is left"),
        (&["unet.onnx", "loaded.ckpt", "-o", "o.onnx", "--norm-epsilon", "-1"], InvalidArgument, "epsilon"),
        (&["unet.onnx", "loaded.ckpt", "-o", "o.onnx", "--averages"], InvalidArgument, "moving averages"),
        (&["unet.onnx", "loaded.ckpt", "-o", "o.onnx", "--lora-alpha", "0"], InvalidArgument, "alpha"),
        (&["unet.onnx", "-o", "o.onnx", "--averages"], InvalidArgument, "CHECKPOINT"),
        (&["unet.onnx", "loaded.ckpt", "-o", "taken.onnx"], AlreadyExists, "taken.onnx"),
        (&["unet.onnx", "loaded.ckpt", "-o", "folder"], InvalidArgument, "folder"),
        (&["unet.onnx", "loaded.ckpt", "-o", "unet.onnx", "--overwrite"], InvalidArgument, "same file"),
        (&["unet.onnx", "loaded.ckpt", "-o", "./loaded.ckpt", "--overwrite"], InvalidArgument, "same file"),
        (
            &["external.onnx", "-o", "unet.external17.data", "--overwrite", "--tile", "32"],
            InvalidArgument,
            "weights of the model",
        ),
        (&["unet.onnx", "-o", "o.onnx", "--class-names", "a,b"], Mismatch, "expected 5"),
        (&["unet.onnx", "-o", "o.onnx", "--class-names", "a,b,,d,e"], InvalidArgument, "class 2"),
        (&["unet.onnx", "-o", "o.onnx", "--bands", "1,2"], Mismatch, "expects 3 bands"),
        (&["unet.onnx", "-o", "o.onnx", "--bands", "1,2,0"], InvalidArgument, "--bands"),
        (&["unet.onnx", "-o", "o.onnx", "--mean", "1,2"], Mismatch, "mean"),
        (&["unet.onnx", "-o", "o.onnx", "--scale", "0"], InvalidArgument, "scale"),
        (&["unet.onnx", "-o", "o.onnx", "--std", "nan"], InvalidArgument, "std"),
        (&["unet.onnx", "-o", "o.onnx", "--tile", "0"], InvalidArgument, "tile"),
        (&["unet.onnx", "-o", "o.onnx", "--tile", "99999"], InvalidArgument, "16384"),
        (&["fixed.onnx", "-o", "o.onnx", "--tile", "32"], Mismatch, "64"),
        (&["unet.onnx", "-o", "o.onnx", "--tile", "32", "--output", "none"], InvalidArgument, "none"),
    ];
    for (arguments, kind, words) in cases {
        let done = bench.export(arguments);
        let (out, said) = texts(&done);
        assert_eq!(done.status.code(), Some(kind.code()), "{arguments:?}: {said}");
        assert!(said.lines().count() == 1 && said.contains(words), "{arguments:?}: {said}");
        assert!(out.is_empty(), "{arguments:?}: {out}");
        assert_eq!(bench.names(), before, "{arguments:?}");
    }
    for (name, before) in inputs {
        assert_eq!(content(name), before, "{name}");
    }
}
