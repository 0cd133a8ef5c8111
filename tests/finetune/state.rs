//! The state of a step: saved and restored, kept through failures and cancelling.

use std::time::Duration;

use glebe::ErrorKind;
use glebe::autodiff::{BatchNorm, Optimizer, OptimizerKind};
use glebe::finetune::{Batch, Labels, TrainState};
use glebe::runtime::CancelToken;

use crate::fixtures::{Arrays, build, engines, options};

#[test]
fn a_step_goes_on_from_a_saved_state_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    for (index, run) in engines().into_iter().enumerate() {
        let mut options = options();
        options.batch_norm = BatchNorm::Train;
        options.optimizer = Optimizer::new(OptimizerKind::AmsGrad);
        options.optimizer.ema_decay = Some(0.9);
        let mut whole = build(&options, &run);
        let mut losses = Vec::new();
        let path = folder.path().join(format!("{index}.safetensors"));
        for seed in 0..6 {
            if seed == 3 {
                whole.state().unwrap().write(&path, false).unwrap();
            }
            losses.push(whole.step(&Arrays::new(seed).batch(), 1e-2).unwrap().loss);
        }
        let mut second = build(&options, &run);
        // A state of its own, to be replaced.
        second.step(&Arrays::new(7).batch(), 1e-2).unwrap();
        second.set_state(&TrainState::read(&path).unwrap()).unwrap();
        assert_eq!(second.updates(), 3);
        for seed in 3..6 {
            let loss = second.step(&Arrays::new(seed).batch(), 1e-2).unwrap().loss;
            assert_eq!(loss.to_bits(), losses[seed as usize].to_bits());
        }
        assert_eq!(second.state().unwrap(), whole.state().unwrap());
    }
}

#[test]
fn states_go_from_one_engine_to_the_other() {
    let [host, device] = engines();
    let (mut a, mut b) = (build(&options(), &host), build(&options(), &device));
    a.step(&Arrays::new(0).batch(), 1e-3).unwrap();
    b.set_state(&a.state().unwrap()).unwrap();
    assert_eq!(a.state().unwrap(), b.state().unwrap());
}

#[test]
fn a_state_of_another_step_changes_nothing() {
    for run in engines() {
        let mut step = build(&options(), &run);
        let before = step.state().unwrap();
        let mut other = options();
        other.params = "head".parse().unwrap();
        let error = step.set_state(&build(&other, &run).state().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        other = options();
        other.optimizer = Optimizer::new(OptimizerKind::Sgd);
        let error = step.set_state(&build(&other, &run).state().unwrap()).unwrap_err();
        assert!(error.to_string().contains("another optimizer"), "{error}");
        assert_eq!(step.state().unwrap(), before);
    }
}

#[test]
fn bad_batches_change_nothing() {
    for run in engines() {
        let mut step = build(&options(), &run);
        let arrays = Arrays::new(0);
        step.step(&arrays.batch(), 1e-3).unwrap();
        let before = step.state().unwrap();
        let refused =
            |step: &mut glebe::finetune::TrainStep, batch: &Batch<'_>| step.step(batch, 1e-3).unwrap_err();
        let short = Batch { images: &arrays.images[1..], ..arrays.batch() };
        assert_eq!(refused(&mut step, &short).kind(), ErrorKind::Mismatch);
        let few = Batch { labels: Labels::U8(&arrays.labels[1..]), ..arrays.batch() };
        assert_eq!(refused(&mut step, &few).kind(), ErrorKind::Mismatch);
        let wrong: Vec<i64> = arrays.labels.iter().map(|_| 3).collect();
        let error = refused(&mut step, &Batch { labels: Labels::I64(&wrong), ..arrays.batch() });
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("label 3 in image 0 at row 0, column 0"), "{error}");
        let mask = vec![1; 7];
        assert!(
            refused(&mut step, &Batch { mask: Some(&mask), ..arrays.batch() }).to_string().contains("mask")
        );
        for lr in [-1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(step.step(&arrays.batch(), lr).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        assert_eq!(step.state().unwrap(), before);
    }
}

/// Cancelled after a random time, again and again: either the whole step was done or nothing of it.
#[test]
fn a_cancelled_step_leaves_the_state_bit_by_bit() {
    for run in engines() {
        let mut options = options();
        options.size = [160, 160];
        options.batch_norm = BatchNorm::Train;
        let pixels = 2 * 160 * 160;
        let images: Vec<f32> = (0..3 * pixels).map(|index| (index % 17) as f32 / 17.0).collect();
        let labels: Vec<u8> = (0..pixels).map(|index| (index % 3) as u8).collect();
        let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
        let mut step = build(&options, &run);
        let timed = |step: &mut glebe::finetune::TrainStep| {
            let started = std::time::Instant::now();
            step.step(&batch, 1e-3).unwrap();
            started.elapsed()
        };
        let whole = (0..4).map(|_| timed(&mut step)).min().unwrap();
        let mut cancelled = 0;
        for round in 0..36u32 {
            let token = CancelToken::new();
            step.cancel_with(&token).unwrap();
            let before = step.state().unwrap();
            // In the first of every twelve it is cancelled before it begins, in the others at some moment of it.
            let delay = whole * (round % 12) / 12;
            let ready = std::sync::Barrier::new(2);
            let result = std::thread::scope(|scope| {
                scope.spawn(|| {
                    if delay == Duration::ZERO {
                        token.cancel();
                    }
                    ready.wait();
                    std::thread::sleep(delay);
                    token.cancel();
                });
                ready.wait();
                step.step(&batch, 1e-3)
            });
            match result {
                Ok(_) => assert_eq!(step.updates(), before.updates + 1),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
                    cancelled += 1;
                    step.cancel_with(&CancelToken::new()).unwrap();
                    assert_eq!(step.state().unwrap(), before);
                }
            }
        }
        assert!(cancelled >= 3, "{cancelled} steps were cancelled");
    }
}
