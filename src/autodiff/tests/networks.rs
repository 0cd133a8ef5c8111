//! Whole networks, as exporters wrote them: in `f64` the gradient along random directions of all weights at once is what
//! differences of the loss say.

use std::path::Path;

use super::array::Array;
use super::choices::Choices;
use super::interpreter::Interpreter;
use crate::autodiff::compile::{Compiled, compile};
use crate::autodiff::kernels::Kernels;
use crate::autodiff::{BatchNorm, StepOptions};
use crate::onnx::graph::ValueId;
use crate::onnx::{Document, Limits};

const BATCH: usize = 2;
const SIZE: usize = 32;
const CLASSES: f64 = 5.0;
/// Of the weights; the difference is central and taken in `f64`.
const STEP: f64 = 1e-6;

fn compiled(file: &str, batch_norm: BatchNorm, kernels: Kernels) -> Compiled {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/train").join(file);
    let mut options = StepOptions::new(BATCH, [SIZE, SIZE]);
    (options.batch_norm, options.kernels) = (batch_norm, kernels);
    compile(&Document::open(&path, &Limits::default()).unwrap(), &options).unwrap()
}

type Given = Vec<(ValueId, Array)>;

/// Images, labels and a mask that leaves pixels out, and the weights.
fn given(step: &Compiled, c: &mut Choices) -> (Given, Given) {
    let graph = &step.graph;
    let mut data = Vec::new();
    for &id in &step.inputs {
        data.push((id, c.floats(graph.shape(id), -1.0, 1.0)));
    }
    let (labels, mask) = (graph.shape(step.targets.labels), graph.shape(step.targets.mask));
    let classes = (0..labels.iter().product()).map(|_| (c.unit() * CLASSES) as i64).collect();
    data.push((step.targets.labels, Array::ints(labels, classes)));
    data.push((step.targets.mask, Array::of_floats(mask, |_| f64::from(u8::from(c.unit() > 0.125)))));
    let mut weights: Vec<_> =
        step.trained.iter().map(|own| (own.input, Array::constant(&own.initial))).collect();
    weights.extend(step.statistics.iter().map(|own| (own.input, Array::constant(&own.initial))));
    (data, weights)
}

/// Compares one network; the number of its nodes.
fn check(file: &str, batch_norm: BatchNorm, kernels: Kernels) -> usize {
    let step = compiled(file, batch_norm, kernels);
    let mut c = Choices::new(&[], 11);
    let (data, weights) = given(&step, &mut c);
    let mut wanted = vec![step.loss];
    wanted.extend(step.trained.iter().map(|own| own.gradient));
    let all: Given = data.iter().chain(&weights).cloned().collect();
    let found = Interpreter::new(&step.graph, &wanted).run(&all);
    let forward = Interpreter::new(&step.graph, &[step.loss]);
    for _ in 0..2 {
        let (mut expected, mut sides) = (0.0, [all.clone(), all.clone()]);
        let mut lengths = (0.0, 0.0);
        for (index, gradient) in found[1..].iter().enumerate() {
            let at = data.len() + index;
            // In proportion to the tensor, so that no tensor's part of the derivative is lost among the others'.
            let values = all[at].1.f();
            let size = (values.iter().map(|w| w * w).sum::<f64>() / values.len() as f64).sqrt().max(1e-2);
            for (element, g) in gradient.f().iter().enumerate() {
                let direction = size * 2.0 * (c.unit() - 0.5);
                expected += g * direction;
                lengths = (lengths.0 + (g * size).powi(2), lengths.1 + (direction / size).powi(2));
                sides[0][at].1.f_mut()[element] += STEP * direction;
                sides[1][at].1.f_mut()[element] -= STEP * direction;
            }
        }
        let [up, down] = sides.map(|side| forward.run(&side)[0].f()[0]);
        let difference = (up - down) / (2.0 * STEP);
        // By the size of a derivative along a random direction; that of this one may be small by chance.
        let scale = lengths.0.sqrt() * (lengths.1 / gradient_elements(&found) as f64).sqrt();
        let error = (difference - expected).abs() / scale;
        assert!(error < 1e-5, "{file}, {batch_norm}: {expected} for {difference}, error {error:.1e}");
    }
    step.graph.nodes().len()
}

fn gradient_elements(found: &[Array]) -> usize {
    found[1..].iter().map(Array::len).sum()
}

#[test]
fn networks_have_the_directional_derivatives_of_differences() {
    let frozen = [
        "unet.ts17.onnx",
        "segformer.dynamo20.onnx",
        "deeplab.tsfold11.onnx",
        "fpn.ts17.onnx",
        "linknet.ts11.onnx",
        "convnext.dynamo23.onnx",
        "swin.dynamoraw20.onnx",
        "attentive.ts18.onnx",
        "psp_uneven.dynamoraw18.onnx",
        "odd.ts17.onnx",
    ];
    let mut nodes = 0;
    for file in frozen {
        nodes += check(file, BatchNorm::Frozen, Kernels::NONE);
    }
    for file in ["unet.ts17.onnx", "deeplab.ts13.onnx", "mobile.ts17.onnx"] {
        nodes += check(file, BatchNorm::Train, Kernels::NONE);
        nodes += check(file, BatchNorm::Frozen, Kernels::ALL);
    }
    assert!(nodes > 5000, "{nodes} nodes");
}
