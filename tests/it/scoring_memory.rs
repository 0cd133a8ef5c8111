//! Limits of a job's memory: what is told to be enough is.

use glebe::geometry::Size;
use glebe::model::Model;
use glebe::segment::{FileOptions, Report, SegmentOptions, Segmenter};
use glebe::tiling::{Blend, Overlap};
use glebe::{ErrorKind, Result};

use crate::fixtures::{golden_model, golden_options, model, noise_image, write_raster};
use crate::reach_networks::local;

/// The number of MiB in "expected a limit of at least 12 MiB".
fn told(line: &str) -> u64 {
    let (_, rest) = line.split_once("a limit of at least ").unwrap_or_else(|| panic!("{line}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// Limits from 1 MiB up: all below what the first refusal tells are refused with the same number, all others do.
fn limits_hold(model: &Model, bands: usize, change: impl Fn(&mut SegmentOptions), size: Size) -> Vec<Report> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.tif"), folder.path().join("out.tif"));
    write_raster(&input, &noise_image::<u8>([bands, size.height, size.width], 5, 255.0), None);
    let run = |memory: u64| -> Result<Report> {
        let mut options = golden_options();
        change(&mut options);
        options.memory = Some(memory << 20);
        let mut files = FileOptions::default();
        files.overwrite = true;
        Segmenter::new(model, options).unwrap().file(&input, &output, &files)
    };
    let refused = |memory: u64| {
        let error = run(memory).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
        told(&error.one_line())
    };
    let least = refused(1);
    assert!(least > 2, "{least}");
    assert_eq!(refused(least / 2), least);
    assert_eq!(refused(least - 1), least);
    let mut reports = Vec::new();
    for memory in [least, least + 1, least + 3, 2 * least, 8 * least, 64 * least] {
        let report = run(memory).unwrap_or_else(|error| panic!("{memory} of {least} MiB: {error}"));
        assert!(report.memory_predicted_mib <= memory as f64, "{memory}");
        reports.push(report);
    }
    reports
}

#[test]
fn blended() {
    let reports = limits_hold(
        &golden_model("conv.onnx"),
        3,
        |options| {
            options.tile = Some(Size::new(128, 128));
            options.overlap = Overlap::Pixels(32);
            options.blend = Blend::Gaussian;
        },
        Size::new(4100, 130),
    );
    // The sums of a wide raster are gone through in lanes.
    assert!(reports[0].lanes > reports[5].lanes, "{} and {}", reports[0].lanes, reports[5].lanes);
}

#[test]
fn cropped_in_batches() {
    limits_hold(
        &golden_model("conv.onnx"),
        3,
        |options| {
            options.tile = Some(Size::new(256, 128));
            options.overlap = Overlap::Pixels(16);
            options.batch = Some(3);
            options.blend = Blend::Crop;
        },
        Size::new(600, 300),
    );
}

#[test]
fn exact_with_tiles_of_any_size() {
    let mut networks = local().into_iter();
    let (_, network) = networks.find(|(name, _)| *name == "u-net, nearest").unwrap();
    let reports = limits_hold(
        &model(network),
        2,
        |options| {
            options.tile = None;
            options.overlap = Overlap::Pixels(0);
            options.blend = Blend::Exact;
        },
        // One tile computes a good deal less than four.
        Size::new(300, 300),
    );
    // A larger tile where there is room for it.
    assert!(reports[0].tile < reports[5].tile, "{} and {}", reports[0].tile, reports[5].tile);
}
