//! Real rasters: each is scored, or refused with the right reason; georeferencing, size and validity are the input's.

use glebe::ErrorKind;
use glebe::geometry::{Band, Window};
use glebe::raster::{NodataRule, OpenOptions, Raster};
use glebe::segment::Segmenter;
use ndarray::Array2;
use std::io::Write as _;

use crate::fixtures::{golden_model, golden_options, labels, read_raster, shared_data};

/// Which pixels are valid, by the reader's own word on the whole raster at once.
fn validity(raster: &Raster, bands: &[Band]) -> Array2<bool> {
    let window = Window::of(raster.size());
    raster
        .read_validity(bands, window, NodataRule::All)
        .unwrap()
        .unwrap_or_else(|| Array2::from_elem((window.height, window.width), true))
}

#[test]
fn every_shared_raster_is_scored_or_refused_rightly() {
    let Some(data) = shared_data() else {
        let _ = writeln!(std::io::stderr(), "skipped: no folder ../shared/data (set GLEBE_TEST_DATA)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let model = golden_model("conv.onnx");
    let mut seen = 0;
    for entry in std::fs::read_dir(data.join("rasters")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "tif") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let output = folder.path().join(&name);
        let raster = Raster::open(&path, &OpenOptions::default()).unwrap();
        let bands = raster.color_bands();
        let result =
            Segmenter::new(&model, golden_options()).unwrap().file(&path, &output, &Default::default());
        if bands.len() != 3 {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Mismatch, "{name}: {error}");
            assert!(error.to_string().contains("expects 3 bands"), "{name}: {error}");
            assert!(!output.exists());
        } else {
            result.unwrap_or_else(|error| panic!("{name}: {error}"));
            same_place_and_validity(&raster, &bands, &output, &name);
        }
        // Any raster with three bands or more can be scored on three of them.
        if bands.len() > 3 {
            let mut options = golden_options();
            options.bands = Some(Band::first(3));
            Segmenter::new(&model, options).unwrap().file(&path, &output, &Default::default()).unwrap();
            same_place_and_validity(&raster, &Band::first(3), &output, &name);
        }
    }
    assert!(seen >= 8);
}

fn same_place_and_validity(raster: &Raster, bands: &[Band], output: &std::path::Path, name: &str) {
    let out = Raster::open(output, &OpenOptions::default()).unwrap();
    assert_eq!(out.size(), raster.size(), "{name}");
    let (a, b) = (&out.info().georeference, &raster.info().georeference);
    assert_eq!(a.transform, b.transform, "{name}");
    assert_eq!(a.crs_wkt, b.crs_wkt, "{name}");
    assert_eq!(a.gcps.len(), b.gcps.len(), "{name}");
    let expected = validity(raster, bands);
    let got = labels(&read_raster(output)).mapv(|class| class != 255);
    assert!(
        got == expected,
        "{name}: {} pixels differ",
        got.iter().zip(&expected).filter(|(a, b)| a != b).count()
    );
}

#[test]
fn a_raster_with_nothing_valid_gives_nothing_but_nodata() {
    let Some(data) = shared_data() else {
        let _ = writeln!(std::io::stderr(), "skipped: no folder ../shared/data (set GLEBE_TEST_DATA)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.tif");
    let mut options = golden_options();
    options.bands = Some(Band::first(3));
    let report = Segmenter::new(&golden_model("conv.onnx"), options)
        .unwrap()
        .file(data.join("rasters/all-nodata.tif"), &output, &Default::default())
        .unwrap();
    assert_eq!((report.batches, report.tiles_skipped), (0, report.tiles));
    assert!(labels(&read_raster(&output)).iter().all(|class| *class == 255));
}
