//! Lists of images and their labels.

use std::fs;
use std::path::{Path, PathBuf};

use crate::data::split::Split;
use crate::error::{Error, ErrorKind, Result};

/// What a line of an area list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Use {
    /// One of the parts of the data.
    Split(Split),
    /// Without labels, to be scored only.
    Inference,
}

/// An image and its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListItem {
    /// The raster.
    pub image: PathBuf,
    /// The raster or vector file of its labels; empty for [`Use::Inference`] where there is none.
    pub labels: PathBuf,
    /// What the line is for, in lists that say so.
    pub usage: Option<Use>,
    /// Identifier of the area, in lists that have one.
    pub area: Option<String>,
    /// The list and the line in it, from 1; none for a pair that was given by itself.
    pub place: Option<(PathBuf, u64)>,
}

impl ListItem {
    /// An image and its labels, not from a list.
    pub fn new(image: impl Into<PathBuf>, labels: impl Into<PathBuf>) -> ListItem {
        ListItem { image: image.into(), labels: labels.into(), usage: None, area: None, place: None }
    }

    /// The error with the list and the line that it comes from before it.
    pub fn locate(&self, error: Error) -> Error {
        match &self.place {
            Some((list, 1)) if error.kind() == ErrorKind::NotFound && self.image.extension().is_none() => {
                let error = Error::new(error.kind(), format!("{} (lists have no header)", error.one_line()));
                at_line(list, 1, error)
            }
            Some((list, line)) => at_line(list, *line, error),
            None => error,
        }
    }
}

fn at_line(list: &Path, line: u64, error: Error) -> Error {
    Error::new(error.kind(), format!("line {line}")).at_path(list).caused_by(error.one_line())
}

/// Reads what tells images and labels.
///
/// - `IMAGE;LABELS`: a pair by itself.
/// - A list of geo-deep-learning, a file with lines `image;labels` or `image;labels;percent` and no header. The annotated
///   percentage is not used: it is measured anew.
/// - A list of areas, a file with lines `raster,vector,split` or `raster,vector,split,identifier` and no header, where split
///   is `trn`, `val`, `tst` or `inference`. Lines for another part than `wanted` are left out.
///
/// Paths in lists are relative to `root`, by default the list's folder. Empty lines do not count.
///
/// # Errors
/// `NotFound` and other errors of reading; `InvalidArgument` for a file that is no such list and for lists without a line for
/// this part, with file and line. Whether images and labels exist is not looked at.
pub fn read_list(text: &str, root: Option<&Path>, wanted: Split) -> Result<Vec<ListItem>> {
    let all = read_all(text, root)?;
    let is_wanted = |item: &ListItem| item.usage.is_none_or(|usage| usage == Use::Split(wanted));
    let count = all.len();
    let kept: Vec<ListItem> = all.into_iter().filter(is_wanted).collect();
    if kept.is_empty() {
        let name = word(Use::Split(wanted));
        let message = format!("none of its {count} lines is for {name}: expected at least one");
        return Err(Error::invalid(message).at_path(text));
    }
    Ok(kept)
}

/// All lines of what [`read_list`] reads, whatever they are for.
///
/// # Errors
/// As [`read_list`]; for a list without lines.
pub fn read_all(text: &str, root: Option<&Path>) -> Result<Vec<ListItem>> {
    let path = Path::new(text);
    if let Some((image, labels)) = text.split_once(';')
        && !path.exists()
    {
        let (image, labels) = (image.trim(), labels.trim());
        if image.is_empty() || labels.is_empty() || labels.contains(';') {
            return Err(Error::invalid(format!("expected IMAGE;LABELS or the path of a list, got {text:?}")));
        }
        let within = |name: &str| root.map_or_else(|| PathBuf::from(name), |root| root.join(name));
        return Ok(vec![ListItem::new(within(image), within(labels))]);
    }
    if path.is_dir() {
        let message = "is a folder: expected a list, a file with lines image;labels or raster,vector,split";
        return Err(Error::invalid(message).at_path(path));
    }
    let bytes = fs::read(path).map_err(|error| Error::io("read the list", path, error))?;
    let is_text = !bytes.contains(&0);
    let Some(content) = std::str::from_utf8(&bytes).ok().filter(|_| is_text) else {
        let message = "is not a list: expected text with lines image;labels or raster,vector,split (an image and its labels \
                       are given as IMAGE;LABELS)";
        return Err(Error::invalid(message).at_path(path));
    };
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let folder = path.parent().unwrap_or(Path::new(""));
    let list = List { path, root: root.unwrap_or(folder) };
    let items = list.parse(content)?;
    if items.is_empty() {
        return Err(Error::invalid("the list is empty: expected lines image;labels or raster,vector,split")
            .at_path(path));
    }
    Ok(items)
}

/// The word for it in lists of areas.
fn word(usage: Use) -> &'static str {
    match usage {
        Use::Split(Split::Train) => "trn",
        Use::Split(Split::Val) => "val",
        Use::Split(Split::Test) => "tst",
        Use::Inference => "inference",
    }
}

/// The line, from 1, of the record that begins at a byte or behind the empty lines there.
fn line_of(content: &str, byte: u64) -> u64 {
    let (before, rest) = content.split_at_checked(byte as usize).unwrap_or((content, ""));
    let skipped = &rest[..rest.len() - rest.trim_start_matches(['\r', '\n']).len()];
    1 + before.matches('\n').count() as u64 + skipped.matches('\n').count() as u64
}

struct List<'a> {
    path: &'a Path,
    root: &'a Path,
}

impl List<'_> {
    fn parse(&self, content: &str) -> Result<Vec<ListItem>> {
        let Some(first) = content.lines().find(|line| !line.trim().is_empty()) else { return Ok(Vec::new()) };
        // A semicolon cannot be meant otherwise; a comma may be part of a name in lists with semicolons.
        let delimiter = if first.contains(';') { b';' } else { b',' };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_reader(content.as_bytes());
        let mut items = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| {
                Error::invalid("cannot be read").at_path(self.path).caused_by(error.to_string())
            })?;
            let line = record.position().map_or(0, |position| line_of(content, position.byte()));
            if record.iter().all(str::is_empty) {
                continue;
            }
            let fields: Vec<&str> = record.iter().collect();
            let item = if delimiter == b';' { self.pair(&fields) } else { self.area(&fields) };
            let mut item = item.map_err(|message| at_line(self.path, line, Error::invalid(message)))?;
            item.place = Some((self.path.to_owned(), line));
            items.push(item);
        }
        Ok(items)
    }

    fn pair(&self, fields: &[&str]) -> Result<ListItem, String> {
        let (image, labels) = match *fields {
            [image, labels] => (image, labels),
            [image, labels, percent] => {
                let is_percent = percent.parse::<f64>().is_ok_and(|percent| (0.0..=100.0).contains(&percent));
                if !is_percent && !percent.is_empty() {
                    return Err(format!(
                        "expected the annotated percentage, 0 to 100, as the third field, got {percent:?}"
                    ));
                }
                (image, labels)
            }
            _ => {
                return Err(format!(
                    "expected image;labels or image;labels;percent, got {} fields",
                    fields.len()
                ));
            }
        };
        Ok(ListItem::new(self.file("image", image)?, self.file("labels", labels)?))
    }

    fn area(&self, fields: &[&str]) -> Result<ListItem, String> {
        let (raster, vector, usage, area) = match *fields {
            [raster, vector, usage] => (raster, vector, usage, ""),
            [raster, vector, usage, area] => (raster, vector, usage, area),
            _ => {
                return Err(format!(
                    "expected image;labels or raster,vector,split, got {} field{} between commas",
                    fields.len(),
                    if fields.len() == 1 { "" } else { "s" }
                ));
            }
        };
        let all = [Split::Train, Split::Val, Split::Test].map(Use::Split).into_iter().chain([Use::Inference]);
        let usage = all.into_iter().find(|known| word(*known) == usage).ok_or_else(|| {
            format!(
                "expected trn, val, tst or inference as the third field, got {usage:?} (lists have no header)"
            )
        })?;
        let labels = match usage {
            Use::Inference if vector.is_empty() => PathBuf::new(),
            _ => self.file("vector", vector)?,
        };
        let mut item = ListItem::new(self.file("raster", raster)?, labels);
        item.usage = Some(usage);
        item.area = (!area.is_empty()).then(|| area.to_owned());
        Ok(item)
    }

    fn file(&self, what: &str, name: &str) -> Result<PathBuf, String> {
        if name.is_empty() {
            return Err(format!("the field for the {what} is empty"));
        }
        Ok(self.root.join(name))
    }
}

/// An error where the same image is in both parts: what is trained on must not be measured on. `None` where none is.
pub fn shared_image<'a>(one: &'a [ListItem], other: &[ListItem]) -> Option<&'a Path> {
    let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let seen: std::collections::HashSet<PathBuf> = other.iter().map(|item| place(&item.image)).collect();
    one.iter().find(|item| seen.contains(&place(&item.image))).map(|item| item.image.as_path())
}

/// The kind of a missing list, for callers that want to try something else.
pub fn is_missing(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(content: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        fs::write(&path, content).unwrap();
        let text = path.to_str().unwrap().to_owned();
        (folder, text)
    }

    fn names(items: &[ListItem], folder: &Path) -> Vec<(String, String)> {
        let name = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_str().unwrap().to_owned();
        items.iter().map(|item| (name(&item.image), name(&item.labels))).collect()
    }

    #[test]
    fn pairs_with_and_without_percentage() {
        let (folder, path) = list("\u{feff}a.tif;la.tif\n\n  b,1.tif ; lb.tif;37\n/c.tif;sub/lc.tif;");
        let items = read_list(&path, None, Split::Val).unwrap();
        let expected = [("a.tif", "la.tif"), ("b,1.tif", "lb.tif"), ("/c.tif", "sub/lc.tif")]
            .map(|(a, b)| (a.into(), b.into()));
        assert_eq!(names(&items, folder.path()), expected);
        assert_eq!(items[1].place, Some((path.clone().into(), 3)));
        // Relative to another folder.
        let items = read_list(&path, Some(Path::new("/archive")), Split::Train).unwrap();
        assert_eq!(items[0].image, Path::new("/archive/a.tif"));
    }

    #[test]
    fn areas_are_told_apart_by_their_part() {
        let (folder, path) =
            list("a.tif,a.gpkg,trn\nb.tif,b.gpkg,tst,area 2\nc.tif,,inference\nd.tif,d.gpkg,trn\n");
        let train = read_list(&path, None, Split::Train).unwrap();
        assert_eq!(names(&train, folder.path()).len(), 2);
        let test = read_list(&path, None, Split::Test).unwrap();
        assert_eq!((test.len(), test[0].area.as_deref()), (1, Some("area 2")));
        let error = read_list(&path, None, Split::Val).unwrap_err();
        assert!(error.message().contains("none of its 4 lines is for val"), "{error}");
        assert_eq!(read_all(&path, None).unwrap()[2].usage, Some(Use::Inference));
    }

    #[test]
    fn a_pair_by_itself() {
        let items = read_list("x/a.tif;y/b.gpkg", None, Split::Test).unwrap();
        assert_eq!(items, [ListItem::new("x/a.tif", "y/b.gpkg")]);
    }

    #[test]
    fn wrong_lists_are_told_with_their_line() {
        for (content, said) in [
            (
                "a.tif\tb.tif\n",
                "line 1: expected image;labels or raster,vector,split, got 1 field between commas",
            ),
            ("a.tif,b.tif\n", "got 2 fields between commas"),
            ("a;b\nc;d;e\n", "line 2: expected the annotated percentage"),
            ("a;b;101\n", "0 to 100"),
            ("a;b;1;2\n", "got 4 fields"),
            ("a;\n", "the field for the labels is empty"),
            (";b\n", "the field for the image is empty"),
            ("a;b\nc,d\n", "line 2: expected image;labels or image;labels;percent, got 1 fields"),
            ("raster,vector,split\n", "got \"split\" (lists have no header)"),
            ("a,b,train\n", "expected trn, val, tst or inference"),
            ("a,,trn\n", "the field for the vector is empty"),
            ("", "the list is empty"),
            ("\n \n", "the list is empty"),
            ("a\0b;c\n", "is not a list"),
        ] {
            let (_folder, path) = list(content);
            let error = read_list(&path, None, Split::Train).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{content:?}");
            let line = error.one_line();
            assert!(line.contains(said) && line.contains("list.csv"), "{content:?}: {line}");
        }
        let error = read_list("no/such/list.csv", None, Split::Train).unwrap_err();
        assert!(is_missing(&error), "{error}");
        assert!(
            read_list(";b", None, Split::Train).is_err() && read_list("a;b;c", None, Split::Train).is_err()
        );
    }

    #[test]
    fn an_image_in_two_parts_is_seen() {
        let (one, two) = (
            [ListItem::new("a/../b.tif", "x")],
            [ListItem::new("c.tif", "y"), ListItem::new("a/../b.tif", "z")],
        );
        assert_eq!(shared_image(&one, &two), Some(Path::new("a/../b.tif")));
        assert_eq!(shared_image(&two[..1], &one), None);
    }
}
