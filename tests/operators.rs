//! glebe's own operators against plain sums in double precision, run by ONNX Runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::runtime::operators::{DOMAIN, VERSION};
use glebe::runtime::{BoundSession, Place, Runtime, RuntimeOptions, SessionOptions};

fn session(graph: GraphBuilder, threads: usize) -> glebe::Result<BoundSession> {
    let runtime =
        Runtime::load(&RuntimeOptions::default()).expect("ONNX Runtime (run `make test`, which fetches it)");
    let mut options = SessionOptions::default();
    options.threads = threads;
    options.operators = true;
    BoundSession::new(&runtime, &graph.finish()?, &options)
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 20) as usize % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// From -1 to 1.
    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
    }
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|dim| Dim::Fixed(*dim as u64)).collect()
}

#[derive(Debug, Clone)]
struct Conv {
    images: usize,
    channels: usize,
    filters: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 4],
    groups: usize,
}

impl Conv {
    fn square(images: usize, channels: usize, filters: usize, size: usize, kernel: usize) -> Conv {
        Conv {
            images,
            channels,
            filters,
            input: [size; 2],
            kernel: [kernel; 2],
            strides: [1; 2],
            dilations: [1; 2],
            pads: [kernel / 2; 4],
            groups: 1,
        }
    }

    fn output(&self) -> Option<[usize; 2]> {
        let size = |axis: usize| {
            let padded = self.input[axis] + self.pads[axis] + self.pads[axis + 2];
            let reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1;
            Some(padded.checked_sub(reach)? / self.strides[axis] + 1)
        };
        Some([size(0)?, size(1)?])
    }

    fn graph(&self) -> GraphBuilder {
        let [rows, columns] = self.output().unwrap();
        let mut graph = GraphBuilder::new("dw");
        let x = graph.input(
            "x",
            ElementType::Float32,
            &dims(&[self.images, self.channels, self.input[0], self.input[1]]),
        );
        let dy = graph.input("dy", ElementType::Float32, &dims(&[self.images, self.filters, rows, columns]));
        let list = |values: &[usize]| values.iter().map(|value| *value as i64).collect::<Vec<_>>();
        let dw = graph
            .node("ConvWeightGrad", &[&x, &dy])
            .domain(DOMAIN, VERSION)
            .ints("kernel_shape", &list(&self.kernel))
            .ints("strides", &list(&self.strides))
            .ints("dilations", &list(&self.dilations))
            .ints("pads", &list(&self.pads))
            .int("group", self.groups as i64)
            .output("dw");
        let shape = dims(&[self.filters, self.channels / self.groups, self.kernel[0], self.kernel[1]]);
        graph.output(&dw, ElementType::Float32, &shape).opset(17);
        graph
    }

    /// The gradient, and the sum of the magnitudes that went into each element.
    fn slow(&self, x: &[f32], dy: &[f32]) -> Vec<(f64, f64)> {
        let [rows, columns] = self.output().unwrap();
        let (group_channels, group_filters) = (self.channels / self.groups, self.filters / self.groups);
        let mut dw = Vec::new();
        for m in 0..self.filters {
            for c in 0..group_channels {
                let channel = m / group_filters * group_channels + c;
                for i in 0..self.kernel[0] {
                    for j in 0..self.kernel[1] {
                        let (mut sum, mut size) = (0.0, 0.0);
                        for n in 0..self.images {
                            for r in 0..rows {
                                for q in 0..columns {
                                    let y = (r * self.strides[0] + i * self.dilations[0])
                                        .wrapping_sub(self.pads[0]);
                                    let z = (q * self.strides[1] + j * self.dilations[1])
                                        .wrapping_sub(self.pads[1]);
                                    if y < self.input[0] && z < self.input[1] {
                                        let at = ((n * self.channels + channel) * self.input[0] + y)
                                            * self.input[1]
                                            + z;
                                        let out = ((n * self.filters + m) * rows + r) * columns + q;
                                        let product = f64::from(x[at]) * f64::from(dy[out]);
                                        sum += product;
                                        size += product.abs();
                                    }
                                }
                            }
                        }
                        dw.push((sum, size));
                    }
                }
            }
        }
        dw
    }

    fn check(&self, random: &mut Random) {
        let [rows, columns] = self.output().unwrap();
        let x = random.values(self.images * self.channels * self.input[0] * self.input[1]);
        let dy = random.values(self.images * self.filters * rows * columns);
        let mut first: Option<Vec<f32>> = None;
        for threads in [1, 2, 3] {
            let mut session = session(self.graph(), threads).unwrap();
            let shape = [self.images, self.channels, self.input[0], self.input[1]];
            let inputs = [
                ("x", session.tensor(&shape, &x).unwrap()),
                ("dy", session.tensor(&[self.images, self.filters, rows, columns], &dy).unwrap()),
            ];
            let mut binding = session.binding().unwrap();
            for (name, tensor) in &inputs {
                binding.bind_input(name, tensor).unwrap();
            }
            binding.fetch_output("dw", Place::Host).unwrap();
            for _ in 0..2 {
                let dw = session.run(&mut binding).unwrap().take("dw").unwrap();
                let dw = dw.to_vec::<f32>().unwrap();
                match &first {
                    None => {
                        for (at, (value, (sum, size))) in dw.iter().zip(self.slow(&x, &dy)).enumerate() {
                            let error = (f64::from(*value) - sum).abs();
                            assert!(
                                error <= 1e-6 * size + 1e-30,
                                "{self:?}: {value} for {sum} (of {size}) at {at}"
                            );
                        }
                        first = Some(dw);
                    }
                    Some(first) => assert!(*first == dw, "{self:?}: other bits with {threads} threads"),
                }
            }
        }
    }
}

#[test]
fn weight_gradients_of_usual_layers() {
    let random = &mut Random(7);
    let plain = Conv::square;
    let cases = [
        plain(2, 5, 7, 33, 3),
        plain(1, 16, 16, 64, 3),
        plain(3, 20, 24, 8, 3),
        plain(2, 3, 9, 19, 1),
        plain(3, 40, 33, 4, 1),
        Conv { strides: [2, 2], pads: [3; 4], ..plain(2, 3, 8, 45, 7) },
        Conv { strides: [4, 4], pads: [0; 4], ..plain(2, 3, 10, 40, 4) },
        Conv { strides: [2, 2], pads: [0; 4], ..plain(1, 6, 10, 31, 2) },
        Conv { strides: [2, 2], pads: [0; 4], ..plain(2, 12, 5, 33, 1) },
        Conv { groups: 12, ..plain(2, 12, 12, 40, 3) },
        Conv { groups: 6, strides: [2, 2], dilations: [2, 2], pads: [2; 4], ..plain(2, 6, 6, 37, 3) },
        Conv { groups: 4, ..plain(1, 8, 16, 18, 3) },
        Conv { dilations: [6, 6], pads: [6; 4], ..plain(1, 4, 9, 20, 3) },
        Conv { dilations: [18, 18], pads: [18; 4], ..plain(1, 4, 4, 32, 3) },
        Conv { kernel: [1, 5], pads: [0, 2, 0, 2], ..plain(2, 4, 4, 70, 1) },
        Conv { pads: [0, 1, 2, 3], ..plain(1, 3, 4, 21, 3) },
        Conv { input: [1, 600], ..plain(1, 2, 3, 0, 3) },
    ];
    for case in cases {
        case.check(random);
    }
}

#[test]
fn weight_gradients_of_random_layers() {
    let random = &mut Random(42);
    let count = std::env::var("GLEBE_CASES").map_or(150, |count| count.parse().unwrap());
    let mut checked = 0;
    while checked < count {
        let groups = random.pick(&[1, 1, 1, 2, 3, 8]);
        let conv = Conv {
            images: 1 + random.below(3),
            channels: groups * random.pick(&[1, 1, 2, 5, 9]),
            filters: groups * random.pick(&[1, 1, 2, 4, 7, 18]),
            input: [1 + random.below(40), random.pick(&[1, 3, 8, 15, 16, 17, 32, 50])],
            kernel: [random.pick(&[1, 2, 3, 5]), random.pick(&[1, 2, 3, 4])],
            strides: [random.pick(&[1, 1, 2, 3]), random.pick(&[1, 1, 2, 4])],
            dilations: [random.pick(&[1, 1, 2, 3]), random.pick(&[1, 1, 2, 5])],
            pads: std::array::from_fn(|_| random.pick(&[0, 1, 1, 2, 4])),
            groups,
        };
        if conv.output().is_some() {
            conv.check(random);
            checked += 1;
        }
    }
}

#[test]
fn what_is_no_convolution_is_refused() {
    let conv = Conv::square(1, 4, 4, 8, 3);
    let mut other = conv.clone();
    other.groups = 3;
    assert!(session(other.graph(), 1).is_err() || run_fails(&other));
    // Sizes that do not belong together are found when the node runs.
    let mut graph = GraphBuilder::new("dw");
    let x = graph.input("x", ElementType::Float32, &dims(&[1, 4, 8, 8]));
    let dy = graph.input("dy", ElementType::Float32, &dims(&[1, 4, 9, 9]));
    let dw = graph
        .node("ConvWeightGrad", &[&x, &dy])
        .domain(DOMAIN, VERSION)
        .ints("kernel_shape", &[3, 3])
        .output("dw");
    graph.output(&dw, ElementType::Float32, &dims(&[4, 4, 3, 3])).opset(17);
    let mut session = session(graph, 1).unwrap();
    let x = session.zeros(ElementType::Float32, &[1, 4, 8, 8]).unwrap();
    let dy = session.zeros(ElementType::Float32, &[1, 4, 9, 9]).unwrap();
    let mut binding = session.binding().unwrap();
    binding.bind_input("x", &x).unwrap();
    binding.bind_input("dy", &dy).unwrap();
    binding.fetch_output("dw", Place::Host).unwrap();
    let error = session.run(&mut binding).unwrap_err();
    assert!(error.to_string().contains("do not belong to"), "{error}");
}

fn run_fails(conv: &Conv) -> bool {
    let mut session = session(conv.graph(), 1).unwrap();
    let [rows, columns] = conv.output().unwrap();
    let x = session.zeros(ElementType::Float32, &[1, conv.channels, conv.input[0], conv.input[1]]).unwrap();
    let dy = session.zeros(ElementType::Float32, &[1, conv.filters, rows, columns]).unwrap();
    let mut binding = session.binding().unwrap();
    binding.bind_input("x", &x).unwrap();
    binding.bind_input("dy", &dy).unwrap();
    binding.fetch_output("dw", Place::Host).unwrap();
    session.run(&mut binding).is_err()
}

#[derive(Debug)]
struct Loss {
    images: usize,
    classes: usize,
    size: Vec<usize>,
    smoothing: f32,
}

impl Loss {
    fn graph(&self) -> GraphBuilder {
        let logits = dims(&[&[self.images, self.classes][..], &self.size].concat());
        let pixels = dims(&[&[self.images][..], &self.size].concat());
        let mut graph = GraphBuilder::new("loss");
        graph.input("logits", ElementType::Float32, &logits);
        graph.input("labels", ElementType::Int64, &pixels);
        graph.input("weights", ElementType::Float32, &dims(&[self.classes]));
        graph.input("mask", ElementType::Float32, &pixels);
        let [loss, weight, gradient] = graph
            .node("SoftmaxCrossEntropy", &["logits", "labels", "weights", "mask"])
            .domain(DOMAIN, VERSION)
            .float("label_smoothing", self.smoothing)
            .outputs(["loss", "weight", "gradient"]);
        graph.output(&loss, ElementType::Float32, &[]).output(&weight, ElementType::Float32, &[]);
        graph.output(&gradient, ElementType::Float32, &logits).opset(17);
        graph
    }

    fn run(
        &self,
        threads: usize,
        logits: &[f32],
        labels: &[i64],
        weights: &[f32],
        mask: &[f32],
    ) -> [Vec<f32>; 3] {
        let mut session = session(self.graph(), threads).unwrap();
        let pixels = [&[self.images][..], &self.size].concat();
        let all = [&[self.images, self.classes][..], &self.size].concat();
        let mut binding = session.binding().unwrap();
        for (name, tensor) in [
            ("logits", session.tensor(&all, logits).unwrap()),
            ("labels", session.tensor(&pixels, labels).unwrap()),
            ("weights", session.tensor(&[self.classes], weights).unwrap()),
            ("mask", session.tensor(&pixels, mask).unwrap()),
        ] {
            binding.bind_input(name, &tensor).unwrap();
        }
        for name in ["loss", "weight", "gradient"] {
            binding.fetch_output(name, Place::Host).unwrap();
        }
        let mut outputs = session.run(&mut binding).unwrap();
        ["loss", "weight", "gradient"].map(|name| outputs.take(name).unwrap().to_vec::<f32>().unwrap())
    }

    /// Straight from the definition.
    fn slow(&self, logits: &[f32], labels: &[i64], weights: &[f32], mask: &[f32]) -> [Vec<f64>; 3] {
        let pixels: usize = self.size.iter().product();
        let smoothing = f64::from(self.smoothing);
        let (mut loss, mut total, mut gradient) = (0.0, 0.0, vec![0.0; logits.len()]);
        for at in 0..self.images * pixels {
            let (image, pixel) = (at / pixels, at % pixels);
            let place = |class: usize| (image * self.classes + class) * pixels + pixel;
            let times = f64::from(mask[at]);
            let Some(label) = usize::try_from(labels[at]).ok().filter(|label| *label < self.classes) else {
                continue;
            };
            if times == 0.0 {
                continue;
            }
            let values: Vec<f64> = (0..self.classes).map(|class| f64::from(logits[place(class)])).collect();
            let largest = values.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = values.iter().map(|value| (value - largest).exp()).sum();
            let share = |class: usize| {
                let own = if class == label { 1.0 - smoothing } else { 0.0 };
                f64::from(weights[class]) * (own + smoothing / self.classes as f64)
            };
            let shares: f64 = (0..self.classes).map(share).sum();
            total += times * f64::from(weights[label]);
            for (class, value) in values.iter().enumerate() {
                loss += times * share(class) * (largest + sum.ln() - value);
                gradient[place(class)] = times * (shares * (value - largest).exp() / sum - share(class));
            }
        }
        [vec![loss], vec![total], gradient]
    }
}

#[test]
fn cross_entropy_and_its_gradient() {
    let random = &mut Random(3);
    for round in 0..40 {
        let case = Loss {
            images: 1 + random.below(3),
            classes: random.pick(&[1, 2, 5, 21, 150]),
            size: match round % 4 {
                0 => vec![],
                1 => vec![random.below(600) + 1],
                _ => vec![random.below(40) + 1, random.below(60) + 1],
            },
            smoothing: random.pick(&[0.0, 0.0, 0.1, 1.0]),
        };
        let pixels = case.images * case.size.iter().product::<usize>();
        let spread = random.pick(&[1.0, 10.0, 80.0]);
        let logits: Vec<f32> =
            random.values(pixels * case.classes).into_iter().map(|value| value * spread).collect();
        let labels: Vec<i64> = (0..pixels).map(|_| random.below(case.classes + 2) as i64 - 1).collect();
        let weights: Vec<f32> = random.values(case.classes).into_iter().map(|value| value + 1.0).collect();
        let mask: Vec<f32> = (0..pixels).map(|_| random.pick(&[0.0, 1.0, 1.0, 0.5])).collect();
        let first = case.run(1, &logits, &labels, &weights, &mask);
        // A gradient is a difference of two shares of a weight, so the largest weight is what errors relate to.
        let floor = [1e-6, 1e-6, f64::from(weights.iter().copied().fold(0.0, f32::max))];
        for ((have, want), floor) in first.iter().zip(case.slow(&logits, &labels, &weights, &mask)).zip(floor)
        {
            let size = want.iter().fold(floor, |size: f64, value| size.max(value.abs()));
            for (have, want) in have.iter().zip(want) {
                assert!((f64::from(*have) - want).abs() <= 2e-6 * size, "{case:?}: {have} for {want}");
            }
        }
        assert_eq!(first, case.run(2, &logits, &labels, &weights, &mask), "{case:?}: other bits");
    }
}

#[test]
fn pixels_that_do_not_count_may_hold_anything() {
    let case = Loss { images: 1, classes: 2, size: vec![3], smoothing: 0.1 };
    let logits = [f32::NAN, 1.0, f32::INFINITY, 0.0, 2.0, f32::NAN];
    let [loss, weight, gradient] = case.run(1, &logits, &[0, 1, 255], &[1.0, 2.0], &[0.0, 1.0, 1.0]);
    assert!(loss[0].is_finite() && weight == [2.0], "{loss:?} {weight:?}");
    assert!(gradient.iter().all(|value| value.is_finite()));
    assert_eq!([gradient[0], gradient[2], gradient[3], gradient[5]], [0.0; 4]);
    // One that counts carries it on, for a loss scale to see.
    let [loss, _, gradient] = case.run(1, &logits, &[0, 1, 255], &[1.0, 2.0], &[1.0, 1.0, 1.0]);
    assert!(loss[0].is_nan() && gradient[0].is_nan() && gradient[3].is_nan());
}

#[test]
fn gates_and_the_sums_of_what_passes() {
    let random = &mut Random(11);
    for (shape, bounds) in [
        (vec![2, 3, 5, 7], [Some(0.0), None]),
        (vec![3, 17, 40, 41], [Some(-0.5), Some(0.25)]),
        (vec![2, 64, 33, 64], [Some(0.0), Some(6.0)]),
        (vec![4, 9], [None, Some(0.5)]),
    ] {
        let mut graph = GraphBuilder::new("gate");
        let dy = graph.input("dy", ElementType::Float32, &dims(&shape));
        let y = graph.input("y", ElementType::Float32, &dims(&shape));
        let mut node = graph.node("GateGrad", &[&dy, &y]).domain(DOMAIN, VERSION);
        for (name, bound) in [("low", bounds[0]), ("high", bounds[1])] {
            if let Some(bound) = bound {
                node = node.float(name, bound);
            }
        }
        let [dx, sums] = node.outputs(["dx", "sums"]);
        graph.output(&dx, ElementType::Float32, &dims(&shape));
        graph.output(&sums, ElementType::Float32, &dims(&shape[1..2])).opset(17);
        let bytes = graph.finish().unwrap();
        let count = shape.iter().product();
        let (dy, mut y) = (random.values(count), random.values(count));
        // Neither bound is included.
        y[0] = bounds[0].or(bounds[1]).unwrap();
        let mut first: Option<[Vec<f32>; 2]> = None;
        for threads in [1, 2, 3] {
            let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
            let mut options = SessionOptions::default();
            options.threads = threads;
            options.operators = true;
            let mut session = BoundSession::new(&runtime, &bytes, &options).unwrap();
            let mut binding = session.binding().unwrap();
            binding.bind_input("dy", &session.tensor(&shape, &dy).unwrap()).unwrap();
            binding.bind_input("y", &session.tensor(&shape, &y).unwrap()).unwrap();
            binding.fetch_output("dx", Place::Host).unwrap();
            binding.fetch_output("sums", Place::Host).unwrap();
            let mut outputs = session.run(&mut binding).unwrap();
            let made = ["dx", "sums"].map(|name| outputs.take(name).unwrap().to_vec::<f32>().unwrap());
            if let Some(first) = &first {
                assert!(*first == made, "{shape:?}: other bits with {threads} threads");
                continue;
            }
            let size: usize = shape[2..].iter().product();
            let mut want = vec![0f64; shape[1]];
            for (at, (dy, y)) in dy.iter().zip(&y).enumerate() {
                let open = bounds[0].is_none_or(|low| *y > low) && bounds[1].is_none_or(|high| *y < high);
                assert_eq!(made[0][at], if open { *dy } else { 0.0 }, "{shape:?} {at}");
                want[at / size % shape[1]] += f64::from(made[0][at]);
            }
            for (have, want) in made[1].iter().zip(want) {
                assert!(
                    (f64::from(*have) - want).abs() <= 1e-6 * count as f64 / shape[1] as f64,
                    "{have} {want}"
                );
            }
            first = Some(made);
        }
    }
}
