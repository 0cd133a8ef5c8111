//! `glebe finetune` with settings, models and folders that are wrong: one line, the right exit code, nothing written.

use glebe::ErrorKind::*;
use glebe::onnx::{Dim, ElementType, GraphBuilder};

use crate::finetune_bench::{Bench, Case, network, sized_network};

const GRID: &str = "@a.tif;@a-labels.tif";

const SETTINGS: &[Case] = &[
    ("share above 1", &["--val-fraction", "1.5"], InvalidArgument, &["data.val_fraction", "1.5"]),
    ("share of 1", &["--val-fraction", "1"], InvalidArgument, &["data.val_fraction", "1"]),
    ("share below 0", &["--val-fraction", "-1"], InvalidArgument, &["data.val_fraction", "-1"]),
    (
        "share below 0 in a setting",
        &["--set", "data.val_fraction=-1"],
        InvalidArgument,
        &["data.val_fraction", "-1"],
    ),
    ("share NaN", &["--val-fraction", "nan"], InvalidArgument, &["data.val_fraction", "NaN"]),
    ("share no number", &["--val-fraction", "half"], InvalidArgument, &["data.val_fraction", "half"]),
    (
        "one block",
        &["--val-fraction", "0.5", "--val-block", "64"],
        InvalidArgument,
        &["data.val_fraction", "2 block", "got 1"],
    ),
    (
        "one image",
        &["--val-fraction", "0.5", "--val-unit", "image"],
        InvalidArgument,
        &["data.val_fraction", "2 images", "got 1"],
    ),
    (
        "unknown unit",
        &["--val-fraction", "0.5", "--val-unit", "tile"],
        InvalidArgument,
        &["data.val_unit", "tile", "block"],
    ),
    (
        "block 0",
        &["--val-fraction", "0.5", "--val-block", "0"],
        InvalidArgument,
        &["data.val", "1 pixel", "got 0"],
    ),
    (
        "validation twice",
        &["--val", "@b.tif;@b-labels.tif", "--val-fraction", "0.2"],
        InvalidArgument,
        &["data.val", "data.val_fraction", "both"],
    ),
    (
        "names for three classes",
        &["--class-names", "a,b,c"],
        Mismatch,
        &["data.class_names", "2 names", "got 3"],
    ),
    ("a name twice", &["--class-names", "a,a"], InvalidArgument, &["\"a\"", "two columns"]),
    ("a name that is a column", &["--class-names", "a,macro"], InvalidArgument, &["\"macro\""]),
    ("weights for three classes", &["--class-weights", "1,2,3"], Mismatch, &["weights", "2", "3"]),
    ("negative weight", &["--class-weights", "1,-2"], InvalidArgument, &["weight", "-2"]),
    ("weight no number", &["--class-weights", "1,two"], InvalidArgument, &["training.class_weights", "two"]),
    ("unknown loss", &["--loss", "nope"], InvalidArgument, &["training.loss", "nope"]),
    ("loss of a regression", &["--loss", "mse"], NotSupported, &["training.loss", "mse"]),
    ("unknown optimizer", &["--optimizer", "adm"], InvalidArgument, &["optimizer.kind", "adm", "adamw"]),
    ("unknown schedule", &["--schedule", "cosin"], InvalidArgument, &["schedule.kind", "cosin", "cosine"]),
    ("unknown mode of BatchNorm", &["--bn", "thaw"], InvalidArgument, &["training.bn", "thaw", "frozen"]),
    (
        "unknown sampling",
        &["--sampling", "everywhere"],
        InvalidArgument,
        &["sampling.kind", "everywhere", "balanced"],
    ),
    ("unknown augmentation", &["--augment", "wild"], InvalidArgument, &["augmentation", "wild", "strong"]),
    (
        "unknown rule of nodata",
        &["--label-nodata", "keep"],
        InvalidArgument,
        &["labels.nodata", "keep", "background"],
    ),
    ("pattern without match", &["--params", "decodr.*"], InvalidArgument, &["decodr.*", "@model.onnx"]),
    ("group without match", &["--set", "optimizer.groups=nowhere.*:lr=0.1"], InvalidArgument, &["nowhere.*"]),
    (
        "group of no form",
        &["--set", "optimizer.groups=encoder.*:rate=1"],
        InvalidArgument,
        &["optimizer.groups", "rate"],
    ),
    ("0 steps", &["--steps", "0"], InvalidArgument, &["training.steps", "got 0"]),
    ("0 epochs", &["--epochs", "0"], InvalidArgument, &["training.epochs", "got 0"]),
    ("ten epochs", &["--epochs", "ten"], InvalidArgument, &["training.epochs", "\"ten\""]),
    ("-3 epochs", &["--epochs", "-3"], InvalidArgument, &["training.epochs", "-3"]),
    ("a batch of 0", &["--batch", "0"], InvalidArgument, &["training.batch", "got 0"]),
    ("a batch of half", &["--batch", "0.5"], InvalidArgument, &["training.batch", "0.5"]),
    ("size 0", &["--size", "0"], InvalidArgument, &["training.size", "got 0"]),
    ("three sides", &["--size", "32x32x32"], InvalidArgument, &["training.size", "3 numbers"]),
    ("size no number", &["--size", "large"], InvalidArgument, &["training.size", "large"]),
    ("0 batches an update", &["--accumulate", "0"], InvalidArgument, &["training.accumulate", "got 0"]),
    ("negative rate", &["--lr", "-1"], InvalidArgument, &["learning rate", "-1"]),
    ("NaN rate", &["--lr", "nan"], InvalidArgument, &["learning rate", "NaN"]),
    ("infinite rate", &["--lr", "inf"], InvalidArgument, &["learning rate", "inf"]),
    ("rate no number", &["--lr", "fast"], InvalidArgument, &["training.learning_rate", "fast"]),
    ("negative decay", &["--weight-decay", "-1"], InvalidArgument, &["weight decay", "-1"]),
    ("0 samples", &["--samples", "0"], InvalidArgument, &["sample", "0"]),
    (
        "samples and steps",
        &["--samples", "4", "--steps", "4"],
        InvalidArgument,
        &["sampling.samples", "training.steps", "both"],
    ),
    ("seed below 0", &["--set", "training.seed=-1"], InvalidArgument, &["training.seed", "-1"]),
    ("device not there", &["--device", "cuda"], ProviderUnavailable, &["cuda"]),
    ("unknown device", &["--device", "gpu"], InvalidArgument, &["run.device", "gpu", "cuda"]),
    ("too many threads", &["--loader-threads", "5000"], InvalidArgument, &["run.loader_threads", "1024"]),
    (
        "best of what is not measured",
        &["--val", GRID, "--best", "val/MeanIou"],
        InvalidArgument,
        &["training.best", "val/MeanIou", "val/MeanIoU"],
    ),
    (
        "best of a class that is not there",
        &["--val", GRID, "--best", "val/IoU/house"],
        InvalidArgument,
        &["training.best", "val/IoU/house"],
    ),
    (
        "best without a part",
        &["--val", GRID, "--best", "MeanIoU"],
        InvalidArgument,
        &["training.best", "did you mean \"val/MeanIoU\""],
    ),
    (
        "best without validation",
        &["--best", "val/MeanIoU"],
        InvalidArgument,
        &["training.best", "val/MeanIoU", "validation"],
    ),
    (
        "patience without validation",
        &["--patience", "3"],
        InvalidArgument,
        &["early_stopping.patience", "validation"],
    ),
    (
        "patience with an unknown metric",
        &["--val", GRID, "--patience", "3", "--set", "early_stopping.metric=Los"],
        InvalidArgument,
        &["early_stopping.metric", "did you mean \"Loss\""],
    ),
    (
        "patience with a negative delta",
        &["--val", GRID, "--patience", "3", "--set", "early_stopping.min_delta=-1"],
        InvalidArgument,
        &["min_delta", "-1"],
    ),
    (
        "plateau without validation",
        &["--schedule", "plateau"],
        InvalidArgument,
        &["schedule.kind", "plateau", "validation"],
    ),
    (
        "plateau with a factor above 1",
        &["--val", GRID, "--schedule", "plateau", "--set", "schedule.gamma=2"],
        InvalidArgument,
        &["plateau", "2"],
    ),
    ("steps without a size", &["--schedule", "step"], InvalidArgument, &["schedule.size"]),
    (
        "warm-up of one_cycle",
        &["--schedule", "one_cycle", "--warm-up", "2"],
        InvalidArgument,
        &["schedule.warm_up", "one_cycle"],
    ),
    (
        "averages without any",
        &["--set", "training.averages=true"],
        InvalidArgument,
        &["training.averages", "optimizer.ema_decay"],
    ),
    ("unknown option", &["--epoch", "3"], InvalidArgument, &["--epoch"]),
    ("resume without a folder", &["--resume", "--out", "-"], InvalidArgument, &["--out"]),
];

const FILES: &[Case] = &[
    ("configuration missing", &["--config", "@none.toml"], NotFound, &["@none.toml"]),
    ("configuration is a folder", &["--config", "@folder"], InvalidArgument, &["@folder"]),
    ("configuration is no text", &["--config", "@a.tif"], InvalidArgument, &["@a.tif"]),
    ("syntax", &["--config", "@syntax.toml"], InvalidArgument, &["@syntax.toml", "line 3"]),
    (
        "unknown key",
        &["--config", "@key.toml"],
        InvalidArgument,
        &["@key.toml", "\"training.learning_rat\"", "\"learning_rate\""],
    ),
    (
        "unknown section",
        &["--config", "@section.toml"],
        InvalidArgument,
        &["@section.toml", "\"trainig\"", "\"training\""],
    ),
    ("key in the wrong place", &["--config", "@place.toml"], InvalidArgument, &["@place.toml", "\"epochs\""]),
    (
        "value of a wrong type",
        &["--config", "@type.toml"],
        InvalidArgument,
        &["@type.toml", "training.epochs", "\"ten\""],
    ),
    ("list of a wrong type", &["--config", "@list.toml"], InvalidArgument, &["@list.toml", "data.bands"]),
    (
        "class of a wrong type",
        &["--config", "@class.toml"],
        InvalidArgument,
        &["@class.toml", "labels.classes", "1.5"],
    ),
    (
        "option beside a sound file",
        &["--config", "@sound.toml", "--lr", "fast"],
        InvalidArgument,
        &["glebe: error: training.learning_rate"],
    ),
    (
        "a section that the file has as a value",
        &["--config", "@value.toml"],
        InvalidArgument,
        &["@value.toml", "training"],
    ),
    (
        "unknown setting",
        &["--set", "training.epoch=3"],
        InvalidArgument,
        &["\"training.epoch\"", "\"epochs\""],
    ),
    (
        "unknown section in a setting",
        &["--set", "trainig.epochs=3"],
        InvalidArgument,
        &["\"trainig\"", "\"training\""],
    ),
    (
        "setting without a value",
        &["--set", "training.epochs"],
        InvalidArgument,
        &["section.key=value", "training.epochs"],
    ),
    (
        "setting of a wrong type",
        &["--set", "training.epochs=ten"],
        InvalidArgument,
        &["training.epochs", "\"ten\""],
    ),
    ("setting below a value", &["--set", "model.x=3"], InvalidArgument, &["model.x=3"]),
];

const MODELS: &[Case] = &[
    ("no model", &["--model", "-"], InvalidArgument, &["model", "got none"]),
    ("model missing", &["--model", "@none.onnx"], NotFound, &["@none.onnx"]),
    ("model is a folder", &["--model", "@folder"], InvalidArgument, &["@folder"]),
    ("model is an image", &["--model", "@a.tif"], ModelInvalid, &["@a.tif", "TIFF"]),
    ("model cut off", &["--model", "@cut.onnx"], ModelInvalid, &["@cut.onnx"]),
    (
        "model that cannot be trained",
        &["--model", "@untrainable.onnx"],
        ModelUnsupported,
        &["@untrainable.onnx", "Hardmax"],
    ),
    ("model without weights", &["--model", "@weightless.onnx"], InvalidArgument, &["@weightless.onnx"]),
    ("model of class numbers", &["--model", "@argmax.onnx"], ModelUnsupported, &["@argmax.onnx"]),
    (
        "size that the model does not take",
        &["--model", "@fixed.onnx"],
        Mismatch,
        &["@fixed.onnx", "32", "48"],
    ),
    ("checkpoint missing", &["--init", "@none.safetensors"], NotFound, &["@none.safetensors"]),
    ("checkpoint is an image", &["--init", "@a.tif"], InvalidArgument, &["@a.tif"]),
    ("checkpoint is text", &["--init", "@text.txt"], InvalidArgument, &["@text.txt"]),
    (
        "checkpoint of another model",
        &["--init", "@other.safetensors"],
        Mismatch,
        &["@other.safetensors", "encoder"],
    ),
    ("unknown output", &["--set", "training.output=aux"], InvalidArgument, &["aux"]),
];

const FOLDERS: &[Case] = &[
    (
        "folder is not empty",
        &["--out", "@taken"],
        AlreadyExists,
        &["@taken", "not empty", "choose another one"],
    ),
    ("folder is not of a run", &["--out", "@taken", "--resume"], AlreadyExists, &["@taken", "config.toml"]),
    ("folder is a file", &["--out", "@text.txt"], InvalidArgument, &["@text.txt", "folder"]),
    ("folder in a file", &["--out", "@text.txt/run"], InvalidArgument, &["@text.txt", "is a file"]),
    ("folder that cannot be made", &["--out", "/proc/glebe"], PermissionDenied, &["/proc: "]),
    ("report exists", &["--report", "@text.txt"], AlreadyExists, &["@text.txt"]),
    ("report in a missing folder", &["--report", "@no/report.json"], NotFound, &["@no/report.json"]),
    ("report is a folder", &["--report", "@taken"], InvalidArgument, &["@taken", "folder"]),
];

fn bench() -> Bench {
    let bench = Bench::new();
    bench.file("text.txt", "neither a model nor a checkpoint");
    std::fs::create_dir(bench.at("folder")).unwrap();
    std::fs::create_dir(bench.at("taken")).unwrap();
    bench.file("taken/notes.txt", "precious");
    for (name, text) in [
        ("syntax.toml", "model = \"m.onnx\"\n\n[training\nepochs = 1\n"),
        ("key.toml", "[training]\nlearning_rat = 1\n"),
        ("section.toml", "[trainig]\nepochs = 1\n"),
        ("place.toml", "epochs = 1\n"),
        ("type.toml", "[training]\nepochs = \"ten\"\n"),
        ("list.toml", "[data]\nbands = \"red\"\n"),
        ("class.toml", "[labels.classes]\nhouse = 1.5\n"),
        ("sound.toml", "[training]\nepochs = 1\n"),
        ("value.toml", "training = 3\n"),
    ] {
        bench.file(name, text);
    }
    let whole = network(3, 2);
    bench.file("cut.onnx", &whole[..whole.len() / 2]);
    bench.file("fixed.onnx", sized_network(3, 2, Some(48)));
    bench.file("weightless.onnx", crate::fixtures::identity_network(3));
    bench.file("argmax.onnx", numbers());
    bench.file("untrainable.onnx", untrainable());
    let tensors =
        [("stem.weight".to_owned(), glebe::weights::tensors::NamedTensor::f32(&[2], vec![1.0, 2.0]))];
    let path = bench.at("other.safetensors");
    glebe::weights::tensors::write(path, &tensors.into(), &Default::default(), false).unwrap();
    bench
}

fn pixels(channels: u64) -> [Dim; 4] {
    ["n".into(), Dim::Fixed(channels), "h".into(), "w".into()]
}

/// Gives class numbers, which have no gradient.
fn numbers() -> Vec<u8> {
    let mut graph = GraphBuilder::new("numbers");
    let x = graph.input("x", ElementType::Float32, &pixels(3));
    let w = graph.initializer_f32("w", &[2, 3, 1, 1], &[0.5; 6]);
    let y = graph.node("Conv", &[&x, &w]).output("logits");
    let y = graph.node("ArgMax", &[&y]).int("axis", 1).output("numbers");
    graph.output(&y, ElementType::Int64, &pixels(1));
    graph.finish().unwrap()
}

/// An operator without a gradient behind the weights.
fn untrainable() -> Vec<u8> {
    let mut graph = GraphBuilder::new("det");
    let x = graph.input("x", ElementType::Float32, &pixels(3));
    let w = graph.initializer_f32("w", &[2, 3, 1, 1], &[0.5; 6]);
    let y = graph.node("Conv", &[&x, &w]).output("mixed");
    let y = graph.node("Hardmax", &[&y]).int("axis", 1).output("logits");
    graph.output(&y, ElementType::Float32, &pixels(2));
    graph.finish().unwrap()
}

#[test]
fn settings_that_make_no_sense() {
    bench().refuses(SETTINGS);
}

#[test]
fn configurations_that_are_none() {
    bench().refuses(FILES);
}

#[test]
fn models_and_checkpoints_that_do_not_fit() {
    bench().refuses(MODELS);
}

#[test]
fn folders_that_cannot_be_used() {
    bench().refuses(FOLDERS);
}

#[test]
fn a_run_is_gone_on_with_by_its_own_settings_only() {
    let bench = Bench::new();
    bench.done(&[]);
    bench.file("wider.onnx", network(3, 2));
    bench.refuses(&[
        ("folder of a run", &[], AlreadyExists, &["@out", "not empty", "resume"]),
        (
            "another rate",
            &["--resume", "--lr", "0.5"],
            Mismatch,
            &["@out/config.toml", "training.learning_rate", "0.5"],
        ),
        (
            "other data",
            &["--resume", "--train", "@b.tif;@b-labels.tif"],
            Mismatch,
            &["@out/config.toml", "data.train"],
        ),
        (
            "another seed",
            &["--resume", "--seed", "1"],
            Mismatch,
            &["@out/config.toml", "training.seed", "42", "1"],
        ),
        (
            "another augmentation",
            &["--resume", "--augment", "none"],
            Mismatch,
            &["@out/config.toml", "augmentation"],
        ),
        ("another model", &["--resume", "--model", "@wider.onnx"], Mismatch, &["@out/config.toml", "model"]),
    ]);
    // The file that is named has other weights now.
    bench.file("model.onnx", network(3, 3));
    let before = bench.listing();
    let done = bench.finetune(&["-q", "--resume", "--epochs", "2"]);
    let stderr = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(Mismatch.code()), "{stderr}");
    assert!(stderr.contains("checkpoint is of another model") && stderr.lines().count() == 1, "{stderr}");
    assert_eq!(bench.listing(), before);
    bench.file("model.onnx", network(3, 2));
    bench.file("out/config.toml", "[training]\nepochs = [1]\n");
    bench.refuses(&[(
        "settings damaged",
        &["--resume"],
        InvalidArgument,
        &["@out/config.toml", "training.epochs"],
    )]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_nobody_may_write_to_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    let folder = bench.at("locked");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere.
    let is_root = std::fs::write(folder.join("try"), "").is_ok();
    if is_root {
        return;
    }
    bench.refuses(&[
        ("locked folder", &["--out", "@locked"], PermissionDenied, &["@locked"]),
        ("folder in a locked one", &["--out", "@locked/run"], PermissionDenied, &["@locked/run"]),
    ]);
}
