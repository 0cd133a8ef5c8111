//! The operators of glebe against standard ones, alternately in one run: `cargo bench --bench operators [-- NAME]`.
//! Times are the best of the rounds; the share is of what the `gemm` crate reaches on a large matrix product.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::time::Instant;

use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::runtime::operators::{DOMAIN, VERSION};
use glebe::runtime::{Binding, BoundSession, Place, Runtime, RuntimeOptions, SessionOptions};

fn threads() -> usize {
    std::env::var("THREADS").map_or(2, |count| count.parse().unwrap())
}
const ROUNDS: usize = 12;

struct Case {
    name: &'static str,
    images: usize,
    channels: usize,
    filters: usize,
    size: usize,
    kernel: usize,
    groups: usize,
    /// What a first version took, ms.
    target: f64,
}

const CASES: [Case; 10] = [
    Case {
        name: "64→64 @128² 3×3",
        images: 4,
        channels: 64,
        filters: 64,
        size: 128,
        kernel: 3,
        groups: 1,
        target: 120.0,
    },
    Case {
        name: "256→256 @32² 3×3",
        images: 4,
        channels: 256,
        filters: 256,
        size: 32,
        kernel: 3,
        groups: 1,
        target: 80.0,
    },
    Case {
        name: "16→16 @256² 3×3",
        images: 4,
        channels: 16,
        filters: 16,
        size: 256,
        kernel: 3,
        groups: 1,
        target: 55.0,
    },
    Case {
        name: "128→128 @32² 3×3",
        images: 4,
        channels: 128,
        filters: 128,
        size: 32,
        kernel: 3,
        groups: 1,
        target: 18.0,
    },
    Case {
        name: "512→512 @8² 3×3",
        images: 4,
        channels: 512,
        filters: 512,
        size: 8,
        kernel: 3,
        groups: 1,
        target: 23.0,
    },
    Case {
        name: "256→64 @64² 1×1",
        images: 4,
        channels: 256,
        filters: 64,
        size: 64,
        kernel: 1,
        groups: 1,
        target: f64::NAN,
    },
    Case {
        name: "128 @64² depthwise",
        images: 4,
        channels: 128,
        filters: 128,
        size: 64,
        kernel: 3,
        groups: 128,
        target: f64::NAN,
    },
    Case {
        name: "256→256 @16² 3×3",
        images: 4,
        channels: 256,
        filters: 256,
        size: 16,
        kernel: 3,
        groups: 1,
        target: f64::NAN,
    },
    Case {
        name: "32→16 @256² 3×3",
        images: 4,
        channels: 32,
        filters: 16,
        size: 256,
        kernel: 3,
        groups: 1,
        target: f64::NAN,
    },
    Case {
        name: "512→2048 @8² 1×1",
        images: 4,
        channels: 512,
        filters: 2048,
        size: 8,
        kernel: 1,
        groups: 1,
        target: f64::NAN,
    },
];

fn main() {
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
    let peak = gemm_peak();
    println!("gemm: {peak:.1} GFlop/s a thread\n");
    println!("{:22} {:>9} {:>9} {:>9} {:>9} {:>7}", "dW, ms", "own", "per tap", "target", "GFlop/s", "share");
    for case in
        CASES.iter().filter(|case| only.is_empty() || only.iter().any(|name| case.name.contains(name)))
    {
        let mut own = Prepared::new(&runtime, case, own(case));
        let mut taps = Prepared::new(&runtime, case, per_tap(case));
        let (mut best_own, mut best_taps) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            best_own = best_own.min(own.time());
            best_taps = best_taps.min(taps.time());
        }
        let flops = 2.0
            * (case.images * case.filters * case.channels / case.groups) as f64
            * (case.kernel * case.kernel * case.size * case.size) as f64;
        let rate = flops / best_own / 1e9;
        println!(
            "{:22} {:9.2} {:9.2} {:9.0} {:9.1} {:6.0}%",
            case.name,
            best_own * 1e3,
            best_taps * 1e3,
            case.target,
            rate,
            100.0 * rate / (peak * threads() as f64)
        );
    }
}

struct Prepared {
    session: BoundSession,
    binding: Binding,
}

impl Prepared {
    fn new(runtime: &Runtime, case: &Case, graph: GraphBuilder) -> Prepared {
        let mut options = SessionOptions::default();
        options.threads = threads();
        options.operators = true;
        let session = BoundSession::new(runtime, &graph.finish().unwrap(), &options).unwrap();
        let mut binding = session.binding().unwrap();
        for (name, channels) in [("x", case.channels), ("dy", case.filters)] {
            let shape = [case.images, channels, case.size, case.size];
            let values: Vec<f32> = (0..shape.iter().product())
                .map(|at: usize| (at * 7919 % 1013) as f32 / 1013.0 - 0.5)
                .collect();
            binding.bind_input(name, &session.tensor(&shape, &values).unwrap()).unwrap();
        }
        binding.fetch_output("dw", Place::Device).unwrap();
        Prepared { session, binding }
    }

    fn time(&mut self) -> f64 {
        let start = Instant::now();
        let _ = self.session.run(&mut self.binding).unwrap();
        start.elapsed().as_secs_f64()
    }
}

fn start(case: &Case) -> GraphBuilder {
    let mut graph = GraphBuilder::new("dw");
    let dims =
        |channels: usize| [case.images, channels, case.size, case.size].map(|dim| Dim::Fixed(dim as u64));
    graph.input("x", ElementType::Float32, &dims(case.channels));
    graph.input("dy", ElementType::Float32, &dims(case.filters));
    graph.opset(17);
    graph
}

fn finish(mut graph: GraphBuilder, case: &Case, dw: &str) -> GraphBuilder {
    let shape = [case.filters, case.channels / case.groups, case.kernel, case.kernel];
    graph.output(dw, ElementType::Float32, &shape.map(|dim| Dim::Fixed(dim as u64)));
    graph
}

fn own(case: &Case) -> GraphBuilder {
    let mut graph = start(case);
    let (kernel, pad) = (case.kernel as i64, case.kernel as i64 / 2);
    let dw = graph
        .node("ConvWeightGrad", &["x", "dy"])
        .domain(DOMAIN, VERSION)
        .ints("kernel_shape", &[kernel; 2])
        .ints("pads", &[pad; 4])
        .int("group", case.groups as i64)
        .output("dw");
    finish(graph, case, &dw)
}

/// The form in standard operators: a slice of the padded input and a matrix product for each tap.
fn per_tap(case: &Case) -> GraphBuilder {
    let mut graph = start(case);
    let (size, kernel) = (case.size as i64, case.kernel as i64);
    let pads =
        graph.initializer_i64("pads", &[8], &[0, 0, kernel / 2, kernel / 2, 0, 0, kernel / 2, kernel / 2]);
    let padded = if case.kernel > 1 { graph.node("Pad", &["x", &pads]).output("padded") } else { "x".into() };
    let axes = graph.initializer_i64("axes", &[2], &[2, 3]);
    let first = graph.initializer_i64("first", &[1], &[0]);
    let (n, m, c) = (case.images as i64, case.filters as i64, case.channels as i64);
    let depthwise = case.groups > 1;
    let dy = if depthwise {
        "dy".to_owned()
    } else {
        let flat = graph.initializer_i64("dy_shape", &[3], &[n, m, size * size]);
        graph.node("Reshape", &["dy", &flat]).output("dy_flat")
    };
    let x_shape = graph.initializer_i64("x_shape", &[3], &[n, c, size * size]);
    let one = graph.initializer_i64("dw_shape", &[4], &[m, if depthwise { 1 } else { c }, 1, 1]);
    let mut columns = Vec::new();
    for (i, j) in (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j))) {
        let from = graph.initializer_i64("from", &[2], &[i, j]);
        let to = graph.initializer_i64("to", &[2], &[i + size, j + size]);
        let tap = if case.kernel > 1 {
            graph.node("Slice", &[&padded, &from, &to, &axes]).output("tap")
        } else {
            padded.clone()
        };
        let sum = if depthwise {
            let product = graph.node("Mul", &[&tap, &dy]).output("product");
            let all = graph.initializer_i64("all", &[3], &[0, 2, 3]);
            let sum = graph.node("ReduceSum", &[&product, &all]).int("keepdims", 0).output("sum");
            graph.node("Reshape", &[&sum, &one]).output("column")
        } else {
            let flat = graph.node("Reshape", &[&tap, &x_shape]).output("flat");
            let turned = graph.node("Transpose", &[&flat]).ints("perm", &[0, 2, 1]).output("turned");
            let product = graph.node("MatMul", &[&dy, &turned]).output("product");
            let sum = graph.node("ReduceSum", &[&product, &first]).int("keepdims", 0).output("sum");
            graph.node("Reshape", &[&sum, &one]).output("column")
        };
        columns.push(sum);
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let all = graph.node("Concat", &columns).int("axis", 3).output("columns");
    let shape = [m, if depthwise { 1 } else { c }, kernel, kernel];
    let shape = graph.initializer_i64("shape", &[4], &shape);
    let dw = graph.node("Reshape", &[&all, &shape]).output("dw");
    finish(graph, case, &dw)
}

/// GFlop/s of the `gemm` crate in one thread.
fn gemm_peak() -> f64 {
    const N: usize = 768;
    let (a, b, mut c) = (vec![0.5f32; N * N], vec![0.25f32; N * N], vec![0f32; N * N]);
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        // SAFETY: three square matrices of N × N, one after the other in memory.
        #[allow(unsafe_code, reason = "the interface of the crate")]
        unsafe {
            gemm::gemm(
                N,
                N,
                N,
                c.as_mut_ptr(),
                1,
                N as isize,
                false,
                a.as_ptr(),
                1,
                N as isize,
                b.as_ptr(),
                1,
                N as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (N * N * N) as f64 / best / 1e9
}
