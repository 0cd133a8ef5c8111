//! The feature cache: the same steps, with the frozen part run once for every image.

use glebe::ErrorKind;
use glebe::autodiff::{BatchNorm, StepOptions};
use glebe::finetune::{Batch, FeatureCache, RunOptions, TrainStep};

use crate::fixtures::{Arrays, BATCH, build, difference, engines, network, options};

fn head() -> StepOptions {
    let mut options = options();
    options.params = "head".parse().unwrap();
    options
}

fn with_cache(run: &RunOptions, memory: u64) -> RunOptions {
    let mut run = run.clone();
    run.features = Some(FeatureCache::in_memory(memory));
    run
}

#[test]
fn steps_are_those_without_a_cache() {
    let batches: Vec<Arrays> = (0..3).map(Arrays::new).collect();
    for run in engines() {
        for memory in [u64::MAX, 0, 40_000] {
            let (mut plain, mut cached) = (build(&head(), &run), build(&head(), &with_cache(&run, memory)));
            assert_eq!(plain.image_shape(), cached.image_shape());
            for epoch in 0..3 {
                for (index, own) in batches.iter().enumerate() {
                    let keys = [index as u64 * 2, index as u64 * 2 + 1];
                    let batch = Batch { keys: Some(&keys), ..own.batch() };
                    let (a, b) =
                        (plain.step(&own.batch(), 1e-2).unwrap(), cached.step(&batch, 1e-2).unwrap());
                    assert!((a.loss - b.loss).abs() < 1e-5, "epoch {epoch}: {} {}", a.loss, b.loss);
                }
            }
            assert!(difference(&plain.weights().unwrap(), &cached.weights().unwrap()) < 1e-3);
            let used = cached.cache_use();
            // Features of 14 channels in one tensor.
            assert_eq!(used.bytes_per_image, 14 * 12 * 12 * 4);
            let kept = (memory / used.bytes_per_image).min(6);
            assert_eq!((used.in_memory, used.in_file), (kept, 0));
            assert_eq!((used.found, used.computed), (2 * kept, 18 - 2 * kept));
        }
    }
}

#[test]
fn known_images_need_not_come_again() {
    let arrays = Arrays::new(0);
    let mut step = build(&head(), &with_cache(&RunOptions::default(), u64::MAX));
    let first = step.step(&Batch { keys: Some(&[7, 9]), ..arrays.batch() }, 0.0).unwrap();
    assert!(step.has_features(9) && !step.has_features(8));
    let again = step.step(&Batch { images: &[], keys: Some(&[7, 9]), ..arrays.batch() }, 0.0).unwrap();
    assert_eq!(first.loss, again.loss);
    let error = step.step(&Batch { images: &[], keys: Some(&[7, 8]), ..arrays.batch() }, 0.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let error = step.step(&Batch { keys: Some(&[7]), ..arrays.batch() }, 0.0).unwrap_err();
    assert!(error.to_string().contains(&format!("expected {BATCH} keys")), "{error}");
    // Without keys nothing is kept, and nothing found.
    let plain = step.step(&arrays.batch(), 0.0).unwrap();
    assert_eq!(plain.loss, first.loss);
    assert_eq!(step.cache_use().computed, 4);
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let run = with_cache(&RunOptions::default(), 1 << 20);
    let refused = |change: &dyn Fn(&mut StepOptions)| {
        let mut options = head();
        change(&mut options);
        TrainStep::new(&network(), &options, &run).unwrap_err()
    };
    assert_eq!(refused(&|own| own.params = "all".parse().unwrap()).kind(), ErrorKind::InvalidArgument);
    assert_eq!(refused(&|own| own.batch_norm = BatchNorm::Train).kind(), ErrorKind::NotSupported);
}

#[test]
fn several_features_are_kept_apart() {
    let mut options = options();
    options.params = "middle.*,head".parse().unwrap();
    let mut plain = build(&options, &RunOptions::default());
    let mut run = with_cache(&RunOptions::default(), 0);
    let folder = tempfile::tempdir().unwrap();
    let cache = run.features.as_mut().unwrap();
    cache.spill = Some((folder.path().into(), 1 << 20));
    let mut cached = build(&options, &run);
    let arrays = Arrays::new(4);
    for _ in 0..3 {
        let batch = Batch { keys: Some(&[0, 1]), ..arrays.batch() };
        let (a, b) = (plain.step(&arrays.batch(), 1e-2).unwrap(), cached.step(&batch, 1e-2).unwrap());
        assert!((a.loss - b.loss).abs() < 1e-5);
    }
    let used = cached.cache_use();
    assert_eq!((used.in_memory, used.in_file, used.found, used.computed), (0, 2, 4, 2));
}
