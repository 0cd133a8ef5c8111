//! Sizes, windows, bands and what lies past an edge: the plain geometry that everything above shares.
//!
//! All coordinates are pixels; x runs right, y runs down, the origin is the upper left corner of the raster.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels along x.
    pub width: usize,
    /// Pixels along y.
    pub height: usize,
}

impl Size {
    /// A size of `width` by `height` pixels.
    pub const fn new(width: usize, height: usize) -> Size {
        Size { width, height }
    }

    /// Number of pixels. Rasters have at most 2³¹ pixels a side, so this cannot overflow 64 bits.
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.width, self.height)
    }
}

/// A rectangle of pixels; it may reach past the raster on any side, hence the signed origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// First column; negative is left of the raster.
    pub x: i64,
    /// First row; negative is above the raster.
    pub y: i64,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Window {
    /// A window of `width` by `height` pixels with its upper left corner at (`x`, `y`).
    pub const fn new(x: i64, y: i64, width: usize, height: usize) -> Window {
        Window { x, y, width, height }
    }

    /// The window that covers a whole raster of this size.
    pub const fn of(size: Size) -> Window {
        Window { x: 0, y: 0, width: size.width, height: size.height }
    }

    /// Its width and height.
    pub const fn size(self) -> Size {
        Size { width: self.width, height: self.height }
    }

    /// The part of the window that lies on a raster of this size; `None` where there is none.
    pub fn clip(self, size: Size) -> Option<Window> {
        let x0 = self.x.max(0);
        let y0 = self.y.max(0);
        let x1 = self.x.saturating_add_unsigned(self.width as u64).min(size.width as i64);
        let y1 = self.y.saturating_add_unsigned(self.height as u64).min(size.height as i64);
        (x0 < x1 && y0 < y1).then(|| Window::new(x0, y0, (x1 - x0) as usize, (y1 - y0) as usize))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{} {}x{}", self.x, self.y, self.width, self.height)
    }
}

/// A band of a raster, counted from 1 as GDAL does. (Channels of a tensor are counted from 0, as plain `usize`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Band(u32);

impl Band {
    /// Band number `number`; 0 is no band.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for 0.
    pub fn new(number: u32) -> Result<Band> {
        if number == 0 {
            return Err(Error::invalid("bands are counted from 1, got 0"));
        }
        Ok(Band(number))
    }

    /// The number, from 1.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The first `count` bands in order.
    pub fn first(count: usize) -> Vec<Band> {
        (1..=count as u32).map(Band).collect()
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Band {
    type Err = Error;

    fn from_str(text: &str) -> Result<Band> {
        let number = text
            .trim()
            .parse::<u32>()
            .map_err(|_| Error::invalid(format!("expected a band number from 1, got {text:?}")))?;
        Band::new(number)
    }
}

/// What stands where a window reaches past the raster's edge.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Padding {
    /// Mirrored at the edge pixel, which is not repeated (`dcb|abcd|cba` without the doubled edge); rasters
    /// narrower than the reach are mirrored again and again.
    #[default]
    Reflect,
    /// The edge pixel goes on.
    Edge,
    /// This value, in the raster's own units (before normalisation).
    Constant(f64),
}

impl Padding {
    /// The pixel of an axis of `extent` pixels that stands at coordinate `at`; `None` where the constant does.
    ///
    /// `extent` must not be 0.
    pub fn source(self, at: i64, extent: usize) -> Option<usize> {
        let last = extent as i64 - 1;
        if (0..=last).contains(&at) {
            return Some(at as usize);
        }
        match self {
            Padding::Edge => Some(at.clamp(0, last) as usize),
            Padding::Constant(_) => None,
            Padding::Reflect if last == 0 => Some(0),
            Padding::Reflect => {
                let period = 2 * last;
                let phase = at.rem_euclid(period);
                Some(phase.min(period - phase) as usize)
            }
        }
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Padding::Reflect => f.write_str("reflect"),
            Padding::Edge => f.write_str("edge"),
            Padding::Constant(value) => write!(f, "constant:{value}"),
        }
    }
}

impl FromStr for Padding {
    type Err = Error;

    /// `reflect`, `edge`, `constant` (0) or `constant:VALUE`.
    fn from_str(text: &str) -> Result<Padding> {
        match text.split_once(':') {
            None if text == "reflect" => Ok(Padding::Reflect),
            None if text == "edge" => Ok(Padding::Edge),
            None if text == "constant" => Ok(Padding::Constant(0.0)),
            Some(("constant", value)) => value
                .parse::<f64>()
                .ok()
                .filter(|value| value.is_finite())
                .map(Padding::Constant)
                .ok_or_else(|| Error::invalid(format!("expected a finite padding value, got {value:?}"))),
            _ => Err(Error::invalid(format!(
                "unknown padding {text:?}: expected reflect, edge, constant or constant:VALUE"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflect_is_numpys_reflect() {
        // numpy.pad(arange(4), 6, mode="reflect")
        let expected = [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3];
        let got: Vec<_> = (-6..10).map(|at| Padding::Reflect.source(at, 4).unwrap()).collect();
        assert_eq!(got, expected);
        assert_eq!(Padding::Reflect.source(-3, 1), Some(0));
    }

    #[test]
    fn edge_and_constant() {
        assert_eq!(Padding::Edge.source(-9, 4), Some(0));
        assert_eq!(Padding::Edge.source(9, 4), Some(3));
        assert_eq!(Padding::Constant(1.0).source(4, 4), None);
        assert_eq!(Padding::Constant(1.0).source(3, 4), Some(3));
    }

    #[test]
    fn clip_keeps_what_lies_on_the_raster() {
        let size = Size::new(10, 5);
        assert_eq!(Window::new(-2, -2, 4, 4).clip(size), Some(Window::new(0, 0, 2, 2)));
        assert_eq!(Window::new(8, 3, 4, 4).clip(size), Some(Window::new(8, 3, 2, 2)));
        assert_eq!(Window::new(10, 0, 1, 1).clip(size), None);
        assert_eq!(Window::new(i64::MAX - 1, 0, 9, 9).clip(size), None);
    }

    #[test]
    fn bands_and_padding_parse() {
        assert_eq!("3".parse::<Band>().unwrap().number(), 3);
        assert!("0".parse::<Band>().is_err());
        assert!("x".parse::<Band>().is_err());
        assert_eq!("constant:-5".parse::<Padding>().unwrap(), Padding::Constant(-5.0));
        assert!("constant:nan".parse::<Padding>().is_err());
        assert!("zero".parse::<Padding>().is_err());
    }
}
