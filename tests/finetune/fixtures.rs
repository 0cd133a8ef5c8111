//! A small network with everything that matters for steps: BatchNormalization, a skip connection, pooling, upsampling.

use std::sync::OnceLock;

use glebe::autodiff::StepOptions;
use glebe::finetune::{Batch, Labels, RunOptions, TrainStep};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::runtime::{Runtime, RuntimeOptions};
use glebe::weights::tensors::{Elements, NamedTensor, Tensors};

pub(crate) const CLASSES: usize = 3;
pub(crate) const BATCH: usize = 2;
pub(crate) const SIZE: usize = 12;

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Runtime::load(&RuntimeOptions::default()).expect("ONNX Runtime (run `make test`, which fetches it)")
    })
}

/// Numbers from -1 to 1 that follow from a seed.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn many(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * scale).collect()
    }
}

/// `encoder` (convolution, BatchNormalization, ReLU), pooling, `middle`, upsampling, the skip connection, `head`.
pub(crate) fn network() -> Model {
    let mut numbers = Numbers::new(3);
    let mut graph = GraphBuilder::new("net");
    let free = |name: &str| Dim::Named(name.into());
    let x = graph.input("image", ElementType::Float32, &[free("n"), Dim::Fixed(3), free("h"), free("w")]);
    let mut conv = |graph: &mut GraphBuilder, name: &str, x: &str, dims: [i64; 4]| {
        let count = dims.iter().product::<i64>() as usize;
        let scale = (3.0 / (dims[1] * dims[2] * dims[3]) as f32).sqrt();
        let w = graph.initializer_f32(&format!("{name}.weight"), &dims, &numbers.many(count, scale));
        let b =
            graph.initializer_f32(&format!("{name}.bias"), &[dims[0]], &numbers.many(dims[0] as usize, 0.1));
        let pad = dims[2] / 2;
        graph.node("Conv", &[x, &w, &b]).ints("pads", &[pad; 4]).output(name)
    };
    let encoded = conv(&mut graph, "encoder.conv", &x, [8, 3, 3, 3]);
    let scale = graph.initializer_f32("encoder.bn.weight", &[8], &[1.0, 0.5, 1.5, 1.0, 0.8, 1.2, 1.0, 0.9]);
    let shift = graph.initializer_f32("encoder.bn.bias", &[8], &[0.1; 8]);
    let mean = graph.initializer_f32("encoder.bn.running_mean", &[8], &[0.05; 8]);
    let variance = graph.initializer_f32("encoder.bn.running_var", &[8], &[0.7; 8]);
    let normal = graph.node("BatchNormalization", &[&encoded, &scale, &shift, &mean, &variance]).output("bn");
    let skip = graph.node("Relu", &[&normal]).output("skip");
    let pooled = graph
        .node("MaxPool", &[&skip])
        .ints("kernel_shape", &[2, 2])
        .ints("strides", &[2, 2])
        .output("pooled");
    let middle = conv(&mut graph, "middle", &pooled, [6, 8, 3, 3]);
    let middle = graph.node("Relu", &[&middle]).output("middle.relu");
    let scales = graph.initializer_f32("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let up = graph
        .node("Resize", &[&middle, "", &scales])
        .string("mode", "linear")
        .string("coordinate_transformation_mode", "half_pixel")
        .output("up");
    let joined = graph.node("Concat", &[&skip, &up]).int("axis", 1).output("joined");
    let logits = conv(&mut graph, "head", &joined, [CLASSES as i64, 14, 1, 1]);
    let dims = [free("n"), Dim::Fixed(CLASSES as u64), free("h"), free("w")];
    graph.output(&logits, ElementType::Float32, &dims);
    Model::from_bytes(runtime(), graph.finish().unwrap(), &ModelOptions::default()).unwrap()
}

pub(crate) fn options() -> StepOptions {
    let mut options = StepOptions::new(BATCH, [SIZE, SIZE]);
    options.loss.ignore_index = Some(255);
    options
}

pub(crate) fn portable() -> RunOptions {
    let mut run = RunOptions::default();
    run.portable = true;
    run
}

/// Both engines: one pass over host memory, and the update as a graph.
pub(crate) fn engines() -> [RunOptions; 2] {
    [RunOptions::default(), portable()]
}

pub(crate) fn build(options: &StepOptions, run: &RunOptions) -> TrainStep {
    TrainStep::new(&network(), options, run).unwrap()
}

/// Images and labels of a batch; a few labels are ignored.
#[derive(Clone)]
pub(crate) struct Arrays {
    pub(crate) images: Vec<f32>,
    pub(crate) labels: Vec<u8>,
}

impl Arrays {
    pub(crate) fn new(seed: u64) -> Arrays {
        let mut numbers = Numbers::new(seed + 100);
        let images = numbers.many(BATCH * 3 * SIZE * SIZE, 1.0);
        let label = |value: f32| if value > 0.95 { 255 } else { ((value + 1.0) * 1.5).min(2.0) as u8 };
        let labels = (0..BATCH * SIZE * SIZE).map(|_| label(numbers.next())).collect();
        Arrays { images, labels }
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { images: &self.images, labels: Labels::U8(&self.labels), mask: None, keys: None }
    }
}

pub(crate) fn values(tensor: &NamedTensor) -> &[f32] {
    match &tensor.elements {
        Elements::F32(values) => values,
        other => panic!("{other:?}"),
    }
}

/// The largest difference between tensors of the same names, in units of the largest value of each.
pub(crate) fn difference(a: &Tensors, b: &Tensors) -> f32 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let of = |(a, b): (&NamedTensor, &NamedTensor)| {
        assert_eq!(a.shape, b.shape);
        let largest = values(a).iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
        let each = values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs() / largest);
        each.fold(0.0, |most: f32, own| if own.is_nan() { f32::INFINITY } else { most.max(own) })
    };
    a.values().zip(b.values()).map(of).fold(0.0, f32::max)
}
