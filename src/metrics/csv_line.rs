//! One line of a CSV or TSV file.

/// One line of cells with minimal quoting: Python's `csv` module with `\n` as line end.
pub(crate) fn line(separator: char, cells: impl Iterator<Item = String>, out: &mut String) {
    let start = out.len();
    let mut count = 0;
    for cell in cells {
        if count > 0 {
            out.push(separator);
        }
        count += 1;
        if cell.contains([separator, '"', '\n']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&cell);
        }
    }
    // An empty line would be read as no row at all.
    if count == 1 && out.len() == start {
        out.push_str("\"\"");
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_be_is_quoted() {
        let text = |separator, cells: &[&str]| {
            let mut out = String::new();
            line(separator, cells.iter().map(|cell| (*cell).to_owned()), &mut out);
            out
        };
        assert_eq!(text(',', &["a b", "a,b", "a\tb", "q\"", ""]), "a b,\"a,b\",a\tb,\"q\"\"\",\n");
        assert_eq!(text('\t', &["a,b", "a\tb"]), "a,b\t\"a\tb\"\n");
        assert_eq!(
            (text(',', &[""]), text(',', &["", ""]), text(',', &[])),
            ("\"\"\n".into(), ",\n".into(), "\n".into())
        );
    }
}
