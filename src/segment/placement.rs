//! Where a model's output lies relative to its input.

use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{Size, Window};

/// Where a model's output lies relative to its input: its resolution, and the margin that it leaves out on every
/// side (networks without padding give a smaller map of the centre).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Output pixels per `input_step` input pixels: 2 for a network that doubles the resolution.
    pub output_step: usize,
    /// Input pixels per `output_step` output pixels: 4 for a network whose map has a quarter of the resolution.
    pub input_step: usize,
    /// Input pixels without output at (left and right, top and bottom).
    pub margin: (usize, usize),
}

impl Placement {
    /// Output pixel for input pixel.
    pub const SAME: Placement = Placement { output_step: 1, input_step: 1, margin: (0, 0) };

    /// Finds the placement from what one run showed: a tile of `input` gave a map of `output`. Where the two
    /// sizes are in a whole-number ratio on both axes, the output is at another scale; otherwise it is the centre
    /// at the same scale, with an even margin.
    ///
    /// `second` is another observation, for models of free size: it tells the scale from the margin for certain.
    ///
    /// # Errors
    /// [`ErrorKind::ModelUnsupported`] where neither fits; [`ErrorKind::InvalidArgument`] where the tile is no
    /// multiple of the scale.
    pub fn observe(input: Size, output: Size, second: Option<(Size, Size)>) -> Result<Placement> {
        if input == output {
            return Ok(Placement::SAME);
        }
        let unfit = || {
            Error::new(
                ErrorKind::ModelUnsupported,
                format!(
                    "an output of {output} for an input of {input} is neither at a whole-number scale nor smaller by an even margin"
                ),
            )
        };
        if output.width == 0 || output.height == 0 {
            return Err(unfit());
        }
        if let Some((input_2, output_2)) = second {
            let x = steps(input_2.width.abs_diff(input.width), output_2.width.abs_diff(output.width));
            let y = steps(input_2.height.abs_diff(input.height), output_2.height.abs_diff(output.height));
            // Another scale on each axis is no map of the raster.
            let (output_step, input_step) = x.filter(|_| x == y).ok_or_else(unfit)?;
            let margin = |input: usize, output: usize| {
                let seen = output.checked_mul(input_step)?.checked_div(output_step)?;
                let lost = input.checked_sub(seen)?;
                (lost % 2 == 0 && (output * input_step).is_multiple_of(output_step)).then_some(lost / 2)
            };
            let uneven = || {
                if input_step == 1 {
                    return unfit();
                }
                Error::invalid(format!(
                    "tile {input}: expected multiples of {input_step} pixels, since the output has 1/{input_step} of the resolution"
                ))
            };
            let margin = (
                margin(input.width, output.width).ok_or_else(uneven)?,
                margin(input.height, output.height).ok_or_else(uneven)?,
            );
            return Ok(Placement { output_step, input_step, margin });
        }
        match (steps(input.width, output.width), steps(input.height, output.height)) {
            (Some(x), Some(y)) if x == y => {
                Ok(Placement { output_step: x.0, input_step: x.1, margin: (0, 0) })
            }
            // Another scale on each axis: no map of the raster.
            (Some(_), Some(_)) => Err(unfit()),
            _ => {
                let margin = |input: usize, output: usize| {
                    input.checked_sub(output).filter(|lost| lost % 2 == 0).map(|lost| lost / 2)
                };
                let margin = (
                    margin(input.width, output.width).ok_or_else(unfit)?,
                    margin(input.height, output.height).ok_or_else(unfit)?,
                );
                Ok(Placement { margin, ..Placement::SAME })
            }
        }
    }

    /// The size of the whole map for a raster: the scaled size, rounded up.
    pub fn map_size(&self, raster: Size) -> Size {
        let scale = |pixels: usize| (pixels * self.output_step).div_ceil(self.input_step);
        Size::new(scale(raster.width), scale(raster.height))
    }

    /// The model's output for one tile of `tile` input pixels.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where the tile is not larger than the margins, or not a multiple of the scale.
    pub fn output_size(&self, tile: Size) -> Result<Size> {
        let side = |pixels: usize, margin: usize, name: &str| {
            let seen = pixels.checked_sub(2 * margin).filter(|seen| *seen > 0).ok_or_else(|| {
                Error::invalid(format!(
                    "tile {name} {pixels} leaves nothing inside the model's margins of {margin}"
                ))
            })?;
            if seen % self.input_step != 0 {
                return Err(Error::invalid(format!(
                    "tile {name} {pixels}: expected a multiple of the model's scale of {} pixels",
                    self.input_step
                )));
            }
            Ok(seen / self.input_step * self.output_step)
        };
        Ok(Size::new(side(tile.width, self.margin.0, "width")?, side(tile.height, self.margin.1, "height")?))
    }

    /// The raster window that the model must see for output pixels `window` of the map.
    pub fn input_window(&self, window: Window) -> Window {
        let start =
            |at: i64, margin: usize| at * self.input_step as i64 / self.output_step as i64 - margin as i64;
        let length = |length: usize, margin: usize| length * self.input_step / self.output_step + 2 * margin;
        Window::new(
            start(window.x, self.margin.0),
            start(window.y, self.margin.1),
            length(window.width, self.margin.0),
            length(window.height, self.margin.1),
        )
    }

    /// The raster column or row that holds the centre of map column or row `at`.
    pub fn source_of(&self, at: usize) -> usize {
        (2 * at + 1) * self.input_step / (2 * self.output_step)
    }
}

/// `output / input` as (output step, input step) in lowest terms, where one of them is 1.
fn steps(input: usize, output: usize) -> Option<(usize, usize)> {
    if input == 0 || output == 0 {
        None
    } else if output.is_multiple_of(input) {
        Some((output / input, 1))
    } else if input.is_multiple_of(output) {
        Some((1, input / output))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(side: usize) -> Size {
        Size::new(side, side)
    }

    #[test]
    fn one_observation_tells_scale_from_margin() {
        assert_eq!(Placement::observe(square(512), square(512), None).unwrap(), Placement::SAME);
        let quarter = Placement::observe(square(512), square(128), None).unwrap();
        assert_eq!((quarter.output_step, quarter.input_step, quarter.margin), (1, 4, (0, 0)));
        let double = Placement::observe(square(64), square(128), None).unwrap();
        assert_eq!((double.output_step, double.input_step), (2, 1));
        let valid = Placement::observe(square(512), square(484), None).unwrap();
        assert_eq!((valid.output_step, valid.input_step, valid.margin), (1, 1, (14, 14)));
        assert!(Placement::observe(square(512), square(511), None).is_err());
        assert!(Placement::observe(square(512), Size::new(256, 512), None).is_err());
        assert!(Placement::observe(square(512), square(0), None).is_err());
    }

    #[test]
    fn a_second_observation_settles_ambiguous_sizes() {
        // 64 -> 32 could be half the scale or a margin of 16: a tile 64 larger tells.
        let margin = Placement::observe(square(64), square(32), Some((square(128), square(96)))).unwrap();
        assert_eq!((margin.output_step, margin.input_step, margin.margin), (1, 1, (16, 16)));
        let half = Placement::observe(square(64), square(32), Some((square(128), square(64)))).unwrap();
        assert_eq!((half.output_step, half.input_step, half.margin), (1, 2, (0, 0)));
        // both at once: a margin of 8 at a quarter of the resolution
        let both = Placement::observe(square(64), square(12), Some((square(128), square(28)))).unwrap();
        assert_eq!((both.output_step, both.input_step, both.margin), (1, 4, (8, 8)));
    }

    #[test]
    fn one_scale_for_both_axes() {
        // Only the height is halved.
        let second = Some((Size::new(96, 96), Size::new(96, 48)));
        assert!(Placement::observe(Size::new(32, 32), Size::new(32, 16), second).is_err());
        let second = Some((Size::new(96, 96), Size::new(48, 96)));
        assert!(Placement::observe(Size::new(32, 32), Size::new(16, 32), second).is_err());
    }

    #[test]
    fn a_tile_between_two_multiples_of_the_scale_is_named() {
        // stride 4: 50 -> 13, 114 -> 29
        let error = Placement::observe(square(50), square(13), Some((square(114), square(29)))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("multiples of 4"), "{error}");
    }

    #[test]
    fn windows_go_there_and_back() {
        let valid = Placement { margin: (14, 14), ..Placement::SAME };
        assert_eq!(valid.output_size(square(512)).unwrap(), square(484));
        assert_eq!(valid.input_window(Window::new(0, 0, 484, 484)), Window::new(-14, -14, 512, 512));
        let quarter = Placement { output_step: 1, input_step: 4, margin: (0, 0) };
        assert_eq!(quarter.map_size(square(301)), square(76));
        assert_eq!(quarter.input_window(Window::new(3, 1, 16, 16)), Window::new(12, 4, 64, 64));
        assert_eq!((quarter.source_of(0), quarter.source_of(1)), (2, 6));
        let double = Placement { output_step: 2, input_step: 1, margin: (0, 0) };
        assert_eq!(double.map_size(square(5)), square(10));
        assert_eq!(double.input_window(Window::new(4, 0, 8, 8)), Window::new(2, 0, 4, 4));
        assert_eq!((double.source_of(0), double.source_of(1), double.source_of(2)), (0, 0, 1));
        assert!(quarter.output_size(square(30)).is_err());
        assert!(valid.output_size(square(28)).is_err());
    }
}
