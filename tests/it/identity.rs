//! Networks whose result is known in closed form, over many sizes, tiles and overlaps.

use glebe::geometry::Size;
use glebe::segment::{Activation, Product, SegmentOptions, Segmenter};
use glebe::tiling::{Blend, Overlap};
use ndarray::Array3;

use crate::fixtures::{constant_network, floats, identity_network, model, noise_image};

const SIZES: [(usize, usize); 8] = [(1, 1), (1, 7), (13, 1), (5, 5), (31, 37), (64, 64), (65, 63), (97, 20)];
const TILES: [((usize, usize), f64); 9] = [
    ((1, 1), 0.0),
    ((2, 3), 0.0),
    ((7, 7), 0.3),
    ((16, 16), 0.0),
    ((16, 16), 0.25),
    ((16, 16), 0.9),
    ((33, 8), 0.5),
    ((64, 64), 0.125),
    ((100, 100), 0.5),
];

fn options(blend: Blend, tile: (usize, usize), share: f64, product: Product) -> SegmentOptions {
    let mut options = SegmentOptions::default();
    options.product = product;
    options.blend = blend;
    options.tile = Some(Size::new(tile.0, tile.1));
    options.overlap = Overlap::Share(share);
    options.batch = Some(3);
    options.threads = 1;
    options
}

#[test]
fn the_identity_network_gives_the_image_in_every_blend() {
    let model = model(identity_network(2));
    let mut cases = 0;
    for blend in Blend::ALL {
        for (height, width) in SIZES {
            for (tile, share) in TILES {
                let image: Array3<f32> = noise_image([2, height, width], 7, 1.0);
                let options = options(blend, tile, share, Product::Logits);
                let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
                for (got, expected) in floats(&got.samples).iter().zip(&image) {
                    assert!(
                        (got - expected).abs() <= 1e-6,
                        "{blend}, {width} x {height}, tile {tile:?}, overlap {share}: {got} instead of {expected}"
                    );
                }
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 7 * 8 * 9);
}

#[test]
fn bytes_come_back_to_a_millionth() {
    // Values up to 255 have a spacing of 1.5e-5 in f32: the bound is relative there.
    let model = model(identity_network(1));
    let image: Array3<u8> = noise_image([1, 61, 47], 3, 255.0);
    for blend in Blend::ALL {
        let options = options(blend, (16, 16), 0.5, Product::Logits);
        let got = Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
        for (got, expected) in floats(&got.samples).iter().zip(&image) {
            let expected = f32::from(*expected);
            assert!(
                (got - expected).abs() <= 1e-6 * expected.max(1.0),
                "{blend}: {got} instead of {expected}"
            );
        }
    }
}

#[test]
fn a_constant_network_gives_its_constant_in_every_blend() {
    let logits = [0.5f32, -1.25, 2.0];
    let model = model(constant_network(1, &logits));
    let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
    for blend in Blend::ALL {
        for (height, width) in SIZES {
            for (tile, share) in TILES {
                let image: Array3<f32> = noise_image([1, height, width], 11, 1.0);
                for product in [Product::Logits, Product::Probabilities] {
                    let options = options(blend, tile, share, product);
                    let got =
                        Segmenter::new(&model, options).unwrap().array(image.view().into(), None).unwrap();
                    for ((channel, _, _), got) in floats(&got.samples).indexed_iter() {
                        let expected = match product {
                            Product::Logits => f64::from(logits[channel]),
                            _ => f64::from(logits[channel]).exp() / sum,
                        };
                        assert!(
                            (f64::from(*got) - expected).abs() <= 1e-6,
                            "{product} {blend}, {width} x {height}, tile {tile:?}, overlap {share}: {got} instead of {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn blended_labels_are_those_of_blended_probabilities() {
    // One pixel, two tiles that disagree, cannot be had from an identity; but labels and probabilities of the same
    // job must agree everywhere.
    let model = model(identity_network(3));
    let image: Array3<f32> = noise_image([3, 50, 41], 5, 6.0);
    for blend in Blend::ALL {
        let mut wanted = options(blend, (16, 16), 0.5, Product::Probabilities);
        wanted.activation = Activation::Softmax;
        let p = Segmenter::new(&model, wanted.clone()).unwrap().array(image.view().into(), None).unwrap();
        wanted.product = Product::Classes;
        let c = Segmenter::new(&model, wanted).unwrap().array(image.view().into(), None).unwrap();
        let p = floats(&p.samples);
        for ((y, x), class) in crate::fixtures::labels(&c.samples).indexed_iter() {
            for other in 0..3 {
                assert!(p[[usize::from(*class), y, x]] >= p[[other, y, x]]);
            }
        }
    }
}
