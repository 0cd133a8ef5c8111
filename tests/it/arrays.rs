//! Arrays in memory: types, strides, masks, wrong shapes.

use glebe::ErrorKind;
use glebe::geometry::{Band, Size};
use glebe::segment::{Product, SegmentOptions, Segmenter};
use glebe::tensor::SamplesView;
use ndarray::{Array2, Array3, ArrayView2};

use crate::fixtures::{floats, identity_network, labels, model, noise_image};

fn logits() -> SegmentOptions {
    let mut options = SegmentOptions::default();
    options.product = Product::Logits;
    options.tile = Some(Size::new(16, 16));
    options
}

#[test]
fn every_sample_type_is_fed() {
    let model = model(identity_network(2));
    let check = |image: SamplesView<'_>, expected: Array3<f64>| {
        let got = Segmenter::new(&model, logits()).unwrap().array(image, None).unwrap();
        for (got, expected) in floats(&got.samples).iter().zip(&expected) {
            assert_eq!(f64::from(*got), *expected, "{}", image.data_type());
        }
    };
    macro_rules! of {
        ($kind:ty, $top:expr) => {
            let image: Array3<$kind> = noise_image([2, 19, 23], 4, $top);
            check(image.view().into(), image.mapv(|x| f64::from(x as f32)));
        };
    }
    of!(u8, 255.0);
    of!(u16, 65_535.0);
    of!(i16, 30_000.0);
    of!(i32, 1e6);
    of!(u32, 1e6);
    of!(i64, 1e6);
    of!(u64, 1e6);
    of!(f32, 1.0);
    of!(f64, 1.0);
}

#[test]
fn strides_do_not_matter() {
    let model = model(identity_network(3));
    // Interleaved as cameras and most image libraries have it: [H, W, C] seen as [C, H, W].
    let interleaved: Array3<u8> = noise_image([20, 30, 3], 9, 255.0);
    let view = interleaved.view().permuted_axes([2, 0, 1]);
    let flipped = view.slice(ndarray::s![.., ..;-1, ..;2]);
    for image in [view, flipped] {
        let got = Segmenter::new(&model, logits()).unwrap().array(image.into(), None).unwrap();
        for (got, expected) in floats(&got.samples).iter().zip(image.iter()) {
            assert_eq!(*got, f32::from(*expected));
        }
    }
}

#[test]
fn invalid_pixels_come_back_as_nodata_and_poison_nobody() {
    let model = model(identity_network(2));
    let mut image: Array3<f32> = noise_image([2, 25, 25], 1, 1.0);
    image[[1, 3, 4]] = f32::NAN;
    image[[0, 20, 2]] = f32::INFINITY;
    let mut valid = Array2::from_elem((25, 25), true);
    valid[[10, 11]] = false;
    let mut options = logits();
    options.product = Product::Classes;
    let got =
        Segmenter::new(&model, options).unwrap().array(image.view().into(), Some(valid.view())).unwrap();
    for ((y, x), class) in labels(&got.samples).indexed_iter() {
        let hole = [(3, 4), (20, 2), (10, 11)].contains(&(y, x));
        assert_eq!(*class == 255, hole, "at {x}, {y}");
    }
    assert_eq!(got.report.nodata_pixels, Some(3));
    assert_eq!(got.report.class_pixels.unwrap().iter().sum::<u64>(), 25 * 25 - 3);
}

#[test]
fn tiles_without_a_valid_pixel_are_not_run() {
    let model = model(identity_network(1));
    let image: Array3<u8> = noise_image([1, 64, 64], 1, 255.0);
    let mut valid = Array2::from_elem((64, 64), false);
    valid[[40, 40]] = true;
    for blend in glebe::tiling::Blend::ALL {
        let mut options = logits();
        options.product = Product::Classes;
        options.overlap = glebe::tiling::Overlap::Pixels(0);
        options.blend = blend;
        let got =
            Segmenter::new(&model, options).unwrap().array(image.view().into(), Some(valid.view())).unwrap();
        assert_eq!((got.report.tiles, got.report.tiles_skipped, got.report.batches), (16, 15, 1), "{blend}");
        assert_eq!(labels(&got.samples).iter().filter(|class| **class != 255).count(), 1);
    }
}

#[test]
fn long_stretches_without_data_do_not_wait_for_a_full_batch() {
    // 1024 tiles, two of them with data: the first must be placed long before the second fills the batch.
    let model = model(identity_network(1));
    let image: Array3<u8> = noise_image([1, 512, 512], 1, 255.0);
    let mut valid = Array2::from_elem((512, 512), false);
    valid[[0, 0]] = true;
    valid[[511, 511]] = true;
    for blend in [glebe::tiling::Blend::Crop, glebe::tiling::Blend::Hann] {
        let mut options = logits();
        options.product = Product::Classes;
        options.overlap = glebe::tiling::Overlap::Pixels(0);
        options.batch = Some(2);
        options.blend = blend;
        let got =
            Segmenter::new(&model, options).unwrap().array(image.view().into(), Some(valid.view())).unwrap();
        assert_eq!(
            (got.report.tiles, got.report.tiles_skipped, got.report.batches),
            (1024, 1022, 2),
            "{blend}"
        );
        for ((y, x), class) in labels(&got.samples).indexed_iter() {
            assert_eq!(*class != 255, valid[[y, x]]);
        }
    }
}

#[test]
fn channels_are_chosen_by_number() {
    let model = model(identity_network(2));
    let image: Array3<u8> = noise_image([4, 9, 9], 1, 255.0);
    let mut options = logits();
    options.bands = Some(vec![Band::new(4).unwrap(), Band::new(1).unwrap()]);
    let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
    let got = floats(&got.samples);
    for y in 0..9 {
        for x in 0..9 {
            assert_eq!(got[[0, y, x]], f32::from(image[[3, y, x]]));
            assert_eq!(got[[1, y, x]], f32::from(image[[0, y, x]]));
        }
    }
}

#[test]
fn wrong_arrays_are_refused() {
    let model = model(identity_network(2));
    let segment = |options: SegmentOptions, image: SamplesView<'_>, valid: Option<ArrayView2<'_, bool>>| {
        Segmenter::new(&model, options).unwrap().array(image, valid).unwrap_err()
    };
    let three: Array3<u8> = noise_image([3, 9, 9], 1, 255.0);
    assert_eq!(segment(logits(), three.view().into(), None).kind(), ErrorKind::Mismatch);

    let empty = Array3::<u8>::zeros((2, 0, 4));
    assert_eq!(segment(logits(), empty.view().into(), None).kind(), ErrorKind::InvalidArgument);

    let two: Array3<u8> = noise_image([2, 9, 9], 1, 255.0);
    let mask = Array2::from_elem((9, 8), true);
    let error = segment(logits(), two.view().into(), Some(mask.view()));
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);

    let mut unknown = logits();
    unknown.bands = Some(vec![Band::new(1).unwrap(), Band::new(3).unwrap()]);
    let error = segment(unknown, two.view().into(), None);
    assert_eq!((error.kind(), error.band()), (ErrorKind::InvalidArgument, Some(3)));

    let mut lists = logits();
    lists.mean = Some(vec![0.0; 3]);
    assert_eq!(segment(lists, two.view().into(), None).kind(), ErrorKind::Mismatch);
}
