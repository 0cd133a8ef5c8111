//! Metrics of a model on labelled rasters: the numbers that numpy and scikit-learn get from the two rasters
//! (`tests/golden/evaluate/make.py`), and those that follow from the maps that `segment` writes.

use std::ops::ControlFlow;
use std::path::Path;

use glebe::ErrorKind;
use glebe::data::{Dataset, Division, LabelNodata, LabelOptions, ListItem, Unit};
use glebe::geometry::{Size, Window};
use glebe::metrics::{ClassScores, ConfusionMatrix, Scores};
use glebe::model::Model;
use glebe::raster::{Format, Georeference, NodataRule, RasterWriter, WriteSpec};
use glebe::runtime::CancelToken;
use glebe::segment::{Activation, Evaluation, FileOptions, Product, SegmentOptions, Segmenter};
use glebe::tensor::{DataType, Sample};
use glebe::tiling::{Blend, Overlap};
use ndarray::{Array2, Array3, Axis};
use serde_json::Value;

use crate::fixtures::{
    constant_network, golden_model, golden_options, identity_network, labels, model, noise_image,
    read_raster, sized_identity, write_raster,
};

const IGNORED: u8 = 255;
const NODATA: u8 = 200;

/// The same 32 bits for the same numbers, here and in `make.py`.
fn mix(numbers: &[u32]) -> u32 {
    numbers.iter().fold(0x9E37_79B9, |state, number| {
        let mut state = (state ^ number).wrapping_mul(0x85EB_CA6B);
        state ^= state >> 15;
        state = state.wrapping_mul(0xC2B2_AE35);
        state ^ (state >> 13)
    })
}

/// One case of the goldens: the same formulas as in `make.py`.
struct Case(Value);

impl Case {
    fn number(&self, key: &str) -> u32 {
        self.0[key].as_u64().unwrap_or_else(|| panic!("{key}")) as u32
    }

    fn names(&self, key: &str, value: u32) -> bool {
        self.0[key].as_array().is_some_and(|list| list.iter().any(|own| own == value))
    }

    fn truth(&self, seed: u32, x: u32, y: u32) -> u32 {
        let values = self.0["values"].as_u64().map_or_else(|| self.number("classes"), |n| n as u32);
        let value = mix(&[seed, 1, x / 7, y / 5]) % values;
        if self.names("dropped", value) { 0 } else { value }
    }

    fn label(&self, seed: u32, x: u32, y: u32) -> u8 {
        if mix(&[seed, 2, x / 9, y / 11]).is_multiple_of(8) {
            IGNORED
        } else if mix(&[seed, 3, x / 13, y / 4]).is_multiple_of(9) {
            NODATA
        } else {
            self.truth(seed, x, y) as u8
        }
    }

    fn sample(&self, seed: u32, band: u32, x: u32, y: u32) -> u8 {
        if mix(&[seed, 4, x / 6, y / 6]).is_multiple_of(10) {
            return 0;
        }
        let noise = mix(&[seed, 5, band, x, y]) % 150;
        let value = if self.number("bands") == 1 {
            1 + noise + 100 * self.truth(seed, x, y)
        } else if self.names("weak", band) {
            u32::from(noise >= 75)
        } else {
            2 + noise + if self.truth(seed, x, y) == band { 80 } else { 0 }
        };
        value as u8
    }

    /// Writes the rasters.
    fn items(&self, folder: &Path) -> Vec<ListItem> {
        let sizes: Vec<[usize; 2]> = serde_json::from_value(self.0["sizes"].clone()).unwrap();
        let write = |(number, [height, width]): (usize, [usize; 2])| {
            let seed = 100 * self.number("seed") + number as u32;
            let (image, labels) =
                (folder.join(format!("{number}.tif")), folder.join(format!("{number}-labels.tif")));
            let bands = self.number("bands") as usize;
            let samples = Array3::from_shape_fn((bands, height, width), |(band, y, x)| {
                self.sample(seed, band as u32, x as u32, y as u32)
            });
            write_raster(&image, &samples, Some(0.0));
            let classes =
                Array3::from_shape_fn((1, height, width), |(_, y, x)| self.label(seed, x as u32, y as u32));
            write_raster(&labels, &classes, Some(f64::from(NODATA)));
            ListItem::new(image, labels)
        };
        sizes.into_iter().enumerate().map(write).collect()
    }

    /// The class map, where there is one.
    fn labels(&self) -> LabelOptions {
        let mut options = LabelOptions { ignore: vec![i64::from(IGNORED)], ..LabelOptions::default() };
        if let Some(map) = self.0["map"].as_object() {
            let entry = |(value, class): (&String, &Value)| match class.as_u64() {
                Some(class) => format!("{value}={class}"),
                None => format!("{value}=ignore"),
            };
            options.classes = map.iter().map(entry).collect::<Vec<_>>().join(",").parse().unwrap();
        }
        options
    }

    fn options(&self) -> SegmentOptions {
        let mut options = SegmentOptions::default();
        options.threads = 1;
        if let Some(threshold) = self.0["threshold"].as_f64() {
            options.scale = Some(vec![255.0]);
            options.activation = Activation::None;
            options.threshold = threshold;
        }
        options
    }
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/evaluate/evaluate.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    golden["cases"].as_array().unwrap().iter().cloned().map(Case).collect()
}

fn evaluate(
    model: &Model,
    options: SegmentOptions,
    items: Vec<ListItem>,
    labels: &LabelOptions,
) -> Evaluation {
    let mut segmenter = Segmenter::new(model, options).unwrap();
    let data = segmenter.dataset(items, labels, &FileOptions::default()).unwrap();
    segmenter.evaluate(&data, None).unwrap()
}

fn counts(value: &Value) -> Vec<u64> {
    let rows: Vec<Vec<u64>> = serde_json::from_value(value.clone()).unwrap();
    rows.concat()
}

/// Scores are ratios of the same counts: nothing but the last bit may differ.
fn check(scores: &Scores, expected: &Value, name: &str) {
    let close = |own: f64, wanted: &Value, what: &str| match wanted.as_f64() {
        Some(wanted) => assert!((own - wanted).abs() < 1e-14, "{name}: {what} {own} {wanted}"),
        None => assert!(own.is_nan(), "{name}: {what} {own}"),
    };
    type Score = fn(&ClassScores) -> f64;
    let of: [(&str, Score); 4] = [
        ("iou", |class| class.iou),
        ("dice", |class| class.dice),
        ("precision", |class| class.precision),
        ("recall", |class| class.recall),
    ];
    for (what, score) in of {
        for (class, wanted) in scores.classes.iter().zip(expected[what].as_array().unwrap()) {
            close(score(class), wanted, what);
        }
    }
    close(scores.accuracy, &expected["accuracy"], "accuracy");
    close(scores.mean_iou, &expected["mean_iou"], "mean IoU");
    close(scores.macro_mean.dice, &expected["mean_dice"], "mean Dice");
}

fn check_all(own: &Evaluation, case: &Case, what: &str) {
    let name = format!("{} {what}", case.0["name"]);
    assert_eq!(own.matrix.counts(), counts(&case.0["all"]["matrix"]), "{name}");
    check(&own.scores, &case.0["all"], &name);
    let expected = case.0["images"].as_array().unwrap();
    assert_eq!(own.images.len(), expected.len());
    for (image, expected) in own.images.iter().zip(expected) {
        assert_eq!(image.matrix.counts(), counts(&expected["matrix"]), "{name}");
        check(&Scores::of(&image.matrix), expected, &name);
        let found = [image.matrix.total(), image.unlabelled, image.nodata];
        let wanted = ["pixels", "unlabelled", "nodata"].map(|key| expected[key].as_u64().unwrap());
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn numbers_are_those_of_scikit_learn_in_every_tiling() {
    let all = cases();
    assert_eq!(all.len(), 7);
    for case in all {
        let folder = tempfile::tempdir().unwrap();
        let items = case.items(folder.path());
        let network = model(identity_network(u64::from(case.number("bands"))));
        let tilings = [
            (None, Overlap::default(), Blend::Crop, 1),
            (Some(Size::new(17, 23)), Overlap::Pixels(0), Blend::Crop, 3),
            (Some(Size::new(32, 16)), Overlap::Share(0.5), Blend::Gaussian, 2),
        ];
        for (tile, overlap, blend, batch) in tilings {
            let mut options = case.options();
            (options.tile, options.overlap, options.blend, options.batch) =
                (tile, overlap, blend, Some(batch));
            let own = evaluate(&network, options, items.clone(), &case.labels());
            check_all(&own, &case, &format!("{tile:?} {blend}"));
        }
    }
}

#[test]
fn a_network_that_does_not_say_its_channels_and_wide_class_numbers_give_the_same() {
    let case = &cases()[1];
    let folder = tempfile::tempdir().unwrap();
    let mut options = case.options();
    options.data_type = Some(DataType::U16);
    let network = model(sized_identity([None; 4]));
    check_all(&evaluate(&network, options, case.items(folder.path()), &case.labels()), case, "free");
}

/// Every pixel of the map that `segment` writes, one by one.
fn by_hand(map: &Path, truth: &Array2<i32>, classes: usize) -> Vec<u64> {
    let map = labels(&read_raster(map));
    let mut counts = vec![0; classes * classes];
    for (predicted, truth) in map.iter().zip(truth) {
        if *predicted != 255 && *truth >= 0 {
            counts[*truth as usize * classes + usize::from(*predicted)] += 1;
        }
    }
    counts
}

#[test]
fn the_map_that_segment_writes_gives_the_same_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (image, truth) = (folder.path().join("image.tif"), folder.path().join("truth.tif"));
    let mut samples: Array3<u8> = noise_image([3, 131, 150], 11, 255.0);
    // Holes: all bands without data, and one of them.
    samples.slice_mut(ndarray::s![.., 20..50, 30..90]).fill(7);
    samples.slice_mut(ndarray::s![0, 90..100, ..]).fill(7);
    write_raster(&image, &samples, Some(7.0));
    let classes =
        Array3::from_shape_fn((1, 131, 150), |(_, y, x)| (mix(&[x as u32 / 5, y as u32 / 5]) % 6) as u8);
    write_raster(&truth, &classes, Some(5.0));
    let network = golden_model("conv.onnx");
    let expected =
        classes.index_axis(Axis(0), 0).mapv(|class| if class == 5 { -1 } else { i32::from(class) });
    for (tile, blend, rule) in [
        (64, Blend::Crop, NodataRule::All),
        (48, Blend::Hann, NodataRule::All),
        (64, Blend::Linear, NodataRule::Any),
        (150, Blend::Crop, NodataRule::Any),
    ] {
        let mut options = golden_options();
        (options.tile, options.blend) = (Some(Size::new(tile, tile)), blend);
        let mut files = FileOptions::default();
        (files.nodata_rule, files.overwrite) = (rule, true);
        let map = folder.path().join("map.tif");
        let mut segmenter = Segmenter::new(&network, options).unwrap();
        let written = segmenter.file(&image, &map, &files).unwrap();
        let items = vec![ListItem::new(&image, &truth)];
        let data = segmenter.dataset(items, &LabelOptions::default(), &files).unwrap();
        assert!(data.ignores_label_nodata());
        let own = segmenter.evaluate(&data, None).unwrap();
        assert_eq!(own.matrix.counts(), by_hand(&map, &expected, 5), "{tile} {blend} {rule}");
        // It was scored in the same way.
        let report = &own.images[0].report;
        assert_eq!((report.tiles, report.batches), (written.tiles, written.batches));
        assert_eq!(
            (&report.class_pixels, report.nodata_pixels),
            (&written.class_pixels, written.nodata_pixels)
        );
        assert_eq!((report.output.as_ref(), &report.bands), (None, &written.bands));
        assert_eq!(own.nodata(), written.nodata_pixels.unwrap());
        assert_eq!(own.pixels() + own.unlabelled() + own.nodata(), 131 * 150);
        assert_eq!(own.matrix.ignored(), own.unlabelled() + own.nodata());
    }
}

const WGS84: &str = r#"GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]"#;

#[test]
fn vector_labels_are_burned_window_by_window() {
    let folder = tempfile::tempdir().unwrap();
    let (image, vectors) = (folder.path().join("image.tif"), folder.path().join("labels.geojson"));
    let samples: Array3<u8> = noise_image([3, 60, 80], 5, 255.0);
    let mut spec = WriteSpec::new(Size::new(80, 60), 3, DataType::U8);
    spec.format = Format::GTiff;
    spec.georeference = Georeference::default();
    spec.georeference.transform = Some([10.0, 0.001, 0.0, 50.0, 0.0, -0.001]);
    spec.georeference.crs_wkt = Some(WGS84.into());
    let mut writer = RasterWriter::create(&image, spec).unwrap();
    writer.write(Window::new(0, 0, 80, 60), u8::wrap(samples.clone()).view()).unwrap();
    writer.finish().unwrap();

    // Rectangles whose edges are those of pixels: x, y, width, height and what they are.
    let rectangles = [(5, 4, 30, 20, "forest"), (40, 10, 35, 41, "water"), (3, 35, 20, 22, "cloud")];
    let feature = |(x, y, width, height, kind): &(i32, i32, i32, i32, &str)| {
        let place = |x: i32, y: i32| [10.0 + 0.001 * f64::from(x), 50.0 - 0.001 * f64::from(y)];
        let (right, bottom) = (x + width, y + height);
        let ring = [place(*x, *y), place(right, *y), place(right, bottom), place(*x, bottom), place(*x, *y)];
        serde_json::json!({ "type": "Feature", "properties": { "kind": kind },
            "geometry": { "type": "Polygon", "coordinates": [ring] } })
    };
    let features: Vec<Value> = rectangles.iter().map(feature).collect();
    let text = serde_json::json!({ "type": "FeatureCollection", "features": features }).to_string();
    std::fs::write(&vectors, text).unwrap();
    let class = |kind: &str| match kind {
        "forest" => 1,
        "water" => 2,
        _ => -1,
    };
    let truth = Array2::from_shape_fn((60, 80), |(row, column)| {
        let inside = |(x, y, width, height, _): &&(i32, i32, i32, i32, &str)| {
            (*x..x + width).contains(&(column as i32)) && (*y..y + height).contains(&(row as i32))
        };
        rectangles.iter().find(inside).map_or(0, |(.., kind)| class(kind))
    });

    let labels = LabelOptions {
        field: Some("kind".into()),
        classes: "forest=1,water=2,*=ignore".parse().unwrap(),
        ..LabelOptions::default()
    };
    let mut expected = vec![0; 9];
    for ((row, column), truth) in truth.indexed_iter().filter(|(_, truth)| **truth >= 0) {
        let pixel: Vec<u8> = (0..3).map(|band| samples[[band, row, column]]).collect();
        let most = *pixel.iter().max().unwrap();
        expected[*truth as usize * 3 + pixel.iter().position(|value| *value == most).unwrap()] += 1;
    }
    for tile in [16, 80] {
        let mut options = SegmentOptions::default();
        options.tile = Some(Size::new(tile, tile));
        let items = vec![ListItem::new(&image, &vectors)];
        let own = evaluate(&model(identity_network(3)), options, items, &labels);
        assert_eq!(own.matrix.counts(), expected, "{tile}");
        assert_eq!(own.unlabelled(), 20 * 22);
    }
}

#[test]
fn the_parts_of_a_divided_data_set_add_up_to_the_whole() {
    let case = &cases()[3];
    let folder = tempfile::tempdir().unwrap();
    let network = model(identity_network(5));
    let mut segmenter = Segmenter::new(&network, case.options()).unwrap();
    let data = segmenter.dataset(case.items(folder.path()), &case.labels(), &FileOptions::default()).unwrap();
    let (train, val) = data.divide(&Division::new(0.4, 1, Unit::Block(16))).unwrap();
    let [train, val] = [train, val].map(|part: Dataset| segmenter.evaluate(&part, None).unwrap().matrix);
    assert!(train.total() > val.total() && val.total() > 0);
    let mut sum = ConfusionMatrix::new(5).unwrap();
    sum.merge(&train).unwrap();
    sum.merge(&val).unwrap();
    assert_eq!(sum.counts(), counts(&case.0["all"]["matrix"]));
}

#[test]
fn names_are_those_given_else_the_models_else_numbers() {
    let case = &cases()[0];
    let folder = tempfile::tempdir().unwrap();
    let network = model(identity_network(2));
    let mut segmenter = Segmenter::new(&network, case.options()).unwrap();
    let data = segmenter.dataset(case.items(folder.path()), &case.labels(), &FileOptions::default()).unwrap();
    assert_eq!(segmenter.evaluate(&data, None).unwrap().class_names, ["0", "1"]);
    let names = ["land".to_owned(), "sea".to_owned()];
    let own = segmenter.evaluate(&data, Some(&names)).unwrap();
    assert_eq!(own.class_names, names);
    let error = segmenter.evaluate(&data, Some(&names[..1])).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Mismatch, "1 class names for 2 classes"));

    let json: Value = serde_json::from_str(&own.to_json()).unwrap();
    assert_eq!(json["classes"][1]["name"], "sea");
    assert_eq!(json["classes"][1]["hits"], 1481);
    assert_eq!(json["classes"][0]["iou"], case.0["all"]["iou"][0]);
    assert_eq!((&json["pixels"], &json["images"]), (&3500.into(), &1.into()));
    assert_eq!(
        (&json["matrix"], &json["per_image"][0]["matrix"]),
        (&case.0["all"]["matrix"], &json["matrix"])
    );
    assert!(json.get("wall_s").is_none() && json["per_image"][0].get("report").is_none());
    let json: Value = serde_json::from_str(&own.to_json_with_reports()).unwrap();
    assert!(json["wall_s"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!(json["per_image"][0]["report"]["width"], 83);
}

#[test]
fn labels_without_data_are_background_where_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (image, truth) = (folder.path().join("image.tif"), folder.path().join("truth.tif"));
    write_raster(&image, &Array3::<u8>::ones((1, 8, 10)), None);
    write_raster(&truth, &Array3::from_shape_fn((1, 8, 10), |(_, y, _)| u8::from(y < 2)), Some(0.0));
    let network = model(constant_network(1, &[1.0, 0.0]));
    let mut labels = LabelOptions::default();
    let items = || vec![ListItem::new(&image, &truth)];
    let own = evaluate(&network, SegmentOptions::default(), items(), &labels);
    assert_eq!((own.matrix.counts(), own.unlabelled()), (&[0, 0, 20, 0][..], 60));
    labels.nodata = LabelNodata::Background;
    let own = evaluate(&network, SegmentOptions::default(), items(), &labels);
    assert_eq!((own.matrix.counts(), own.unlabelled()), (&[60, 0, 20, 0][..], 0));
    // One image of several may have no pixel that counts.
    let nothing = folder.path().join("nothing.tif");
    write_raster(&nothing, &Array3::<u8>::zeros((1, 8, 10)), Some(0.0));
    let two = vec![ListItem::new(&image, &nothing), ListItem::new(&image, &truth)];
    let own = evaluate(&network, SegmentOptions::default(), two, &LabelOptions::default());
    assert_eq!((own.images[0].matrix.total(), own.pixels()), (0, 20));
    assert!(own.to_json().contains("\"accuracy\": null"));
}

#[test]
fn progress_names_the_image_and_both_ways_to_cancel_work() {
    let case = &cases()[3];
    let folder = tempfile::tempdir().unwrap();
    let items = case.items(folder.path());
    let network = model(identity_network(5));
    let mut options = case.options();
    options.tile = Some(Size::new(32, 32));
    let mut told = Vec::new();
    let mut segmenter = Segmenter::new(&network, options.clone()).unwrap().on_progress(|progress| {
        told.push((progress.image, progress.images, progress.done == progress.total));
        ControlFlow::Continue(())
    });
    let data = segmenter.dataset(items, &case.labels(), &FileOptions::default()).unwrap();
    segmenter.evaluate(&data, None).unwrap();
    drop(segmenter);
    let ends: Vec<_> =
        told.iter().filter(|(.., ended)| *ended).map(|(image, images, _)| (*image, *images)).collect();
    assert_eq!(ends, [(0, 3), (1, 3), (2, 3)]);

    let token = CancelToken::new();
    token.cancel();
    let mut cancelled = Segmenter::new(&network, options.clone()).unwrap().cancel_with(&token);
    assert_eq!(cancelled.evaluate(&data, None).unwrap_err().kind(), ErrorKind::Cancelled);
    let mut stopped =
        Segmenter::new(&network, options).unwrap().on_progress(|progress| match progress.image {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
    assert_eq!(stopped.evaluate(&data, None).unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn another_product_and_another_number_of_classes_are_refused() {
    let case = &cases()[0];
    let folder = tempfile::tempdir().unwrap();
    let items = case.items(folder.path());
    let network = model(identity_network(2));
    let mut segmenter = Segmenter::new(&network, case.options()).unwrap();
    let data = segmenter.dataset(items, &case.labels(), &FileOptions::default()).unwrap();
    let mut options = case.options();
    options.product = Product::Probabilities;
    let error = Segmenter::new(&network, options).unwrap().evaluate(&data, None).unwrap_err();
    assert_eq!(error.message(), "product probabilities: expected classes, which labels are");
    let other = model(constant_network(2, &[0.0, 1.0, 2.0]));
    let error = Segmenter::new(&other, case.options()).unwrap().evaluate(&data, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.one_line().contains("gives 3 classes, the labels were opened for 2"), "{error}");
}
