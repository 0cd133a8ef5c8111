//! Values, against closed forms through a normalisation that is not trivial.

use super::Scene;
use crate::data::augmentation::{Augmentation, Brightness, Contrast, Gamma, Noise, Photometric};
use crate::error::ErrorKind;
use crate::geometry::Window;

const MEAN: [f64; 3] = [30.0, 55.0, 80.0];
const STD: [f64; 3] = [12.0, 20.0, 7.0];
const FULL: f64 = 200.0;
const WINDOW: Window = Window::new(0, 0, 9, 7);
const PIXELS: usize = 63;

fn photometric() -> Photometric {
    Photometric::new(MEAN.to_vec(), STD.to_vec(), FULL).unwrap()
}

/// Share of the full range at a pixel.
fn share(band: usize, x: i64, y: i64) -> f64 {
    ((x * 17 + y * 29 + band as i64 * 41) % 97 - 4) as f64 / 100.0
}

fn normalised(band: usize, x: i64, y: i64) -> f32 {
    ((share(band, x, y) * FULL - MEAN[band]) / STD[band]) as f32
}

/// Every fourth column of the image has no value.
fn is_valid(x: i64, _: i64) -> bool {
    x % 4 != 2
}

/// The sample in shares of the full range, `None` where it is exactly 0 and not valid.
fn shares(augmentation: &Augmentation, seed: u64, masked: bool) -> Vec<f64> {
    let scene = Scene { value: &normalised, label: &|_, _| 0, bands: 3 };
    let drawn = augmentation.draw([7, 9], seed).unwrap();
    let valid: Option<&dyn Fn(i64, i64) -> bool> = if masked { Some(&is_valid) } else { None };
    let (image, _) = scene.sample(&drawn, WINDOW, valid, &photometric());
    let back =
        |(index, y): (usize, &f32)| (f64::from(*y) * STD[index / PIXELS] + MEAN[index / PIXELS]) / FULL;
    image.iter().enumerate().map(back).collect()
}

/// All pixels as (index, band, x, y).
fn pixels() -> impl Iterator<Item = (usize, usize, i64, i64)> {
    (0..3 * PIXELS)
        .map(|index| (index, index / PIXELS, (index % PIXELS % 9) as i64, (index % PIXELS / 9) as i64))
}

fn near(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() < 2e-6
}

#[test]
fn brightness_adds_the_same_everywhere() {
    let brightness = Brightness { probability: 1.0, by: 0.2 };
    let augmentation = Augmentation { brightness, ..Augmentation::default() };
    let mut seen = Vec::new();
    for seed in 0..300 {
        let found = shares(&augmentation, seed, false);
        let added = found[0] - share(0, 0, 0);
        assert!(added.abs() <= 0.2 + 1e-6);
        assert!(pixels().all(|(index, band, x, y)| near(found[index], share(band, x, y) + added)));
        seen.push(added);
    }
    assert!(seen.iter().any(|added| *added < -0.18) && seen.iter().any(|added| *added > 0.18));
}

#[test]
fn contrast_is_about_the_mean_of_each_bands_valid_pixels() {
    for masked in [false, true] {
        for factor in [0.5, 1.6] {
            let contrast = Contrast { probability: 1.0, factor: [factor, factor] };
            let found = shares(&Augmentation { contrast, ..Augmentation::default() }, 5, masked);
            let means: Vec<f64> = (0..3)
                .map(|own| {
                    let counted = |(_, band, x, y): &(usize, usize, i64, i64)| {
                        *band == own && (!masked || is_valid(*x, *y))
                    };
                    let values: Vec<f64> =
                        pixels().filter(counted).map(|(_, band, x, y)| share(band, x, y)).collect();
                    values.iter().sum::<f64>() / values.len() as f64
                })
                .collect();
            for (index, band, x, y) in pixels() {
                let wanted = match !masked || is_valid(x, y) {
                    true => means[band] + factor * (share(band, x, y) - means[band]),
                    false => MEAN[band] / FULL,
                };
                assert!(near(found[index], wanted), "{index}: {} for {wanted}", found[index]);
            }
        }
    }
}

#[test]
fn gamma_is_a_power_above_0_and_nothing_below() {
    let gamma = Gamma { probability: 1.0, exponent: [1.7, 1.7] };
    let found = shares(&Augmentation { gamma, ..Augmentation::default() }, 1, false);
    let mut below = 0;
    for (index, band, x, y) in pixels() {
        let u = share(band, x, y);
        below += usize::from(u < 0.0);
        assert!(near(found[index], if u > 0.0 { u.powf(1.7) } else { u }));
    }
    assert!(below > 0);
}

#[test]
fn brightness_comes_before_contrast_and_that_before_gamma() {
    let mut augmentation = Augmentation {
        brightness: Brightness { probability: 1.0, by: 0.2 },
        contrast: Contrast { probability: 1.0, factor: [0.5, 0.5] },
        ..Augmentation::default()
    };
    let linear = shares(&augmentation, 8, false);
    augmentation.contrast.factor = [1.0, 1.0];
    let brighter = shares(&augmentation, 8, false);
    let mean = brighter[..PIXELS].iter().sum::<f64>() / PIXELS as f64;
    assert!((brighter[0] - share(0, 0, 0)).abs() > 0.01, "the seed makes a difference");
    assert!((0..PIXELS).all(|index| near(linear[index], mean + 0.5 * (brighter[index] - mean))));

    augmentation.contrast.factor = [0.5, 0.5];
    augmentation.gamma = Gamma { probability: 1.0, exponent: [2.0, 2.0] };
    let all = shares(&augmentation, 8, false);
    let wanted = linear.iter().map(|u| if *u > 0.0 { u * u } else { *u });
    assert!(all.iter().zip(wanted).all(|(found, wanted)| near(*found, wanted)));
}

#[test]
fn noise_has_its_standard_deviation_in_shares_of_the_range() {
    let noise = Noise { probability: 1.0, std: 0.05 };
    let augmentation = Augmentation { noise, ..Augmentation::default() };
    let mut all: Vec<[f64; 3]> = Vec::new();
    for seed in 0..400 {
        let found = shares(&augmentation, seed, true);
        for (index, _, x, y) in pixels().take(PIXELS) {
            let added = [0, 1, 2].map(|band| found[band * PIXELS + index] - share(band, x, y));
            match is_valid(x, y) {
                true => all.push(added),
                false => assert!((0..3).all(|band| near(found[band * PIXELS + index], MEAN[band] / FULL))),
            }
        }
    }
    let count = all.len() as f64;
    let of = |value: &dyn Fn(&[f64; 3]) -> f64| all.iter().map(value).sum::<f64>() / count;
    for band in 0..3 {
        // Five standard deviations of each estimate.
        assert!(of(&|added| added[band]).abs() < 5.0 * 0.05 / count.sqrt());
        let variance = of(&|added| added[band].powi(2));
        assert!((variance / 0.0025 - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{variance}");
        // Bands have noise of their own.
        let both = of(&|added| added[band] * added[(band + 1) % 3]);
        assert!(both.abs() < 5.0 * 0.0025 / count.sqrt());
    }
}

#[test]
fn dropped_bands_are_the_mean_and_one_stays() {
    let scene = Scene { value: &|_, _, _| 1.5, label: &|_, _| 2, bands: 3 };
    for (probability, likely) in [(0.3, 0.3), (1.0, 2.0 / 3.0), (0.001, 0.001)] {
        let augmentation = Augmentation { band_dropout: probability, ..Augmentation::default() };
        let mut dropped = [0u32; 3];
        for seed in 0..3000 {
            let drawn = augmentation.draw([7, 9], seed).unwrap();
            let (image, labels) = scene.sample(&drawn, WINDOW, None, &photometric());
            let mut stays = false;
            for (band, values) in image.chunks(PIXELS).enumerate() {
                let is_dropped = values[0] == 0.0;
                assert!(values.iter().all(|value| *value == if is_dropped { 0.0 } else { 1.5 }));
                dropped[band] += u32::from(is_dropped);
                stays |= !is_dropped;
            }
            assert!(stays && labels.iter().all(|label| *label == 2));
        }
        // All three fall with 0.3³, and one of them is then saved.
        let likely = if probability == 0.3 { 0.3 - 0.027 / 3.0 } else { likely };
        let allowed = 5.0 * (likely * (1.0 - likely) / 3000.0f64).sqrt();
        for count in dropped {
            assert!((f64::from(count) / 3000.0 - likely).abs() < allowed, "{probability}: {dropped:?}");
        }
    }
    let one = Scene { bands: 1, ..scene };
    let drawn = Augmentation { band_dropout: 1.0, ..Augmentation::default() }.draw([7, 9], 1).unwrap();
    assert!(one.sample(&drawn, WINDOW, None, &Photometric::default()).0.iter().all(|value| *value == 1.5));
}

#[test]
fn values_without_colour_are_kept_to_the_bit() {
    let scene = Scene { value: &normalised, label: &|_, _| 0, bands: 3 };
    let drawn = Augmentation::default().draw([7, 9], 1).unwrap();
    let found = scene.sample(&drawn, WINDOW, None, &photometric()).0;
    assert_eq!(found, scene.read(WINDOW).0);
}

#[test]
fn a_photometric_that_makes_no_sense_is_refused() {
    for (mean, std, full, word) in [
        (vec![], vec![1.0], 1.0, "mean: expected one value"),
        (vec![0.0], vec![], 1.0, "std: expected one value"),
        (vec![f64::NAN], vec![1.0], 1.0, "mean: expected finite"),
        (vec![0.0], vec![1.0, 0.0], 1.0, "std: expected numbers other than 0"),
        (vec![0.0], vec![1.0], 0.0, "full: expected"),
        (vec![0.0], vec![1.0], f64::INFINITY, "full: expected"),
    ] {
        let error = Photometric::new(mean, std, full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().starts_with(word), "{error}");
    }
    assert_eq!(photometric().check_bands(4).unwrap_err().kind(), ErrorKind::Mismatch);
    assert!(photometric().check_bands(3).is_ok());
}
