//! From raster samples to what the network was trained on.

use ndarray::{ArrayView2, Axis};

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::vectorised::{Loop, vectorised};
use crate::tensor::{DataType, Sample, SamplesView, with_samples};

/// `(x / scale − mean) / std` per band.
///
/// The one definition in glebe: scoring and training use it, and exported models carry it in their metadata.
/// Samples of up to 16 bits and `f32` are computed in `f32`, in the order written, as the usual NumPy line
/// `(x.astype(np.float32) / scale - mean) / std` does; wider types are computed in `f64` and rounded once.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalisation {
    scale: Vec<f64>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Default for Normalisation {
    /// Samples as they are.
    fn default() -> Self {
        Normalisation { scale: vec![1.0], mean: vec![0.0], std: vec![1.0] }
    }
}

impl Normalisation {
    /// A normalisation from lists that have one value for all bands or one a band.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`]: an empty list, a value that is not finite, a scale or std of 0.
    pub fn new(scale: Vec<f64>, mean: Vec<f64>, std: Vec<f64>) -> Result<Normalisation> {
        for (name, values, zero) in [("scale", &scale, false), ("mean", &mean, true), ("std", &std, false)] {
            if values.is_empty() {
                return Err(Error::invalid(format!("{name}: expected one value or one a band, got none")));
            }
            for value in values {
                if !value.is_finite() || (!zero && *value == 0.0) {
                    let wanted = if zero { "a finite number" } else { "a finite number other than 0" };
                    return Err(Error::invalid(format!("{name}: expected {wanted}, got {value}")));
                }
            }
        }
        Ok(Normalisation { scale, mean, std })
    }

    /// Divisors, one for all bands or one a band.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// Means in scaled units, one for all bands or one a band.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Standard deviations in scaled units, one for all bands or one a band.
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// Whether samples stay as they are.
    pub fn is_identity(&self) -> bool {
        *self == Normalisation::default()
    }

    /// Checks that every list has one value or one for each of `bands` bands.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`].
    pub fn check_bands(&self, bands: usize) -> Result<()> {
        for (name, values) in [("scale", &self.scale), ("mean", &self.mean), ("std", &self.std)] {
            if values.len() != 1 && values.len() != bands {
                return Err(Error::new(
                    ErrorKind::Mismatch,
                    format!(
                        "{name}: expected 1 value or one for each of {bands} bands, got {}",
                        values.len()
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Normalises a block `[C, H, W]` into `out` (`C × H × W` values, row-major).
    ///
    /// What would poison the network's neighbourhood becomes 0, the mean of the training data: results that are
    /// not finite, and, in floating-point blocks, samples equal to their band's value in `nodata`. Integer nodata
    /// samples are fed as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] as [`Normalisation::check_bands`]; [`ErrorKind::Internal`] for an `out` of another
    /// length.
    pub fn apply(&self, block: &SamplesView<'_>, nodata: &[Option<f64>], out: &mut [f32]) -> Result<()> {
        let [bands, height, width] = block.shape();
        self.check_bands(bands)?;
        if out.len() != bands * height * width {
            return Err(Error::internal(format!(
                "normalise: {} values into {}",
                bands * height * width,
                out.len()
            )));
        }
        if out.is_empty() {
            return Ok(());
        }
        let at = |values: &[f64], band: usize| if values.len() == 1 { values[0] } else { values[band] };
        for (band, out) in out.chunks_exact_mut(height * width).enumerate() {
            let line =
                Line { scale: at(&self.scale, band), mean: at(&self.mean, band), std: at(&self.std, band) };
            let hole = nodata.get(band).copied().flatten();
            with_samples!(SamplesView, block, block => line.apply(block.index_axis(Axis(0), band), hole, out));
        }
        Ok(())
    }
}

/// The values of one band.
#[derive(Debug, Clone, Copy)]
struct Line {
    scale: f64,
    mean: f64,
    std: f64,
}

impl Line {
    fn apply<T: Sample>(self, band: ArrayView2<'_, T>, hole: Option<f64>, out: &mut [f32]) {
        // Nothing is equal to NaN. Samples of integer types are not compared at all.
        let hole = match T::DATA_TYPE.is_integer() {
            true => T::default(),
            false => T::from_f64(hole.unwrap_or(f64::NAN)),
        };
        if let Some(samples) = band.to_slice() {
            return self.apply_slice(samples, hole, out);
        }
        for (row, out) in band.outer_iter().zip(out.chunks_exact_mut(band.ncols().max(1))) {
            match row.to_slice() {
                Some(samples) => self.apply_slice(samples, hole, out),
                None => out.iter_mut().zip(row).for_each(|(out, sample)| *out = self.value(*sample, hole)),
            }
        }
    }

    fn apply_slice<T: Sample>(self, samples: &[T], hole: T, out: &mut [f32]) {
        vectorised(Samples { samples, line: self, hole, out });
    }

    /// What one sample becomes.
    #[inline(always)]
    fn value<T: Sample>(self, sample: T, hole: T) -> f32 {
        let value = match T::DATA_TYPE {
            DataType::U8 | DataType::U16 | DataType::I16 | DataType::F32 => {
                let (scale, mean, std) = (self.scale as f32, self.mean as f32, self.std as f32);
                (sample.to_f64() as f32 / scale - mean) / std
            }
            _ => ((sample.to_f64() / self.scale - self.mean) / self.std) as f32,
        };
        let is_data = T::DATA_TYPE.is_integer() | (sample != hole);
        if value.is_finite() & is_data { value } else { 0.0 }
    }
}

/// Samples that lie side by side.
struct Samples<'a, T> {
    samples: &'a [T],
    line: Line,
    hole: T,
    out: &'a mut [f32],
}

impl<T: Sample> Loop for Samples<'_, T> {
    #[inline(always)]
    fn run(self) {
        for (out, sample) in self.out.iter_mut().zip(self.samples) {
            *out = self.line.value(*sample, self.hole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    fn apply(n: &Normalisation, block: SamplesView<'_>, nodata: &[Option<f64>]) -> Vec<f32> {
        let [c, h, w] = block.shape();
        let mut out = vec![f32::NAN; c * h * w];
        n.apply(&block, nodata, &mut out).unwrap();
        out
    }

    #[test]
    fn formula_per_band() {
        let block = Array3::from_shape_vec((2, 1, 2), vec![0u8, 255, 51, 102]).unwrap();
        let n = Normalisation::new(vec![255.0], vec![0.5, 0.25], vec![0.25, 0.5]).unwrap();
        let expected = [-2.0, 2.0, (51.0f32 / 255.0 - 0.25) / 0.5, (102.0f32 / 255.0 - 0.25) / 0.5];
        assert_eq!(apply(&n, block.view().into(), &[]), expected);
    }

    #[test]
    fn wide_integers_keep_their_digits() {
        // In f32 both samples would round to 16777216 before the mean is taken off.
        let block = array![[[16_777_216i32, 16_777_217]]];
        let n = Normalisation::new(vec![1.0], vec![16_777_216.0], vec![1.0]).unwrap();
        assert_eq!(apply(&n, block.view().into(), &[]), [0.0, 1.0]);
    }

    #[test]
    fn holes_become_the_mean() {
        let block = array![[[f32::NAN, f32::INFINITY, -9999.0, 3.0]]];
        let n = Normalisation::new(vec![1.0], vec![1.0], vec![2.0]).unwrap();
        assert_eq!(apply(&n, block.view().into(), &[Some(-9999.0)]), [0.0, 0.0, 0.0, 1.0]);
        // integer nodata is data to the network
        let block = array![[[7u8, 3]]];
        assert_eq!(apply(&n, block.view().into(), &[Some(7.0)]), [3.0, 1.0]);
    }

    /// The formula as it stands in the documentation.
    fn formula(sample: f32, [scale, mean, std]: [f64; 3]) -> u32 {
        let value = (sample / scale as f32 - mean as f32) / std as f32;
        if value.is_finite() { value.to_bits() } else { 0 }
    }

    #[test]
    fn every_sample_has_the_bits_of_the_formula() {
        fn check<T: Sample>(samples: Vec<T>)
        where
            for<'a> SamplesView<'a>: From<ndarray::ArrayView3<'a, T>>,
        {
            for line in [[1.0, 0.0, 1.0], [255.0, 0.485, 0.229], [10_000.0, 0.1, -3.0], [1e-38, 5.0, 1e-3]] {
                let n = Normalisation::new(vec![line[0]], vec![line[1]], vec![line[2]]).unwrap();
                let expected: Vec<u32> = samples.iter().map(|x| formula(x.to_f64() as f32, line)).collect();
                // An odd width: the last pixels of a row fill no vector.
                let (width, height) = (samples.len() / 2, 2);
                let block = Array3::from_shape_vec((1, height, width), samples.clone()).unwrap();
                let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                assert!(bits(apply(&n, block.view().into(), &[])) == expected, "{line:?}");
                // A part of rows, and one of single pixels.
                for step in [1, 3] {
                    let part = block.slice(ndarray::s![.., .., 1..;step]);
                    let at = |y: usize, x: usize| expected[y * width + 1 + x * step];
                    let expected: Vec<u32> =
                        (0..part.len()).map(|i| at(i / part.dim().2, i % part.dim().2)).collect();
                    assert!(bits(apply(&n, part.into(), &[])) == expected, "{line:?}, every {step}");
                }
                // What is compiled for every processor.
                let mut out = vec![0.0; samples.len()];
                let line = Line { scale: line[0], mean: line[1], std: line[2] };
                Samples { samples: &samples, line, hole: T::from_f64(f64::NAN), out: &mut out }.run();
                assert!(bits(out) == expected, "{line:?}");
            }
        }
        let words = || 0..=u16::MAX;
        check((0..=u8::MAX).collect());
        check(words().collect());
        check(words().map(|word| word as i16).collect());
        // Numbers of every size, infinite ones and NaN.
        check(words().map(|word| f32::from_bits(u32::from(word) << 16 | u32::from(word))).collect());
    }

    #[test]
    fn wrong_values_are_refused() {
        let ok = || vec![1.0];
        for (scale, mean, std) in [
            (vec![0.0], ok(), ok()),
            (ok(), vec![f64::NAN], ok()),
            (ok(), ok(), vec![0.0]),
            (ok(), ok(), vec![]),
            (vec![f64::INFINITY], ok(), ok()),
        ] {
            assert!(Normalisation::new(scale, mean, std).is_err());
        }
        let two = Normalisation::new(vec![1.0, 2.0], vec![0.0], vec![1.0]).unwrap();
        assert_eq!(two.check_bands(3).unwrap_err().kind(), ErrorKind::Mismatch);
        assert!(two.check_bands(2).is_ok());
    }
}
