//! What is written: classes, probabilities, logits, and in which types.

use glebe::raster::{OpenOptions, Raster};
use glebe::segment::{Activation, FileOptions, Product, SegmentOptions, Segmenter};
use glebe::{DataType, ErrorKind};
use ndarray::Array3;

use crate::fixtures::{
    constant_network, floats, golden_model, golden_options, golden_picture, labels, model, noise_image,
    read_raster, write_raster,
};
use glebe::onnx::{ElementType, GraphBuilder};

#[test]
fn binary_models_use_a_strict_threshold() {
    // sigmoid(0) is exactly 0.5
    let model = model(constant_network(1, &[0.0]));
    let image: Array3<u8> = noise_image([1, 5, 5], 1, 255.0);
    for (threshold, class) in [(0.5, 0), (0.499, 1), (0.0, 1), (1.0, 0)] {
        let mut options = SegmentOptions::default();
        options.threshold = threshold;
        let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
        assert!(labels(&got.samples).iter().all(|got| *got == class), "threshold {threshold}");
        assert_eq!(got.report.classes, 2);
    }
}

#[test]
fn ties_go_to_the_lowest_class_in_every_blend() {
    let model = model(constant_network(1, &[1.0, 3.0, 3.0]));
    let image: Array3<u8> = noise_image([1, 40, 40], 1, 255.0);
    for blend in glebe::tiling::Blend::ALL {
        let mut options = SegmentOptions::default();
        options.blend = blend;
        options.tile = Some(glebe::geometry::Size::new(16, 16));
        let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
        assert!(labels(&got.samples).iter().all(|class| *class == 1), "{blend}");
    }
}

/// Softmax inside the graph.
fn probability_network() -> Vec<u8> {
    let mut graph = GraphBuilder::new("probabilities");
    let shape = ["n".into(), 2.into(), "h".into(), "w".into()];
    let x = graph.input("image", ElementType::Float32, &shape);
    let y = graph.node("Softmax", &[&x]).int("axis", 1).output("y");
    graph.output(&y, ElementType::Float32, &shape);
    graph.finish().unwrap()
}

#[test]
fn no_second_softmax_where_the_graph_has_one() {
    let image: Array3<f32> = noise_image([2, 9, 9], 3, 4.0);
    let expected = |i: usize, y: usize, x: usize| {
        let (a, b) = (f64::from(image[[i, y, x]]), f64::from(image[[1 - i, y, x]]));
        1.0 / (1.0 + (b - a).exp())
    };
    let mut options = SegmentOptions::default();
    options.product = Product::Probabilities;
    let model = model(probability_network());
    let got = Segmenter::new(&model, options.clone()).unwrap().array(image.view().into(), None).unwrap();
    assert_eq!(got.report.activation, "none");
    for ((i, y, x), got) in floats(&got.samples).indexed_iter() {
        assert!((f64::from(*got) - expected(i, y, x)).abs() < 1e-6);
    }
    // asked for, it is done again
    options.activation = Activation::Softmax;
    let twice = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
    assert_ne!(twice.samples, got.samples);
}

#[test]
fn probabilities_are_softmax_and_quantise_to_half_a_step() {
    let image = golden_picture("image.png");
    let model = golden_model("conv.onnx");
    let mut options = golden_options();
    options.product = Product::Probabilities;
    let float = Segmenter::new(&model, options.clone()).unwrap().array(image.view().into(), None).unwrap();
    let float = floats(&float.samples);
    for (y, x) in [(0, 0), (130, 149), (60, 70)] {
        let sum: f32 = (0..5).map(|c| float[[c, y, x]]).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }
    for (data_type, steps) in [(DataType::U8, 254.0), (DataType::U16, 65_534.0)] {
        options.data_type = Some(data_type);
        let got = Segmenter::new(&model, options.clone()).unwrap().array(image.view().into(), None).unwrap();
        assert_eq!(got.samples.data_type(), data_type);
        for (got, p) in got.samples.to_f64().iter().zip(&float) {
            assert!((got / steps - f64::from(*p)).abs() <= 0.5 / steps + 1e-7);
        }
    }
}

#[test]
fn half_precision_models_are_fed_and_read() {
    let mut graph = GraphBuilder::new("half");
    let shape = ["n".into(), 1.into(), "h".into(), "w".into()];
    let x = graph.input("image", ElementType::Float16, &shape);
    let y = graph.node("Add", &[&x, &x]).output("y");
    graph.output(&y, ElementType::Float16, &shape);
    let model = model(graph.finish().unwrap());
    let image: Array3<u8> = noise_image([1, 9, 9], 3, 255.0);
    let mut options = SegmentOptions::default();
    options.product = Product::Logits;
    let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
    for (got, expected) in floats(&got.samples).iter().zip(&image) {
        assert_eq!(*got, 2.0 * f32::from(*expected));
    }
}

#[test]
fn class_names_reach_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.tif"), folder.path().join("out.tif"));
    write_raster(&input, &golden_picture("image.png"), None);
    let model = golden_model("conv.onnx");
    let mut files = FileOptions::default();
    files.class_names = Some(["water", "forest", "field", "road", "roof"].map(str::to_owned).to_vec());
    Segmenter::new(&model, golden_options()).unwrap().file(&input, &output, &files).unwrap();
    let raster = Raster::open(&output, &OpenOptions::default()).unwrap();
    let band = &raster.info().bands[0];
    assert_eq!(band.metadata.get("class_3").map(String::as_str), Some("road"));
    assert_eq!(band.nodata, Some(255.0));
    assert!(band.colors.as_ref().is_some_and(|colors| colors.len() >= 5));
    assert_eq!(raster.info().layout.as_deref(), Some("COG"));

    let wrong = folder.path().join("wrong.tif");
    files.class_names = Some(vec!["one".into()]);
    let error = Segmenter::new(&model, golden_options()).unwrap().file(&input, &wrong, &files).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(!wrong.exists());
}

#[test]
fn files_and_arrays_give_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.tif");
    let image = golden_picture("image.png");
    write_raster(&input, &image, None);
    let model = golden_model("conv.onnx");
    for product in Product::ALL {
        for blend in glebe::tiling::Blend::ALL {
            let mut options = golden_options();
            options.product = product;
            options.blend = blend;
            options.tile = Some(glebe::geometry::Size::new(48, 40));
            let output = folder.path().join(format!("{product}.{blend}.tif"));
            let array =
                Segmenter::new(&model, options.clone()).unwrap().array(image.view().into(), None).unwrap();
            Segmenter::new(&model, options).unwrap().file(&input, &output, &Default::default()).unwrap();
            assert!(read_raster(&output) == array.samples, "{product} {blend}");
        }
    }
}
