use std::fs;
use std::io::Write as _;
use std::process::Command;

use gdal::spatial_ref::{AxisMappingStrategy, CoordTransform, SpatialRef};
use gdal::vector::{
    Feature, FieldDefn, Geometry, LayerAccess, LayerOptions, OGRFieldType, OGRwkbGeometryType,
};
use ndarray::Array2;

use super::*;
use crate::error::{Error, ErrorKind};

const UTM: u32 = 32633;
const SIZE: Size = Size::new(600, 450);
const TRANSFORM: [f64; 6] = [500_000.0, 0.5, 0.0, 5_500_000.0, 0.0, -0.5];
/// 12 degrees, pixels of 0.5 by 0.4.
const ROTATED: [f64; 6] = [500_000.0, 0.489, 0.083, 5_500_000.0, 0.104, -0.391];

fn epsg(code: u32) -> SpatialRef {
    let mut crs = SpatialRef::from_epsg(code).unwrap();
    crs.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
    crs
}

/// An empty raster of 32 bits, for `gdal_rasterize` to burn into.
fn image(path: &Path, size: Size, transform: Option<[f64; 6]>, code: Option<u32>) -> RasterInfo {
    geotiff(path, size, &[vec![0i32; size.width * size.height]], &[], |dataset| {
        if let Some(transform) = transform {
            dataset.set_geo_transform(&transform).unwrap();
        }
        if let Some(code) = code {
            dataset.set_spatial_ref(&epsg(code)).unwrap();
        }
    });
    open(path).info().clone()
}

/// One layer of a vector file: its name, its CRS, and WKT and value of its features.
struct Content<'a> {
    name: &'a str,
    crs: Option<u32>,
    field: (&'a str, OGRFieldType::Type),
    features: &'a [(String, Option<&'a str>)],
}

fn vectors(path: &Path, driver: &str, layers: &[Content<'_>]) {
    let driver = DriverManager::get_driver_by_name(driver).unwrap();
    let mut dataset = driver.create_vector_only(path).unwrap();
    for content in layers {
        let crs = content.crs.map(epsg);
        // All digits in GeoJSON; the other drivers know no such option.
        let digits = ["COORDINATE_PRECISION=15"];
        let layer = dataset
            .create_layer(LayerOptions {
                name: content.name,
                srs: crs.as_ref(),
                ty: OGRwkbGeometryType::wkbUnknown,
                options: (driver.short_name() == "GeoJSON").then_some(&digits),
            })
            .unwrap();
        FieldDefn::new(content.field.0, content.field.1).unwrap().add_to_layer(&layer).unwrap();
        for (wkt, value) in content.features {
            let mut feature = Feature::new(layer.defn()).unwrap();
            if !wkt.is_empty() {
                feature.set_geometry(Geometry::from_wkt(wkt).unwrap()).unwrap();
            }
            if let Some(value) = value {
                feature.set_field_string(0, value).unwrap();
            }
            feature.create(&layer).unwrap();
        }
    }
    dataset.close().unwrap();
}

fn one(path: &Path, driver: &str, crs: Option<u32>, features: &[(String, Option<&str>)]) {
    let field = ("class", OGRFieldType::OFTInteger);
    vectors(path, driver, &[Content { name: "labels", crs, field, features }]);
}

fn field(name: &str) -> VectorOptions {
    VectorOptions { field: Some(name.to_owned()), layer: None }
}

/// The values as numbers, 0 where there is none.
fn numbers(layer: &VectorLayer) -> Vec<i32> {
    layer.features().iter().map(|feature| feature.value().map_or(0, |value| value.parse().unwrap())).collect()
}

/// WKT in `code` of what is drawn in UTM.
fn brought_to(code: u32, wkt: &str) -> String {
    let transform = CoordTransform::new(&epsg(UTM), &epsg(code)).unwrap();
    Geometry::from_wkt(wkt).unwrap().transform(&transform).unwrap().wkt().unwrap()
}

/// A star of `points` corners around a pixel of the raster, in CRS units, as the text of a ring.
fn ring(dice: &mut Dice, transform: [f64; 6], (column, row): (f64, f64), radius: f64, points: u64) -> String {
    let corners: Vec<String> = (0..points)
        .map(|point| {
            let angle = point as f64 / points as f64 * std::f64::consts::TAU;
            let distance = radius * (0.5 + dice.roll(1000) as f64 / 2000.0);
            let (column, row) = (column + distance * angle.cos(), row + distance * angle.sin());
            let [a, b, c, d, e, f] = transform;
            format!("{} {}", a + column * b + row * c, d + column * e + row * f)
        })
        .collect();
    format!("({}, {})", corners.join(", "), corners[0])
}

/// Polygons with holes, multipolygons of two, and one that reaches past the raster, overlapping, of values 1 to 5.
fn drawn(transform: [f64; 6], count: usize) -> Vec<(String, Option<&'static str>)> {
    let mut dice = Dice(7);
    let values = ["1", "2", "3", "4", "5"];
    (0..count)
        .map(|index| {
            let mut place = || (dice.roll(620) as f64 - 10.0 + 0.37, dice.roll(470) as f64 - 10.0 + 0.61);
            let (at, other) = (place(), place());
            let radius = 12.0 + dice.roll(40) as f64;
            let outer = ring(&mut dice, transform, at, radius, 11);
            let inner = ring(&mut dice, transform, at, radius / 3.0, 7);
            let wkt = match index % 3 {
                0 => format!("POLYGON ({outer}, {inner})"),
                1 => format!("POLYGON ({outer})"),
                _ => {
                    let second = ring(&mut dice, transform, other, 15.0, 5);
                    format!("MULTIPOLYGON (({outer}, {inner}), ({second}))")
                }
            };
            (wkt, Some(values[index % 5]))
        })
        .collect()
}

/// Whether a program of GDAL ran; says so where there is none.
fn ran(program: &str, arguments: &[&str]) -> bool {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(error) => {
            let _ =
                writeln!(std::io::stderr(), "SKIPPED: {program} cannot be run ({error}): gdal-bin has it");
            false
        }
    }
}

fn whole(path: &Path) -> Array2<i32> {
    let raster = open(path);
    let samples = raster
        .read(&crate::geometry::Band::first(1), Window::of(raster.size()), crate::geometry::Padding::Edge)
        .unwrap();
    let Samples::I32(block) = samples else { panic!("another type") };
    block.index_axis_move(ndarray::Axis(0), 0)
}

/// At least 99.9 % equal, the others at an edge.
fn agree(found: &Array2<i32>, expected: &Array2<i32>, what: &str) {
    let (height, width) = expected.dim();
    let mut different = 0;
    for ((row, column), value) in expected.indexed_iter() {
        if found[[row, column]] == *value {
            continue;
        }
        different += 1;
        let rows = row.saturating_sub(1)..(row + 2).min(height);
        let columns = column.saturating_sub(1)..(column + 2).min(width);
        let near = expected.slice(ndarray::s![rows, columns]);
        assert!(near.iter().any(|other| other != value), "{what}: {column},{row} is not at an edge");
    }
    assert!(different * 1000 <= height * width, "{what}: {different} pixels differ");
    // The oracle has something to say.
    for value in 0..=5 {
        let count = expected.iter().filter(|other| **other == value).count();
        assert!(count > 500, "{what}: value {value} has {count} pixels");
    }
}

#[test]
fn masks_are_those_of_gdal_rasterize_on_the_reprojected_file() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    for (name, transform) in [("north", TRANSFORM), ("rotated", ROTATED)] {
        let utm = drawn(transform, 60);
        let degrees: Vec<_> = utm.iter().map(|(wkt, value)| (brought_to(4326, wkt), *value)).collect();
        for (driver, extension) in [("GPKG", "gpkg"), ("GeoJSON", "geojson"), ("ESRI Shapefile", "shp")] {
            let path = at(&format!("{name}.{extension}"));
            one(&path, driver, Some(4326), &degrees);
            let burned = at(&format!("{name}_{extension}.tif"));
            let info = image(&burned, SIZE, Some(transform), Some(UTM));
            let layer = VectorLayer::open(&path, &field("class"), &info).unwrap();
            assert_eq!(layer.features().len(), 60);
            let reprojected = at(&format!("{name}_{extension}_utm.gpkg"));
            let (from, to) = (path.to_str().unwrap(), reprojected.to_str().unwrap());
            if !ran("ogr2ogr", &["-t_srs", "EPSG:32633", "-nln", "labels", to, from]) {
                return;
            }
            for all_touched in [false, true] {
                image(&burned, SIZE, Some(transform), Some(UTM));
                let mut arguments = vec!["-q", "-a", "class", "-l", "labels", to, burned.to_str().unwrap()];
                if all_touched {
                    arguments.push("-at");
                }
                if !ran("gdal_rasterize", &arguments) {
                    return;
                }
                let found = layer.burn(Window::of(SIZE), &numbers(&layer), 0, all_touched).unwrap();
                agree(&found, &whole(&burned), &format!("{name} {driver} {all_touched}"));
            }
        }
    }
}

#[test]
fn windows_are_cut_out_of_the_whole_and_threads_burn_side_by_side() {
    let folder = folder();
    for (name, transform) in [("north", TRANSFORM), ("rotated", ROTATED)] {
        let path = folder.path().join(format!("{name}.gpkg"));
        let mut features = drawn(transform, 40);
        // Lines and points, and edges that run through the middles of pixels.
        let on = |column: f64, row: f64| {
            let [a, b, c, d, e, f] = transform;
            format!("{} {}", a + column * b + row * c, d + column * e + row * f)
        };
        features.push((format!("LINESTRING ({}, {})", on(3.2, 5.7), on(577.1, 431.9)), Some("6")));
        features.push((format!("MULTIPOINT (({}), ({}))", on(255.5, 255.5), on(256.5, 10.5)), Some("7")));
        let corners = [on(10.5, 10.5), on(300.5, 10.5), on(300.5, 300.5), on(10.5, 10.5)];
        features.push((format!("POLYGON (({}))", corners.join(", ")), Some("8")));
        one(&path, "GPKG", Some(UTM), &features);
        let info = image(&folder.path().join("image.tif"), SIZE, Some(transform), Some(UTM));
        let layer = VectorLayer::open(&path, &field("class"), &info).unwrap();
        let values = numbers(&layer);
        for all_touched in [false, true] {
            let all = layer.burn(Window::of(SIZE), &values, -3, all_touched).unwrap();
            let distinct: std::collections::BTreeSet<i32> = all.iter().copied().collect();
            assert!(distinct.contains(&-3) && distinct.contains(&6) && distinct.contains(&8));
            assert_eq!((all[[255, 255]], all[[10, 256]]), (if all_touched { 8 } else { all[[255, 255]] }, 8));
            std::thread::scope(|threads| {
                for seed in 0..4 {
                    let (layer, values, all) = (&layer, &values, &all);
                    threads.spawn(move || {
                        let mut dice = Dice(seed);
                        for _ in 0..40 {
                            let (x, y) = (dice.roll(700) as i64 - 80, dice.roll(550) as i64 - 80);
                            let (width, height) = (1 + dice.roll(300), 1 + dice.roll(300));
                            let window = Window::new(x, y, width as usize, height as usize);
                            let cut = layer.burn(window, values, -3, all_touched).unwrap();
                            for ((row, column), value) in cut.indexed_iter() {
                                let (x, y) = (x + column as i64, y + row as i64);
                                let inside = x >= 0 && y >= 0 && x < 600 && y < 450;
                                assert!(
                                    !inside || all[[y as usize, x as usize]] == *value,
                                    "{window}: {x},{y}"
                                );
                            }
                        }
                    });
                }
            });
        }
    }
}

#[test]
fn points_lines_curves_and_order_are_as_drawn() {
    let folder = folder();
    let path = folder.path().join("a.gpkg");
    let size = Size::new(20, 10);
    // One metre a pixel, so that column and row are read off the coordinates.
    let info = image(&folder.path().join("a.tif"), size, Some([0.0, 1.0, 0.0, 10.0, 0.0, -1.0]), None);
    let polygon = "POLYGON ((2 2, 6 2, 6 6, 2 6, 2 2), (3 3, 5 3, 5 5, 3 5, 3 3))";
    let features = [
        (polygon.to_owned(), Some("1")),
        ("POLYGON ((5 5, 8 5, 8 8, 5 8, 5 5))".to_owned(), Some("2")),
        ("POINT Z (0.5 9.5 100)".to_owned(), Some("3")),
        ("LINESTRING (10.5 9.5, 13.5 9.5)".to_owned(), Some("4")),
        ("CURVEPOLYGON (CIRCULARSTRING (12 4, 15 7, 18 4, 15 1, 12 4))".to_owned(), Some("5")),
        (String::new(), Some("6")),
        ("POLYGON EMPTY".to_owned(), Some("6")),
        ("POINT (50 50)".to_owned(), Some("7")),
        ("GEOMETRYCOLLECTION (POINT (1.5 9.5), POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0)))".to_owned(), None),
    ];
    one(&path, "GPKG", None, &features);
    let layer = VectorLayer::open(&path, &field("class"), &info).unwrap();
    let known: Vec<_> = layer.features().iter().map(|feature| (feature.number(), feature.value())).collect();
    let expected =
        [(1, Some("1")), (2, Some("2")), (3, Some("3")), (4, Some("4")), (5, Some("5")), (9, None)];
    assert_eq!(known, expected);
    let burned = layer.burn(Window::of(size), &[1, 2, 3, 4, 5, -1], 0, false).unwrap();
    let rows = [
        "3-........4444......",
        "....................",
        ".....222............",
        ".....222.....5555...",
        "..111222....555555..",
        "..1..1......555555..",
        "..1..1......555555..",
        "..1111......555555..",
        ".............5555...",
        "-...................",
    ];
    for (row, text) in rows.into_iter().enumerate() {
        let found: String = burned
            .row(row)
            .iter()
            .map(|value| match value {
                0 => '.',
                -1 => '-',
                value => char::from_digit(*value as u32, 10).unwrap(),
            })
            .collect();
        assert_eq!(found, text, "row {row}: {burned:?}");
    }
    let error = layer.burn(Window::of(size), &[1], 0, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let error = layer.burn(Window::new(0, 0, 0, 4), &[1; 6], 0, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn thousands_of_features_are_read_and_burned_in_a_moment() {
    let folder = folder();
    let path = folder.path().join("many.geojson");
    let degrees: Vec<_> =
        drawn(TRANSFORM, 5000).iter().map(|(wkt, value)| (brought_to(4326, wkt), *value)).collect();
    one(&path, "GeoJSON", Some(4326), &degrees);
    let info = image(&folder.path().join("a.tif"), SIZE, Some(TRANSFORM), Some(UTM));
    let start = std::time::Instant::now();
    let layer = VectorLayer::open(&path, &field("class"), &info).unwrap();
    let opened = start.elapsed();
    let values = numbers(&layer);
    for turn in 0..10 {
        layer.burn(Window::new(turn * 20, turn * 15, 256, 256), &values, 0, false).unwrap();
    }
    let burned = (start.elapsed() - opened) / 10;
    let _ = writeln!(std::io::stderr(), "5000 features: opened in {opened:?}, a window in {burned:?}");
    // Far above what is measured (tenths of a second): the machine may be busy.
    assert!(opened.as_secs() < 20 && burned.as_secs() < 5, "{opened:?} {burned:?}");
}

#[test]
fn values_are_text_in_their_shortest_form() {
    let folder = folder();
    let info = image(&folder.path().join("a.tif"), SIZE, Some(TRANSFORM), Some(UTM));
    let point = |_| "POINT (500010 5499990)".to_owned();
    for (kind, given, expected, field_kind) in [
        (OGRFieldType::OFTReal, vec!["3", "2.5", "-0.0"], vec!["3", "2.5", "0"], FieldKind::Number),
        (OGRFieldType::OFTInteger64, vec!["5000000000"], vec!["5000000000"], FieldKind::Number),
        (OGRFieldType::OFTString, vec!["forêt", "3.0", ""], vec!["forêt", "3.0", ""], FieldKind::Text),
        (OGRFieldType::OFTDate, vec!["2024/02/29"], vec!["2024/02/29"], FieldKind::Text),
    ] {
        let path = folder.path().join("a.gpkg");
        let _ = fs::remove_file(&path);
        let mut features: Vec<_> =
            given.into_iter().enumerate().map(|(index, value)| (point(index), Some(value))).collect();
        features.push((point(9), None));
        vectors(
            &path,
            "GPKG",
            &[Content { name: "a", crs: Some(UTM), field: ("Kind", kind), features: &features }],
        );
        let layer = VectorLayer::open(&path, &field("kind"), &info).unwrap();
        assert_eq!((layer.name(), layer.field()), ("a", Some(("Kind", field_kind))));
        let mut expected: Vec<_> = expected.into_iter().map(Some).collect();
        expected.push(None);
        let found: Vec<_> = layer.features().iter().map(VectorFeature::value).collect();
        assert_eq!(found, expected);
    }
    // A property that a feature leaves out is none, not 0.
    let path = folder.path().join("a.geojson");
    let place = r#""geometry":{"type":"Point","coordinates":[15.0001,49.65]}"#;
    let text = format!(
        r#"{{"type":"FeatureCollection","features":[{{"type":"Feature","properties":{{"class":4}},{place}}},
        {{"type":"Feature","properties":{{}},{place}}}]}}"#
    );
    fs::write(&path, text).unwrap();
    let degrees =
        image(&folder.path().join("b.tif"), SIZE, Some([15.0, 1e-5, 0.0, 49.652, 0.0, -1e-5]), Some(4326));
    let layer = VectorLayer::open(&path, &field("class"), &degrees).unwrap();
    assert_eq!(layer.features().iter().map(VectorFeature::value).collect::<Vec<_>>(), [Some("4"), None]);
    assert!(VectorLayer::open(&path, &VectorOptions::default(), &degrees).unwrap().field().is_none());
}

#[test]
fn what_cannot_be_read_is_refused_by_kind_with_the_remedy() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let info = image(&at("utm.tif"), SIZE, Some(TRANSFORM), Some(UTM));
    let nowhere = image(&at("nowhere.tif"), SIZE, None, None);
    let bare = image(&at("bare.tif"), SIZE, Some(TRANSFORM), None);
    let features = [("POINT (500010 5499990)".to_owned(), Some("1"))];
    let far = [("POINT (400010 5499990)".to_owned(), Some("1"))];
    let class = ("class", OGRFieldType::OFTInteger);
    let layer = |name| Content { name, crs: Some(UTM), field: class, features: &features };
    one(&at("utm.gpkg"), "GPKG", Some(UTM), &features);
    one(&at("far.gpkg"), "GPKG", Some(UTM), &far);
    one(&at("bare.shp"), "ESRI Shapefile", None, &features);
    one(&at("bare.gpkg"), "GPKG", None, &features);
    vectors(&at("two.gpkg"), "GPKG", &[layer("fields"), layer("roads")]);
    one(
        &at("beyond.geojson"),
        "GeoJSON",
        Some(4326),
        &[
            (brought_to(4326, "POINT (500010 5499990)"), Some("1")),
            ("LINESTRING (15 49, 15 95)".to_owned(), Some("1")),
        ],
    );
    fs::write(at("text.geojson"), "no features at all").unwrap();
    fs::write(at("text.shp"), "no features at all").unwrap();
    fs::write(at("rows.json"), r#"{"rows": [1, 2]}"#).unwrap();
    fs::write(at("list.geojson"), "x,y\n1,2\n").unwrap();
    let check = |name: &str, options: &VectorOptions, image: &RasterInfo, kind: ErrorKind, words: &[&str]| {
        let error = VectorLayer::open(at(name), options, image).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error:?}");
        assert_eq!(error.path(), Some(at(name).as_path()), "{error:?}");
        for words in words {
            assert!(error.one_line().contains(words), "{name}: {words:?} is not in {error:?}");
        }
    };
    let none = VectorOptions::default();
    let named = |layer: &str| VectorOptions { layer: Some(layer.to_owned()), field: None };
    let name = |info: &RasterInfo| info.path.display().to_string();
    use ErrorKind::*;
    check("missing.gpkg", &none, &info, NotFound, &["vector file does not exist"]);
    check("", &none, &info, InvalidArgument, &["is a folder, not a vector file"]);
    check("text.geojson", &none, &info, RasterInvalid, &["GPKG, GeoJSON, ESRI Shapefile"]);
    check("text.shp", &none, &info, RasterInvalid, &[]);
    check("rows.json", &none, &info, RasterInvalid, &[]);
    check("list.geojson", &none, &info, RasterInvalid, &[]);
    check("utm.tif", &none, &info, RasterInvalid, &[]);
    check("two.gpkg", &none, &info, InvalidArgument, &["2 layers, name one of \"fields\", \"roads\""]);
    check("two.gpkg", &named("x"), &info, InvalidArgument, &["no layer \"x\"", "\"fields\", \"roads\""]);
    check(
        "utm.gpkg",
        &field("kind"),
        &info,
        InvalidArgument,
        &["layer \"labels\" has no field \"kind\", expected one of \"class\""],
    );
    check("bare.shp", &none, &info, Mismatch, &["has no CRS", "ogr2ogr -a_srs EPSG:32633", &name(&info)]);
    check("bare.gpkg", &none, &info, Mismatch, &["has no CRS", "ogr2ogr -a_srs EPSG:32633"]);
    check("utm.gpkg", &none, &bare, Mismatch, &["CRS EPSG:32633", "gdal_translate -a_srs", &name(&bare)]);
    check("utm.gpkg", &none, &nowhere, Mismatch, &["no geotransform", &name(&nowhere)]);
    check(
        "far.gpkg",
        &none,
        &info,
        Mismatch,
        &[
            "does not overlap",
            "x 500000 to 500300, y 5499775 to 5500000",
            "x 400010 to 400010, y 5499990 to 5499990",
            "EPSG:32633",
            &name(&info),
        ],
    );
    check(
        "beyond.geojson",
        &none,
        &info,
        Mismatch,
        &["feature 1 cannot be brought to EPSG:32633", &name(&info)],
    );
    let mut points = nowhere.clone();
    points.georeference.gcps =
        vec![Gcp { id: "1".into(), info: String::new(), pixel: 0.0, line: 0.0, x: 0.0, y: 0.0, z: 0.0 }];
    check("utm.gpkg", &none, &points, Mismatch, &["ground control points only", "gdalwarp"]);
    for path in ["/vsimem/a.gpkg", "http://localhost/a.geojson", r#"{"type":"FeatureCollection"}"#] {
        let error = VectorLayer::open(path, &none, &info).unwrap_err();
        assert!(matches!(error.kind(), InvalidArgument | NotFound), "{error:?}");
    }
    // With the layer's name, and where neither has a CRS, the same files are read.
    assert_eq!(VectorLayer::open(at("two.gpkg"), &named("roads"), &info).unwrap().name(), "roads");
    for path in ["bare.shp", "bare.gpkg"] {
        assert_eq!(VectorLayer::open(at(path), &none, &bare).unwrap().features().len(), 1);
    }
}

#[test]
fn damaged_files_are_refused_not_read_in_part() {
    let folder = folder();
    let info = image(&folder.path().join("a.tif"), SIZE, Some(TRANSFORM), Some(UTM));
    let degrees: Vec<_> =
        drawn(TRANSFORM, 50).iter().map(|(wkt, value)| (brought_to(4326, wkt), *value)).collect();
    for (driver, name) in [("GPKG", "a.gpkg"), ("GeoJSON", "a.geojson"), ("ESRI Shapefile", "a.shp")] {
        let path = folder.path().join(name);
        one(&path, driver, Some(4326), &degrees);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() * 3 / 4]).unwrap();
        let error = VectorLayer::open(&path, &field("class"), &info).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RasterInvalid, "{error:?}");
    }
}

#[test]
fn a_crs_that_is_a_link_is_not_followed() {
    let folder = folder();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let path = folder.path().join("a.geojson");
    let text = format!(
        r#"{{"type":"FeatureCollection","crs":{{"type":"link","properties":{{"href":"http://{}/crs","type":"ogcwkt"}}}},
        "features":[{{"type":"Feature","properties":{{}},"geometry":{{"type":"Point","coordinates":[1,2]}}}}]}}"#,
        server.local_addr().unwrap()
    );
    fs::write(&path, text).unwrap();
    let info = image(&folder.path().join("a.tif"), SIZE, Some(TRANSFORM), Some(UTM));
    let error: Error = VectorLayer::open(&path, &VectorOptions::default(), &info).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Mismatch | ErrorKind::RasterInvalid), "{error:?}");
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "GDAL called");
}

#[test]
fn layers_are_shared_by_threads() {
    fn shares<T: Send + Sync>() {}
    shares::<VectorLayer>();
}
