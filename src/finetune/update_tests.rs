use super::*;
use crate::autodiff::optimizer::golden::{ALLOWED, Golden, SHAPES, apart, cases};

/// Two parameters with their state.
struct Pair {
    weights: [Vec<f32>; 2],
    state: [Vec<Vec<f32>>; 2],
    averages: [Vec<f32>; 2],
    rates: [Rates; 2],
}

impl Pair {
    fn new(golden: &Golden, optimizer: &Optimizer, rates: [Rates; 2]) -> Pair {
        let weights = SHAPES.map(|(name, _)| golden.all(name).to_vec());
        let state = weights.each_ref().map(|own| vec![vec![0.0; own.len()]; optimizer.state_names().len()]);
        Pair { averages: weights.clone(), weights, state, rates }
    }

    fn step(
        &mut self,
        optimizer: &Optimizer,
        gradients: [&[f32]; 2],
        lr: f32,
        step: u64,
        factor: f32,
    ) -> Outcome {
        let Pair { weights, state, averages, rates } = self;
        let parts = weights.iter_mut().zip(state).zip(averages).zip(gradients).zip(rates);
        let slots = parts.map(|((((weight, state), average), gradient), rates)| Slot {
            weight,
            gradient,
            state: state.iter_mut().map(Vec::as_mut_slice).collect(),
            average: optimizer.ema_decay.map(|_| average.as_mut_slice()),
            rates: *rates,
        });
        update(optimizer, &mut slots.collect::<Vec<_>>(), lr, step, factor, 2)
    }
}

fn wide(values: &[f32]) -> impl Iterator<Item = f64> {
    values.iter().map(|&value| f64::from(value))
}

fn gradients(golden: &Golden, step: usize) -> [&[f32]; 2] {
    SHAPES.map(|(name, _)| golden.at(&format!("{name}.gradients"), step))
}

#[test]
fn updates_are_those_of_pytorch() {
    let golden = Golden::read();
    let mut failures = Vec::new();
    for case in cases() {
        let mut pair = Pair::new(&golden, &case.optimizer, case.rates);
        for step in 0..10 {
            let lr = golden.all("lr")[step];
            pair.step(&case.optimizer, gradients(&golden, step), lr, step as u64 + 1, 1.0);
            for ((name, _), weight) in SHAPES.iter().zip(&pair.weights) {
                let error = apart(wide(weight), golden.at(&format!("{}.{name}", case.name), step));
                if !matches!(error, 0.0..=ALLOWED) {
                    failures.push(format!("{}: {name} at step {step}: {error:.1e}", case.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn averages_and_means_of_gradients_are_those_of_pytorch() {
    let golden = Golden::read();
    let case = cases().into_iter().find(|case| case.name == "adamw").unwrap();
    let mut optimizer = case.optimizer;
    optimizer.ema_decay = Some(0.9);
    let mut pair = Pair::new(&golden, &optimizer, case.rates);
    for step in 0..10 {
        pair.step(&optimizer, gradients(&golden, step), golden.all("lr")[step], step as u64 + 1, 1.0);
        let error = apart(wide(&pair.averages[0]), golden.at("ema.matrix", step));
        assert!(error <= ALLOWED, "average at step {step}: {error:.1e}");
    }
    // Sums of two gradients, and half of them.
    let mut pair = Pair::new(&golden, &optimizer, case.rates);
    for step in 0..5 {
        let (a, b) = (gradients(&golden, 2 * step), gradients(&golden, 2 * step + 1));
        let sums =
            [0, 1].map(|index| a[index].iter().zip(b[index]).map(|(a, b)| a + b).collect::<Vec<f32>>());
        pair.step(&optimizer, [&sums[0], &sums[1]], golden.all("lr")[step], step as u64 + 1, 0.5);
        for ((name, _), weight) in SHAPES.iter().zip(&pair.weights) {
            let error = apart(wide(weight), golden.at(&format!("accumulated.{name}"), step));
            assert!(error <= ALLOWED, "accumulated {name} at step {step}: {error:.1e}");
        }
    }
}

/// With SGD and a learning rate of 1 the weights change by the clipped gradient.
#[test]
fn clipping_is_that_of_pytorch() {
    let golden = Golden::read();
    let plain = cases().swap_remove(0);
    assert_eq!(plain.name, "sgd");
    plain.optimizer.check().unwrap();
    for (name, norm, value) in
        [("norm_0.5", Some(0.5), None), ("norm_100", Some(100.0), None), ("value_0.3", None, Some(0.3))]
    {
        let mut optimizer = plain.optimizer.clone();
        (optimizer.clip_norm, optimizer.clip_value) = (norm, value);
        let mut pair = Pair::new(&golden, &optimizer, plain.rates);
        pair.weights.iter_mut().flatten().for_each(|weight| *weight = 0.0);
        let outcome = pair.step(&optimizer, gradients(&golden, 0), 1.0, 1, 1.0);
        for ((parameter, _), weight) in SHAPES.iter().zip(&pair.weights) {
            let found = wide(weight).map(|change| -change);
            let error = apart(found, golden.all(&format!("clip.{name}.{parameter}")));
            assert!(error <= ALLOWED, "{name}: {parameter}: {error:.1e}");
        }
        if norm.is_some() {
            let error = apart(outcome.norm.map(f64::from), golden.all(&format!("clip.{name}.total")));
            assert!(error <= ALLOWED, "{name}: {error:.1e}");
        }
    }
}

#[test]
fn a_step_without_finite_gradients_changes_nothing() {
    let golden = Golden::read();
    for case in cases() {
        let mut optimizer = case.optimizer;
        optimizer.loss_scale = true;
        optimizer.ema_decay = Some(0.9);
        let mut pair = Pair::new(&golden, &optimizer, case.rates);
        pair.step(&optimizer, gradients(&golden, 0), 0.1, 1, 1.0);
        let before = (pair.weights.clone(), pair.state.clone(), pair.averages.clone());
        for bad in [f32::NAN, f32::INFINITY] {
            let mut broken = golden.at("matrix.gradients", 1).to_vec();
            broken[17] = bad;
            let outcome = pair.step(&optimizer, [&broken, golden.at("scalar.gradients", 1)], 0.1, 2, 1.0);
            assert!(outcome.skipped);
            assert_eq!((&pair.weights, &pair.state, &pair.averages), (&before.0, &before.1, &before.2));
        }
    }
}
