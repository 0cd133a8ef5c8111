//! `include/glebe.h` as data: its functions, their parameters, its structs. A scan of cbindgen's regular output.
#![allow(dead_code, reason = "shared by several test programs, of which each uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the report of a test")]

use std::path::Path;

/// A parameter: `const glebe_model *model`.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// `const glebe_model *`.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Whether the function's text says "@param name  nullable".
    pub(crate) nullable: bool,
}

impl Parameter {
    /// Whether NULL can be passed: pointers, and types of functions.
    pub(crate) fn is_pointer(&self) -> bool {
        self.kind.ends_with('*') || self.kind.ends_with("_fn")
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) result: String,
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
}

pub(crate) fn text() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/glebe.h")).unwrap()
}

/// Every function, with the parameters that its doc block calls nullable.
pub(crate) fn functions(header: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    let mut rest = header;
    while let Some(at) = rest.find("/**") {
        let (doc, after) = rest[at..].split_once("*/").expect("a closed comment");
        rest = after;
        let declaration = after.split(['{', ';', '#']).next().unwrap_or_default().trim();
        let Some((head, tail)) = declaration.split_once('(') else { continue };
        if declaration.starts_with("typedef") || !tail.ends_with(')') {
            continue;
        }
        let (result, name) = split(head);
        let parameters = tail[..tail.len() - 1]
            .split(',')
            .map(str::trim)
            .filter(|parameter| *parameter != "void")
            .map(|parameter| {
                let (kind, name) = split(parameter);
                let nullable = doc.lines().any(|line| {
                    let mut words = line.trim_start_matches([' ', '*']).split_whitespace();
                    words.next() == Some("@param")
                        && words.next() == Some(&name)
                        && words.next().is_some_and(|word| word.starts_with("nullable"))
                });
                Parameter { kind, name, nullable }
            })
            .collect();
        functions.push(Function { result, name, parameters });
    }
    functions
}

/// `const char *name` → (`const char *`, `name`).
fn split(declaration: &str) -> (String, String) {
    let text = declaration.split_whitespace().collect::<Vec<_>>().join(" ");
    let at = text.rfind([' ', '*']).expect("a type and a name") + 1;
    (text[..at].trim().to_owned(), text[at..].to_owned())
}

/// Name and fields of every struct with a layout.
pub(crate) fn structs(header: &str) -> Vec<(String, Vec<String>)> {
    let mut structs = Vec::new();
    for part in header.split("typedef struct {").skip(1) {
        let (body, rest) = part.split_once("\n} ").expect("a closed struct");
        let name = rest.split_once(';').expect("a name").0;
        let fields = body
            .lines()
            .map(str::trim)
            .filter(|line| line.ends_with(';') && !line.starts_with('*'))
            .map(|line| split(line.trim_end_matches(';')).1)
            .collect();
        structs.push((name.to_owned(), fields));
    }
    structs
}
