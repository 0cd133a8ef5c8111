//! What a program that was linked yesterday relies on: symbols, layouts, the library's name. Additions change
//! `tests/abi`, with a line in the change log; removals need another `ABI_VERSION`. `GLEBE_WRITE_ABI=1` writes both
//! files anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is the report of a test")]
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

#[path = "capi/harness.rs"]
mod harness;
#[path = "capi/header.rs"]
mod header;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use harness::{compile, library, root, run};

fn folder() -> PathBuf {
    root().join("tests/abi")
}

fn writes() -> bool {
    std::env::var_os("GLEBE_WRITE_ABI").is_some()
}

#[test]
fn symbols_are_those_listed_and_no_others() {
    let output = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library()));
    let text = String::from_utf8(output.stdout).unwrap();
    let exported: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    let listed_path = folder().join("symbols.txt");
    if writes() {
        let text = exported.iter().map(|name| format!("{name}\n")).collect::<String>();
        std::fs::write(&listed_path, text).unwrap();
    }
    let listed = std::fs::read_to_string(&listed_path).unwrap();
    let listed: BTreeSet<&str> = listed.lines().collect();
    assert_eq!(exported.difference(&listed).collect::<Vec<_>>(), Vec::<&&str>::new(), "added");
    assert_eq!(listed.difference(&exported).collect::<Vec<_>>(), Vec::<&&str>::new(), "removed");
    let header = header::text();
    let declared: Vec<_> = header::functions(&header).into_iter().map(|function| function.name).collect();
    let declared: BTreeSet<&str> = declared.iter().map(String::as_str).collect();
    assert_eq!(exported, declared, "exported, and declared in the header");
}

#[test]
fn the_name_carries_the_abi_version() {
    let output = run(Command::new("readelf").arg("-d").arg(library()));
    let text = String::from_utf8(output.stdout).unwrap();
    let name = text.lines().find(|line| line.contains("SONAME")).expect("a SONAME");
    let version = header::text()
        .lines()
        .find_map(|line| line.strip_prefix("#define GLEBE_ABI_VERSION ").map(str::to_owned))
        .unwrap();
    assert!(name.ends_with(&format!("[libglebe.so.{version}]")), "{name}");
}

/// The C compiler checks sizes and offsets against the checked-in numbers; src/ffi checks the same numbers in Rust.
#[test]
fn layouts_are_those_listed() {
    let path = folder().join("offsets.c");
    if writes() {
        std::fs::write(&path, offsets()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    run(&mut Command::new(compile(&path, folder.path())));

    // Nothing is left out.
    let text = std::fs::read_to_string(&path).unwrap();
    for (name, fields) in header::structs(&header::text()) {
        assert!(text.contains(&format!("sizeof({name}) ==")), "{name} is not in tests/abi/offsets.c");
        for field in fields {
            let entry = format!("offsetof({name}, {field}) ==");
            assert!(text.contains(&entry), "{name}.{field} is not in tests/abi/offsets.c");
        }
    }
}

/// The file with today's numbers, as the compiler tells them.
fn offsets() -> String {
    let structs = header::structs(&header::text());
    let mut probe = String::from("#include <stdio.h>\n#include \"glebe.h\"\nint main(void)\n{\n");
    for (name, fields) in &structs {
        probe += &format!(
            "    printf(\"\\n\");\n    printf(\"_Static_assert(sizeof({name}) == %zu, \\\"\\\");\\n\", sizeof({name}));\n"
        );
        for field in fields {
            let entry = format!("offsetof({name}, {field})");
            probe += &format!("    printf(\"_Static_assert({entry} == %zu, \\\"\\\");\\n\", {entry});\n");
        }
    }
    probe += "    return 0;\n}\n";
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("probe.c");
    std::fs::write(&source, probe).unwrap();
    let output = run(&mut Command::new(compile(&source, folder.path())));
    format!(
        "/* Layout of every struct of glebe.h on systems with pointers of 64 bits. Lines are added, never changed. */\n#include <stddef.h>\n\n#include \"glebe.h\"\n{}\nint main(void)\n{{\n    return 0;\n}}\n",
        String::from_utf8(output.stdout).unwrap()
    )
}
