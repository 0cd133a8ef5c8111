//! One model, many threads and many jobs.

use glebe::geometry::Size;
use glebe::segment::{SegmentOptions, Segmenter};
use ndarray::Array3;

use crate::fixtures::{
    golden_model, golden_options, golden_picture, identity_network, labels, model, noise_image,
};

#[test]
fn a_model_shared_by_threads_gives_each_the_same_labels() {
    let model = golden_model("conv.onnx");
    let image = golden_picture("image.png");
    let one = Segmenter::new(&model, golden_options()).unwrap().array(image.view().into(), None).unwrap();
    assert_eq!((one.report.tile, one.report.tile_height, one.report.tiles), (150, 131, 1));
    let expected = labels(&one.samples);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (model, image, expected) = (&model, &image, &expected);
            scope.spawn(move || {
                for round in 0..5 {
                    let mut options = golden_options();
                    options.tile = Some(Size::new(64, 64));
                    options.overlap = glebe::tiling::Overlap::Pixels(8);
                    let got =
                        Segmenter::new(model, options).unwrap().array(image.view().into(), None).unwrap();
                    assert_eq!(&labels(&got.samples), expected, "thread {thread}, round {round}");
                }
            });
        }
    });
}

#[test]
fn the_same_job_twice_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.tif");
    crate::fixtures::write_raster(&input, &golden_picture("image.png"), None);
    let model = golden_model("conv.onnx");
    let mut files = Vec::new();
    for name in ["a.tif", "b.tif"] {
        let output = folder.path().join(name);
        Segmenter::new(&model, golden_options()).unwrap().file(&input, &output, &Default::default()).unwrap();
        files.push(std::fs::read(output).unwrap());
    }
    assert!(files[0] == files[1]);
}

#[test]
fn a_fixed_batch_is_filled_up() {
    // 9 tiles in batches of 4: the last run has one tile and three of padding.
    let fixed = crate::fixtures::sized_identity([Some(4), Some(1), Some(8), Some(8)]);
    let image: Array3<u8> = noise_image([1, 24, 24], 8, 255.0);
    let mut options = SegmentOptions::default();
    options.product = glebe::segment::Product::Logits;
    options.overlap = glebe::tiling::Overlap::Pixels(0);
    let own = model(fixed);
    let got = Segmenter::new(&own, options.clone()).unwrap().array(image.view().into(), None).unwrap();
    assert_eq!((got.report.tiles, got.report.batches, got.report.batch), (9, 3, 4));
    for (got, expected) in crate::fixtures::floats(&got.samples).iter().zip(&image) {
        assert_eq!(*got, f32::from(*expected));
    }
    options.batch = Some(2);
    let error = Segmenter::new(&own, options).unwrap().array(image.view().into(), None).unwrap_err();
    assert_eq!(error.kind(), glebe::ErrorKind::Mismatch);
    // a free batch has a shorter last run instead
    let mut options = SegmentOptions::default();
    options.batch = Some(4);
    options.tile = Some(Size::new(8, 8));
    options.overlap = glebe::tiling::Overlap::Pixels(0);
    let free = model(identity_network(1));
    let got = Segmenter::new(&free, options).unwrap().array(image.view().into(), None).unwrap();
    assert_eq!((got.report.tiles, got.report.batches), (9, 3));
}
