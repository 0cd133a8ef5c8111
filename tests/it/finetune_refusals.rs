//! `glebe finetune` with lists, images and labels that are wrong: one line that says where, the right exit code, nothing
//! written.

use std::path::Path;

use gdal::DriverManager;
use gdal::spatial_ref::SpatialRef;
use gdal::vector::{LayerAccess as _, LayerOptions, OGRFieldType, OGRwkbGeometryType};
use glebe::ErrorKind::*;
use ndarray::Array3;

use crate::finetune_bench::{
    Bench, Case, PLACE, SIDE, collection, feature, network, square_features, square_labels, squares, write,
};

const NAD27: &str = r#"GEOGCS["NAD27",DATUM["North_American_Datum_1927",SPHEROID["Clarke 1866",6378206.4,294.978698213898]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4267"]]"#;

const GOOD: &str = "a.tif;a-labels.tif";

/// Lists with something wrong in their third line (the second that is not empty).
fn lists(bench: &Bench) {
    for (name, line) in [
        ("comma.csv", "b.tif,b-labels.tif"),
        ("tab.csv", "b.tif\tb-labels.tif"),
        ("header.csv", "image;label;percent"),
        ("many.csv", "b.tif;b-labels.tif;50;trn"),
        ("percent.csv", "b.tif;b-labels.tif;many"),
        ("over.csv", "b.tif;b-labels.tif;120"),
        ("no-label.csv", "b.tif;"),
        ("no-image.csv", ";b-labels.tif"),
        ("gone.csv", "gone.tif;b-labels.tif"),
        ("text-image.csv", "text.txt;b-labels.tif"),
        ("gone-labels.csv", "b.tif;gone.tif"),
        ("text-labels.csv", "b.tif;text.txt"),
        ("small-labels.csv", "b.tif;small.tif"),
        ("other-crs.csv", "b.tif;crs.tif"),
        ("other-place.csv", "b.tif;moved.tif"),
        ("three-bands.csv", "b.tif;a.tif"),
        ("fractions.csv", "b.tif;fractions.tif"),
        ("range.csv", "b.tif;range.tif"),
        ("cut-image.csv", "cut.tif;b-labels.tif"),
        ("cut-labels.csv", "b.tif;cut-labels.tif"),
        ("four.csv", "four.tif;b-labels.tif"),
        ("far.csv", "b.tif;far.geojson"),
        ("bare.csv", "b.tif;bare.gpkg"),
        ("two.csv", "b.tif;two.gpkg"),
        ("fgb.csv", "b.tif;some.fgb"),
        ("vector-image.csv", "squares.geojson;b-labels.tif"),
        ("folder.csv", "b.tif;folder"),
        ("complex.csv", "complex.tif;b-labels.tif"),
    ] {
        bench.file(name, format!("{GOOD}\n\n{line}\n"));
    }
    bench.file("first-comma.csv", "a.tif,a-labels.tif\n");
    bench.file("first-tab.csv", "a.tif\ta-labels.tif\n");
    bench.file("header-only.csv", "image,label,split\na.tif,a-labels.tif,trn\n");
    bench.file("empty.csv", "");
    bench.file("blank.csv", "\n  \n");
    bench.file("binary.csv", [0xffu8, 0xfe, 0, 1]);
    bench.file("areas.csv", "a.tif,a-labels.tif,trn\nb.tif,b-labels.tif,tst\n");
    bench.file("word.csv", "a.tif,a-labels.tif,trn\nb.tif,b-labels.tif,train\n");
    bench.file("tests.csv", "a.tif,a-labels.tif,tst\nb.tif,b-labels.tif,inference\n");
    bench.file("good.csv", format!("{GOOD}\n"));
}

fn rasters(bench: &Bench) {
    let at = |name: &str| bench.at(name);
    let labels = square_labels();
    write(&at("small.tif"), &Array3::<u8>::zeros((1, SIDE, SIDE - 1)), |_| {});
    write(&at("crs.tif"), &labels, |spec| spec.georeference.crs_wkt = Some(NAD27.to_owned()));
    write(&at("moved.tif"), &labels, |spec| {
        spec.georeference.transform.as_mut().unwrap()[0] = PLACE[0] + 0.01;
    });
    let mut fractions = labels.mapv(f32::from);
    fractions[[0, 2, 5]] = 0.5;
    write(&at("fractions.tif"), &fractions, |_| {});
    let mut range = labels.clone();
    range[[0, 40, 33]] = 7;
    write(&at("range.tif"), &range, |_| {});
    write(&at("nodata-labels.tif"), &Array3::<u8>::from_elem((1, SIDE, SIDE), 255), |spec| {
        spec.nodata = Some(255.0);
    });
    write(&at("nodata-image.tif"), &Array3::<u8>::zeros((3, SIDE, SIDE)), |spec| spec.nodata = Some(0.0));
    write(&at("nan.tif"), &Array3::<f32>::from_elem((3, SIDE, SIDE), f32::NAN), |_| {});
    write(&at("four.tif"), &squares(4, 3), |_| {});
    write(&at("two-bands.tif"), &squares(2, 3), |_| {});
    for (name, whole) in [("cut.tif", "b.tif"), ("cut-labels.tif", "b-labels.tif")] {
        let bytes = std::fs::read(at(whole)).unwrap();
        bench.file(name, &bytes[..bytes.len() * 2 / 3]);
    }
    bench.file("text.txt", "neither an image nor labels");
    std::fs::create_dir(at("folder")).unwrap();
    bench.file("four.onnx", network(4, 2));
    bench.file("five.onnx", network(5, 2));
    let mut complex = Vec::new();
    complex.extend(std::fs::read(at("text.txt")).unwrap());
    bench.file("complex.tif", complex);
}

fn layers(path: &Path, names: &[&str], crs: Option<u32>) {
    let mut dataset = DriverManager::get_driver_by_name("GPKG").unwrap().create_vector_only(path).unwrap();
    for name in names {
        let srs = crs.map(|code| SpatialRef::from_epsg(code).unwrap());
        let ty = OGRwkbGeometryType::wkbPolygon;
        let mut layer =
            dataset.create_layer(LayerOptions { name, srs: srs.as_ref(), ty, options: None }).unwrap();
        layer.create_defn_fields(&[("kind", OGRFieldType::OFTString)]).unwrap();
        let wkt = "POLYGON((10.01 49.99,10.03 49.99,10.03 49.97,10.01 49.97,10.01 49.99))";
        let shape = gdal::vector::Geometry::from_wkt(wkt).unwrap();
        layer.create_feature(shape).unwrap();
    }
    dataset.close().unwrap();
}

fn vectors(bench: &Bench) {
    let kinds = ["house", "barn", "shed"];
    bench.file(
        "squares.geojson",
        square_features(|number| format!(r#""kind":"{}","class":{}"#, kinds[number % 3], number % 3)),
    );
    bench.file("far.geojson", collection(&[feature([20.0, 40.0, 20.1, 40.1], "")]));
    bench.file("nothing.geojson", collection(&[]));
    bench.file("broken.geojson", r#"{"type":"FeatureCollection","features":[{"type":"#);
    bench.file("some.fgb", "fgb");
    layers(&bench.at("two.gpkg"), &["houses", "roads"], Some(4326));
    layers(&bench.at("bare.gpkg"), &["houses"], None);
}

/// Refused before an image is opened.
const LISTS: &[Case] = &[
    ("list missing", &["--train", "@none.csv"], NotFound, &["@none.csv"]),
    ("list is a folder", &["--train", "@folder"], InvalidArgument, &["@folder"]),
    ("list without lines", &["--train", "@empty.csv"], InvalidArgument, &["@empty.csv", "empty"]),
    ("blank list", &["--train", "@blank.csv"], InvalidArgument, &["@blank.csv", "empty"]),
    ("list is no text", &["--train", "@binary.csv"], InvalidArgument, &["@binary.csv", "not a list"]),
    ("list is an image", &["--train", "@a.tif"], InvalidArgument, &["@a.tif", "IMAGE;LABELS"]),
    ("comma", &["--train", "@comma.csv"], InvalidArgument, &["@comma.csv: line 3", "image;label"]),
    ("tab", &["--train", "@tab.csv"], InvalidArgument, &["@tab.csv: line 3", "image;label"]),
    (
        "comma at first",
        &["--train", "@first-comma.csv"],
        InvalidArgument,
        &["line 1", "image;labels", "2 fields"],
    ),
    (
        "tab at first",
        &["--train", "@first-tab.csv"],
        InvalidArgument,
        &["line 1", "image;labels", "1 field "],
    ),
    ("header", &["--train", "@header.csv"], InvalidArgument, &["@header.csv: line 3", "percent"]),
    ("header of areas", &["--train", "@header-only.csv"], InvalidArgument, &["line 1", "no header"]),
    ("too many fields", &["--train", "@many.csv"], InvalidArgument, &["@many.csv: line 3", "4 fields"]),
    (
        "percent no number",
        &["--train", "@percent.csv"],
        InvalidArgument,
        &["@percent.csv: line 3", "\"many\""],
    ),
    ("percent above 100", &["--train", "@over.csv"], InvalidArgument, &["@over.csv: line 3", "\"120\""]),
    ("no labels named", &["--train", "@no-label.csv"], InvalidArgument, &["@no-label.csv: line 3", "labels"]),
    ("no image named", &["--train", "@no-image.csv"], InvalidArgument, &["@no-image.csv: line 3", "image"]),
    ("unknown split", &["--train", "@word.csv"], InvalidArgument, &["@word.csv: line 2", "\"train\"", "trn"]),
    ("no line for training", &["--train", "@tests.csv"], InvalidArgument, &["@tests.csv", "2 lines", "trn"]),
    (
        "no line for validation",
        &["--train", "@areas.csv", "--val", "@areas.csv"],
        InvalidArgument,
        &["data.val", "@areas.csv", "for val"],
    ),
    ("no line for tests", &["--test", "@word.csv"], InvalidArgument, &["data.test", "@word.csv: line 2"]),
    (
        "pair without labels",
        &["--train", "@a.tif;"],
        InvalidArgument,
        &["data.train", "@a.tif;", "IMAGE;LABELS"],
    ),
    (
        "pair without image",
        &["--train", ";@a-labels.tif"],
        InvalidArgument,
        &["data.train", ";@a-labels.tif", "IMAGE;LABELS"],
    ),
    (
        "three in a pair",
        &["--train", "@a.tif;@a-labels.tif;50"],
        InvalidArgument,
        &["data.train", "IMAGE;LABELS"],
    ),
    ("second list missing", &["--train", "@good.csv", "--train", "@none.csv"], NotFound, &["@none.csv"]),
    ("validation list missing", &["--val", "@none.csv"], NotFound, &["data.val", "@none.csv"]),
    ("test list missing", &["--test", "@none.csv"], NotFound, &["data.test", "@none.csv"]),
    (
        "root missing",
        &["--train", "@good.csv", "--root", "@nowhere"],
        NotFound,
        &["@good.csv: line 1", "@nowhere/a.tif"],
    ),
    ("no list", &["--train", "-"], InvalidArgument, &["data.train", "at least one list"]),
];

const IMAGES: &[Case] = &[
    ("image missing", &["--train", "@gone.csv"], NotFound, &["@gone.csv: line 3", "@gone.tif"]),
    (
        "image no raster",
        &["--train", "@text-image.csv"],
        RasterInvalid,
        &["@text-image.csv: line 3", "@text.txt"],
    ),
    (
        "image of a pair missing",
        &["--train", "@gone.tif;@a-labels.tif"],
        NotFound,
        &["data.train", "@gone.tif"],
    ),
    (
        "image is a vector file",
        &["--train", "@vector-image.csv"],
        RasterInvalid,
        &["@vector-image.csv: line 3", "@squares.geojson"],
    ),
    (
        "labels missing",
        &["--train", "@gone-labels.csv"],
        NotFound,
        &["@gone-labels.csv: line 3", "@gone.tif"],
    ),
    (
        "labels no raster",
        &["--train", "@text-labels.csv"],
        RasterInvalid,
        &["@text-labels.csv: line 3", "@text.txt"],
    ),
    (
        "labels are a folder",
        &["--train", "@folder.csv"],
        InvalidArgument,
        &["@folder.csv: line 3", "@folder"],
    ),
    (
        "labels of another size",
        &["--train", "@small-labels.csv"],
        Mismatch,
        &["@small-labels.csv: line 3", "@small.tif", "63 x 64", "64 x 64", "@b.tif"],
    ),
    (
        "labels in another CRS",
        &["--train", "@other-crs.csv"],
        Mismatch,
        &["@other-crs.csv: line 3", "@crs.tif", "EPSG:4267", "EPSG:4326"],
    ),
    (
        "labels elsewhere",
        &["--train", "@other-place.csv"],
        Mismatch,
        &["@other-place.csv: line 3", "@moved.tif", "10.0 pixels"],
    ),
    (
        "labels of three bands",
        &["--train", "@three-bands.csv"],
        RasterUnsupported,
        &["@three-bands.csv: line 3", "@a.tif", "3 bands"],
    ),
    (
        "labels of fractions",
        &["--train", "@fractions.csv"],
        RasterUnsupported,
        &["@fractions.csv: line 3", "@fractions.tif", "0.5", "pixel 5,2"],
    ),
    (
        "label out of range",
        &["--train", "@range.csv"],
        Mismatch,
        &["@range.csv: line 3", "@range.tif", "label 7", "pixel 33,40", "0 to 1"],
    ),
    (
        "label out of range for validation",
        &["--val", "@range.csv"],
        Mismatch,
        &["validation", "@range.csv: line 3", "pixel 33,40"],
    ),
    (
        "label out of range for tests",
        &["--test", "@range.csv"],
        Mismatch,
        &["test", "@range.csv: line 3", "pixel 33,40"],
    ),
    (
        "label out of range in a division",
        &["--train", "@range.csv", "--val-fraction", "0.5"],
        Mismatch,
        &["@range.csv: line 3", "pixel 33,40"],
    ),
    (
        "class map misses a value",
        &["--classes", "0=1"],
        Mismatch,
        &["@a-labels.tif", "label 1", "class map", "\"*\""],
    ),
    ("class map out of range", &["--classes", "0=0,1=2"], Mismatch, &["@a-labels.tif", "class 2", "0 to 1"]),
    (
        "class map of words for numbers",
        &["--classes", "house=1"],
        InvalidArgument,
        &["@a-labels.tif", "house=1"],
    ),
    ("class map syntax", &["--classes", "1:1"], InvalidArgument, &["--classes", "VALUE=CLASS", "1:1"]),
    ("class map of no number", &["--classes", "1=one"], InvalidArgument, &["--classes", "\"one\""]),
    ("class map names a value twice", &["--classes", "1=1,1=0"], InvalidArgument, &["--classes", "twice"]),
    (
        "no label has data",
        &["--train", "@a.tif;@nodata-labels.tif"],
        InvalidArgument,
        &["training data", "@a.tif", "32 x 32", "of 4, 4", "labels.nodata"],
    ),
    (
        "all labels ignored",
        &["--ignore-index", "0,1"],
        InvalidArgument,
        &["training data", "@a.tif", "of 4, 4"],
    ),
    (
        "image without data",
        &["--train", "@nodata-image.tif;@a-labels.tif"],
        InvalidArgument,
        &["@nodata-image.tif", "of 4, 4"],
    ),
    ("image of NaN", &["--train", "@nan.tif;@a-labels.tif"], InvalidArgument, &["@nan.tif"]),
    (
        "too little annotated",
        &["--min-annotated", "99"],
        InvalidArgument,
        &["@a.tif", "4 are annotated to less than 99 %"],
    ),
    ("share above 100", &["--min-annotated", "101"], InvalidArgument, &["min_annotated", "101"]),
    ("image cut off", &["--train", "@cut-image.csv"], RasterInvalid, &["@cut-image.csv: line 3", "@cut.tif"]),
    (
        "labels cut off",
        &["--train", "@cut-labels.csv"],
        RasterInvalid,
        &["@cut-labels.csv: line 3", "@cut-labels.tif"],
    ),
    ("band that is not there", &["--bands", "1,2,4"], InvalidArgument, &["data.train", "@a.tif", "band 4"]),
    ("band 0", &["--bands", "0,1,2"], InvalidArgument, &["data.bands", "from 1"]),
    ("band no number", &["--bands", "red,green,blue"], InvalidArgument, &["data.bands", "red"]),
    ("bands that the model does not take", &["--bands", "1,2"], Mismatch, &["@a.tif", "3 bands", "2"]),
    (
        "image of four bands",
        &["--train", "@four.tif;@a-labels.tif"],
        Mismatch,
        &["@four.tif", "3 bands", "4"],
    ),
    (
        "images of other bands",
        &["--train", "@four.csv"],
        Mismatch,
        &["@four.csv: line 3", "@four.tif", "3 bands as in @a.tif", "4"],
    ),
    (
        "validation of other bands",
        &["--val", "@four.tif;@a-labels.tif"],
        Mismatch,
        &["data.val", "@four.tif", "3 bands", "4"],
    ),
    (
        "tests of other bands",
        &["--test", "@four.tif;@a-labels.tif"],
        Mismatch,
        &["data.test", "@four.tif", "3 bands", "4"],
    ),
    ("model of other bands", &["--model", "@five.onnx"], Mismatch, &["@a.tif", "5 bands", "3"]),
    ("scale 0", &["--scale", "0"], InvalidArgument, &["data: scale", "0"]),
    ("std 0", &["--std", "0.1,0,0.1"], InvalidArgument, &["data", "std", "0"]),
    ("NaN mean", &["--mean", "nan"], InvalidArgument, &["data", "mean", "NaN"]),
    ("means for two bands", &["--mean", "0.5,0.5"], Mismatch, &["mean", "2", "3 bands"]),
];

const VECTORS: &[Case] = &[
    (
        "field absent",
        &["--train", "@a.tif;@squares.geojson", "--label-field", "sort"],
        InvalidArgument,
        &["@squares.geojson", "\"sort\"", "\"kind\""],
    ),
    (
        "layer absent",
        &["--train", "@two.csv", "--label-layer", "rivers"],
        InvalidArgument,
        &["@two.csv: line 3", "@two.gpkg", "\"rivers\"", "\"houses\""],
    ),
    (
        "several layers",
        &["--train", "@two.csv"],
        InvalidArgument,
        &["@two.csv: line 3", "@two.gpkg", "2 layers", "\"houses\", \"roads\""],
    ),
    (
        "text without a map",
        &["--train", "@a.tif;@squares.geojson", "--label-field", "kind"],
        InvalidArgument,
        &["@squares.geojson", "\"kind\" holds text", "\"barn\", \"house\", \"shed\""],
    ),
    (
        "map misses a text",
        &["--train", "@a.tif;@squares.geojson", "--label-field", "kind", "--classes", "house=1,barn=1"],
        Mismatch,
        &["@squares.geojson", "label \"shed\" of feature 2", "\"*\""],
    ),
    (
        "map without a field",
        &["--train", "@a.tif;@squares.geojson", "--classes", "house=1"],
        InvalidArgument,
        &["@squares.geojson", "needs a field"],
    ),
    (
        "number out of range",
        &["--train", "@a.tif;@squares.geojson", "--label-field", "class"],
        Mismatch,
        &["@squares.geojson", "label \"2\" of feature 2", "0 to 1"],
    ),
    (
        "features elsewhere",
        &["--train", "@far.csv"],
        Mismatch,
        &["@far.csv: line 3", "@far.geojson", "does not overlap", "@b.tif"],
    ),
    (
        "features without CRS",
        &["--train", "@bare.csv"],
        Mismatch,
        &["@bare.csv: line 3", "@bare.gpkg", "no CRS"],
    ),
    (
        "no feature, and outside does not count",
        &["--train", "@a.tif;@nothing.geojson", "--label-outside", "ignore"],
        InvalidArgument,
        &["training data", "@a.tif", "of 4, 4"],
    ),
    (
        "broken GeoJSON",
        &["--train", "@a.tif;@broken.geojson"],
        RasterInvalid,
        &["data.train", "@broken.geojson"],
    ),
    (
        "vector file of another format",
        &["--train", "@fgb.csv"],
        RasterInvalid,
        &["@fgb.csv: line 3", "@some.fgb", "GeoJSON"],
    ),
    ("vector labels missing", &["--train", "@a.tif;@none.gpkg"], NotFound, &["data.train", "@none.gpkg"]),
];

fn bench() -> Bench {
    let bench = Bench::new();
    rasters(&bench);
    vectors(&bench);
    lists(&bench);
    bench
}

#[test]
fn lists_that_are_none() {
    bench().refuses(LISTS);
}

#[test]
fn images_and_labels_that_do_not_go_together() {
    bench().refuses(IMAGES);
}

#[test]
fn vector_labels_that_say_no_class() {
    bench().refuses(VECTORS);
}
