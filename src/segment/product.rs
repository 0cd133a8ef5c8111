//! From the model's output to what is written: activation, decision, quantisation.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut3, Axis};

use crate::error::{Error, Result};
use crate::segment::options::{Activation, Product, SegmentOptions};
use crate::tensor::{DataType, Sample, Samples};

/// What is written, settled: no option is open any more.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Encoding {
    pub(super) product: Product,
    /// Never [`Activation::Auto`].
    pub(super) activation: Activation,
    /// Channels of the model's output.
    pub(super) channels: usize,
    pub(super) data_type: DataType,
    pub(super) nodata: f64,
    pub(super) threshold: f32,
}

impl Encoding {
    /// Settles what `options` leave open for a model of `channels` output channels whose graph ends in
    /// `in_graph` (the activation the graph has already; `None` for raw logits).
    pub(super) fn settle(
        options: &SegmentOptions,
        channels: usize,
        has_activation: bool,
    ) -> Result<Encoding> {
        let activation = match options.activation {
            Activation::Auto if has_activation => Activation::None,
            Activation::Auto if channels == 1 => Activation::Sigmoid,
            Activation::Auto => Activation::Softmax,
            Activation::Softmax if channels == 1 => {
                return Err(Error::invalid(
                    "activation softmax of a single channel is 1 everywhere: use sigmoid",
                ));
            }
            chosen => chosen,
        };
        let classes = if channels == 1 { 2 } else { channels };
        let product = options.product;
        let data_type = options.data_type.unwrap_or(match product {
            // The largest number of the type marks invalid pixels.
            Product::Classes if classes <= 255 => DataType::U8,
            Product::Classes => DataType::U16,
            _ => DataType::F32,
        });
        let top = match data_type {
            DataType::U8 => 255.0,
            DataType::U16 => 65_535.0,
            _ => f64::NAN,
        };
        if product == Product::Classes && classes as f64 > top {
            return Err(Error::invalid(format!(
                "{classes} classes do not fit {data_type} beside its nodata value"
            )));
        }
        let nodata = options.nodata.unwrap_or(top);
        if data_type.is_integer() && !(nodata.fract() == 0.0 && (0.0..=top).contains(&nodata)) {
            return Err(Error::invalid(format!("nodata {nodata} is not a value of {data_type}")));
        }
        if product == Product::Classes && nodata < classes as f64 {
            return Err(Error::invalid(format!(
                "nodata {nodata} is the number of a class: the model has classes 0 to {}",
                classes - 1
            )));
        }
        if product == Product::Probabilities && data_type.is_integer() && nodata != top {
            return Err(Error::invalid(format!(
                "nodata {nodata} is a probability in {data_type}: only {top} is free"
            )));
        }
        Ok(Encoding { product, activation, channels, data_type, nodata, threshold: options.threshold as f32 })
    }

    /// Number of classes: 2 for a one-channel model.
    pub(super) fn classes(&self) -> usize {
        if self.channels == 1 { 2 } else { self.channels }
    }

    /// Bands written.
    pub(super) fn bands(&self) -> usize {
        if self.product == Product::Classes { 1 } else { self.channels }
    }

    /// Factor from a stored integer to a probability; `None` where samples are stored as they are.
    pub(super) fn unit(&self) -> Option<f64> {
        match (self.product, self.data_type) {
            (Product::Probabilities, DataType::U8) => Some(1.0 / 254.0),
            (Product::Probabilities, DataType::U16) => Some(1.0 / 65_534.0),
            _ => None,
        }
    }

    /// Applies the activation to values `[C, H, W]` in place, as far as the product needs it. `blended` tells that
    /// a weighted mean of the result follows: then classes are decided on probabilities too.
    pub(super) fn activate(&self, mut values: ArrayViewMut3<'_, f32>, blended: bool) {
        // Softmax keeps the order of the channels, so without blending the greatest logit decides: exact, and cheaper.
        let needed = match self.product {
            Product::Logits => false,
            Product::Classes => blended || self.channels == 1,
            Product::Probabilities => true,
        };
        if !needed {
            return;
        }
        match self.activation {
            Activation::Softmax => softmax(values),
            Activation::Sigmoid => values.mapv_inplace(|x| 1.0 / (1.0 + (-x).exp())),
            Activation::None | Activation::Auto => {}
        }
    }

    /// Turns activated values `[C, H, W]` into the samples to write, `[bands, H, W]`; pixels that `valid` marks
    /// `false` get nodata.
    pub(super) fn encode(&self, values: ArrayView3<'_, f32>, valid: Option<ArrayView2<'_, bool>>) -> Samples {
        match (self.product, self.data_type) {
            (Product::Classes, DataType::U16) => u16::wrap(self.decide::<u16>(values, valid)),
            (Product::Classes, _) => u8::wrap(self.decide::<u8>(values, valid)),
            (_, DataType::U8) => u8::wrap(self.quantise::<u8>(values, valid, 254.0)),
            (_, DataType::U16) => u16::wrap(self.quantise::<u16>(values, valid, 65_534.0)),
            _ => {
                let mut out = values.to_owned();
                if let Some(valid) = valid {
                    let nodata = self.nodata as f32;
                    for mut band in out.axis_iter_mut(Axis(0)) {
                        band.zip_mut_with(&valid, |value, valid| {
                            if !valid {
                                *value = nodata;
                            }
                        });
                    }
                }
                f32::wrap(out)
            }
        }
    }

    /// A block of nothing but nodata, `[bands, H, W]`.
    pub(super) fn empty(&self, height: usize, width: usize) -> Samples {
        let shape = (self.bands(), height, width);
        match self.data_type {
            DataType::U8 => u8::wrap(Array3::from_elem(shape, u8::from_f64(self.nodata))),
            DataType::U16 => u16::wrap(Array3::from_elem(shape, u16::from_f64(self.nodata))),
            _ => f32::wrap(Array3::from_elem(shape, self.nodata as f32)),
        }
    }

    fn decide<T: Sample>(
        &self,
        values: ArrayView3<'_, f32>,
        valid: Option<ArrayView2<'_, bool>>,
    ) -> Array3<T> {
        let (channels, height, width) = values.dim();
        let mut best = values.index_axis(Axis(0), 0).to_owned();
        let mut classes = Array2::<T>::default((height, width));
        if channels == 1 {
            classes.zip_mut_with(&best, |class, p| *class = T::from_f64(f64::from(*p > self.threshold)));
        } else {
            for channel in 1..channels {
                let number = T::from_f64(channel as f64);
                let values = values.index_axis(Axis(0), channel);
                ndarray::Zip::from(&mut classes).and(&mut best).and(&values).for_each(
                    |class, best, value| {
                        // Strictly greater: the lowest number wins ties. A NaN never wins, and loses to any number.
                        if *value > *best || (best.is_nan() && !value.is_nan()) {
                            *best = *value;
                            *class = number;
                        }
                    },
                );
            }
        }
        let nodata = T::from_f64(self.nodata);
        // Where the model gives no number at all there is no class.
        classes.zip_mut_with(&best, |class, best| {
            if best.is_nan() {
                *class = nodata;
            }
        });
        if let Some(valid) = valid {
            classes.zip_mut_with(&valid, |class, valid| {
                if !valid {
                    *class = nodata;
                }
            });
        }
        classes.insert_axis(Axis(0))
    }

    fn quantise<T: Sample>(
        &self,
        values: ArrayView3<'_, f32>,
        valid: Option<ArrayView2<'_, bool>>,
        steps: f64,
    ) -> Array3<T> {
        let nodata = T::from_f64(self.nodata);
        let mut out = values
            .mapv(|p| if p.is_nan() { nodata } else { T::from_f64(f64::from(p).clamp(0.0, 1.0) * steps) });
        if let Some(valid) = valid {
            for mut band in out.axis_iter_mut(Axis(0)) {
                band.zip_mut_with(&valid, |value, valid| {
                    if !valid {
                        *value = nodata;
                    }
                });
            }
        }
        out
    }
}

/// Softmax over the first axis, in place; the greatest value is taken off first, so that nothing overflows.
fn softmax(mut values: ArrayViewMut3<'_, f32>) {
    let (_, height, width) = values.dim();
    let mut greatest = Array2::from_elem((height, width), f32::NEG_INFINITY);
    for channel in values.axis_iter(Axis(0)) {
        greatest.zip_mut_with(&channel, |greatest, value| *greatest = greatest.max(*value));
    }
    let mut sum = Array2::<f32>::zeros((height, width));
    for mut channel in values.axis_iter_mut(Axis(0)) {
        ndarray::Zip::from(&mut channel).and(&greatest).and(&mut sum).for_each(|value, greatest, sum| {
            *value = (*value - greatest).exp();
            *sum += *value;
        });
    }
    for mut channel in values.axis_iter_mut(Axis(0)) {
        channel.zip_mut_with(&sum, |value, sum| *value /= sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn settle(options: &SegmentOptions, channels: usize) -> Result<Encoding> {
        Encoding::settle(options, channels, false)
    }

    fn classes(encoding: &Encoding, values: Array3<f32>, valid: Option<Array2<bool>>) -> Vec<f64> {
        encoding.encode(values.view(), valid.as_ref().map(|v| v.view())).to_f64().into_iter().collect()
    }

    #[test]
    fn ties_go_to_the_lowest_class_and_nan_never_wins() {
        let encoding = settle(&SegmentOptions::default(), 3).unwrap();
        let values =
            array![[[1.0, 0.0, f32::NAN, f32::NAN]], [[1.0, 2.0, 0.5, f32::NAN]], [[0.0, 2.0, 0.1, 0.0]]];
        assert_eq!(classes(&encoding, values, None), [0.0, 1.0, 1.0, 2.0]);
    }

    #[test]
    fn where_the_model_gives_no_number_there_is_nodata() {
        let nan = f32::NAN;
        for (channels, values) in [(1, array![[[nan, 2.0]]]), (2, array![[[nan, 2.0]], [[nan, 1.0]]])] {
            let got = classes(&settle(&SegmentOptions::default(), channels).unwrap(), values.clone(), None);
            assert_eq!((got[0], got[1] < 2.0), (255.0, true));
            let mut options = SegmentOptions::default();
            (options.product, options.data_type) = (Product::Probabilities, Some(DataType::U8));
            assert_eq!(classes(&settle(&options, channels).unwrap(), values, None)[0], 255.0);
        }
    }

    #[test]
    fn the_threshold_is_strict() {
        let encoding = settle(&SegmentOptions::default(), 1).unwrap();
        let mut values = array![[[0.0f32, 1e-3, -1.0]]];
        encoding.activate(values.view_mut(), false);
        assert_eq!(classes(&encoding, values, None), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn invalid_pixels_get_nodata_in_every_product() {
        let valid = Some(array![[true, false]]);
        for (product, data_type, expected) in [
            (Product::Classes, DataType::U8, 255.0),
            (Product::Classes, DataType::U16, 65_535.0),
            (Product::Probabilities, DataType::U8, 255.0),
            (Product::Probabilities, DataType::U16, 65_535.0),
        ] {
            let options = SegmentOptions { product, data_type: Some(data_type), ..SegmentOptions::default() };
            let encoding = settle(&options, 2).unwrap();
            let got = classes(&encoding, array![[[0.25f32, 0.25]], [[0.75, 0.75]]], valid.clone());
            assert!(got[0] != expected && got[1] == expected, "{product} {data_type}: {got:?}");
            assert!(encoding.empty(1, 2).to_f64().iter().all(|value| *value == expected));
        }
        let options = SegmentOptions { product: Product::Logits, ..SegmentOptions::default() };
        let got = classes(&settle(&options, 2).unwrap(), array![[[0.5f32, 0.5]], [[1.5, 1.5]]], valid);
        assert!(got[0] == 0.5 && got[1].is_nan() && got[2] == 1.5 && got[3].is_nan());
    }

    #[test]
    fn softmax_in_closed_form_and_without_overflow() {
        let mut values = array![[[0.0f32, 1000.0]], [[(3.0f32).ln(), 1000.0]]];
        softmax(values.view_mut());
        for (got, expected) in values.iter().zip([0.25, 0.5, 0.75, 0.5]) {
            assert!((got - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn quantised_probabilities_keep_half_a_step() {
        let options = SegmentOptions {
            product: Product::Probabilities,
            data_type: Some(DataType::U8),
            ..SegmentOptions::default()
        };
        let encoding = settle(&options, 1).unwrap();
        let values = Array3::from_shape_fn((1, 1, 1001), |(_, _, i)| i as f32 / 1000.0);
        let stored = encoding.encode(values.view(), None).to_f64();
        for (stored, p) in stored.iter().zip(&values) {
            assert!(
                *stored <= 254.0
                    && (stored * encoding.unit().unwrap() - f64::from(*p)).abs() <= 0.5 / 254.0 + 1e-7
            );
        }
    }

    #[test]
    fn nodata_must_be_free() {
        let with = |product, data_type, nodata| SegmentOptions {
            product,
            data_type,
            nodata: Some(nodata),
            ..SegmentOptions::default()
        };
        assert!(settle(&with(Product::Classes, None, 3.0), 5).is_err());
        assert!(settle(&with(Product::Classes, None, 5.0), 5).is_ok());
        assert!(settle(&with(Product::Classes, None, 256.0), 5).is_err());
        assert!(settle(&with(Product::Classes, None, 0.5), 5).is_err());
        assert!(settle(&with(Product::Probabilities, Some(DataType::U8), 0.0), 5).is_err());
        assert!(settle(&with(Product::Logits, None, -9999.0), 5).is_ok());
        // 256 classes need a wider type
        assert_eq!(settle(&SegmentOptions::default(), 256).unwrap().data_type, DataType::U16);
        assert_eq!(settle(&SegmentOptions::default(), 255).unwrap().data_type, DataType::U8);
    }
}
