//! From samples of any type and range to 8-bit colours.

use ndarray::{Array2, Array3, ArrayView2, Axis};

use crate::error::{Error, ErrorKind, Result};
use crate::picture::palette::Palette;
use crate::tensor::{Sample, SamplesView, with_samples};

/// A linear stretch of each band between two percentiles of its valid samples: 2 and 98 unless told otherwise.
///
/// Pixels that the mask rules out, that equal the nodata value in all shown bands, or that are not finite in one
/// of them do not count and are painted [`Palette::NODATA_GREY`].
#[derive(Debug, Clone, Default)]
pub struct Stretch<'a> {
    bands: Option<[usize; 3]>,
    percent: Option<(f64, f64)>,
    nodata: Option<f64>,
    valid: Option<ArrayView2<'a, bool>>,
}

impl<'a> Stretch<'a> {
    /// The stretch between percentiles 2 and 98.
    pub fn new() -> Stretch<'a> {
        Stretch::default()
    }

    /// The channels (from 0) shown as red, green and blue. Without this: the first three, or the first alone as
    /// grey where there are one or two.
    #[must_use]
    pub fn bands(mut self, bands: [usize; 3]) -> Stretch<'a> {
        self.bands = Some(bands);
        self
    }

    /// The percentiles that become 0 and 255, each in 0 to 100; checked in [`render`](Stretch::render).
    #[must_use]
    pub fn percentiles(mut self, low: f64, high: f64) -> Stretch<'a> {
        self.percent = Some((low, high));
        self
    }

    /// A pixel of this value in all shown bands has no data.
    #[must_use]
    pub fn nodata(mut self, value: f64) -> Stretch<'a> {
        self.nodata = Some(value);
        self
    }

    /// Which pixels count, `[H, W]`.
    #[must_use]
    pub fn valid(mut self, valid: ArrayView2<'a, bool>) -> Stretch<'a> {
        self.valid = Some(valid);
        self
    }

    /// Paints an image `[C, H, W]` as RGB `[H, W, 3]`.
    ///
    /// A band whose percentiles coincide is stretched between its extremes instead; a constant band becomes mid
    /// grey.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an image without samples and for percentiles that are
    /// not ascending within 0 to 100; [`Mismatch`](ErrorKind::Mismatch) for a channel that the image lacks and for
    /// a mask of another size.
    pub fn render(&self, image: SamplesView<'_>) -> Result<Array3<u8>> {
        let [channels, height, width] = image.shape();
        if channels * height * width == 0 {
            return Err(Error::invalid(format!("cannot show an image of shape {channels}x{height}x{width}")));
        }
        let (low, high) = self.percent.unwrap_or((2.0, 98.0));
        if !(0.0 <= low && low < high && high <= 100.0) {
            return Err(Error::invalid(format!(
                "expected percentiles ascending in 0 to 100, got {low} and {high}"
            )));
        }
        if let Some(valid) = self.valid
            && valid.dim() != (height, width)
        {
            let (h, w) = valid.dim();
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("mask is {w} x {h}, image {width} x {height}"),
            ));
        }
        let shown = self.bands.unwrap_or(if channels < 3 { [0; 3] } else { [0, 1, 2] });
        if let Some(channel) = shown.into_iter().find(|channel| *channel >= channels) {
            let message = format!("cannot show channel {channel}: image has {channels} (counted from 0)");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }

        let planes = shown.map(|channel| plane(image, channel));
        let counts = Array2::from_shape_fn((height, width), |at| {
            let values = [planes[0][at], planes[1][at], planes[2][at]];
            self.valid.is_none_or(|valid| valid[at])
                && values.iter().all(|value| value.is_finite())
                && self.nodata.is_none_or(|nodata| values.iter().any(|value| *value != nodata))
        });
        let mut rgb = Array3::zeros((height, width, 3));
        for (index, plane) in planes.iter().enumerate() {
            let mut values: Vec<f64> =
                plane.iter().zip(&counts).filter(|(_, counts)| **counts).map(|(value, _)| *value).collect();
            let range = limits(&mut values, low, high);
            for ((at, value), counts) in plane.indexed_iter().zip(&counts) {
                let level = if *counts { level(*value, range) } else { Palette::NODATA_GREY[index] };
                rgb[[at.0, at.1, index]] = level;
            }
        }
        Ok(rgb)
    }
}

fn plane(image: SamplesView<'_>, channel: usize) -> Array2<f64> {
    with_samples!(SamplesView, image, block => block.index_axis(Axis(0), channel).mapv(Sample::to_f64))
}

/// What becomes 0 and 255. Equal where the values are constant or there are none.
fn limits(values: &mut [f64], low: f64, high: f64) -> (f64, f64) {
    let (a, b) = (percentile(values, low), percentile(values, high));
    if a < b {
        return (a, b);
    }
    (percentile(values, 0.0), percentile(values, 100.0))
}

/// The percentile with linear interpolation between the two nearest ranks; 0 of nothing. Reorders the values.
fn percentile(values: &mut [f64], percent: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let rank = (values.len() - 1) as f64 * percent / 100.0;
    let (_, below, above) = values.select_nth_unstable_by(rank as usize, f64::total_cmp);
    let part = rank.fract();
    if part == 0.0 {
        return *below;
    }
    let above = above.iter().copied().fold(f64::INFINITY, f64::min);
    *below * (1.0 - part) + above * part
}

/// Halved before subtracting, so that the range of any two doubles is finite.
fn level(value: f64, (low, high): (f64, f64)) -> u8 {
    let range = high * 0.5 - low * 0.5;
    if range <= 0.0 {
        return 128;
    }
    let part = (value * 0.5 - low * 0.5) / range;
    (part.clamp(0.0, 1.0) * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Samples;
    use ndarray::Array;

    #[test]
    fn percentiles_are_those_of_numpy() {
        let mut values: Vec<f64> = [3.0, 1.0, 2.0, 10.0, 7.0].to_vec();
        assert_eq!(percentile(&mut values, 0.0), 1.0);
        assert_eq!(percentile(&mut values, 50.0), 3.0);
        assert_eq!(percentile(&mut values, 100.0), 10.0);
        // numpy.percentile([1, 2, 3, 7, 10], [2, 98]) = [1.08, 9.76]
        assert!((percentile(&mut values, 2.0) - 1.08).abs() < 1e-12);
        assert!((percentile(&mut values, 98.0) - 9.76).abs() < 1e-12);
    }

    #[test]
    fn a_ramp_is_stretched_in_closed_form() {
        // 0..=100: the percentiles are 2 and 98, so v becomes round(255 (v - 2) / 96).
        let ramp = Samples::U16(Array::from_iter(0..=100u16).into_shape_with_order((1, 1, 101)).unwrap());
        let rgb = Stretch::new().render(ramp.view()).unwrap();
        for value in 0..=100usize {
            let expected = ((value as f64 - 2.0) / 96.0).clamp(0.0, 1.0) * 255.0;
            assert_eq!(rgb[[0, value, 0]], expected.round() as u8);
            assert_eq!(rgb[[0, value, 0]], rgb[[0, value, 2]]);
        }
    }

    #[test]
    fn masked_nodata_and_non_finite_pixels_are_grey_and_do_not_count() {
        let mut ramp = Array::from_iter((0..=100).map(f64::from)).into_shape_with_order((1, 1, 101)).unwrap();
        let plain = Stretch::new().percentiles(0.0, 100.0).render(SamplesView::F64(ramp.view())).unwrap();
        ramp[[0, 0, 10]] = f64::NAN;
        ramp[[0, 0, 11]] = f64::INFINITY;
        ramp[[0, 0, 12]] = -9999.0;
        ramp[[0, 0, 13]] = 1e300;
        let mut valid = Array2::from_elem((1, 101), true);
        valid[[0, 13]] = false;
        let stretch = Stretch::new().percentiles(0.0, 100.0).nodata(-9999.0).valid(valid.view());
        let rgb = stretch.render(SamplesView::F64(ramp.view())).unwrap();
        for at in 0..101 {
            let pixel = [rgb[[0, at, 0]], rgb[[0, at, 1]], rgb[[0, at, 2]]];
            let expected = if (10..14).contains(&at) { Palette::NODATA_GREY } else { [plain[[0, at, 0]]; 3] };
            assert_eq!(pixel, expected, "pixel {at}");
        }
    }

    #[test]
    fn constant_and_nearly_constant_bands() {
        let flat = Samples::F32(Array3::from_elem((1, 4, 4), 7.5));
        assert!(Stretch::new().render(flat.view()).unwrap().iter().all(|level| *level == 128));
        let mut spike = Array3::<u8>::zeros((1, 20, 20));
        spike[[0, 3, 3]] = 200;
        let rgb = Stretch::new().render(SamplesView::U8(spike.view())).unwrap();
        assert_eq!((rgb[[3, 3, 0]], rgb[[0, 0, 0]]), (255, 0));
        let wide = Samples::F64(ndarray::arr3(&[[[f64::MIN, 0.0, f64::MAX]]]));
        let rgb = Stretch::new().percentiles(0.0, 100.0).render(wide.view()).unwrap();
        assert_eq!([rgb[[0, 0, 0]], rgb[[0, 1, 0]], rgb[[0, 2, 0]]], [0, 128, 255]);
        let nothing = Samples::F32(Array3::from_elem((1, 2, 2), f32::NAN));
        assert!(Stretch::new().render(nothing.view()).unwrap().iter().all(|level| *level == 200));
    }

    #[test]
    fn bands_are_chosen() {
        let image = Samples::U8(Array3::from_shape_fn((4, 1, 2), |(c, _, x)| if x == c % 2 { 9 } else { 4 }));
        let rgb = Stretch::new().percentiles(0.0, 100.0).bands([3, 0, 1]).render(image.view()).unwrap();
        assert_eq!(rgb.iter().copied().collect::<Vec<_>>(), [0, 255, 0, 255, 0, 255]);
        let kind = |stretch: Stretch<'_>| stretch.render(image.view()).unwrap_err().kind();
        assert_eq!(kind(Stretch::new().bands([0, 1, 4])), ErrorKind::Mismatch);
        assert_eq!(kind(Stretch::new().percentiles(98.0, 2.0)), ErrorKind::InvalidArgument);
        assert_eq!(kind(Stretch::new().percentiles(f64::NAN, 2.0)), ErrorKind::InvalidArgument);
        let mask = Array2::from_elem((2, 1), true);
        assert_eq!(kind(Stretch::new().valid(mask.view())), ErrorKind::Mismatch);
    }
}
