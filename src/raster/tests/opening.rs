use std::fs;
use std::io::Write as _;

use super::*;
use crate::error::ErrorKind;
use crate::geometry::{Band, Padding};

fn kind(path: &Path) -> ErrorKind {
    Raster::open(path, &OpenOptions::default()).unwrap_err().kind()
}

fn sample(folder: &Path) -> PathBuf {
    let path = folder.join("sample.tif");
    geotiff(&path, Size::new(64, 48), &[(0..64 * 48).map(|i| (i % 251) as u8).collect()], &[], |_| {});
    path
}

const VRT: &str = r#"<VRTDataset rasterXSize="64" rasterYSize="48"><VRTRasterBand dataType="Byte" band="1">
<SimpleSource><SourceFilename relativeToVRT="1">sample.tif</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"#;

#[test]
fn what_is_no_raster_is_refused_by_kind() {
    let folder = folder();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    assert_eq!(kind(&folder.path().join("missing.tif")), ErrorKind::NotFound);
    assert_eq!(kind(folder.path()), ErrorKind::InvalidArgument);
    assert_eq!(kind(Path::new("/vsimem/x.tif")), ErrorKind::InvalidArgument);
    assert_eq!(kind(&file("empty.tif", b"")), ErrorKind::RasterInvalid);
    assert_eq!(
        kind(&file("text.tif", b"not a raster at all, only some text in a file")),
        ErrorKind::RasterInvalid
    );
    assert_eq!(kind(&file("random.tif", &[0xA7; 4096])), ErrorKind::RasterInvalid);
    assert_eq!(kind(&file("magic.tif", b"II*\0\x08\0\0\0")), ErrorKind::RasterInvalid);
    assert_eq!(
        kind(&file("grid.asc", b"ncols 2\nnrows 1\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n")),
        ErrorKind::RasterInvalid
    );
    let error = Raster::open(file("text.tif", b"text"), &OpenOptions::default()).unwrap_err();
    assert!(error.one_line().contains("not recognized"), "{error:?}");
    assert_eq!(error.path().unwrap(), folder.path().join("text.tif"));
}

#[test]
fn a_vrt_is_refused_whatever_it_is_called_and_read_where_allowed() {
    let folder = folder();
    sample(folder.path());
    for name in ["mosaic.vrt", "disguised.tif"] {
        let path = folder.path().join(name);
        fs::write(&path, VRT).unwrap();
        assert_eq!(kind(&path), ErrorKind::RasterUnsupported);
        let raster = Raster::open(&path, &OpenOptions::default().with_driver("VRT")).unwrap();
        assert_eq!(raster.info().driver, "VRT");
        let direct = open(folder.path().join("sample.tif"));
        let window = Window::new(3, 4, 10, 10);
        assert_eq!(
            raster.read(&Band::first(1), window, Padding::Edge).unwrap(),
            direct.read(&Band::first(1), window, Padding::Edge).unwrap()
        );
    }
}

#[test]
fn limits_come_before_pixels() {
    let folder = folder();
    let path = sample(folder.path());
    let limited = |edit: fn(&mut OpenOptions)| {
        let mut options = OpenOptions::default();
        edit(&mut options);
        Raster::open(&path, &options).map(drop).map_err(|error| error.kind())
    };
    assert_eq!(limited(|o| o.max_block_bytes = 100), Err(ErrorKind::LimitExceeded));
    assert_eq!(limited(|o| o.max_bands = 0), Err(ErrorKind::LimitExceeded));
    assert_eq!(limited(|o| o.drivers = vec!["no such driver".into()]), Err(ErrorKind::NotSupported));
    assert_eq!(limited(|o| o.drivers = vec!["PNG".into()]), Err(ErrorKind::RasterInvalid));

    // A small file of huge tiles: sparse, so that it takes no room on the disk.
    let path = folder.path().join("tiles.tif");
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let options = RasterCreationOptions::from_iter([
        "TILED=YES",
        "BLOCKXSIZE=32768",
        "BLOCKYSIZE=32768",
        "SPARSE_OK=TRUE",
        "COMPRESS=DEFLATE",
    ]);
    driver.create_with_band_type_with_options::<u16, _>(&path, 1, 1, 1, &options).unwrap().close().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 4096);
    let error = Raster::open(&path, &OpenOptions::default()).unwrap_err();
    assert_eq!((error.kind(), error.band()), (ErrorKind::LimitExceeded, Some(1)));
}

#[test]
fn sample_types_that_cannot_be_read_are_refused() {
    let folder = folder();
    let path = folder.path().join("signed.tif");
    geotiff(&path, Size::new(4, 4), &[vec![200u8; 16]], &["PIXELTYPE=SIGNEDBYTE"], |_| {});
    assert_eq!(kind(&path), ErrorKind::RasterUnsupported);

    let path = folder.path().join("complex.vrt");
    fs::write(&path, VRT.replace("\"Byte\"", "\"CFloat32\"")).unwrap();
    let error = Raster::open(&path, &OpenOptions::default().with_driver("VRT")).unwrap_err();
    assert_eq!((error.kind(), error.band()), (ErrorKind::RasterUnsupported, Some(1)));
    assert!(error.message().contains("CFloat32"));
}

#[test]
fn side_files_of_other_kinds_are_not_read() {
    let folder = folder();
    let path = sample(folder.path());
    let before = open(&path);
    // PAM would give a nodata value and a CRS, the mask would read another raster, the overview would count.
    fs::write(
        path.with_extension("tif.aux.xml"),
        "<PAMDataset><PAMRasterBand band=\"1\"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>",
    )
    .unwrap();
    fs::write(path.with_extension("tif.msk"), VRT).unwrap();
    fs::write(path.with_extension("tif.ovr"), VRT).unwrap();
    let after = open(&path);
    assert_eq!(after.info(), before.info());
    assert_eq!(after.info().bands[0].mask, Mask::AllValid);
    assert_eq!(after.read_validity(&Band::first(1), Window::new(0, 0, 4, 4), NodataRule::All).unwrap(), None);
    // The same file shows all of them to plain GDAL: the test can fail.
    let plain = Dataset::open(&path).unwrap();
    assert_eq!(plain.rasterband(1).unwrap().no_data_value(), Some(7.0));
}

#[test]
fn a_world_file_gives_a_png_its_place() {
    let folder = folder();
    let tiff = sample(folder.path());
    let path = folder.path().join("picture.png");
    let driver = DriverManager::get_driver_by_name("PNG").unwrap();
    Dataset::open(&tiff).unwrap().create_copy(&driver, &path, &RasterCreationOptions::new()).unwrap();
    assert_eq!(open(&path).info().georeference.transform, None);
    fs::write(path.with_extension("pgw"), "2\n0\n0\n-2\n101\n199\n").unwrap();
    assert_eq!(open(&path).info().georeference.transform, Some([100.0, 2.0, 0.0, 200.0, 0.0, -2.0]));
}

#[test]
fn pictures_of_all_allowed_formats_are_read() {
    let folder = folder();
    let tiff = sample(folder.path());
    let window = Window::new(-2, 5, 30, 20);
    let expected = open(&tiff).read(&Band::first(1), window, Padding::Reflect).unwrap();
    for (name, options) in [
        ("PNG", vec![]),
        ("JPEG", vec!["QUALITY=95"]),
        ("JP2OpenJPEG", vec!["QUALITY=100", "REVERSIBLE=YES"]),
    ] {
        let Ok(driver) = DriverManager::get_driver_by_name(name) else {
            let _ = writeln!(std::io::stderr(), "skipped: this GDAL has no {name} driver");
            continue;
        };
        let path = folder.path().join(name);
        let options = RasterCreationOptions::from_iter(options);
        Dataset::open(&tiff).unwrap().create_copy(&driver, &path, &options).unwrap().close().unwrap();
        let raster = open(&path);
        assert_eq!((raster.info().driver.as_str(), raster.size()), (name, Size::new(64, 48)));
        let read = raster.read(&Band::first(1), window, Padding::Reflect).unwrap();
        if name == "JPEG" {
            let difference = (read.to_f64() - expected.to_f64()).mapv(f64::abs).mean().unwrap();
            assert!(difference < 8.0, "{difference}");
        } else {
            assert_eq!(read, expected, "{name}");
        }
    }
}

#[test]
fn a_truncated_file_fails_with_gdals_words() {
    let folder = folder();
    let path = folder.path().join("whole.tif");
    let mut dice = Dice(5);
    let noise = (0..256 * 256).map(|_| dice.roll(256) as u8).collect();
    geotiff(
        &path,
        Size::new(256, 256),
        &[noise],
        &["TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64", "COMPRESS=DEFLATE"],
        |_| {},
    );
    let bytes = fs::read(&path).unwrap();
    let whole = Window::new(0, 0, 256, 256);
    let mut failed_at_read = 0;
    for share in 1..10 {
        let cut = folder.path().join(format!("cut{share}.tif"));
        fs::write(&cut, &bytes[..bytes.len() * share / 10]).unwrap();
        let error = match Raster::open(&cut, &OpenOptions::default()) {
            Err(error) => error,
            Ok(raster) => {
                failed_at_read += 1;
                raster.read(&Band::first(1), whole, Padding::Edge).unwrap_err()
            }
        };
        assert_eq!(error.kind(), ErrorKind::RasterInvalid, "{error:?}");
        assert!(
            std::error::Error::source(&error).is_some_and(|cause| cause.to_string().len() > 20),
            "{error:?}"
        );
    }
    // The header of this file is at its start, so some cuts open.
    assert!(failed_at_read > 0);
}

#[test]
fn reopening_gives_another_thread_its_own() {
    let folder = folder();
    let path = sample(folder.path());
    let raster = open(&path);
    let window = Window::new(-3, -3, 70, 60);
    let expected = raster.read(&Band::first(1), window, Padding::Reflect).unwrap();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            let own = raster.reopen().unwrap();
            let expected = &expected;
            threads.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(&own.read(&Band::first(1), window, Padding::Reflect).unwrap(), expected);
                }
            });
        }
    });
    fs::remove_file(&path).unwrap();
    geotiff(&path, Size::new(3, 3), &[vec![1u8; 9]], &[], |_| {});
    assert_eq!(raster.reopen().unwrap_err().kind(), ErrorKind::RasterInvalid);
    fs::remove_file(&path).unwrap();
    assert_eq!(raster.reopen().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn info_is_json() {
    let folder = folder();
    let path = folder.path().join("a.tif");
    geotiff(&path, Size::new(5, 4), &[vec![1.0f32; 20]], &[], |dataset| {
        dataset.rasterband(1).unwrap().set_no_data_value(Some(f64::NAN)).unwrap();
    });
    let json = serde_json::to_value(open(&path).info()).unwrap();
    assert_eq!(json["size"], serde_json::json!({"width": 5, "height": 4}));
    assert_eq!(json["bands"][0]["data_type"], "float32");
    assert_eq!(json["bands"][0]["nodata"], "nan");
    assert_eq!(json["bands"][0]["mask"], "nodata");
    assert_eq!(json["georeference"]["crs_wkt"], serde_json::Value::Null);
}

#[test]
fn rasters_cross_threads() {
    fn sends<T: Send>() {}
    sends::<Raster>();
    sends::<RasterWriter>();
}
