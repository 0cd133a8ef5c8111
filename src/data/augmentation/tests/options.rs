//! What may be drawn, how often, and how it is written down.

use std::collections::BTreeMap;

use super::Scene;
use crate::data::augmentation::{Affine, Augmentation, GEOMETRY, Photometric};
use crate::error::ErrorKind;
use crate::geometry::Window;

/// All operations, each with a probability of its own.
fn all() -> Augmentation {
    let mut all: Augmentation = "strong".parse().unwrap();
    all.horizontal_flip = 0.1;
    all.vertical_flip = 0.2;
    all.rot90 = 0.3;
    all.affine.probability = 0.4;
    all.resized_crop.probability = 0.15;
    all.brightness.probability = 0.6;
    all.contrast.probability = 0.7;
    all.gamma.probability = 0.8;
    all.noise.probability = 0.9;
    all
}

fn frequencies(augmentation: &Augmentation, count: u64) -> BTreeMap<&'static str, f64> {
    let mut found = BTreeMap::new();
    for seed in 0..count {
        for name in augmentation.draw([8, 8], seed).unwrap().operations() {
            *found.entry(*name).or_insert(0.0) += 1.0 / count as f64;
        }
    }
    found
}

#[test]
fn operations_come_as_often_as_they_should() {
    let found = frequencies(&all(), 20_000);
    for (name, wanted) in [
        ("horizontal_flip", 0.1),
        ("vertical_flip", 0.2),
        ("rot90", 0.3),
        ("affine", 0.4),
        ("resized_crop", 0.15),
        ("brightness", 0.6),
        ("contrast", 0.7),
        ("gamma", 0.8),
        ("noise", 0.9),
    ] {
        let allowed = 5.0 * (wanted * (1.0f64 - wanted) / 20_000.0).sqrt();
        assert!((found[name] - wanted).abs() < allowed, "{name}: {} for {wanted}", found[name]);
    }
    // Seeds of neighbours and of equal distance are no worse: pairs of coins are independent.
    let d4: Augmentation = "flips".parse().unwrap();
    for step in [1, 0x9e37_79b9_7f4a_7c15u64] {
        let flips: Vec<bool> = (0..20_001u64)
            .map(|at| {
                d4.draw([8, 8], at.wrapping_mul(step)).unwrap().operations().contains(&"horizontal_flip")
            })
            .collect();
        let same = flips.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(same.abs_diff(10_000) < 354, "{same}");
    }
}

#[test]
fn one_of_draws_exactly_one() {
    let mut augmentation = all();
    augmentation.one_of = true;
    for seed in 0..2000 {
        let drawn = augmentation.draw([8, 8], seed).unwrap();
        assert_eq!(drawn.operations().iter().filter(|name| GEOMETRY.contains(name)).count(), 1);
    }
    let found = frequencies(&augmentation, 20_000);
    for (name, weight) in GEOMETRY.into_iter().zip([0.1, 0.2, 0.3, 0.4, 0.15]) {
        let wanted: f64 = weight / 1.15;
        let allowed = 5.0 * (wanted * (1.0 - wanted) / 20_000.0).sqrt();
        assert!((found[name] - wanted).abs() < allowed, "{name}: {}", found[name]);
    }
    assert!((found["noise"] - 0.9).abs() < 0.011, "colour has its own probabilities");

    let one = Augmentation { one_of: true, vertical_flip: 0.01, ..Augmentation::default() };
    assert!((0..100).all(|seed| one.draw([8, 8], seed).unwrap().operations() == ["vertical_flip"]));
}

#[test]
fn certain_is_always_and_impossible_is_never() {
    let none = Augmentation::default();
    assert!(none.is_none() && !all().is_none());
    let mut always = all();
    always.horizontal_flip = 1.0;
    always.noise.probability = 1.0;
    for seed in 0..500 {
        assert!(none.draw([8, 8], seed).unwrap().operations().is_empty());
        let names = always.draw([8, 8], seed).unwrap();
        assert!(names.operations().contains(&"horizontal_flip") && names.operations().contains(&"noise"));
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_gives_others() {
    let mut strong: Augmentation = "strong".parse().unwrap();
    strong.noise.probability = 1.0;
    let value = |band: usize, x: i64, y: i64| ((x * 3 + y * 5 + band as i64) % 11) as f32;
    let scene = Scene { value: &value, label: &|x, y| (x + y).rem_euclid(3), bands: 3 };
    let window = Window::new(0, 0, 24, 16);
    let sample = |seed: u64| {
        let drawn = strong.draw([16, 24], seed).unwrap();
        let (image, labels) = scene.sample(&drawn, window, None, &Photometric::default());
        (image.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), labels)
    };
    let alone: Vec<_> = (0..20).map(sample).collect();
    // On other threads, in another order, among other draws.
    let beside: Vec<_> = std::thread::scope(|scope| {
        let sample = |seed: u64| {
            let drawn = strong.draw([16, 24], seed).unwrap();
            let scene = Scene { value: &value, label: &|x, y| (x + y).rem_euclid(3), bands: 3 };
            let (image, labels) = scene.sample(&drawn, window, None, &Photometric::default());
            (image.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), labels)
        };
        let threads: Vec<_> = (0..20).rev().map(|seed| scope.spawn(move || sample(seed))).collect();
        threads.into_iter().rev().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, beside);
    assert!((1..20).all(|seed| alone[seed].0 != alone[0].0));
}

#[test]
fn an_option_changes_its_own_operation_only() {
    let mut other = all();
    other.horizontal_flip = 0.9;
    other.affine.rotation = 40.0;
    other.noise.probability = 0.0;
    let names = |augmentation: &Augmentation, seed| {
        let mut names = augmentation.draw([8, 8], seed).unwrap().operations().to_vec();
        names.retain(|name| !["horizontal_flip", "noise"].contains(name));
        names
    };
    assert!((0..500).all(|seed| names(&all(), seed) == names(&other, seed)));
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    type Change = fn(&mut Augmentation);
    let cases: [(Change, &str); 27] = [
        (|all| all.horizontal_flip = 1.5, "horizontal_flip: expected a number from 0 to 1, got 1.5"),
        (|all| all.vertical_flip = -0.1, "vertical_flip: "),
        (|all| all.rot90 = f64::NAN, "rot90: "),
        (|all| all.affine.probability = 2.0, "affine.probability: "),
        (|all| all.affine.rotation = -1.0, "affine.rotation: "),
        (|all| all.affine.rotation = 181.0, "affine.rotation: "),
        (
            |all| all.affine.scale = [1.2, 0.8],
            "affine.scale: expected [low, high] from 0.25 to 4, got [1.2, 0.8]",
        ),
        (|all| all.affine.scale = [0.0, 1.0], "affine.scale: "),
        (|all| all.affine.scale = [1.0, f64::INFINITY], "affine.scale: "),
        (|all| all.affine.scale = [f64::NAN, 1.0], "affine.scale: "),
        (|all| all.affine.shear = 46.0, "affine.shear: "),
        (|all| all.affine.translation = 1.1, "affine.translation: "),
        (|all| all.affine = Affine::default(), "affine: expected a rotation, scale, shear or translation"),
        (|all| all.resized_crop.probability = -1.0, "resized_crop.probability: "),
        (|all| all.resized_crop.area = [0.5, 0.4], "resized_crop.area: "),
        (|all| all.resized_crop.area = [0.0, 0.4], "resized_crop.area: "),
        (|all| all.resized_crop.aspect = [0.1, 1.0], "resized_crop.aspect: "),
        (|all| all.brightness.probability = f64::NAN, "brightness.probability: "),
        (|all| all.brightness.by = 1.5, "brightness.by: "),
        (|all| all.contrast.probability = 3.0, "contrast.probability: "),
        (|all| all.contrast.factor = [0.0, 1.0], "contrast.factor: "),
        (|all| all.gamma.probability = 3.0, "gamma.probability: "),
        (|all| all.gamma.exponent = [1.0, f64::NAN], "gamma.exponent: "),
        (|all| all.noise.probability = -3.0, "noise.probability: "),
        (|all| all.noise.std = f64::INFINITY, "noise.std: "),
        (|all| all.band_dropout = 1.01, "band_dropout: "),
        (
            |all| *all = Augmentation { one_of: true, band_dropout: 0.5, ..Augmentation::default() },
            "one_of: ",
        ),
    ];
    for (change, word) in cases {
        let mut changed = all();
        change(&mut changed);
        for error in [changed.check().unwrap_err(), changed.draw([8, 8], 1).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().starts_with(word), "{error}");
        }
    }
    assert!(all().check().is_ok());
    for size in [[0, 8], [8, 0]] {
        assert_eq!(all().draw(size, 1).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn presets_have_what_their_names_say() {
    let names = |preset: &str| -> Vec<&'static str> {
        let augmentation: Augmentation = preset.parse().unwrap();
        augmentation.check().unwrap();
        frequencies(&augmentation, 500).into_keys().collect()
    };
    assert!("none".parse::<Augmentation>().unwrap().is_none());
    assert_eq!(names("flips"), ["horizontal_flip", "vertical_flip"]);
    assert_eq!(names("d4"), ["horizontal_flip", "rot90", "vertical_flip"]);
    assert_eq!(names("standard"), ["brightness", "contrast", "horizontal_flip", "rot90", "vertical_flip"]);
    assert_eq!(names("strong").len(), 10);
    let error = "mild".parse::<Augmentation>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(
        error.message().contains("none, flips, d4, standard or strong") && error.message().contains("mild")
    );
}

#[test]
fn a_toml_file_gives_back_what_was_written() {
    for preset in ["none", "flips", "d4", "standard", "strong"] {
        let mut augmentation: Augmentation = preset.parse().unwrap();
        augmentation.gamma.exponent = [0.1 + 0.2, 1.0 / 0.7];
        augmentation.one_of = true;
        let text = toml::to_string_pretty(&augmentation).unwrap();
        assert_eq!(toml::from_str::<Augmentation>(&text).unwrap(), augmentation, "{text}");
    }
    assert_eq!(toml::from_str::<Augmentation>("").unwrap(), Augmentation::default());
    let short = "rot90 = 1\naffine = { rotation = 10 }\n[noise]\nprobability = 0.1";
    let read: Augmentation = toml::from_str(short).unwrap();
    assert_eq!((read.rot90, read.affine.rotation, read.affine.probability), (1.0, 10.0, 0.5));
    assert_eq!((read.noise.probability, read.noise.std, read.contrast.probability), (0.1, 0.02, 0.0));
    for wrong in [
        "rot = 1",
        "affine = { turn = 1 }",
        "affine = { scale = 1 }",
        "noise = 0.1",
        "[gamma]\nfactor = [1, 2]",
    ] {
        assert!(toml::from_str::<Augmentation>(wrong).is_err(), "{wrong}");
    }
}
