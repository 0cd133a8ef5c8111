use std::fs;
use std::io::Write as _;
use std::process::Command;

use super::*;
use crate::error::ErrorKind;
use crate::geometry::{Band, Padding};

const TYPES: [DataType; 9] = [
    DataType::U8,
    DataType::U16,
    DataType::I16,
    DataType::U32,
    DataType::I32,
    DataType::U64,
    DataType::I64,
    DataType::F32,
    DataType::F64,
];

fn whole(raster: &Raster) -> Samples {
    raster.read(&Band::first(raster.info().bands.len()), Window::of(raster.size()), Padding::Edge).unwrap()
}

#[test]
fn every_type_format_and_compression_round_trips() {
    let folder = folder();
    let shape = [2, 70, 150];
    for data_type in TYPES {
        let samples = ramp(data_type, shape);
        for format in [Format::Cog, Format::GTiff] {
            for compression in [Compression::Deflate, Compression::Lzw, Compression::Zstd, Compression::None]
            {
                let path = folder.path().join(format!("{data_type}-{format}-{compression}.tif"));
                let spec = WriteSpec {
                    format,
                    compression,
                    block: 128,
                    nodata: Some(7.0),
                    band_names: vec!["one".into(), "two".into()],
                    ..WriteSpec::new(Size::new(150, 70), 2, data_type)
                };
                write(&path, spec, &samples);
                let raster = open(&path);
                assert_eq!(whole(&raster), samples, "{}", path.display());
                let info = raster.info();
                assert_eq!(
                    info.layout.as_deref(),
                    (format == Format::Cog).then_some("COG"),
                    "{}",
                    path.display()
                );
                assert_eq!(info.bands[0].block, Size::new(128, 128));
                assert_eq!(info.bands[1].nodata, Some(7.0));
                assert_eq!(info.bands[1].description, "two");
                let expected = match compression {
                    Compression::None => None,
                    other => Some(other.to_string().to_uppercase()),
                };
                assert_eq!(info.compression, expected);
            }
        }
    }
    assert_eq!(names(folder.path()).len(), 9 * 2 * 4, "no temporaries remain");
}

#[test]
fn windows_in_any_order_make_the_same_raster() {
    let folder = folder();
    let size = Size::new(300, 200);
    let samples = ramp(DataType::F32, [3, 200, 300]);
    let Samples::F32(all) = &samples else { unreachable!() };
    let path = folder.path().join("a.tif");
    let mut writer =
        RasterWriter::create(&path, WriteSpec { threads: 2, ..WriteSpec::new(size, 3, DataType::F32) })
            .unwrap();
    let mut windows: Vec<(usize, usize)> =
        (0..200).step_by(64).flat_map(|y| (0..300).step_by(90).map(move |x| (x, y))).collect();
    windows.reverse();
    for (x, y) in windows {
        let (width, height) = (90.min(300 - x), 64.min(200 - y));
        // A view with strides of the whole.
        let part = all.slice(ndarray::s![.., y..y + height, x..x + width]);
        writer.write(Window::new(x as i64, y as i64, width, height), part.into()).unwrap();
    }
    assert!(!path.exists());
    writer.finish().unwrap();
    assert_eq!(whole(&open(&path)), samples);
}

#[test]
fn pixels_never_written_are_nodata() {
    let folder = folder();
    for (format, nodata) in [(Format::Cog, Some(255.0)), (Format::GTiff, Some(255.0)), (Format::Cog, None)] {
        let path = folder.path().join(format!("{format}{nodata:?}.tif"));
        let spec =
            WriteSpec { format, nodata, block: 128, ..WriteSpec::new(Size::new(300, 300), 1, DataType::U8) };
        let mut writer = RasterWriter::create(&path, spec).unwrap();
        let ones = Array3::<u8>::ones((1, 128, 128));
        writer.write(Window::new(0, 0, 128, 128), ones.view().into()).unwrap();
        writer.finish().unwrap();
        let read = whole(&open(&path)).to_f64();
        assert_eq!((read[[0, 0, 0]], read[[0, 299, 299]]), (1.0, nodata.unwrap_or(0.0)));
    }
}

#[test]
fn a_large_cog_has_overviews_and_the_same_bytes_with_any_threads() {
    let folder = folder();
    let size = Size::new(1300, 700);
    let samples = ramp(DataType::U8, [1, 700, 1300]);
    let mut files = Vec::new();
    for threads in [1, 3] {
        let path = folder.path().join(format!("{threads}.tif"));
        write(&path, WriteSpec { threads, ..WriteSpec::new(size, 1, DataType::U8) }, &samples);
        files.push(fs::read(&path).unwrap());
        let raster = open(&path);
        assert_eq!(raster.info().layout.as_deref(), Some("COG"));
        assert_eq!(raster.info().bands[0].overviews, 2);
    }
    assert!(files[0] == files[1], "threads change the bytes");
}

#[test]
fn overviews_of_classes_have_no_new_classes() {
    let folder = folder();
    let stripes =
        Samples::U8(Array3::from_shape_fn((1, 700, 700), |(_, _, x)| if x % 3 == 0 { 200 } else { 10 }));
    for resampling in [OverviewResampling::Nearest, OverviewResampling::Average] {
        let path = folder.path().join(format!("{resampling}.tif"));
        let spec = WriteSpec {
            overview_resampling: resampling,
            ..WriteSpec::new(Size::new(700, 700), 1, DataType::U8)
        };
        write(&path, spec, &stripes);
        let dataset = Dataset::open(&path).unwrap();
        let overview = dataset.rasterband(1).unwrap().overview(0).unwrap().read_band_as::<u8>().unwrap();
        let only_classes = overview.data().iter().all(|value| [10, 200].contains(value));
        assert_eq!(only_classes, resampling == OverviewResampling::Nearest);
    }
}

#[test]
fn class_maps_carry_colours_names_and_metadata() {
    let folder = folder();
    for format in [Format::Cog, Format::GTiff] {
        let path = folder.path().join(format!("{format}.tif"));
        let colors = vec![[0, 0, 0, 255], [255, 0, 0, 255], [10, 20, 30, 255]];
        let spec = WriteSpec {
            format,
            colors: Some(colors.clone()),
            categories: Some(vec!["nothing".into(), "house".into(), "tree & bush".into()]),
            metadata: vec![("GLEBE_MODEL".into(), "a=b; <c>".into())],
            ..WriteSpec::new(Size::new(40, 30), 1, DataType::U8)
        };
        write(&path, spec, &ramp(DataType::U8, [1, 30, 40]));
        let info = open(&path).info().clone();
        assert_eq!(info.bands[0].colors.as_ref().unwrap()[..3], colors);
        assert_eq!(info.bands[0].metadata["class_2"], "tree & bush");
        assert_eq!(info.metadata["GLEBE_MODEL"], "a=b; <c>");
    }
    assert_eq!(names(folder.path()), ["cog.tif", "gtiff.tif"]);
}

#[test]
fn four_bands_of_scores_are_no_picture_with_alpha() {
    let folder = folder();
    for format in [Format::Cog, Format::GTiff] {
        let path = folder.path().join(format!("{format}.tif"));
        write(
            &path,
            WriteSpec { format, ..WriteSpec::new(Size::new(9, 9), 4, DataType::U8) },
            &ramp(DataType::U8, [4, 9, 9]),
        );
        assert!(
            open(&path).info().bands.iter().all(|band| !band.is_alpha && band.color_interpretation != "Red")
        );
    }
}

#[test]
fn georeferencing_is_carried_over_and_absence_too() {
    let folder = folder();
    let crs = gdal::spatial_ref::SpatialRef::from_epsg(32633).unwrap().to_wkt().unwrap();
    let geographic = gdal::spatial_ref::SpatialRef::from_epsg(4326).unwrap().to_wkt().unwrap();
    let rotated = Some([500_000.0, 17.3, 5.0, 5_000_000.0, 10.0, -8.66]);
    let gcps = vec![gcp("1", 0.0, 0.0), gcp("2", 9.5, 0.0), gcp("3", 0.0, 9.25), gcp("4", 9.0, 9.0)];
    let rpc = rpc();
    let cases = [
        Georeference::default(),
        Georeference { transform: rotated, ..Georeference::default() },
        Georeference { crs_wkt: Some(crs.clone()), ..Georeference::default() },
        Georeference {
            transform: Some([10.0, 0.1, 0.0, 50.0, 0.0, -0.1]),
            crs_wkt: Some(geographic.clone()),
            ..Georeference::default()
        },
        Georeference {
            transform: rotated,
            crs_wkt: Some(crs.clone()),
            area_or_point: Some(AreaOrPoint::Point),
            ..Georeference::default()
        },
        Georeference { transform: Some([0.0, 1.0, 0.0, 0.0, 0.0, 1.0]), ..Georeference::default() },
        Georeference { gcps: gcps.clone(), gcp_crs_wkt: Some(geographic), ..Georeference::default() },
        Georeference { rpc, ..Georeference::default() },
    ];
    for (index, case) in cases.into_iter().enumerate() {
        // The first output shows what GDAL makes of the case, the second that nothing more happens to it.
        let mut expected = case.clone();
        for format in [Format::GTiff, Format::Cog, Format::Cog] {
            let path = folder.path().join(format!("{index}.tif"));
            let spec = WriteSpec {
                format,
                overwrite: true,
                georeference: expected.clone(),
                ..WriteSpec::new(Size::new(10, 10), 1, DataType::U8)
            };
            write(&path, spec, &ramp(DataType::U8, [1, 10, 10]));
            let found = open(&path).info().georeference.clone();
            let identity = Some([0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
            assert_eq!(
                found.transform,
                case.transform.filter(|_| case.transform != identity),
                "case {index} {format}"
            );
            assert_eq!(found.gcps.len(), case.gcps.len(), "case {index} {format}");
            for (a, b) in found.gcps.iter().zip(&case.gcps) {
                assert_eq!((a.pixel, a.line, a.x, a.y, a.z), (b.pixel, b.line, b.x, b.y, b.z));
            }
            for (a, b) in [(&found.crs_wkt, &case.crs_wkt), (&found.gcp_crs_wkt, &case.gcp_crs_wkt)] {
                let crs = |wkt: &Option<String>| {
                    wkt.as_ref().map(|wkt| gdal::spatial_ref::SpatialRef::from_wkt(wkt).unwrap())
                };
                match (crs(a), crs(b)) {
                    (None, None) => {}
                    (Some(a), Some(b)) => assert_eq!(a, b, "case {index} {format}"),
                    _ => panic!("case {index} {format}: {a:?} for {b:?}"),
                }
            }
            if let Some(meaning) = case.area_or_point {
                assert_eq!(found.area_or_point, Some(meaning));
            }
            let number = |pairs: &[(String, String)], name: &str| {
                pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.parse::<f64>().unwrap())
            };
            assert_eq!(
                number(&found.rpc, "LAT_SCALE"),
                number(&case.rpc, "LAT_SCALE"),
                "case {index} {format}"
            );
            if expected != case {
                assert_eq!(found, expected, "case {index} {format}");
            }
            expected = found;
        }
    }
}

#[test]
fn without_finish_nothing_remains() {
    let folder = folder();
    for format in [Format::Cog, Format::GTiff] {
        let path = folder.path().join("a.tif");
        let spec = WriteSpec { format, ..WriteSpec::new(Size::new(600, 600), 1, DataType::U8) };
        let mut writer = RasterWriter::create(&path, spec).unwrap();
        writer.write(Window::new(0, 0, 600, 600), ramp(DataType::U8, [1, 600, 600]).view()).unwrap();
        assert!(!names(folder.path()).is_empty());
        drop(writer);
        assert!(names(folder.path()).is_empty());
    }
}

#[test]
fn stopping_the_copy_leaves_nothing() {
    let folder = folder();
    for format in [Format::Cog, Format::GTiff] {
        let path = folder.path().join("a.tif");
        let spec = WriteSpec { format, ..WriteSpec::new(Size::new(1500, 1500), 1, DataType::U8) };
        let mut writer = RasterWriter::create(&path, spec).unwrap();
        writer.write(Window::new(0, 0, 1500, 1500), ramp(DataType::U8, [1, 1500, 1500]).view()).unwrap();
        let mut calls = 0;
        let error = writer.finish_with(&mut |done| {
            assert!((0.0..=1.0).contains(&done));
            calls += 1;
            done < 0.3
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
        assert!(calls > 0);
        assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
    }
}

#[test]
fn an_existing_output_stays_unless_it_may_be_replaced() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    fs::write(&path, b"precious").unwrap();
    let spec = WriteSpec::new(Size::new(8, 8), 1, DataType::U8);
    let error = RasterWriter::create(&path, spec.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(folder.path()), ["a.tif"]);
    write(&path, WriteSpec { overwrite: true, ..spec.clone() }, &ramp(DataType::U8, [1, 8, 8]));
    assert_eq!(open(&path).size(), Size::new(8, 8));
    // One that appears meanwhile.
    let path = folder.path().join("b.tif");
    let mut writer = RasterWriter::create(&path, spec).unwrap();
    writer.write(Window::new(0, 0, 8, 8), ramp(DataType::U8, [1, 8, 8]).view()).unwrap();
    fs::write(&path, b"precious").unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(names(folder.path()), ["a.tif", "b.tif"]);
}

#[test]
fn wrong_writes_are_refused_and_do_no_harm() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    let mut writer =
        RasterWriter::create(&path, WriteSpec::new(Size::new(20, 10), 2, DataType::I16)).unwrap();
    let mut kind = |window, samples: SamplesView<'_>| writer.write(window, samples).unwrap_err().kind();
    let good = ramp(DataType::I16, [2, 5, 5]);
    assert_eq!(kind(Window::new(16, 0, 5, 5), good.view()), ErrorKind::InvalidArgument);
    assert_eq!(kind(Window::new(-1, 0, 5, 5), good.view()), ErrorKind::InvalidArgument);
    assert_eq!(kind(Window::new(0, 0, 5, 4), good.view()), ErrorKind::Mismatch);
    assert_eq!(kind(Window::new(0, 0, 5, 5), ramp(DataType::I16, [1, 5, 5]).view()), ErrorKind::Mismatch);
    assert_eq!(kind(Window::new(0, 0, 5, 5), ramp(DataType::U16, [2, 5, 5]).view()), ErrorKind::Mismatch);
    writer.write(Window::new(15, 5, 5, 5), good.view()).unwrap();
    writer.finish().unwrap();
    let read = open(&path).read(&Band::first(2), Window::new(15, 5, 5, 5), Padding::Edge).unwrap();
    assert_eq!(read, good);
}

#[test]
fn specifications_that_cannot_be_are_refused() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    let refused = |edit: fn(&mut WriteSpec)| {
        let mut spec = WriteSpec::new(Size::new(8, 8), 1, DataType::U8);
        edit(&mut spec);
        let kind = RasterWriter::create(&path, spec).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::InvalidArgument);
    };
    refused(|spec| spec.size = Size::new(0, 8));
    refused(|spec| spec.size = Size::new(8, 1 << 31));
    refused(|spec| spec.bands = 0);
    refused(|spec| spec.bands = 65_536);
    refused(|spec| spec.block = 100);
    refused(|spec| spec.block = 64);
    refused(|spec| spec.block = 0);
    refused(|spec| spec.nodata = Some(256.0));
    refused(|spec| spec.nodata = Some(0.5));
    refused(|spec| spec.nodata = Some(f64::NAN));
    refused(|spec| spec.band_names = vec!["a".into(), "b".into()]);
    refused(|spec| spec.band_names = vec!["a\0b".into()]);
    refused(|spec| (spec.bands, spec.colors) = (2, Some(vec![[0; 4]])));
    refused(|spec| spec.colors = Some(Vec::new()));
    refused(|spec| (spec.data_type, spec.categories) = (DataType::F32, Some(vec!["a".into()])));
    refused(|spec| spec.metadata = vec![("a=b".into(), "c".into())]);
    refused(|spec| spec.georeference.transform = Some([f64::NAN; 6]));
    refused(|spec| spec.georeference.crs_wkt = Some("no WKT".into()));
    assert!(names(folder.path()).is_empty());
    let spec = WriteSpec::new(Size::new(8, 8), 1, DataType::U8);
    let kind = |path: &Path| RasterWriter::create(path, spec.clone()).unwrap_err().kind();
    assert_eq!(kind(&folder.path().join("no/a.tif")), ErrorKind::NotFound);
    assert_eq!(kind(folder.path()), ErrorKind::InvalidArgument);
    assert_eq!(kind(Path::new("/vsimem/a.tif")), ErrorKind::NotFound);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    // In a process of its own, where no file may grow past a limit: writes fail as on a full disk.
    const INNER: &str = "GLEBE_TEST_FULL_DISK";
    let size = Size::new(2000, 2000);
    let mut dice = Dice(1);
    if let Ok(folder) = std::env::var(INNER) {
        let noise = Samples::U8(Array3::from_shape_simple_fn((1, 2000, 2000), || dice.roll(256) as u8));
        for (format, compression) in [
            (Format::Cog, Compression::Deflate),
            (Format::GTiff, Compression::Deflate),
            (Format::GTiff, Compression::None),
        ] {
            let path = Path::new(&folder).join("a.tif");
            let mut writer = RasterWriter::create(
                &path,
                WriteSpec { format, compression, ..WriteSpec::new(size, 1, DataType::U8) },
            )
            .unwrap();
            let written = writer.write(Window::of(size), noise.view());
            let expected = if written.is_ok() { ErrorKind::Io } else { ErrorKind::InvalidState };
            let finished = writer.finish();
            assert_eq!(finished.as_ref().unwrap_err().kind(), expected);
            let error = written.and(finished).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
            assert!(std::error::Error::source(&error).is_some(), "{error:?}");
            println!("{format}: {error:?}");
            assert!(names(Path::new(&folder)).is_empty());
        }
        // The process works on.
        let path = Path::new(&folder).join("small.tif");
        write(&path, WriteSpec::new(Size::new(8, 8), 1, DataType::U8), &ramp(DataType::U8, [1, 8, 8]));
        return;
    }
    if !cfg!(unix) {
        let _ = writeln!(std::io::stderr(), "skipped: no file size limit on this system");
        return;
    }
    let folder = folder();
    // 1024 blocks of 512 bytes (of 1024 in some shells): well below the 4 MB of noise.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --exact raster::tests::writing::a_full_disk_is_an_error_and_leaves_nothing --nocapture --test-threads=1"])
        .arg(std::env::current_exe().unwrap())
        .env(INNER, folder.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("1 passed"), "{out}");
    // Nothing of GDAL's on stderr.
    assert!(!err.contains("ERROR") && !err.contains("TIFF"), "{err}");
    assert_eq!(names(folder.path()), ["small.tif"]);
}
