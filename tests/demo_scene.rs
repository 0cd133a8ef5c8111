//! The demo's scene and classifier: what the demo promises about them.

#[path = "../examples/demo/classifier.rs"]
mod classifier;
#[path = "../examples/demo/scene.rs"]
mod scene;

use scene::{BARE, BUILT, NODATA, NODATA_CLASS, SCALE, Scene, VEGETATION, WATER};

fn pixels(scene: &Scene) -> impl Iterator<Item = (u8, [u16; 4])> + '_ {
    scene
        .truth
        .indexed_iter()
        .map(|((y, x), class)| (*class, [0, 1, 2, 3].map(|band| scene.image[[band, y, x]])))
}

fn accuracy(scene: &Scene) -> f64 {
    let (mut right, mut all) = (0u64, 0u64);
    for (class, samples) in pixels(scene).filter(|(class, _)| *class != NODATA_CLASS) {
        all += 1;
        right += u64::from(classifier::classify(samples.map(|sample| f32::from(sample) / SCALE)) == class);
    }
    right as f64 / all as f64
}

#[test]
fn the_classifier_is_right_on_scenes_it_has_not_seen() {
    for seed in [7, 8, 9, 2026] {
        let accuracy = accuracy(&Scene::generate(256, seed));
        assert!(accuracy > 0.93, "seed {seed}: {accuracy}");
    }
}

#[test]
fn classes_are_numbered_alike() {
    let names = [WATER, VEGETATION, BARE, BUILT].map(|class| classifier::CLASSES[usize::from(class)]);
    assert_eq!(names, ["water", "vegetation", "bare", "built"]);
}

#[test]
fn a_seed_is_a_scene() {
    let (a, b) = (Scene::generate(96, 5), Scene::generate(96, 5));
    assert_eq!((&a.image, &a.truth), (&b.image, &b.truth));
    assert_ne!(a.truth, Scene::generate(96, 6).truth);
}

#[test]
fn data_and_the_collar_are_told_apart_by_the_sample_value() {
    let scene = Scene::generate(256, 7);
    for (class, samples) in pixels(&scene) {
        if class == NODATA_CLASS {
            assert_eq!(samples, [NODATA; 4]);
        } else {
            assert!(samples.iter().all(|sample| *sample != NODATA && f32::from(*sample) < SCALE));
        }
    }
    let collar = scene.truth.iter().filter(|class| **class == NODATA_CLASS).count();
    assert!((1000..8000).contains(&collar), "{collar}");
}

#[test]
fn every_class_has_its_share() {
    for seed in [1, 7, 42] {
        let scene = Scene::generate(256, seed);
        for class in [WATER, VEGETATION, BARE, BUILT] {
            let share = scene.truth.iter().filter(|found| **found == class).count() as f64 / 65536.0;
            assert!(share > 0.02, "seed {seed}, class {class}: {share}");
        }
    }
}

#[test]
fn small_scenes_are_scenes() {
    for size in [0, 1, 2, 17] {
        assert_eq!(Scene::generate(size, 1).image.dim(), (4, size, size));
    }
}
