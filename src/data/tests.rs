//! Samples cut from rasters that say where each pixel is: band 1 holds the column, band 2 the row.
#![allow(clippy::unwrap_used, reason = "a panic is the report of a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array3;

use crate::data::{
    Augmentation, Dataset, DatasetOptions, Division, LabelNodata, Labels, ListItem, Loader, LoaderOptions,
    RasterLoader, Sampling, Unit,
};
use crate::error::{ErrorKind, Result};
use crate::geometry::{Size, Window};
use crate::model::Normalisation;
use crate::raster::{Format, RasterWriter, WriteSpec};
use crate::tensor::DataType;

/// Value of both bands where the image has no data.
const HOLE: u16 = 9999;

/// The class of a pixel: a checkerboard with a rare third class.
fn class(x: usize, y: usize) -> u8 {
    match (x + 100 * y) % 97 {
        0 => 2,
        _ => u8::from((x / 5 + y / 3).is_multiple_of(2)),
    }
}

fn write<T: crate::tensor::Sample>(path: &Path, block: &Array3<T>, nodata: Option<f64>)
where
    for<'a> crate::tensor::SamplesView<'a>: From<ndarray::ArrayView3<'a, T>>,
{
    let (bands, height, width) = block.dim();
    let mut spec = WriteSpec::new(Size::new(width, height), bands, T::DATA_TYPE);
    (spec.format, spec.nodata, spec.overwrite) = (Format::GTiff, nodata, true);
    let mut writer = RasterWriter::create(path, spec).unwrap();
    writer.write(Window::new(0, 0, width, height), block.view().into()).unwrap();
    writer.finish().unwrap();
}

/// An image with its labels; pixels that `is_hole` names have no data.
fn pair(
    folder: &Path,
    name: &str,
    [height, width]: [usize; 2],
    is_hole: impl Fn(usize, usize) -> bool,
) -> ListItem {
    let (image, labels) = (folder.join(format!("{name}.tif")), folder.join(format!("{name}_labels.tif")));
    let value = |(c, y, x): (usize, usize, usize)| match (is_hole(x, y), c) {
        (true, _) => HOLE,
        (false, 0) => x as u16,
        _ => y as u16,
    };
    write(&image, &Array3::from_shape_fn((2, height, width), value), Some(f64::from(HOLE)));
    write(&labels, &Array3::from_shape_fn((1, height, width), |(_, y, x)| class(x, y)), None);
    ListItem::new(image, labels)
}

fn dataset(items: Vec<ListItem>) -> Dataset {
    Dataset::open(items, DatasetOptions::new(3, Normalisation::default())).unwrap()
}

/// All that an epoch gives: a line of bytes a batch.
fn epoch(loader: &mut RasterLoader, seed: u64) -> Vec<(Vec<f32>, Vec<i32>, Vec<u8>)> {
    loader.begin(seed).unwrap();
    let batches = loader.batches();
    let take = |index| {
        let batch = loader.batch(index).unwrap();
        let Labels::I32(labels) = batch.labels else { unreachable!() };
        (batch.images.to_vec(), labels.to_vec(), batch.mask.unwrap().to_vec())
    };
    (0..batches).map(take).collect()
}

/// Pixels that count, by their place, with how often; checks their label.
fn places(batches: &[(Vec<f32>, Vec<i32>, Vec<u8>)], pixels: usize) -> BTreeMap<(usize, usize), u32> {
    let mut seen = BTreeMap::new();
    for (images, labels, mask) in batches {
        for (image, (labels, mask)) in
            images.chunks(2 * pixels).zip(labels.chunks(pixels).zip(mask.chunks(pixels)))
        {
            for at in (0..pixels).filter(|at| mask[*at] == 1) {
                let (x, y) = (image[at] as usize, image[pixels + at] as usize);
                assert_eq!(labels[at], i32::from(class(x, y)), "{x},{y}");
                *seen.entry((x, y)).or_insert(0) += 1;
            }
        }
    }
    seen
}

#[test]
fn an_evaluation_sees_every_pixel_with_data_once() {
    let folder = tempfile::tempdir().unwrap();
    let is_hole = |x: usize, y: usize| (10..14).contains(&x) && y < 30 || (32..48).contains(&x) && y >= 16;
    let data = dataset(vec![pair(folder.path(), "a", [37, 53], is_hole)]);
    for (stride, size) in [(None, [16, 16]), (Some([7, 5]), [16, 12]), (None, [64, 64])] {
        let mut options = LoaderOptions::evaluation(3, size);
        options.stride = stride;
        let mut loader = RasterLoader::new(&data, options).unwrap();
        let seen = places(&epoch(&mut loader, 5), size[0] * size[1]);
        let expected = (0..37).flat_map(|y| (0..53).map(move |x| (x, y))).filter(|(x, y)| !is_hole(*x, *y));
        assert!(expected.clone().all(|place| seen.get(&place) == Some(&1)), "{size:?}");
        assert_eq!(seen.len(), expected.count());
    }
    // 16 x 16: of 4 columns and 3 rows of windows two have no data.
    let loader = RasterLoader::new(&data, LoaderOptions::evaluation(3, [16, 16])).unwrap();
    let found = loader.found();
    assert_eq!((found.windows, found.without_labels, found.samples), (12, 2, 10));
    let pixels = (0..37).flat_map(|y| (0..53).map(move |x| (x, y))).filter(|(x, y)| !is_hole(*x, *y));
    let rare = pixels.filter(|(x, y)| class(*x, *y) == 2).count();
    assert_eq!(found.class_pixels[2], rare as u64);
    assert_eq!((loader.batches(), loader.images(3)), (4, Some(1)));
}

#[test]
fn threads_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let items = || {
        vec![
            pair(folder.path(), "a", [40, 60], |x, _| x < 3),
            pair(folder.path(), "b", [33, 20], |_, _| false),
        ]
    };
    let data = dataset(items());
    for sampling in [Sampling::Grid, Sampling::Random, Sampling::Balanced] {
        for augmentation in ["none", "strong"] {
            let make = |threads: usize| {
                let mut options = LoaderOptions::training(4, [16, 12]);
                options.sampling = sampling;
                options.samples = Some(22);
                options.augmentation = augmentation.parse::<Augmentation>().unwrap();
                (options.threads, options.ahead) = (threads, threads.max(1));
                RasterLoader::new(&data, options).unwrap()
            };
            let mut alone = make(0);
            let expected = [epoch(&mut alone, 1), epoch(&mut alone, 2)];
            assert_ne!(expected[0], expected[1], "{sampling}");
            for threads in [1, 3] {
                let mut loader = make(threads);
                assert_eq!([epoch(&mut loader, 1), epoch(&mut loader, 2)], expected, "{sampling}, {threads}");
                // From the middle of an epoch, after another one was given up.
                loader.begin(2).unwrap();
                loader.batch(0).unwrap();
                loader.begin(1).unwrap();
                assert_eq!(loader.batch(3).unwrap().images, expected[0][3].0, "{sampling}, {threads}");
            }
            if augmentation == "none" {
                places(&expected[0], 16 * 12);
            }
        }
    }
}

#[test]
fn flips_and_turns_take_the_labels_along() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(vec![pair(folder.path(), "a", [30, 40], |x, y| x == y)]);
    let mut options = LoaderOptions::training(2, [12, 16]);
    options.augmentation = "d4".parse().unwrap();
    options.samples = Some(60);
    let mut loader = RasterLoader::new(&data, options).unwrap();
    let batches = epoch(&mut loader, 9);
    // The label of every pixel is that of the place that its bands name, wherever it went.
    let seen = places(&batches, 12 * 16);
    assert!(seen.len() > 1000 && seen.keys().all(|(x, y)| x != y));
    let first = |batch: &(Vec<f32>, Vec<i32>, Vec<u8>)| batch.0[1] - batch.0[0];
    let steps: std::collections::BTreeSet<i32> = batches.iter().map(|batch| first(batch) as i32).collect();
    // Columns run to the right, to the left, and down or up.
    assert!(steps.contains(&1) && steps.contains(&-1) && steps.contains(&0), "{steps:?}");
}

#[test]
fn balanced_windows_lie_on_rare_classes() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(vec![pair(folder.path(), "a", [200, 200], |_, _| false)]);
    let share = |sampling: Sampling, shares: &[f64]| {
        let mut options = LoaderOptions::training(10, [3, 3]);
        (options.sampling, options.samples) = (sampling, Some(2000));
        options.class_shares = shares.to_vec();
        let mut loader = RasterLoader::new(&data, options).unwrap();
        let batches = epoch(&mut loader, 3);
        let windows = batches.iter().flat_map(|(_, labels, _)| labels.chunks(9));
        windows.filter(|labels| labels.contains(&2)).count() as f64 / 2000.0
    };
    // By chance a window of 9 pixels has the class of one pixel in 97 in 9 of 97 cases.
    let by_chance = 9.0 / 97.0;
    assert!((share(Sampling::Random, &[]) - by_chance).abs() < 0.03);
    // Half of the windows were laid on it, and some of the others happen to have it.
    let expected = 0.5 + 0.5 * by_chance;
    assert!((share(Sampling::Balanced, &[1.0, 1.0, 2.0]) - expected).abs() < 0.04);
}

#[test]
fn training_and_validation_share_no_pixel() {
    let folder = tempfile::tempdir().unwrap();
    let items: Vec<ListItem> =
        (0..3).map(|n| pair(folder.path(), &format!("{n}"), [64, 48], |_, _| false)).collect();
    let data = dataset(vec![items[0].clone()]);
    for unit in [Unit::Block(16), Unit::Block(20)] {
        let (training, validation) = data.divide(&Division::new(0.25, 4, unit)).unwrap();
        let of = |data: &Dataset, sampling| {
            let mut options = LoaderOptions::evaluation(4, [16, 16]);
            (options.sampling, options.once) = (sampling, sampling == Sampling::Grid);
            if sampling != Sampling::Grid {
                options.samples = Some(200);
            }
            let mut loader = RasterLoader::new(data, options).unwrap();
            places(&epoch(&mut loader, 1), 256)
        };
        let (one, other) = (of(&training, Sampling::Grid), of(&validation, Sampling::Grid));
        assert_eq!(one.len() + other.len(), 64 * 48);
        assert!(one.keys().all(|place| !other.contains_key(place)), "{unit:?}");
        let drawn = of(&training, Sampling::Random);
        assert!(drawn.keys().all(|place| one.contains_key(place)), "{unit:?}");
        if unit == Unit::Block(16) {
            assert_eq!(other.len(), 3 * 256);
        }
    }
    let whole = dataset(items);
    let (training, validation) = whole.divide(&Division::new(0.4, 1, Unit::Image)).unwrap();
    let names = |data: &Dataset| data.items().map(|item| item.image.clone()).collect::<Vec<PathBuf>>();
    assert_eq!((training.images(), validation.images()), (2, 1));
    assert!(names(&training).iter().all(|name| !names(&validation).contains(name)));
    let alone = whole.divide(&Division::new(0.4, 1, Unit::Block(100)));
    assert_eq!(alone.unwrap().1.images(), 3);
    assert!(data.divide(&Division::new(0.4, 1, Unit::Image)).is_err());
}

#[test]
fn sparse_windows_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let item = pair(folder.path(), "a", [32, 32], |_, _| false);
    // Annotated: 5, 100, 0 and 50 per cent of the four windows.
    let annotated = |x: usize, y: usize| match (x / 16, y / 16) {
        (0, 0) => x * 16 + y < 13,
        (1, 0) => true,
        (0, 1) => false,
        _ => y < 24,
    };
    write(&item.labels, &Array3::from_shape_fn((1, 32, 32), |(_, y, x)| u8::from(annotated(x, y))), None);
    let data = dataset(vec![item]);
    for (least, kept) in [(0.0, 4), (4.0, 3), (10.0, 2), (50.0, 2), (51.0, 1)] {
        for sampling in [Sampling::Grid, Sampling::Random] {
            let mut options = LoaderOptions::training(1, [16, 16]);
            (options.min_annotated, options.sampling) = (least, sampling);
            let loader = RasterLoader::new(&data, options).unwrap();
            assert_eq!(loader.found().samples, kept, "{least}");
            assert_eq!(loader.found().too_few, 4 - kept, "{least}");
        }
    }
}

#[test]
fn label_nodata_is_background_only_where_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let item = pair(folder.path(), "a", [16, 16], |_, _| false);
    write(&item.labels, &Array3::from_shape_fn((1, 16, 16), |(_, y, _)| u8::from(y == 3)), Some(0.0));
    let counted = |nodata: LabelNodata| {
        let mut options = DatasetOptions::new(2, Normalisation::default());
        options.labels.nodata = nodata;
        let data = Dataset::open(vec![item.clone()], options).unwrap();
        RasterLoader::new(&data, LoaderOptions::training(1, [16, 16])).unwrap().found().class_pixels.clone()
    };
    assert_eq!(counted(LabelNodata::Ignore), [0, 16]);
    assert_eq!(counted(LabelNodata::Background), [240, 16]);
}

#[test]
fn images_are_normalised_and_wide_windows_are_mirrored() {
    let folder = tempfile::tempdir().unwrap();
    let item = pair(folder.path(), "a", [4, 6], |x, y| (x, y) == (2, 1));
    let normalisation = Normalisation::new(vec![2.0], vec![1.0, 3.0], vec![0.5, 4.0]).unwrap();
    let data = Dataset::open(vec![item], DatasetOptions::new(3, normalisation)).unwrap();
    let mut loader = RasterLoader::new(&data, LoaderOptions::evaluation(1, [8, 8])).unwrap();
    let (images, labels, mask) = epoch(&mut loader, 1).remove(0);
    let mirrored = |at: usize, last: usize| (at % (2 * last)).min(2 * last - at % (2 * last));
    for (at, (label, counts)) in labels.iter().zip(&mask).enumerate() {
        let (x, y) = (mirrored(at % 8, 5), mirrored(at / 8, 3));
        let hole = (x, y) == (2, 1);
        let is_outside = at % 8 > 5 || at / 8 > 3;
        assert_eq!(*counts == 0, hole || is_outside, "{at}");
        assert_eq!(*label, if *counts == 0 { 0 } else { i32::from(class(x, y)) });
        if !is_outside {
            let expected = if hole { 0.0 } else { (y as f32 / 2.0 - 3.0) / 4.0 };
            assert_eq!(images[64 + at], expected, "{at}");
            let expected = if hole { 0.0 } else { (x as f32 / 2.0 - 1.0) / 0.5 };
            assert_eq!(images[at], expected, "{at}");
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_list_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = pair(folder.path(), "good", [20, 20], |_, _| false);
    let empty = pair(folder.path(), "empty", [20, 20], |_, _| true);
    let small = pair(folder.path(), "small", [9, 20], |_, _| false);
    let bad = pair(folder.path(), "bad", [20, 20], |_, _| false);
    write(
        &bad.labels,
        &Array3::from_shape_fn((1, 20, 20), |(_, y, x)| if (x, y) == (7, 5) { 9u8 } else { 1 }),
        None,
    );
    let three = folder.path().join("three.tif");
    write(&three, &Array3::from_elem((3, 20, 20), 1u16), None);
    let at_line = |mut item: ListItem| {
        item.place = Some((folder.path().join("list.csv"), 2));
        item
    };
    let open = |items: Vec<ListItem>| -> Result<RasterLoader> {
        let data = Dataset::open(items, DatasetOptions::new(3, Normalisation::default()))?;
        RasterLoader::new(&data, LoaderOptions::training(1, [16, 16]))
    };
    let cases: [(Vec<ListItem>, ErrorKind, &str); 6] = [
        (vec![], ErrorKind::InvalidArgument, "at least one labelled image"),
        (
            vec![good.clone(), at_line(ListItem::new(folder.path().join("no.tif"), &good.labels))],
            ErrorKind::NotFound,
            "no.tif",
        ),
        (vec![at_line(ListItem::new(&good.image, &small.labels))], ErrorKind::Mismatch, "small_labels.tif"),
        (vec![at_line(bad)], ErrorKind::Mismatch, "bad_labels.tif"),
        (vec![at_line(empty)], ErrorKind::InvalidArgument, "have no label that counts"),
        (
            vec![good.clone(), at_line(ListItem::new(three, &good.labels))],
            ErrorKind::Mismatch,
            "expected 2 bands as in",
        ),
    ];
    for (items, kind, said) in cases {
        let has_place = items.iter().any(|item| item.place.is_some());
        let error = open(items).unwrap_err();
        let line = error.one_line();
        assert_eq!(error.kind(), kind, "{line}");
        assert!(line.contains(said) && (!has_place || line.contains("list.csv")), "{line}");
    }
}

#[test]
fn types_are_known_by_their_largest_value() {
    // Colour changes in shares of the full range, so an error here would change pictures and nothing else.
    let folder = tempfile::tempdir().unwrap();
    let item = pair(folder.path(), "a", [8, 8], |_, _| false);
    let mut options = LoaderOptions::training(1, [8, 8]);
    options.augmentation.brightness.probability = 1.0;
    options.augmentation.brightness.by = 0.5;
    for (scale, full) in [(1.0, 65_535.0), (7.0, 1.0)] {
        let normalisation = Normalisation::new(vec![scale], vec![0.0], vec![1.0]).unwrap();
        let data = Dataset::open(vec![item.clone()], DatasetOptions::new(3, normalisation)).unwrap();
        let mut loader = RasterLoader::new(&data, options.clone()).unwrap();
        let shift = epoch(&mut loader, 1)[0].0[0];
        assert!(shift.abs() <= 0.5 * full && shift.abs() > 1e-4 * full, "{shift}");
        assert_eq!(data.scenes[0].data_type, DataType::U16);
    }
}
