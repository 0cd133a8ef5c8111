//! `include/glebe.h` is what the code says, and says everything. `GLEBE_WRITE_HEADER=1` writes it anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is the report of a test")]

use std::path::{Path, PathBuf};

/// The order of the header.
const FILES: [&str; 35] = [
    "status",
    "library",
    "boundary",
    "buffer",
    "error",
    "log",
    "cancel",
    "runtime",
    "model",
    "image",
    "progress",
    "field",
    "segment_options",
    "prediction",
    "segment",
    "seams",
    "evaluate_options",
    "evaluate",
    "batch",
    "trainer_options",
    "trainer",
    "fit_options",
    "run_state",
    "finetuning_options",
    "loader",
    "metrics",
    "event",
    "event_context",
    "event_arrays",
    "fit",
    "whole_run",
    "callbacks",
    "checkpoint",
    "export",
    "finetuning",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> PathBuf {
    root().join("include/glebe.h")
}

/// The version macros of `Cargo.toml`'s version.
fn version_macros() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut parts = version.split(['.', '-']);
    let mut text = format!(
        "\n/**\n * The version of this header; glebe_version() gives that of the library.\n */\n#define GLEBE_VERSION \"{version}\"\n"
    );
    for name in ["MAJOR", "MINOR", "PATCH"] {
        text.push_str(&format!(
            "\n/**\n * {} number of GLEBE_VERSION.\n */\n#define GLEBE_VERSION_{name} {}\n",
            ["First", "Second", "Third"]
                [["MAJOR", "MINOR", "PATCH"].iter().position(|n| *n == name).unwrap()],
            parts.next().unwrap()
        ));
    }
    text
}

fn generated() -> String {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    config.after_includes =
        Some(format!("{}{}", config.after_includes.unwrap_or_default(), version_macros()));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in FILES {
        builder = builder.with_src(root().join(format!("src/ffi/{file}.rs")));
    }
    let mut bytes = Vec::new();
    builder.generate().unwrap().write(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_header_is_up_to_date() {
    let generated = generated();
    if std::env::var_os("GLEBE_WRITE_HEADER").is_some() {
        std::fs::write(header(), &generated).unwrap();
    }
    let checked_in = std::fs::read_to_string(header()).unwrap_or_default();
    assert!(checked_in == generated, "include/glebe.h is not what src/ffi says: run `make header`");
}

#[test]
fn every_class_file_is_in_the_header() {
    let mut sources: Vec<String> = std::fs::read_dir(root().join("src/ffi"))
        .unwrap()
        .map(|entry| {
            Path::new(&entry.unwrap().file_name()).file_stem().unwrap().to_string_lossy().into_owned()
        })
        .filter(|name| name != "mod" && !name.ends_with("_tests"))
        .collect();
    sources.sort();
    let mut listed: Vec<String> = FILES.iter().map(|name| (*name).to_owned()).collect();
    listed.sort();
    assert_eq!(sources, listed);
}

/// Every macro, type, field and function has a comment right before it.
#[test]
fn everything_is_documented() {
    let text = std::fs::read_to_string(header()).unwrap();
    let mut documented = false;
    let mut in_comment = false;
    let mut open_declaration = false;
    let mut missing = Vec::new();
    let mut found = 0;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("/*") {
            in_comment = true;
        }
        if in_comment {
            if line.ends_with("*/") {
                in_comment = false;
                documented = true;
            }
            continue;
        }
        let preprocessor = line.starts_with('#') && !line.starts_with("#define GLEBE_");
        let structure = ["}", "{", "extern \"C\""].iter().any(|start| line.starts_with(start));
        if line.is_empty() || preprocessor || structure || line == "#define GLEBE_H" {
            documented = false;
            continue;
        }
        if !open_declaration {
            found += 1;
            if !documented {
                missing.push(format!("line {}: {line}", number + 1));
            }
        }
        // A declaration may go on over several lines.
        open_declaration = !line.starts_with('#') && !line.ends_with([';', '{']);
        documented = false;
    }
    assert!(missing.is_empty(), "without a comment:\n{}", missing.join("\n"));
    assert!(found > 150, "only {found} declarations found");
}

/// No Rust in the manual of C: links, attributes, paths.
#[test]
fn comments_are_written_for_c() {
    let text = std::fs::read_to_string(header()).unwrap();
    for rust in ["[`", "`]", "Self", "Option<", "Result<", "crate::", "# Errors", "# Safety", "ErrorKind"] {
        let line = text.lines().find(|line| line.contains(rust));
        assert!(line.is_none(), "{rust:?} in {line:?}");
    }
}

#[test]
fn version_macros_are_those_of_the_package() {
    let text = std::fs::read_to_string(header()).unwrap();
    let value = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(&format!("#define {name} "))).unwrap().to_owned()
    };
    assert_eq!(value("GLEBE_VERSION"), format!("\"{}\"", env!("CARGO_PKG_VERSION")));
    assert_eq!(value("GLEBE_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MAJOR"));
    assert_eq!(value("GLEBE_VERSION_MINOR"), env!("CARGO_PKG_VERSION_MINOR"));
    assert_eq!(value("GLEBE_VERSION_PATCH"), env!("CARGO_PKG_VERSION_PATCH"));
}
