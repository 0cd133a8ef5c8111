//! The folder of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use toml::{Table, Value};

use crate::data::RasterLoader;
use crate::error::{Error, ErrorKind, Result};
use crate::file::StagedFile;
use crate::finetune::config::Config;
use crate::finetune::step_export;

/// Name of the configuration in it.
pub const CONFIG: &str = "config.toml";

/// Name of the table of the windows of a test in it.
const WINDOWS: &str = "test_windows.csv";

/// Folder of the checkpoints in it.
pub(super) const CHECKPOINTS: &str = "checkpoints";

/// Keys that may differ where a run is gone on with: they have no effect on the numbers of the epochs that are done, or, as
/// the length of the training, on none of those to come but by what a schedule makes of it.
const FREE: [&str; 8] = [
    "out",
    "run.",
    "outputs.",
    "training.epochs",
    "training.steps",
    "early_stopping.",
    "data.test",
    "training.best",
];

/// The folder of a run, which is there.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
    /// Whether it was empty or not there.
    is_new: bool,
    /// Folders that were not there, the innermost first.
    made: Vec<PathBuf>,
}

impl Config {
    /// That the folder of the run can be used: it is not there or empty, or is gone on with by `resume`, and may be written
    /// to. Running a finetuning says the same, after all the data have been looked through.
    ///
    /// # Errors
    /// `AlreadyExists` for a folder with something in it; `Mismatch` where that is a run with other settings;
    /// `InvalidArgument` for a path that is no folder; `PermissionDenied`; `Io`.
    pub fn check_out(&self, resume: bool) -> Result<()> {
        let path = self.out.as_deref().unwrap_or(Path::new("."));
        if self.out.is_some() {
            is_new(self, path, resume)?;
        }
        let there = path.ancestors().find(|own| own.exists()).unwrap_or(Path::new("."));
        // Nothing stays of a file that is not committed.
        StagedFile::new(there.join(".glebe-folder"), true).map(drop)
    }
}

/// Whether a folder is empty or not there; one of a run that is gone on with is neither.
fn is_new(config: &Config, path: &Path, resume: bool) -> Result<bool> {
    if let Some(file) = path.ancestors().find(|own| own.exists()).filter(|own| !own.is_dir()) {
        return Err(Error::invalid("is a file: expected a folder, or a name for one").at_path(file));
    }
    let is_empty = match fs::read_dir(path) {
        Ok(entries) => entries.filter(|own| own.as_ref().map_or(true, |own| !is_leftover(own))).count() == 0,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(Error::io("read the folder", path, error)),
    };
    if is_empty {
        return Ok(true);
    }
    let wrong = |message: &str| Err(Error::new(ErrorKind::AlreadyExists, message).at_path(path));
    let file = path.join(CONFIG);
    match (resume, file.exists()) {
        (true, true) => {
            check_same(&Config::read(&file, &[])?, config).map_err(|error| error.at_path(&file))?;
            Ok(false)
        }
        (true, false) => wrong("the folder is not empty, but has no config.toml: it is not of a run"),
        (false, true) => {
            wrong("the folder is not empty: choose another one, or go on with the run that it has (resume)")
        }
        (false, false) => wrong("the folder is not empty: choose another one"),
    }
}

/// Whether a run that was killed while it wrote its first file has left this.
fn is_leftover(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.starts_with(&format!(".{CONFIG}.glebe-")))
}

impl RunFolder {
    /// Makes the folder and writes the configuration there; with `resume` one that has been begun is gone on with, and keeps
    /// its configuration until [`RunFolder::settle`].
    ///
    /// # Errors
    /// `AlreadyExists` for a folder with something in it; `Mismatch` where that is a run with other settings; `Io`.
    pub(super) fn open(config: &Config, resume: bool) -> Result<RunFolder> {
        let path = config.out.clone().unwrap_or_else(RunFolder::default_name);
        let is_new = is_new(config, &path, resume)?;
        let is_new_one = |own: &&Path| !own.as_os_str().is_empty() && !own.exists();
        let made = path.ancestors().take_while(is_new_one).map(Path::to_owned).collect();
        fs::create_dir_all(&path).map_err(|error| Error::io("make", &path, error))?;
        let folder = RunFolder { path, is_new, made };
        if folder.is_new {
            folder.settle(config).inspect_err(|_| folder.abandon())?;
        }
        Ok(folder)
    }

    /// `glebe-` with date and time in UTC: `glebe-20260131-235959`.
    pub(super) fn default_name() -> PathBuf {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        PathBuf::from(format!("glebe-{}", stamp(now)))
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn settle(&self, config: &Config) -> Result<()> {
        self.write(CONFIG, config.to_toml()?.as_bytes())
    }

    /// Leaves a folder as it was where nothing has been done in it.
    pub(super) fn abandon(&self) {
        if !self.is_new {
            return;
        }
        // What cannot be taken away stays; folders go only where they are empty.
        let _ = fs::remove_file(self.path.join(CONFIG));
        let _ = fs::remove_dir(self.path.join(CHECKPOINTS));
        for made in &self.made {
            let _ = fs::remove_dir(made);
        }
    }

    /// Writes where the images of a test come from: a row a window, with the number that is its `Patient` in the tables of
    /// the test, its raster, its upper left pixel, width and height.
    pub(super) fn write_windows(&self, test: &RasterLoader) -> Result<()> {
        let cannot = |error: csv::Error| Error::internal("cannot write CSV").caused_by(error);
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["Patient", "Raster", "X", "Y", "Width", "Height"]).map_err(cannot)?;
        for own in test.windows() {
            let (image, at) = (own.image.to_string_lossy(), own.window);
            writer.serialize((own.key, image, at.x, at.y, at.width, at.height)).map_err(cannot)?;
        }
        let bytes =
            writer.into_inner().map_err(|error| Error::internal("CSV").caused_by(error.into_error()))?;
        self.write(WINDOWS, &bytes)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file as a whole, in the place of one that is there.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        step_export::write(StagedFile::replacing(self.path.join(name))?, bytes, true)
    }
}

/// That two configurations differ in nothing that changes numbers.
fn check_same(before: &Config, now: &Config) -> Result<()> {
    let (own, wanted) = (before.length(), now.length());
    if own.steps_per_epoch != wanted.steps_per_epoch {
        let shown = |steps: Option<u64>| {
            steps.map_or("all windows".to_owned(), |steps| {
                format!("{steps} step{}", if steps == 1 { "" } else { "s" })
            })
        };
        let remedy = match (own.steps_per_epoch, now.training.steps) {
            (Some(each), Some(steps)) if steps % each == 0 => {
                format!(" (training.epochs = {} makes it so)", steps / each)
            }
            (Some(each), Some(_)) => format!(" (training.steps that are a multiple of {each} make it so)"),
            _ => String::new(),
        };
        let message = format!(
            "the run that is gone on with has epochs of another length: expected {}, got {}{remedy}",
            shown(own.steps_per_epoch),
            shown(wanted.steps_per_epoch)
        );
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    let (before, now) = (flat(before)?, flat(now)?);
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for key in keys {
        if FREE.iter().any(|free| key.starts_with(free)) || before.get(key) == now.get(key) {
            continue;
        }
        let shown = |own: Option<&Value>| own.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let message = format!(
            "the run that is gone on with has other settings: {key}: expected {}, got {}",
            shown(before.get(key)),
            shown(now.get(key))
        );
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    Ok(())
}

/// All values by their whole keys.
fn flat(config: &Config) -> Result<std::collections::BTreeMap<String, Value>> {
    let table: Table = config
        .to_toml()?
        .parse()
        .map_err(|error: toml::de::Error| Error::internal("a configuration").caused_by(error))?;
    let mut all = std::collections::BTreeMap::new();
    let mut left = vec![(String::new(), Value::Table(table))];
    while let Some((name, value)) = left.pop() {
        match value {
            Value::Table(table) => {
                let dot = if name.is_empty() { "" } else { "." };
                left.extend(table.into_iter().map(|(key, value)| (format!("{name}{dot}{key}"), value)));
            }
            value => {
                all.insert(name, value);
            }
        }
    }
    Ok(all)
}

/// Date and time in UTC, of seconds since 1970: `20260131-235959`.
fn stamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date of a day count, in eras of 400 years that begin in March (Hinnant 2013, "chrono-compatible low-level date
    // algorithms").
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `date -u -d @N +%Y%m%d-%H%M%S`.
    #[test]
    fn stamps_are_those_of_date() {
        for (seconds, expected) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (1_709_251_199, "20240229-235959"),
            (1_709_251_200, "20240301-000000"),
            (1_735_689_599, "20241231-235959"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert_eq!(stamp(seconds), expected);
        }
    }

    fn config(folder: &Path, settings: &[&str]) -> Config {
        let mut config = Config::parse("model = \"m.onnx\"", settings).unwrap();
        config.out = Some(folder.to_owned());
        config
    }

    #[test]
    fn a_folder_is_used_once_or_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = config(&path, &["training.epochs=3"]);
        RunFolder::open(&first, false).unwrap();
        assert_eq!(Config::read(path.join(CONFIG), &[]).unwrap(), first);
        assert_eq!(RunFolder::open(&first, false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        RunFolder::open(&config(&path, &["training.epochs=5", "run.threads=1"]), true).unwrap();
        let other = RunFolder::open(&config(&path, &["training.learning_rate=1"]), true).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Mismatch);
        assert!(other.one_line().contains("training.learning_rate: expected 0.0001, got 1.0"), "{other}");
        let strange = folder.path().join("strange");
        fs::create_dir(&strange).unwrap();
        fs::write(strange.join("x"), "y").unwrap();
        for resume in [false, true] {
            let error = RunFolder::open(&config(&strange, &[]), resume).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read_dir(&strange).unwrap().count(), 1);
    }

    #[test]
    fn what_was_not_begun_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("of/mine/run");
        let own = config(&path, &["training.epochs=3"]);
        RunFolder::open(&own, false).unwrap().abandon();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::create_dir_all(folder.path().join("of/mine")).unwrap();
        // A folder that was there stays, and so does what is not of this run.
        fs::create_dir(&path).unwrap();
        let begun = RunFolder::open(&own, false).unwrap();
        fs::create_dir(path.join(CHECKPOINTS)).unwrap();
        begun.abandon();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        // A run that is gone on with keeps its configuration, too.
        RunFolder::open(&own, false).unwrap();
        let longer = config(&path, &["training.epochs=9"]);
        let again = RunFolder::open(&longer, true).unwrap();
        again.abandon();
        assert_eq!(Config::read(path.join(CONFIG), &[]).unwrap(), own);
        again.settle(&longer).unwrap();
        assert_eq!(Config::read(path.join(CONFIG), &[]).unwrap(), longer);
    }

    #[test]
    fn folders_are_checked_without_being_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let own = config(&path, &[]);
        own.check_out(false).unwrap();
        own.check_out(true).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        RunFolder::open(&own, false).unwrap();
        assert_eq!(own.check_out(false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        own.check_out(true).unwrap();
        let file = config(&path.join(CONFIG).join("run"), &[]);
        assert_eq!(file.check_out(false).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
