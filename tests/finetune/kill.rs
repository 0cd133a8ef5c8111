//! Runs that are killed at any moment and go on.

#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use glebe::finetune::Trainer;

use crate::files::{contents, fit_options, writers};
use crate::fixtures::Numbers;
use crate::lifecycle::{loader, trainer};

const FOLDER: &str = "GLEBE_TEST_KILLED_RUN";
/// Moments at which a run is killed.
const MOMENTS: usize = 50;

/// What the child does: 3 epochs of 20 batches, from the newest checkpoint on.
fn run(folder: &Path) {
    let options = fit_options(folder, 3);
    let mut own: Trainer = trainer(options, writers(folder));
    own.resume_newest().unwrap();
    std::fs::write(folder.with_extension("started"), "").unwrap();
    own.fit(&mut loader(20, 1).shuffled(), Some(&mut loader(4, 9))).unwrap();
}

#[test]
#[ignore = "the child of runs_that_were_killed_end_as_if_they_had_not_been"]
fn child() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        run(Path::new(&folder));
    }
}

fn start(folder: &Path) -> Child {
    let _ = std::fs::remove_file(folder.with_extension("started"));
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until the fit begins, or the child has ended.
fn begun(child: &mut Child, folder: &Path) {
    let started = folder.with_extension("started");
    while !started.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn runs_that_were_killed_end_as_if_they_had_not_been() {
    let all = tempfile::tempdir().unwrap();
    let whole = all.path().join("whole");
    std::fs::create_dir(&whole).unwrap();
    let mut child = start(&whole);
    begun(&mut child, &whole);
    let from = Instant::now();
    assert!(child.wait().unwrap().success());
    let mut lasted = from.elapsed();
    let expected = contents(&whole);
    let names: Vec<&str> = expected.iter().map(|own| own.0.as_str()).collect();
    assert!(names.contains(&"Train/epoch_metrics.csv") && names.contains(&"checkpoints/last.safetensors"));
    // Other moments: GLEBE_TEST_KILL_SEED.
    let seed = std::env::var("GLEBE_TEST_KILL_SEED").map_or(5, |own| own.parse().unwrap());
    let mut numbers = Numbers::new(seed);
    let mut killed = 0;
    for moment in 0..MOMENTS {
        let folder = all.path().join(format!("killed-{moment}"));
        std::fs::create_dir(&folder).unwrap();
        let mut child = start(&folder);
        begun(&mut child, &folder);
        std::thread::sleep(lasted.mul_f64(f64::from(numbers.next()).midpoint(1.0)));
        // SIGKILL: nothing in the child can answer it.
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // Runs are shorter than the first one was: the machine has less to do now.
            lasted = lasted.mul_f64(0.9);
        } else {
            killed += 1;
        }
        assert!(start(&folder).wait().unwrap().success(), "{moment}: {:?}", contents(&folder));
        let found = contents(&folder);
        let found_names: Vec<&str> = found.iter().map(|own| own.0.as_str()).collect();
        assert_eq!(found_names, names, "{moment}");
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            assert!(found == expected, "{moment}: {name} differs");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
    assert!(killed > MOMENTS / 2, "only {killed} runs were killed before they had ended");
}
