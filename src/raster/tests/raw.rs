use std::fs;
use std::process::Command;

use super::*;
use crate::error::ErrorKind;
use crate::geometry::{Band, Padding};

/// Samples in the order of the file: row by row, within a row band by band.
fn by_line(samples: &Samples) -> Vec<u8> {
    use crate::tensor::with_samples;
    with_samples!(Samples, samples, block => {
        let (bands, height, width) = block.dim();
        let mut bytes = Vec::new();
        for y in 0..height {
            for band in 0..bands {
                for x in 0..width {
                    bytes.extend_from_slice(&block[[band, y, x]].to_ne_bytes());
                }
            }
        }
        bytes
    })
}

fn make(folder: &Path, name: &str, spec: &WriteSpec, samples: &Samples) -> PathBuf {
    let raw = folder.join("samples.raw");
    fs::write(&raw, by_line(samples)).unwrap();
    let path = folder.join(name);
    encode(&raw, spec, &path, &mut |_| true).unwrap();
    fs::remove_file(raw).unwrap();
    path
}

/// Everything that a file says about itself and that does not depend on its name, and its overviews.
fn facts(path: &Path) -> (String, Vec<Vec<f64>>) {
    let raster = open(path);
    let info = RasterInfo { path: PathBuf::new(), ..raster.info().clone() };
    let mut text = format!("{info:#?}");
    let dataset = Dataset::open(path).unwrap();
    let mut pixels = Vec::new();
    let mut domains = |object: &dyn Fn(&str) -> Option<Vec<String>>| {
        for domain in ["", "IMAGE_STRUCTURE", "RPC", "GEOLOCATION", "xml:GDAL_METADATA"] {
            text.push_str(&format!("{domain}: {:?}\n", object(domain)));
        }
    };
    domains(&|domain| dataset.metadata_domain(domain));
    for number in 1..=dataset.raster_count() {
        let band = dataset.rasterband(number).unwrap();
        domains(&|domain| band.metadata_domain(domain));
        for level in 0..band.overview_count().unwrap() {
            let overview = band.overview(usize::try_from(level).unwrap()).unwrap();
            pixels.push(
                overview.read_band_as::<f64>().unwrap().data().iter().map(|v| v.to_bits() as f64).collect(),
            );
        }
    }
    (text, pixels)
}

/// What `gdalinfo` says, but for names; `None` where there is no such program.
fn gdalinfo(path: &Path) -> Option<String> {
    let output = Command::new("gdalinfo").args(["-json", "-mdd", "all"]).arg(path).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    Some(text.replace(path.to_str().unwrap(), "NAME"))
}

/// The raster that the writer makes of the same samples has the same pixels and says the same.
fn assert_same(folder: &Path, spec: &WriteSpec, samples: &Samples) {
    let case =
        format!("{} {} {} {} {}", spec.size, spec.data_type, spec.format, spec.compression, spec.block);
    let made = make(folder, "made.tif", spec, samples);
    let written = folder.join("written.tif");
    write(&written, WriteSpec { overwrite: true, ..spec.clone() }, samples);
    let read = |path: &Path| {
        let raster = open(path);
        by_line(&raster.read(&Band::first(spec.bands), Window::of(spec.size), Padding::Edge).unwrap())
    };
    assert!(read(&made) == by_line(samples), "{case}: other pixels");
    let ((made_text, made_overviews), (text, overviews)) = (facts(&made), facts(&written));
    assert_eq!(made_text, text, "{case}");
    assert!(made_overviews == overviews, "{case}: other overviews");
    // A program each time: not for every compression.
    if spec.compression == Compression::Deflate {
        assert_eq!(gdalinfo(&made), gdalinfo(&written), "{case}");
    }
    assert_eq!(names(folder), ["made.tif", "written.tif"], "{case}");
}

fn class_map(size: Size) -> WriteSpec {
    WriteSpec {
        nodata: Some(255.0),
        colors: Some(vec![[0, 0, 0, 255], [255, 0, 0, 255], [10, 20, 30, 255]]),
        categories: Some(vec!["nothing".into(), "house".into(), "tree & bush".into()]),
        band_names: vec!["classes".into()],
        metadata: vec![
            ("GLEBE_MODEL".into(), "a=b; <c>".into()),
            ("TIFFTAG_SOFTWARE".into(), "glebe".into()),
        ],
        georeference: utm(),
        ..WriteSpec::new(size, 1, DataType::U8)
    }
}

fn utm() -> Georeference {
    Georeference {
        transform: Some([500_000.0, 0.3, 0.0, 5_000_000.0, 0.0, -0.3]),
        crs_wkt: Some(gdal::spatial_ref::SpatialRef::from_epsg(32633).unwrap().to_wkt().unwrap()),
        area_or_point: Some(AreaOrPoint::Point),
        ..Georeference::default()
    }
}

/// Noise with NaN of several kinds, negative zero and infinity in it.
fn scores(bands: usize, size: Size) -> Samples {
    let mut dice = Dice(7);
    Samples::F32(Array3::from_shape_simple_fn((bands, size.height, size.width), || match dice.roll(9) {
        0 => f32::NAN,
        1 => f32::from_bits(0x7fc0_1234),
        2 => -0.0,
        3 => f32::INFINITY,
        _ => dice.roll(1 << 20) as f32 / 3.0,
    }))
}

#[test]
fn it_is_what_the_writer_makes() {
    let folder = folder();
    let mut dice = Dice(3);
    for (size, block) in [
        (Size::new(1, 1), 128),
        (Size::new(7, 3), 256),
        (Size::new(700, 515), 128),
        (Size::new(700, 515), 256),
        (Size::new(700, 515), 512),
    ] {
        for format in [Format::Cog, Format::GTiff] {
            for compression in [Compression::Deflate, Compression::Lzw, Compression::Zstd, Compression::None]
            {
                let set = |spec| WriteSpec { format, compression, block, ..spec };
                let classes = Samples::U8(Array3::from_shape_simple_fn((1, size.height, size.width), || {
                    dice.roll(3) as u8
                }));
                assert_same(folder.path(), &set(class_map(size)), &classes);
                let five = WriteSpec {
                    nodata: Some(f64::NAN),
                    band_names: ["a", "b", "c", "d", "e"].map(str::to_owned).into(),
                    overview_resampling: OverviewResampling::Average,
                    georeference: utm(),
                    threads: 2,
                    ..WriteSpec::new(size, 5, DataType::F32)
                };
                assert_same(folder.path(), &set(five), &scores(5, size));
                let [bands, height, width] = [2, size.height, size.width];
                let counts = Samples::U16(Array3::from_shape_simple_fn((bands, height, width), || {
                    dice.roll(1 << 16) as u16
                }));
                assert_same(
                    folder.path(),
                    &set(WriteSpec { nodata: Some(0.0), ..WriteSpec::new(size, 2, DataType::U16) }),
                    &counts,
                );
            }
        }
    }
}

#[test]
fn three_and_four_bands_of_bytes_are_no_picture() {
    let folder = folder();
    for format in [Format::Cog, Format::GTiff] {
        for bands in [2, 3, 4] {
            let spec =
                WriteSpec { format, block: 128, ..WriteSpec::new(Size::new(200, 150), bands, DataType::U8) };
            assert_same(folder.path(), &spec, &ramp(DataType::U8, [bands, 150, 200]));
        }
    }
}

#[test]
fn every_type_is_taken() {
    let folder = folder();
    for data_type in
        [DataType::I16, DataType::U32, DataType::I32, DataType::U64, DataType::I64, DataType::F64]
    {
        for format in [Format::Cog, Format::GTiff] {
            let spec =
                WriteSpec { format, nodata: Some(7.0), ..WriteSpec::new(Size::new(90, 40), 2, data_type) };
            assert_same(folder.path(), &spec, &ramp(data_type, [2, 40, 90]));
        }
    }
}

#[test]
fn all_kinds_of_georeferencing_are_carried() {
    let folder = folder();
    let geographic = gdal::spatial_ref::SpatialRef::from_epsg(4326).unwrap().to_wkt().unwrap();
    let rpc = rpc();
    let cases = [
        Georeference::default(),
        Georeference { crs_wkt: utm().crs_wkt, ..Georeference::default() },
        Georeference { area_or_point: Some(AreaOrPoint::Area), ..utm() },
        Georeference {
            transform: Some([10.0, 0.1, 0.02, 50.0, 0.01, -0.1]),
            crs_wkt: Some(geographic.clone()),
            ..Georeference::default()
        },
        Georeference {
            gcps: vec![gcp("1", 0.0, 0.0), gcp("2", 9.5, 0.0), gcp("3", 0.0, 9.25)],
            gcp_crs_wkt: Some(geographic),
            ..Georeference::default()
        },
        Georeference { rpc, ..Georeference::default() },
    ];
    for georeference in cases {
        for format in [Format::Cog, Format::GTiff] {
            let spec = WriteSpec {
                format,
                georeference: georeference.clone(),
                ..WriteSpec::new(Size::new(10, 10), 1, DataType::U8)
            };
            assert_same(folder.path(), &spec, &ramp(DataType::U8, [1, 10, 10]));
        }
    }
}

#[test]
fn the_bytes_depend_on_samples_and_specification_alone() {
    let folder = folder();
    // Of small blocks there are so many that GDAL keeps them in another order.
    for (format, block, size) in [
        (Format::Cog, 256, Size::new(1600, 1100)),
        (Format::GTiff, 256, Size::new(1600, 1100)),
        (Format::GTiff, 16, Size::new(1300, 500)),
    ] {
        let samples = scores(2, size);
        let mut files = Vec::new();
        for (threads, cache) in [(1, 1 << 30), (2, 1 << 30), (1, 1 << 20), (3, 3 << 20)] {
            let _limit = CacheLimit::new(cache);
            let spec = WriteSpec { format, threads, block, ..WriteSpec::new(size, 2, DataType::F32) };
            files.push(fs::read(make(folder.path(), "a.tif", &spec, &samples)).unwrap());
        }
        assert!(
            files.iter().all(|file| *file == files[0]),
            "{format} {block}: threads or cache change the bytes"
        );
    }
}

#[test]
fn what_was_there_is_replaced() {
    let folder = folder();
    let spec =
        |format| WriteSpec { format, block: 128, ..WriteSpec::new(Size::new(300, 200), 1, DataType::U8) };
    let samples = ramp(DataType::U8, [1, 200, 300]);
    for format in [Format::Cog, Format::GTiff] {
        let clean = fs::read(make(folder.path(), "clean.tif", &spec(format), &samples)).unwrap();
        let path = folder.path().join("a.tif");
        // Left by a process that was killed, at any point: rubbish, or a raster with side files.
        fs::write(&path, vec![1; 1 << 20]).unwrap();
        fs::write(folder.path().join("a.tif.ovr.tmp"), b"rubbish").unwrap();
        assert!(fs::read(make(folder.path(), "a.tif", &spec(format), &samples)).unwrap() == clean);
        fs::copy(&path, folder.path().join("a.tif.ovr.tmp")).unwrap();
        assert!(fs::read(make(folder.path(), "a.tif", &spec(format), &samples)).unwrap() == clean);
        assert_eq!(names(folder.path()), ["a.tif", "clean.tif"]);
    }
}

#[test]
fn stopping_is_possible_while_writing_and_while_reading_back() {
    let folder = folder();
    let size = Size::new(1500, 1500);
    let raw = folder.path().join("a.raw");
    fs::write(&raw, by_line(&ramp(DataType::U8, [1, 1500, 1500]))).unwrap();
    for format in [Format::Cog, Format::GTiff] {
        let spec = WriteSpec { format, block: 128, threads: 2, ..WriteSpec::new(size, 1, DataType::U8) };
        for limit in [0.0, 0.3, 0.89, 0.92, 1.0] {
            let mut last = 0.0;
            let result = encode(&raw, &spec, &folder.path().join("a.tif"), &mut |done| {
                assert!((last..=1.0).contains(&done), "{done} after {last}");
                last = done;
                done < limit
            });
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
            // GDAL takes the part away, or not.
            let _ = fs::remove_file(folder.path().join("a.tif"));
            assert_eq!(names(folder.path()), ["a.raw"]);
        }
        encode(&raw, &spec, &folder.path().join("a.tif"), &mut |_| true).unwrap();
    }
}

#[test]
fn samples_that_cannot_be_are_refused_before_anything_is_written() {
    let folder = folder();
    let (raw, output) = (folder.path().join("a.raw"), folder.path().join("a.tif"));
    let spec = WriteSpec::new(Size::new(8, 4), 3, DataType::U16);
    assert_eq!(spec.raw_bytes(), Some(8 * 4 * 3 * 2));
    let kind = |spec: &WriteSpec, raw: &Path, output: &Path| {
        encode(raw, spec, output, &mut |_| true).unwrap_err().kind()
    };
    assert_eq!(kind(&spec, &raw, &output), ErrorKind::Io);
    for length in [0, 191, 193, 384] {
        fs::write(&raw, vec![1; length]).unwrap();
        assert_eq!(kind(&spec, &raw, &output), ErrorKind::Io, "{length}");
    }
    assert_eq!(kind(&spec, Path::new("/vsimem/a.raw"), &output), ErrorKind::InvalidArgument);
    fs::write(&raw, vec![1; 192]).unwrap();
    assert_eq!(kind(&spec, &raw, &raw), ErrorKind::InvalidArgument);
    assert_eq!(kind(&WriteSpec { block: 100, ..spec.clone() }, &raw, &output), ErrorKind::InvalidArgument);
    let georeference = Georeference { crs_wkt: Some("no WKT".into()), ..Georeference::default() };
    let broken = WriteSpec { georeference, ..spec.clone() };
    assert_eq!(kind(&broken, &raw, &output), ErrorKind::InvalidArgument);
    assert_eq!(check_encode(&broken, &output).unwrap_err().kind(), ErrorKind::InvalidArgument);
    check_encode(&spec, Path::new("a.tif")).unwrap();
    assert_eq!(names(folder.path()), ["a.raw"]);
    assert_eq!(fs::read(&raw).unwrap(), vec![1; 192]);
    assert_eq!(kind(&spec, &raw, &folder.path().join("no/a.tif")), ErrorKind::NotFound);
}

#[test]
fn an_output_with_another_sample_does_not_pass() {
    let folder = folder();
    for (format, block) in [(Format::Cog, 128), (Format::GTiff, 128), (Format::GTiff, 4096)] {
        let size = Size::new(1000, 700);
        let spec = WriteSpec { format, block, threads: 2, ..WriteSpec::new(size, 3, DataType::F64) };
        let samples = ramp(DataType::F64, [3, 700, 1000]);
        let path = make(folder.path(), "a.tif", &spec, &samples);
        let raw = folder.path().join("other.raw");
        let good = by_line(&samples);
        let compare = |bytes: &[u8]| {
            fs::write(&raw, bytes).unwrap();
            super::super::compare::with_samples(&path, &path, &raw, &spec, &mut |_| true)
        };
        compare(&good).unwrap();
        let mut dice = Dice(1);
        for _ in 0..6 {
            let at = dice.roll(good.len() as u64) as usize;
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let error = compare(&bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            let sample = at / 8;
            let [x, band, y] = [sample % 1000, sample / 1000 % 3 + 1, sample / 3000];
            let text = error.one_line();
            assert!(text.contains("does not read back as written"), "{text}");
            assert!(
                text.contains(&format!("column {x}, row {y} ")) && text.contains(&format!("band {band}")),
                "{text}"
            );
        }
        let mut damaged = fs::read(&path).unwrap();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 200].fill(0x55);
        fs::write(&path, damaged).unwrap();
        assert_eq!(compare(&good).unwrap_err().kind(), ErrorKind::Io);
        fs::remove_file(&raw).unwrap();
        // A raster of another shape.
        let error = super::super::compare::with_samples(
            &path,
            &path,
            &raw,
            &WriteSpec { bands: 2, ..spec.clone() },
            &mut |_| true,
        );
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Io);
    }
}

#[test]
fn levels_change_the_length_and_nothing_else() {
    let folder = folder();
    let size = Size::new(500, 400);
    let mut dice = Dice(5);
    let samples = Samples::U8(Array3::from_shape_simple_fn((1, 400, 500), || dice.roll(5) as u8));
    for format in [Format::Cog, Format::GTiff] {
        for (compression, default, highest) in [(Compression::Deflate, 3, 9), (Compression::Zstd, 3, 19)] {
            let length = |level| {
                let spec = WriteSpec { format, compression, level, ..WriteSpec::new(size, 1, DataType::U8) };
                assert_same(folder.path(), &spec, &samples);
                fs::metadata(folder.path().join("made.tif")).unwrap().len()
            };
            assert!(length(Some(highest)) < length(Some(1)), "{format} {compression}");
            assert_eq!(length(None), length(Some(default)), "{format} {compression}");
        }
    }
    let refused = |compression, level| {
        let spec = WriteSpec { compression, level: Some(level), ..WriteSpec::new(size, 1, DataType::U8) };
        check_encode(&spec, Path::new("a.tif")).unwrap_err().kind()
    };
    for (compression, level) in [
        (Compression::Deflate, 0),
        (Compression::Deflate, 10),
        (Compression::Zstd, 0),
        (Compression::Zstd, 23),
        (Compression::Lzw, 1),
        (Compression::None, 1),
    ] {
        assert_eq!(refused(compression, level), ErrorKind::InvalidArgument, "{compression} {level}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    // In a process of its own, where no file may grow past a limit: writes fail as on a full disk.
    const INNER: &str = "GLEBE_TEST_FULL_DISK_ENCODE";
    let size = Size::new(2000, 2000);
    if let Ok(folder) = std::env::var(INNER) {
        let folder = Path::new(&folder);
        for (format, compression, threads) in [
            (Format::Cog, Compression::Deflate, 1),
            (Format::Cog, Compression::None, 2),
            (Format::GTiff, Compression::Deflate, 2),
            (Format::GTiff, Compression::None, 1),
        ] {
            let spec = WriteSpec { format, compression, threads, ..WriteSpec::new(size, 1, DataType::U8) };
            let path = folder.join("a.tif");
            let error = encode(&folder.join("a.raw"), &spec, &path, &mut |_| true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
            let _ = fs::remove_file(path);
            assert_eq!(names(folder), ["a.raw"]);
        }
        return;
    }
    if !cfg!(unix) {
        return;
    }
    let folder = folder();
    let mut dice = Dice(1);
    let noise: Vec<u8> = (0..2000 * 2000).map(|_| dice.roll(256) as u8).collect();
    fs::write(folder.path().join("a.raw"), noise).unwrap();
    let test = "raster::tests::raw::a_full_disk_is_an_error";
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --exact \"$1\" --nocapture --test-threads=1"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INNER, folder.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
}
