//! Every loss, its value and its gradient, against the formulas of `tests/golden/train/losses.py` in double precision.
//!
//! The network is `logits + w` with w zero: the gradient of w is that of the logits.

use glebe::autodiff::{Loss, StepOptions};
use glebe::finetune::{Batch, Labels, TrainStep};
use glebe::model::{Model, ModelOptions};
use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::weights::tensors::Elements;

use crate::golden::{Array, Golden, folder, relative, runtime};
use crate::networks::run_options;

/// Allowed of values and, by L2 norm, of gradients: float32's rounding of sums over a few hundred pixels.
const ALLOWED: f64 = 1e-5;

/// A network that gives its input `[N, C, H, W]` plus `w`, and, with `second`, those numbers plus `v` as "aux".
fn network(shape: &[usize], second: Option<&Array>) -> Model {
    let dims: Vec<Dim> = shape.iter().map(|&size| Dim::Fixed(size as u64)).collect();
    let sizes: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
    let zeros = vec![0.0; shape.iter().product()];
    let mut graph = GraphBuilder::new("sum");
    let image = graph.input("image", ElementType::Float32, &dims);
    let w = graph.initializer_f32("w", &sizes, &zeros);
    let logits = graph.node("Add", &[&image, &w]).output("logits");
    graph.output(&logits, ElementType::Float32, &dims);
    if let Some(second) = second {
        let none = graph.initializer_f32("none", &[], &[0.0]);
        let v = graph.initializer_f32("v", &sizes, &second.f32());
        let nothing = graph.node("Mul", &[&image, &none]).output("nothing");
        let aux = graph.node("Add", &[&nothing, &v]).output("aux");
        graph.output(&aux, ElementType::Float32, &dims);
    }
    graph.opset(18);
    Model::from_bytes(runtime(), graph.finish().unwrap(), &ModelOptions::default()).unwrap()
}

/// A loss as it is asked for.
struct Case<'a> {
    loss: Loss,
    logits: &'a Array,
    labels: Labels<'a>,
    mask: Option<&'a [u8]>,
    auxiliary: Option<&'a Array>,
    portable: bool,
}

/// The value, and the gradients of w and v.
fn run(case: &Case<'_>) -> (f64, Vec<f32>, Option<Vec<f32>>) {
    let shape = &case.logits.shape;
    let mut options = StepOptions::new(shape[0], [shape[2], shape[3]]);
    options.loss = case.loss.clone();
    options.auxiliary = case.auxiliary.map(|_| "aux".to_owned());
    let model = network(shape, case.auxiliary);
    let mut step = TrainStep::new(&model, &options, &run_options(case.portable)).unwrap();
    let images = case.logits.f32();
    let output = step
        .accumulate(&Batch { images: &images, labels: case.labels, mask: case.mask, keys: None })
        .unwrap();
    let mut gradients = step.gradients().unwrap();
    let mut take = |name: &str| match gradients.remove(name).map(|tensor| tensor.elements) {
        Some(Elements::F32(values)) => Some(values),
        _ => None,
    };
    (f64::from(output.loss), take("w").unwrap(), take("v"))
}

/// A loss of the golden and how it is written; `.valid` has a mask, whatever else it says.
const CASES: [(&str, &str); 40] = [
    ("ce", "ce"),
    ("ce.valid", "ce"),
    ("ce.weighted", "ce"),
    ("ce.smoothed", "ce"),
    ("ce.smoothed.weighted", "ce"),
    ("ce.smoothed.weighted.valid", "ce"),
    ("bce.onehot", "bce"),
    ("bce.onehot.valid", "bce"),
    ("dice", "dice"),
    ("dice.valid", "dice"),
    ("dice.weighted", "dice"),
    ("dice.absent", "dice"),
    ("dice.squared", "dice-squared"),
    ("dice.squared.valid", "dice-squared"),
    ("jaccard", "jaccard"),
    ("jaccard.valid", "jaccard"),
    ("jaccard.weighted", "jaccard"),
    ("focal", "focal(gamma=2)"),
    ("focal.valid", "focal"),
    ("focal.weighted", "focal"),
    ("lovasz", "lovasz"),
    ("lovasz.valid", "lovasz"),
    ("mse", "mse"),
    ("mse.valid", "mse"),
    ("l1", "l1"),
    ("l1.valid", "l1"),
    ("huber", "huber(delta=1)"),
    ("huber.valid", "huber"),
    ("mixture", "0.6*ce+0.4*dice"),
    ("innereye.dice", "innereye-softdice"),
    ("innereye.dice.power", "innereye-softdice(power=1)"),
    ("innereye.ce", "innereye-ce"),
    ("innereye.ce.power", "innereye-ce(power=1)"),
    ("innereye.ce.smoothed", "innereye-ce"),
    ("innereye.ce.smoothed.power", "innereye-ce(power=1)"),
    ("innereye.focal", "innereye-focal"),
    ("innereye.focal.gamma_2.power", "innereye-focal(gamma=2,power=1)"),
    ("innereye.mixture", "0.25*innereye-softdice+0.75*innereye-ce(power=1)"),
    ("bce.binary", "bce"),
    ("aux", "ce"),
];

/// Losses of independent labels a class are the mean over the classes of those of one channel.
const INDEPENDENT: [(&str, &str); 8] = [
    ("bce", "bce"),
    ("bce.valid", "bce"),
    ("bce.weighted", "bce"),
    ("bce.positive", "bce"),
    ("dice.sigmoid", "dice"),
    ("dice.sigmoid.valid", "dice"),
    ("focal.sigmoid", "focal"),
    ("focal.sigmoid.valid", "focal"),
];

fn golden() -> Golden {
    Golden::read(&folder().join("losses.safetensors"))
}

fn compare(
    found: &mut Vec<String>,
    golden: &Golden,
    name: &str,
    (value, gradient): (f64, &[f32]),
    portable: bool,
) {
    let wanted = golden.array(&format!("{name}.value")).values[0];
    let error = (value - wanted).abs() / wanted.abs();
    let apart = relative(gradient, golden.array(&format!("{name}.gradient")));
    if !(error <= ALLOWED && apart <= ALLOWED) {
        found
            .push(format!("{name} (portable: {portable}): {value}, expected {wanted}; gradient {apart:.1e}"));
    }
}

#[test]
fn losses_and_their_gradients_are_those_of_pytorch() {
    let golden = golden();
    let (labels, clean) = (golden.array("labels").u8(), golden.array("clean_labels").u8());
    let (validity, targets) = (golden.array("validity").u8(), golden.array("targets").f32());
    let half = clean.len() / 2;
    let binary: Vec<u8> = labels.iter().map(|&label| if label == 255 { 255 } else { label.min(1) }).collect();
    let (logits, aux) = (golden.array("logits"), golden.array("aux_logits"));
    // The second image alone, and the first channel alone.
    let second = Array { shape: [&[1], &logits.shape[1..]].concat(), values: logits.part(1).values };
    let first = channel(logits, 0);
    let mut found = Vec::new();
    for (name, text) in CASES {
        let mut loss: Loss = text.parse().unwrap();
        let words: Vec<&str> = name.split('.').collect();
        if !loss.is_regression() {
            loss.ignore_index = Some(255);
        }
        if words.contains(&"weighted") {
            loss.class_weights = golden.array("class_weights").f32();
        }
        if words.contains(&"smoothed") {
            loss.label_smoothing = 0.1;
        }
        let (logits, labels) = match (name, words[0]) {
            ("dice.absent", _) => (&second, Labels::U8(&clean[half..])),
            ("bce.binary", _) => (&first, Labels::U8(&binary)),
            (_, "innereye") => (logits, Labels::U8(&clean)),
            (_, "mse" | "l1" | "huber") => (logits, Labels::F32(&targets)),
            _ => (logits, Labels::U8(&labels)),
        };
        let mask = words.contains(&"valid").then_some(&validity[..]);
        let auxiliary = (name == "aux").then_some(aux);
        for portable in [false, true] {
            let case = Case { loss: loss.clone(), logits, labels, mask, auxiliary, portable };
            let (value, gradient, other) = run(&case);
            compare(&mut found, &golden, name, (value, &gradient), portable);
            if let Some(other) = other {
                let apart = relative(&other, golden.array("aux.gradient_aux"));
                if !matches!(apart, 0.0..=ALLOWED) {
                    found.push(format!("aux: gradient of the auxiliary output {apart:.1e}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} complaints:\n{}", found.len(), found.join("\n"));
}

fn channel(array: &Array, channel: usize) -> Array {
    let (n, c) = (array.shape[0], array.shape[1]);
    let pixels = array.values.len() / (n * c);
    let values = (0..n).flat_map(|image| &array.values[(image * c + channel) * pixels..][..pixels]).copied();
    Array { shape: [&[n, 1], &array.shape[2..]].concat(), values: values.collect() }
}

#[test]
fn losses_of_one_channel_are_those_of_pytorch() {
    let golden = golden();
    let (logits, multi, validity) =
        (golden.array("logits"), golden.array("multi"), golden.array("validity").u8());
    let (weights, positive) = (golden.array("class_weights"), golden.array("positive_weights"));
    let (n, c) = (logits.shape[0], logits.shape[1]);
    let pixels = logits.values.len() / (n * c);
    let mut found = Vec::new();
    for (name, text) in INDEPENDENT {
        let (mut total, mut all) = (0.0, vec![0.0; logits.values.len()]);
        for class in 0..c {
            let mut loss: Loss = text.parse().unwrap();
            if name == "bce.positive" {
                loss.class_weights = vec![1.0, positive.values[class] as f32];
            }
            let weight = if name == "bce.weighted" { weights.values[class] } else { 1.0 } / c as f64;
            let labels = channel(multi, class).u8();
            let own = channel(logits, class);
            let mask = name.ends_with("valid").then_some(&validity[..]);
            let case = Case {
                loss,
                logits: &own,
                labels: Labels::U8(&labels),
                mask,
                auxiliary: None,
                portable: false,
            };
            let (value, gradient, _) = run(&case);
            total += weight * value;
            for (index, slope) in gradient.iter().enumerate() {
                all[(index / pixels * c + class) * pixels + index % pixels] =
                    (weight * f64::from(*slope)) as f32;
            }
        }
        compare(&mut found, &golden, name, (total, &all), false);
    }
    assert!(found.is_empty(), "{} complaints:\n{}", found.len(), found.join("\n"));
}

/// Nothing in the golden is left out.
#[test]
fn every_loss_of_the_golden_is_compared() {
    let golden = golden();
    for name in golden.arrays.keys().filter_map(|name| name.strip_suffix(".value")) {
        let known = CASES.iter().chain(&INDEPENDENT).any(|(own, _)| *own == name);
        assert!(known, "{name} is not compared");
    }
}
