//! One picture of a quicklook, with its title.

use std::fmt;

use ndarray::Array3;

use crate::error::{Error, ErrorKind, Result};

/// A picture with a title.
#[derive(Clone)]
pub struct Panel {
    title: String,
    rgb: Array3<u8>,
}

impl Panel {
    /// A panel that shows `rgb`, `[H, W, 3]`; from [`Stretch::render`](crate::picture::Stretch::render),
    /// [`ClassMap::render`](crate::picture::ClassMap::render) or elsewhere.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a picture without pixels, [`Mismatch`](ErrorKind::Mismatch)
    /// for another number of channels than 3.
    pub fn new(title: impl Into<String>, rgb: Array3<u8>) -> Result<Panel> {
        let (height, width, channels) = rgb.dim();
        if channels != 3 {
            let message = format!("a panel is [H, W, 3], got [{height}, {width}, {channels}]");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        if height * width == 0 {
            return Err(Error::invalid(format!("cannot show a panel of {width} x {height} pixels")));
        }
        Ok(Panel { title: title.into(), rgb })
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The picture, `[H, W, 3]`.
    pub fn rgb(&self) -> &Array3<u8> {
        &self.rgb
    }
}

impl fmt::Debug for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (height, width, _) = self.rgb.dim();
        write!(f, "Panel({:?}, {width} x {height})", self.title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_are_panels() {
        assert!(Panel::new("a", Array3::zeros((1, 1, 3))).is_ok());
        let kind = |shape| Panel::new("a", Array3::zeros(shape)).unwrap_err().kind();
        assert_eq!(kind((2, 2, 4)), ErrorKind::Mismatch);
        assert_eq!(kind((0, 2, 3)), ErrorKind::InvalidArgument);
    }
}
