//! Gradients that rules emit against central differences, all in `f64`.
//!
//! The loss is Σ seed · y over all seeded values with random seeds. Its derivative along a direction d is
//! (4 D(h/2) - D(h)) / 3 with D(h) = (L(x + h d) - L(x - h d)) / 2h, whose error is of the order h⁴; the difference of
//! the losses is summed element by element, so that it keeps its digits. Small inputs are checked element by element,
//! larger ones along random directions and at some elements.

use super::array::Array;
use super::case::Case;
use super::choices::Choices;
use super::interpreter::Interpreter;
use crate::autodiff::backward;
use crate::autodiff::decompose::decompose;
use crate::autodiff::kernels::Kernels;
use crate::onnx::ElementType;
use crate::onnx::graph::{ValueId, ValueType};

/// Largest error of a derivative, relative to the largest gradient of the input (at least [`FLOOR`]).
pub(super) const TOLERANCE: f64 = 1e-6;
const FLOOR: f64 = 1e-2;
const STEP: f64 = 1e-3;

/// Inputs of at most this many elements are checked at every element.
const SMALL: usize = 24;

/// A case with composite operators taken apart, seeds as inputs, and gradients emitted.
pub(super) struct Differentiated {
    /// The graph with the gradients; `given`, `targets` and `ends` are those of the case, in the same order.
    pub(super) case: Case,
    pub(super) seeds: Vec<(ValueId, Array)>,
    pub(super) gradients: Vec<Option<ValueId>>,
}

impl Differentiated {
    /// What has to be given: the inputs of the case and the seeds.
    pub(super) fn given(&self) -> Vec<(ValueId, Array)> {
        self.case.given.iter().chain(&self.seeds).cloned().collect()
    }

    /// The gradients of all targets, zeros where none flows.
    pub(super) fn computed(&self) -> Vec<Array> {
        let present: Vec<ValueId> = self.gradients.iter().copied().flatten().collect();
        let mut found = Interpreter::new(&self.case.graph, &present).run(&self.given()).into_iter();
        let all = self.case.targets.iter().zip(&self.gradients);
        all.map(|(&target, gradient)| match gradient {
            Some(_) => found.next().unwrap(),
            None => {
                let shape = self.case.graph.shape(target);
                Array::floats(shape, vec![0.0; shape.iter().product()])
            }
        })
        .collect()
    }
}

/// Emits the gradients of a case with random seeds.
pub(super) fn differentiated(
    case: &Case,
    choices: &mut Choices,
    kernels: Kernels,
) -> Result<Differentiated, String> {
    let failed = |error: crate::error::Error| format!("{}: {error}", case.describe());
    let mut graph = case.graph.clone();
    graph.set_outputs(case.ends.clone());
    let (graph, map) = decompose(&graph, &|_| true).map_err(failed)?;
    let new = |id: ValueId| map.get(id).unwrap_or_else(|| panic!("{} is lost", case.describe()));
    // Constants that only the old graph needed are not in the new one.
    let mut case = Case {
        graph,
        given: case.given.iter().map(|(id, values)| (new(*id), values.clone())).collect(),
        targets: case.targets.iter().copied().map(new).collect(),
        ends: case.ends.iter().copied().map(new).collect(),
    };
    let mut seeds = Vec::new();
    for (index, &end) in case.ends.iter().enumerate() {
        let shape = case.graph.shape(end).to_vec();
        let kind = ValueType::new(ElementType::Float32, shape.clone());
        let seed = case.graph.add_input(&format!("seed{index}"), kind);
        seeds.push((seed, choices.floats(&shape, -1.0, 1.0)));
    }
    let pairs: Vec<(ValueId, ValueId)> =
        case.ends.iter().copied().zip(seeds.iter().map(|(id, _)| *id)).collect();
    let gradients = backward::gradients(&mut case.graph, &pairs, &case.targets, kernels).map_err(failed)?;
    Ok(Differentiated { case, seeds, gradients })
}

/// Checks the gradients of all targets of a case.
pub(super) fn check(case: &Case, choices: &mut Choices, kernels: Kernels) -> Result<(), String> {
    let made = differentiated(case, choices, kernels)?;
    compare(case, &made.seeds, &made.computed(), choices)
}

/// Compares gradients of all targets with differences of the case's own graph.
pub(super) fn compare(
    case: &Case,
    seeds: &[(ValueId, Array)],
    gradients: &[Array],
    choices: &mut Choices,
) -> Result<(), String> {
    let forward = Interpreter::new(&case.graph, &case.ends);
    for (&target, gradient) in case.targets.iter().zip(gradients) {
        let at = case.given.iter().position(|(id, _)| *id == target).unwrap();
        let x = &case.given[at].1;
        if gradient.shape != x.shape {
            return Err(format!("{}: gradient of shape {:?}", case.describe(), gradient.shape));
        }
        let most = gradient.f().iter().fold(0.0f64, |most, g| most.max(g.abs()));
        if !gradient.f().iter().all(|g| g.is_finite()) {
            return Err(format!("{}: a gradient of input {at} is not finite", case.describe()));
        }
        for direction in directions(x, choices) {
            let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
            let expected = derivative(&forward, &case.given, &[(at, direction.clone())], seeds);
            let product: f64 = gradient.f().iter().zip(&direction).map(|(g, d)| g * d).sum();
            let error = (product - expected).abs() / (most * length).max(FLOOR);
            if error.is_nan() || error > TOLERANCE {
                return Err(format!(
                    "{}: input {at} of {:?}: derivative {product}, by differences {expected}, error {error:.1e} \
                     (direction {:?})",
                    case.describe(),
                    x.shape,
                    direction.iter().position(|&d| d == 1.0)
                ));
            }
        }
    }
    Ok(())
}

fn directions(x: &Array, choices: &mut Choices) -> Vec<Vec<f64>> {
    let unit = |at: usize| (0..x.len()).map(|other| f64::from(u8::from(other == at))).collect();
    if x.len() <= SMALL {
        return (0..x.len()).map(unit).collect();
    }
    let elements: Vec<usize> = (0..6).map(|_| (choices.unit() * x.len() as f64) as usize).collect();
    let mut all: Vec<Vec<f64>> = elements.into_iter().map(unit).collect();
    for _ in 0..3 {
        all.push((0..x.len()).map(|_| choices.unit() - 0.5).collect());
    }
    all
}

/// The derivative of the loss along a direction of some inputs, by their positions among the given values.
pub(super) fn derivative(
    forward: &Interpreter<'_>,
    given: &[(ValueId, Array)],
    directions: &[(usize, Vec<f64>)],
    seeds: &[(ValueId, Array)],
) -> f64 {
    let moved = |step: f64| {
        let mut given = given.to_vec();
        for (at, direction) in directions {
            for (x, d) in given[*at].1.f_mut().iter_mut().zip(direction) {
                *x += step * d;
            }
        }
        forward.run(&given)
    };
    let central = |step: f64| {
        let (above, below) = (moved(step), moved(-step));
        let mut sum = 0.0;
        for ((above, below), (_, seed)) in above.iter().zip(&below).zip(seeds) {
            let differences = above.f().iter().zip(below.f()).map(|(a, b)| a - b);
            sum += differences.zip(seed.f()).map(|(d, seed)| d * seed).sum::<f64>();
        }
        sum / (2.0 * step)
    };
    (4.0 * central(STEP / 2.0) - central(STEP)) / 3.0
}

/// A wrong gradient is found, however it is wrong.
#[test]
fn the_comparison_can_fail() {
    let mut choices = Choices::new(&[], 5);
    for shape in [&[2, 3][..], &[5, 9]] {
        let mut case = Case::new();
        let x = case.x(choices.floats(shape, -2.0, 2.0));
        let case = case.op("Tanh", &[Some(x)], &[]).unwrap();
        let made = differentiated(&case, &mut choices, Kernels::NONE).unwrap();
        let right = made.computed().remove(0);
        assert_eq!(compare(&case, &made.seeds, std::slice::from_ref(&right), &mut choices), Ok(()));
        let mut turned = right.clone();
        turned.f_mut().reverse();
        let count = right.len();
        for wrong in [
            right.map(|g| g * 1.00001),
            right.map(|g| -g),
            turned,
            right.map(|_| 0.0),
            right.map(|_| f64::NAN),
        ] {
            assert!(compare(&case, &made.seeds, &[wrong], &mut choices).is_err(), "{count}");
        }
    }
}
