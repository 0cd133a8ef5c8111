//! Which pixels of a raster hold anything.

use std::fmt;
use std::str::FromStr;

use ndarray::{Array2, ArrayView3, ArrayViewMut2, Axis, Zip, s};

use super::info::Mask;
use super::messages::Call;
use super::open::Raster;
use super::read::{check_window, filled, is_inside};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Band, Padding, Window};
use crate::tensor::{Sample, Samples, with_samples};

/// When nodata values make a pixel invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NodataRule {
    /// When all bands that are read are nodata: black in one band is still a colour.
    #[default]
    All,
    /// When any of them is.
    Any,
}

impl fmt::Display for NodataRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodataRule::All => "all",
            NodataRule::Any => "any",
        })
    }
}

impl FromStr for NodataRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<NodataRule> {
        match text {
            "all" => Ok(NodataRule::All),
            "any" => Ok(NodataRule::Any),
            _ => Err(Error::invalid(format!("unknown nodata rule {text:?}: expected all or any"))),
        }
    }
}

/// What has to be looked at for a choice of bands.
struct Checks {
    /// The mask of the whole raster, through a band that has it.
    dataset_mask: Option<Band>,
    alpha: Option<Band>,
    /// Bands, by their place in the choice, with a mask of their own.
    band_masks: Vec<(usize, Band)>,
    /// The nodata value of each chosen band.
    nodata: Vec<Option<f64>>,
    /// Whether samples may be NaN or infinite.
    floats: bool,
}

impl Checks {
    fn new(raster: &Raster, bands: &[Band]) -> Result<Checks> {
        let floats = !raster.common_type(bands)?.is_integer();
        let info = &raster.info;
        let mut chosen = Vec::with_capacity(bands.len());
        for band in bands {
            chosen.push(info.band(*band)?);
        }
        let with = |mask: Mask| {
            Band::first(info.bands.len()).into_iter().zip(&info.bands).find(|(_, b)| b.mask == mask)
        };
        let dataset_mask = with(Mask::Dataset).map(|(band, _)| band);
        let alpha = info.alpha_band();
        // A mask or an alpha band was made to say what is valid; beside them nodata values are leftovers.
        let explicit = dataset_mask.is_some() || alpha.is_some();
        let nodata = chosen.iter().map(|band| band.nodata.filter(|_| !explicit)).collect();
        let band_masks = bands
            .iter()
            .enumerate()
            .zip(&chosen)
            .filter(|(_, info)| !explicit && info.mask == Mask::Band)
            .map(|((place, band), _)| (place, *band))
            .collect();
        Ok(Checks { dataset_mask, alpha, band_masks, nodata, floats })
    }

    fn needs_samples(&self) -> bool {
        self.floats || self.nodata.iter().any(Option::is_some)
    }

    fn is_empty(&self) -> bool {
        !self.needs_samples()
            && self.dataset_mask.is_none()
            && self.alpha.is_none()
            && self.band_masks.is_empty()
    }
}

impl Raster {
    /// Which pixels of `window` are valid: `[H, W]`, `true` where they are. `None` means that all are, without a look
    /// at any: an integer raster without nodata value, mask or alpha, and a window that lies on it.
    ///
    /// Invalid is a pixel
    /// - outside the raster;
    /// - that the raster's mask (in the file or `NAME.msk`) leaves out, or whose alpha is 0;
    /// - only where there is no such mask and no alpha band: whose samples in `bands` are nodata values, all or any of
    ///   them as `rule` says (a band without nodata value never is);
    /// - of floating point rasters: with a sample in any of `bands` that is NaN or infinite.
    ///
    /// Whoever needs the samples too takes [`Raster::read_with_validity`], which reads them once.
    ///
    /// # Errors
    /// As [`Raster::read`].
    pub fn read_validity(
        &self,
        bands: &[Band],
        window: Window,
        rule: NodataRule,
    ) -> Result<Option<Array2<bool>>> {
        check_window(window).map_err(|error| error.at_path(&self.info.path))?;
        let checks = Checks::new(self, bands)?;
        let clip = window.clip(self.info.size);
        let samples = match clip {
            Some(clip) if checks.needs_samples() => Some(self.read(bands, clip, Padding::Edge)?),
            _ => None,
        };
        self.validity(&checks, samples.as_ref().zip(clip), window, rule)
    }

    /// The same from samples that were read already: those of `bands` in `window`, with any padding.
    ///
    /// # Errors
    /// As [`Raster::read`]; [`Mismatch`](ErrorKind::Mismatch) if `samples` are of another shape.
    pub fn validity_of(
        &self,
        samples: &Samples,
        bands: &[Band],
        window: Window,
        rule: NodataRule,
    ) -> Result<Option<Array2<bool>>> {
        check_window(window).map_err(|error| error.at_path(&self.info.path))?;
        let expected = [bands.len(), window.height, window.width];
        if samples.shape() != expected {
            let found = samples.shape();
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("samples are {found:?}, the window has {expected:?}"),
            ));
        }
        self.validity(&Checks::new(self, bands)?, Some((samples, window)), window, rule)
    }

    /// [`Raster::read`] and [`Raster::read_validity`] in one, reading samples once.
    ///
    /// # Errors
    /// As [`Raster::read`].
    pub fn read_with_validity(
        &self,
        bands: &[Band],
        window: Window,
        padding: Padding,
        rule: NodataRule,
    ) -> Result<(Samples, Option<Array2<bool>>)> {
        let samples = self.read(bands, window, padding)?;
        let validity = self.validity_of(&samples, bands, window, rule)?;
        Ok((samples, validity))
    }

    /// `samples` come with the window that they fill, which holds at least the part of `window` on the raster.
    fn validity(
        &self,
        checks: &Checks,
        samples: Option<(&Samples, Window)>,
        window: Window,
        rule: NodataRule,
    ) -> Result<Option<Array2<bool>>> {
        if checks.is_empty() && is_inside(window, self.info.size) {
            return Ok(None);
        }
        let shape = (window.height, window.width);
        let mut valid = Array2::from_shape_vec(shape, filled([1, shape.0, shape.1], false)?)
            .map_err(|error| Error::internal("a mask does not have its shape").caused_by(error))?;
        let Some(clip) = window.clip(self.info.size) else { return Ok(Some(valid)) };
        // Both differences are within the window, hence not negative.
        let inner = |outer: Window| {
            let (x, y) = ((clip.x - outer.x) as usize, (clip.y - outer.y) as usize);
            (y..y + clip.height, x..x + clip.width)
        };
        let (rows, columns) = inner(window);
        let mut on_raster = valid.slice_mut(s![rows, columns]);
        on_raster.fill(true);
        for (mask, number) in [(true, checks.dataset_mask), (false, checks.alpha)] {
            let Some(band) = number else { continue };
            if mask {
                leave_out(&mut on_raster, &self.read_mask(band, clip)?);
            } else {
                let alpha = self.read(&[band], clip, Padding::Edge)?;
                with_samples!(Samples, &alpha, block => leave_out(&mut on_raster, &block.iter().copied().collect::<Vec<_>>()));
            }
        }
        let mut masks = vec![None; checks.nodata.len()];
        for (place, band) in &checks.band_masks {
            masks[*place] = Some(self.read_mask(*band, clip)?);
        }
        match samples {
            Some((samples, outer)) => {
                let (rows, columns) = inner(outer);
                with_samples!(Samples, samples, block => {
                    judge(&mut on_raster, Some(block.slice(s![.., rows, columns])), checks, &masks, rule);
                });
            }
            None => judge::<u8>(&mut on_raster, None, checks, &masks, rule),
        }
        Ok(Some(valid))
    }

    /// GDAL's mask of `band` in `window` (on the raster): 0 where a pixel is left out.
    fn read_mask(&self, band: Band, window: Window) -> Result<Vec<u8>> {
        let mut mask = filled([1, window.height, window.width], 0u8)?;
        let what = format!("cannot read the mask of band {band} in window {window}");
        let size = (window.width, window.height);
        Call { kind: ErrorKind::RasterInvalid, what: &what, path: &self.info.path }.run(|| {
            let at = (isize::try_from(window.x)?, isize::try_from(window.y)?);
            let band = self.dataset.rasterband(band.number() as usize)?;
            band.open_mask_band()?.read_into_slice(at, size, size, &mut mask, None)
        })?;
        Ok(mask)
    }
}

/// Clears the pixels whose value in `values` (row by row) is 0.
fn leave_out<T: Sample>(valid: &mut ArrayViewMut2<'_, bool>, values: &[T]) {
    for (valid, value) in valid.iter_mut().zip(values) {
        *valid &= *value != T::default();
    }
}

/// Clears the pixels that samples `[C, H, W]` or the masks of single bands speak against.
fn judge<T: Sample>(
    valid: &mut ArrayViewMut2<'_, bool>,
    samples: Option<ArrayView3<'_, T>>,
    checks: &Checks,
    masks: &[Option<Vec<u8>>],
    rule: NodataRule,
) {
    let mut nothing = Array2::from_elem(valid.dim(), rule == NodataRule::All);
    let join = |nothing: &mut bool, empty: bool| match rule {
        NodataRule::All => *nothing &= empty,
        NodataRule::Any => *nothing |= empty,
    };
    for (place, mask) in masks.iter().enumerate() {
        let plane = samples.as_ref().map(|samples| samples.index_axis(Axis(0), place));
        let marker = checks.nodata[place].and_then(Marker::<T>::new);
        match (mask, marker, &plane) {
            (Some(mask), _, _) => {
                for (nothing, mask) in nothing.iter_mut().zip(mask) {
                    join(nothing, *mask == 0);
                }
            }
            (None, Some(marker), Some(plane)) => {
                Zip::from(&mut nothing)
                    .and(plane)
                    .for_each(|nothing, sample| join(nothing, marker.is(*sample)));
            }
            _ => nothing.iter_mut().for_each(|nothing| join(nothing, false)),
        }
        if let Some(plane) = plane.filter(|_| checks.floats) {
            Zip::from(&mut *valid)
                .and(&plane)
                .for_each(|valid, sample| *valid &= sample.to_f64().is_finite());
        }
    }
    Zip::from(valid).and(&nothing).for_each(|valid, nothing| *valid &= !nothing);
}

/// A nodata value in the samples' own type.
enum Marker<T> {
    Nan,
    Value(T),
}

impl<T: Sample> Marker<T> {
    /// `None` for a value that no sample can have: 256 in bytes, NaN in integers.
    fn new(nodata: f64) -> Option<Marker<T>> {
        let value = T::from_f64(nodata);
        match T::DATA_TYPE.is_integer() {
            false if nodata.is_nan() => Some(Marker::Nan),
            // Rounded to float32, as the samples were when they were written.
            false => Some(Marker::Value(value)),
            true => (value.to_f64() == nodata).then_some(Marker::Value(value)),
        }
    }

    fn is(&self, sample: T) -> bool {
        match self {
            Marker::Nan => sample.to_f64().is_nan(),
            Marker::Value(value) => sample == *value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_match_in_the_type_of_the_samples() {
        assert!(Marker::<u8>::new(0.0).unwrap().is(0));
        assert!(Marker::<u8>::new(256.0).is_none());
        assert!(Marker::<u8>::new(f64::NAN).is_none());
        assert!(Marker::<i16>::new(-9999.5).is_none());
        assert!(Marker::<f32>::new(f64::NAN).unwrap().is(f32::NAN));
        assert!(Marker::<f32>::new(-3.4e38).unwrap().is(-3.4e38_f32));
        assert!(Marker::<f32>::new(f64::from(f32::MIN)).unwrap().is(f32::MIN));
        assert!(Marker::<i64>::new(i64::MIN as f64).unwrap().is(i64::MIN));
    }

    #[test]
    fn rules_have_names() {
        for rule in [NodataRule::All, NodataRule::Any] {
            assert_eq!(rule.to_string().parse::<NodataRule>().unwrap(), rule);
        }
        assert!("most".parse::<NodataRule>().is_err());
    }
}
