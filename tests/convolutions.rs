//! Convolutions of our own as nodes that ONNX Runtime runs, against its own operators.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::runtime::operators::{DOMAIN, VERSION};
use glebe::runtime::{BoundSession, Place, Runtime, RuntimeOptions, SessionOptions};

struct Conv {
    images: usize,
    channels: usize,
    filters: usize,
    input: [usize; 2],
    output: [usize; 2],
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: [i64; 4],
    groups: usize,
    relu: bool,
}

/// Which operator of a pair.
#[derive(Clone, Copy, PartialEq)]
enum Which {
    Own,
    Standard,
}

impl Conv {
    fn graph(&self, which: Which) -> GraphBuilder {
        let mut graph = GraphBuilder::new("conv");
        let dims = |dims: [usize; 4]| dims.map(|dim| Dim::Fixed(dim as u64));
        let [height, width] = self.input;
        let image = dims([self.images, self.channels, height, width]);
        let result = dims([self.images, self.filters, self.output[0], self.output[1]]);
        let weight = dims([self.filters, self.channels / self.groups, self.kernel, self.kernel]);
        let x = graph.input("x", ElementType::Float32, &image);
        let w = graph.input("w", ElementType::Float32, &weight);
        let b = graph.input("b", ElementType::Float32, &[Dim::Fixed(self.filters as u64)]);
        let dy = graph.input("dy", ElementType::Float32, &result);
        let (kernel, strides) = ([self.kernel as i64; 2], [self.stride as i64; 2]);
        let (dilations, groups) = ([self.dilation as i64; 2], self.groups as i64);
        let (y, dx) = if which == Which::Own {
            let forward = graph
                .node("ConvForward", &[&x, &w, &b])
                .domain(DOMAIN, VERSION)
                .ints("kernel_shape", &kernel)
                .ints("strides", &strides)
                .ints("dilations", &dilations)
                .ints("pads", &self.pads)
                .int("group", groups);
            let y = if self.relu { forward.float("low", 0.0).output("y") } else { forward.output("y") };
            let dx = graph
                .node("ConvInputGrad", &[&dy, &w])
                .domain(DOMAIN, VERSION)
                .ints("kernel_shape", &kernel)
                .ints("strides", &strides)
                .ints("dilations", &dilations)
                .ints("pads", &self.pads)
                .int("group", groups)
                .ints("input_shape", &[height as i64, width as i64])
                .output("dx");
            (y, dx)
        } else {
            let y = graph
                .node("Conv", &[&x, &w, &b])
                .ints("strides", &strides)
                .ints("dilations", &dilations)
                .ints("pads", &self.pads)
                .int("group", groups)
                .output("y");
            let y = if self.relu { graph.node("Relu", &[&y]).output("cut") } else { y };
            let rest = [0, 1].map(|axis| {
                let covered =
                    (self.output[axis] as i64 - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1;
                self.input[axis] as i64 + self.pads[axis] + self.pads[axis + 2] - covered
            });
            let dx = graph
                .node("ConvTranspose", &[&dy, &w])
                .ints("strides", &strides)
                .ints("dilations", &dilations)
                .ints("pads", &self.pads)
                .int("group", groups)
                .ints("output_padding", &rest)
                .output("dx");
            (y, dx)
        };
        graph.output(&y, ElementType::Float32, &result).output(&dx, ElementType::Float32, &image).opset(17);
        graph
    }

    fn run(&self, which: Which, threads: usize) -> [Vec<f32>; 2] {
        let runtime = Runtime::load(&RuntimeOptions::default())
            .expect("ONNX Runtime (run `make test`, which fetches it)");
        let mut options = SessionOptions::default();
        options.threads = threads;
        options.operators = true;
        let mut session =
            BoundSession::new(&runtime, &self.graph(which).finish().unwrap(), &options).unwrap();
        let mut binding = session.binding().unwrap();
        let shapes = [
            ("x", vec![self.images, self.channels, self.input[0], self.input[1]]),
            ("w", vec![self.filters, self.channels / self.groups, self.kernel, self.kernel]),
            ("b", vec![self.filters]),
            ("dy", vec![self.images, self.filters, self.output[0], self.output[1]]),
        ];
        for (salt, (name, shape)) in shapes.iter().enumerate() {
            let count = shape.iter().product();
            let values: Vec<f32> =
                (0..count).map(|at: usize| (at * 7919 % (1013 + salt)) as f32 / 1013.0 - 0.5).collect();
            binding.bind_input(name, &session.tensor(shape, &values).unwrap()).unwrap();
        }
        let y = if self.relu && which == Which::Standard { "cut" } else { "y" };
        for name in [y, "dx"] {
            binding.fetch_output(name, Place::Host).unwrap();
        }
        // Twice: the second run finds a plan, and buffers with old content.
        drop(session.run(&mut binding).unwrap());
        let mut outputs = session.run(&mut binding).unwrap();
        [y, "dx"].map(|name| outputs.take(name).unwrap().to_vec().unwrap())
    }
}

#[test]
fn nodes_compute_what_those_of_the_runtime_compute() {
    let plain = |channels: usize, filters: usize, size: usize, kernel: usize| Conv {
        images: 2,
        channels,
        filters,
        input: [size; 2],
        output: [size; 2],
        kernel,
        stride: 1,
        dilation: 1,
        pads: [kernel as i64 / 2; 4],
        groups: 1,
        relu: false,
    };
    let cases = [
        plain(19, 37, 32, 3),
        Conv { relu: true, ..plain(64, 24, 20, 1) },
        Conv { stride: 2, output: [23; 2], ..plain(3, 16, 45, 7) },
        Conv { relu: true, groups: 12, ..plain(12, 12, 40, 3) },
        Conv { dilation: 6, pads: [6; 4], ..plain(8, 9, 24, 3) },
        Conv { stride: 2, pads: [0, 0, 1, 1], output: [16, 16], ..plain(5, 6, 32, 3) },
    ];
    for (index, case) in cases.iter().enumerate() {
        let standard = case.run(Which::Standard, 1);
        let own = case.run(Which::Own, 1);
        for (own, standard) in own.iter().zip(&standard) {
            assert_eq!(own.len(), standard.len());
            let size = standard.iter().fold(0f32, |most, value| most.max(value.abs()));
            for (a, b) in own.iter().zip(standard) {
                assert!((a - b).abs() <= 1e-5 * size, "{index}: {a} {b}");
            }
        }
        for threads in [2, 3] {
            assert!(own == case.run(Which::Own, threads), "{index}: other bits with {threads} threads");
        }
    }
}
