//! Jobs whose model runs in another form: with the work around it in its graph, in half precision, several batches at a time.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use glebe::geometry::Size;
use glebe::model::Model;
use glebe::onnx::{Dim, ElementType, GraphBuilder};
use glebe::segment::{Activation, FileOptions, Precision, Product, Report, SegmentOptions, Segmenter};
use glebe::tensor::{DataType, Sample, Samples};
use glebe::tiling::{Blend, Overlap};
use glebe::{ErrorKind, Result};
use ndarray::Array3;

use crate::fixtures::{
    golden_model, golden_options, identity_network, labels, model, noise_image, read_raster, write_raster,
};

fn options(blend: Blend) -> SegmentOptions {
    let mut options = golden_options();
    options.tile = Some(Size::new(48, 32));
    options.overlap = Overlap::Pixels(if blend == Blend::Exact { 0 } else { 8 });
    options.blend = blend;
    options
}

/// A raster with a part without data.
fn with_holes<T: Sample>(path: &Path, top: f64) {
    let mut image = noise_image::<T>([3, 170, 133], 7, top);
    image.slice_mut(ndarray::s![.., 60..120, 20..90]).fill(T::from_f64(0.0));
    write_raster(path, &image, Some(0.0));
}

fn score(model: &Model, options: &SegmentOptions, folder: &Path, name: &str) -> Result<(Vec<u8>, Report)> {
    let output = folder.join(name);
    let mut files = FileOptions::default();
    files.overwrite = true;
    let report = Segmenter::new(model, options.clone())?.file(folder.join("in.tif"), &output, &files)?;
    Ok((fs::read(output).unwrap(), report))
}

#[test]
fn fused_jobs_give_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let network = golden_model("conv.onnx");
    for name in ["uint8", "uint16", "int16"] {
        let path = folder.path().join("in.tif");
        let _ = fs::remove_file(&path);
        match name {
            "uint8" => with_holes::<u8>(&path, 255.0),
            "uint16" => with_holes::<u16>(&path, 65_535.0),
            _ => with_holes::<i16>(&path, 255.0),
        }
        for (blend, product, batch, data_type, fused) in [
            (Blend::Crop, Product::Classes, 1, None, "samples and classes"),
            (Blend::Exact, Product::Classes, 3, None, "samples and classes"),
            (Blend::Crop, Product::Classes, 4, Some(DataType::U16), "samples and classes"),
            (Blend::Gaussian, Product::Classes, 2, None, "samples"),
            (Blend::Crop, Product::Probabilities, 1, Some(DataType::U8), "samples"),
            (Blend::Exact, Product::Logits, 1, None, "samples"),
        ] {
            let mut options = options(blend);
            (options.product, options.data_type, options.batch) = (product, data_type, Some(batch));
            options.fuse = Some(false);
            let (plain, report) = score(&network, &options, folder.path(), "plain.tif").unwrap();
            assert_eq!(report.fused, "nothing");
            assert!(
                report.nodata_pixels.is_none_or(|pixels| pixels == 60 * 70),
                "{:?}",
                report.nodata_pixels
            );
            options.fuse = Some(true);
            let (own, report) = score(&network, &options, folder.path(), "fused.tif").unwrap();
            assert_eq!(report.fused, fused, "{name} {blend} {product}");
            assert!(own == plain, "{name} {blend} {product}");
        }
    }
}

#[test]
fn one_channel_is_decided_by_the_threshold_in_the_graph_too() {
    let folder = tempfile::tempdir().unwrap();
    write_raster(
        &folder.path().join("in.tif"),
        &Array3::from_shape_fn((1, 40, 50), |(_, y, x)| (y * 5 + x) as u8),
        None,
    );
    let network = model(identity_network(1));
    for activation in [Activation::Sigmoid, Activation::None] {
        let mut options = options(Blend::Crop);
        (options.scale, options.mean, options.std) = (Some(vec![100.0]), Some(vec![1.0]), Some(vec![1.0]));
        (options.activation, options.threshold, options.fuse) = (activation, 0.3, Some(false));
        let (plain, report) = score(&network, &options, folder.path(), "plain.tif").unwrap();
        let classes = report.class_pixels.unwrap();
        assert!(classes.iter().all(|pixels| *pixels > 20), "{classes:?}");
        options.fuse = Some(true);
        assert!(score(&network, &options, folder.path(), "fused.tif").unwrap().0 == plain, "{activation}");
    }
}

#[test]
fn what_cannot_be_fused_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let network = golden_model("conv.onnx");
    write_raster(&folder.path().join("in.tif"), &noise_image::<f32>([3, 40, 40], 1, 1.0), None);
    let mut options = options(Blend::Crop);
    options.fuse = Some(true);
    let error = score(&network, &options, folder.path(), "out.tif").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelUnsupported);
    assert!(error.one_line().contains("samples of float32: expected uint8, uint16 or int16"), "{error}");
    assert!(!folder.path().join("out.tif").exists() && !folder.path().join("out.tif.part").exists());
    // Nobody has asked for it: nothing is fused.
    options.fuse = None;
    assert_eq!(score(&network, &options, folder.path(), "out.tif").unwrap().1.fused, "nothing");
}

#[test]
fn several_batches_at_a_time_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    with_holes::<u8>(&folder.path().join("in.tif"), 255.0);
    let network = golden_model("conv.onnx");
    for (blend, product) in [(Blend::Hann, Product::Logits), (Blend::Crop, Product::Classes)] {
        for batch in [1, 3] {
            let mut options = options(blend);
            (options.product, options.batch, options.in_flight) = (product, Some(batch), Some(1));
            let (plain, one) = score(&network, &options, folder.path(), "one.tif").unwrap();
            for number in [2, 5, 16] {
                options.in_flight = Some(number);
                let (own, report) = score(&network, &options, folder.path(), "more.tif").unwrap();
                assert!(own == plain, "{blend}, batches of {batch}, {number} at a time");
                assert_eq!((report.in_flight, report.batches), (number, one.batches));
                the_report_fits_together(&report);
            }
        }
    }
}

fn the_report_fits_together(report: &Report) {
    let busy = report.busy;
    let shares = [
        ("reading", busy.reading),
        ("model", busy.model),
        ("placing", busy.placing),
        ("writing", busy.writing),
    ];
    assert!(shares.iter().all(|(_, share)| (0.0..=1.0).contains(share)), "{shares:?}");
    let busiest = shares.iter().map(|(_, share)| *share).fold(0.0, f64::max);
    assert!(shares.contains(&(report.bottleneck.as_str(), busiest)), "{} of {shares:?}", report.bottleneck);
    let scoring = report.wall_s - report.setup_s;
    assert!((report.model_share - report.model_s / report.wall_s).abs() < 1e-9);
    // What is open and made before and after the scoring counts to the whole.
    assert!(report.model_s <= busy.model * scoring + 1e-9 && busy.model > 0.0, "{busy:?} of {scoring}");
}

#[test]
fn several_batches_at_a_time_end_in_order_and_are_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    with_holes::<u8>(&folder.path().join("in.tif"), 255.0);
    let network = golden_model("conv.onnx");
    let mut options = options(Blend::Gaussian);
    options.in_flight = Some(4);
    let (expected, whole) = score(&network, &options, folder.path(), "whole.tif").unwrap();
    let output = folder.path().join("out.tif");
    for stop in [1, 7, whole.tiles_computed - 1] {
        let mut seen = Vec::new();
        let mut files = FileOptions::default();
        let error = Segmenter::new(&network, options.clone())
            .unwrap()
            .on_progress(|progress| {
                seen.push(progress.done);
                if progress.done >= stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .file(folder.path().join("in.tif"), &output, &files)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(seen.is_sorted() && seen.last() == Some(&stop), "{seen:?}");
        files.resume = true;
        let report = Segmenter::new(&network, options.clone())
            .unwrap()
            .file(folder.path().join("in.tif"), &output, &files)
            .unwrap();
        assert_eq!(report.tiles_resumed, stop);
        assert!(fs::read(&output).unwrap() == expected, "stopped after {stop}");
        fs::remove_file(&output).unwrap();
    }
}

/// Jobs that end early with several sessions at work, again and again: each must end.
#[test]
fn several_batches_at_a_time_can_be_cancelled_at_any_moment() {
    let network = golden_model("conv.onnx");
    let image = Samples::U8(noise_image::<u8>([3, 170, 133], 7, 255.0));
    for number in [2, 3, 4] {
        for stop in 1..25 {
            let mut options = options(Blend::Crop);
            (options.in_flight, options.batch) = (Some(number), Some(1));
            let found = Segmenter::new(&network, options)
                .unwrap()
                .on_progress(|progress| {
                    if progress.done >= stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .array(image.view(), None);
            assert_eq!(found.map(|_| ()).unwrap_err().kind(), ErrorKind::Cancelled);
        }
    }
}

#[test]
fn a_failing_model_ends_the_job_however_many_run() {
    // It takes one tile, and says so only when it is run with two.
    let free = ["n".into(), Dim::Fixed(3), "h".into(), "w".into()];
    let mut graph = GraphBuilder::new("one at a time");
    let x = graph.input("x", ElementType::Float32, &free);
    let shape = graph.initializer_i64("shape", &[4], &[1, 3, 32, 48]);
    let y = graph.node("Reshape", &[&x, &shape]).output("y");
    graph.output(&y, ElementType::Float32, &["m".into(), Dim::Fixed(3), "y".into(), "x".into()]);
    let network = model(graph.finish().unwrap());
    for number in [1, 3] {
        let mut options = options(Blend::Crop);
        (options.batch, options.in_flight) = (Some(2), Some(number));
        let image = Samples::U8(noise_image::<u8>([3, 100, 100], 1, 255.0));
        let found = Segmenter::new(&network, options).unwrap().array(image.view(), None);
        let error = found.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Runtime, "{error}");
        assert!(error.one_line().contains("tile"), "{error}");
    }
}

#[test]
fn half_precision_says_how_far_it_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = noise_image::<u8>([3, 64, 96], 3, 255.0);
    image.slice_mut(ndarray::s![.., 3..30, 10..40]).fill(0);
    write_raster(&folder.path().join("in.tif"), &image, Some(0.0));
    let network = golden_model("conv.onnx");
    let mut options = options(Blend::Crop);
    // Four tiles that share nothing: all of them are compared, each pixel once.
    options.overlap = Overlap::Pixels(0);
    let (_, plain) = score(&network, &options, folder.path(), "plain.tif").unwrap();
    assert_eq!((plain.precision.as_str(), plain.label_agreement, plain.label_pixels), ("model", None, 0));
    for (fuse, in_flight) in [(false, 1), (true, 1), (false, 3)] {
        options.precision = Precision::Fp16;
        (options.fuse, options.in_flight) = (Some(fuse), Some(1));
        let (_, half) = score(&network, &options, folder.path(), "half.tif").unwrap();
        assert_eq!(half.tiles, 4);
        let read = |name: &str| labels(&read_raster(&folder.path().join(name)));
        let (one, other) = (read("plain.tif"), read("half.tif"));
        let valid = one.iter().filter(|class| **class != 255).count();
        let equal = one.iter().zip(&other).filter(|(a, b)| a == b && **a != 255).count();
        // The network decides noise: some pixels are close enough for the eleven bits to tell.
        assert!(equal < valid && 10 * equal > 9 * valid, "{equal} of {valid}");
        assert_eq!(half.label_pixels, valid as u64);
        assert_eq!(half.label_agreement, Some(equal as f64 / valid as f64), "fuse {fuse}");
        // Whichever session they come to.
        options.in_flight = Some(in_flight);
        let (_, again) = score(&network, &options, folder.path(), "half.tif").unwrap();
        assert_eq!(
            (again.label_pixels, again.label_agreement),
            (half.label_pixels, half.label_agreement),
            "{in_flight} at a time"
        );
    }
}
