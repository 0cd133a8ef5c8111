//! Tiled results against Python's onnxruntime on the whole image.

use glebe::geometry::Size;
use glebe::segment::{Product, Segmenter};
use glebe::tiling::{Blend, Overlap};
use ndarray::{Array3, Axis, s};
use std::io::Write as _;

use crate::fixtures::{
    floats, golden, golden_model, golden_options, golden_picture, labels, read_raster, shared_data,
};

#[test]
fn cropped_tiles_give_the_labels_of_one_run() {
    let image = golden_picture("image.png");
    let expected = golden_picture("conv.labels.png");
    let model = golden_model("conv.onnx");
    for side in [16, 33, 64, 100, 128, 131] {
        for overlap in [4, 8, 9] {
            for batch in [1, 3] {
                let mut options = golden_options();
                options.tile = Some(Size::new(side, side));
                options.blend = Blend::Crop;
                options.overlap = Overlap::Pixels(overlap);
                options.batch = Some(batch);
                let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
                let different = labels(&got.samples)
                    .iter()
                    .zip(expected.index_axis(Axis(0), 0))
                    .filter(|(got, expected)| got != expected)
                    .count();
                assert_eq!(different, 0, "tile {side}, overlap {overlap}, batch {batch}");
            }
        }
    }
}

#[test]
fn too_small_an_overlap_shows() {
    // The network sees 2 pixels to each side: without overlap the tiles' own zero padding must change labels, or the
    // test above could not fail. Three tiles lie edge to edge along x: as tiles are spread evenly, others would overlap.
    let image = golden_picture("image.png");
    let expected = golden_picture("conv.labels.png");
    let mut options = golden_options();
    assert_eq!(expected.dim().2 % 3, 0);
    options.tile = Some(Size::new(expected.dim().2 / 3, 64));
    options.blend = Blend::Crop;
    options.overlap = Overlap::Pixels(0);
    let model = golden_model("conv.onnx");
    let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
    assert_ne!(labels(&got.samples), expected.index_axis(Axis(0), 0));
}

#[test]
fn logits_are_those_of_one_run() {
    let bytes = std::fs::read(golden("conv.logits.bin")).unwrap();
    let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let expected = Array3::from_shape_vec((5, 10, 150), values).unwrap();
    let mut options = golden_options();
    options.product = Product::Logits;
    options.tile = Some(Size::new(48, 32));
    options.overlap = Overlap::Pixels(4);
    let model = golden_model("conv.onnx");
    let image = golden_picture("image.png");
    let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
    let got = floats(&got.samples);
    for (got, expected) in got.slice(s![.., 40..50, ..]).iter().zip(&expected) {
        assert!((got - expected).abs() < 1e-4, "{got} instead of {expected}");
    }
}

#[test]
fn a_real_raster_gives_the_labels_of_one_run() {
    let Some(data) = shared_data() else {
        let _ = writeln!(std::io::stderr(), "skipped: no folder ../shared/data (set GLEBE_TEST_DATA)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let expected = golden_picture("naip.labels.png");
    let model = golden_model("conv.onnx");
    for side in [64, 100, 128, 256, 300] {
        let mut options = golden_options();
        options.bands = Some(glebe::geometry::Band::first(3));
        options.tile = Some(Size::new(side, side));
        options.overlap = Overlap::Pixels(8);
        let output = folder.path().join(format!("{side}.tif"));
        Segmenter::new(&model, options)
            .unwrap()
            .file(data.join("rasters/naip_4band_1m.tif"), &output, &Default::default())
            .unwrap();
        assert_eq!(labels(&read_raster(&output)), expected.index_axis(Axis(0), 0), "tile {side}");
    }
}
