//! Where pixels come from, against brute force and closed forms.

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayView2, s};

use super::{Scene, draws};
use crate::data::augmentation::drawn::Drawn;
use crate::data::augmentation::map::Map;
use crate::data::augmentation::{Affine, Augmentation, Colour, Patch, Photometric, ResizedCrop};
use crate::error::ErrorKind;
use crate::geometry::Window;

const NO_COLOUR: Colour =
    Colour { brightness: None, contrast: None, gamma: None, noise: None, dropout: None };

/// A draw of this map alone.
fn of_map(size: [usize; 2], map: Map) -> Drawn {
    Drawn::new(size, map, NO_COLOUR, Vec::new())
}

fn scattered(band: usize, x: i64, y: i64) -> f32 {
    let number = (x * 7919 + y * 104_729 + band as i64 * 31).rem_euclid(1009);
    number as f32 / 100.0 - 5.0
}

fn scene() -> Scene<'static> {
    Scene { value: &scattered, label: &|x, y| (x * 13 + y * 57).rem_euclid(5) - 1, bands: 3 }
}

/// `numpy.rot90(array, turns)`.
fn turned<T: Clone>(array: ArrayView2<'_, T>, turns: usize) -> Array2<T> {
    (0..turns).fold(array.to_owned(), |array, _| array.t().slice(s![..;-1, ..]).to_owned())
}

/// Flips, then turns.
fn brute<T: Clone>(array: ArrayView2<'_, T>, flips: (bool, bool), turns: usize) -> Array2<T> {
    let mut array = array.to_owned();
    if flips.0 {
        array = array.slice(s![.., ..;-1]).to_owned();
    }
    if flips.1 {
        array = array.slice(s![..;-1, ..]).to_owned();
    }
    turned(array.view(), turns)
}

fn flips_and_turns(flips: (bool, bool), turns: usize) -> Map {
    let mut map = Map::IDENTITY;
    if flips.0 {
        map = map.after(Map::scale(-1.0, 1.0));
    }
    if flips.1 {
        map = map.after(Map::scale(1.0, -1.0));
    }
    map.after(Map::quarter_turns(turns).inverse())
}

const FLIPS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

#[test]
fn numpys_turn_is_against_the_clock() {
    let array = ndarray::array![[1, 2, 3], [4, 5, 6]];
    assert_eq!(turned(array.view(), 1), ndarray::array![[3, 6], [2, 5], [1, 4]]);
}

#[test]
fn symmetries_are_those_of_ndarray() {
    let scene = scene();
    for size in [[5, 5], [4, 7], [6, 4], [7, 4], [1, 3]] {
        let window = Window::new(100, -20, size[1], size[0]);
        for (flips, turns) in FLIPS.iter().flat_map(|flips| (0..4).map(move |turns| (*flips, turns))) {
            let drawn = of_map(size, flips_and_turns(flips, turns));
            let source = drawn.source(window);
            if turns % 2 == 0 {
                assert_eq!(source, window);
            } else {
                assert_eq!((source.width, source.height), (window.height, window.width));
                // The centre stays, down to a whole pixel.
                let twice = |start: i64, extent: usize| 2 * start + extent as i64;
                let x = twice(window.x, window.width) - twice(source.x, source.width);
                let y = twice(window.y, window.height) - twice(source.y, source.height);
                let odd = (size[0] + size[1]) as i64 % 2;
                assert_eq!((x, y), (odd, odd));
            }
            let (image, labels) = scene.read(source);
            let found = scene.sample(&drawn, window, None, &Photometric::default());
            let pixels = source.width * source.height;
            for band in 0..3 {
                let band = band * pixels..(band + 1) * pixels;
                let plane =
                    ArrayView2::from_shape((source.height, source.width), &image[band.clone()]).unwrap();
                let wanted: Vec<f32> = brute(plane, flips, turns).iter().copied().collect();
                assert_eq!(found.0[band], wanted, "{size:?} {flips:?} {turns}");
            }
            let wanted: Vec<i32> = brute(labels.view(), flips, turns).iter().copied().collect();
            assert_eq!(found.1, wanted, "{size:?} {flips:?} {turns}");
        }
    }
}

#[test]
fn drawn_flips_and_turns_are_what_their_names_say() {
    let augmentation: Augmentation = "d4".parse().unwrap();
    let window = Window::new(0, 0, 6, 4);
    let scene = scene();
    for (names, flips) in [
        (vec![], (false, false)),
        (vec!["horizontal_flip"], (true, false)),
        (vec!["vertical_flip"], (false, true)),
        (vec!["horizontal_flip", "vertical_flip"], (true, true)),
    ] {
        for drawn in draws(&augmentation, [4, 6], &names, 3) {
            let labels = scene.read(window).1;
            let wanted: Vec<i32> = brute(labels.view(), flips, 0).iter().copied().collect();
            assert_eq!(scene.sample(&drawn, window, None, &Photometric::default()).1, wanted);
        }
    }
    let mut seen = BTreeSet::new();
    for drawn in draws(&augmentation, [4, 6], &["rot90"], 40) {
        let labels = scene.read(drawn.source(window)).1;
        let found = scene.sample(&drawn, window, None, &Photometric::default()).1;
        let turns = (1..4).find(|turns| turned(labels.view(), *turns).iter().eq(found.iter()));
        seen.insert(turns.unwrap());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn the_eight_symmetries_of_d4_are_equally_likely() {
    let augmentation: Augmentation = "d4".parse().unwrap();
    let mut counts = std::collections::HashMap::new();
    for seed in 0..16_000 {
        let symmetry = augmentation.draw([8, 8], seed).unwrap().map.symmetry().unwrap();
        *counts.entry(format!("{symmetry:?}")).or_insert(0u32) += 1;
    }
    assert_eq!(counts.len(), 8);
    // Five standard deviations of a count of 16000 draws.
    assert!(counts.values().all(|count| count.abs_diff(2000) < 210), "{counts:?}");
}

/// A map with everything in it.
fn skewed() -> Map {
    Map::shift(2.3, -1.7)
        .after(Map::rotation(27.0))
        .after(Map::shear_x(0.2))
        .after(Map::shear_y(-0.1))
        .after(Map::scale(1.3, 0.6))
}

#[test]
fn a_ramp_stays_a_ramp_under_any_map() {
    let (a, b, c) = (0.013, -0.021, 0.4);
    let value = |_: usize, x: i64, y: i64| (a * x as f64 + b * y as f64 + c) as f32;
    let scene = Scene { value: &value, label: &|_, _| 0, bands: 1 };
    let window = Window::new(-3, 11, 9, 6);
    let mut maps =
        vec![skewed(), skewed().inverse(), Map::rotation(45.0), Map::shift(0.5, 0.25), Map::scale(3.0, 3.0)];
    let strong: Augmentation = "strong".parse().unwrap();
    maps.extend((0..200).map(|seed| strong.draw([6, 9], seed).unwrap().map));
    for map in maps {
        let drawn = of_map([6, 9], map);
        let found = scene.sample(&drawn, window, None, &Photometric::default()).0;
        let half = if map.symmetry().is_some_and(|symmetry| symmetry.turns) { -0.5 } else { 0.0 };
        for (index, found) in found.iter().enumerate() {
            // Pixel centres are at halves, and so is the centre of a window of an odd side.
            let output = [(index % 9) as f64 + 0.5 - 4.5, (index / 9) as f64 + 0.5 - 3.0];
            let [x, y] = map.of(output);
            let (x, y) = (-3.0 + 4.5 + x - 0.5 + half, 11.0 + 3.0 + y - 0.5 + half);
            let wanted = a * x + b * y + c;
            assert!((f64::from(*found) - wanted).abs() < 1e-5, "{map:?} {index}: {found} for {wanted}");
        }
    }
}

#[test]
fn interpolation_is_the_formula_and_labels_are_the_nearest() {
    let scene = scene();
    let window = Window::new(5, 5, 8, 7);
    for map in [skewed(), Map::shift(0.3, 0.8), Map::rotation(-70.0), Map::scale(0.31, 0.37)] {
        let drawn = of_map([7, 8], map);
        let (image, labels) = scene.sample(&drawn, window, None, &Photometric::default());
        for (index, label) in labels.iter().enumerate() {
            let [x, y] = map.of([(index % 8) as f64 - 3.5, (index / 8) as f64 - 3.0]);
            let (x, y) = (5.0 + 3.5 + x, 5.0 + 3.0 + y);
            for band in 0..3 {
                let mut wanted = 0.0;
                for (column, row) in [(0, 0), (1, 0), (0, 1), (1, 1)]
                    .map(|(dx, dy)| (x.floor() + f64::from(dx), y.floor() + f64::from(dy)))
                {
                    let weight = (1.0 - (x - column).abs()) * (1.0 - (y - row).abs());
                    wanted += weight * f64::from(scattered(band, column as i64, row as i64));
                }
                assert!((f64::from(image[band * 56 + index]) - wanted).abs() < 1e-5);
            }
            let nearest = (scene.label)((x + 0.5).floor() as i64, (y + 0.5).floor() as i64);
            assert_eq!(i64::from(*label), nearest, "{map:?} {index}");
        }
    }
}

#[test]
fn image_and_labels_stay_together() {
    // Blocks of 16 x 16 pixels; inside of them the image is a function of the label, whatever is interpolated.
    let label = |x: i64, y: i64| (x.div_euclid(16) * 3 + y.div_euclid(16) * 5).rem_euclid(4) - 1;
    let value = move |band: usize, x: i64, y: i64| (10 * label(x, y) + band as i64) as f32;
    let scene = Scene { value: &value, label: &label, bands: 2 };
    let mut augmentation: Augmentation = "strong".parse().unwrap();
    augmentation.brightness.probability = 0.0;
    augmentation.contrast.probability = 0.0;
    augmentation.gamma.probability = 0.0;
    augmentation.noise.probability = 0.0;
    augmentation.band_dropout = 0.0;
    let window = Window::new(40, 70, 48, 32);
    let mut seen = BTreeSet::new();
    for seed in 0..150 {
        let drawn = augmentation.draw([32, 48], seed).unwrap();
        let (image, labels) = scene.sample(&drawn, window, None, &Photometric::default());
        let exact = drawn.map.symmetry().is_some();
        seen.insert(exact);
        let mut same = 0;
        for (index, label) in labels.iter().enumerate() {
            let wanted = (10 * label) as f32;
            let fits =
                (image[index] - wanted).abs() < 1e-4 && (image[1536 + index] - wanted - 1.0).abs() < 1e-4;
            same += usize::from(fits);
        }
        // Between two blocks values are mixed: the smallest view, 27 x 18 pixels, has 3 and 2 such edges in it.
        let least = if exact { 1536.0 } else { 1536.0 * (1.0 - 3.0 / 27.0 - 2.0 / 18.0) - 1.0 };
        assert!(same as f64 >= least, "seed {seed}: {same} of 1536, {:?}", drawn.operations());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_right_angle_by_interpolation_is_the_exact_turn() {
    let scene = scene();
    let window = Window::new(0, 0, 8, 6);
    for (degrees, turns) in [(90.0, 1), (180.0, 2), (-90.0, 3)] {
        let interpolated = of_map([6, 8], Map::rotation(degrees).inverse());
        assert_eq!(interpolated.map.symmetry(), None);
        let exact = of_map([6, 8], Map::quarter_turns(turns).inverse());
        let (image, labels) = scene.sample(&interpolated, window, None, &Photometric::default());
        let wanted = scene.sample(&exact, window, None, &Photometric::default());
        assert_eq!(labels, wanted.1);
        for (found, wanted) in image.iter().zip(&wanted.0) {
            assert!((found - wanted).abs() < 1e-4);
        }
    }
}

#[test]
fn forth_and_back_is_where_it_began() {
    let value = |_: usize, x: i64, y: i64| ((x as f32) * 0.05).sin() + ((y as f32) * 0.04).cos();
    let scene = Scene { value: &value, label: &|_, _| 0, bands: 1 };
    let forth = of_map([60, 60], Map::rotation(30.0).after(Map::scale(0.9, 1.1)));
    let outer = Window::new(0, 0, 60, 60);
    let (image, labels) = scene.sample(&forth, outer, None, &Photometric::default());
    // The middle of the turned image, turned back.
    let back = of_map([20, 20], forth.map.inverse());
    let source = back.source(Window::new(20, 20, 20, 20));
    let cut =
        |index: usize| (source.y as usize + index / source.width, source.x as usize + index % source.width);
    let middle: Vec<f32> =
        (0..source.width * source.height).map(|index| image[cut(index).0 * 60 + cut(index).1]).collect();
    let labels = Array2::from_shape_fn((source.height, source.width), |_| labels[0]);
    let mut found = (vec![0.0; 400], vec![0; 400]);
    let patch = Patch { image: &middle, labels: labels.view(), valid: None };
    back.apply(&patch, &Photometric::default(), &mut found.0, &mut found.1).unwrap();
    for (index, found) in found.0.iter().enumerate() {
        let wanted = value(0, 20 + index as i64 % 20, 20 + index as i64 / 20);
        // Twice the error of bilinear interpolation, at most 1/8 (0.05² + 0.04²) of the second derivatives.
        assert!((found - wanted).abs() < 1.5e-3, "{index}: {found} for {wanted}");
    }
}

/// An affine operation of this alone, for sure.
fn affine(affine: Affine) -> Augmentation {
    Augmentation { affine: Affine { probability: 1.0, ..affine }, ..Augmentation::default() }
}

/// Where the things at `point` (from the centre) come to lie.
fn lands(drawn: &Drawn, point: [f64; 2]) -> [f64; 2] {
    drawn.map.inverse().of(point)
}

#[test]
fn scales_shears_and_shifts_go_where_they_should() {
    let default = Affine::default();
    let near = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).abs() < 1e-9 && (a[1] - b[1]).abs() < 1e-9;

    let twice = affine(Affine { scale: [2.0, 2.0], ..default }).draw([10, 20], 3).unwrap();
    assert!(near(lands(&twice, [1.0, 3.0]), [2.0, 6.0]));
    // Things twice as long: half of the window is seen, columns 9.5 ± 4.75 and rows 4.5 ± 2.25, and neighbours.
    assert_eq!(twice.source(Window::new(0, 0, 20, 10)), Window::new(4, 2, 12, 6));

    let mut reach = [[0.0f64; 2]; 2];
    let mut ends = [f64::INFINITY, 0.0f64];
    let mut angles = [0.0f64; 2];
    let mut slopes = [0.0f64; 2];
    for seed in 0..2000 {
        let shifted = affine(Affine { translation: 0.1, ..default }).draw([10, 40], seed).unwrap();
        let [x, y] = lands(&shifted, [0.0, 0.0]);
        assert!(near(lands(&shifted, [3.0, 4.0]), [x + 3.0, y + 4.0]));
        for (reach, at) in reach.iter_mut().zip([x, y]) {
            *reach = [reach[0].min(at), reach[1].max(at)];
        }

        let scaled = affine(Affine { scale: [0.5, 2.0], ..default }).draw([10, 40], seed).unwrap();
        let [x, y] = lands(&scaled, [1.0, -1.0]);
        assert!((x + y).abs() < 1e-9);
        ends = [ends[0].min(x), ends[1].max(x)];

        let turned = affine(Affine { rotation: 20.0, ..default }).draw([10, 40], seed).unwrap();
        let [x, y] = lands(&turned, [1.0, 0.0]);
        assert!((x.hypot(y) - 1.0).abs() < 1e-9);
        let angle = (-y).atan2(x).to_degrees();
        angles = [angles[0].min(angle), angles[1].max(angle)];

        let sheared = affine(Affine { shear: 10.0, ..default }).draw([10, 40], seed).unwrap();
        let ([a, c], [b, d]) = (lands(&sheared, [1.0, 0.0]), lands(&sheared, [0.0, 1.0]));
        assert!((a * d - b * c - 1.0).abs() < 1e-9, "a shear keeps areas");
        assert!((d - 1.0).abs() < 1e-9 && (a - 1.0 - b * c).abs() < 1e-9);
        slopes = [slopes[0].min(b), slopes[1].max(b)];
    }
    // 2000 draws come close to both ends of an even distribution: within 1 % of its width all but surely.
    let closes = |found: [f64; 2], wanted: [f64; 2]| {
        let close = 0.01 * (wanted[1] - wanted[0]);
        found[0] >= wanted[0] - 1e-9
            && found[1] <= wanted[1] + 1e-9
            && found[0] < wanted[0] + close
            && found[1] > wanted[1] - close
    };
    assert!(closes(reach[0], [-4.0, 4.0]) && closes(reach[1], [-1.0, 1.0]), "{reach:?}");
    assert!(closes(ends.map(f64::log2), [-1.0, 1.0]), "{ends:?}");
    assert!(closes(angles, [-20.0, 20.0]), "{angles:?}");
    let slope = 10.0f64.to_radians().tan();
    assert!(closes(slopes, [-slope, slope]), "{slopes:?}");
}

#[test]
fn crops_have_their_area_and_stay_inside() {
    let mut augmentation = Augmentation::default();
    for (area, aspect) in [([0.25, 0.5], [1.0, 1.0]), ([0.3, 0.3], [0.5, 2.0]), ([2.0, 3.0], [1.0, 1.0])] {
        augmentation.resized_crop = ResizedCrop { probability: 1.0, area, aspect };
        let mut nearest = f64::INFINITY;
        for seed in 0..500 {
            let drawn = augmentation.draw([64, 32], seed).unwrap();
            let [[a, b, _], [c, d, _]] = drawn.matrix();
            assert_eq!((b, c), (0.0, 0.0));
            assert!((area[0] - 1e-9..=area[1] + 1e-9).contains(&(a * d)), "area {}", a * d);
            assert!((aspect[0] - 1e-9..=aspect[1] + 1e-9).contains(&(a / d)), "aspect {}", a / d);
            // Edges of the part, of pixels and not of their centres.
            let ([left, up], [right, down]) = (drawn.map.of([-16.0, -32.0]), drawn.map.of([16.0, 32.0]));
            let inside = [left + 16.0, 16.0 - right, up + 32.0, 32.0 - down];
            if area[1] <= 1.0 && aspect == [1.0, 1.0] {
                assert!(inside.iter().all(|gap| *gap >= -1e-9), "{inside:?}");
            }
            if area[0] >= 1.0 {
                assert!(inside.iter().all(|gap| *gap <= 1e-9), "{inside:?}");
            }
            nearest = inside.iter().fold(nearest, |least, gap| least.min(gap.abs()));
        }
        assert!(nearest < 0.2, "the part reaches the window's edges: {nearest}");
    }
}

#[test]
fn the_source_window_is_the_least_that_is_looked_at() {
    let strong: Augmentation = "strong".parse().unwrap();
    for seed in 0..300 {
        let drawn = strong.draw([12, 17], seed).unwrap();
        if drawn.map.symmetry().is_some() {
            continue;
        }
        let window = Window::new(-50, 80, 17, 12);
        let source = drawn.source(window);
        let mut least = [f64::INFINITY; 2];
        let mut most = [f64::NEG_INFINITY; 2];
        for (row, column) in (0..12).flat_map(|row| (0..17).map(move |column| (row, column))) {
            let [x, y] = drawn.map.of([f64::from(column) - 8.0, f64::from(row) - 5.5]);
            for (axis, at) in [x - 50.0 + 8.0, y + 80.0 + 5.5].into_iter().enumerate() {
                least[axis] = least[axis].min(at.floor());
                most[axis] = most[axis].max(at.floor() + 1.0);
            }
        }
        assert_eq!([source.x as f64, source.y as f64], least, "seed {seed}");
        let last = [source.x + source.width as i64 - 1, source.y + source.height as i64 - 1];
        assert_eq!(last.map(|at| at as f64), most, "seed {seed}");
    }
}

#[test]
fn pixels_without_a_value_do_not_bleed() {
    // Right of column 10 nothing is valid, and what stands there is not a number.
    let value = |_: usize, x: i64, y: i64| if x > 10 { f32::NAN } else { 2.0 + 0.0 * y as f32 };
    let scene = Scene { value: &value, label: &|_, _| 1, bands: 2 };
    let window = Window::new(4, 0, 12, 8);
    for map in [skewed(), Map::rotation(10.0), Map::shift(0.4, 0.0), Map::scale(-1.0, 1.0), Map::IDENTITY] {
        let drawn = of_map([8, 12], map);
        let (image, labels) = scene.sample(&drawn, window, Some(&|x, _| x <= 10), &Photometric::default());
        for (index, label) in labels.iter().enumerate() {
            let [x, _] = map.of([(index % 12) as f64 - 5.5, (index / 12) as f64 - 3.5]);
            let is_valid = (4.0 + 5.5 + x + 0.5).floor() <= 10.0;
            assert_eq!(*label, if is_valid { 1 } else { -1 });
            for band in 0..2 {
                let found = image[band * 96 + index];
                let wanted = if is_valid { 2.0 } else { 0.0 };
                assert!((found - wanted).abs() < 1e-6, "{map:?} {index}: {found}");
                assert!(is_valid || found.to_bits() == 0);
            }
        }
        assert!(labels.contains(&-1) && labels.contains(&1), "{map:?}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let drawn = of_map([4, 6], Map::quarter_turns(1));
    let labels = Array2::<i32>::zeros((6, 4));
    let turned = Array2::<i32>::zeros((4, 6));
    let image = vec![0.0; 48];
    let full = Patch { image: &image, labels: labels.view(), valid: None };
    let three = Photometric::new(vec![0.0; 3], vec![1.0], 1.0).unwrap();
    let plain = Photometric::default();
    for (patch, photometric, samples, count, word) in [
        (Patch { image: &image[1..], ..full }, &plain, 48, 24, "image of the source"),
        (Patch { image: &[], ..full }, &plain, 48, 24, "image of the source"),
        (
            Patch { labels: turned.view(), ..full },
            &plain,
            48,
            24,
            "labels of the source window: expected 4 x 6, got 6 x 4",
        ),
        (Patch { valid: Some(&[true; 23]), ..full }, &plain, 48, 24, "mask"),
        (full, &plain, 47, 24, "image: expected 48"),
        (full, &plain, 48, 25, "labels: expected 24"),
        (full, &three, 48, 24, "mean: expected 1 value or one for each of 2 bands, got 3"),
    ] {
        let (mut made, mut classes) = (vec![7.0; samples], vec![7; count]);
        let error = drawn.apply(&patch, photometric, &mut made, &mut classes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        assert!(error.message().contains(word), "{error}");
        assert!(made.iter().all(|value| *value == 7.0) && classes.iter().all(|label| *label == 7));
    }
    assert!(drawn.apply(&full, &plain, &mut [0.0; 48], &mut [0; 24]).is_ok());
}
