//! Real rasters: each is scored, or refused with the right reason; georeferencing, size and validity are the input's.

use glebe::ErrorKind;
use glebe::geometry::{Band, Size, Window};
use glebe::raster::{NodataRule, OpenOptions, Raster};
use glebe::segment::{Product, SegmentOptions, Segmenter};
use glebe::tiling::{Blend, Overlap};
use ndarray::{Array2, Array3};
use std::io::Write as _;

use crate::fixtures::{
    floats, golden_model, golden_options, identity_network, labels, model, noise, noise_image, read_raster,
    shared_data, write_raster,
};

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

/// A lane of more bytes than are read at once, in pieces whose memory is used again: nothing is out of place.
#[test]
fn wide_rasters_come_through_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.tif"), folder.path().join("out.tif"));
    let mut image: Array3<f32> = noise_image([2, 330, 9001], 3, 1.0);
    // One value beyond which all are left out, in both bands, so that every pixel says whether it is where it was.
    let mut next = noise(11);
    for row in 0..330 {
        for column in 0..9001 {
            if next() < 0.1 {
                image[[0, row, column]] = -9.0;
                image[[1, row, column]] = -9.0;
            }
        }
    }
    write_raster(&input, &image, Some(-9.0));
    let mut options = SegmentOptions::default();
    options.product = Product::Logits;
    options.blend = Blend::Crop;
    options.tile = Some(Size::new(128, 96));
    options.overlap = Overlap::Pixels(0);
    options.threads = 2;
    let report = Segmenter::new(&model(identity_network(2)), options)
        .unwrap()
        .file(&input, &output, &Default::default())
        .unwrap();
    assert_eq!((report.lanes, report.read_amplification), (1, Some(1.0)));
    let got = floats(&read_raster(&output));
    for ((at, got), expected) in got.indexed_iter().zip(&image) {
        if *expected == -9.0 {
            assert!(got.is_nan() || f64::from(*got) == report.nodata, "{at:?}: {got}");
        } else {
            assert!((got - expected).abs() <= 1e-6, "{at:?}: {got} instead of {expected}");
        }
    }
}
