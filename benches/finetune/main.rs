//! Training steps of whole networks by `glebe step` and by PyTorch, alternately in one run: `make bench-finetune`, or
//! `cargo bench --bench finetune [-- NETWORK | all | decoder | head | cached ...]`.
//!
//! From the environment: `PEER_MODELS`, a folder with `NETWORK.train.onnx` and `NETWORK.safetensors`; `PEERS_PYTHON`, a
//! Python with torch, and `PEER_SCRIPT`, the program that trains `NETWORK NETWORK.safetensors --train all|decoder|head`
//! with it and prints a line of JSON with `step_ms` and `peak_rss_mib`. Without the latter two glebe is measured alone.
//! `ROUNDS` (5), `STEPS` of a run (6), `THREADS` (2).
//!
//! A time is the median over the rounds of each run's median step without the first, which warms up; processor time tells
//! what a machine that others use too makes of it. Peak memory is the largest resident set of the whole process. The table
//! says where a target is missed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use glebe::weights::tensors::{Elements, NamedTensor, Tensors, write};
use serde_json::Value;

const NETWORKS: [&str; 3] = ["unet_r18", "deeplab_mnv2", "segformer_b0"];
const BATCH: usize = 4;
const SIZE: usize = 256;
const CLASSES: u64 = 5;

/// What is trained, what glebe and the peer call it, and the targets: step time and peak memory as shares of PyTorch's.
const TRAINED: [(&str, &str, &str, f64, Option<f64>); 4] = [
    ("all", "all", "all", 0.9, Some(0.7)),
    ("decoder", "decoder,head", "decoder", 0.8, Some(0.6)),
    ("head", "head", "head", 0.7, Some(0.5)),
    ("cached", "head", "head", 0.1, None),
];

/// Runs the peer's program and adds a line with the processor time of its steps, whose clock it reads before and after.
const TIMED: &str = "
import json, runpy, statistics, sys, time
clock, log = time.perf_counter, []
def timed():
    now = clock()
    log.append(time.process_time())
    return now
time.perf_counter = timed
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
steps = [after - before for before, after in zip(log[::2], log[1::2])]
print(json.dumps(dict(step_cpu_ms=1e3 * statistics.mean(steps[1:]))))
";

fn main() {
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let Some(models) = path("PEER_MODELS") else {
        println!("finetune: give PEER_MODELS=FOLDER, with NETWORK.train.onnx and NETWORK.safetensors");
        return;
    };
    let peer = path("PEERS_PYTHON").zip(path("PEER_SCRIPT"));
    if peer.is_none() {
        println!("PEERS_PYTHON and PEER_SCRIPT are not set: glebe alone\n");
    }
    let (rounds, steps, threads) = (number("ROUNDS", 5), number("STEPS", 6), number("THREADS", 2));
    let folder = tempfile::tempdir().unwrap();
    let batches = folder.path().join("batches.safetensors");
    write_batches(&batches, steps);
    println!(
        "batch {BATCH} x {SIZE}², {threads} threads, {rounds} rounds of {steps} steps; glebe / PyTorch\n\n\
         {:13} {:8} {:>20} {:>20} {:>18} {:>7}",
        "network", "trained", "step ms", "processor ms", "peak MiB", "build"
    );
    let wanted = |name: &str, among: &[&str]| {
        let mut named = only.iter().filter(|only| among.contains(&only.as_str())).peekable();
        named.peek().is_none() || named.any(|only| only == name)
    };
    let trained: Vec<&str> = TRAINED.iter().map(|own| own.0).collect();
    for network in NETWORKS.into_iter().filter(|name| wanted(name, &NETWORKS)) {
        for (name, own, others, time, memory) in TRAINED.into_iter().filter(|own| wanted(own.0, &trained)) {
            let run = Run { network, models: &models, batches: &batches, steps, threads };
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                ours.push(run.glebe(own, name == "cached"));
                theirs.extend(peer.as_ref().map(|(python, script)| run.peer(python, script, others)));
            }
            let column = |key: &str, target: Option<f64>| compared(&ours, &theirs, key, target);
            println!(
                "{network:13} {name:8} {:>20} {:>20} {:>18} {:>7.0}",
                column("step_ms", Some(time)),
                column("step_cpu_ms", None),
                column("peak_rss_mib", memory),
                median(&ours, "build_ms").unwrap_or(f64::NAN)
            );
        }
    }
}

fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Noise with labels of noise: no network gets anywhere with it, and the time does not depend on it.
fn write_batches(path: &Path, steps: usize) {
    let mut state = 88_172_645_463_325_252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 20
    };
    let images: Vec<f32> =
        (0..steps * BATCH * 3 * SIZE * SIZE).map(|_| (next() % 4096) as f32 / 1024.0 - 2.0).collect();
    let labels: Vec<i64> = (0..steps * BATCH * SIZE * SIZE).map(|_| (next() % CLASSES) as i64).collect();
    let mut tensors = Tensors::new();
    tensors.insert("images".into(), NamedTensor::f32(&[steps, BATCH, 3, SIZE, SIZE], images));
    let labels = NamedTensor { shape: vec![steps, BATCH, SIZE, SIZE], elements: Elements::I64(labels) };
    tensors.insert("labels".into(), labels);
    write(path, &tensors, &BTreeMap::new(), false).unwrap();
}

struct Run<'a> {
    network: &'a str,
    models: &'a Path,
    batches: &'a Path,
    steps: usize,
    threads: usize,
}

impl Run<'_> {
    /// With a cache every batch comes twice, and the second time counts.
    fn glebe(&self, params: &str, cached: bool) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glebe"));
        command.arg("step").arg(self.models.join(format!("{}.train.onnx", self.network)));
        command.arg("--batches").arg(self.batches);
        command.args(["--params", params, "--json", "--threads", &self.threads.to_string()]);
        if cached {
            command.args(["--cache-memory", "4GiB", "--steps", &(2 * self.steps).to_string()]);
        }
        let mut report = json(command);
        if cached {
            let all: Vec<f64> =
                report["step_ms_all"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
            report["step_ms"] = middle(all[self.steps..].to_vec()).into();
            report["step_cpu_ms"] = Value::Null;
        }
        report
    }

    fn peer(&self, python: &Path, script: &Path, trained: &str) -> Value {
        let mut command = Command::new(python);
        command.args(["-c", TIMED]).arg(script).arg(self.network);
        command.arg(self.models.join(format!("{}.safetensors", self.network)));
        command.args(["--train", trained, "--batch", &BATCH.to_string(), "--size", &SIZE.to_string()]);
        command.args(["--steps", &self.steps.to_string(), "--threads", &self.threads.to_string()]);
        json(command)
    }
}

/// What a program says in lines of JSON, taken together.
fn json(mut command: Command) -> Value {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    let mut all = serde_json::Map::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        if let Ok(Value::Object(object)) = serde_json::from_str(line) {
            all.extend(object);
        }
    }
    Value::Object(all)
}

fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let count = all.len();
    if count == 0 { f64::NAN } else { (all[(count - 1) / 2] + all[count / 2]) / 2.0 }
}

fn median(reports: &[Value], key: &str) -> Option<f64> {
    let all: Vec<f64> = reports.iter().filter_map(|report| report[key].as_f64()).collect();
    (!all.is_empty()).then(|| middle(all))
}

/// Both medians and their ratio, with a mark where that is above the target.
fn compared(ours: &[Value], theirs: &[Value], key: &str, target: Option<f64>) -> String {
    match (median(ours, key), median(theirs, key)) {
        (Some(ours), Some(theirs)) => {
            let ratio = ours / theirs;
            let mark = if target.is_some_and(|target| ratio > target) { "!" } else { "" };
            format!("{ours:.0}/{theirs:.0} = {ratio:.2}{mark}")
        }
        (Some(ours), None) => format!("{ours:.0}"),
        _ => String::new(),
    }
}
