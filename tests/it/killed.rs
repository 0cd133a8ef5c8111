//! The program, killed and starved at any moment, and taken up again.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::fixtures::{golden, noise, noise_image, write_raster};

struct Scene {
    folder: tempfile::TempDir,
    blend: &'static str,
}

impl Scene {
    fn new(blend: &'static str) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        write_raster(&folder.path().join("in.tif"), &noise_image::<u8>([3, 500, 520], 3, 255.0), None);
        Scene { folder, blend }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, output: &str) -> Vec<String> {
        let model = golden("conv.onnx");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut arguments = vec!["-q".to_owned(), "segment".into(), text(&model), text(&self.path("in.tif"))];
        arguments.extend(["-o".into(), text(&self.path(output)), "--resume".into()]);
        // Without compression the finished file is larger than the samples.
        let fixed = ["--threads", "1", "--tile", "64", "--overlap", "16", "--compress", "none", "--blend"];
        for fixed in fixed.into_iter().chain([self.blend]) {
            arguments.push(fixed.into());
        }
        arguments.extend(["--scale", "255", "--mean", "0.5", "--std", "0.25"].map(str::to_owned));
        arguments
    }

    fn command(&self, output: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glebe"));
        command.args(self.arguments(output)).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The bytes of an undisturbed job, and how long it took.
    fn whole(&self) -> (Vec<u8>, Duration) {
        let start = Instant::now();
        let done = self.command("whole.tif").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let bytes = fs::read(self.path("whole.tif")).unwrap();
        fs::remove_file(self.path("whole.tif")).unwrap();
        (bytes, start.elapsed())
    }
}

/// Kills jobs at random moments until so many died, and goes on with each until it is whole.
fn kills(blend: &'static str, kills: usize) {
    let scene = Scene::new(blend);
    let (expected, took) = scene.whole();
    let mut dice = noise(17);
    let (mut killed, mut finished) = (0, 0);
    while killed < kills {
        let mut child = scene.command("out.tif").spawn().unwrap();
        // Longer than a job takes, so that its end is met as often as its beginning.
        std::thread::sleep(took.mul_f64(dice() * 1.1));
        let _ = child.kill();
        let done = child.wait_with_output().unwrap();
        if done.status.code().is_none() {
            killed += 1;
        } else {
            let error = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{error}");
        }
        // Whatever is there is whole, and there is nothing but the raster, the output and its folder.
        if scene.path("out.tif").exists() {
            assert!(fs::read(scene.path("out.tif")).unwrap() == expected, "after {killed} kills");
        }
        let foreign: Vec<String> = scene
            .names()
            .into_iter()
            .filter(|name| {
                !["in.tif", "out.tif", "out.tif.part", "out.tif.part.done"].contains(&name.as_str())
            })
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        if scene.path("out.tif").exists() {
            // Killed after the output was in its place: what is left goes with the next one.
            if scene.path("out.tif.part").exists() {
                let done = scene.command("out.tif").output().unwrap();
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
                assert!(!scene.path("out.tif.part").exists());
            }
            fs::remove_file(scene.path("out.tif")).unwrap();
            finished += 1;
        }
    }
    let done = scene.command("out.tif").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(fs::read(scene.path("out.tif")).unwrap() == expected);
    eprintln!("{blend}: {killed} kills, {finished} jobs brought to their end in spite of them");
}

#[test]
fn fifty_kills_of_a_cropped_job_change_nothing() {
    kills("crop", 50);
}

#[test]
fn fifty_kills_of_a_blended_job_change_nothing() {
    kills("gaussian", 50);
}

#[test]
fn a_full_disk_is_an_error_and_what_is_done_stays() {
    let scene = Scene::new("hann");
    let (expected, took) = scene.whole();
    // Files may have so many blocks of 512 bytes: too few for the samples, then for the finished file only.
    for (blocks, kill_first) in [(100, false), (300, true), (510, false), (700, true)] {
        if kill_first {
            let mut child = scene.command("out.tif").spawn().unwrap();
            std::thread::sleep(took / 2);
            let _ = child.kill();
            child.wait().unwrap();
        }
        let quoted: Vec<String> =
            scene.arguments("out.tif").iter().map(|argument| format!("'{argument}'")).collect();
        // The program outlives the limit's signal: an error of the write, as a full disk is.
        let script =
            format!("ulimit -f {blocks}; exec '{}' {}", env!("CARGO_BIN_EXE_glebe"), quoted.join(" "));
        let done = Command::new("sh").args(["-c", &script]).output().unwrap();
        let line = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!scene.path("out.tif").exists(), "{blocks} blocks were enough");
        assert_eq!(done.status.code(), Some(6), "{line}");
        assert!(line.starts_with("glebe: error: ") && line.lines().count() == 1, "{line}");
        let done = scene.command("out.tif").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(fs::read(scene.path("out.tif")).unwrap() == expected, "{blocks} blocks");
        assert_eq!(scene.names(), ["in.tif", "out.tif"]);
        fs::remove_file(scene.path("out.tif")).unwrap();
    }
}

#[test]
fn an_archive_is_gone_on_with() {
    let scene = Scene::new("crop");
    let (expected, _) = scene.whole();
    fs::create_dir(scene.path("maps")).unwrap();
    for name in ["a.tif", "b.tif", "c.tif"] {
        fs::copy(scene.path("in.tif"), scene.path(name)).unwrap();
    }
    // The first is done, the second is cut short by its own limit on files, the third was not begun.
    let run = |inputs: &[&str], limit: &str, resume: bool| {
        let mut arguments = scene.arguments("maps");
        arguments.retain(|argument| resume || argument != "--resume");
        let input = arguments.iter().position(|argument| argument.ends_with("in.tif")).unwrap();
        let inputs = inputs.iter().map(|name| scene.path(name).to_str().unwrap().to_owned());
        arguments.splice(input..=input, inputs);
        let quoted: Vec<String> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
        let script = format!("{limit} exec '{}' {}", env!("CARGO_BIN_EXE_glebe"), quoted.join(" "));
        let done = Command::new("sh").args(["-c", &script]).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    assert_eq!(run(&["a.tif"], "", false).0, Some(0));
    let before = fs::metadata(scene.path("maps/a.classes.tif")).unwrap().modified().unwrap();
    let (code, line) = run(&["b.tif"], "ulimit -f 600;", false);
    assert!(code == Some(6) && line.contains("(--resume)"), "{line}");
    // Without the option nothing of it is touched.
    let (code, lines) = run(&["a.tif", "b.tif"], "", false);
    assert!(code == Some(5) && lines.contains("2 of 2 rasters failed"), "{lines}");
    let (code, lines) = run(&["a.tif", "b.tif", "c.tif"], "", true);
    assert_eq!(code, Some(0), "{lines}");
    assert!(lines.contains("a.classes.tif: is there already"), "{lines}");
    for name in ["a", "b", "c"] {
        assert!(fs::read(scene.path(&format!("maps/{name}.classes.tif"))).unwrap() == expected, "{name}");
    }
    assert_eq!(fs::metadata(scene.path("maps/a.classes.tif")).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(scene.path("maps")).unwrap().count(), 3);
}
