//! Updates: both engines, every optimizer, accumulation, clipping, averages, the loss scale.

use glebe::ErrorKind;
use glebe::autodiff::{Optimizer, OptimizerKind, ParameterGroup};

use crate::fixtures::{Arrays, build, difference, engines, options, portable, values};

fn optimizers() -> Vec<Optimizer> {
    let mut all: Vec<Optimizer> = OptimizerKind::ALL.into_iter().map(Optimizer::new).collect();
    let mut with = |kind, change: &dyn Fn(&mut Optimizer)| {
        let mut own = Optimizer::new(kind);
        change(&mut own);
        all.push(own);
    };
    with(OptimizerKind::Sgd, &|own| own.momentum = 0.9);
    with(OptimizerKind::Sgd, &|own| {
        (own.momentum, own.nesterov, own.weight_decay) = (0.8, true, 0.1);
    });
    with(OptimizerKind::Adam, &|own| own.weight_decay = 0.1);
    with(OptimizerKind::AmsGrad, &|own| own.clip_value = Some(1e-3));
    with(OptimizerKind::RmsProp, &|own| own.momentum = 0.5);
    with(OptimizerKind::AdamW, &|own| {
        own.clip_norm = Some(0.05);
        own.ema_decay = Some(0.9);
        own.decay_norm_and_bias = false;
        let mut group = ParameterGroup::new("head.*");
        (group.lr_multiplier, group.weight_decay) = (10.0, Some(0.0));
        own.groups.push(group);
    });
    with(OptimizerKind::Sgd, &|own| (own.loss_scale, own.clip_norm) = (true, Some(0.1)));
    all
}

/// The update as a graph of ONNX operators is the oracle of the pass over memory, and the other way round.
#[test]
fn both_engines_do_the_same() {
    let batches: Vec<Arrays> = (0..5).map(Arrays::new).collect();
    for optimizer in optimizers() {
        let mut options = options();
        options.optimizer = optimizer.clone();
        let run = |run| {
            let mut step = build(&options, run);
            if optimizer.loss_scale {
                step.set_loss_scale(256.0).unwrap();
            }
            let losses: Vec<_> = batches
                .iter()
                .map(|own| step.step(&own.batch(), 1e-2).unwrap())
                .map(|own| own.loss)
                .collect();
            (losses, step.state().unwrap())
        };
        let [host, device] = engines();
        let (losses, own) = run(&host);
        let (others, other) = run(&device);
        assert!(
            losses.iter().zip(&others).all(|(a, b)| (a - b).abs() < 1e-4 * a.abs()),
            "{losses:?} {others:?}"
        );
        assert_eq!(own.updates, 5);
        // Adam divides by the root of small squares, which blows up rounding.
        let most = if optimizer.epsilon < 1e-6 { 2e-3 } else { 1e-4 };
        assert!(difference(&own.weights, &other.weights) < most, "{optimizer:?}");
        assert_eq!(own.averages.len(), if optimizer.ema_decay.is_some() { own.weights.len() } else { 0 });
        assert!(difference(&own.averages, &other.averages) < most, "{optimizer:?}");
        assert_eq!(own.optimizer.keys().collect::<Vec<_>>(), other.optimizer.keys().collect::<Vec<_>>());
        for (kind, tensors) in &own.optimizer {
            assert!(difference(tensors, &other.optimizer[kind]) < 2e-3, "{kind} of {optimizer:?}");
        }
    }
}

#[test]
fn accumulated_gradients_are_the_mean_of_those_alone() {
    let batches: Vec<Arrays> = (10..13).map(Arrays::new).collect();
    for run in engines() {
        let mut options = options();
        options.optimizer = Optimizer::new(OptimizerKind::Sgd);
        let mut step = build(&options, &run);
        let start = step.weights().unwrap();
        let mut sum = start.clone();
        for own in &batches {
            step.accumulate(&own.batch()).unwrap();
            let gradients = step.gradients().unwrap();
            for (name, tensor) in &mut sum {
                let mut next = values(tensor).to_vec();
                next.iter_mut().zip(values(&gradients[name])).for_each(|(w, g)| *w -= 0.5 / 3.0 * g);
                *tensor = glebe::weights::tensors::NamedTensor::f32(&tensor.shape.clone(), next);
            }
            step.discard();
        }
        assert_eq!(step.gradients().unwrap_err().kind(), ErrorKind::InvalidState);
        assert_eq!(step.apply(0.5).unwrap_err().kind(), ErrorKind::InvalidState);
        // Twice, since the sums' memory is used again.
        for round in 0..2 {
            let mut again = step.state().unwrap();
            again.weights = start.clone();
            step.set_state(&again).unwrap();
            for (index, own) in batches.iter().enumerate() {
                step.accumulate(&own.batch()).unwrap();
                assert_eq!(step.waiting(), index as u32 + 1);
            }
            assert_eq!(step.state().unwrap_err().kind(), ErrorKind::InvalidState);
            let applied = step.apply(0.5).unwrap();
            assert!(!applied.skipped && step.waiting() == 0);
            assert!(difference(&step.weights().unwrap(), &sum) < 1e-5, "round {round} {run:?}");
        }
        assert_eq!(step.updates(), 2);
    }
}

#[test]
fn fused_and_separate_updates_agree() {
    let mut options = options();
    options.optimizer.clip_norm = Some(0.1);
    let (mut fused, mut separate) = (build(&options, &portable()), build(&options, &portable()));
    for seed in 0..4 {
        let arrays = Arrays::new(seed);
        let output = fused.step(&arrays.batch(), 1e-3).unwrap();
        let loss = separate.accumulate(&arrays.batch()).unwrap().loss;
        let applied = separate.apply(1e-3).unwrap();
        assert!((output.loss - loss).abs() < 1e-6);
        let (a, b) = (output.applied.unwrap().gradient_norm.unwrap(), applied.gradient_norm.unwrap());
        assert!((a - b).abs() < 1e-5 * a, "{a} {b}");
    }
    assert!(difference(&fused.weights().unwrap(), &separate.weights().unwrap()) < 1e-4);
}

#[test]
fn averages_follow_the_weights() {
    for run in engines() {
        let mut options = options();
        options.optimizer = Optimizer::new(OptimizerKind::Sgd);
        options.optimizer.ema_decay = Some(0.75);
        let mut step = build(&options, &run);
        let mut expected = step.weights().unwrap();
        assert_eq!(difference(&step.averages().unwrap(), &expected), 0.0);
        for seed in 0..3 {
            step.step(&Arrays::new(seed).batch(), 0.1).unwrap();
            let weights = step.weights().unwrap();
            for (name, tensor) in &mut expected {
                let mixed =
                    values(tensor).iter().zip(values(&weights[name])).map(|(e, w)| 0.75 * e + 0.25 * w);
                *tensor = glebe::weights::tensors::NamedTensor::f32(&tensor.shape.clone(), mixed.collect());
            }
        }
        assert!(difference(&step.averages().unwrap(), &expected) < 1e-6);
        assert!(difference(&step.weights().unwrap(), &expected) > 1e-3);
    }
    let step = build(&options(), &portable());
    assert_eq!(step.averages().unwrap_err().kind(), ErrorKind::InvalidState);
}

#[test]
fn the_loss_scale_changes_nothing_but_skips_what_is_not_finite() {
    for run in engines() {
        let mut plain = options();
        plain.optimizer = Optimizer::new(OptimizerKind::Sgd);
        plain.optimizer.momentum = 0.9;
        let mut scaled = plain.clone();
        scaled.optimizer.loss_scale = true;
        let (mut a, mut b) = (build(&plain, &run), build(&scaled, &run));
        assert_eq!(a.set_loss_scale(2.0).unwrap_err().kind(), ErrorKind::InvalidState);
        assert_eq!(b.set_loss_scale(0.0).unwrap_err().kind(), ErrorKind::InvalidArgument);
        b.set_loss_scale(1024.0).unwrap();
        for seed in 0..3 {
            let arrays = Arrays::new(seed);
            let (a, b) = (a.step(&arrays.batch(), 0.1).unwrap(), b.step(&arrays.batch(), 0.1).unwrap());
            assert!((a.loss - b.loss).abs() < 1e-5);
        }
        assert!(difference(&a.weights().unwrap(), &b.weights().unwrap()) < 1e-5);
        b.accumulate(&Arrays::new(9).batch()).unwrap();
        a.accumulate(&Arrays::new(9).batch()).unwrap();
        assert!(difference(&a.gradients().unwrap(), &b.gradients().unwrap()) < 1e-4);
        b.discard();

        let before = b.state().unwrap();
        b.set_loss_scale(f32::MAX).unwrap();
        let mut huge = Arrays::new(4);
        huge.images.iter_mut().for_each(|value| *value *= 1e4);
        let applied = b.step(&huge.batch(), 0.1).unwrap().applied.unwrap();
        assert!(applied.skipped && !applied.gradient_norm.unwrap().is_finite());
        b.set_loss_scale(1024.0).unwrap();
        assert_eq!(b.state().unwrap(), before);
    }
}
