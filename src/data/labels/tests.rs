use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, array};

use crate::data::labels::{IGNORED, LabelNodata, LabelOptions, LabelSource, Outside};
use crate::error::{Error, ErrorKind};
use crate::geometry::{Size, Window};
use crate::raster::{Format, Georeference, OpenOptions, Raster, RasterInfo, RasterWriter, WriteSpec};
use crate::tensor::Samples;

const SIZE: Size = Size::new(6, 4);
/// One degree a pixel, so that coordinates of features are read off the rows and columns.
const DEGREES: [f64; 6] = [10.0, 1.0, 0.0, 50.0, 0.0, -1.0];
const WGS84: &str = r#"GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]"#;
const NAD27: &str = r#"GEOGCS["NAD27",DATUM["North_American_Datum_1927",SPHEROID["Clarke 1866",6378206.4,294.978698213898]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4267"]]"#;

struct Files {
    folder: tempfile::TempDir,
    image: RasterInfo,
}

impl Files {
    fn new() -> Files {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tif");
        write(&path, Samples::U8(Array3::zeros([3, 4, 6])), |_| {});
        let image = Raster::open(&path, &OpenOptions::default()).unwrap().info().clone();
        Files { folder, image }
    }

    fn raster(&self, samples: Samples, edit: impl FnOnce(&mut WriteSpec)) -> PathBuf {
        let path = self.folder.path().join("label.tif");
        write(&path, samples, edit);
        path
    }

    /// Squares by column and row of their upper left pixel, of 2 pixels a side, with properties.
    fn vector(&self, squares: &[(i32, i32, &str)]) -> PathBuf {
        let features: Vec<String> = squares
            .iter()
            .map(|(column, row, properties)| {
                let (x, y) = (10 + column, 50 - row);
                let (right, down) = (x + 2, y - 2);
                format!(
                    r#"{{"type":"Feature","properties":{{{properties}}},"geometry":{{"type":"Polygon","coordinates":
                    [[[{x},{y}],[{right},{y}],[{right},{down}],[{x},{down}],[{x},{y}]]]}}}}"#
                )
            })
            .collect();
        let path = self.folder.path().join("label.geojson");
        let text = format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, path: &Path, options: &LabelOptions, classes: usize) -> Result<Array2<i32>, Error> {
        LabelSource::open(path, options, &self.image, classes)?.read(Window::of(SIZE))
    }

    /// The error has this kind, names the file, and says all of this.
    fn refuses(&self, path: &Path, options: &LabelOptions, classes: usize, kind: ErrorKind, words: &[&str]) {
        let error = self.read(path, options, classes).unwrap_err();
        assert_eq!((error.kind(), error.path()), (kind, Some(path)), "{error:?}");
        for words in words {
            assert!(error.one_line().contains(words), "{words:?} is not in {error:?}");
        }
    }
}

fn write(path: &Path, samples: Samples, edit: impl FnOnce(&mut WriteSpec)) {
    let [bands, height, width] = samples.shape();
    let mut spec = WriteSpec {
        format: Format::GTiff,
        overwrite: true,
        georeference: Georeference {
            transform: Some(DEGREES),
            crs_wkt: Some(WGS84.to_owned()),
            ..Georeference::default()
        },
        ..WriteSpec::new(Size::new(width, height), bands, samples.data_type())
    };
    edit(&mut spec);
    let mut writer = RasterWriter::create(path, spec).unwrap();
    writer.write(Window::new(0, 0, width, height), samples.view()).unwrap();
    writer.finish().unwrap();
}

fn options(toml: &str) -> LabelOptions {
    toml::from_str(toml).unwrap()
}

/// 0 1 2 from the left, a 9 and a 255 in the first row.
fn values() -> Array3<u8> {
    let mut values = Array3::from_shape_fn((1, 4, 6), |(_, _, x)| (x / 2) as u8);
    values[[0, 0, 0]] = 255;
    values[[0, 0, 3]] = 9;
    values
}

#[test]
fn values_of_a_raster_are_classes() {
    let files = Files::new();
    let plain = files.raster(Samples::U8(values()), |_| {});
    let first = |options: &str| files.read(&plain, &self::options(options), 3).unwrap().row(0).to_vec();
    assert_eq!(first("ignore = [255, 9]"), [IGNORED, 0, 1, IGNORED, 2, 2]);
    assert_eq!(
        first("classes = { 0 = 2, 1 = 1, \"*\" = \"ignore\" }"),
        [IGNORED, 2, 1, IGNORED, IGNORED, IGNORED]
    );
    assert_eq!(first("ignore = [9]\nclasses = { 0 = 2, \"*\" = 1 }"), [1, 2, 1, IGNORED, 1, 1]);
    // Names of a vector file's values in the same map do no harm.
    assert_eq!(first("classes = { forest = 1, 0 = 2, \"*\" = 1 }"), [1, 2, 1, 1, 1, 1]);
    let with_nodata = files.raster(Samples::U8(values()), |spec| spec.nodata = Some(255.0));
    let read = |text: &str| files.read(&with_nodata, &options(text), 3).unwrap().row(0).to_vec();
    assert_eq!(read("ignore = [9]"), [IGNORED, 0, 1, IGNORED, 2, 2]);
    assert_eq!(read("ignore = [9]\nnodata = \"background\""), [0, 0, 1, IGNORED, 2, 2]);
    // Nodata does not count even where the map would have a class for it.
    assert_eq!(read("classes = { \"*\" = 1 }"), [IGNORED, 1, 1, 1, 1, 1]);
    assert_eq!(read("ignore = [9, 255]\nnodata = \"background\""), [IGNORED, 0, 1, IGNORED, 2, 2]);
}

#[test]
fn nodata_of_class_zero_is_not_background() {
    let files = Files::new();
    let samples = Samples::U8(Array3::from_shape_fn((1, 4, 6), |(_, y, _)| u8::from(y == 1)));
    let path = files.raster(samples, |spec| spec.nodata = Some(0.0));
    let read = |options: &LabelOptions| files.read(&path, options, 2).unwrap().column(5).to_vec();
    assert_eq!(read(&LabelOptions::default()), [IGNORED, 1, IGNORED, IGNORED]);
    let background = LabelOptions { nodata: LabelNodata::Background, ..LabelOptions::default() };
    assert_eq!(read(&background), [0, 1, 0, 0]);
}

#[test]
fn floats_that_hold_whole_numbers_are_labels() {
    let files = Files::new();
    let mut floats = values().mapv(f32::from);
    floats[[0, 0, 0]] = f32::NAN;
    floats[[0, 0, 3]] = -0.0;
    let path = files.raster(Samples::F32(floats.clone()), |_| {});
    let read = files.read(&path, &LabelOptions::default(), 3).unwrap();
    assert_eq!(read.row(0).to_vec(), [IGNORED, 0, 1, 0, 2, 2]);
    floats[[0, 2, 4]] = 0.5;
    let path = files.raster(Samples::F32(floats), |_| {});
    let words = ["label 0.5 at pixel 4,2 (column,row) is no whole number"];
    files.refuses(&path, &LabelOptions::default(), 3, ErrorKind::RasterUnsupported, &words);
}

#[test]
fn windows_may_reach_past_the_image_where_nothing_counts() {
    let files = Files::new();
    let raster = files.raster(Samples::U8(values()), |_| {});
    let vector = files.vector(&[(-1, -1, ""), (4, 2, "")]);
    let raster = LabelSource::open(raster, &options("ignore = [9, 255]"), &files.image, 3).unwrap();
    let vector = LabelSource::open(vector, &LabelOptions::default(), &files.image, 2).unwrap();
    let none = IGNORED;
    assert_eq!(
        raster.read(Window::new(4, 2, 3, 3)).unwrap(),
        array![[2, 2, none], [2, 2, none], [none, none, none]]
    );
    assert_eq!(
        vector.read(Window::new(-1, -1, 3, 3)).unwrap(),
        array![[none, none, none], [none, 1, 0], [none, 0, 0]]
    );
    for source in [&raster, &vector] {
        assert!(source.read(Window::new(60, 0, 2, 2)).unwrap().iter().all(|class| *class == none));
        let error = source.read(Window::new(0, 0, 0, 2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn features_are_classes() {
    let files = Files::new();
    let path = files.vector(&[
        (0, 0, r#""kind": "forest", "number": 2"#),
        (1, 1, r#""kind": "water", "number": 0"#),
        (4, 0, r#""kind": null, "number": 7"#),
        (300, 300, r#""kind": "elsewhere", "number": 700"#),
    ]);
    let read = |text: &str| files.read(&path, &options(text), 3).unwrap();
    assert_eq!(
        read(""),
        array![[1, 1, 0, 0, 1, 1], [1, 1, 1, 0, 1, 1], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
    );
    let kinds = "field = \"kind\"\nclasses = { forest = 1, water = 2, \"*\" = \"ignore\" }";
    assert_eq!(
        read(kinds),
        array![[1, 1, 0, 0, -1, -1], [1, 2, 2, 0, -1, -1], [0, 2, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
    );
    assert_eq!(read(&format!("outside = \"ignore\"\n{kinds}")).row(2).to_vec(), [-1, 2, 2, -1, -1, -1]);
    assert_eq!(read("field = \"number\"\nignore = [7]").row(1).to_vec(), [2, 0, 0, 0, -1, -1]);
    let mapped = "field = \"number\"\nignore = [0]\nclasses = { 2 = 1, 7 = 2 }";
    assert_eq!(read(mapped).row(1).to_vec(), [1, -1, -1, 0, 2, 2]);
    // A feature without a value is the empty text.
    let empty = "field = \"kind\"\nclasses = { forest = 1, water = 1, \"\" = 2 }";
    assert_eq!(read(empty).row(0).to_vec(), [1, 1, 0, 0, 2, 2]);
}

#[test]
fn all_touched_takes_what_the_middle_misses() {
    let files = Files::new();
    let path = files.folder.path().join("a.geojson");
    std::fs::write(
        &path,
        r#"{"type":"Polygon","coordinates":[[[10.7,49.3],[12.2,49.3],[12.2,48.7],[10.7,48.7],[10.7,49.3]]]}"#,
    )
    .unwrap();
    let count = |all_touched| {
        let options = LabelOptions { all_touched, ..LabelOptions::default() };
        files.read(&path, &options, 2).unwrap().sum()
    };
    assert_eq!((count(false), count(true)), (0, 6));
}

#[test]
fn rasters_that_do_not_fit_are_refused() {
    use ErrorKind::{InvalidArgument, Mismatch, NotFound, RasterInvalid, RasterUnsupported};
    let files = Files::new();
    let image = files.image.path.display().to_string();
    let none = LabelOptions::default();
    let label = |edit: fn(&mut WriteSpec)| files.raster(Samples::U8(values()), edit);
    let path = label(|_| {});
    files.refuses(
        &path,
        &options("ignore = [255]"),
        3,
        Mismatch,
        &["label 9 at pixel 3,0 (column,row) is no class: expected 0 to 2 (3 classes"],
    );
    files.refuses(
        &path,
        &options("classes = { 255 = 0, 0 = 1 }"),
        3,
        Mismatch,
        &["label 1 at pixel 2,0 (column,row) is not in the class map, which names 0, 255 and has no \"*\""],
    );
    files.refuses(&path, &options("classes = { forest = 1 }"), 3, InvalidArgument, &["forest=1"]);
    files.refuses(
        &path,
        &options("classes = { 0 = 3 }"),
        3,
        Mismatch,
        &["class map makes \"0\" class 3, expected 0 to 2 (3 classes)"],
    );
    files.refuses(&path, &none, 0, InvalidArgument, &["0 classes"]);
    let place = |edit: fn(&mut [f64; 6])| {
        files.raster(Samples::U8(values()), |spec| edit(spec.georeference.transform.as_mut().unwrap()))
    };
    let path = place(|transform| transform[0] += 0.51);
    files.refuses(
        &path,
        &none,
        3,
        Mismatch,
        &["a corner at 10.51, 50, 0.5 pixels from 10, 50", &image, "gdalwarp"],
    );
    // A tenth of a pixel size more: over 6 pixels more than a half.
    let path = place(|transform| transform[1] += 0.1);
    files.refuses(&path, &none, 3, Mismatch, &["a corner at 16.6, 50, 0.6 pixels from 16, 50"]);
    let path = label(|spec| spec.georeference.crs_wkt = Some(NAD27.to_owned()));
    files.refuses(&path, &none, 3, Mismatch, &["CRS is EPSG:4267, expected EPSG:4326", &image]);
    let path = files.raster(Samples::U8(Array3::zeros([1, 4, 5])), |_| {});
    files.refuses(&path, &none, 3, Mismatch, &["is 5 x 4 pixels, expected 6 x 4", &image]);
    let path = files.raster(Samples::U8(Array3::zeros([3, 4, 6])), |_| {});
    files.refuses(&path, &none, 3, RasterUnsupported, &["has 3 bands, expected 1"]);
    files.refuses(&files.folder.path().join("missing.tif"), &none, 3, NotFound, &["raster does not exist"]);
    let path = files.folder.path().join("text.tif");
    std::fs::write(&path, "no raster").unwrap();
    files.refuses(&path, &none, 3, RasterInvalid, &[]);
    // Less than half a pixel off, or without a place: the same grid.
    let ignore = options("ignore = [9, 255]");
    files.read(&place(|transform| transform[0] += 0.49), &ignore, 3).unwrap();
    files.read(&label(|spec| spec.georeference = Georeference::default()), &ignore, 3).unwrap();
}

#[test]
fn vector_files_that_do_not_fit_are_refused() {
    use ErrorKind::{InvalidArgument, Mismatch, NotFound, RasterInvalid};
    let files = Files::new();
    let path = files.vector(&[
        (0, 0, r#""kind": "forest", "number": 2, "share": 0.5"#),
        (1, 1, r#""kind": "water", "number": null, "share": 1.0"#),
    ]);
    let refuses = |text: &str, classes: usize, kind: ErrorKind, words: &[&str]| {
        files.refuses(&path, &options(text), classes, kind, words);
    };
    refuses(
        "field = \"kind\"",
        3,
        InvalidArgument,
        &["field \"kind\" holds text, which needs a class map; its values: \"forest\", \"water\""],
    );
    refuses(
        "field = \"kind\"\nclasses = { forest = 1 }",
        3,
        Mismatch,
        &[
            "label \"water\" of feature 1 (field \"kind\") is not in the class map, which names \"forest\" and has no \"*\"",
        ],
    );
    refuses(
        "field = \"kind\"\nclasses = { forest = 1, water = 2 }",
        2,
        Mismatch,
        &["class map makes \"water\" class 2, expected 0 to 1 (2 classes)"],
    );
    refuses("field = \"number\"", 2, Mismatch, &["label \"2\" of feature 0", "expected 0 to 1 (2 classes"]);
    refuses(
        "field = \"number\"",
        3,
        Mismatch,
        &["label without a value of feature 1 (field \"number\")", "\"*\""],
    );
    refuses("field = \"share\"", 3, Mismatch, &["label \"0.5\" of feature 0", "is no whole number"]);
    refuses("field = \"klass\"", 3, InvalidArgument, &["expected one of \"kind\", \"number\", \"share\""]);
    refuses("layer = \"roads\"", 3, InvalidArgument, &["no layer \"roads\", expected one of \"label\""]);
    refuses("classes = { forest = 1 }", 3, InvalidArgument, &["class map (forest=1) needs a field"]);
    refuses("", 1, Mismatch, &["are class 1"]);
    files.refuses(
        &files.folder.path().join("a.shp"),
        &LabelOptions::default(),
        2,
        NotFound,
        &["vector file"],
    );
    let far = files.vector(&[(100, 0, "")]);
    files.refuses(&far, &LabelOptions::default(), 2, Mismatch, &["x 10 to 16, y 46 to 50", "x 110 to 112"]);
    let other = files.folder.path().join("a.fgb");
    std::fs::write(&other, "fgb").unwrap();
    files.refuses(&other, &LabelOptions::default(), 2, RasterInvalid, &["GPKG, GeoJSON, ESRI Shapefile"]);
    // Nothing drawn is no error.
    let nothing = files.vector(&[]);
    assert_eq!(files.read(&nothing, &LabelOptions::default(), 2).unwrap(), Array2::<i32>::zeros((4, 6)));
    let unlabelled = LabelOptions { outside: Outside::Ignore, ..LabelOptions::default() };
    assert!(files.read(&nothing, &unlabelled, 2).unwrap().iter().all(|class| *class == IGNORED));
}

#[test]
fn threads_read_side_by_side() {
    fn sends<T: Send>() {}
    sends::<LabelSource>();
    let files = Files::new();
    let raster = files.raster(Samples::U8(values()), |_| {});
    let vector = files.vector(&[(0, 0, ""), (3, 1, "")]);
    for path in [raster, vector] {
        let options = options("ignore = [9, 255]");
        let source = LabelSource::open(&path, &options, &files.image, 3).unwrap();
        let expected = source.read(Window::of(SIZE)).unwrap();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                let own = source.reopen().unwrap();
                let expected = &expected;
                threads.spawn(move || {
                    for _ in 0..50 {
                        assert_eq!(&own.read(Window::of(SIZE)).unwrap(), expected);
                    }
                });
            }
        });
    }
}
