//! Models whose output is smaller than the input, or at another scale.

use glebe::geometry::{Padding, Size};
use glebe::onnx::{ElementType, GraphBuilder};
use glebe::raster::{OpenOptions, Raster};
use glebe::segment::{Product, SegmentOptions, Segmenter};
use glebe::tiling::{Blend, Overlap};
use ndarray::{Array3, Axis, s};

use crate::fixtures::{
    floats, golden_model, golden_options, golden_picture, labels, model, noise_image, read_raster,
    write_raster,
};

#[test]
fn a_margin_is_placed_in_the_centre() {
    // The golden was computed in one run over the image reflected by the margin.
    let image = golden_picture("image.png");
    let expected = golden_picture("valid.labels.png");
    let model = golden_model("valid.onnx");
    for side in [16, 50, 128, 200] {
        let mut options = golden_options();
        options.tile = Some(Size::new(side, side));
        options.overlap = Overlap::Pixels(0);
        options.padding = Padding::Reflect;
        let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
        assert_eq!(labels(&got.samples), expected.index_axis(Axis(0), 0), "tile {side}");
    }
}

#[test]
fn a_quarter_of_the_resolution_is_placed_on_its_own_grid() {
    let image = golden_picture("image.png").slice(s![.., ..128, ..148]).to_owned();
    let expected = golden_picture("stride.labels.png");
    let model = golden_model("stride.onnx");
    for side in [32, 64] {
        let mut options = golden_options();
        options.tile = Some(Size::new(side, side));
        options.overlap = Overlap::Pixels(16);
        let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
        assert_eq!(got.report.map_size, [37, 32]);
        assert_eq!(labels(&got.samples), expected.index_axis(Axis(0), 0), "tile {side}");
    }
}

#[test]
fn a_map_at_another_scale_has_the_same_corners() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.tif"), folder.path().join("out.tif"));
    let image = golden_picture("image.png").slice(s![.., ..128, ..148]).to_owned();
    write_raster(&input, &image, None);
    let model = golden_model("stride.onnx");
    let mut options = golden_options();
    options.tile = Some(Size::new(64, 64));
    options.overlap = Overlap::Pixels(16);
    Segmenter::new(&model, options).unwrap().file(&input, &output, &Default::default()).unwrap();
    assert_eq!(labels(&read_raster(&output)), golden_picture("stride.labels.png").index_axis(Axis(0), 0));
    let raster = Raster::open(&output, &OpenOptions::default()).unwrap();
    assert_eq!(raster.size(), Size::new(37, 32));
    assert_eq!(raster.info().georeference.transform, Some([500_000.0, 8.0, 0.0, 4_000_000.0, 0.0, -8.0]));
}

/// Each input pixel becomes 2 x 2 output pixels.
fn doubling_network() -> Vec<u8> {
    let mut graph = GraphBuilder::new("double");
    let shape = ["n".into(), 1.into(), "h".into(), "w".into()];
    let x = graph.input("image", ElementType::Float32, &shape);
    let scales = graph.initializer_f32("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let y = graph
        .node("Resize", &[&x, "", &scales])
        .string("mode", "nearest")
        .string("coordinate_transformation_mode", "asymmetric")
        .string("nearest_mode", "floor")
        .output("logits");
    graph.output(&y, ElementType::Float32, &["n".into(), 1.into(), "h2".into(), "w2".into()]);
    graph.finish().unwrap()
}

#[test]
fn double_the_resolution_in_every_blend() {
    let model = model(doubling_network());
    for (height, width) in [(1, 1), (17, 23), (40, 64)] {
        let image: Array3<f32> = noise_image([1, height, width], 2, 1.0);
        for blend in Blend::ALL {
            let mut options = SegmentOptions::default();
            options.product = Product::Logits;
            options.blend = blend;
            options.tile = Some(Size::new(16, 16));
            options.overlap = Overlap::Pixels(5);
            let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
            let got = floats(&got.samples);
            assert_eq!(got.dim(), (1, 2 * height, 2 * width));
            for ((_, y, x), got) in got.indexed_iter() {
                assert!((got - image[[0, y / 2, x / 2]]).abs() <= 1e-6, "{blend} at {x}, {y}");
            }
        }
    }
}

#[test]
fn validity_follows_the_scale() {
    let model = model(doubling_network());
    let image: Array3<f32> = noise_image([1, 9, 11], 2, 1.0);
    let valid = ndarray::Array2::from_shape_fn((9, 11), |(y, x)| (x + y) % 3 != 0);
    for blend in [Blend::Crop, Blend::Hann] {
        let mut options = SegmentOptions::default();
        options.blend = blend;
        options.tile = Some(Size::new(4, 4));
        options.overlap = Overlap::Pixels(2);
        let got =
            Segmenter::new(&model, options).unwrap().array(image.view().into(), Some(valid.view())).unwrap();
        for ((y, x), class) in labels(&got.samples).indexed_iter() {
            assert_eq!(*class != 255, valid[[y / 2, x / 2]], "{blend} at {x}, {y}");
        }
    }
}
