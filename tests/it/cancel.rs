//! Stopping a job: before, between tiles, inside a run.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use glebe::ErrorKind;
use glebe::geometry::Size;
use glebe::onnx::{ElementType, GraphBuilder};
use glebe::runtime::CancelToken;
use glebe::segment::{SegmentOptions, Segmenter};
use ndarray::Array3;

use crate::fixtures::{identity_network, model, noise_image, write_raster};

fn options() -> SegmentOptions {
    let mut options = SegmentOptions::default();
    options.tile = Some(Size::new(16, 16));
    options
}

#[test]
fn a_token_set_before_stops_at_once() {
    let token = CancelToken::new();
    token.cancel();
    let model = model(identity_network(2));
    let image: Array3<u8> = noise_image([2, 64, 64], 1, 255.0);
    let error = Segmenter::new(&model, options())
        .unwrap()
        .cancel_with(&token)
        .array(image.view().into(), None)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    // The model is as good as before.
    assert!(Segmenter::new(&model, options()).unwrap().array(image.view().into(), None).is_ok());
}

#[test]
fn a_break_from_progress_stops_and_leaves_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.tif"), folder.path().join("out.tif"));
    write_raster(&input, &noise_image::<u8>([2, 64, 64], 1, 255.0), None);
    let model = model(identity_network(2));
    let mut calls = 0;
    let error = Segmenter::new(&model, options())
        .unwrap()
        .on_progress(|progress| {
            calls += 1;
            assert!(progress.done <= progress.total && progress.total > 5);
            if progress.done >= 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .file(&input, &output, &Default::default())
        .unwrap_err();
    assert_eq!((error.kind(), calls), (ErrorKind::Cancelled, 3));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&"in.tif".into()) && left.contains(&"out.tif.part".into()), "{left:?}");
}

/// A network that computes for a long time on one tile.
fn slow_network() -> Vec<u8> {
    let mut graph = GraphBuilder::new("slow");
    let shape = [1.into(), 1.into(), 1024.into(), 1024.into()];
    let mut x = graph.input("image", ElementType::Float32, &shape);
    let weights = graph.initializer_f32("w", &[1, 1, 31, 31], &vec![1.0 / 961.0; 961]);
    for _ in 0..60 {
        x = graph.node("Conv", &[&x, &weights]).ints("pads", &[15; 4]).output("x");
    }
    let y = graph.node("Identity", &[&x]).output("logits");
    graph.output(&y, ElementType::Float32, &shape);
    graph.finish().unwrap()
}

#[test]
fn a_token_stops_in_the_middle_of_a_run() {
    let model = model(slow_network());
    let image: Array3<u8> = noise_image([1, 1024, 1024], 1, 255.0);
    let token = CancelToken::new();
    let setter = token.clone();
    let watch = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        setter.cancel();
        Instant::now()
    });
    let mut options = SegmentOptions::default();
    options.threads = 1;
    let start = Instant::now();
    let result =
        Segmenter::new(&model, options).unwrap().cancel_with(&token).array(image.view().into(), None);
    let end = Instant::now();
    let set = watch.join().unwrap();
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    // No bound on time; but the run must have been under way when the token was set.
    assert!(set > start && end > set);
}
