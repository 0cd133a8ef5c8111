//! A map of class numbers, to be painted.

use ndarray::{Array2, Array3, Axis};

use crate::error::{Error, ErrorKind, Result};
use crate::picture::palette::Palette;
use crate::tensor::SamplesView;

/// A map of class numbers with the number of pixels of each.
#[derive(Debug, Clone)]
pub struct ClassMap {
    classes: Array2<u16>,
    nodata: Option<u16>,
    counts: Vec<u64>,
    empty: u64,
}

impl ClassMap {
    /// A map from `[1, H, W]` samples of type `uint8` or `uint16`; pixels of value `nodata` have no class.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a map without pixels; [`Mismatch`](ErrorKind::Mismatch)
    /// for more than one channel or another sample type.
    pub fn new(map: SamplesView<'_>, nodata: Option<u16>) -> Result<ClassMap> {
        let [channels, height, width] = map.shape();
        if channels != 1 {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("a class map has 1 channel, got {channels}"),
            ));
        }
        if height * width == 0 {
            return Err(Error::invalid(format!("cannot show a class map of {width} x {height} pixels")));
        }
        let classes = match map {
            SamplesView::U8(block) => block.index_axis(Axis(0), 0).mapv(u16::from),
            SamplesView::U16(block) => block.index_axis(Axis(0), 0).to_owned(),
            other => {
                let message = format!("a class map is of type uint8 or uint16, got {}", other.data_type());
                return Err(Error::new(ErrorKind::Mismatch, message));
            }
        };
        let mut counts = Vec::new();
        let mut empty = 0;
        for class in &classes {
            if Some(*class) == nodata {
                empty += 1;
                continue;
            }
            let class = usize::from(*class);
            if class >= counts.len() {
                counts.resize(class + 1, 0);
            }
            counts[class] += 1;
        }
        Ok(ClassMap { classes, nodata, counts, empty })
    }

    /// Pixels of each class, from class 0 to the highest that occurs.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Pixels without a class.
    pub fn nodata_count(&self) -> u64 {
        self.empty
    }

    /// Paints the map as RGB `[H, W, 3]`; pixels without a class become [`Palette::NODATA_GREY`].
    pub fn render(&self, palette: &Palette) -> Array3<u8> {
        let colors: Vec<[u8; 3]> = (0..self.counts.len()).map(|class| palette.rgb(class)).collect();
        let (height, width) = self.classes.dim();
        let mut rgb = Array3::zeros((height, width, 3));
        for (mut pixel, class) in rgb.rows_mut().into_iter().zip(&self.classes) {
            let color = match Some(*class) == self.nodata {
                true => Palette::NODATA_GREY,
                false => colors[usize::from(*class)],
            };
            pixel.iter_mut().zip(color).for_each(|(level, value)| *level = value);
        }
        rgb
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DataType, Samples};
    use ndarray::arr3;

    #[test]
    fn counts_and_colours_follow_the_classes() {
        let map = ClassMap::new(Samples::U8(arr3(&[[[0, 2, 2], [255, 2, 0]]])).view(), Some(255)).unwrap();
        assert_eq!((map.counts(), map.nodata_count()), (&[2u64, 0, 3][..], 1));
        let palette = Palette::for_classes(3);
        let rgb = map.render(&palette);
        let pixel = |y, x| [rgb[[y, x, 0]], rgb[[y, x, 1]], rgb[[y, x, 2]]];
        assert_eq!((pixel(0, 0), pixel(0, 1)), (palette.rgb(0), palette.rgb(2)));
        assert_eq!(pixel(1, 0), Palette::NODATA_GREY);
    }

    #[test]
    fn other_maps_are_refused() {
        let kind = |map: Samples| ClassMap::new(map.view(), None).unwrap_err().kind();
        assert_eq!(kind(Samples::zeros(DataType::F32, [1, 2, 2])), ErrorKind::Mismatch);
        assert_eq!(kind(Samples::zeros(DataType::U8, [2, 2, 2])), ErrorKind::Mismatch);
        assert_eq!(kind(Samples::zeros(DataType::U8, [1, 0, 2])), ErrorKind::InvalidArgument);
        let high = ClassMap::new(Samples::U16(arr3(&[[[65535]]])).view(), None).unwrap();
        assert_eq!(high.counts().len(), 65536);
        assert_eq!(high.render(&Palette::for_classes(2)).dim(), (1, 1, 3));
    }
}
