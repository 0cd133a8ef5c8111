//! The house stays as it was drawn: imports point down, and each outside world has one door.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use std::path::{Path, PathBuf};

/// The modules from the ground up; a module may use only those before it.
const LINE: [&str; 21] = [
    "error", "geometry", "tensor", "file", "random", "onnx", "runtime", "raster", "weights", "model",
    "autodiff", "tiling", "metrics", "picture", "data", "hooks", "segment", "finetune", "ffi", "cli", "main",
];

/// Outside worlds and their doors.
const DOORS: [(&str, &str); 5] = [
    ("ort::", "runtime"),
    ("libloading::", "runtime"),
    ("gdal::", "raster"),
    ("gdal_sys::", "raster"),
    ("image::", "picture"),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The room a file belongs to: its folder under `src`, or its own name there.
fn room(file: &Path) -> String {
    let inside = file.strip_prefix(source()).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file: without comments and documentation, and without its unit tests, which may use anything below
/// them too but are not what the house is built of.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Words that follow `prefix` in the code: `prefix` itself must not be the tail of a longer path or word.
fn following<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    code.match_indices(prefix)
        .filter(|(at, _)| {
            !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$')
        })
        .map(|(at, _)| {
            let rest = &code[at + prefix.len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            &rest[..end]
        })
        .collect()
}

#[test]
fn imports_point_down() {
    let rank = |name: &str| LINE.iter().position(|other| *other == name);
    let mut checked = 0;
    for file in files(&source()) {
        let own = room(&file);
        if own == "lib" {
            continue;
        }
        let Some(own_rank) = rank(&own) else { panic!("{}: a room that is not in the line", file.display()) };
        for used in following(&code(&file), "crate::") {
            // In the program `crate` is the program; its modules are its own.
            if own == "cli" {
                continue;
            }
            let Some(used_rank) = rank(used) else { continue };
            checked += 1;
            assert!(used_rank <= own_rank, "{}: {own} uses {used}, which stands above it", file.display());
        }
    }
    assert!(checked > 100, "only {checked} imports seen: does the test still read the code?");
}

#[test]
fn several_imports_in_one_brace_are_not_used_to_get_round_the_rule() {
    for file in files(&source()) {
        assert!(
            !code(&file).contains("use crate::{") || room(&file) == "cli" || only_ground(&code(&file)),
            "{}: `use crate::{{…}}` hides modules from this test",
            file.display()
        );
    }
}

/// `use crate::{Error, …}` of re-exported types is fine: lower-case names are modules.
fn only_ground(code: &str) -> bool {
    code.split("use crate::{").skip(1).all(|rest| {
        let inside = rest.split('}').next().unwrap();
        inside.split(',').all(|name| name.trim().starts_with(|c: char| c.is_uppercase()))
    })
}

#[test]
fn each_outside_world_has_one_door() {
    for file in files(&source()) {
        let (own, code) = (room(&file), code(&file));
        for (world, door) in DOORS {
            if own != door {
                assert!(following(&code, world).is_empty(), "{}: {world} outside src/{door}", file.display());
            }
        }
    }
    // Each door is in use, so that a renamed crate does not empty the test.
    for (world, door) in DOORS {
        let used = files(&source().join(door)).iter().any(|file| !following(&code(file), world).is_empty());
        assert!(used, "{world} is not used in src/{door}");
    }
}

#[test]
fn every_room_of_the_line_is_there() {
    for name in LINE {
        let folder = source().join(name);
        let exists = folder.is_dir() || folder.with_extension("rs").is_file();
        assert!(exists || name == "main" || name == "ffi", "src/{name}");
    }
}

#[test]
fn files_are_short_enough_to_read() {
    for file in files(&source()) {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 600, "{}: {lines} lines; one noun a file", file.display());
    }
}

#[test]
fn the_guard_can_fail() {
    assert_eq!(following("use crate::segment::X; my_crate::y; a::crate::z", "crate::"), ["segment"]);
    assert!(!following("let x = ort::init();", "ort::").is_empty());
    assert!(following("import::x; super::ort::y", "ort::").is_empty());
}
