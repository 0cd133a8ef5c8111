//! From the model's output to what is written: activation, decision, quantisation.

use ndarray::{Array3, ArrayView2, ArrayView3, ArrayViewMut3, Axis, CowArray, Ix3, s};

use crate::error::{Error, Result};
use crate::segment::options::{Activation, Product, SegmentOptions};
use crate::tensor::activation::{sigmoid, softmax};
use crate::tensor::code::{Code, argmax, exceeds, quantise};
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
    pub(super) fn activate(&self, values: ArrayViewMut3<'_, f32>, blended: bool) {
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
            Activation::Softmax => for_each_row(values, &softmax),
            Activation::Sigmoid => {
                for_each_row(values, &|rows| rows.iter_mut().for_each(|row| sigmoid(row)));
            }
            Activation::None | Activation::Auto => {}
        }
    }

    /// Turns activated values `[C, H, W]` into the samples to write, `[bands, H, W]`; pixels that `valid` marks
    /// `false` get nodata.
    pub(super) fn encode(&self, values: ArrayView3<'_, f32>, valid: Option<ArrayView2<'_, bool>>) -> Samples {
        match (self.product, self.data_type) {
            (Product::Classes, DataType::U16) => u16::wrap(self.decide::<u16>(values, valid)),
            (Product::Classes, _) => u8::wrap(self.decide::<u8>(values, valid)),
            (_, DataType::U8) => u8::wrap(self.quantise::<u8>(values, valid, 254)),
            (_, DataType::U16) => u16::wrap(self.quantise::<u16>(values, valid, 65_534)),
            _ => f32::wrap(each_band(values, valid, self.nodata as f32, |values, out| {
                out.copy_from_slice(values);
            })),
        }
    }

    /// Turns class numbers `[H, W]`, with nodata where there is no class, into what is written, `[1, H, W]`.
    pub(super) fn decided<T: Sample>(
        &self,
        codes: ArrayView2<'_, T>,
        valid: Option<ArrayView2<'_, bool>>,
    ) -> Samples {
        let mut out = codes.insert_axis(Axis(0)).as_standard_layout().into_owned();
        let nodata = T::from_f64(self.nodata);
        for (y, mut row) in out.index_axis_mut(Axis(0), 0).outer_iter_mut().enumerate() {
            if let Some(row) = row.as_slice_mut() {
                blank(row, valid, y, nodata);
            }
        }
        T::wrap(out)
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

    fn decide<T: Sample + Code>(
        &self,
        values: ArrayView3<'_, f32>,
        valid: Option<ArrayView2<'_, bool>>,
    ) -> Array3<T> {
        let nodata = T::from_f64(self.nodata);
        if values.dim().0 == 1 {
            return each_band(values, valid, nodata, |values, out| {
                exceeds(values, self.threshold, nodata, out);
            });
        }
        let values = with_row_slices(&values);
        let (_, height, width) = values.dim();
        let mut out = Array3::from_elem((1, height, width), T::default());
        for (y, mut out) in out.index_axis_mut(Axis(0), 0).outer_iter_mut().enumerate() {
            let line = values.index_axis(Axis(1), y);
            let rows: Vec<&[f32]> = line.outer_iter().filter_map(|row| row.to_slice()).collect();
            if let Some(out) = out.as_slice_mut() {
                argmax(&rows, nodata, out);
                blank(out, valid, y, nodata);
            }
        }
        out
    }

    fn quantise<T: Sample + Code>(
        &self,
        values: ArrayView3<'_, f32>,
        valid: Option<ArrayView2<'_, bool>>,
        steps: u32,
    ) -> Array3<T> {
        let nodata = T::from_f64(self.nodata);
        each_band(values, valid, nodata, |values, out| quantise(values, steps, nodata, out))
    }
}

/// A band for each channel: `run` fills its rows, and pixels that `valid` marks `false` get `nodata`.
fn each_band<T: Sample>(
    values: ArrayView3<'_, f32>,
    valid: Option<ArrayView2<'_, bool>>,
    nodata: T,
    run: impl Fn(&[f32], &mut [T]),
) -> Array3<T> {
    let values = with_row_slices(&values);
    let mut out = Array3::from_elem(values.dim(), T::default());
    for (values, mut out) in values.outer_iter().zip(out.outer_iter_mut()) {
        for (y, (values, mut out)) in values.outer_iter().zip(out.outer_iter_mut()).enumerate() {
            if let (Some(values), Some(out)) = (values.to_slice(), out.as_slice_mut()) {
                run(values, out);
                blank(out, valid, y, nodata);
            }
        }
    }
    out
}

/// Writes `nodata` over the pixels of row `y` that are not valid.
fn blank<T: Sample>(out: &mut [T], valid: Option<ArrayView2<'_, bool>>, y: usize, nodata: T) {
    let Some(valid) = valid.as_ref().map(|valid| valid.row(y)) else { return };
    let one = |(out, valid): (&mut T, &bool)| *out = if *valid { *out } else { nodata };
    match valid.as_slice() {
        Some(valid) => out.iter_mut().zip(valid).for_each(one),
        None => out.iter_mut().zip(&valid).for_each(one),
    }
}

/// Whether the pixels of a row lie side by side, as they do in every tile and every part that is cut out of one.
fn have_row_slices(values: &ArrayView3<'_, f32>) -> bool {
    values.is_empty() || values.slice(s![..1, ..1, ..]).is_standard_layout()
}

/// The values themselves if they have slices of rows, else a copy that has.
fn with_row_slices<'v>(values: &'v ArrayView3<'_, f32>) -> CowArray<'v, f32, Ix3> {
    if have_row_slices(values) { values.view().into() } else { values.as_standard_layout() }
}

/// Calls `run` with each row of pixels: its part in every channel.
fn for_each_row(mut values: ArrayViewMut3<'_, f32>, run: &dyn Fn(&mut [&mut [f32]])) {
    if !have_row_slices(&values.view()) {
        let mut copy = values.as_standard_layout().into_owned();
        for_each_row(copy.view_mut(), run);
        values.assign(&copy);
        return;
    }
    for mut line in values.axis_iter_mut(Axis(1)) {
        run(&mut line.outer_iter_mut().filter_map(|row| row.into_slice()).collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

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
        for_each_row(values.view_mut(), &softmax);
        for (got, expected) in values.iter().zip([0.25, 0.5, 0.75, 0.5]) {
            assert!((got - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_part_of_a_tile_in_any_layout_gives_what_a_copy_of_it_gives() {
        let tile =
            Array3::from_shape_fn((3, 40, 50), |(c, y, x)| ((c * 7 + y * 5 + x * 3) % 11) as f32 - 5.0);
        let valid = Array2::from_shape_fn((50, 50), |(y, x)| (y * x) % 7 != 0);
        let parts: [fn(ArrayViewMut3<'_, f32>) -> ArrayViewMut3<'_, f32>; 4] = [
            |tile| tile.slice_move(s![.., 3..37, 5..46]),
            |tile| tile.slice_move(s![.., 3..37, 5..46;-1]),
            |tile| tile.slice_move(s![.., 3..37;2, 5..46;3]),
            |tile| tile.permuted_axes([0, 2, 1]),
        ];
        for (product, data_type) in [
            (Product::Classes, DataType::U8),
            (Product::Classes, DataType::U16),
            (Product::Probabilities, DataType::U8),
            (Product::Probabilities, DataType::F32),
            (Product::Logits, DataType::F32),
        ] {
            for activation in [Activation::Softmax, Activation::Sigmoid] {
                let mut options = SegmentOptions { product, activation, ..SegmentOptions::default() };
                options.data_type = Some(data_type);
                // A number that is nowhere else; NaN would not be equal to itself.
                options.nodata = (data_type == DataType::F32).then_some(-9999.0);
                let encoding = settle(&options, 3).unwrap();
                for part in parts {
                    let mut own = tile.clone();
                    let mut part = part(own.view_mut());
                    let mut copy = part.as_standard_layout().into_owned();
                    encoding.activate(part.view_mut(), true);
                    encoding.activate(copy.view_mut(), true);
                    let (_, height, width) = copy.dim();
                    let valid = valid.slice(s![50 - height.., ..width]);
                    let got = encoding.encode(part.view(), Some(valid));
                    assert_eq!(got, encoding.encode(copy.view(), Some(valid)), "{product} {activation}");
                    let nodata = valid.iter().filter(|valid| !**valid).count() * encoding.bands();
                    let nodata_of = |samples: Samples| {
                        samples.to_f64().iter().filter(|value| **value == encoding.nodata).count()
                    };
                    assert_eq!(nodata_of(got), nodata);
                }
            }
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
