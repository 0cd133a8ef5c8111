//! What steps give and what comes out of the file.

use glebe::ErrorKind;
use glebe::autodiff::BatchNorm;
use glebe::finetune::{Batch, Labels, NOTE_KEY};
use glebe::model::{Model, ModelOptions};

use crate::fixtures::{
    Arrays, BATCH, CLASSES, SIZE, build, difference, engines, network, options, runtime, values,
};

#[test]
fn a_single_batch_is_learnt_by_heart() {
    for run in engines() {
        let mut options = options();
        options.batch = 1;
        let all = Arrays::new(5);
        // Three fields, told apart by the first band.
        let images: Vec<f32> = all.images[..3 * SIZE * SIZE].to_vec();
        let label = |value: f32| ((value + 1.0) * 1.49) as u8;
        let labels: Vec<u8> = images[..SIZE * SIZE].iter().map(|&value| label(value)).collect();
        let batch = Batch { images: &images, labels: Labels::U8(&labels), mask: None, keys: None };
        let mut step = build(&options, &run);
        let first = step.step(&batch, 1e-2).unwrap().loss;
        let mut last = first;
        for _ in 0..700 {
            last = step.step(&batch, 1e-2).unwrap().loss;
        }
        assert!(first > 0.5 && last < 0.01, "{first} to {last}");
    }
}

#[test]
fn the_loss_is_the_cross_entropy_of_the_logits() {
    for run in engines() {
        let mut step = build(&options(), &run);
        let arrays = Arrays::new(1);
        assert_eq!(step.accumulate(&arrays.batch()).unwrap().logits, None);
        step.discard();
        step.want_logits(true);
        let output = step.step(&arrays.batch(), 0.0).unwrap();
        let logits = output.logits.unwrap();
        let plane = SIZE * SIZE;
        let (mut total, mut count) = (0.0f64, 0.0);
        for (index, &label) in arrays.labels.iter().enumerate().filter(|(_, label)| **label != 255) {
            let at =
                |class: usize| f64::from(logits[(index / plane * CLASSES + class) * plane + index % plane]);
            let sum: f64 = (0..CLASSES).map(|class| at(class).exp()).sum();
            total += sum.ln() - at(usize::from(label));
            count += 1.0;
        }
        assert!((f64::from(output.loss) - total / count).abs() < 1e-5);
        step.want_logits(false);
        assert_eq!(step.step(&arrays.batch(), 0.0).unwrap().logits, None);
    }
}

/// In the direction of the gradient the loss falls by the gradient's square.
#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    for run in engines() {
        let mut options = options();
        options.optimizer = glebe::autodiff::Optimizer::new(glebe::autodiff::OptimizerKind::Sgd);
        let mut step = build(&options, &run);
        let arrays = Arrays::new(2);
        step.accumulate(&arrays.batch()).unwrap();
        let square: f64 = step
            .gradients()
            .unwrap()
            .values()
            .flat_map(|tensor| values(tensor).to_vec())
            .map(|value| f64::from(value).powi(2))
            .sum();
        step.discard();
        let start = step.state().unwrap();
        let loss_at = |step: &mut glebe::finetune::TrainStep, lr: f32| {
            step.set_state(&start).unwrap();
            step.step(&arrays.batch(), lr).unwrap();
            let loss = step.accumulate(&arrays.batch()).unwrap().loss;
            step.discard();
            f64::from(loss)
        };
        let (before, after) = (loss_at(&mut step, 0.0), loss_at(&mut step, 2e-3));
        let slope = (before - after) / 2e-3;
        assert!((slope - square).abs() < 0.03 * square, "{slope} for {square}");
    }
}

#[test]
fn frozen_tensors_stay_and_running_statistics_follow_the_batch() {
    for run in engines() {
        let mut options = options();
        options.params = "head".parse().unwrap();
        let mut step = build(&options, &run);
        assert_eq!(step.weights().unwrap().keys().collect::<Vec<_>>(), ["head.bias", "head.weight"]);
        assert_eq!(step.trained_elements(), CLASSES * 14 + CLASSES);
        options.batch_norm = BatchNorm::Affine;
        step = build(&options, &run);
        assert_eq!(step.weights().unwrap().len(), 4);

        options.batch_norm = BatchNorm::Train;
        options.params = "all".parse().unwrap();
        step = build(&options, &run);
        step.step(&Arrays::new(3).batch(), 0.0).unwrap();
        let weights = step.weights().unwrap();
        let (mean, variance) =
            (values(&weights["encoder.bn.running_mean"]), values(&weights["encoder.bn.running_var"]));
        // The convolution's results, of which the statistics are, by definition.
        let (w, b) = (values(&weights["encoder.conv.weight"]), values(&weights["encoder.conv.bias"]));
        let images = Arrays::new(3).images;
        let pixel = |n: usize, c: usize, y: i64, x: i64| {
            let inside = (0..SIZE as i64).contains(&y) && (0..SIZE as i64).contains(&x);
            if inside {
                f64::from(images[((n * 3 + c) * SIZE + y as usize) * SIZE + x as usize])
            } else {
                0.0
            }
        };
        for filter in 0..8 {
            let mut all = Vec::new();
            for n in 0..BATCH {
                for place in 0..SIZE * SIZE {
                    let (y, x) = ((place / SIZE) as i64, (place % SIZE) as i64);
                    let taps = (0..27).map(|tap| {
                        let (c, dy, dx) = (tap / 9, (tap / 3 % 3) as i64, (tap % 3) as i64);
                        f64::from(w[filter * 27 + tap]) * pixel(n, c, y + dy - 1, x + dx - 1)
                    });
                    all.push(f64::from(b[filter]) + taps.sum::<f64>());
                }
            }
            let count = all.len() as f64;
            let average = all.iter().sum::<f64>() / count;
            let unbiased = all.iter().map(|value| (value - average).powi(2)).sum::<f64>() / (count - 1.0);
            assert!((f64::from(mean[filter]) - (0.9 * 0.05 + 0.1 * average)).abs() < 1e-5);
            assert!((f64::from(variance[filter]) - (0.9 * 0.7 + 0.1 * unbiased)).abs() < 1e-5);
        }
    }
}

#[test]
fn the_exported_model_gives_the_logits_of_the_step() {
    for run in engines() {
        let mut step = build(&options(), &run);
        let arrays = Arrays::new(6);
        for _ in 0..3 {
            step.step(&arrays.batch(), 1e-2).unwrap();
        }
        step.want_logits(true);
        let logits = step.accumulate(&arrays.batch()).unwrap().logits.unwrap();
        step.discard();
        let bytes = step.export().unwrap();
        let model = Model::from_bytes(runtime(), bytes, &ModelOptions::default()).unwrap();
        let entry = model.document().model().metadata_props.iter().find(|entry| entry.key == NOTE_KEY);
        assert!(entry.is_some_and(|entry| entry.value.contains("3 updates of all with adamw")));
        // Trained on, its first logits are those; nothing else in it changed.
        let mut again = glebe::finetune::TrainStep::new(&model, &options(), &run).unwrap();
        again.want_logits(true);
        let found = again.accumulate(&arrays.batch()).unwrap().logits.unwrap();
        assert!(logits.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-5));
        let names = |model: &Model| {
            model.document().graph().node.iter().map(|node| node.output.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&model), names(&network()));
    }
}

#[test]
fn portable_and_own_operators_give_the_same_gradients() {
    let [host, device] = engines();
    let gradients = |run| {
        let mut step = build(&options(), run);
        step.accumulate(&Arrays::new(8).batch()).unwrap();
        step.gradients().unwrap()
    };
    assert!(difference(&gradients(&host), &gradients(&device)) < 1e-5);
}

#[test]
fn sizes_that_the_model_does_not_take_are_refused() {
    let mut options = options();
    options.size = [0, 8];
    let error = glebe::finetune::TrainStep::new(&network(), &options, &engines()[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    // 7 is halved to 3 and doubled to 6: the skip connection does not fit.
    options.size = [7, 8];
    let error = glebe::finetune::TrainStep::new(&network(), &options, &engines()[0]).unwrap_err();
    assert!(error.to_string().contains("Concat"), "{error}");
}
