//! Loss and logits without training.

use glebe::autodiff::BatchNorm;
use glebe::finetune::TrainStep;
use glebe::model::{Model, ModelOptions};

use crate::fixtures::{Arrays, build, engines, options, runtime};

/// What is evaluated is the model that an export would give, whatever is trained and however.
#[test]
fn an_evaluation_is_that_of_the_exported_model() {
    for run in engines() {
        for (params, batch_norm) in [
            ("all", BatchNorm::Frozen),
            ("all", BatchNorm::Train),
            ("head", BatchNorm::Affine),
            ("head", BatchNorm::Train),
            ("lora:r=2", BatchNorm::Frozen),
        ] {
            let mut options = options();
            (options.params, options.batch_norm) = (params.parse().unwrap(), batch_norm);
            let mut step = build(&options, &run);
            let arrays = Arrays::new(6);
            let before = step.evaluate(&arrays.batch()).unwrap();
            for _ in 0..3 {
                step.step(&arrays.batch(), 1e-2).unwrap();
            }
            let state = step.state().unwrap();
            let found = step.evaluate(&arrays.batch()).unwrap();
            assert_ne!(before.loss, found.loss, "{params} {batch_norm}");
            assert_eq!(step.state().unwrap(), state);
            // By the gradient graph of the exported model, its statistics frozen.
            let model =
                Model::from_bytes(runtime(), step.export().unwrap(), &ModelOptions::default()).unwrap();
            (options.params, options.batch_norm) = ("all".parse().unwrap(), BatchNorm::Frozen);
            let mut exported = TrainStep::new(&model, &options, &run).unwrap();
            exported.want_logits(true);
            let expected = exported.accumulate(&arrays.batch()).unwrap();
            assert!((found.loss - expected.loss).abs() < 1e-5, "{params} {batch_norm}");
            let (found, expected) = (found.logits.unwrap(), expected.logits.unwrap());
            let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-5, "{params} {batch_norm}: {largest}");
        }
    }
}

/// Gradients that wait are left alone, and running statistics count at once.
#[test]
fn an_evaluation_comes_between_batches_of_an_update() {
    for run in engines() {
        let mut options = options();
        options.batch_norm = BatchNorm::Train;
        let (a, b) = (Arrays::new(1), Arrays::new(2));
        let mut alone = build(&options, &run);
        let mut watched = build(&options, &run);
        for step in [&mut alone, &mut watched] {
            step.accumulate(&a.batch()).unwrap();
        }
        let first = watched.evaluate(&a.batch()).unwrap().loss;
        for step in [&mut alone, &mut watched] {
            step.accumulate(&b.batch()).unwrap();
        }
        assert_ne!(watched.evaluate(&a.batch()).unwrap().loss, first);
        for step in [&mut alone, &mut watched] {
            step.apply(1e-2).unwrap();
        }
        assert_eq!(alone.state().unwrap(), watched.state().unwrap());
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let mut step = build(&options(), &engines()[0]);
    let mut arrays = Arrays::new(1);
    arrays.images.pop();
    let error = step.evaluate(&arrays.batch()).unwrap_err();
    assert_eq!(error.kind(), glebe::ErrorKind::Mismatch);
    assert!(error.message().contains("samples for images"), "{error}");
}

/// Images of which one counts by few pixels and one by none.
#[test]
fn the_loss_of_an_evaluation_does_not_depend_on_the_batches() {
    use glebe::finetune::{ArrayLoader, FitOptions, Trainer};
    use glebe::hooks::Callbacks;

    use crate::fixtures::{SIZE, options};

    let all: Vec<Arrays> = (0..2).map(Arrays::new).collect();
    let images: Vec<f32> = all.iter().flat_map(|own| own.images.clone()).collect();
    let mut labels: Vec<u8> = all.iter().flat_map(|own| own.labels.clone()).collect();
    labels[SIZE * SIZE..2 * SIZE * SIZE].fill(255);
    labels[2 * SIZE * SIZE + 3..3 * SIZE * SIZE].fill(255);
    let loss = |batch: usize| {
        let mut step_options = options();
        step_options.batch = batch;
        let step = build(&step_options, &engines()[0]);
        let mut own = Trainer::new(step, FitOptions::new(1, 0.1), Callbacks::new()).unwrap();
        let (images, labels) = (images.clone(), labels.clone());
        let mut data = ArrayLoader::new(images, labels, batch, 3 * SIZE * SIZE, SIZE * SIZE).unwrap();
        own.validate(&mut data).unwrap()[0].1
    };
    let whole = loss(4);
    for batch in [1, 2, 3] {
        assert!((loss(batch) - whole).abs() < 1e-6, "{batch}: {} {whole}", loss(batch));
    }
}
